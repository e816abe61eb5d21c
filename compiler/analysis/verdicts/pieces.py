"""A function of one variable as analytic pieces between the points where an operator bends, jumps or ends.

Every such point is a zero of a lever (`levers`). The zeros are isolated with intervals, so that none is missed: those
of the inner levers first, so that on what is left between them an outer lever is analytic, too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from lossc.compiler.analysis.verdicts.clock import tick
from lossc.compiler.analysis.verdicts.levers import Side, levers, resolved
from lossc.compiler.analysis.verdicts.ranges import Ranges
from lossc.compiler.analysis.verdicts.roots import DIGITS, Break, Unclear, zeros
from lossc.compiler.analysis.verdicts.settled import mpf, settled, settled_value, value_at
from lossc.compiler.analysis.world import context
from lossc.compiler.facts import Facts
from lossc.compiler.interval import INF, TINY, Interval
from lossc.compiler.ir import CONST, ONE, ZERO, Expr, F, const, postorder, substitute
from lossc.compiler.loss import Loss
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.passes.differentiate import derivative

__all__ = ["Break", "Jump", "Piece", "Unclear", "jump", "pieces"]

MOST_ROOTS = 24


class PieceFacts(Facts):
    """`Facts` of a loss where f lies in an interval; a probability is below 1."""

    def __init__(self, loss: Loss, f: Interval, inside: bool) -> None:
        super().__init__(loss)
        self._done[F] = f
        if inside:
            self._done[ONE - F] = Interval(TINY, 1.0)


@dataclass(frozen=True, eq=False)
class Piece:
    """An analytic part of the function: an expression in f, valid from `left` to `right` (None: the domain's end)."""

    body: Expr
    box: Interval
    left: Break | None
    right: Break | None
    loss: Loss
    inside: frozenset[Expr]

    @cached_property
    def facts(self) -> Facts:
        return PieceFacts(self.loss, self.box, F in self.inside)

    @cached_property
    def slope(self) -> Expr:
        """∂L/∂f."""
        return canonical_expr(derivative(self.body, F), self.facts)

    @cached_property
    def curve(self) -> Expr:
        """∂²L/∂f²."""
        return canonical_expr(derivative(self.slope, F), self.facts)

    def order(self, k: int) -> Expr:
        """The derivative of order k: 0, 1 or 2."""
        return self.body if k == 0 else self.slope if k == 1 else self.curve

    def ranges(self, root: Expr) -> Ranges:
        """An expression as a program on intervals."""
        return Ranges(root, None, self.inside)

    def range(self, root: Expr) -> Interval:
        """Where an expression lies on the piece."""
        return self.ranges(root)({F: self.box})

    @cached_property
    def has_value(self) -> bool:
        """Whether the function has a value at a point inside."""
        return not context().isnan(value_at(self.body, {F: between(self.box)}, DIGITS))

    @property
    def total(self) -> bool:
        """Whether the function certainly has a value on the whole piece, its breaks included."""
        return self.range(self.body).total

    def __str__(self) -> str:
        low = "-oo" if self.box.lo == -INF else "0" if 0 < self.box.lo < 1e-300 else f"{self.box.lo:.6g}"
        high = "oo" if self.box.hi == INF else f"{self.box.hi:.6g}"
        return f"{low} < f < {high}"


@dataclass(frozen=True)
class _Span:
    """A part of the domain on which the levers that were looked at keep their signs.

    A sign is 0 if the lever is 0 throughout, None if it has no value.
    """

    left: Break | None
    right: Break | None
    signs: Mapping[Expr, int | None]


class _Cutter:
    def __init__(self, body: Expr, loss: Loss, domain: Interval, inside: frozenset[Expr]) -> None:
        self.body, self.loss, self.domain, self.inside = body, loss, domain, inside
        self.facts = Facts(loss)
        self._fixed: dict[Expr, int | None] = {}

    def run(self, extra: Sequence[Fraction]) -> list[Piece]:
        line = [_Span(None, None, {})]
        for at in extra:
            line = self._at_number(line, at)
        for k in levers(self.body, self.facts):
            tick()
            line = [part for span in line for part in self._cut(span, k)]
            if len(line) > MOST_ROOTS + 1:
                raise Unclear(f"it has more than {MOST_ROOTS} kinks")
        return [self._piece(span) for span in line]

    def _at_number(self, line: list[_Span], at: Fraction) -> list[_Span]:
        if not self.domain.lo < at < self.domain.hi:
            return line
        new = Break(mpf(at, DIGITS), at)
        return [part for span in line for part in self._parted(span, [new])]

    def _cut(self, span: _Span, k: Expr) -> list[_Span]:
        """The parts of a span on which a lever keeps its sign."""
        box = self._box(span)
        facts = PieceFacts(self.loss, box, F in self.inside)
        here = canonical_expr(self._resolved(k, span.signs), facts)
        if here is ZERO:
            return [_signed(span, k, 0)]
        if context().isnan(value_at(here, {F: self._inner(span)}, DIGITS)):
            return [_signed(span, k, None)]
        found = [b for b in zeros(here, box, facts, self.inside) if self._within(b)]
        for b in found:
            if _settled_at(here, b) == 0:
                b.zeros.add(k)
        return [_signed(part, k, self._sign(here, part)) for part in self._parted(span, found)]

    def _within(self, b: Break) -> bool:
        return bool(self.domain.lo < b.at < self.domain.hi)

    def _parted(self, span: _Span, found: list[Break]) -> list[_Span]:
        """A span cut at breaks inside it; at its ends they are known already."""
        kept: list[Break] = []
        for b in sorted(found, key=lambda b: b.at):
            known = next((e for e in (span.left, span.right, *kept) if e is not None and e.same(b)), None)
            if known is not None:
                known.zeros |= b.zeros
            elif (span.left is None or b.at > span.left.at) and (span.right is None or b.at < span.right.at):
                kept.append(b)
        ends = [span.left, *kept, span.right]
        return [_Span(a, b, span.signs) for a, b in itertools.pairwise(ends)]

    def _sign(self, k: Expr, span: _Span) -> int:
        """The sign at a point well inside."""
        value = settled_value(k, {F: self._inner(span)})
        if context().isnan(value) or value == 0:
            raise Unclear("the side that an operator takes is not certain")
        return 1 if value > 0 else -1

    def _inner(self, span: _Span) -> Any:
        box = self._box(span)
        if span.left is not None and span.right is not None:
            ctx = context()
            with ctx.workdps(DIGITS):
                return +(span.left.at + (span.right.at - span.left.at) * ctx.mpf("0.4142"))
        return between(box)

    def _resolved(self, root: Expr, signs: Mapping[Expr, int | None]) -> Expr:
        return resolved(root, self.facts, lambda k: signs[k] if k in signs else self._constant(k))

    def _constant(self, k: Expr) -> int | None:
        """The sign of a lever that f does not enter."""
        if k not in self._fixed:
            if any(n is F for n in postorder(k)):
                raise Unclear("a lever was not found")
            value = k.number if k.op == CONST else settled_value(k, {})
            if k.op != CONST and value == 0:
                raise Unclear("the sign of a constant is not certain")
            missing = k.op != CONST and context().isnan(value)
            self._fixed[k] = None if missing else int(value > 0) - int(value < 0)
        return self._fixed[k]

    def _box(self, span: _Span) -> Interval:
        low = self.domain.lo if span.left is None else _rounded(span.left, -INF)
        high = self.domain.hi if span.right is None else _rounded(span.right, INF)
        return Interval(low, high)

    def _piece(self, span: _Span) -> Piece:
        box = self._box(span)
        body = canonical_expr(self._resolved(self.body, span.signs), PieceFacts(self.loss, box, F in self.inside))
        return Piece(body, box, span.left, span.right, self.loss, self.inside)


def pieces(
    body: Expr, loss: Loss, domain: Interval, inside: frozenset[Expr], extra: tuple[Fraction, ...] = ()
) -> list[Piece]:
    """The pieces of a function of F on its domain, in order. Raises Unclear, LosscError.

    `extra` are points to cut at besides (0, where signs change).
    """
    return _Cutter(body, loss, domain, inside).run(extra)


def _signed(span: _Span, k: Expr, sign: int | None) -> _Span:
    return _Span(span.left, span.right, {**span.signs, k: sign})


def _settled_at(root: Expr, b: Break) -> Any:
    return settled(lambda digits: value_at(root, {F: b.to(digits)}, digits))


def _rounded(b: Break, towards: float) -> float:
    near = float(b.at)
    return near if b.exact is not None and Fraction(near) == b.exact else math.nextafter(near, towards)


def between(box: Interval) -> float:
    """A number inside."""
    low, high = box.lo, box.hi
    if low == -INF and high == INF:
        return 0.4142
    if low == -INF:
        return high - max(1.0, abs(high)) * 0.7321
    if high == INF:
        return low + max(1.0, abs(low)) * 0.7321
    return low + (high - low) * 0.4142


# -- the two sides of a break -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Jump:
    """A derivative on both sides of a break: what it tends to, infinite or NaN where that is not known.

    `same` says whether the two are equal, None that it is not known; `step` is by how much the right one is greater.
    """

    left: Any
    right: Any
    same: bool | None
    step: Any

    @property
    def none(self) -> bool:
        """Whether the two sides are certainly equal."""
        return self.same is True

    @property
    def finite(self) -> bool:
        return bool(context().isfinite(self.left) and context().isfinite(self.right))


def jump(before: Piece, after: Piece, order: int) -> Jump:
    """The derivative of an order to the left and to the right of where two pieces meet. Raises LosscError."""
    b = before.right
    assert b is not None
    ctx = context()
    left, right = _limit(before, b, order, -1, DIGITS), _limit(after, b, order, 1, DIGITS)
    if not (ctx.isfinite(left) and ctx.isfinite(right)):
        unequal = not (ctx.isnan(left) or ctx.isnan(right)) and left != right
        return Jump(left, right, False if unequal or ctx.isinf(left) or ctx.isinf(right) else None, right - left)
    step = settled(lambda n: _limit(after, b, order, 1, n) - _limit(before, b, order, -1, n))
    return Jump(left, right, None if ctx.isnan(step) else bool(step == 0), step)


def _limit(piece: Piece, b: Break, order: int, side: int, digits: int) -> Any:
    """The value at the break; where the expression has none there, what it tends to, from very close by."""
    ctx = context()
    root = piece.order(order)
    with ctx.workdps(digits):
        if b.exact is not None:
            fixed = canonical_expr(substitute(root, {F: const(b.exact)}), piece.facts)
            value = value_at(fixed, {}, digits)
        else:
            value = value_at(root, {F: b.to(digits)}, digits)
        if ctx.isfinite(value):
            return value
        powers = (digits // 2, digits, 2 * digits)
        at = b.to(4 * digits)
        with ctx.workdps(4 * digits):
            near = [value_at(root, {F: at + side * ctx.mpf(10) ** -k}, 4 * digits) for k in powers]
        if ctx.isfinite(near[-1]) and abs(near[2] - near[1]) <= ctx.mpf(10) ** -(digits // 3) * max(1, abs(near[1])):
            return near[-1]
        if abs(near[2]) > 2 * abs(near[1]) > 4 * abs(near[0]) or ctx.isinf(near[-1]):
            return ctx.inf if near[2] > 0 else -ctx.inf
        return ctx.nan


def joins(body: Expr, before: Piece) -> bool:
    """Whether the function itself, where a piece ends, has the value that the piece tends to. Raises Unclear."""
    b = before.right
    assert b is not None
    there, facts = at_break(body, Facts(before.loss), b), Facts(before.loss)
    return bool(settled(lambda n: _value(there, facts, b, n) - _limit(before, b, 0, -1, n)) == 0)


def at_break(body: Expr, facts: Facts, b: Break) -> Expr:
    """What the function is at the very point where pieces meet: every operator with the side, or tie, that it takes."""
    signs: dict[Expr, int | None] = {}

    def side(k: Expr) -> int | None:
        if k not in signs:
            signs[k] = _sign_at(k, facts, b, side)
        return signs[k]

    for k in levers(body, facts):
        side(k)
    return resolved(body, facts, side)


def _sign_at(k: Expr, facts: Facts, b: Break, side: Side) -> int | None:
    if k in b.zeros:
        return 0
    root = resolved(k, facts, side)
    value = settled(lambda n: _value(root, facts, b, n))
    return None if context().isnan(value) else int(value > 0) - int(value < 0)


def _value(root: Expr, facts: Facts, b: Break, digits: int) -> Any:
    if b.exact is not None:
        return value_at(canonical_expr(substitute(root, {F: const(b.exact)}), facts), {}, digits)
    return value_at(root, {F: b.to(digits)}, digits)
