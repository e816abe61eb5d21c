"""Quasi-convex and monotone: how a loss runs in the prediction."""

from __future__ import annotations

import math
from collections.abc import Iterator

from lossc.compiler.analysis.verdicts.quasi import quasi
from lossc.compiler.analysis.verdicts.shape import by_slices, convex, guarded
from lossc.compiler.analysis.verdicts.signs import (
    BOTH,
    MINUS,
    MINUS_ZERO,
    NIL,
    OPEN,
    PLUS,
    PLUS_ZERO,
    samples,
    sign_free,
    true,
    wedge,
)
from lossc.compiler.analysis.verdicts.study import Study, comparable, hidden
from lossc.compiler.analysis.verdicts.verdict import GRADIENT, Verdict, Witness, proved, unknown
from lossc.compiler.ir import Expr, F


@guarded
def quasiconvex(study: Study) -> Verdict:
    """L(y, .) falls to a minimum and rises after it: its sublevel sets are intervals."""
    if convex(study).status == "proved":
        return proved("it is convex")
    if study.total and quasi(study.ranges, dict(study.case.domain)):
        return proved("composition of monotone operators (DQCP)")
    if study.free:
        if falls_to_target(study):
            return proved("it falls where f < y and rises where f > y, by intervals")
        return by_slices(study, quasiconvex, "where the slope changes its sign is open")
    if not study.continuous:
        return _humps(study) or unknown("it is not continuous")
    rising = False
    for piece in study.line:
        sign = study.sign(piece, 1)
        if sign.kind in (OPEN, BOTH):
            if not rising and study.sign(piece, 2).nonnegative:
                rising = True  # from somewhere on, or perhaps not yet
                continue
            return _humps(study) or unknown(f"where the slope changes its sign is open for {piece}")
        if sign.kind in (PLUS, PLUS_ZERO):
            rising = True
        elif sign.kind in (MINUS, MINUS_ZERO) and rising:
            return _humps(study) or unknown("it rises before it falls")
    return proved("its slope changes its sign once at most, from - to +, by intervals (DQCP)")


def falls_to_target(study: Study) -> bool:
    """Whether for every y L falls until f = y and rises after it: L' by intervals in y and f - y, and no jumps."""
    if not comparable(study.case.loss) or not study.continuous:
        return False
    for side, sign in ((1, PLUS_ZERO), (-1, MINUS_ZERO)):
        root, box = wedge(study.case, study.case.slope, side)
        if sign_free(study.case, root, box) != sign:
            return False
    return True


def _humps(study: Study) -> Verdict | None:
    """Three points of which the middle one is the highest."""
    xs = sorted({x for p in study.line for x in samples(p.box)} | {float(b.at) for b in study.breaks})
    known = [(x, v) for x in xs if math.isfinite(v := study.value(x))]

    def candidates() -> Iterator[Witness]:
        for i in range(1, len(known) - 1):
            left, right = min(known[:i], key=lambda p: p[1]), min(known[i + 1 :], key=lambda p: p[1])
            if known[i][1] > max(left[1], right[1]):
                yield study.by_values((left[0], known[i][0], right[0]), "between greater ones is no rise")

    return study.refuted(f"it rises and falls again around {{at}}{study.case.clause}", candidates())


@guarded
def monotone(study: Study) -> Verdict:
    """L(y, .) never falls, or never rises."""
    if study.free:
        kind = sign_free(study.case, study.case.slope)
        if study.continuous and kind in (PLUS_ZERO, MINUS_ZERO):
            return proved("the slope has one sign, by intervals", "rising" if kind == PLUS_ZERO else "falling")
        return by_slices(study, monotone, "the sign of the slope is open")
    ups: list[float] = []
    downs: list[float] = []
    kinds = set()
    for piece in study.line:
        sign = study.sign(piece, 1)
        kinds.add(sign.kind)
        ups, downs = [*ups, *sign.ups], [*downs, *sign.downs]
    if ups and downs:
        found = study.refuted(f"the slope is positive and negative{study.case.clause}", _both(study, ups, downs))
        return found or hidden("the slope has both signs")
    if OPEN in kinds or not study.continuous:
        return unknown("the sign of the slope is open")
    word = "rising" if ups else "falling" if downs else "constant"
    return proved("the slope has one sign on every piece", "constant" if kinds == {NIL} else word)


def _both(study: Study, ups: list[float], downs: list[float]) -> Iterator[Witness]:
    """A place where the loss rises and one where it falls, not far out."""
    for up in sorted(ups, key=_remote)[:4]:
        for down in sorted(downs, key=_remote)[:4]:
            values = tuple(true(_slope_at(study, x), {F: x}) for x in (up, down))
            yield Witness(study.points((up, down)), GRADIENT, values, "mixed signs")


def _remote(x: float) -> float:
    return abs(math.log10(max(abs(x), 1e-300)))


def _slope_at(study: Study, x: float) -> Expr:
    return next(p.slope for p in study.line if p.box.lo <= x <= p.box.hi)
