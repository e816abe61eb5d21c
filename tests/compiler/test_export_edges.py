"""Exports at their edges: losses that depend on nothing, saturated classes, nests, and options of targets."""

from __future__ import annotations

import inspect
import shutil
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lossc.compiler.errors import LossTypeError, UsageError
from lossc.compiler.ir import F, Y, param
from lossc.compiler.loss import Loss, Parameter
from lossc.compiler.targets import BUILT_IN, Option, emit, target_of
from lossc.compiler.targets.latex import ENVIRONMENTS
from lossc.compiler.targets.onnx.emit import KEYS, REDUCTIONS
from lossc.compiler.targets.settings import read_options
from lossc.grammar import parse
from lossc.grammar.library import named
from lossc.runtime import onnx_check
from tests.targets.cases import random_loss, truth
from tests.targets.run_c import FLAGS


def module(loss: Loss, target: str = "numpy") -> SimpleNamespace:
    """The functions of an emitted Python file."""
    made: dict[str, Any] = {"__name__": "emitted"}
    exec(compile(str(emit(loss, target)), "emitted.py", "exec"), made)  # noqa: S102
    return SimpleNamespace(**made)


# -- losses that depend on nothing ------------------------------------------------------------------------------------

NOTHING = [39, 74]
"""Random losses over the classes that come down to a number."""


@pytest.mark.parametrize("seed", NOTHING)
def test_a_constant_has_the_dtype_of_the_prediction(seed: int) -> None:
    """Not float64, which a number of Python would make of it."""
    ours = module(random_loss(seed))
    value = getattr(ours, f"random_{seed}_loss")(np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32))
    assert value.dtype == np.float32 and value.shape == (3,)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
@pytest.mark.parametrize("seed", NOTHING)
def test_a_header_of_a_constant_compiles_without_a_warning(seed: int, tmp_path: Path) -> None:
    """No argument is unused: not the number of classes either."""
    path = tmp_path / "loss.h"
    path.write_text(str(emit(random_loss(seed), "c")))
    subprocess.run(["gcc", "-std=c99", "-x", "c", *FLAGS, "-fsyntax-only", "-DLOSSC_SELF_TEST", path], check=True)


def test_one_form_of_a_gradient_may_be_the_same_at_all_classes() -> None:
    """Forms are compared entry by entry, also where one has a single number and another one for each class."""
    assert "random_199_loss" in str(emit(random_loss(199), "numpy"))


@pytest.mark.parametrize("text", ["f + log(-1)", "log(-1) + 0*y*f", "where(y > f, log(-1), f)"])
def test_a_constant_without_a_value_is_nan(text: str) -> None:
    """The file runs, and imports what it uses."""
    assert np.isnan(module(parse(text, name="mine")).mine_loss([2.0], [1.0])).all()


# -- saturated classes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sparse_lsr", "focal_sparse_lsr"])
def test_derivatives_where_one_class_is_certain(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """log(1 - p): 1 - p is 1e-17 in the first rows, and below every float in the last."""
    monkeypatch.setattr("tests.targets.cases.DIGITS", 250)
    ours, loss = module(named(name)), named(name)
    rows = [(40.0, 0.0, 1.0), (0.0, 40.0, 1.0), (90.0, 1.0, 0.0), (1e4, 20.0, 0.0), (1.0, 1e4, 0.0)]
    hot = (1.0, 0.0, 0.0)
    slope, bend = (getattr(ours, f"{name}_loss_{end}")([hot] * 5, rows) for end in ("gradient", "hessian"))
    for i, row in enumerate(rows[:3]):
        exact = truth(loss, hot, row)
        assert exact is not None
        np.testing.assert_allclose(slope[i], np.array(exact[1], float), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(bend[i], np.array(exact[2], float), rtol=1e-9, atol=1e-15)
    assert np.isfinite(slope).all() and np.isfinite(bend).all()
    np.testing.assert_allclose(slope.sum(axis=1), 0, atol=1e-12)  # scores may be shifted


# -- nests ------------------------------------------------------------------------------------------------------------


DEPTH = 40


@pytest.mark.parametrize("function", ["tanh", "sqrt"])
def test_a_deep_nest_ends_soon(function: str) -> None:
    """Minutes and more before, seconds now; the numbers are those of nested calls."""
    text = "y - f"
    for _ in range(DEPTH):
        text = f"{function}({text})"
    start = time.process_time()
    ours = module(parse(text, name="deep"))
    assert time.process_time() - start < 15
    value, slope = 1.5, 1.0
    for _ in range(DEPTH):
        grown = np.tanh(value) if function == "tanh" else np.sqrt(value)
        slope *= 1 - grown**2 if function == "tanh" else 0.5 / grown
        value = grown
    assert ours.deep_loss([2.0], [0.5])[0] == pytest.approx(value, rel=1e-12)
    assert ours.deep_loss_gradient([2.0], [0.5])[0] == pytest.approx(-slope, rel=1e-9)


# -- names and options ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["y", "f"])
def test_a_hyper_parameter_is_not_called_as_an_argument(name: str) -> None:
    """From Python it could be: two numbers of one name, and code that reads one of them."""
    loss = Loss(param(name) * (Y - F) ** 2, "mine", params=(Parameter(name, "real", Fraction(1)),))
    with pytest.raises(LossTypeError, match=rf"(?s)L309.*`{name}` is an argument.*choose another name"):
        emit(loss, "numpy")


@pytest.mark.parametrize("target", BUILT_IN.values(), ids=lambda t: t.name)
def test_options_are_arguments_of_the_emitter(target: Any) -> None:
    """Every declared option is a keyword of `emit`, and all its keywords are declared."""
    arguments = set(inspect.signature(target.emitter()).parameters) - {"loss"}
    assert set(target.takes) == arguments


def test_choices_are_those_of_the_emitter() -> None:
    """Written once more for the list: so they are compared."""
    choices = {(t, o.name): o.choices for t in ("onnx", "latex") for o in target_of(t).declared}
    assert choices["onnx", "dtype"] == tuple(KEYS) and choices["onnx", "reduction"] == REDUCTIONS
    assert choices["latex", "environment"] == ENVIRONMENTS


def test_options_are_read_by_their_kind() -> None:
    """Truth values, whole numbers, choices and text."""
    onnx = [target_of("onnx")]
    given = ["hessian=yes", "gradient = FALSE", "rank=3", "dtype=float64"]
    assert read_options(given, onnx) == {"hessian": True, "gradient": False, "rank": 3, "dtype": "float64"}
    assert read_options(["environment="], [target_of("latex")]) == {"environment": ""}
    assert Option("x", "", float).read("1e-3") == 1e-3


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["rank"], "L235.*--option NAME=VALUE"),
        (["=3"], "L235"),
        (["rank=3", "rank=3"], "L235.*twice"),
        (["rnk=3"], "L245.*not an option of the target onnx.*did you mean `rank`"),
        (["rank=many"], "L245.*a whole number"),
        (["hessian=perhaps"], "L245.*yes, no"),
        (["dtype=half"], "L245.*float32, float64"),
    ],
)
def test_options_that_cannot_be(given: list[str], said: str) -> None:
    """Errors name what there is."""
    with pytest.raises(UsageError, match=f"(?s){said}"):
        read_options(given, [target_of("onnx")])


# -- ONNX without ONNX Runtime ----------------------------------------------------------------------------------------


def test_what_float32_cannot_hold_is_refused_with_the_way_out() -> None:
    """1 + 1e-9 is 1 there; the other dtype has it."""
    loss = parse("(y - f)^2 * 1.000000001")
    with pytest.raises(LossTypeError, match="L342") as caught:
        emit(loss, "onnx")
    assert "--option dtype=float64" in caught.value.diagnostic.hint
    assert emit(loss, "onnx", dtype="float64")


def test_a_file_that_onnx_runtime_cannot_read_is_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, whatever ONNX Runtime raises: its errors are of a class of their own."""

    def refuse(*_: object, **__: object) -> None:
        raise type("InvalidProtobuf", (Exception,), {})("protobuf parsing failed")

    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(InferenceSession=refuse))
    path = tmp_path / "loss.onnx"
    path.write_bytes(b"nothing")
    with pytest.raises(SystemExit) as caught:
        onnx_check.check(path)
    assert caught.value.code == 2 and "protobuf parsing failed" in capsys.readouterr().err
