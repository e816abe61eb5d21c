"""Numbers known to many digits as exact constants: a ratio of integers, or a simple ratio of a well-known number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

from lossc.compiler.ir import ZERO, Expr, const, is_writable
from lossc.compiler.ops import call
from lossc.compiler.printing import to_text

DIGITS = 40
"""Digits in which a number and what it is recognised as agree: many more than it takes to write the latter down."""
_RATIO, _MULTIPLE = 10**10, 10**4
"""Largest denominators of a plain ratio, and of one beside a root or a well-known number."""
_LARGEST = 10**12


def recognised(ctx: Any, x: Any, size: Any = 1, digits: int = DIGITS) -> Expr | None:
    """The constant that `x`, a number of 60 digits or more, is to `digits` of them; None if it is none of ours.

    Below 10^-digits of `size` it is 0. The forms are p/q, p/q times 10^k, pi, sqrt(pi), sqrt(2*pi), e, log(2), log(10)
    or one of these inverted, sqrt(p/q), log(p/q) and exp(p/q).
    """
    if not ctx.isfinite(x):
        return None
    if abs(x) <= abs(size) * ctx.mpf(10) ** -digits:
        return ZERO
    plain = _ratio(ctx, x, _RATIO, digits)
    if plain is not None and is_writable(plain):
        return const(plain)
    if not ctx.mpf(10) ** -6 < abs(x) < _LARGEST:
        power = int(ctx.floor(ctx.log10(abs(x))))
        ratio = _ratio(ctx, x / ctx.mpf(10) ** power, _MULTIPLE, digits)
        if ratio and is_writable(ratio * Fraction(10) ** power):
            return const(ratio * Fraction(10) ** power)
    for inner, outer in _forms(ctx, x):
        ratio = _ratio(ctx, inner, _MULTIPLE, digits)
        if ratio:
            return outer(ratio)
    return None


def _ratio(ctx: Any, x: Any, most: int, digits: int) -> Fraction | None:
    """The ratio with a denominator of at most `most` that has the digits of x, if there is one."""
    if not ctx.isfinite(x) or abs(x) > _LARGEST:
        return None
    mantissa, exponent = ctx.mpf(x).man_exp
    exact = Fraction(int(mantissa)) * Fraction(2) ** int(exponent) * (-1 if x < 0 else 1)
    for bound in (1000, 10**6, most):
        if bound <= most:
            near: Fraction = exact.limit_denominator(bound)
            if abs(near - exact) * 10**digits <= abs(exact):
                return near
    return None


def _forms(ctx: Any, x: Any) -> Iterator[tuple[Any, Callable[[Fraction], Expr]]]:
    """Numbers that are rational if x has one of our forms, and what x is then."""
    sign = Fraction(-1 if x < 0 else 1)
    yield x * x, lambda r: _times(sign, call("sqrt", const(r)))
    pi = call("pi")
    known = (
        (ctx.pi, pi),
        (ctx.sqrt(ctx.pi), call("sqrt", pi)),
        (ctx.sqrt(2 * ctx.pi), call("sqrt", 2 * pi)),
        (ctx.e, call("e")),
        (ctx.log(2), call("log", const(2))),
        (ctx.log(10), call("log", const(10))),
    )
    for value, written in known:
        yield x / value, lambda r, w=written: _times(r, w)  # type: ignore[misc]
        yield x * value, lambda r, w=written: const(r) / w  # type: ignore[misc]
    if abs(x) < 40:
        yield ctx.exp(x), lambda r: call("log", const(r))
    if x > 0:
        yield ctx.log(x), lambda r: call("exp", const(r))


def _times(ratio: Fraction, x: Expr) -> Expr:
    return x if ratio == 1 else -x if ratio == -1 else const(ratio) * x


def rounded(value: float) -> Fraction:
    """The simplest ratio near a number that a fit has found."""
    return Fraction(value).limit_denominator(1000)


def literal(ctx: Any, x: Any) -> Fraction:
    """x, which is none of our forms, as a literal of 38 digits."""
    return Fraction(ctx.nstr(x, 38, strip_zeros=True))


def is_short(written: Expr) -> bool:
    """Whether a constant is one that was recognised, and not a literal of many digits."""
    return not written.is_leaf or len(to_text(written)) < 25


def as_float(x: Any) -> float:
    """The float nearest to a number, infinite beyond them."""
    try:
        return float(x)
    except OverflowError:
        return float("inf") if x > 0 else float("-inf")
