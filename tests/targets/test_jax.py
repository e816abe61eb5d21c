"""JAX files in JAX: parity with mpmath, jit, vmap, grad and hessian, masks, axes, dtypes, optax's own losses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossc.compiler.loss import Loss
from lossc.grammar.library import named, names
from tests.targets.cases import BITS, named_case, random_case
from tests.targets.parity import compare, emitted, load

jax = pytest.importorskip("jax")
jnp = jax.numpy
jax.config.update("jax_enable_x64", True)

AUTOMATIC = 256
"""How much more JAX's own second derivative may be off: it differentiates the program, not a closed form of ours."""


CANCELLING = {"evomal_c"}
"""((y - f)/f)^4: JAX's derivative of the softmax cancels where p is small, by some thousand ulp."""


def function(name: str, folder: Path) -> Any:
    loss = named(name)
    return getattr(load(emitted("jax", loss, folder)), f"{name.removesuffix('_loss')}_loss")


@pytest.mark.parametrize("name", names())
def test_named_losses_equal_mpmath(name: str, tmp_path: Path) -> None:
    """Value and gradient within 4 ulp of what arithmetic of the dtype can have; the Hessian is JAX's own."""
    _equal(named_case(name).loss, lambda dtype, which: compare("jax", named_case(name), dtype, tmp_path, which),
           AUTOMATIC if name in CANCELLING else 1)  # fmt: skip


@pytest.mark.parametrize("seed", range(25))
def test_random_losses_equal_mpmath(seed: int, tmp_path: Path) -> None:
    """The same for losses bred at random; value and gradient."""
    _equal(random_case(seed).loss, lambda dtype, which: compare("jax", random_case(seed), dtype, tmp_path, which), 4)


def _equal(loss: Loss, find: Any, share: float = 1) -> None:
    for dtype in BITS:
        assert find(dtype, (0, 1)).share <= share, (loss.name, dtype, find(dtype, (0, 1)))
        assert find(dtype, (2,)).share <= AUTOMATIC, (loss.name, dtype, find(dtype, (2,)))


def test_cross_entropy_is_that_of_optax(tmp_path: Path) -> None:
    """One-hot rows, indices, an axis in front, a mask of classes: values and gradients of optax.losses."""
    optax = pytest.importorskip("optax")
    ours = function("cross_entropy", tmp_path)
    f = jnp.asarray(np.random.default_rng(0).normal(size=(6, 4)) * 5)
    labels = jnp.asarray([0, 3, 1, 2, 2, 0])
    hot = jax.nn.one_hot(labels, 4, dtype=f.dtype)
    theirs = optax.losses.softmax_cross_entropy
    np.testing.assert_allclose(ours(f, hot), theirs(f, hot), rtol=1e-12)
    np.testing.assert_allclose(ours(f, labels), theirs(f, hot), rtol=1e-12)
    np.testing.assert_allclose(ours(f.T, hot.T, axis=0), theirs(f, hot), rtol=1e-12)
    np.testing.assert_allclose(
        jax.grad(lambda z: ours(z, hot).sum())(f), jax.grad(lambda z: theirs(z, hot).sum())(f), atol=1e-12
    )
    mask = jnp.ones_like(hot, bool).at[:, 1].set(False)
    np.testing.assert_allclose(ours(f, hot, where=mask), theirs(f, hot, where=mask), rtol=1e-12, atol=1e-12)


def test_what_is_masked_out_leaves_no_trace(tmp_path: Path) -> None:
    """NaN behind the mask: the value is 0 and so is the gradient, elementwise and by sample."""
    huber = function("pseudo_huber", tmp_path)
    f, y = jnp.asarray([1.0, jnp.nan, 3.0]), jnp.asarray([0.0, jnp.nan, 1.0])
    where = jnp.asarray([True, False, True])
    slope = jax.grad(lambda z: huber(z, y, where=where).sum())(f)
    assert huber(f, y, where=where)[1] == 0 and slope[1] == 0 and bool(jnp.isfinite(slope).all())
    focal = function("focal", tmp_path)
    z = jnp.asarray([[1.0, 2.0, 0.5], [jnp.nan] * 3])
    slope = jax.grad(lambda z: focal(z, jnp.asarray([1, 0]), where=jnp.asarray([[True], [False]])).sum())(z)
    assert bool((slope[1] == 0).all()) and bool(jnp.isfinite(slope).all())


def test_derivatives_are_finite_at_guarded_places(tmp_path: Path) -> None:
    """Saturated scores, zero residuals, hyper-parameters that are traced or have a gradient: nothing is NaN."""
    focal = jax.jit(function("focal", tmp_path))
    z = jnp.asarray([[1e4, -1e4, 0.0], [0.0, 0.0, 0.0], [100.0, 100.0, -100.0]])
    for gamma in (0.0, 0.5, 2.0):
        total = lambda z, g=gamma: focal(z, jnp.asarray([0, 1, 2]), gamma=g).sum()  # noqa: E731
        assert bool(jnp.isfinite(jax.grad(total)(z)).all()) and bool(jnp.isfinite(jax.hessian(total)(z)).all())
    huber = function("pseudo_huber", tmp_path)
    slope = jax.grad(lambda d: huber(jnp.zeros(3), jnp.asarray([0.0, 1.0, 2.0]), delta=d).sum())(1.0)
    assert bool(jnp.isfinite(slope))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_dtypes_stay(dtype: str, tmp_path: Path) -> None:
    """The result has the dtype of the predictions, whatever the targets have."""
    huber = function("pseudo_huber", tmp_path)
    assert huber(jnp.ones(3, dtype), np.zeros(3)).dtype == dtype


def test_shapes_that_do_not_fit_are_errors(tmp_path: Path) -> None:
    """Nothing is broadcast by accident."""
    with pytest.raises(ValueError, match="shape"):
        function("mse", tmp_path)(jnp.ones((3, 1)), jnp.ones(3))
