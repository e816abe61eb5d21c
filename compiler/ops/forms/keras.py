"""How an exported Keras file writes the operators: by keras.ops alone, for every backend; `axis` is the class axis.

Keras has no hypot, lgamma and digamma in all of its versions since 3.0: they are made of others.
"""

from __future__ import annotations

KEY = "keras"

_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
_COMPARED = {"lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal",
             "ne": "not_equal"}  # fmt: skip
_SAME = ("exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "abs",
         "sign", "square", "sigmoid", "softplus", "relu", "erf")  # fmt: skip
_ARC = ("asin", "acos", "atan", "asinh", "acosh", "atanh")

FORMS: dict[str, str] = {
    **{op: f"{{0}} {sign} {{1}}" for op, sign in _INFIX.items()},
    **{op: f"ops.{name}({{0}}, {{1}})" for op, name in _COMPARED.items()},
    **{op: f"ops.{op}({{0}})" for op in _SAME},
    **{op: f"ops.arc{op[1:]}({{0}})" for op in _ARC},
    "neg": "-{0}",
    "pow": "ops.power({0}, {1})",
    "max": "ops.maximum({0}, {1})",
    "min": "ops.minimum({0}, {1})",
    "where": "ops.where({0}, {1}, {2})",
    "atan2": "ops.arctan2({0}, {1})",
    "logsigmoid": "ops.log_sigmoid({0})",
    "num_classes": "num_classes",
    "sum_c": "ops.sum({0}, axis=axis, keepdims=True)",
    "mean_c": "ops.mean({0}, axis=axis, keepdims=True)",
    "max_c": "ops.max({0}, axis=axis, keepdims=True)",
    "logsumexp_c": "ops.logsumexp({0}, axis=axis, keepdims=True)",
    "softmax": "ops.softmax({0}, axis=axis)",
    "log_softmax": "ops.log_softmax({0}, axis=axis)",
}
