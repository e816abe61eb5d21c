"""Closed float intervals with outward rounding: the numbers that static facts about an expression are made of.

An `Interval` says where a value can lie and whether the expression is certainly defined (a finite real number) on the
whole box (`total`). Bounds are float64; `TINY`, the least positive float, stands for "greater than zero". The rules of
each operator live on its record (`lossc.compiler.ops`); here is only what they share.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

INF = math.inf
TINY = 5e-324


def down(x: float, ulps: int = 1) -> float:
    """A float at or below the real number that was rounded to `x`."""
    for _ in range(ulps):
        x = math.nextafter(x, -INF)
    return x


def up(x: float, ulps: int = 1) -> float:
    """A float at or above the real number that was rounded to `x`."""
    return -down(-x, ulps)


@dataclass(frozen=True, slots=True)
class Interval:
    """All values lie in [lo, hi]; with `total`, the expression has a finite real value at every point of the box."""

    lo: float
    hi: float
    total: bool = True

    @property
    def is_point(self) -> bool:
        return self.lo == self.hi

    @property
    def nonzero(self) -> bool:
        return self.lo > 0 or self.hi < 0

    def __contains__(self, x: float) -> bool:
        return self.lo <= x <= self.hi

    def within(self, lo: float, hi: float) -> bool:
        return lo <= self.lo and self.hi <= hi


REAL = Interval(-INF, INF)
NOWHERE_SURE = Interval(-INF, INF, total=False)
UNIT = Interval(0.0, 1.0)
POSITIVE = Interval(TINY, INF)
NONNEGATIVE = Interval(0.0, INF)


def point(x: float) -> Interval:
    """The interval that holds one number."""
    return Interval(x, x)


def partial(interval: Interval) -> Interval:
    """The same range, no longer certain to be defined."""
    return Interval(interval.lo, interval.hi, total=False)


def hull(items: Iterable[Interval]) -> Interval:
    """The smallest interval that holds them all; total only if all are."""
    parts = list(items)
    return Interval(min(p.lo for p in parts), max(p.hi for p in parts), all(p.total for p in parts))


def product(a: float, b: float) -> float:
    """a*b on the extended reals with 0*inf = 0, as products of bounds need it."""
    return 0.0 if a == 0 or b == 0 else a * b


def add(a: Interval, b: Interval) -> Interval:
    """Exact bounds stay as they are (1 - f >= 0 for f <= 1), and nonnegative numbers add up to no less than each."""
    lo = a.lo + b.lo if _exact(a.lo, b.lo) else down(a.lo + b.lo)
    hi = a.hi + b.hi if _exact(a.hi, b.hi) else up(a.hi + b.hi)
    if a.lo >= 0 and b.lo >= 0:
        lo = max(lo, a.lo, b.lo)
    if a.hi <= 0 and b.hi <= 0:
        hi = min(hi, a.hi, b.hi)
    return Interval(lo, hi, a.total and b.total)


def _exact(x: float, y: float) -> bool:
    """Whether the float sum of two numbers is their sum (the error term of Knuth's two-sum is 0)."""
    total = x + y
    return total - y == x and total - x == y


def sub(a: Interval, b: Interval) -> Interval:
    """The image of a - b."""
    return add(a, neg(b))


def neg(a: Interval) -> Interval:
    """The image of -a."""
    return Interval(-a.hi, -a.lo, a.total)


def mul(a: Interval, b: Interval) -> Interval:
    """The image of a * b."""
    corners = [product(x, y) for x in (a.lo, a.hi) for y in (b.lo, b.hi)]
    lo, hi = min(corners), max(corners)
    nonnegative = (a.lo >= 0 and b.lo >= 0) or (a.hi <= 0 and b.hi <= 0)
    nonpositive = (a.lo >= 0 and b.hi <= 0) or (a.hi <= 0 and b.lo >= 0)
    lo = max(down(lo), 0.0) if nonnegative else down(lo)
    hi = min(up(hi), 0.0) if nonpositive else up(hi)
    return Interval(lo, hi, a.total and b.total)


def div(a: Interval, b: Interval) -> Interval:
    """The image of a / b. If b can be 0 it is not certain to be defined: the range is that of where b is not 0."""
    if b.nonzero:
        return mul(a, _inverse(b))
    if b.lo == 0 < b.hi:
        return partial(mul(a, Interval(_inverse(Interval(b.hi, b.hi)).lo, INF)))
    if b.lo < 0 == b.hi:
        return partial(mul(a, Interval(-INF, _inverse(Interval(b.lo, b.lo)).hi)))
    return NOWHERE_SURE


def _inverse(b: Interval) -> Interval:
    """The image of 1 / b, for a b that is never 0."""
    lo, hi = down(1 / b.hi) if b.hi else -INF, up(1 / b.lo) if b.lo else INF
    return Interval(max(lo, 0.0), hi, b.total) if b.lo > 0 else Interval(lo, min(hi, 0.0), b.total)


def square(a: Interval) -> Interval:
    """The image of a * a."""
    ends = (a.lo * a.lo, a.hi * a.hi)
    return Interval(0.0 if 0 in a else max(down(min(ends)), 0.0), up(max(ends)), a.total)


def absolute(a: Interval) -> Interval:
    """The image of |a|."""
    ends = (abs(a.lo), abs(a.hi))
    return Interval(0.0 if 0 in a else min(ends), max(ends), a.total)


def increasing(function: Callable[[float], float], a: Interval, lo: float = -INF, hi: float = INF) -> Interval:
    """The image under an increasing function whose values lie in [lo, hi]; library functions are off by <= 4 ulp."""
    return Interval(max(down(_safe(function, a.lo), 4), lo), min(up(_safe(function, a.hi), 4), hi), a.total)


def decreasing(function: Callable[[float], float], a: Interval, lo: float = -INF, hi: float = INF) -> Interval:
    """The image under a decreasing function whose values lie in [lo, hi]."""
    return Interval(max(down(_safe(function, a.hi), 4), lo), min(up(_safe(function, a.lo), 4), hi), a.total)


def _safe(function: Callable[[float], float], x: float) -> float:
    try:
        return function(x)
    except OverflowError:
        return INF


def truth(certainly: bool, certainly_not: bool, total: bool = True) -> Interval:
    """A three-valued truth as an interval within [0, 1]."""
    if certainly:
        return Interval(1.0, 1.0, total)
    return Interval(0.0, 0.0, total) if certainly_not else Interval(0.0, 1.0, total)
