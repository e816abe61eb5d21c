"""Parity: what an emitted file computes in its own library, compared with mpmath. One table of targets.

A target takes part with a line in `RUNNERS`: a module of this folder with

    def run(path, loss, y, f) -> Answer

which loads the emitted file in its library and computes on arrays of one dtype ([N], or [N, C] on the class axis) the
value of each element or sample, the gradient and the Hessian diagonal in f; None for what the target does not offer.

The bound is 4 ulp of the dtype at well-scaled input, plus four times what arithmetic of that precision makes of the
closed forms: where a formula loses digits by its nature, a target may lose them too, and where it loses none, none.
"""

from __future__ import annotations

import importlib
import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import mpmath
import numpy as np
import pytest

from lossc.compiler.loss import Loss
from lossc.compiler.targets import emit, target_of
from tests.targets.cases import BITS, Case

RUNNERS: dict[str, str] = {
    "numpy": "tests.targets.run_numpy",
    "c": "tests.targets.run_c",
    "jax": "tests.targets.run_jax",
    "tensorflow": "tests.targets.run_tensorflow",
    "keras": "tests.targets.run_keras",
    "onnx": "tests.targets.run_onnx",
    "xgboost": "tests.targets.run_boosting",
    "lightgbm": "tests.targets.run_boosting",
    "catboost": "tests.targets.run_boosting",
    "sympy": "tests.targets.run_sympy",
    "fpcore": "tests.targets.run_fpcore",
    "julia": "tests.targets.run_julia",
    "pysr": "tests.targets.run_julia",
    "torch-function": "tests.targets.run_torch_idioms",
    "lightning": "tests.targets.run_torch_idioms",
    "huggingface": "tests.targets.run_torch_idioms",
}
"""Target -> the module that runs its files."""

WHAT = ("value", "gradient", "Hessian")
ULPS = 4


class Answer(NamedTuple):
    """Arrays: the value of each element or sample, gradient and Hessian diagonal of the shape of f."""

    value: np.ndarray
    gradient: np.ndarray | None
    hessian: np.ndarray | None


class Finding(NamedTuple):
    """The largest error of a target on a case, in ulps of the dtype, and in shares of what is allowed."""

    ulps: float
    share: float
    where: str


def runner(target: str) -> Callable[[Path, Loss, np.ndarray, np.ndarray], Answer]:
    """The function that runs files of a target; the test is skipped where its library is not installed."""
    module, _ = target_of(target).library
    if module:
        pytest.importorskip(module)
    if target == "c" and shutil.which("cc") is None and shutil.which("gcc") is None:
        pytest.skip("there is no C compiler")
    run: Callable[[Path, Loss, np.ndarray, np.ndarray], Answer] = importlib.import_module(RUNNERS[target]).run
    return run


def emitted(target: str, loss: Loss, folder: Path) -> Path:
    """The file of a loss, written; the same bytes when asked again."""
    record = target_of(target)
    made = emit(loss, target)
    assert made == emit(loss, target), "not deterministic"
    path = folder / f"{loss.name}_{target}{record.suffix}"
    path.write_bytes(made if isinstance(made, bytes) else made.encode())
    return path


def load(path: Path) -> Any:
    """An emitted Python file as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compare(target: str, case: Case, dtype: str, folder: Path, which_of: tuple[int, ...] = (0, 1, 2)) -> Finding:
    """The worst of all points and of the value and both derivatives (or of some of these)."""
    y, f = case.arrays(dtype)
    answer = runner(target)(emitted(target, case.loss, folder), case.loss, y, f)
    worst = Finding(0.0, 0.0, "")
    for which, got in enumerate(answer):
        if got is None or which not in which_of:
            continue
        assert got.dtype == dtype, (target, case.loss.name, WHAT[which], got.dtype)
        for i, (true, slack) in enumerate(zip(case.truth(which), case.slack(which, BITS[dtype]), strict=True)):
            shape = (len(true),) if isinstance(true, list) else ()
            assert got[i].shape == shape, (target, case.loss.name, WHAT[which], got.shape)
            pairs = zip(
                np.ravel(got[i]).tolist(),
                np.ravel(np.array(true, object)),
                np.ravel(np.array(slack, object)),
                strict=True,
            )
            for one, exact, loose in pairs:
                where = (
                    f"{WHAT[which]} at y={case.points[i].y} f={case.points[i].f}: {one!r}, not {mpmath.nstr(exact, 17)}"
                )
                worst = max(worst, judged(one, exact, loose, BITS[dtype], where), key=lambda x: x.share)
    return worst


def judged(got: float, exact: Any, loose: Any, bits: int, where: str) -> Finding:
    """The error of one number."""
    if not np.isfinite(got):
        return Finding(np.inf, np.inf, where)
    least = mpmath.ldexp(1, 1 - 1022 - 53 if bits == 53 else 1 - 126 - 24)
    ulp = max(mpmath.ldexp(1, mpmath.mag(exact) - bits), least) if exact else least
    error = abs(mpmath.mpf(got) - exact)
    floor = mpmath.ldexp(1, -bits - 10)  # beside numbers of size 1: what cancels to nothing has no ulps of its own
    allowed = ULPS * ulp + ULPS * loose + floor
    return Finding(float(error / ulp), float(error / allowed), where)
