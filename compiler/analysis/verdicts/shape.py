"""Convex, strictly and strongly convex, quasi-convex, monotone: how a loss bends in the prediction."""

from __future__ import annotations

import math
from collections.abc import Callable

from lossc.compiler.analysis.verdicts.pieces import Piece, Unclear
from lossc.compiler.analysis.verdicts.quasi import quasi
from lossc.compiler.analysis.verdicts.ranges import greatest
from lossc.compiler.analysis.verdicts.rows import Rows
from lossc.compiler.analysis.verdicts.study import (
    BOTH,
    MINUS,
    MINUS_ZERO,
    NIL,
    OPEN,
    PLUS,
    PLUS_ZERO,
    Sign,
    Study,
    comparable,
    samples,
    sign_free,
    true,
    uses,
    wedge,
)  # fmt: skip
from lossc.compiler.analysis.verdicts.verdict import HESSIAN, VALUE, Verdict, Witness, proved, refuted, unknown
from lossc.compiler.errors import LosscError
from lossc.compiler.interval import Interval
from lossc.compiler.ir import Expr, F, Y
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
    fault = to_text(study.shape.fault) if study.shape.fault is not None else ""
    if study.free:
        if study.analytic and sign_free(study.case, study.case.curve) == PLUS_ZERO:
            return proved("L'' >= 0 on the whole domain, by intervals")
        return by_slices(study, convex, "no rule of composition applies, and intervals leave L'' >= 0 open")
    if not study.continuous():
        return _broken(study)
    for piece in study.line:
        sign = study.sign(piece, 2)
        if sign.downs:
            below = _bump(study, piece, sign)
            x = below.points[len(below.points) // 2]["f"]
            return refuted(f"L'' < 0 at f = {x:.6g}{study.case.clause}", below, fault=fault, repair=_flat(study))
        if not sign.nonnegative:
            return unknown(f"the sign of L'' is open where {piece}")
    for before, after, j in study.jumps(1):
        if j.finite and (j.none or j.left <= j.right):
            continue
        if j.left < j.right:  # an infinite slope on the right way
            continue
        witness = _corner(study, before, after)
        if witness is not None:
            return refuted(f"the slope falls at f = {before.right}{study.case.clause}", witness, fault=fault)
        return unknown(f"what the slope does at f = {before.right} is open")
    at = ", ".join(str(p.right) for p in study.line[:-1] if p.right is not None and p.right.exact != 0)
    return proved("L'' >= 0 by intervals" + (f", and the slope does not fall at f = {at}" if at else ""))


def _flat(study: Study) -> str:
    return (
        ""
        if study.case.loss.f == "prob"
        else "convex near its minimum at most: start from a convex loss, or clip the gradient"
    )


def _bump(study: Study, piece: Piece, sign: Sign) -> Witness:
    """Three points of the piece whose middle one lies above the chord; or where the second derivative is negative."""
    by_room = sorted(sign.downs, key=lambda x: -min(x - piece.box.lo, piece.box.hi - x))
    for x in by_room[:6]:
        room = min(x - piece.box.lo, piece.box.hi - x, max(1.0, abs(x)) * 0.5)
        for _ in range(8):
            found = _triple(study, x, room, "above the chord")
            if found is not None:
                return found
            room /= 2
    x = by_room[0]
    return Witness((study.case.here(x),), HESSIAN, (true(piece.curve, {F: x}),), "negative")


def _corner(study: Study, before: Piece, after: Piece) -> Witness | None:
    assert before.right is not None
    x = float(before.right.at)
    room = min(x - before.box.lo, after.box.hi - x, max(1.0, abs(x)) * 0.25)
    for _ in range(30):
        found = _triple(study, x, room, "above the chord")
        if found is not None:
            return found
        room /= 2
    return None


def _triple(study: Study, x: float, h: float, relation: str) -> Witness | None:
    xs = (x - h, x, x + h)
    if not (xs[0] < x < xs[2]) or (x - xs[0]) != (xs[2] - x):
        h = 2.0 ** math.floor(math.log2(h)) if h > 0 else 0.0
        x = math.floor(x / h) * h if h else x
        xs = (x - h, x, x + h)
    domain = study.case.domain[F]
    if not (domain.lo < xs[0] and xs[2] < domain.hi) or not xs[0] < xs[1] < xs[2]:
        return None
    values = tuple(true(study.case.body, {F: v}) for v in xs)
    witness = Witness(tuple(study.case.here(v) for v in xs), VALUE, values, relation)
    return witness if all(map(math.isfinite, values)) and witness.holds() else None


def _broken(study: Study) -> Verdict:
    """Not continuous, or not everywhere defined."""
    for piece in study.line:
        if not piece.total:
            return unknown(f"it is not certain that L has a value where {piece}")
    for before, after, j in study.jumps(0):
        if not j.none:
            return _corner_or_unknown(study, before, after)
    return unknown("the pieces do not join")


def _corner_or_unknown(study: Study, before: Piece, after: Piece) -> Verdict:
    assert before.right is not None
    x = float(before.right.at)
    for h in (1e-3, 1e-6):
        for shift in (0.0, h / 2, -h / 2):
            found = _triple(study, x + shift, h, "above the chord")
            if found is not None:
                return refuted(f"L jumps at f = {before.right}{study.case.clause}", found)
    return unknown(f"L jumps at f = {before.right}")


@guarded
def strictly_convex(study: Study) -> Verdict:
    """L(y, .) is strictly convex on the domain."""
    if study.free:
        if study.analytic and convex(study).status == "proved" and _positive_somewhere(study):
            return proved("convex and analytic in f, and nowhere straight")
        return by_slices(study, strictly_convex, "not shown to be strict for every y")
    base = convex(study)
    if base.status == "refuted":
        return refuted(base.because, base.witness, fault=base.fault)
    if base.status == "unknown":
        return base
    for piece in study.line:
        sign = study.sign(piece, 2)
        if sign.kind == NIL or (piece.curve.op == "const" and piece.curve.number == 0):
            return _straight(study, piece)
        if sign.positive is None:
            return unknown(f"whether L is straight where {piece} is open")
    return proved("convex, and on each analytic piece L'' is not 0 throughout")


def _positive_somewhere(study: Study) -> bool:
    """For y free: L'' > 0 somewhere for every y, which intervals must show on a band of f."""
    band = {**study.case.domain, F: _middle(study.case.domain[F])}
    return study.case.ranges(study.case.curve)(band).lo > 0 or not _uses_y(study.case.curve)


def _uses_y(root: Expr) -> bool:
    return uses(root, Y)


def _middle(domain: Interval) -> Interval:
    return Interval(max(domain.lo, 0.25), min(domain.hi, 0.5))


def _straight(study: Study, piece: Piece) -> Verdict:
    """A piece without curvature: the middle lies on the chord."""
    inside = [x for x in samples(piece.box) if abs(x) < 1e6]
    x = inside[len(inside) // 2]
    h = min(x - piece.box.lo, piece.box.hi - x, 1.0) / 2
    h = 2.0 ** math.floor(math.log2(h))
    witness = _triple(study, x, h, "not below the chord")
    return (
        refuted(f"L is straight where {piece}{study.case.clause}", witness) if witness else unknown("a straight piece")
    )


@guarded
def strongly_convex(study: Study) -> Verdict:
    """L'' >= m > 0 (in the sense of a modulus) for some m >= LEAST_MODULUS."""
    if study.free:
        low = -greatest(study.case.ranges(study.case.curve), study.case.domain, lambda r: -r.lo, -LEAST_MODULUS)
        if study.analytic and low >= LEAST_MODULUS:
            return proved("L'' is bounded from below, by intervals", f"{low:.4g}")
        return by_slices(study, strongly_convex, "no bound of L'' from below was found")
    base = convex(study)
    if base.status != "proved":
        return base if base.status == "unknown" else refuted(base.because, base.witness)
    least = math.inf
    for piece in study.line:
        low = -greatest(piece.ranges(piece.curve), {F: piece.box}, lambda r: -r.lo, -math.inf, 60)
        seen = [(true(piece.curve, {F: x}), x) for x in samples(piece.box)]
        smallest, x = min((s for s in seen if math.isfinite(s[0])), default=(math.inf, 0.0))
        if smallest < LEAST_MODULUS:
            witness = Witness((study.case.here(x),), HESSIAN, (smallest,), "below", LEAST_MODULUS)
            return refuted(f"L'' = {smallest:.3g} at f = {x:.6g}{study.case.clause}", witness)
        if low < LEAST_MODULUS:
            return unknown(f"intervals bound L'' by {low:.3g} from below only")
        least = min(least, low if abs(low - smallest) > 1e-9 * abs(low) else smallest)
    return proved("L'' >= m by intervals", f"{least:.4g}")


# -- quasi-convex and monotone ----------------------------------------------------------------------------------------


@guarded
def quasiconvex(study: Study) -> Verdict:
    """L(y, .) falls to a minimum and rises after it: its sublevel sets are intervals."""
    base = convex(study)
    if base.status == "proved":
        return proved("it is convex")
    if study.total and quasi(study.ranges, dict(study.case.domain)):
        return proved("composition of monotone operators (DQCP)")
    if study.free:
        if study.total and _unimodal_at_target(study):
            return proved("it falls where f < y and rises where f > y, by intervals")
        return by_slices(study, quasiconvex, "where the slope changes its sign is open")
    if not study.continuous():
        return _humps(study) or unknown("it is not continuous")
    rising = False
    for piece in study.line:
        sign = study.sign(piece, 1)
        if sign.kind in (OPEN, BOTH):
            curve = study.sign(piece, 2)
            if curve.nonnegative and not rising:
                rising = rising or sign.positive is not None
                continue
            return _humps(study) or unknown(f"where the slope changes its sign is open for {piece}")
        if sign.kind in (PLUS, PLUS_ZERO):
            rising = True
        elif sign.kind in (MINUS, MINUS_ZERO) and rising:
            return _humps(study) or unknown("it rises before it falls")
    return proved("its slope changes its sign once at most, from - to +, by intervals (DQCP)")


def _unimodal_at_target(study: Study) -> bool:
    if not comparable(study.case.loss):
        return False
    for side, sign in ((1, PLUS_ZERO), (-1, MINUS_ZERO)):
        root, box = wedge(study.case, study.case.slope, side)
        if sign_free(study.case, root, box) != sign:
            return False
    return True


def _humps(study: Study) -> Verdict | None:
    """Three points of which the middle one is the highest."""
    xs = sorted({x for p in study.line for x in samples(p.box)} | {float(p.right.at) for p in study.line if p.right})
    values = [true(study.case.body, {F: x}) for x in xs]
    known = [(x, v) for x, v in zip(xs, values, strict=True) if math.isfinite(v)]
    for i in range(1, len(known) - 1):
        left, right = min(known[:i], key=lambda p: p[1]), min(known[i + 1 :], key=lambda p: p[1])
        three = (left, known[i], right)
        witness = Witness(tuple(study.case.here(x) for x, _ in three), VALUE, tuple(v for _, v in three),
                          "between greater ones is no rise")  # fmt: skip
        if witness.holds():
            return refuted(f"it rises and falls again around f = {known[i][0]:.6g}{study.case.clause}", witness)
    return None


@guarded
def monotone(study: Study) -> Verdict:
    """L(y, .) never falls, or never rises."""
    if study.free:
        kind = sign_free(study.case, study.case.slope)
        if study.analytic and kind in (PLUS_ZERO, MINUS_ZERO):
            return proved("the slope has one sign, by intervals", "rising" if kind == PLUS_ZERO else "falling")
        return by_slices(study, monotone, "the sign of the slope is open")
    up = down = None
    kinds = set()
    for piece in study.line:
        sign = study.sign(piece, 1)
        kinds.add(sign.kind)
        up, down = up if sign.positive is None else sign.positive, down if sign.negative is None else sign.negative
    if up is not None and down is not None:
        points = ({F: up}, {F: down})
        values = tuple(true(_slope_at(study, p[F]), p) for p in points)
        witness = Witness((study.case.here(up), study.case.here(down)), "gradient", values, "mixed signs")
        return refuted(
            f"the slope is positive at f = {up:.6g} and negative at f = {down:.6g}{study.case.clause}", witness
        )
    if OPEN in kinds or not study.continuous():
        return unknown("the sign of the slope is open")
    word = "rising" if up is not None else "falling" if down is not None else "constant"
    return proved("the slope has one sign on every piece", word)


def _slope_at(study: Study, x: float) -> Expr:
    return next(p.slope for p in study.line if p.box.lo <= x <= p.box.hi)


# -- rows -------------------------------------------------------------------------------------------------------------


def convex_row(rows: Rows) -> Verdict:
    """The loss of a row is convex in all its predictions together."""
    found = rows.shape
    if found.convex:
        return proved("composition of convex and monotone operators (DCP), for any number of classes")
    witness = rows.bump()
    if witness is not None:
        return refuted("the middle of two rows lies above the chord", witness,
                       fault=to_text(found.fault) if found.fault is not None else "")  # fmt: skip
    return unknown("no rule of composition applies, and no counterexample was found")
