"""TensorFlow files: parity, tf.function with unknown shapes, XLA, labels, half precision."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossc.compiler.targets import emit
from lossc.grammar.library import named
from tests.targets.cases import named_case, named_losses, random_case, seeds
from tests.targets.parity import compare, load

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
tf = pytest.importorskip("tensorflow")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", named_losses())
def test_named_losses_equal_mpmath(name: str, dtype: str, tmp_path: Path) -> None:
    """Value, gradient and Hessian diagonal within 4 ulp of what arithmetic of the dtype can have."""
    case = named_case(name)
    if case.points:
        found = compare("tensorflow", case, dtype, tmp_path)
        assert found.share <= 1, found


@pytest.mark.parametrize("seed", seeds(25))
def test_random_losses_equal_mpmath(seed: int, tmp_path: Path) -> None:
    """Also for losses that nobody wrote."""
    case = random_case(seed)
    if case.points:
        found = compare("tensorflow", case, "float32", tmp_path)
        assert found.share <= 1, found


def module(name: str, folder: Path) -> Any:
    path = folder / f"{name}_tensorflow.py"
    path.write_text(str(emit(named(name), "tensorflow")), encoding="utf-8")
    return load(path)


@pytest.mark.parametrize("compiled", [False, True])
def test_graphs_with_unknown_shapes(compiled: bool, tmp_path: Path) -> None:
    """A traced function serves batches of every size, under XLA too."""
    function = module("cross_entropy", tmp_path).cross_entropy_loss
    signature = [tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, 4], tf.float32)]
    traced = tf.function(function, input_signature=signature, jit_compile=compiled)
    for n in (1, 5):
        z = np.random.default_rng(n).normal(size=(n, 4)).astype("float32")
        labels = np.arange(n) % 4
        want = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, z)
        np.testing.assert_allclose(traced(labels, z), want, rtol=1e-5)


@pytest.mark.parametrize("compiled", [None, False, True])
@pytest.mark.parametrize("name", ["pseudo_huber", "focal", "multi_margin"])
def test_every_second_derivative_is_that_of_tensorflow(name: str, compiled: bool | None, tmp_path: Path) -> None:
    """By y_pred, y_true and the hyper-parameter, mixed ones in both orders: TensorFlow's own of the plain function, in
    eager mode, in a graph, and compiled."""
    made, case = module(name, tmp_path), named_case(name)
    function = getattr(made, made.__all__[0])
    y, f = case.arrays("float64")
    at = [tf.constant(f), tf.constant(y), *(tf.constant(float(p.default), tf.float64) for p in case.loss.params)]

    weights = [np.random.default_rng(0).normal(size=a.shape) for a in at]
    settings = [p.name for p in case.loss.params]

    def second(*at: Any) -> Any:
        with tf.GradientTape(persistent=True) as outer:
            outer.watch(at)
            with tf.GradientTape() as tape:
                tape.watch(at)
                total = tf.reduce_sum(function(at[1], at[0], **dict(zip(settings, at[2:], strict=True))))
            slopes = tape.gradient(total, at, unconnected_gradients="zero")
            ways = [tf.reduce_sum(s * w) for s, w in zip(slopes, weights, strict=True)]
        return [outer.gradient(way, at, unconnected_gradients="zero") for way in ways]

    found = tf.nest.flatten((second if compiled is None else tf.function(second, jit_compile=compiled))(*at))
    made._loss = made._value
    for one, own in zip(found, tf.nest.flatten(second(*at)), strict=True):
        np.testing.assert_allclose(one, own, rtol=1e-8, atol=1e-9)


def test_half_precision_is_computed_in_float32(tmp_path: Path) -> None:
    """And given back in the dtype of y_pred."""
    function = module("mse", tmp_path).mse_loss
    got = function(tf.zeros(1, tf.float16), tf.constant([0.1], tf.float16))
    assert got.dtype == tf.float16
    assert float(got[0]) == pytest.approx(0.01, rel=2e-3)


def test_wrong_shapes_are_errors(tmp_path: Path) -> None:
    """Nothing is broadcast by accident."""
    with pytest.raises(ValueError, match="incompatible"):
        module("huber", tmp_path).huber_loss(tf.zeros((3, 2)), tf.zeros((3, 4)))


def test_the_self_test(tmp_path: Path) -> None:
    """`python file.py` says ok."""
    path = tmp_path / "loss.py"
    path.write_text(str(emit(named("pseudo_huber"), "tensorflow")), encoding="utf-8")
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "ok:" in done.stdout, done.stderr
