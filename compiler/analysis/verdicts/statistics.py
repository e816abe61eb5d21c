"""What a loss of numbers estimates: the mean or the median of the targets.

mean     a loss elicits the mean, through some link, only if ∂L/∂f is straight in y (Osband's principle). If it is, the
         expectation of ∂L/∂f is ∂L/∂f at the mean: so where L(m, .) has a minimum, the expected loss has one
median   every median is a best constant (Gneiting 2011): so 0 is a subgradient of E L there
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from lossc.compiler.analysis.verdicts.levers import is_smooth_operator
from lossc.compiler.analysis.verdicts.pieces import Unclear
from lossc.compiler.analysis.verdicts.proposals import vanishes
from lossc.compiler.analysis.verdicts.shape import convex
from lossc.compiler.analysis.verdicts.signs import true
from lossc.compiler.analysis.verdicts.study import Study, uses
from lossc.compiler.analysis.verdicts.subject import Subject
from lossc.compiler.analysis.verdicts.towards import gradient_sign
from lossc.compiler.analysis.verdicts.verdict import GRADIENT, Entry, Verdict, Witness, proved, refuted, unknown
from lossc.compiler.errors import LosscError
from lossc.compiler.ir import CONST, ZERO, Expr, F, Y, postorder
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.passes.differentiate import derivative

_TRIPLES = ((0.0, 1.0, 2.0), (1.0, 2.0, 3.0), (2.0, 8.0, 14.0), (0.0, 3.0, 6.0), (4.0, 5.0, 6.0))
_POSITIVE = ((0.5, 2.5, 4.5), (0.25, 1.0, 1.75), *_TRIPLES[1:])
_REAL = ((-2.0, 0.0, 2.0), (-1.0, 0.5, 2.0), *_TRIPLES)
_PROB = ((0.25, 0.5, 0.75), (0.1, 0.2, 0.3))
_AT = (0.25, 1.25, 3.5)
_FOUR = ((0.5, 1.0, 2.0, 7.0), (0.25, 1.0, 1.5, 30.0), (1.0, 1.0, 2.0, 9.0), (0.0, 1.0, 2.0, 40.0))
_BETWEEN = (1.25, 1.75)


def mean_consistent(subject: Subject, study: Study) -> Verdict:
    """The best constant prediction is the mean of the targets, or a function of it (a link)."""
    slope = derivative(subject.loss.body, F)
    body = study.line[0].body if _is_one_piece(study) else subject.loss.body
    if all(is_smooth_operator(n) or not (uses(n, Y) or uses(n, F)) for n in postorder(body)):
        straight = _straight_in_y(subject, study, derivative(subject.loss.body, F))
        if straight is not None:
            return straight
    for f, ys in itertools.product(_AT, _triples(subject)):
        points: tuple[dict[str, Entry], ...] = tuple({"y": y, "f": f} for y in ys)
        values = tuple(true(slope, {Y: y, F: f}) for y in ys)
        if all(map(math.isfinite, values)) and min(values) < 0 < max(values):  # f is best for some distribution
            found = study.written.first([Witness(points, GRADIENT, values, "not straight")])
            if found is not None:
                return refuted(f"∂L/∂f at f = {f:g} is not straight in y: other things than the mean matter", found)
    return unknown("∂L/∂f is straight in y wherever it was tried; the identity is not seen in form")


def _is_one_piece(study: Study) -> bool:
    """Whether a function of the residual has the same form on all its pieces: a kink is one in writing only."""
    if study.free:
        return False
    try:
        return study.continuous and len({p.body for p in study.line}) == 1
    except (Unclear, LosscError):
        return False


def _straight_in_y(subject: Subject, study: Study, slope: Expr) -> Verdict | None:
    """What follows if ∂L/∂f is straight in y, as an identity; None if that is not seen."""
    facts = study.case.facts
    if not study.free:  # a function of y - f
        curve = derivative(study.line[0].curve, F)
        rise = study.line[0].curve
    else:
        rise = canonical_expr(derivative(slope, Y), facts)
        curve = derivative(rise, Y)
    if not vanishes(curve, facts):
        return None
    if rise is ZERO:
        return unknown("∂L/∂f does not depend on y")
    if not uses(canonical_expr(slope, facts), F):
        return unknown("∂L/∂f does not depend on f: there is no best constant")
    if not study.continuous or not (convex(study).status == "proved" or gradient_sign(study).status == "proved"):
        return unknown("∂L/∂f is straight in y, but whether L(y, .) has a minimum is open")
    return proved("∂L/∂f is straight in y: its expectation depends on the mean of y alone, and L falls to a minimum")


def _triples(subject: Subject) -> tuple[tuple[float, ...], ...]:
    return {"real": _REAL, "positive": _POSITIVE, "prob": _PROB}.get(subject.loss.y, _TRIPLES)


# -- the median -------------------------------------------------------------------------------------------------------


def median_consistent(subject: Subject, study: Study) -> Verdict:
    """The best constant prediction is a median of the targets."""
    if subject.distance is not None:
        found = _two_values(study)
        if found is not None:
            return proved(f"∂L/∂f is -{found} where f < y and {found} where f > y")
    slope = derivative(subject.loss.body, F)
    witness = study.written.first(_unbalanced(subject, slope))
    if witness is not None:
        return refuted("of these four targets f is a median, and the gradient is not 0 there", witness)
    return unknown("the gradient is 0 at the medians that were tried; no rule applies")


def _unbalanced(subject: Subject, slope: Expr) -> Iterator[Witness]:
    """Four targets with a median between them at which the slopes do not add up to 0."""
    for ys, f in itertools.product(_FOUR, _BETWEEN):
        whole = subject.loss.y != "count" or all(y == int(y) for y in ys)
        inside = subject.loss.y != "positive" or min(ys) > 0
        if ys[1] < f < ys[2] and whole and inside:
            points: tuple[dict[str, Entry], ...] = tuple({"y": y, "f": f} for y in ys)
            yield Witness(points, GRADIENT, tuple(true(slope, {Y: y, F: f}) for y in ys), "sum is not zero")


def _two_values(study: Study) -> str | None:
    """The slope c of a function c|y - f| and a constant."""
    try:
        line = study.line
        if not study.continuous or len(line) != 2 or line[0].right is None or line[0].right.exact != 0:
            return None
    except (Unclear, LosscError):
        return None
    left, right = line[0].slope, line[1].slope
    if left.op == right.op == CONST and left.number == -right.number and right.number > 0:
        return f"{float(right.number):g}"
    return None
