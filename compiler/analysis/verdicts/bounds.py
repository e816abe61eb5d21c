"""How small a loss becomes: lower bounds, and whether it is ever negative."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lossc.compiler.analysis.verdicts.ends import at_end
from lossc.compiler.analysis.verdicts.ends_in_y import bounded_ends
from lossc.compiler.analysis.verdicts.pieces import Piece, Unclear
from lossc.compiler.analysis.verdicts.proposals import vanishes
from lossc.compiler.analysis.verdicts.settled import settled, value_at
from lossc.compiler.analysis.verdicts.shape import by_slices, convex, guarded
from lossc.compiler.analysis.verdicts.signs import MINUS, NIL, PLUS, PLUS_ZERO, far_out, samples, sign_free, true
from lossc.compiler.analysis.verdicts.study import Study, comparable, hidden
from lossc.compiler.analysis.verdicts.valleys import falls_to_target
from lossc.compiler.analysis.verdicts.verdict import VALUE, Verdict, Witness, at_least, proved, unknown
from lossc.compiler.analysis.world import context
from lossc.compiler.errors import LosscError
from lossc.compiler.interval import INF
from lossc.compiler.ir import Expr, F, Y, substitute


@dataclass(frozen=True)
class Low:
    """An infimum with many digits, and where it is."""

    number: Any
    words: str

    @property
    def value(self) -> float:
        return float(self.number)


def lowest(study: Study) -> Low | None:
    """The infimum on the domain and where it is, if every piece is certainly monotone. Raises Unclear, LosscError."""
    if not study.continuous:
        return None
    found: list[Low] = []
    for piece in study.line:
        kind = study.sign(piece, 1).kind
        if kind not in (PLUS, MINUS, NIL):
            return None
        for side in (-1, 1) if kind == NIL else (-1,) if kind == PLUS else (1,):
            low = _value_at(piece, side)
            if low is None:
                return None
            found.append(low)
    return min(found, key=lambda low: low.number)


def _value_at(piece: Piece, side: int) -> Low | None:
    """The value where a piece ends: at a break, or in the limit."""
    b = piece.left if side < 0 else piece.right
    if b is None:
        end = at_end(piece, piece.body, side)
        return Low(end.number, end.words) if end.known else None
    value = settled(lambda digits: value_at(piece.body, {F: b.to(digits)}, digits))
    return Low(value, f"f = {b}") if context().isfinite(value) else None


# -- a lower bound ----------------------------------------------------------------------------------------------------


@guarded
def bounded_below(study: Study) -> Verdict:
    """For every y, L(y, .) has a lower bound."""
    low = study.ranges(study.case.domain).lo
    if low > -INF and study.total:
        return proved("by intervals", at_least(_sharpened(study, low), 6))
    if study.free:
        return _bounded_for_every_target(study)
    least = lowest(study)
    if least is None:
        return _bounded_by_ends(study)
    if least.number > -INF:
        return proved(f"it is monotone on each piece, and least at {least.words}", at_least(least.value, 6))
    return _unbounded(study, least.words)


def _sharpened(study: Study, low: float) -> float:
    """The infimum in place of a bound by intervals, where it can be had."""
    if study.free:
        return low
    try:
        least = lowest(study)
    except (Unclear, LosscError):
        return low
    return low if least is None else max(low, least.value)


def _bounded_by_ends(study: Study) -> Verdict:
    """A continuous function is bounded below if it is at both ends of its domain."""
    if not study.continuous:
        return unknown("neither intervals nor the slopes bound it")
    first, last = study.line[0], study.line[-1]
    for end in (at_end(first, first.body, -1), at_end(last, last.body, 1)):
        if not end.known:
            return unknown(f"whether it is bounded as {end.words} is open")
        if end.number == -INF:
            return _unbounded(study, end.words)
    return proved("it is continuous, and bounded below at both ends of the domain")


def _unbounded(study: Study, words: str) -> Verdict:
    def candidates() -> Iterator[Witness]:
        values = [(true(p.body, {F: x}), x) for p in study.line for x in [*samples(p.box), *far_out(p.box)]]
        for low, x in sorted(v for v in values if math.isfinite(v[0]) and v[0] < 0)[:20]:
            yield Witness(study.points((x,)), VALUE, (low,), "below", low / 2)

    return study.refuted(f"L -> -oo as {words}{study.case.clause}", candidates()) or hidden(f"L -> -oo as {words}")


def _bounded_for_every_target(study: Study) -> Verdict:
    if falls_to_target(study):
        return proved("it falls until f = y and rises after it, for every y")
    for one in study.slices:
        found = bounded_below(one)
        if found.status == "refuted":
            return found
    if study.continuous:
        if convex(study).status == "proved" and bounded_ends(study.case, convex=True):
            return proved("convex in f, and for every y it falls far down and rises far up, or has a limit")
        if bounded_ends(study.case, convex=False):
            return proved("continuous, and for every y it has a limit or grows at both ends")
    return unknown("bounded at every y that was tried; not shown for all")


# -- sign -------------------------------------------------------------------------------------------------------------


@guarded
def nonnegative(study: Study) -> Verdict:
    """L >= 0 on the domain."""
    if study.ranges(study.case.domain).lo >= 0:
        return proved("by intervals")
    if study.free:
        return _nonnegative_for_every_target(study)
    for piece in study.line:
        sign = study.sign(piece, 0)
        if sign.downs:
            lows = sorted((true(piece.body, {F: x}), x) for x in sign.downs)
            because = f"L = {lows[0][0]:.4g} at f = {lows[0][1]:.6g}{study.case.clause}"
            found = study.refuted(because, (_negative(study, x) for _, x in lows))
            return found or hidden("it is negative somewhere")
    low = _negative_at_break(study)
    if low is not None:
        return low
    if all(study.sign(p, 0).nonnegative for p in study.line):
        return proved("on each piece, by intervals")
    least = lowest(study)
    if least is None:
        return unknown("intervals leave the sign open, and the pieces are not all monotone")
    if least.number >= 0:
        return proved(f"it is monotone on each piece, and {least.value:.4g} where it is least, at {least.words}")
    near = [_negative(study, x) for p in study.line for x in [*samples(p.box), *far_out(p.box)]]
    because = f"L tends to {least.value:.4g}, at {least.words}{study.case.clause}"
    return study.refuted(because, near) or hidden(because)


def _negative(study: Study, x: float) -> Witness:
    value = study.value(x)
    return Witness(study.points((x,)), VALUE, (value,), "below", min(value / 2, 0.0))


def _negative_at_break(study: Study) -> Verdict | None:
    """The value itself where pieces meet may be another than that to which they tend."""
    if not study.may_jump:
        return None
    for b in study.breaks:
        x = float(b.at)
        if b.exact is None or b.exact != x:
            return None if study.continuous else unknown(f"the value at f = {b} is open")
        value = study.value(x)
        if not value >= 0:
            return study.refuted(f"L = {value:.4g} at f = {b}{study.case.clause}", [_negative(study, x)]) or unknown(
                f"the value at f = {b} is open")  # fmt: skip
    return None


def _nonnegative_for_every_target(study: Study) -> Verdict:
    if sign_free(study.case, study.case.body) == PLUS_ZERO:
        return proved("by intervals")
    lows = sorted(((v, p) for p in study.grid if (v := true(study.case.body, p)) < 0), key=lambda low: low[0])
    if lows:
        value, point = lows[0]
        because = f"L = {value:.4g} at y = {point[Y]:.4g}, f = {point[F]:.4g}"
        found = study.refuted(because, (_at_point(study, v, p) for v, p in lows))
        return found or hidden("it is negative somewhere")
    if zero_at_target(study) and falls_to_target(study):
        return proved("it is 0 at f = y, falls until there and rises after it")
    return by_slices(study, nonnegative, "touches 0 or comes close to it; no rule applies")


def _at_point(study: Study, value: float, point: dict[Expr, float]) -> Witness:
    return Witness((study.case.here(point[F], point[Y]),), VALUE, (value,), "below", value / 2)


def zero_at_target(study: Study) -> bool:
    """Whether L(y, y) = 0 for every y, in form."""
    if not comparable(study.case.loss):
        return False
    return vanishes(substitute(study.case.body, {F: Y}), study.case.facts)
