"""All zeros of an expression on an interval: isolated with intervals, so that none is missed, then computed."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from lossc.compiler.analysis.verdicts.ranges import Ranges, split
from lossc.compiler.analysis.verdicts.settled import mpf, settled_value, value_at
from lossc.compiler.analysis.world import context
from lossc.compiler.errors import LosscError
from lossc.compiler.facts import Facts
from lossc.compiler.interval import INF, Interval
from lossc.compiler.ir import CONST, ZERO, Expr, F, const, is_writable, postorder, substitute
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.passes.differentiate import derivative
from lossc.compiler.passes.domain import THROUGH_ZERO

DIGITS = 60
BUDGET = 300
"""Boxes that the search for the zeros of one expression may look at."""
_TAILS = (1e30, 1e100, 1e300)


class Unclear(Exception):
    """The pieces of a function could not be had; `str()` says why."""


@dataclass(eq=False)
class Break:
    """Where pieces meet: the number with 60 digits, and exactly if it is rational.

    `of` is an expression with this as a simple zero; `zeros` are the levers that are 0 here.
    """

    at: Any
    exact: Fraction | None
    of: Expr = F
    zeros: set[Expr] = field(default_factory=set)

    def to(self, digits: int) -> Any:
        """The number with more digits."""
        if self.exact is not None:
            return mpf(self.exact, digits)
        if digits <= DIGITS:
            return self.at
        slope = derivative(self.of, F)
        ctx = context()
        with ctx.workdps(digits + 10):
            x = self.at
            for _ in range(4):
                x = x - value_at(self.of, {F: x}, digits + 10) / value_at(slope, {F: x}, digits + 10)
            return x

    def same(self, other: Break) -> bool:
        """Whether two breaks are one point."""
        if self.exact is not None and other.exact is not None:
            return self.exact == other.exact
        return bool(abs(self.at - other.at) <= context().mpf(10) ** -45 * max(abs(self.at), abs(other.at)))

    def mirrors(self, other: Break) -> bool:
        """Whether two breaks are at x and -x."""
        if self.exact is not None and other.exact is not None:
            return self.exact == -other.exact
        return bool(abs(self.at + other.at) <= context().mpf(10) ** -45 * max(abs(self.at), abs(other.at)))

    def __str__(self) -> str:
        if self.exact is not None and self.exact.denominator < 1000 and abs(self.exact) < 10**6:
            return str(self.exact)
        return f"{float(self.at):.6g}"


def zeros(k: Expr, box: Interval, facts: Facts, inside: frozenset[Expr]) -> list[Break]:
    """The zeros inside a box, or more places than these, of an expression that is analytic there or has no value.

    Raises Unclear if they cannot be isolated, LosscError.
    """
    out: list[Break] = []
    for factor in _factors(k, inside):
        out += _isolated(factor, box, facts, inside)
    return out


def _factors(k: Expr, inside: frozenset[Expr]) -> list[Expr]:
    """Simpler expressions, one of which is 0 wherever k is."""
    todo, out = [k], dict[Expr, None]()
    while todo:
        here = todo.pop()
        if not any(n is F for n in postorder(here)):
            if not Ranges(here, None, inside)({}).nonzero:
                raise Unclear("it is not certain that a factor is not 0")
            continue
        if here.op in ("mul", "hypot"):
            todo += here.args
        elif here.op in ("neg", "abs", "square", "sqrt", "div") or here.op in THROUGH_ZERO:
            todo.append(here.args[0])
        elif here.op == "pow":
            todo += [] if here.args[1].op == CONST and here.args[1].number <= 0 else [here.args[0]]
        else:
            out[here] = None
    return list(out)


def _isolated(k: Expr, domain: Interval, facts: Facts, inside: frozenset[Expr]) -> list[Break]:
    value = Ranges(k, None, inside)
    try:
        slope = Ranges(canonical_expr(derivative(k, F), facts), None, inside)
    except LosscError as problem:
        raise Unclear(str(problem)) from None
    out: list[Break] = []
    todo: list[Interval] = [domain]
    seen = 0
    while todo:
        box = todo.pop()
        seen += 1
        if value({F: box}).nonzero:
            continue
        if slope({F: box}).nonzero:
            bounded = _bounded(value, box)
            if bounded is not None:
                root = _single(k, slope.root, bounded, facts)
                out += [root] if root is not None else []
                continue
        halves = split({F: box})
        if halves is None or seen > BUDGET:
            raise Unclear("its kinks could not be isolated")
        todo += [h[F] for h in halves]
    return out


def _bounded(value: Ranges, box: Interval) -> Interval | None:
    """The part of the box beyond which there is certainly no zero: without its infinite ends."""
    low, high = box.lo, box.hi
    if low == -INF:
        low = next((-e for e in _TAILS if value({F: Interval(-INF, min(-e, box.hi))}).nonzero), -INF)
    if high == INF:
        high = next((e for e in _TAILS if value({F: Interval(max(e, box.lo), INF)}).nonzero), INF)
    return None if low == -INF or high == INF else Interval(min(low, box.hi), max(high, box.lo))


def _single(k: Expr, slope: Expr, box: Interval, facts: Facts) -> Break | None:
    """The one zero of a monotone k in the box, if there is one."""
    ctx = context()
    with ctx.workdps(DIGITS):
        low, high = ctx.mpf(box.lo), ctx.mpf(box.hi)
        first, last = _sign(k, low, 1), _sign(k, high, -1)
        if first * last > 0:
            return None
        at = low if first == 0 else high if last == 0 else _bisected(k, low, high, first)
        at = _polished(k, slope, at)
        exact = _rational(k, at, facts)
        return Break(mpf(exact, DIGITS) if exact is not None else +at, exact, k)


def _bisected(k: Expr, low: Any, high: Any, first: int) -> Any:
    """To 12 digits and more; by orders of magnitude where the ends differ by some."""
    ctx = context()
    for _ in range(400):
        if low < 0 < high:
            middle = ctx.zero
        elif low > 0 and high > 4 * low:
            middle = ctx.sqrt(low * high)
        elif high < 0 and low < 4 * high:
            middle = -ctx.sqrt(low * high)
        elif low == 0 and high > ctx.mpf(10) ** -400:
            middle = high / 2**20
        elif high == 0 and low < -(ctx.mpf(10) ** -400):
            middle = low / 2**20
        else:
            middle = (low + high) / 2
        if high - low <= ctx.mpf(10) ** -12 * abs(middle):
            break
        here = _sign(k, middle, 0)
        if here == 0:
            return middle
        low, high = (middle, high) if here == first else (low, middle)
    return (low + high) / 2


def _polished(k: Expr, slope: Expr, at: Any) -> Any:
    """Newton's steps, from close by."""
    ctx = context()
    x = at
    for _ in range(8):
        value, rise = value_at(k, {F: x}, DIGITS + 10), value_at(slope, {F: x}, DIGITS + 10)
        if not (ctx.isfinite(value) and ctx.isfinite(rise)) or rise == 0:
            return at
        step = value / rise
        x = x - step
        if abs(step) <= ctx.mpf(10) ** -(DIGITS - 2) * abs(x):
            break
    return x if abs(x - at) <= ctx.mpf(10) ** -8 * abs(at) or at == 0 else at


def _sign(k: Expr, x: Any, inward: int) -> int:
    """The sign at a point; where there is no value, from a point further in."""
    ctx = context()
    value = value_at(k, {F: x}, DIGITS)
    for power in (100, 30, 12):
        if not ctx.isnan(value) or not inward:
            break
        value = value_at(k, {F: x + inward * max(abs(x), 1) * ctx.mpf(10) ** -power}, 3 * DIGITS)
    if ctx.isnan(value):
        raise Unclear("a kink has no value next to it")
    return int(value > 0) - int(value < 0)


def _rational(k: Expr, x: Any, facts: Facts) -> Fraction | None:
    """The simple rational number at which k is 0, if the zero is one."""
    ctx = context()
    if abs(x) >= 10**20:
        return None
    written = Fraction(str(ctx.nstr(x, 50)))
    for most in (1, 1000, 10**6):
        near = written.limit_denominator(most)
        if not is_writable(near) or abs(near - written) > Fraction(1, 10**20) * max(Fraction(1), abs(written)):
            continue
        there = canonical_expr(substitute(k, {F: const(near)}), facts)
        if there is ZERO or (there.op != CONST and settled_value(k, {F: near}) == 0):
            return near
    return None
