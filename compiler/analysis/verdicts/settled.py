"""Numbers to many digits: what a value is, and whether two are equal, by whether more digits change the answer.

A difference that shrinks as fast as digits are added is 0; one that stays as it is is not. This is strong evidence and
no proof: two numbers that agree to 200 digits count as equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any

from lossc.compiler.analysis.verdicts.clock import tick
from lossc.compiler.analysis.world import context
from lossc.compiler.evaluate import evaluate_all
from lossc.compiler.ir import Expr

DIGITS = (60, 120, 240)


def mpf(x: Fraction, digits: int) -> Any:
    """A rational number to that many digits."""
    ctx = context()
    with ctx.workdps(digits):
        return ctx.mpf(x.numerator) / x.denominator


NOTHING = -30
"""Noise below 10^-30 may be taken for 0."""


def value_at(root: Expr, env: Mapping[Expr, Any], digits: int) -> Any:
    """The value to some digits; NaN where there is none, or where greater numbers have left no digit of it."""
    tick()
    ctx = context()
    greatest = ctx.zero

    def seen(value: Any) -> Any:
        nonlocal greatest
        if not isinstance(value, bool) and ctx.isfinite(value) and abs(value) > greatest:
            greatest = abs(value)
        return value

    (value,) = evaluate_all([root], env, dps=digits, ctx=ctx, each=seen)
    if not isinstance(value, list) and ctx.isfinite(value) and greatest > ctx.mpf(10) ** (digits - 10 + NOTHING):
        return value if abs(value) > greatest * ctx.mpf(10) ** (10 - digits) else ctx.nan
    return value


def settled(at_digits: Callable[[int], Any]) -> Any:
    """What numbers settle on as digits are added: 0 if they shrink with the digits; NaN if they do neither.

    `at_digits` computes the number to that many digits. What is infinite is returned as it is.
    """
    ctx = context()
    last: Any = None
    for value in _values(at_digits):
        if ctx.isnan(value):
            last = None
            continue
        if not ctx.isfinite(value):
            return value
        if last is not None:
            if abs(value) <= ctx.mpf(10) ** -30 * abs(last):
                return ctx.zero
            if abs(value - last) <= ctx.mpf(10) ** -6 * abs(value):
                return value
        last = value
    return ctx.nan


def _values(at_digits: Callable[[int], Any]) -> Iterator[Any]:
    for digits in DIGITS:
        yield at_digits(digits)


def settled_value(root: Expr, env: Mapping[Expr, Any]) -> Any:
    """The value of an expression where the leaves have exact values."""
    return settled(lambda digits: value_at(root, env, digits))
