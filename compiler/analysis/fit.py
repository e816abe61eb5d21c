"""Fits of hyper-parameters: least squares in float64 with the best scale, then Newton's method to many digits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from lossc.compiler.analysis.fingerprint import Axis
from lossc.compiler.analysis.sight import Place, Sight
from lossc.compiler.evaluate import evaluate
from lossc.compiler.ir import Expr, param

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[np.float64]"

STEPS, TRIES = 40, 6
"""Steps of a fit in float64, and dampings that each may try."""
STALLED, PATIENCE = 1e-3, 3
"""A fit that gains less than this part of its error in so many steps in a row is at its minimum."""
EXACT = 1e-11
"""The error of a fit that is left to Newton's method."""
ROUNDS, WIDE, SETTLED = 4, 17, 1e-6
"""Rounds of a search around a fit, its places along a coordinate, and what need not be searched."""
NEWTON_STEPS, NEWTON_DIGITS = 25, 60
FAR = 10.0
"""Newton's method has gone astray this far from its start, relative to that or to 1."""
ENOUGH = 0.8
"""The part of the numbers that both signatures must have, if they are to be compared."""


@dataclass(frozen=True)
class Target:
    """A signature to be fitted, with a weight for each number."""

    values: Array
    weights: Array

    @staticmethod
    def relative(values: Array) -> Target:
        """Each number counts by its own size, those near 0 by a thousandth of the median."""
        import numpy as np

        sizes = np.abs(values[np.isfinite(values) & (values != 0)])
        floor = 1e-3 * float(np.median(sizes)) if len(sizes) else 1.0
        with np.errstate(all="ignore"):
            return Target(values, 1 / (np.abs(values) + floor))

    @staticmethod
    def plain(values: Array) -> Target:
        """All numbers count alike; residuals are relative to the root of the mean square."""
        import numpy as np

        known = values[np.isfinite(values)]
        with np.errstate(all="ignore"):
            size = float(np.sqrt(np.mean(known**2))) if len(known) else 0.0
        return Target(values, np.full(len(values), 1 / size if 0 < size < np.inf else 0.0))

    def against(self, rows: Array, enough: float = ENOUGH) -> tuple[Array, Array, Array]:
        """For signatures [G, M]: the root of the mean square of the residuals, the best scales, and the residuals.

        The scale is the best positive one. Where too few numbers are known of both, the first is infinite.
        """
        import numpy as np

        known = np.isfinite(self.values)
        both = known & np.isfinite(rows)
        with np.errstate(all="ignore"):
            mine = np.where(both, self.values * self.weights, 0.0)
            its = np.where(both, rows * self.weights, 0.0)
            top = np.max(np.abs(its), axis=1, keepdims=True, initial=0.0)
            top = np.where((top > 0) & np.isfinite(top), top, 1.0)
            its = its / top  # else squares overflow
            scale = np.sum(mine * its, axis=1) / np.sum(its * its, axis=1)
            scale = np.where(np.isfinite(scale) & (scale > 0), scale, 0.0)
            residuals = scale[:, None] * its - mine
            count = np.sum(both, axis=1)
            error = np.sqrt(np.sum(residuals**2, axis=1) / np.maximum(count, 1))
            scale = scale / top[:, 0]
        good = (count >= enough * np.sum(known)) & (count > 3) & np.isfinite(error)
        return np.where(good, error, np.inf), scale, np.where(both, residuals, 0.0)


@dataclass(frozen=True)
class Fit:
    """Hyper-parameters, the scale that goes with them, and what is left."""

    theta: tuple[float, ...]
    scale: float
    error: float
    residuals: Array


@dataclass(frozen=True)
class _Around:
    """A place of a fit, in coordinates: its error, scale and residuals, and how these change with the coordinates."""

    here: Array
    error: float
    scale: float
    residuals: Array
    jacobian: Array


class Fitter:
    """The least squares of one signature in the hyper-parameters of a known loss."""

    def __init__(
        self, target: Target, of: Callable[[Array], Array | None], axes: Sequence[Axis], enough: float = ENOUGH
    ) -> None:
        self.target, self.of, self.axes, self.enough = target, of, tuple(axes), enough

    def look(self, coordinates: Array) -> tuple[Array, Array, Array]:
        """Errors, scales and residuals at rows of coordinates."""
        import numpy as np

        theta = [[a.inward(float(u)) for a, u in zip(self.axes, row, strict=True)] for row in coordinates]
        rows = self.of(np.array(theta, dtype=np.float64).reshape(len(coordinates), len(self.axes)))
        assert rows is not None
        return self.target.against(rows, self.enough)

    def fit(self, start: Sequence[float]) -> Fit | None:
        """Levenberg and Marquardt's method from `start`; None if there is nothing to compare there."""
        import numpy as np

        here = np.array([a.outward(v) for a, v in zip(self.axes, start, strict=True)], dtype=np.float64)
        at = self._around(here)
        if not np.isfinite(at.error):
            return None
        damping, slow = 1e-3, 0
        for _ in range(STEPS if self.axes else 0):
            found = self._step(at, damping)
            if found is None:
                break
            before, at, damping = at, *found
            gain, moved = before.error - at.error, float(np.max(np.abs(at.here - before.here)))
            slow = slow + 1 if gain < STALLED * at.error else 0
            if slow == PATIENCE or gain <= 1e-12 * at.error or moved < 1e-13 or at.error < EXACT:
                break
        theta = tuple(a.inward(float(u)) for a, u in zip(self.axes, at.here, strict=True))
        return Fit(theta, at.scale, at.error, at.residuals)

    def _around(self, here: Array) -> _Around:
        """The signature at a place and, in the same evaluation, a little along each coordinate."""
        import numpy as np

        steps = 1e-6 * np.maximum(1.0, np.abs(here))
        errors, scales, rest = self.look(np.concatenate([here[None, :], here + np.diag(steps)]))
        with np.errstate(all="ignore"):
            moved = (rest[1:] - rest[0]) / steps[:, None]
        jacobian = np.nan_to_num(moved.T, posinf=0.0, neginf=0.0)
        return _Around(here, float(errors[0]), float(scales[0]), rest[0], jacobian)

    def searched(self, start: Sequence[float]) -> Fit | None:
        """`fit`, and where that leaves something, a search around it: slopes can jump where a kink passes an input."""
        import numpy as np

        found = self.fit(start)
        if found is None or not self.axes or found.error < SETTLED:
            return found
        theta, reach = found.theta, 1.0
        for _ in range(ROUNDS):
            here = [a.outward(v) for a, v in zip(self.axes, theta, strict=True)]
            steps = np.linspace(-reach, reach, WIDE if len(here) == 1 else WIDE // 2 + 1)
            spans = [0.6 if a.log else 0.05 if a.high == 1 else 0.3 * max(1.0, abs(u))
                     for a, u in zip(self.axes, here, strict=True)]  # fmt: skip
            rows = np.stack(np.meshgrid(*(u + s * steps for u, s in zip(here, spans, strict=True))), -1)
            rows = rows.reshape(-1, len(here))
            best = rows[int(np.argmin(self.look(rows)[0]))]
            theta = tuple(a.inward(float(u)) for a, u in zip(self.axes, best, strict=True))
            reach *= 2.5 / len(steps)
        other = self.fit(theta)
        return other if other is not None and other.error < found.error else found

    def _step(self, at: _Around, damping: float) -> tuple[_Around, float] | None:
        """A better place and the next damping; None if none is found."""
        import numpy as np

        with np.errstate(all="ignore"):
            square, slope = at.jacobian.T @ at.jacobian, at.jacobian.T @ at.residuals
        if not (np.all(np.isfinite(square)) and np.all(np.isfinite(slope))):
            return None
        for _ in range(TRIES):
            matrix = square + damping * np.diag(np.diag(square) + 1e-300)
            change = -np.linalg.lstsq(matrix, slope, rcond=None)[0]
            there = at.here + np.clip(change, -2.0 - np.abs(at.here), 2.0 + np.abs(at.here))
            there = np.array([a.outward(a.inward(float(u))) for a, u in zip(self.axes, there, strict=True)])
            new = self._around(there)
            if new.error < at.error:
                return new, damping / 9
            damping *= 6
        return None


# -- to many digits --------------------------------------------------------------------------------------------------


class Solver:
    """a*known(θ) + b = loss, solved to many digits at as many inputs as there are unknowns."""

    def __init__(self, sight: Sight, target: Expr, value: Expr, names: Sequence[str]) -> None:
        self.sight, self.target, self.value, self.ctx = sight, target, value, sight.ctx
        self.leaves = [param(n) for n in names]

    def known(self, place: Place, theta: Sequence[Any]) -> Any:
        """The known loss at one input, with these hyper-parameters."""
        where = self.sight.batches[place[0]]
        env = {**where.env(place[1]), **dict(zip(self.leaves, theta, strict=True))}
        found = evaluate(self.value, env, num_classes=where.num_classes, dps=NEWTON_DIGITS, ctx=self.ctx)
        return found[0] if isinstance(found, list) else found

    def truth(self, place: Place) -> Any:
        """The loss at one input."""
        return self.sight.look(self.target, place, NEWTON_DIGITS).value

    def newton(self, places: Sequence[Place], start: Sequence[float], scale: float) -> list[Any] | None:
        """The hyper-parameters, from a start near them; None if they are not found to 45 digits or so."""
        ctx = self.ctx
        with ctx.workdps(NEWTON_DIGITS):
            x = [ctx.mpf(v) for v in start]
            truth = [self.truth(p) for p in places]
            a = ctx.mpf(scale)
            values = [self.known(p, x) for p in places]
            _, b = min((abs(t) + abs(a * v), t - a * v) for t, v in zip(truth, values, strict=True))
            small, settled = ctx.mpf(10) ** -(NEWTON_DIGITS // 2), ctx.mpf(10) ** -(NEWTON_DIGITS - 15)
            for _ in range(NEWTON_STEPS):
                values = [self.known(p, x) for p in places]
                columns = []
                for k, v in enumerate(x):
                    h = small * max(abs(v), small)
                    ahead = [self.known(p, [*x[:k], v + h, *x[k + 1 :]]) for p in places]
                    columns.append([a * (n - o) / h for n, o in zip(ahead, values, strict=True)])
                change = _solved(ctx, columns, values, [t - a * v - b for t, v in zip(truth, values, strict=True)])
                if change is None:
                    return None
                x = [v + d for v, d in zip(x, change, strict=False)]
                if any(abs(v - s) > FAR * (1 + abs(s)) for v, s in zip(x, start, strict=True)):
                    return None
                a, b = a + change[-2], b + change[-1]
                if all(abs(d) <= settled * max(abs(v), small) for d, v in zip(change, x, strict=False)):
                    return x
        return None


def _solved(ctx: Any, columns: list[list[Any]], values: list[Any], right: list[Any]) -> list[Any] | None:
    """The step of Newton's method in (θ, a, b), or None where the equations do not determine it."""
    size = len(values)
    table = [[*(column[i] for column in columns), values[i], ctx.one, right[i]] for i in range(size)]
    if not all(ctx.isfinite(v) for row in table for v in row):
        return None
    for k in range(size):
        pivot = max(range(k, size), key=lambda i: abs(table[i][k]))
        if table[pivot][k] == 0:
            return None
        table[k], table[pivot] = table[pivot], table[k]
        table[k] = [v / table[k][k] for v in table[k]]
        for i in range(size):
            if i != k:
                table[i] = [v - table[i][k] * w for v, w in zip(table[i], table[k], strict=True)]
    return [row[-1] for row in table]


def telling(rows: Array) -> list[int] | None:
    """The inputs that determine the unknowns best, of `rows` [inputs, unknowns]: by greedy elimination.

    Rows count by direction, not by length. None if some unknown is not determined by any.
    """
    import numpy as np

    with np.errstate(all="ignore"):
        usable = np.all(np.isfinite(rows), axis=1, keepdims=True)
        left = np.where(usable, rows, 0.0)
        sizes = [float(np.median(np.abs(c[c != 0]))) if np.any(c != 0) else 1.0 for c in left.T]
        left = left / np.array(sizes)
        left = np.nan_to_num(left / np.linalg.norm(left, axis=1, keepdims=True), posinf=0.0, neginf=0.0)
    left = np.where(usable, left, 0.0)
    chosen: list[int] = []
    for _ in range(rows.shape[1]):
        norms = np.linalg.norm(left, axis=1)
        best = int(np.argmax(norms))
        if norms[best] < 1e-9:
            return None
        chosen.append(best)
        unit = left[best] / norms[best]
        left = left - np.outer(left @ unit, unit)
    return chosen
