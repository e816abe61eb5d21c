"""How an exported JAX file writes the operators; `axis` is the class axis, `where` a mask of classes
or None.

`clamp` and `relu` are written by `where`, for their slopes at the ends (`jnp.clip` has 1/2 there). `_log_softmax` of such a file is JAX's own,
but 0 at classes that are left out, where JAX has -inf; `_expm1`, `_sigmoid`
and `_power` are JAX's own with slopes that do not cancel (JAX has expm1(x) + 1, and p(1 - p)) and are finite.
"""

from __future__ import annotations

KEY = "jax"

_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
          "eq": "==", "ne": "!="}  # fmt: skip
_SAME = ("exp", "log", "log1p", "log2", "log10", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "abs",
         "sign")  # fmt: skip
_ARC = ("asin", "acos", "atan", "asinh", "acosh", "atanh")

FORMS: dict[str, str] = {
    **{op: f"{{0}} {sign} {{1}}" for op, sign in _INFIX.items()},
    **{op: f"jnp.{op}({{0}})" for op in _SAME},
    **{op: f"jnp.arc{op[1:]}({{0}})" for op in _ARC},
    "expm1": "_expm1({0})",
    "pow": "_power({0}, {1})",
    "neg": "-{0}",
    "square": "jnp.square({0})",
    "max": "jnp.maximum({0}, {1})",
    "min": "jnp.minimum({0}, {1})",
    "where": "jnp.where({0}, {1}, {2})",
    "hypot": "jnp.hypot({0}, {1})",
    "atan2": "jnp.arctan2({0}, {1})",
    "sigmoid": "_sigmoid({0})",
    "logsigmoid": "jax.nn.log_sigmoid({0})",
    "softplus": "jax.nn.softplus({0})",
    "erf": "jax.scipy.special.erf({0})",
    "erfc": "jax.scipy.special.erfc({0})",
    "lgamma": "jax.scipy.special.gammaln({0})",
    "digamma": "jax.scipy.special.digamma({0})",
    "trigamma": "jax.scipy.special.polygamma(1, {0})",
    "num_classes": "num_classes",
    "sum_c": "jnp.sum({0}, axis=axis, keepdims=True, where=where)",
    "mean_c": "jnp.mean({0}, axis=axis, keepdims=True, where=where)",
    "max_c": "jnp.max({0}, axis=axis, keepdims=True, initial=-jnp.inf, where=where)",
    "logsumexp_c": "jax.nn.logsumexp({0}, axis=axis, keepdims=True, where=where)",
    "softmax": "jax.nn.softmax({0}, axis=axis, where=where)",
    "log_softmax": "_log_softmax({0}, axis, where)",
}
