"""Curves: a function of one number at points that show it whole, and what happens where it bends, jumps or ends.

Where an operator bends or ends, the record of that operator says by an expression whose zeros are looked for. Close to
those places the values are computed by mpmath, everywhere else by float64, from the closed forms of `Track`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

from lossc.compiler.analysis.verdicts.pieces import levers
from lossc.compiler.evaluate import evaluate_all
from lossc.compiler.float32 import evaluate_in
from lossc.compiler.formats import FLOAT64
from lossc.compiler.interval import Interval
from lossc.compiler.ir import ONE, Expr, F, postorder
from lossc.compiler.loss import Loss
from lossc.compiler.sampling import Points
from lossc.runtime.plots.limits import span
from lossc.runtime.plots.tracks import QUANTITIES, VALUE, Track

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[np.float64]"

POINTS = 401
NEAREST = -11
"""How near to a break a curve is followed: 10^-11 of the range, and from there by powers of ten."""
DIGITS = 40
APART = 1e-5
"""Breaks that are nearer to each other, or to an end, than this part of the range cannot be seen apart."""
MOST_BREAKS = 60
"""A curve with more breaks than this is drawn without looking at them."""
LEAP = 3.0
"""Two points that differ by more than so many times the shown range, with opposite signs, are not joined."""
SMOOTH, KINK, JUMP, POLE, EDGE = "smooth", "kink", "jump", "pole", "edge"
_EQUAL, _BENT = 1e-5, 1e-3
"""What limits may differ by and count as equal, in parts of what is shown; and slopes, to count as one slope."""


@dataclass(frozen=True, slots=True)
class Break:
    """A place on a curve: SMOOTH, a KINK, a JUMP, a POLE (no bound on one side at least), or the EDGE of where it has values.

    left, right   what the curve tends to there; infinite at a pole, NaN where it has no values on that side
    """

    at: float
    kind: str
    left: float
    right: float


@dataclass(frozen=True, eq=False)
class Series:
    """A curve: points [n] and values [n], with NaN between parts that are not joined.

    even    its values at evenly spaced points, NaN where it has none: what the range of an axis is chosen by
    breaks  kinks, jumps, poles and edges
    gaps    where it has no finite value
    """

    x: Array
    values: Array
    even: Array
    breaks: tuple[Break, ...]
    gaps: tuple[tuple[float, float], ...]


def sampled(track: Track, low: float, high: float, domain: Interval, what: Sequence[str]) -> dict[str, Series]:
    """The quantities of a track between two numbers, inside the domain. Raises LosscError where one has no closed form."""
    import numpy as np

    low, high = max(low, domain.lo), min(high, domain.hi)
    upto = max(QUANTITIES.index(q) for q in what)
    names = QUANTITIES[: upto + 2]  # the slope of the last one shows its kinks
    roots = {name: track.expressions[name] for name in names}
    even = np.linspace(low, high, POINTS)
    cuts = _breaks(list(roots.values()), track.loss, even)
    parts = [_part(roots, a, b, even) for a, b in pairwise([low, *cuts, high])]
    return {name: _series(name, names, parts, cuts) for name in what}


# -- parts ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Part:
    """The points between two cuts, `values[name]` at them, and which of them are evenly spaced."""

    x: Array
    values: Mapping[str, Array]
    even: NDArray[np.bool_]


def _part(roots: Mapping[str, Expr], low: float, high: float, grid: Array) -> _Part:
    import numpy as np

    step = float(grid[1] - grid[0])
    wide = float(grid[-1] - grid[0])
    reach = min(step, (high - low) / 3)
    offsets = np.array([wide * 10.0**k for k in range(NEAREST, 0) if wide * 10.0**k < reach])
    offsets = np.union1d(offsets, reach * np.array([0.04, 0.16, 0.36, 0.64, 1.0]))
    inner = grid[(grid > low + reach) & (grid < high - reach)]
    near = np.concatenate([low + offsets, high - offsets])
    x = np.concatenate([near, inner])
    exact = _exactly(roots, near)
    plain = evaluate_in(FLOAT64, list(roots.values()), _points(inner)) if len(inner) else [inner] * len(roots)
    order = np.argsort(x, kind="stable")
    values = {name: np.concatenate([e, p])[order] for name, e, p in zip(roots, exact, plain, strict=True)}
    for name, known in values.items():  # a formula of the slope may go on where the loss has ended
        values[name] = np.where(np.isfinite(values[VALUE]), known, math.nan)
    ends = (np.arange(len(x)) < len(near)) & np.isclose(np.abs(x - np.where(x < (low + high) / 2, low, high)), reach)
    return _Part(x[order], values, (ends | (np.arange(len(x)) >= len(near)))[order])


def _points(x: Array) -> Points:
    return Points({F: tuple(x.tolist())}, ("",) * len(x))


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


def _series(name: str, names: Sequence[str], parts: Sequence[_Part], cuts: Sequence[float]) -> Series:
    import numpy as np

    place = names.index(name)
    above = names[place + 1] if place + 1 < len(names) else None
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
    x, y = _torn(np.concatenate(xs), np.concatenate(ys), scale)
    return Series(x, np.where(np.isfinite(y), y, math.nan), even, tuple(breaks), tuple(_gaps(parts, name)))


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

    leaps = np.flatnonzero((np.abs(np.diff(y)) > LEAP * scale) & (y[1:] * y[:-1] < 0))
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
    left, right = _limit(before.values[name][::-1]), _limit(after.values[name])
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


# -- where it breaks --------------------------------------------------------------------------------------------------


def _breaks(roots: Sequence[Expr], loss: Loss, grid: Array) -> list[float]:
    """Inside the grid, in order: zeros of what operators bend or end at, and ends of where the roots have values."""
    suspects = dict.fromkeys(f for root in roots for k in _suspects(root, loss) for f in _factors(k))
    found = [z for k in suspects for z in _zeros(k, grid)]
    found += [e for root in roots for e in _ends(root, grid)]
    wide = float(grid[-1] - grid[0])
    kept: list[float] = []
    for b in sorted(found):
        if grid[0] + APART * wide < b < grid[-1] - APART * wide and (not kept or b - kept[-1] > APART * wide):
            kept.append(b + 0.0)
    return kept if len(kept) <= MOST_BREAKS else []


def _suspects(root: Expr, loss: Loss) -> list[Expr]:
    """Expressions at whose zeros something may happen: those of the records, divisors, and arguments that must not be 0."""
    out = levers(root, loss)
    for here in postorder(root):
        if here.op in ("log", "log2", "log10", "log1mexp", "lgamma", "digamma", "trigamma", "pow", "sqrt"):
            out.append(here.args[0])
        elif here.op in ("div", "xlogy"):
            out.append(here.args[1])
        elif here.op == "log1p":
            out.append(here.args[0] + ONE)
        elif here.op == "logratio":
            out += here.args
    return out


def _factors(k: Expr) -> list[Expr]:
    """Expressions whose zeros are those of k, and that change sign there if one of them can."""
    out, todo = [], [k]
    while todo:
        here = todo.pop()
        if here.op in ("mul", "neg", "abs", "square"):
            todo += here.args
        elif here.op in ("div", "pow", "sqrt", "xlogy", "psqrt"):
            todo.append(here.args[0])
        elif F in postorder(here):
            out.append(here)
    return out


def _zeros(k: Expr, grid: Array) -> list[float]:
    """The zeros of k that a change of sign shows, or that lie on the grid."""
    import numpy as np

    values = evaluate_in(FLOAT64, [k], _points(grid))[0]
    if np.count_nonzero(values == 0) > len(grid) // 4:
        return []
    out = [float(x) for x in grid[values == 0]]
    signs = np.sign(values)
    for i in np.flatnonzero(signs[:-1] * signs[1:] < 0).tolist():
        out.append(_narrowed(lambda x: evaluate_in(FLOAT64, [k], _points(x))[0] > 0, float(grid[i]), float(grid[i + 1])))
    return out


def _ends(root: Expr, grid: Array) -> list[float]:
    """Where a root begins or ceases to be finite."""
    import numpy as np

    def finite(x: Array) -> NDArray[np.bool_]:
        return np.isfinite(evaluate_in(FLOAT64, [root], _points(x))[0])

    known = finite(grid)
    found = np.flatnonzero(known[:-1] != known[1:]).tolist()
    if len(found) > MOST_BREAKS:
        return []
    return [_narrowed(finite, float(grid[i]), float(grid[i + 1])) for i in found]


def _narrowed(state: Any, low: float, high: float) -> float:
    """Where a yes or no changes between two numbers, to the last digit but a few; a short decimal if it is one."""
    import numpy as np

    first = bool(state(np.array([low]))[0])
    began = high - low
    for _ in range(9):
        x = np.linspace(low, high, 33)
        changed = np.flatnonzero(state(x) != first)
        if not len(changed) or high - low <= 1e-15 * max(abs(low), abs(high)):
            break
        low, high = float(x[max(changed[0] - 1, 0)]), float(x[changed[0]])
    middle = (low + high) / 2
    short = float(f"{middle:.9g}") if abs(middle) > 1e-10 * began else 0.0
    return short if abs(short - middle) <= 1e-10 * began else middle
