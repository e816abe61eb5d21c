"""How a C99 header writes the operators: `{t}` stands for the suffix of the functions of math.h, "" or "f".

Conditions are of type int, all else of the one floating type of the function. `sum_c` and `max_c`
are steps of a loop over the classes, `{1}` the accumulator; the other class-axis operators are made of these. A maximum
is NaN where an operand is.
"""

from __future__ import annotations

KEY = "c"

_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==",
          "ne": "!="}  # fmt: skip
_UNARY = ("exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh",
          "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "lgamma")  # fmt: skip

FORMS: dict[str, str] = {
    **{op: f"{{0}} {sign} {{1}}" for op, sign in _INFIX.items()},
    **{op: f"{op}{{t}}({{0}})" for op in _UNARY},
    "neg": "-{0}",
    "abs": "fabs{t}({0})",
    "square": "{0} * {0}",
    "pow": "pow{t}({0}, {1})",
    "max": "{0} > {1} || {0} != {0} ? {0} : {1}",
    "min": "{0} < {1} || {0} != {0} ? {0} : {1}",
    "where": "{0} ? {1} : {2}",
    "hypot": "hypot{t}({0}, {1})",
    "atan2": "atan2{t}({0}, {1})",
    "num_classes": "num_classes",
    "sum_c": "{1} += {0}",
    "max_c": "{1} = {0} > {1} || {0} != {0} ? {0} : {1}",
}
