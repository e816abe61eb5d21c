"""Runs emitted Keras files on the backend that is configured (tests take TensorFlow's, or JAX's)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.targets.identifiers import function_name
from tests.targets.parity import Answer, load


def run(path: Path, loss: Loss, y: np.ndarray, f: np.ndarray) -> Answer:
    """Value, gradient and Hessian of the function of the file."""
    import keras

    function = getattr(load(path), function_name(loss.name))
    if keras.backend.backend() == "tensorflow":
        from tests.targets.run_tensorflow import differentiated

        return differentiated(function, loss, y, f)
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def one(z: jax.Array, t: jax.Array) -> jax.Array:
        return function(t, z)

    def bends(z: jax.Array, t: jax.Array) -> jax.Array:
        return jnp.diagonal(jax.hessian(one)(z, t)) if loss.layout == CLASSWISE else jax.grad(jax.grad(one))(z, t)

    slope, bend = jax.vmap(jax.grad(one))(f, y), jax.vmap(bends)(f, y)
    return Answer(*(np.asarray(a) for a in (function(y, f), slope, bend)))
