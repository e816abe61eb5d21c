"""Numbers in emitted code: exact constants as float64 literals, and arithmetic on Python floats that never raises.

Python raises where IEEE arithmetic gives NaN or an infinity (1/0, log(0), exp(1000)). Hyper-parameters are Python
floats, so where facts do not exclude it the emitted expression asks first.
"""

from __future__ import annotations

import math
from fractions import Fraction

from lossc.compiler.errors import LossTypeError
from lossc.compiler.evaluate import evaluate
from lossc.compiler.facts import Facts
from lossc.compiler.interval import Interval
from lossc.compiler.ir import CONST, Expr, summary

_DIGITS = 40
_EXP_LIMIT = 709.0

PLAIN = frozenset({
    "add", "sub", "mul", "neg", "square", "abs", "sign", "heaviside", "lt", "le", "gt", "ge", "eq", "ne", "max", "min",
    "clamp", "where", "hypot", "logaddexp", "atan2", "atan", "tanh", "asinh", "sigmoid", "logsigmoid", "softplus",
    "relu", "erf", "erfc", "plog", "psqrt", "clog", "csqrt", "aq", "num_classes",
})  # fmt: skip
"""Operators whose template for Python floats never raises. What is neither here nor in `CAREFUL` becomes a tensor."""

CAREFUL: dict[str, str] = {
    "div": "{0} / {1} if {1} != 0.0 else math.nan",
    "log": "math.log({0}) if {0} > 0.0 else math.nan",
    "log2": "math.log2({0}) if {0} > 0.0 else math.nan",
    "log10": "math.log10({0}) if {0} > 0.0 else math.nan",
    "log1p": "math.log1p({0}) if {0} > -1.0 else math.nan",
    "sqrt": "math.sqrt({0}) if {0} >= 0.0 else math.nan",
    "asin": "math.asin({0}) if abs({0}) <= 1.0 else math.nan",
    "acos": "math.acos({0}) if abs({0}) <= 1.0 else math.nan",
    "acosh": "math.acosh({0}) if {0} >= 1.0 else math.nan",
    "atanh": "math.atanh({0}) if abs({0}) < 1.0 else math.nan",
    "lgamma": "math.lgamma({0}) if 0.0 < {0} < 1e305 else math.nan",
    "sin": "math.sin({0}) if abs({0}) < math.inf else math.nan",
    "cos": "math.cos({0}) if abs({0}) < math.inf else math.nan",
    "tan": "math.tan({0}) if abs({0}) < math.inf else math.nan",
    "xlogy": "0.0 if {0} == 0.0 else {0} * math.log({1}) if {1} > 0.0 else math.nan",
    "exp": "math.exp({0}) if {0} < 709.0 else math.inf",
    "expm1": "math.expm1({0}) if {0} < 709.0 else math.inf",
    "cosh": "math.cosh({0}) if abs({0}) < 709.0 else math.inf",
    "sinh": "math.sinh({0}) if abs({0}) < 709.0 else math.copysign(math.inf, {0})",
    "pow": "_power({0}, {1})",
}
"""Templates for Python floats that may lie where the plain operation raises."""

POWER_HELPER = '''
def _power(x: float, p: float) -> float:
    """x to the power p, NaN where that is undefined and infinite where it overflows."""
    if (x < 0.0 and p % 1.0 != 0.0) or (x == 0.0 and p < 0.0):
        return math.nan
    if x != 0.0 and p * math.log2(abs(x)) >= 1024.0:
        return -math.inf if x < 0.0 and p % 2.0 == 1.0 else math.inf
    return math.pow(x, p)
'''
"""What `pow` of Python floats calls; part of an emitted file that needs it."""


def is_certain(op: str, args: tuple[Expr, ...], facts: Facts) -> bool:
    """Whether Python's own operation cannot raise, whatever the hyper-parameters are."""
    bounds = [facts.range(a) for a in args]
    if op not in CAREFUL:
        return True
    if op in ("exp", "expm1", "cosh", "sinh"):
        return bounds[0].within(-_EXP_LIMIT, _EXP_LIMIT) or (op in ("exp", "expm1") and bounds[0].hi <= _EXP_LIMIT)
    if op == "div":
        return bounds[1].nonzero and not _vanishes(bounds[1])
    if op in ("log", "log2", "log10", "lgamma"):
        return bounds[0].lo > 0 and (op != "lgamma" or bounds[0].hi < 1e300) and not _vanishes(bounds[0])
    if op in ("sin", "cos", "tan"):
        return bounds[0].within(-1e300, 1e300)
    return op == "sqrt" and bounds[0].lo >= 0


def _vanishes(bound: Interval) -> bool:
    """Whether rounding may make a value in the interval 0, although it is not (delta^2 with a tiny delta)."""
    return 5e-324 < min(abs(bound.lo), abs(bound.hi)) < 1e-300


def constant_value(here: Expr) -> float | bool:
    """The float64 nearest to an expression of constants (or the truth of a condition); NaN where it is undefined.

    Raises LossTypeError (L340) for a number that float64 rounds to zero or to infinity.
    """
    if here.op == CONST:
        return _fits(_to_float(here.number), here.number != 0, here)
    found = evaluate(here, {}, dps=_DIGITS)
    if isinstance(found, bool):
        return found
    number = float(found)
    return number if math.isnan(number) else _fits(number, bool(found != 0), here)


def _to_float(number: Fraction) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _fits(number: float, nonzero: bool, here: Expr) -> float:
    if math.isinf(number) or (number == 0.0 and nonzero):
        what = "too large" if math.isinf(number) else "too small"
        raise LossTypeError("L340", f"the constant `{summary(here, 40)}` is {what} for a float64")
    return number


def literal(value: float | bool) -> str:
    """Python source of a float, exact; `math.nan` for NaN."""
    if isinstance(value, bool):
        return str(value)
    return "math.nan" if math.isnan(value) else repr(value)
