"""Runs emitted JAX files: under jit, with vmap, grad and hessian."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.targets.identifiers import function_name
from tests.targets.parity import Answer, load


def run(path: Path, loss: Loss, y: np.ndarray, f: np.ndarray) -> Answer:
    """The value of the batch; gradient and Hessian of each element or sample."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    function = getattr(load(path), function_name(loss.name))

    def one(z: Any, t: Any) -> Any:
        return function(z, t)

    def each(z: Any, t: Any) -> Any:
        if loss.layout == CLASSWISE:
            return jax.grad(one)(z, t), jnp.diagonal(jax.hessian(one)(z, t))
        return jax.grad(one)(z, t), jax.grad(jax.grad(one))(z, t)

    slope, bend = jax.jit(jax.vmap(each))(f, y)
    return Answer(*(np.asarray(a) for a in (jax.jit(function)(f, y), slope, bend)))
