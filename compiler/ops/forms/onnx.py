"""How an ONNX model writes the operators: calls of ONNX operators (opset 18), which the printer turns into nodes.

`axis` is the initialiser that holds the class axis. What ONNX lacks is made of others without losing digits: log1p and
expm1 by Kahan's corrections, which need no more than a good Log and Exp. Sigmoid and Softplus exist, and are left out:
ONNX Runtime computes them with an absolute error (sigmoid(-18.5) has no right digit, and sigmoid(-20) is 0).
"""

from __future__ import annotations

KEY = "onnx"

_CALLS = {
    "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "pow": "Pow", "max": "Max", "min": "Min",
    "lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual", "eq": "Equal",
}  # fmt: skip
_FUNCTIONS = (
    "abs", "sign", "exp", "log", "sqrt", "relu", "erf", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh",
    "asinh", "acosh", "atanh",
)  # fmt: skip

_BOUNDED = "Min({0}, 1e+30)"
_LOG1P = (
    f"Add(Log(Add({{0}}, 1.0)), Div(Sub({_BOUNDED}, Sub(Add({_BOUNDED}, 1.0), 1.0)), Max(Add({_BOUNDED}, 1.0), 1e-30)))"
)
"""log(u) + (x - (u - 1))/u for u = 1 + x as rounded: the second term is what rounding took from x."""

_EXPM1 = (
    "Where(Less(Abs({0}), 1.0), "
    "Where(Equal(Exp({0}), 1.0), {0}, Mul(Sub(Exp({0}), 1.0), Div({0}, Log(Exp({0}))))), "
    "Sub(Exp({0}), 1.0))"
)
"""(u - 1) x/log(u) for u = exp(x) as rounded: numerator and logarithm have the same relative error."""

_TAN = "Atan(Div({0}, {1}))"
_PI, _HALF_PI = "3.141592653589793", "1.5707963267948966"

FORMS: dict[str, str] = {
    **{op: f"{name}({{0}}, {{1}})" for op, name in _CALLS.items()},
    **{op: f"{op.capitalize()}({{0}})" for op in _FUNCTIONS},
    "neg": "Neg({0})",
    "square": "Mul({0}, {0})",
    "ne": "Not(Equal({0}, {1}))",
    "where": "Where({0}, {1}, {2})",
    "log1p": _LOG1P,
    "expm1": _EXPM1,
    "clamp": "Min(Max({0}, {1}), {2})",
    "atan2": (
        f"Where(Greater({{1}}, 0.0), {_TAN}, Where(Equal({{1}}, 0.0), Mul(Sign({{0}}), {_HALF_PI}), "
        f"Add({_TAN}, Where(Less({{0}}, 0.0), -{_PI}, {_PI}))))"
    ),
    "num_classes": "num_classes",
    "sum_c": "ReduceSum({0}, axis, keepdims=1)",
    "mean_c": "ReduceMean({0}, axis, keepdims=1)",
    "max_c": "ReduceMax({0}, axis, keepdims=1)",
}
