"""Runs emitted TensorFlow files: in eager mode, with gradients by a tape, and compiled by XLA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lossc.compiler.loss import Loss
from lossc.compiler.targets.identifiers import function_name
from tests.targets.parity import Answer, load


def differentiated(function: Any, y: np.ndarray, f: np.ndarray) -> Answer:
    """Value and gradient of a function of (y_true, y_pred) on TensorFlow tensors; no Hessian is part of the file."""
    import tensorflow as tf

    t, z = tf.constant(y), tf.constant(f)
    with tf.GradientTape() as tape:
        tape.watch(z)
        value = function(t, z)
    slope = tape.gradient(value, z, unconnected_gradients="zero")
    return Answer(value.numpy(), slope.numpy(), None)


def run(path: Path, loss: Loss, y: np.ndarray, f: np.ndarray) -> Answer:
    """What eager mode gives, which XLA must agree with."""
    import tensorflow as tf

    function = getattr(load(path), function_name(loss.name))
    compiled = tf.function(function, jit_compile=True)
    answer = differentiated(function, y, f)
    np.testing.assert_allclose(compiled(tf.constant(y), tf.constant(f)).numpy(), answer.value, rtol=1e-4, atol=1e-5)
    return answer
