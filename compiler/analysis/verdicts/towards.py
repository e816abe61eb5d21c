"""Whether a loss leads to the target: the sign of its gradient on either side, and its minimum."""

from __future__ import annotations

import math
from collections.abc import Iterator

from lossc.compiler.analysis.verdicts.bounds import lowest, nonnegative, zero_at_target
from lossc.compiler.analysis.verdicts.pieces import Piece
from lossc.compiler.analysis.verdicts.settled import settled_value
from lossc.compiler.analysis.verdicts.shape import by_slices, guarded
from lossc.compiler.analysis.verdicts.signs import (
    MINUS,
    MINUS_ZERO,
    NIL,
    PLUS,
    PLUS_ZERO,
    samples,
    sign_free,
    true,
    wedge,
)
from lossc.compiler.analysis.verdicts.study import Study, comparable, hidden
from lossc.compiler.analysis.verdicts.verdict import GRADIENT, VALUE, Verdict, Witness, proved, unknown
from lossc.compiler.ir import Expr, F, Y, const


def _is_number(study: Study) -> bool:
    """Whether the prediction is one of the target itself, a number."""
    return comparable(study.case.loss) and study.case.loss.y not in ("sign", "binary", "onehot")


def _wanted(study: Study, piece: Piece) -> int:
    """The sign that the slope should have on a piece: below the target it falls; a target class is wanted."""
    target = study.case.target or 0.0
    if _is_number(study):
        return -1 if piece.box.hi <= target else 1
    return -1 if study.case.every or target > 0 else 1


def _cut_at_target(study: Study) -> list[Piece]:
    """The pieces; for a target other than 0 cut there, too."""
    target = study.case.target
    if target is None or study.case.every or not comparable(study.case.loss):
        return study.line
    return study.cut_at(const(target).number)


@guarded
def gradient_sign(study: Study) -> Verdict:
    """The slope leads towards the target: never the wrong way."""
    if study.free:
        return _for_every_target(study)
    strict = True
    for piece in _cut_at_target(study):
        sense = _wanted(study, piece)
        sign = study.sign(piece, 1)
        wrong = sign.downs if sense > 0 else sign.ups
        if wrong:
            return _wrong_way(study, piece, wrong, sense)
        if not (sign.nonnegative if sense > 0 else sign.nonpositive):
            return unknown(f"the sign of L' where {piece} is open")
        strict = strict and sign.kind in (PLUS, MINUS)
    if not study.continuous:
        return unknown("L jumps, and the slope does not say which way")
    return proved("the slope has the right sign on every piece, by intervals", "strictly" if strict else "not strictly")


def _wrong_way(study: Study, piece: Piece, wrong: tuple[float, ...], sense: int) -> Verdict:
    slopes = [(true(piece.slope, {F: x}), x) for x in wrong]
    slopes.sort(key=lambda v: -abs(v[0]) if 1e-3 < abs(v[1]) < 1e3 and math.isfinite(v[0]) else 0.0)
    which, relation = ("below", "negative") if sense > 0 else ("above", "positive")
    because = f"L' is {which} 0 at {{at}}{study.case.clause}: it leads away from the target"
    found = study.refuted(because, (study.by_slope(x, piece.slope, GRADIENT, relation) for _, x in slopes))
    return found or hidden("the slope leads away from the target somewhere")


def _for_every_target(study: Study) -> Verdict:
    case = study.case
    if not comparable(case.loss):
        return unknown("f is not a prediction of y itself")

    def candidates() -> Iterator[Witness]:
        for point in study.grid:
            y, f = point[Y], point[F]
            if f != y:
                yield study.by_slope(f, case.slope, GRADIENT, "negative" if f > y else "positive", 1e-12, y)

    found = study.refuted("L' leads away from the target at {at}", candidates())
    if found is not None:
        return found
    for side, sign in ((1, PLUS_ZERO), (-1, MINUS_ZERO)):
        root, box = wedge(case, case.slope, side)
        if sign_free(case, root, box) != sign:
            return by_slices(study, gradient_sign, "right at every y that was tried; not shown for all")
    if not study.continuous:
        return unknown("L may jump, and the slope does not say which way")
    return proved("L' <= 0 where f < y and L' >= 0 where f > y, by intervals in y and f - y")


@guarded
def minimum_at_target(study: Study) -> Verdict:
    """L(y, .) is least at f = y; for a class or a margin, where the right answer is certain."""
    found = gradient_sign(study)
    if found.status == "proved" and study.continuous:
        return proved("it falls until there and rises after it", "unique" if found.value == "strictly" else "")
    if study.free:
        if zero_at_target(study) and nonnegative(study).status == "proved":
            return proved("it is 0 at f = y, and nowhere negative")
        return _lower_elsewhere(study) or by_slices(
            study, minimum_at_target, "right wherever it was tried; no rule applies"
        )
    if _is_number(study):
        return _against_target(study, study.case.target or 0.0)
    return _against_certainty(study)


def _against_target(study: Study, target: float) -> Verdict:
    """Regression with the target at a number."""
    xs = sorted({x for p in study.line for x in samples(p.box)} | {float(b.at) for b in study.breaks}, key=abs)
    because = f"L is smaller elsewhere than at the target{study.case.clause}"
    found = study.refuted(because, (study.by_values((x, target), "smaller than") for x in xs if x != target))
    if found is not None:
        return found
    least = lowest(study)
    here = settled_value(study.case.body, {F: const(target).number})
    if least is not None and here <= least.number:
        return proved(f"it is monotone on each piece, and least at {least.words}")
    return unknown("nothing smaller was found, and no rule applies")


def _against_certainty(study: Study) -> Verdict:
    """A class or a margin: a prediction that is further from certainty, and has a smaller loss."""
    up = study.case.every or (study.case.target or 0.0) > 0
    xs = sorted((x for p in study.line for x in samples(p.box)), reverse=not up)
    values = [study.value(x) for x in xs]
    last = xs[-1]

    def candidates() -> Iterator[Witness]:
        known = [(v, x) for x, v in zip(xs[:-1], values[:-1], strict=True) if math.isfinite(v)]
        for v, x in sorted(known):
            yield Witness(study.points((x, last)), VALUE, (v, values[-1]), "smaller than")

    found = study.refuted(f"L is smaller elsewhere than at f = {last:.6g}{study.case.clause}", candidates())
    if found is not None:
        return found
    if study.continuous and all(study.sign(p, 1).kind == NIL for p in study.line):
        return proved("it does not depend on f")
    return unknown("nothing smaller was found, and no rule applies")


def _lower_elsewhere(study: Study) -> Verdict | None:
    case = study.case
    if not comparable(case.loss):
        return unknown("f is not a prediction of y itself")

    def here(point: dict[Expr, float]) -> Witness:
        y, f = point[Y], point[F]
        values = (true(case.body, point), true(case.body, {Y: y, F: y}))
        return Witness((case.here(f, y), case.here(y, y)), VALUE, values, "smaller than")

    allowed = [p for p in study.grid if p[F] != p[Y] and case.domain[F].lo <= p[Y]]
    return study.refuted("L is smaller elsewhere than at f = y", (here(p) for p in allowed))
