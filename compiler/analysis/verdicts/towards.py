"""Whether a loss leads to the target: the sign of its gradient on either side, and its minimum."""

from __future__ import annotations

import math

from lossc.compiler.analysis.verdicts.pieces import Piece
from lossc.compiler.analysis.verdicts.shape import by_slices, guarded
from lossc.compiler.analysis.verdicts.size import lowest
from lossc.compiler.analysis.verdicts.study import (
    MINUS,
    NIL,
    PLUS,
    Sign,
    Study,
    comparable,
    grid,
    samples,
    sign_free,
    true,
    wedge,
)  # fmt: skip
from lossc.compiler.analysis.verdicts.verdict import GRADIENT, VALUE, Verdict, Witness, proved, refuted, unknown
from lossc.compiler.ir import F, Y


def wanted(study: Study, piece: Piece) -> int:
    """The sign that the slope should have on a piece: below the target it falls; a target class is wanted."""
    case = study.case
    if comparable(case.loss) and case.loss.y not in ("sign", "binary", "onehot"):
        target = case.target or 0.0
        return -1 if piece.box.hi <= target else 1
    return -1 if case.every or (case.target or 0.0) > 0 else 1


@guarded
def gradient_sign(study: Study) -> Verdict:
    """The slope leads towards the target: never the wrong way."""
    if study.free:
        return _for_every_target(study)
    strict = True
    for piece in _cut_at_target(study):
        sense = wanted(study, piece)
        sign = study.sign(piece, 1)
        wrong = sign.downs if sense > 0 else sign.ups
        if wrong:
            return _wrong_way(study, piece, sign, sense)
        if not (sign.nonnegative if sense > 0 else sign.nonpositive):
            return unknown(f"the sign of L' where {piece} is open")
        strict = strict and sign.kind in (PLUS, MINUS)
    return proved("the slope has the right sign on every piece, by intervals", "strictly" if strict else "not strictly")


def _cut_at_target(study: Study) -> list[Piece]:
    """The pieces; for a target other than 0 cut there, too."""
    target = study.case.target
    if target is None or study.case.every or not comparable(study.case.loss):
        return study.line
    from fractions import Fraction

    from lossc.compiler.analysis.verdicts.pieces import pieces

    case = study.case
    return pieces(case.body, case.loss, case.domain[F], case.inside, (Fraction(target),))


def _wrong_way(study: Study, piece: Piece, sign: Sign, sense: int) -> Verdict:
    xs = sign.downs if sense > 0 else sign.ups
    value, x = max(
        ((true(piece.slope, {F: x}), x) for x in xs), key=lambda v: abs(v[0]) if math.isfinite(v[0]) else 0.0
    )
    relation = "negative" if sense > 0 else "positive"
    witness = Witness((study.case.here(x),), GRADIENT, (value,), relation)
    which = "below" if sense > 0 else "above"
    return refuted(f"L' is {which} 0 at f = {x:.6g}{study.case.clause}: it leads away from the target", witness)


def _for_every_target(study: Study) -> Verdict:
    case = study.case
    if not comparable(case.loss):
        return unknown("f is not a prediction of y itself")
    for point in grid(case.domain):
        y, f = point[Y], point[F]
        value = true(case.slope, point)
        if (f > y and value < -1e-12) or (f < y and value > 1e-12):
            relation = "negative" if f > y else "positive"
            witness = Witness((case.here(f, y),), GRADIENT, (value,), relation)
            return refuted(f"L' = {value:.3g} at y = {y:.4g}, f = {f:.4g}: it leads away from the target", witness)
    for side, sign in ((1, ">="), (-1, "<=")):
        root, box = wedge(case, case.slope, side)
        if sign_free(case, root, box) != sign:
            return by_slices(study, gradient_sign, "right at every y that was tried; not shown for all")
    return proved("L' <= 0 where f < y and L' >= 0 where f > y, by intervals in y and f - y")


@guarded
def minimum_at_target(study: Study) -> Verdict:
    """L(y, .) is least at f = y; for a class or a margin, where the right answer is certain."""
    found = gradient_sign(study)
    if found.status == "proved" and study.total:
        strict = found.value == "strictly"
        return proved("it falls until there and rises after it", "unique" if strict else "")
    if study.free:
        return _lower_elsewhere(study) or by_slices(
            study, minimum_at_target, "right wherever it was tried; no rule applies"
        )
    if comparable(study.case.loss) and study.case.loss.y not in ("sign", "binary", "onehot"):
        return _against_target(study, study.case.target or 0.0)
    return _against_certainty(study)


def _against_target(study: Study, target: float) -> Verdict:
    """Regression with the target at a number."""
    here = true(study.case.body, {F: target})
    for piece in study.line:
        for x in samples(piece.box):
            value = true(study.case.body, {F: x})
            witness = Witness((study.case.here(x), study.case.here(target)), VALUE, (value, here), "smaller than")
            if math.isfinite(value) and math.isfinite(here) and witness.holds():
                return refuted(f"L is smaller at f = {x:.6g} than at the target", witness)
    least = lowest(study)
    if least is not None and math.isfinite(here) and here <= least[0]:
        return proved(f"it is monotone on each piece, and least at {least[1]}")
    return unknown("nothing smaller was found, and no rule applies")


def _against_certainty(study: Study) -> Verdict:
    """A class or a margin: a prediction that is further from certainty, and has a smaller loss."""
    domain = study.case.domain[F]
    up = study.case.every or (study.case.target or 0.0) > 0
    xs = sorted(x for p in study.line for x in samples(p.box))
    ordered = xs if up else xs[::-1]
    values = [true(study.case.body, {F: x}) for x in ordered]
    last = values[-1]
    for x, v in zip(ordered[:-1], values[:-1], strict=True):
        witness = Witness((study.case.here(x), study.case.here(ordered[-1])), VALUE, (v, last), "smaller than")
        if math.isfinite(v) and math.isfinite(last) and witness.holds():
            return refuted(f"L is smaller at f = {x:.6g} than at f = {ordered[-1]:.6g}{study.case.clause}", witness)
    if all(study.sign(p, 1).kind == NIL for p in study.line) and domain is not None:
        return proved("it does not depend on f")
    return unknown("nothing smaller was found, and no rule applies")


def _lower_elsewhere(study: Study) -> Verdict | None:
    case = study.case
    if not comparable(case.loss):
        return unknown("f is not a prediction of y itself")
    for point in grid(case.domain):
        y, f = point[Y], point[F]
        there, here = true(case.body, point), true(case.body, {Y: y, F: y})
        witness = Witness((case.here(f, y), case.here(y, y)), VALUE, (there, here), "smaller than")
        if math.isfinite(there) and math.isfinite(here) and witness.holds():
            return refuted(f"for y = {y:.4g}, L is smaller at f = {f:.4g} than at f = y", witness)
    return None
