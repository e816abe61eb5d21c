"""Runs emitted Keras files on the backend that is configured (tests take TensorFlow's, or JAX's)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lossc.compiler.loss import Loss
from lossc.compiler.targets.identifiers import function_name
from tests.targets.parity import Answer, load


def run(path: Path, loss: Loss, y: np.ndarray, f: np.ndarray) -> Answer:
    """Value, gradient and Hessian diagonal of the function of the file, by the backend's own differentiation."""
    import keras

    function = getattr(load(path), function_name(loss.name))
    if keras.backend.backend() == "tensorflow":
        from tests.targets.run_tensorflow import differentiated

        return differentiated(function, y, f)
    import jax

    jax.config.update("jax_enable_x64", True)

    def one(z: jax.Array, t: jax.Array) -> jax.Array:
        return function(t, z)

    def each(z: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        bend = jax.hessian(one)(z, t)
        return jax.grad(one)(z, t), jax.numpy.diagonal(bend) if bend.ndim else bend

    slope, bend = jax.vmap(each)(f, y)
    return Answer(np.asarray(function(y, f)), np.asarray(slope), np.asarray(bend))
