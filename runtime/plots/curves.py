"""Curves: a function of one number at points that show it whole, and what happens where it bends, jumps or ends.

The places come from `lossc.runtime.plots.breaks`. Close to them values are computed by mpmath, everywhere else by
float64, from the closed forms of `Track`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

from lossc.compiler.errors import LosscError
from lossc.compiler.evaluate import evaluate_all
from lossc.compiler.float32 import evaluate_in
from lossc.compiler.formats import FLOAT64
from lossc.compiler.interval import Interval
from lossc.compiler.ir import Expr, F
from lossc.runtime.plots.breaks import fine_grid, places, points_of
from lossc.runtime.plots.limits import Range, span
from lossc.runtime.plots.tracks import QUANTITIES, VALUE, Track

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[np.float64]"

POINTS = 401
NEAR = tuple(10.0**k for k in range(-11, 0))
"""How near to a break a curve is followed: 10^-11 of the range, and from there by powers of ten."""
INWARD = (0.04, 0.16, 0.36, 0.64, 1.0)
"""Points between a break and the first one of the grid, in parts of that distance."""
FEW = 24
"""With more breaks, curves are not followed so closely: only the limits are looked at."""
DIGITS = 40
HUGE = 1e100
"""Greater numbers are drawn as if they were infinite."""
LEAP = 3.0
"""Two points that differ by more than so many times the shown range, with opposite signs, are not joined."""
SMOOTH, KINK, JUMP, POLE, EDGE = "smooth", "kink", "jump", "pole", "edge"
_EQUAL, _BENT = 1e-5, 1e-3
"""What limits may differ by and count as equal, in parts of what is shown; and slopes, to count as one slope."""


@dataclass(frozen=True, slots=True)
class Break:
    """A place on a curve: SMOOTH, a KINK, a JUMP, a POLE (no bound on a side), or the EDGE of where it has values.

    left, right   what the curve tends to there; infinite at a pole, NaN where it has no values on that side
    """

    at: float
    kind: str
    left: float
    right: float


@dataclass(frozen=True, eq=False)
class Series:
    """A curve: points [n] and values [n], with NaN between parts that are not joined.

    even    its values at evenly spaced points and at breaks, NaN where it has none: they choose the range of an axis
    breaks  kinks, jumps, poles and edges
    gaps    where it has no finite value
    bounded whether it has a bound: at all breaks, and at both ends
    """

    x: Array
    values: Array
    even: Array
    breaks: tuple[Break, ...]
    gaps: tuple[tuple[float, float], ...]
    bounded: bool

    @property
    def shown(self) -> Range | None:
        """The part of a vertical axis that shows it."""
        return span(self.even, bounded=self.bounded)


def sampled(track: Track, low: float, high: float, domain: Interval, what: Sequence[str]) -> dict[str, Series]:
    """The quantities of a track between two numbers of the domain. Raises LosscError where one has no closed form."""
    low, high = max(low, domain.lo), min(high, domain.hi)
    roots = {VALUE: track.expression(VALUE), **{q: track.expression(q) for q in QUANTITIES if q in what}}
    above = {q: _slope_of(track, q, roots) for q in what}  # shows the kinks
    grid = fine_grid([roots[q] for q in what], low, high, POINTS)
    ends = places(list(roots.values()), grid)
    cuts = ends[1:-1]
    near = NEAR if len(cuts) <= FEW else NEAR[:3]
    parts = [_part(roots, a, b, grid, near) for a, b in pairwise(ends)]
    return {q: _series(q, above[q], parts, cuts) for q in what}


def _slope_of(track: Track, quantity: str, roots: dict[str, Expr]) -> str | None:
    """The name of the derivative of a quantity, among the roots; None where there is none."""
    place = QUANTITIES.index(quantity) + 1
    if place == len(QUANTITIES):
        return None
    try:
        roots.setdefault(QUANTITIES[place], track.expression(QUANTITIES[place]))
    except LosscError:
        return None
    return QUANTITIES[place]


# -- parts ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Part:
    """The points between two cuts, `values[name]` at them, and which of them are evenly spaced."""

    x: Array
    values: Mapping[str, Array]
    even: NDArray[np.bool_]


def _part(roots: Mapping[str, Expr], low: float, high: float, grid: Array, near_by: Sequence[float]) -> _Part:
    import numpy as np

    step = float(grid[1] - grid[0])
    wide = float(grid[-1] - grid[0])
    reach = min(step, (high - low) / 3)
    offsets = np.array([wide * part for part in near_by if wide * part < reach])
    offsets = np.union1d(offsets, reach * np.array(INWARD if near_by is NEAR else INWARD[-1:]))
    inner = grid[(grid > low + reach) & (grid < high - reach)]
    near = np.concatenate([low + offsets, high - offsets])
    x = np.concatenate([near, inner])
    exact = _exactly(roots, near)
    plain = evaluate_in(FLOAT64, list(roots.values()), points_of(inner)) if len(inner) else [inner] * len(roots)
    order = np.argsort(x, kind="stable")
    values = {name: np.concatenate([e, p])[order] for name, e, p in zip(roots, exact, plain, strict=True)}
    for name, known in values.items():
        known = np.where(np.abs(known) > HUGE, np.copysign(math.inf, known), known)
        values[name] = np.where(np.isnan(values[VALUE]), math.nan, known)  # a formula of the slope may go on alone
    ends = (np.arange(len(x)) < len(near)) & np.isclose(np.abs(x - np.where(x < (low + high) / 2, low, high)), reach)
    return _Part(x[order], values, (ends | (np.arange(len(x)) >= len(near)))[order])


def _exactly(roots: Mapping[str, Expr], x: Array) -> list[Array]:
    """The values by mpmath, NaN where there is none, and infinite where float64 has no such number."""
    import numpy as np
    from mpmath.ctx_mp import MPContext

    ctx = MPContext()
    out = np.full((len(roots), len(x)), math.nan)
    for k, here in enumerate(x.tolist()):
        out[:, k] = [_float(v) for v in evaluate_all(list(roots.values()), {F: here}, dps=DIGITS, ctx=ctx)]
    return list(out)


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


# -- one quantity -----------------------------------------------------------------------------------------------------


def _series(name: str, above: str | None, parts: Sequence[_Part], cuts: Sequence[float]) -> Series:
    import numpy as np

    even = np.concatenate([p.values[name][p.even] for p in parts])
    scale = _scale(even)
    xs, ys, breaks = [parts[0].x], [parts[0].values[name]], []
    for cut, (before, after) in zip(cuts, pairwise(parts), strict=True):
        found = _break(cut, before, after, name, above, scale)
        joined = found.kind in (SMOOTH, KINK)
        xs += [np.array([cut]), after.x]
        ys += [np.array([(found.left + found.right) / 2 if joined else math.nan]), after.values[name]]
        if found.kind != SMOOTH:
            breaks.append(found)
    limits = [v for b in breaks for v in (b.left, b.right)]
    even = np.concatenate([even, np.where(np.isfinite(limits), limits, math.nan)])
    x, y = _torn(np.concatenate(xs), np.concatenate(ys), scale)
    ends = _limit(parts[0].values[name]), _limit(parts[-1].values[name][::-1])
    bounded = not any(map(math.isinf, (*limits, *ends)))
    return Series(x, np.where(np.isfinite(y), y, math.nan), even, tuple(breaks), tuple(_gaps(parts, name)), bounded)


def _scale(even: Array) -> float:
    """How much of an axis the curve takes; of a constant, how large it is."""
    import numpy as np

    shown = span(even)
    if shown is None:
        return 0.0
    return shown[1] - shown[0] or float(np.nanmax(np.abs(even)))


def _torn(x: Array, y: Array, scale: float) -> tuple[Array, Array]:
    """The curve, torn where it leaps from far on one side to far on the other: at a pole that nobody foresaw."""
    import numpy as np

    with np.errstate(invalid="ignore"):
        leaps = np.flatnonzero((np.abs(np.diff(y)) > LEAP * scale) & (np.sign(y[1:]) * np.sign(y[:-1]) < 0))
    return np.insert(x, leaps + 1, x[leaps]), np.insert(y, leaps + 1, math.nan)


def _gaps(parts: Sequence[_Part], name: str) -> list[tuple[float, float]]:
    """Stretches without a finite value, of more than one point."""
    import numpy as np

    out: list[tuple[float, float]] = []
    for part in parts:
        missing = ~np.isfinite(part.values[name])
        edges = np.flatnonzero(np.diff(np.concatenate([[0], missing.view(np.int8), [0]])))
        for start, stop in edges.reshape(-1, 2).tolist():
            if stop - start > 1:
                begin, end = float(part.x[start]), float(part.x[stop - 1])
                if out and begin - out[-1][1] < 1e-6 * (float(part.x[-1]) - float(part.x[0]) + 1e-300):
                    begin = out.pop()[0]
                out.append((begin, end))
    return out


def _break(at: float, before: _Part, after: _Part, name: str, above: str | None, scale: float) -> Break:
    import numpy as np

    left, right = (
        _limit(values) if np.isfinite(values).any() else math.nan
        for values in (before.values[name][::-1], after.values[name])
    )
    if math.isnan(left) or math.isnan(right):
        kind = SMOOTH if math.isnan(left) and math.isnan(right) else EDGE
        return Break(at, kind, left, right)
    if math.isinf(left) or math.isinf(right):
        return Break(at, POLE, left, right)
    if abs(left - right) > _EQUAL * max(scale, abs(left), abs(right)):
        return Break(at, JUMP, left, right)
    return Break(at, KINK if above is not None and _bends(before, after, above) else SMOOTH, left, right)


def _bends(before: _Part, after: _Part, above: str) -> bool:
    """Whether the slopes on both sides differ."""
    import numpy as np

    left, right = _limit(before.values[above][::-1]), _limit(after.values[above])
    if math.isnan(left) or math.isnan(right):
        return False
    if math.isinf(left) or math.isinf(right):
        return True
    scale = _scale(np.concatenate([before.values[above][before.even], after.values[above][after.even]]))
    return abs(left - right) > _BENT * max(abs(left), abs(right), scale)


def _limit(values: Array) -> float:
    """What values tend to that were taken at distances of 1, 10 and 100 times the least: NaN if one is missing there.

    The steps shrink by a factor; where they do not shrink, there is no bound.
    """
    if len(values) < 3:
        return math.nan
    near, next_, far = (float(v) for v in values[:3])
    if math.isinf(near):
        return near
    if not math.isfinite(near):
        return math.nan
    first, second = near - next_, next_ - far
    if not math.isfinite(second) or abs(first) <= 1e-9 * abs(near):
        return near
    rate = first / second if second else 0.0
    if rate >= 0.98 or rate < -0.98:
        return math.copysign(math.inf, first) if rate > 0 else math.nan
    return near + first * rate / (1 - rate)
