"""How an exported NumPy file writes the operators: what differs from the records' own NumPy forms, which use SciPy.

The key is "np": a file that imports nothing but NumPy and Python's math. `_each` of such a file applies a function of
math to every element; `axis` is the class axis.
"""

from __future__ import annotations

KEY = "np"

_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
          "eq": "==", "ne": "!="}  # fmt: skip
_SAME = ("exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "abs",
         "sign")  # fmt: skip
_ARC = ("asin", "acos", "atan", "asinh", "acosh", "atanh")

FORMS: dict[str, str] = {
    **{op: f"{{0}} {sign} {{1}}" for op, sign in _INFIX.items()},
    **{op: f"np.{op}({{0}})" for op in _SAME},
    **{op: f"np.arc{op[1:]}({{0}})" for op in _ARC},
    "neg": "-{0}",
    "square": "{0} * {0}",
    "max": "np.maximum({0}, {1})",
    "min": "np.minimum({0}, {1})",
    "where": "np.where({0}, {1}, {2})",
    "hypot": "np.hypot({0}, {1})",
    "atan2": "np.arctan2({0}, {1})",
    "erf": "_each(math.erf, {0})",
    "erfc": "_each(math.erfc, {0})",
    "lgamma": "_each(_lgamma, {0})",
    "num_classes": "num_classes",
    "sum_c": "np.sum({0}, axis=axis, keepdims=True)",
    "max_c": "np.max({0}, axis=axis, keepdims=True)",
}
