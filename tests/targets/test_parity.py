"""NumPy and C files against mpmath. CI takes a part of the losses; `make test-targets` all, and 200 random ones."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from lossc.compiler.loss import CLASSWISE
from lossc.compiler.targets import emit
from lossc.grammar.library import named, names
from tests.targets.cases import BITS, filled, named_case, random_case
from tests.targets.parity import compare, emitted, runner
from tests.targets.run_c import FLAGS

ALL = os.environ.get("LOSSC_TARGETS") == "all"
NAMED = names() if ALL else ["pseudo_huber", "focal", "bce"]
RANDOM = range(200) if ALL else [3]


@pytest.mark.parametrize("target", ["numpy", "c"])
@pytest.mark.parametrize("name", NAMED)
def test_named_losses_equal_mpmath(name: str, target: str, tmp_path: Path) -> None:
    """Value, gradient and Hessian diagonal within 4 ulp of what arithmetic of the dtype can have, in both dtypes."""
    case = named_case(name)
    for dtype in BITS:
        found = compare(target, case, dtype, tmp_path)
        assert found.share <= 1, (name, dtype, found)


@pytest.mark.parametrize("target", ["numpy", "c"])
@pytest.mark.parametrize("seed", RANDOM)
def test_random_losses_equal_mpmath(seed: int, target: str, tmp_path: Path) -> None:
    """The same for losses bred at random."""
    case = random_case(seed)
    for dtype in BITS:
        found = compare(target, case, dtype, tmp_path)
        assert found.share <= 1, (str(case.loss), dtype, found)


EDGES = [0.0, -0.0, 1e-30, -1e-7, 1.0, -1.0, 20.0, -100.0, 100.0, 1e4, -1e4]


@pytest.mark.parametrize("name", names() if ALL else ["focal", "bce", "pseudo_huber", "cauchy", "kl_divergence"])
def test_finite_at_the_edges(name: str, tmp_path: Path) -> None:
    """Zero residuals, ties, saturated scores: NumPy and C have the same numbers there, finite wherever the loss as
    torch computes it is."""
    torch = pytest.importorskip("torch")
    loss = filled(named(name))
    rows = [[a, b, 0.0] for a in EDGES[4:] for b in EDGES[6:]] if loss.layout == CLASSWISE else EDGES
    f = np.array(rows)
    f = np.abs(f) + 0.125 if loss.f in ("positive", "unit") else f
    y = np.zeros_like(f)
    if loss.layout == CLASSWISE:
        y[:, 0] = 1.0
    else:
        y[:] = {"sign": 1.0, "positive": 0.5}.get(loss.y, 0.0)
    answers = {t: runner(t)(emitted(t, loss, tmp_path), loss, y, f) for t in ("numpy", "c") if t != "c" or _compiler()}
    z = torch.tensor(f, requires_grad=True)
    value = loss.to_torch("none")(z, torch.tensor(y))
    finite = np.isfinite(value.detach().numpy())
    for target, answer in answers.items():
        assert np.isfinite(answer.value[finite]).all(), target
        assert np.isfinite(answer.gradient[finite]).all(), target
        assert np.isfinite(answer.hessian[finite]).all(), target
        np.testing.assert_allclose(answer.value[finite], value.detach().numpy()[finite], rtol=1e-9, atol=1e-12)


def _compiler() -> bool:
    return shutil.which("gcc") is not None


@pytest.mark.skipif(not _compiler(), reason="there is no gcc")
@pytest.mark.parametrize("name", names() if ALL else ["focal"])
def test_headers_are_clean_as_c_and_as_cpp(name: str, tmp_path: Path) -> None:
    """No warning of gcc -std=c99 or g++ -std=c++17, and the self-test passes as both."""
    path = tmp_path / "loss.h"
    path.write_text(str(emit(named(name), "c")))
    for compiler in (["gcc", "-std=c99", "-x", "c"], ["g++", "-std=c++17", "-x", "c++"]):
        if shutil.which(compiler[0]):
            done = tmp_path / "a.out"
            subprocess.run([*compiler, *FLAGS, "-DLOSSC_SELF_TEST", path, "-o", done, "-lm"], check=True)
            assert subprocess.run([done], capture_output=True, check=True).stdout.startswith(b"ok: ")


@pytest.mark.skipif(shutil.which("nvcc") is None or not ALL, reason="there is no nvcc, or this is the short form")
def test_a_header_is_device_code(tmp_path: Path) -> None:
    """nvcc compiles a kernel that calls the functions."""
    (tmp_path / "loss.h").write_text(str(emit(named("pseudo_huber"), "c")))
    source = tmp_path / "k.cu"
    source.write_text(
        '#include "loss.h"\n__global__ void k(const float *y, const float *f, float *g) {\n'
        "  g[threadIdx.x] = pseudo_huber_loss_gradientf(y[threadIdx.x], f[threadIdx.x], 1.0f);\n}\n"
    )
    subprocess.run(["nvcc", "-c", source, "-o", tmp_path / "k.o"], check=True)


def test_class_indices_axes_and_wrong_shapes_of_numpy(tmp_path: Path) -> None:
    """Indices are one-hot rows, the class axis is any; what does not fit is a ValueError."""
    from tests.targets.parity import load

    module = load(emitted("numpy", named("focal"), tmp_path))
    f = np.random.default_rng(0).normal(size=(5, 3))
    labels = np.array([0, 2, 1, 1, 0])
    hot = np.eye(3)[labels]
    expected = module.focal_loss(hot, f)
    np.testing.assert_array_equal(module.focal_loss(labels, f), expected)
    np.testing.assert_array_equal(module.focal_loss(hot.T, f.T, axis=0), expected)
    np.testing.assert_array_equal(module.focal_loss(labels, f.T, axis=0), expected)
    for wrong in (labels + 5, hot[:4], -labels):
        with pytest.raises(ValueError, match="y_true"):
            module.focal_loss(wrong, f)
