"""What several decisions ask of one case: its pieces, signs on them, true values at points, slices at fixed targets."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

from lossc.compiler.analysis.rational import Tidier
from lossc.compiler.analysis.verdicts.curvature import Shape, shape
from lossc.compiler.analysis.verdicts.pieces import Jump, Piece, Unclear, jump, pieces
from lossc.compiler.analysis.verdicts.ranges import Box, Ranges, nonnegative, nonpositive
from lossc.compiler.analysis.verdicts.subject import Case
from lossc.compiler.analysis.world import context
from lossc.compiler.errors import LosscError
from lossc.compiler.evaluate import evaluate
from lossc.compiler.interval import INF, Interval
from lossc.compiler.ir import ZERO, Expr, F, Y, const, postorder, substitute
from lossc.compiler.loss import Loss
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.passes.differentiate import derivative

DIGITS = (30, 100, 400)
PLUS, PLUS_ZERO, NIL, MINUS_ZERO, MINUS, BOTH, OPEN = ">", ">=", "=", "<=", "<", "mixed", "?"
"""What is known of the sign of an expression on a piece. Here > means: >= 0, and 0 at isolated points at most."""

_STEPS = (1e-9, 1e-4, 0.01, 0.1, 0.3, 0.7, 1.3, 2.6, 7.0, 30.0, 150.0, 1e3, 1e4, 1e7)
_PARTS = (1e-7, 1e-4, 0.01, 0.1, 0.2, 0.35, 0.5, 0.6, 0.75, 0.9, 0.97, 0.999, 0.9999999)
_TARGETS: Mapping[str, tuple[float, ...]] = {
    "real": (0.0, 1.0, -1.0, 3.0, -0.5, 20.0), "positive": (1.0, 0.25, 4.0, 60.0, 1e-30),
    "count": (0.0, 1.0, 3.0, 40.0), "prob": (0.5, 1.0, 0.125, 1e-9),
}  # fmt: skip


def true(root: Expr, point: Mapping[Expr, Any]) -> float:
    """The value at a point of floats: computed with ever more digits until two agree. NaN where it has none."""
    last = math.nan
    for digits in DIGITS:
        value = evaluate(root, point, dps=digits, ctx=context())
        now = math.nan if isinstance(value, list) else float(value)
        if not math.isfinite(now) or abs(now - last) <= 1e-12 * abs(now):
            return now
        last = now
    return last


def samples(box: Interval) -> list[float]:
    """Floats strictly inside an interval: near its ends, far out, and between."""
    low, high = box.lo, box.hi
    if low == -INF and high == INF:
        found = [0.0, *_STEPS, *(-x for x in _STEPS)]
    elif high == INF:
        found = [low + x * max(1.0, abs(low) if x > 0.01 else 1.0) for x in _STEPS]
    elif low == -INF:
        found = [high - x * max(1.0, abs(high) if x > 0.01 else 1.0) for x in _STEPS]
    else:
        found = [low + (high - low) * x for x in _PARTS]
    return [x for x in found if low < x < high]


@dataclass(frozen=True)
class Sign:
    """The sign of an expression on a piece; where it is positive or negative, if it was met so, and all such points."""

    kind: str
    ups: tuple[float, ...] = ()
    downs: tuple[float, ...] = ()

    @property
    def positive(self) -> float | None:
        """A point where it is positive, well inside."""
        return self.ups[len(self.ups) // 2] if self.ups else None

    @property
    def negative(self) -> float | None:
        """A point where it is negative, well inside."""
        return self.downs[len(self.downs) // 2] if self.downs else None

    @property
    def nonnegative(self) -> bool:
        return self.kind in (PLUS, PLUS_ZERO, NIL)

    @property
    def nonpositive(self) -> bool:
        return self.kind in (MINUS, MINUS_ZERO, NIL)


@dataclass
class Study:
    """A case, and everything known of it so far."""

    case: Case

    @property
    def free(self) -> bool:
        """Whether the target is a variable."""
        return self.case.free

    @cached_property
    def ranges(self) -> Ranges:
        """The value as a program on intervals."""
        return self.case.ranges(self.case.body)

    @cached_property
    def shape(self) -> Shape:
        """The curvature in f by the rules of composition."""
        return shape(self.ranges, (dict(self.case.domain),))

    @cached_property
    def total(self) -> bool:
        """Whether the loss certainly has a value for every f, at every y at which the parts without f have one."""
        return Ranges(self.case.body, None, self.case.inside, in_f=True)(self.case.domain).total

    @cached_property
    def line(self) -> list[Piece]:
        """The analytic pieces in f. Raises Unclear (also where the target is free), LosscError."""
        if self.free:
            raise Unclear("y is free")
        if isinstance(self._line, Exception):
            raise self._line
        return self._line

    @cached_property
    def _line(self) -> list[Piece] | Exception:
        domain = self.case.domain[F]
        cuts = (Fraction(0),) if domain.lo < 0 < domain.hi else ()
        try:
            return pieces(self.case.body, self.case.loss, domain, self.case.inside, cuts)
        except (Unclear, LosscError) as problem:
            return problem

    def jumps(self, order: int) -> Iterator[tuple[Piece, Piece, Jump]]:
        """The derivative of an order at every place where two pieces meet."""
        for before, after in zip(self.line, self.line[1:], strict=False):
            yield before, after, self._jump(before, after, order)

    def _jump(self, before: Piece, after: Piece, order: int) -> Jump:
        key = (id(before), order)
        if key not in self._jumps:
            self._jumps[key] = jump(before, after, order)
        return self._jumps[key]

    @cached_property
    def _jumps(self) -> dict[tuple[int, int], Jump]:
        return {}

    def continuous(self) -> bool:
        """Whether the pieces join. Raises Unclear, LosscError."""
        return all(p.total for p in self.line) and all(j.none for _, _, j in self.jumps(0))

    @cached_property
    def _signs(self) -> dict[tuple[int, Expr], Sign]:
        return {}

    def sign(self, piece: Piece, order: int) -> Sign:
        """The sign of a derivative on a piece."""
        root = piece.order(order)
        key = (id(piece), root)
        if key not in self._signs:
            self._signs[key] = sign_on(piece, root)
        return self._signs[key]

    @cached_property
    def analytic(self) -> bool:
        """Whether no operator bends or ends on the domain of y and f, so that derivatives tell everything."""
        from lossc.compiler.analysis.verdicts.pieces import levers

        for k in levers(self.case.body, self.case.loss):
            r = self.case.ranges(k)(self.case.domain)
            if not (r.total and r.nonzero):
                return False
        return self.total

    @cached_property
    def slices(self) -> tuple[Study, ...]:
        """The case at a few targets, if the target is free."""
        if not self.free:
            return ()
        out = []
        for y in _TARGETS[self.case.loss.y]:
            body = canonical_expr(substitute(self.case.body, {Y: const(y)}), self.case.facts)
            out.append(Study(replace(self.case, body=body, words=f"for y = {y:g}", target=y)))
        return tuple(out)

    def values(self, order: int, points: Sequence[Mapping[Expr, float]]) -> list[float]:
        """True values of the loss, its slope or its curvature at points."""
        root = (self.case.body, self.case.slope, self.case.curve)[order] if order else self.case.body
        return [true(root, p) for p in points]


def sign_on(piece: Piece, root: Expr) -> Sign:
    """The sign of an analytic expression on a piece."""
    if root is ZERO:
        return Sign(NIL)
    seen = [(x, true(root, {F: x})) for x in samples(piece.box)]
    ups, downs = tuple(x for x, v in seen if v > 0), tuple(x for x, v in seen if v < 0)
    if ups and downs:
        return Sign(BOTH, ups, downs)
    if not ups and not downs:
        r = piece.range(root)
        return Sign(NIL if r.total and r.lo == r.hi == 0 else OPEN)
    for form in alternatives(root, Tidier(piece.facts)):
        search = (nonnegative if ups else nonpositive)(piece.ranges(form), {F: piece.box})
        if search.status == "proved":
            return Sign(PLUS if ups else MINUS, ups, downs)
    return Sign(OPEN, ups, downs)


def alternatives(root: Expr, tidy: Tidier) -> list[Expr]:
    """Forms of an expression that is equal wherever it has a value: as it is, and as a quotient of polynomials."""
    out = [root]
    if root.tree_size < 400:
        try:
            tidied = tidy(root)
        except LosscError:
            return out
        if tidied is not root:
            out.append(tidied)
        found = tidy.quotient(root)
        if found is not None and found.below:
            above = tidy.expression(found.above)
            below = [tidy.expression(b) for b in found.below]
            whole = above
            for b in below:
                whole = whole / b
            out.append(whole)
    return out


def sign_free(case: Case, root: Expr, box: Box | None = None) -> str:
    """ ">=" or "<=" if an expression in y and f certainly has that sign on the domain (or a box), else "?"."""
    where = box or case.domain
    seen = [true(root, p) for p in grid(where)]
    if any(v > 0 for v in seen) and any(v < 0 for v in seen):
        return OPEN
    up = any(v > 0 for v in seen)
    for form in alternatives(root, Tidier(case.facts)):
        if (nonnegative if up else nonpositive)(case.ranges(form), where, 200).status == "proved":
            return PLUS_ZERO if up else MINUS_ZERO
    return OPEN


def grid(box: Box) -> list[dict[Expr, float]]:
    """Some points of a box."""
    sides = [[(leaf, x) for x in samples(side)[::3]] for leaf, side in box.items()]
    return [dict(p) for p in itertools.product(*sides)]


def comparable(loss: Loss) -> bool:
    """Whether y and f are numbers of one kind, so that f = y is a good prediction."""
    return (loss.y, loss.f) in (("real", "real"), ("positive", "positive"), ("positive", "real"), ("count", "positive"))


def wedge(case: Case, root: Expr, side: int) -> tuple[Expr, Box]:
    """An expression where f > y (side 1) or f < y (side -1), in y or f and their distance, with its box."""
    low = Interval(5e-324, INF)
    if side > 0:  # f = y + t
        moved = substitute(root, {F: Y + F})
        box = {Y: case.domain[Y], F: low}
    else:  # y = f + t
        t = Y
        moved = substitute(root, {Y: F + t})
        box = {F: case.domain[F], Y: low}
    return canonical_expr(moved, case.facts), box


def uses(root: Expr, leaf: Expr) -> bool:
    """Whether a leaf enters."""
    return any(n is leaf for n in postorder(root))


def slope_in_y(case: Case) -> Expr:
    """∂²L/∂f∂y."""
    return canonical_expr(derivative(case.slope, Y), case.facts)
