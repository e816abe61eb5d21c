"""The sign of an expression: tried at points, then proved by intervals on forms that are equal to it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lossc.compiler.analysis.rational import Tidier
from lossc.compiler.analysis.verdicts.pieces import Piece
from lossc.compiler.analysis.verdicts.proposals import proposed
from lossc.compiler.analysis.verdicts.ranges import Box, nonnegative, nonpositive
from lossc.compiler.analysis.verdicts.settled import value_at
from lossc.compiler.analysis.verdicts.subject import Case
from lossc.compiler.errors import LosscError
from lossc.compiler.interval import INF, Interval
from lossc.compiler.ir import ZERO, Expr, F, Y, substitute
from lossc.compiler.passes.canonicalize import canonical_expr

DIGITS = (30, 100, 400)
PLUS, PLUS_ZERO, NIL, MINUS_ZERO, MINUS, BOTH, OPEN = ">", ">=", "=", "<=", "<", "mixed", "?"
"""What is known of the sign of an expression on a piece. Here > means: >= 0, and 0 at isolated points at most."""
_TIDY = 400
"""Nodes of an expression that is still made a quotient of polynomials."""

_STEPS = (1e-9, 1e-4, 0.01, 0.1, 0.3, 0.7, 1.3, 2.6, 7.0, 30.0, 150.0, 1e3, 1e4, 1e7)
_PARTS = (1e-7, 1e-4, 0.01, 0.1, 0.2, 0.35, 0.5, 0.6, 0.75, 0.9, 0.97, 0.999, 0.9999999)


def true(root: Expr, point: Mapping[Expr, Any]) -> float:
    """The value at a point of floats: computed with ever more digits until two agree.

    NaN where it has none, or where greater numbers leave no digit of it.
    """
    last = math.nan
    for digits in DIGITS:
        value = value_at(root, point, digits)
        now = math.nan if isinstance(value, list) else float(value)
        if math.isinf(now) or abs(now - last) <= 1e-12 * abs(now):
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


def far_out(box: Interval) -> list[float]:
    """Points further out than `samples`, and closer to ends at 0 and 1."""
    out = []
    if box.hi == INF:
        out += [10.0**k for k in (8, 12, 20)]
    if box.lo == -INF:
        out += [-(10.0**k) for k in (8, 12, 20)]
    for end, sign in ((box.lo, 1), (box.hi, -1)):
        if math.isfinite(end) and abs(end) < 1e-200:
            out += [sign * 10.0**-k for k in (12, 16, 20, 30)]
        elif math.isfinite(end):
            out += [end + sign * max(1.0, abs(end)) * 2.0**-k for k in (30, 40, 50)]
    return [x for x in out if box.lo < x < box.hi]


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


def is_nil(piece: Piece, root: Expr) -> bool | None:
    """Whether an analytic expression is 0 on a whole piece; None if that is open."""
    if not piece.has_value:
        return None
    if root is ZERO:
        return True
    values = (true(root, {F: x}) for x in samples(piece.box))
    if any(v > 0 or v < 0 for v in values):
        return False
    r = piece.range(root)
    return True if r.total and r.lo == r.hi == 0 else None


def sign_on(piece: Piece, root: Expr) -> Sign:
    """The sign of an analytic expression on a piece; open where the function has no value."""
    if not piece.has_value:
        return Sign(OPEN)
    if root is ZERO:
        return Sign(NIL)
    seen = [(x, true(root, {F: x})) for x in samples(piece.box)]
    ups, downs = tuple(x for x, v in seen if v > 0), tuple(x for x, v in seen if v < 0)
    if ups and downs:
        return Sign(BOTH, ups, downs)
    if not ups and not downs:
        return Sign(NIL if is_nil(piece, root) else OPEN)
    for form in alternatives(root, Tidier(piece.facts)):
        search = (nonnegative if ups else nonpositive)(piece.ranges(form), {F: piece.box})
        if search.status == "proved":
            return Sign(PLUS if ups else MINUS, ups, downs)
    return Sign(OPEN, ups, downs)


def alternatives(root: Expr, tidy: Tidier) -> list[Expr]:
    """Forms that are equal to an expression wherever it has a value: itself, tidy, and as a quotient of polynomials;
    and those of SymPy, if it is asked.
    """
    out = [root]
    if root.tree_size < _TIDY:
        try:
            tidied = tidy(root)
        except LosscError:
            return out
        if tidied is not root:
            out.append(tidied)
        found = tidy.quotient(root)
        if found is not None and found.below:
            whole = tidy.expression(found.above)
            for b in found.below:
                whole = whole / tidy.expression(b)
            out.append(whole)
    return [*out, *(form for form in proposed(root, tidy.facts) if form not in out)]


# -- of y and f ------------------------------------------------------------------------------------------------------


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


def wedge(case: Case, root: Expr, side: int) -> tuple[Expr, Box]:
    """An expression where f > y (side 1) or f < y (side -1), in y or f and their distance, with its box.

    The leaf that is not kept stands for the distance.
    """
    distance = Interval(5e-324, INF)
    if side > 0:  # f = y + t
        return canonical_expr(substitute(root, {F: Y + F}), case.facts), {Y: case.domain[Y], F: distance}
    return canonical_expr(substitute(root, {Y: F + Y}), case.facts), {F: case.domain[F], Y: distance}
