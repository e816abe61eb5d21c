"""Runs emitted TensorFlow files: compiled by XLA, with gradients and second derivatives by tapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.targets.identifiers import function_name
from tests.targets.parity import Answer, load


def differentiated(function: Any, loss: Loss, y: np.ndarray, f: np.ndarray) -> Answer:
    """Value, gradient and Hessian diagonal of a function of (y_true, y_pred) on TensorFlow tensors."""
    import tensorflow as tf

    t, z = tf.constant(y), tf.constant(f)
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(z)
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = function(t, z)
        slope = tape.gradient(value, z)
        slope = tf.zeros_like(z) if slope is None else slope
    if loss.layout == CLASSWISE:
        with tf.GradientTape() as again:
            again.watch(z)
            with tf.GradientTape() as inner:
                inner.watch(z)
                total = function(t, z)
            first = inner.gradient(total, z)
            first = tf.zeros_like(z) if first is None else first + 0.0 * z
        bend = tf.linalg.diag_part(again.batch_jacobian(first, z, experimental_use_pfor=False))
    else:
        bend = outer.gradient(slope, z)
        bend = tf.zeros_like(z) if bend is None else bend
    return Answer(value.numpy(), slope.numpy(), bend.numpy())


def run(path: Path, loss: Loss, y: np.ndarray, f: np.ndarray) -> Answer:
    """The value by XLA, the derivatives in eager mode."""
    import tensorflow as tf

    function = getattr(load(path), function_name(loss.name))
    compiled = tf.function(function, jit_compile=True)
    answer = differentiated(function, loss, y, f)
    np.testing.assert_allclose(compiled(tf.constant(y), tf.constant(f)).numpy(), answer.value, rtol=1e-4, atol=1e-5)
    return answer
