"""JAX files in JAX: parity with mpmath, jit, vmap, grad and hessian, masks, axes, dtypes, optax's own losses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossc.compiler.loss import CLASSWISE
from lossc.grammar.library import named, names
from tests.targets.cases import BITS, filled, named_case, random_case, seeds
from tests.targets.parity import compare, emitted, load, runner

jax = pytest.importorskip("jax")
jnp = jax.numpy
jax.config.update("jax_enable_x64", True)


def function(name: str, folder: Path) -> Any:
    loss = named(name)
    return getattr(load(emitted("jax", loss, folder)), f"{name.removesuffix('_loss')}_loss")


@pytest.mark.parametrize("name", names())
def test_named_losses_equal_mpmath(name: str, tmp_path: Path) -> None:
    """Value, gradient and Hessian diagonal within 4 ulp of what arithmetic of the dtype can have."""
    for dtype in BITS:
        found = compare("jax", named_case(name), dtype, tmp_path)
        assert found.share <= 1, (name, dtype, found)


@pytest.mark.parametrize("seed", seeds(25))
def test_random_losses_equal_mpmath(seed: int, tmp_path: Path) -> None:
    """The same for losses bred at random."""
    case = random_case(seed)
    for dtype in BITS:
        found = compare("jax", case, dtype, tmp_path)
        assert found.share <= 1, (str(case.loss), dtype, found)


@pytest.mark.parametrize(
    "name", ["pseudo_huber", "tukey", "tweedie", "bce_logits", "cross_entropy", "focal", "evomal_c", "multi_margin",
             "crammer_singer", "ace"],
)  # fmt: skip
def test_every_second_derivative_is_that_of_jax(name: str, tmp_path: Path) -> None:
    """By predictions, targets and hyper-parameters, mixed ones in both orders, over a whole row, with a mask: JAX's own
    derivatives of the plain function, to the digits that these have."""
    case, loss = named_case(name), named_case(name).loss
    module = load(emitted("jax", loss, tmp_path))
    ours = getattr(module, module.__all__[0])
    y, f = case.arrays("float64")
    mask = np.arange(f.shape[1]) > 0 if f.ndim == 2 else np.array(True)
    at = (jnp.asarray(f), jnp.asarray(y), *(jnp.asarray(float(p.default)) for p in loss.params))

    def total(z: Any, t: Any, *settings: Any, where: Any = None) -> Any:
        given = dict(zip([p.name for p in loss.params], settings, strict=True))
        return ours(z, t, where=where, **given).sum()

    def second(way: Any, where: Any) -> list[Any]:
        numbers = tuple(range(len(at)))
        made = way(jax.grad(lambda *x: total(*x, where=where), numbers), numbers)
        rows = (0, 0, *(None for _ in loss.params))
        return jax.tree.leaves(jax.jit(jax.vmap(made, rows))(*at))

    for ways, where in (((jax.jacrev, jax.jacfwd), None), ((jax.jacrev,), mask)):
        found = [second(way, where) for way in ways]
        tied, module._loss = module._loss, module._value
        plain = second(jax.jacfwd, where)
        module._loss = tied
        for one, own in ((a, b) for way in found for a, b in zip(way, plain, strict=True)):
            scale = float(jnp.max(jnp.abs(own)))
            np.testing.assert_allclose(one, own, rtol=1e-8, atol=1e-9 * (1 + scale), err_msg=name)


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


EDGES = np.array([0.0, -0.0, 1e-30, -1e-7, 1.0, -1.0, 20.0, -100.0, 100.0, 1e4, -1e4])
SUBNORMAL = {"evomal_c"}
"""In float32 XLA takes a probability of 1e-44 for 0, and divides by it: docs/targets.md."""


@pytest.mark.parametrize("name", names())
def test_finite_where_numpy_is(name: str, tmp_path: Path) -> None:
    """Zero residuals, ties, saturated scores: value, gradient and Hessian have a number where NumPy's have."""
    loss = filled(named(name))
    for dtype in BITS if name not in SUBNORMAL else ("float64",):
        f = EDGES.astype(dtype)
        if loss.layout == CLASSWISE:
            f = np.array([[a, b, 0.0] for a in EDGES[4:] for b in EDGES[6:]], dtype)
        f = np.abs(f) + np.asarray(0.125, dtype) if loss.f in ("positive", "unit") else f
        y = np.full_like(f, {"sign": 1.0, "positive": 0.5}.get(loss.y, 0.0))
        if loss.layout == CLASSWISE:
            y = np.zeros_like(f)
            y[:, 0] = 1.0
        theirs, ours = (runner(t)(emitted(t, loss, tmp_path), loss, y, f) for t in ("numpy", "jax"))
        for reference, found in zip(theirs, ours, strict=True):
            assert np.isfinite(found[np.isfinite(reference)]).all(), (name, dtype)


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
