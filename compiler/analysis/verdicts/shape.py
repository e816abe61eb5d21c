"""Convex, strictly and strongly convex: how a loss bends in the prediction."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from lossc.compiler.analysis.verdicts.pieces import Piece, Unclear
from lossc.compiler.analysis.verdicts.ranges import greatest
from lossc.compiler.analysis.verdicts.signs import NIL, PLUS_ZERO, Sign, samples, sign_free, true
from lossc.compiler.analysis.verdicts.study import Study, hidden, uses
from lossc.compiler.analysis.verdicts.verdict import HESSIAN, Verdict, Witness, at_least, proved, unknown
from lossc.compiler.analysis.verdicts.verdict import refuted as refuted_with
from lossc.compiler.errors import LosscError
from lossc.compiler.interval import Interval
from lossc.compiler.ir import F, Y
from lossc.compiler.printing import to_text

LEAST_MODULUS = 1e-6
"""A modulus of strong convexity below this is of no use to an optimiser, and counts as none."""


def guarded(decide: Callable[[Study], Verdict]) -> Callable[[Study], Verdict]:
    """A decision that says why it does not know, where the pieces or a derivative cannot be had."""

    def run(study: Study) -> Verdict:
        try:
            return decide(study)
        except (Unclear, LosscError) as problem:
            return unknown(str(problem))

    return run


def by_slices(study: Study, decide: Callable[[Study], Verdict], reason: str) -> Verdict:
    """A refutation at one target is one for all; that it holds at a few targets proves nothing."""
    for one in study.slices:
        found = decide(one)
        if found.status == "refuted":
            return found
    return unknown(reason)


# -- convex -----------------------------------------------------------------------------------------------------------


@guarded
def convex(study: Study) -> Verdict:
    """L(y, .) is convex on the domain."""
    if study.shape.convex and study.total:
        return proved("composition of convex and monotone operators (DCP)")
    if study.free:
        if study.analytic and sign_free(study.case, study.case.curve) == PLUS_ZERO:
            return proved("L'' >= 0 on the whole domain, by intervals")
        return by_slices(study, convex, "no rule of composition applies, and intervals leave L'' >= 0 open")
    fault = to_text(study.shape.fault) if study.shape.fault is not None else ""
    if not study.continuous:
        return _broken(study)
    for piece in study.line:
        sign = study.sign(piece, 2)
        if sign.downs:
            because = f"L'' < 0 at {{at}}{study.case.clause}"
            found = study.refuted(because, _bumps(study, piece, sign), fault=fault, repair=_flat(study))
            return found or hidden(f"L'' < 0 where {piece}")
        if not sign.nonnegative:
            return unknown(f"the sign of L'' is open where {piece}")
    for before, after, j in study.jumps(1):
        if j.none or j.left < j.right:
            continue
        because = f"the slope falls at f = {before.right}{study.case.clause}"
        found = study.refuted(because, _corners(study, before, after), fault=fault)
        return found or unknown(f"what the slope does at f = {before.right} is open")
    at = ", ".join(str(p.right) for p in study.line[:-1] if p.right is not None and p.right.exact != 0)
    return proved("L'' >= 0 by intervals" + (f", and the slope does not fall at f = {at}" if at else ""))


def _flat(study: Study) -> str:
    if study.case.loss.f == "prob":
        return ""
    return "convex near its minimum at most: start from a convex loss, or clip the gradient"


def _bumps(study: Study, piece: Piece, sign: Sign) -> Iterator[Witness | None]:
    """Three points of the piece whose middle one lies above the chord; or points with a negative second derivative."""
    by_room = sorted(sign.downs, key=lambda x: (abs(x) > 1e4, -min(x - piece.box.lo, piece.box.hi - x)))
    for x in by_room[:6]:
        room = min(x - piece.box.lo, piece.box.hi - x, max(1.0, abs(x)) * 0.5)
        for k in range(8):
            yield three(study, x, room / 2**k, "above the chord")
    for x in by_room:
        yield study.by_slope(x, piece.curve, HESSIAN, "negative")


def _corners(study: Study, before: Piece, after: Piece) -> Iterator[Witness | None]:
    """Three points around a break whose middle one lies above the chord."""
    assert before.right is not None
    x = float(before.right.at)
    room = min(x - before.box.lo, after.box.hi - x, max(1.0, abs(x)) * 0.25)
    for k in range(30):
        yield three(study, x, room / 2**k, "above the chord")


def three(study: Study, x: float, h: float, relation: str, bound: float = 0.0) -> Witness | None:
    """A witness of three points with the middle one exactly between; None if they would leave the domain."""
    if not 0 < h < math.inf:
        return None
    xs = (x - h, x, x + h)
    if (x - xs[0]) != (xs[2] - x):
        h = 2.0 ** math.floor(math.log2(h))
        x = math.floor(x / h) * h
        xs = (x - h, x, x + h)
    domain = study.case.domain[F]
    if not (domain.lo < xs[0] and xs[2] < domain.hi) or not xs[0] < xs[1] < xs[2]:
        return None
    return study.by_values(xs, relation, bound)


def _broken(study: Study) -> Verdict:
    """Not continuous, or not everywhere defined."""
    for piece in study.line:
        if not piece.total:
            return unknown(f"it is not certain that L has a value where {piece}")
    for before, _after, j in study.jumps(0):
        if not j.none or not study.joins(before):
            assert before.right is not None
            because = f"L jumps at f = {before.right}{study.case.clause}"
            return study.refuted(because, _steps(study, float(before.right.at))) or unknown(because)
    return unknown("the pieces do not join")


def _steps(study: Study, x: float) -> Iterator[Witness | None]:
    for h in (1.0, 1e-3, 1e-6):
        for shift in (0.0, h / 2, -h / 2):
            yield three(study, x + shift, h, "above the chord")


@guarded
def strictly_convex(study: Study) -> Verdict:
    """L(y, .) is strictly convex on the domain."""
    if study.free:
        if study.analytic and convex(study).status == "proved" and _bent_for_every_target(study):
            return proved("convex and analytic in f, and nowhere straight")
        return by_slices(study, strictly_convex, "not shown to be strict for every y")
    base = convex(study)
    if base.status != "proved":
        return _not_convex(base)
    for piece in study.line:
        sign = study.sign(piece, 2)
        if sign.kind == NIL:
            because = f"L is straight where {piece}{study.case.clause}"
            return study.refuted(because, _straight(study, piece)) or hidden(because)
        if sign.positive is None:
            return unknown(f"whether L is straight where {piece} is open")
    return proved("convex, and on each analytic piece L'' is not 0 throughout")


def _not_convex(base: Verdict) -> Verdict:
    """What follows for stronger properties: the same witness."""
    if base.status == "unknown":
        return base
    return refuted_with(base.because, base.witness, fault=base.fault)


def _bent_for_every_target(study: Study) -> bool:
    """For y free: L'' > 0 somewhere for every y: by intervals on a band of f, or a number if y does not enter."""
    curve, domain = study.case.curve, study.case.domain
    middle = Interval(max(domain[F].lo, 0.25), min(domain[F].hi, 0.5))
    if study.case.ranges(curve)({**domain, F: middle}).lo > 0:
        return True
    return not uses(curve, Y) and true(curve, {F: 0.4142}) > 0


def _straight(study: Study, piece: Piece) -> Iterator[Witness | None]:
    """A piece without curvature: the middle lies on the chord."""
    inside = sorted((x for x in samples(piece.box) if abs(x) < 1e6), key=lambda x: abs(math.log(abs(x) + 1e-9)))
    for x in inside:
        h = min(x - piece.box.lo, piece.box.hi - x, 1.0) / 2
        yield three(study, x, 2.0 ** math.floor(math.log2(h)), "not below the chord")


@guarded
def strongly_convex(study: Study) -> Verdict:
    """L'' >= m > 0 (in the sense of a modulus) for some m >= LEAST_MODULUS."""
    if study.free:
        if study.analytic:
            ranges = study.case.ranges(study.case.curve)
            low = -greatest(ranges, study.case.domain, lambda r: -r.lo, -LEAST_MODULUS)
            if low >= LEAST_MODULUS:
                return proved("L'' is bounded from below, by intervals", at_least(low))
        return by_slices(study, strongly_convex, "no bound of L'' from below was found")
    base = convex(study)
    if base.status != "proved":
        return _not_convex(base)
    least = math.inf
    for piece in study.line:
        low = -greatest(piece.ranges(piece.curve), {F: piece.box}, lambda r: -r.lo, -math.inf, 60)
        seen = [(true(piece.curve, {F: x}), x) for x in samples(piece.box)]
        known = sorted(s for s in seen if math.isfinite(s[0]))
        if known and known[0][0] < LEAST_MODULUS:
            because = f"L'' = {max(known[0][0], 0.0):.3g} at f = {known[0][1]:.6g}{study.case.clause}"
            found = study.refuted(because, _barely_bent(study, piece, [x for m, x in known if m < LEAST_MODULUS]))
            return found or hidden("the modulus is too small")
        if low < LEAST_MODULUS:
            return unknown(f"intervals bound L'' by {low:.3g} from below only")
        least = min(least, low if not known or abs(low - known[0][0]) > 1e-9 * abs(low) else known[0][0])
    return proved("L'' >= m by intervals", at_least(least))


def _barely_bent(study: Study, piece: Piece, places: list[float]) -> Iterator[Witness | None]:
    for x in places:
        yield study.by_slope(x, piece.curve, HESSIAN, "below", LEAST_MODULUS)
    for x in sorted(places, key=abs):
        room = min(x - piece.box.lo, piece.box.hi - x, 1.0) / 2
        h = 2.0 ** math.floor(math.log2(room))
        yield three(study, x, h, "bent less than", LEAST_MODULUS * h * h / 2)
