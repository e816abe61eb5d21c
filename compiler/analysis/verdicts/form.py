"""What a loss is a function of: the residual, the margin; whether it is symmetric, whether it is homogeneous."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

from lossc.compiler.analysis.rational import Tidier
from lossc.compiler.analysis.verdicts.pieces import Unclear
from lossc.compiler.analysis.verdicts.study import Study, true
from lossc.compiler.analysis.verdicts.subject import Subject
from lossc.compiler.analysis.verdicts.verdict import VALUE, Verdict, Witness, proved, refuted, unknown
from lossc.compiler.errors import LosscError
from lossc.compiler.ir import ZERO, Expr, F, Y, arg, const, substitute
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.passes.differentiate import derivative

_PAIRS = ((1.5, 0.5), (0.25, 2.0), (3.0, 1.0), (1.0, 4.0), (2.0, 2.0), (0.75, 0.5), (-1.0, 2.0), (2.0, -0.5))
_SWAP = arg("?swap")


def distance(subject: Subject) -> Verdict:
    """L(y, f) is a function of y - f alone."""
    if subject.distance is not None:
        return proved("y and f enter as y - f only, or ∂L/∂y + ∂L/∂f = 0 identically")
    for y, f in _PAIRS:
        for shift in (1.0, 0.5):
            found = _compare(subject.loss.body, (y, f), (y + shift, f + shift))
            if found is not None:
                return refuted(f"moving both by {shift:g} changes L", found)
    return unknown("it changed at no point that was tried, and the derivatives do not cancel in form")


def margin(subject: Subject) -> Verdict:
    """L(y, f) is a function of y*f alone, for y = -1 and +1."""
    if subject.margin:
        return proved("L(1, f) and L(-1, -f) have the same canonical form")
    for f in (0.5, -0.75, 2.0, -3.0):
        found = _compare(subject.loss.body, (1.0, f), (-1.0, -f))
        if found is not None:
            return refuted("turning the signs of both changes L", found)
    return unknown("it changed at no point that was tried, and the forms differ")


def symmetric(subject: Subject) -> Verdict:
    """L(y, f) = L(f, y)."""
    body = subject.loss.body
    swapped = substitute(substitute(substitute(body, {Y: _SWAP}), {F: Y}), {_SWAP: F})
    facts = Study(subject.cases[0]).case.facts
    if canonical_expr(swapped, facts) is canonical_expr(body, facts):
        return proved("exchanging y and f gives the same canonical form")
    if _same_pieces(subject):
        return proved("a function of y - f, whose pieces are those of its mirror image")
    for y, f in _PAIRS:
        found = _compare(body, (y, f), (f, y))
        if found is not None:
            return refuted("exchanging y and f changes L", found)
    return unknown("it changed at no point that was tried, and the forms differ")


def _same_pieces(subject: Subject) -> bool:
    if subject.distance is None:
        return False
    study = Study(subject.cases[0])
    try:
        line = study.line
    except (LosscError, Unclear):
        return False
    for p, q in zip(line, reversed(line), strict=True):
        if (p.box.lo, p.box.hi) != (-q.box.hi, -q.box.lo):
            return False
        mirrored = substitute(q.body, {F: -F})
        if Tidier(p.facts)(p.body - mirrored) is not ZERO:
            return False
    return True


def _compare(body: Expr, first: tuple[float, float], second: tuple[float, float]) -> Witness | None:
    points = tuple({"y": y, "f": f} for y, f in (first, second))
    values = tuple(true(body, {Y: p["y"], F: p["f"]}) for p in points)
    witness = Witness(points, VALUE, values, "differ")
    return witness if all(map(math.isfinite, values)) and witness.holds() else None


def homogeneous(subject: Subject) -> Verdict:
    """L(t*y, t*f) = t^k L(y, f) for t > 0: the loss follows the unit of the data; k = 0 is a relative loss."""
    body = subject.loss.body
    degree = _degree(body)
    if isinstance(degree, Witness):
        return refuted("doubling y and f multiplies L by different factors", degree)
    if degree is None:
        return unknown("too few values to compare")
    if _euler(subject, degree):
        return proved("y ∂L/∂y + f ∂L/∂f = k L identically (Euler)", str(degree))
    return unknown(f"of degree {degree} at all points that were tried; the identity is not seen in form")


def _degree(body: Expr) -> Fraction | Witness | None:
    """The degree that two points suggest, or four points whose values speak against any."""
    ratios = []
    for y, f in _PAIRS[:6]:
        one, two = true(body, {Y: y, F: f}), true(body, {Y: 2 * y, F: 2 * f})
        if math.isfinite(one) and math.isfinite(two) and abs(one) > 1e-12:
            ratios.append(((y, f), one, two))
    if len(ratios) < 2:
        return None
    for a, b in itertools.combinations(ratios, 2):
        points = tuple({"y": s * p[0], "f": s * p[1]} for p in (a[0], b[0]) for s in (1, 2))
        witness = Witness(points, VALUE, (a[1], a[2], b[1], b[2]), "ratios differ")
        if witness.holds():
            return witness
    if ratios[0][2] / ratios[0][1] <= 0:
        return None
    degree = math.log2(ratios[0][2] / ratios[0][1])
    near = Fraction(degree).limit_denominator(12)
    return near if abs(near - degree) < 1e-9 else None


def _euler(subject: Subject, degree: Fraction) -> bool:
    study = Study(subject.cases[0])
    try:
        if subject.distance is not None:
            return all(
                Tidier(p.facts)(F * p.slope - const(degree) * p.body) is ZERO and (p.left is None or p.left.exact == 0)
                and (p.right is None or p.right.exact == 0) for p in study.line
            )  # fmt: skip
        body = subject.loss.body
        moved = Y * derivative(body, Y) + F * derivative(body, F) - const(degree) * body
        return Tidier(study.case.facts)(moved) is ZERO
    except (LosscError, Unclear, ValueError):
        return False
