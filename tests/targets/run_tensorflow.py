"""Runs emitted TensorFlow files: in eager mode, with gradients by tapes, and compiled by XLA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lossc.compiler.loss import Loss
from lossc.compiler.targets.identifiers import function_name
from tests.targets.parity import Answer, load


def differentiated(function: Any, y: np.ndarray, f: np.ndarray) -> Answer:
    """Value, gradient and Hessian diagonal of a function of (y_true, y_pred) on TensorFlow tensors."""
    import tensorflow as tf

    t, z = tf.constant(y), tf.constant(f)
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(z)
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = function(t, z)
        slope = tape.gradient(value, z, unconnected_gradients="zero")
        entries = [slope] if z.shape.rank == 1 else tf.unstack(slope, axis=-1)
    bends = [outer.gradient(one, z, unconnected_gradients="zero") for one in entries]
    bend = bends[0] if z.shape.rank == 1 else tf.stack([b[..., i] for i, b in enumerate(bends)], axis=-1)
    return Answer(value.numpy(), slope.numpy(), bend.numpy())


def run(path: Path, loss: Loss, y: np.ndarray, f: np.ndarray) -> Answer:
    """What eager mode gives, which a graph compiled by XLA must agree with."""
    import tensorflow as tf

    function = getattr(load(path), function_name(loss.name))
    compiled = tf.function(function, jit_compile=True)
    answer = differentiated(function, y, f)
    np.testing.assert_allclose(compiled(tf.constant(y), tf.constant(f)).numpy(), answer.value, rtol=1e-4, atol=1e-5)
    return answer
