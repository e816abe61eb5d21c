"""ONNX models in ONNX Runtime: parity with mpmath, options, and what a model says of itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossc.compiler.errors import LossTypeError
from lossc.compiler.targets.onnx.emit import emit
from lossc.compiler.targets.onnx.graph import Graph
from lossc.grammar import parse
from lossc.grammar.library import named
from tests.targets.cases import named_case, named_losses, random_case, seeds
from tests.targets.parity import compare

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", named_losses())
def test_named_losses_equal_mpmath(name: str, dtype: str, tmp_path: Path) -> None:
    """Value, gradient and Hessian within 4 ulp (and what the formula itself loses)."""
    case = named_case(name)
    if not case.points:
        pytest.skip("it is smooth at no point tried")
    found = compare("onnx", case, dtype, tmp_path)
    assert found.share <= 1, found


@pytest.mark.parametrize("seed", seeds(40))
def test_random_losses_equal_mpmath(seed: int, tmp_path: Path) -> None:
    """Also for losses that nobody wrote. A constant that float32 cannot hold is refused, and float64 is offered."""
    case = random_case(seed)
    if not case.points:
        return
    try:
        found = compare("onnx", case, "float32", tmp_path)
    except LossTypeError as problem:
        said = problem.diagnostic
        assert said.code == "L342" and "in float32" in said.message and "dtype=float64" in said.hint, said
        emit(case.loss, dtype="float64")
    else:
        assert found.share <= 1, found


def session(model: bytes) -> Any:
    return runtime.InferenceSession(model, providers=["CPUExecutionProvider"])


def test_the_bytes_are_those_of_a_model_that_onnx_reads_and_checks() -> None:
    """Our writer against the official reader: names, shapes, opset, metadata."""
    model = onnx.load_from_string(emit(named("pseudo_huber"), parameters="inputs"))
    onnx.checker.check_model(model, full_check=True)
    assert [i.name for i in model.graph.input] == ["prediction", "target", "delta"]
    assert [o.name for o in model.graph.output] == ["loss", "gradient"]
    assert model.opset_import[0].version == 18 and model.ir_version == 8
    assert {p.key for p in model.metadata_props} >= {"formula", "definition", "self_test", "lossc"}


def test_hyper_parameters_as_inputs_have_defaults_and_can_be_set() -> None:
    """An initialiser of the same name makes an input optional."""
    run = session(emit(named("huber"), parameters="inputs", reduction="none"))
    f, y = np.zeros(2, np.float32), np.array([0.5, 3.0], np.float32)
    np.testing.assert_allclose(run.run(["loss"], {"prediction": f, "target": y})[0], [0.125, 2.5])
    given = {"prediction": f, "target": y, "delta": np.array(2.0, np.float32)}
    np.testing.assert_allclose(run.run(["loss"], given)[0], [0.125, 4.0])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_class_indices_and_the_gradient_of_the_reduced_loss(reduction: str) -> None:
    """Labels give what one-hot rows give, on images too; the gradient is that of the output `loss`."""
    rng = np.random.default_rng(0)
    z, labels = rng.normal(size=(3, 4, 2, 2)).astype(np.float32), rng.integers(0, 4, (3, 2, 2))
    model = session(emit(named("cross_entropy"), reduction=reduction, rank=4))
    value, slope = model.run(None, {"scores": z, "labels": labels})
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    hot = np.moveaxis(np.eye(4)[labels], -1, 1)
    losses = -np.log((p * hot).sum(axis=1))
    wanted = {"mean": losses.mean(), "sum": losses.sum(), "none": losses}[reduction]
    np.testing.assert_allclose(value, wanted, rtol=1e-5)
    np.testing.assert_allclose(slope, (p - hot) / (losses.size if reduction == "mean" else 1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "function"),
    [("log1p(f)", np.log1p), ("expm1(f)", np.expm1), ("sigmoid(f)", lambda x: 1 / (1 + np.exp(-x)))],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_onnx_lacks_keeps_its_digits(text: str, function: Any, dtype: str) -> None:
    """Near 0, far out and in the tails, where the obvious forms (log(1 + x), Sigmoid) have no digit left."""
    sizes = 10.0 ** np.arange(-12 if dtype == "float64" else -6, 0.7, 0.37)
    x = np.concatenate([-sizes[sizes < 1], sizes, [0.0, -0.999, 20.0, -20.0 if "sig" in text else 30.0]]).astype(dtype)
    model = emit(parse(f"y*0 + {text}"), dtype=dtype, gradient=False, reduction="none")
    got = session(model).run(None, {"prediction": x, "target": x})[0]
    exact = function(x.astype(np.longdouble))
    np.testing.assert_array_less(np.abs(got - exact), 4 * np.spacing(np.abs(exact).astype(dtype)) + 1e-30)


def test_what_a_runtime_has_no_kernel_for_is_refused() -> None:
    """ONNX Runtime has no erf in float64: the model would not load."""
    with pytest.raises(LossTypeError, match="erf"):
        emit(parse("erf(y - f)^2"), dtype="float64")
    emit(parse("erf(y - f)^2"))


def test_a_line_that_is_no_call_is_a_bug() -> None:
    """The graph never guesses."""
    with pytest.raises(AssertionError):
        Graph("float32", set()).run(["v0 = a + b"], {})


@pytest.mark.parametrize("name", ["huber", "cross_entropy", "kl_divergence"])
def test_the_self_test_of_a_model(name: str, tmp_path: Path) -> None:
    """`python -m lossc.runtime.onnx_check` is 0 for a good model, 1 for a changed one, 2 for something else."""
    path = tmp_path / "loss.onnx"
    path.write_bytes(emit(named(name)))
    command = [sys.executable, "-m", "lossc.runtime.onnx_check", str(path)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    if name == "huber":
        path.write_bytes(emit(named(name)).replace(b'"values": [', b'"values": [9'))
        assert subprocess.run(command, capture_output=True, check=False).returncode in (1, 2)
        path.write_bytes(b"nothing")
        assert subprocess.run(command, capture_output=True, check=False).returncode == 2
