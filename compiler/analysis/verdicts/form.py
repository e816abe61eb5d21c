"""What a loss is a function of: the residual, the margin; whether it is symmetric, whether it is homogeneous."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction

from lossc.compiler.analysis.rational import Tidier
from lossc.compiler.analysis.verdicts.degrees import degrees
from lossc.compiler.analysis.verdicts.levers import JUMPING
from lossc.compiler.analysis.verdicts.pieces import Unclear, joins
from lossc.compiler.analysis.verdicts.proposals import vanishes
from lossc.compiler.analysis.verdicts.settled import settled_value
from lossc.compiler.analysis.verdicts.signs import true
from lossc.compiler.analysis.verdicts.study import Study
from lossc.compiler.analysis.verdicts.subject import Subject
from lossc.compiler.analysis.verdicts.verdict import VALUE, Verdict, Witness, proved, refuted, unknown
from lossc.compiler.analysis.verdicts.written import Written
from lossc.compiler.errors import LosscError
from lossc.compiler.ir import ZERO, Expr, F, Y, arg, const, postorder, substitute
from lossc.compiler.loss import Loss
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.passes.differentiate import derivative

_PAIRS = ((1.5, 0.5), (0.25, 2.0), (3.0, 1.0), (1.0, 4.0), (2.0, 2.0), (0.75, 0.5), (0.0, 2.0), (-1.0, 2.0),
          (2.0, -0.5), (-3.0, -0.25))  # fmt: skip
_SWAP = arg("?swap")
_LIMIT = 12
"""The greatest denominator of a degree."""


def _pairs(loss: Loss, swapped: bool = False) -> list[tuple[float, float]]:
    """Values of y and f that the roles allow (in either order)."""

    def allowed(role: str, x: float) -> bool:
        if role == "count":
            return x >= 0 and x == int(x)
        return x > 0 if role == "positive" else True

    roles = (loss.y, loss.f)
    return [
        p for p in _PAIRS if all(allowed(r, x) for r, x in zip(roles, p, strict=True))
        and (not swapped or all(allowed(r, x) for r, x in zip(roles, p[::-1], strict=True)))
    ]  # fmt: skip


def _differ(body: Expr, pairs: Iterator[tuple[tuple[float, float], tuple[float, float]]]) -> Iterator[Witness]:
    for two in pairs:
        points = tuple({"y": y, "f": f} for y, f in two)
        yield Witness(points, VALUE, tuple(true(body, {Y: y, F: f}) for y, f in two), "differ")


def distance(subject: Subject, written: Written) -> Verdict:
    """L(y, f) is a function of y - f alone."""
    if subject.distance is not None:
        return proved("y and f enter as y - f only, or ∂L/∂y + ∂L/∂f = 0 identically, without jumps")
    moved = (((y, f), (y + s, f + s)) for y, f in _PAIRS for s in (1.0, 0.5, -4.0))
    found = written.first(_differ(subject.loss.body, moved))
    if found is not None:
        return refuted("moving both by one amount changes L", found)
    return unknown("it changed at no point that was tried, and the derivatives do not cancel in form")


def margin(subject: Subject, written: Written) -> Verdict:
    """L(y, f) is a function of y*f alone, for y = -1 and +1."""
    if subject.margin:
        return proved("L(1, f) and L(-1, -f) have the same canonical form")
    turned = (((1.0, f), (-1.0, -f)) for f in (0.5, -0.75, 2.0, -3.0, 0.0, 1.0, -1.0, 30.0, -30.0))
    found = written.first(_differ(subject.loss.body, turned))
    if found is not None:
        return refuted("turning the signs of both changes L", found)
    return unknown("it changed at no point that was tried, and the forms differ")


# -- symmetric --------------------------------------------------------------------------------------------------------


def symmetric(subject: Subject, study: Study) -> Verdict:
    """L(y, f) = L(f, y), where both are defined."""
    body, facts = subject.loss.body, study.case.facts
    swapped = substitute(substitute(substitute(body, {Y: _SWAP}), {F: Y}), {_SWAP: F})
    if subject.loss.y == subject.loss.f and canonical_expr(swapped, facts) is canonical_expr(body, facts):
        return proved("exchanging y and f gives the same canonical form")
    if _same_pieces(subject, study):
        return proved("a function of y - f, whose pieces are those of its mirror image")
    exchanged = (((y, f), (f, y)) for y, f in _pairs(subject.loss, swapped=True))
    found = study.written.first(_differ(body, exchanged))
    if found is not None:
        return refuted("exchanging y and f changes L", found)
    return unknown("it changed at no point that was tried, and the forms differ")


def _same_pieces(subject: Subject, study: Study) -> bool:
    """Whether the pieces of a function of the residual are those of its mirror image, and meet continuously."""
    if subject.distance is None:
        return False
    try:
        line = study.line
        if not study.continuous:
            return False
    except (LosscError, Unclear):
        return False
    for p, q in zip(line, reversed(line), strict=True):
        if (p.left is None) != (q.right is None):
            return False
        if p.left is not None and q.right is not None and not p.left.mirrors(q.right):
            return False
        if Tidier(p.facts)(p.body - substitute(q.body, {F: -F})) is not ZERO:
            return False
    return True


# -- homogeneous ------------------------------------------------------------------------------------------------------


def homogeneous(subject: Subject, study: Study) -> Verdict:
    """L(t*y, t*f) = t^k L(y, f) for t > 0: the loss follows the unit of the data; k = 0 is a relative loss."""
    values = _doubled(subject)
    found = study.written.first(_ratios(values))
    if found is not None:
        return refuted("doubling y and f multiplies L by different factors", found)
    known = degrees(subject.loss.body)
    if isinstance(known, Fraction):
        return proved("every operator keeps the degree of its operands", str(known))
    degree = _degree(values)
    if degree is None:
        return unknown("too few values to compare")
    if _euler(subject, study, degree):
        return proved("y ∂L/∂y + f ∂L/∂f = k L identically (Euler)", str(degree))
    return unknown(f"of degree {degree} at all points that were tried; the identity is not seen in form")


_Doubled = list[tuple[tuple[float, float], float, float]]


def _doubled(subject: Subject) -> _Doubled:
    """Points with the loss there and at twice the point, where it has values."""
    body = subject.loss.body
    found = [((y, f), true(body, {Y: y, F: f}), true(body, {Y: 2 * y, F: 2 * f})) for y, f in _pairs(subject.loss)]
    return [v for v in found if math.isfinite(v[1]) and math.isfinite(v[2])]


def _ratios(values: _Doubled) -> Iterator[Witness]:
    """Two points whose values are multiplied by different factors; one whose value turns from or to 0, or its sign."""
    for a, b in itertools.combinations(values, 2):
        points = tuple({"y": s * p[0], "f": s * p[1]} for p in (a[0], b[0]) for s in (1, 2))
        if max(abs(a[1]), abs(a[2])) > 1e-12 and max(abs(b[1]), abs(b[2])) > 1e-12:
            yield Witness(points, VALUE, (a[1], a[2], b[1], b[2]), "ratios differ")


def _degree(values: _Doubled) -> Fraction | None:
    """The degree that the values suggest."""
    for _, one, two in values:
        if abs(one) > 1e-12 and two / one > 0:
            degree = math.log2(two / one)
            near = Fraction(degree).limit_denominator(_LIMIT)
            return near if abs(near - degree) < 1e-9 else None
    return None


def _euler(subject: Subject, study: Study, degree: Fraction) -> bool:
    """Euler's identity, piece by piece: along a ray nothing but 0 may be crossed, and L must not jump."""
    try:
        if subject.distance is not None:
            return all(b.exact == 0 and joins(study.case.body, p) and _is_zero(p.body, degree)
                       for p, b in ((p, p.right) for p in study.line) if b is not None) and all(
                Tidier(p.facts)(F * p.slope - const(degree) * p.body) is ZERO for p in study.line
            )  # fmt: skip
        body = subject.loss.body
        if any(n.op in JUMPING for n in postorder(body)) or not study.case.facts.total(body):
            return False
        moved = Y * derivative(body, Y) + F * derivative(body, F) - const(degree) * body
        return Tidier(study.case.facts)(moved) is ZERO or vanishes(moved, study.case.facts)
    except (LosscError, Unclear, ValueError):
        return False


def _is_zero(body: Expr, degree: Fraction) -> bool:
    """L(0, 0) = 2^k L(0, 0), for a piece that ends at 0."""
    return degree == 0 or settled_value(substitute(body, {F: ZERO}), {}) == 0
