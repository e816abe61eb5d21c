"""Numeric signatures of losses: what scale and offset leave alone, for many values of the hyper-parameters at once.

There are two. Of values, the differences between neighbouring inputs of a `Cloud`: an offset cancels, kinks do no harm,
and no derivative is needed. Of slopes, dL/df on the fixed grid of distances. Known losses are tabulated once a process
for each frame, over a grid of their hyper-parameters: that prunes what is not worth a fit, and starts those that are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from lossc.compiler.analysis.frames import Cloud, Frame, cloud, grid
from lossc.compiler.errors import LosscError
from lossc.compiler.float32 import evaluate_in
from lossc.compiler.formats import FLOAT64, Format
from lossc.compiler.ir import Expr, F, Y, param, postorder
from lossc.compiler.loss import Loss, Parameter
from lossc.compiler.passes.differentiate import gradient
from lossc.compiler.roles import ROLES
from lossc.compiler.sampling import Points

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[np.float64]"

MAX_NODES = 20_000
"""A derivative of more distinct nodes than this is not used: no named loss comes near."""
MAX_PARAMS = 3
"""Known losses with more hyper-parameters are compared at their defaults only."""
_ROUNDING = 1e-13
"""Differences of values as small as this, relatively, are taken for 0."""
_MOST_MODELS = 2_000
_EDGE = (0.0, 1e-4, 1e-3, 1e-2)
"""Values near the end of a range, where a hyper-parameter may count by its order of magnitude."""
_COARSE = Format("48 bits", 48, FLOAT64.least, FLOAT64.greatest)
_TRUSTED = 1e-10
"""What float64 may differ from arithmetic with 5 bits less where it is believed: it has most digits then."""


@dataclass(frozen=True)
class _Stacked(Points):
    """Points as arrays, with a value of each hyper-parameter for every point."""

    arrays: Mapping[Expr, Array] | None = None
    count: int = 0

    def __len__(self) -> int:
        return self.count

    def array(self, leaf: Expr) -> Array:
        """All values of a leaf, as `Points.array` has them."""
        assert self.arrays is not None
        return self.arrays[leaf]


@dataclass(frozen=True)
class Axis:
    """One hyper-parameter as a coordinate of fits: its range, whether it is fitted by its logarithm, and a grid."""

    name: str
    low: float
    high: float
    log: bool
    default: float
    grid: tuple[float, ...]

    def inward(self, u: float) -> float:
        """The value of a coordinate, within the range."""
        value = math.exp(min(max(u, -60.0), 60.0)) if self.log else u
        return min(max(value, self.low), self.high)

    def outward(self, value: float) -> float:
        """The coordinate of a value."""
        return math.log(max(value, self.low)) if self.log else value


def axis(p: Parameter, fine: bool) -> Axis:
    """The coordinate of a hyper-parameter; `fine` grids are for losses that have no other."""
    role = ROLES[p.role]
    default = float(p.default) if p.default is not None else 1.0 if role.range.hi > 1 else 0.5
    if role.range.lo > 0:
        step, low = (4, -9) if fine else (3, -4)
        values = [10 ** (k / step) for k in range(low * step, 4 * step + 1)]
        return Axis(p.name, 1e-12, 1e12, True, default, tuple(values))
    if role.range.hi == 1 and role.range.lo == 0:
        count = 32 if fine else 12
        inside = [(k + 0.5) / count for k in range(count)]
        return Axis(p.name, 0.0, 1.0, False, default, (*_EDGE, *inside, *(1 - v for v in reversed(_EDGE))))
    positive = [k / 5 for k in range(1, 20)] if fine else [0.1, 0.3, 0.6, 1.0, 1.5, 2.0, 3.0]
    positive += [4.5, 7.0, 12.0]
    if role.range.lo == 0:
        return Axis(p.name, 0.0, 1e4, False, default, (*_EDGE, *positive))
    return Axis(p.name, -1e4, 1e4, False, default, (*(-v for v in reversed(positive)), *_EDGE, *positive))


class Model:
    """A known loss in a frame, evaluated in float64 for many values of its hyper-parameters at once."""

    def __init__(self, frame: Frame, known: Loss, value: Expr) -> None:
        self.frame, self.known, self.value = frame, known, value
        self._fixed: dict[Expr, float] = {}
        fine = len(known.params) <= 1
        self.axes = tuple(axis(p, fine) for p in known.params)
        self._fix([a for a in self.axes if len(self.axes) > MAX_PARAMS or self._inert(a)])
        self.grid = self._grid()

    def _fix(self, those: Sequence[Axis]) -> None:
        """Leave hyper-parameters at their defaults."""
        self._fixed |= {param(a.name): a.default for a in those}
        self.axes = tuple(a for a in self.axes if a not in those)

    @property
    def defaults(self) -> tuple[float, ...]:
        """The defaults of the hyper-parameters that are fitted."""
        return tuple(a.default for a in self.axes)

    @property
    def fixed(self) -> tuple[str, ...]:
        """The hyper-parameters that are left at their defaults, since they change nothing but scale and offset."""
        return tuple(leaf.name for leaf in self._fixed)

    def _inert(self, a: Axis) -> bool:
        """Whether a hyper-parameter is a scale or an offset only, as its signatures say."""
        import numpy as np

        place = self.axes.index(a)
        theta = np.array([self.defaults] * 4)
        theta[1:, place] = [a.grid[len(a.grid) // 4], a.grid[len(a.grid) // 2], a.grid[-2]]
        rows = self.secants(theta)
        known = np.all(np.isfinite(rows), axis=0)
        with np.errstate(all="ignore"):
            rows = rows[:, known]
            rows = rows / np.max(np.abs(rows), axis=1, keepdims=True, initial=0.0)
        return bool(rows.size and np.all(np.abs(rows[1:] - rows[0]) < 1e-12))

    def _grid(self) -> Array:
        """Values of the hyper-parameters, [G, P]: the defaults first."""
        import numpy as np

        rows = [self.defaults, *itertools.product(*(a.grid for a in self.axes))] if self.axes else [()]
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(self.axes))

    def secants(self, theta: Array) -> Array:
        """The signature of values, [G, pairs], for hyper-parameters [G, P]."""
        where = fixed_cloud(self.frame)
        return secants(where, self.at(theta, self.value, where.batches))

    def slopes(self, theta: Array) -> Array | None:
        """The signature of slopes, [G, M]; None where there is no derivative in closed form."""
        return None if self._slope is None else self.at(theta, self._slope, (fixed_grid(self.frame),))

    @cached_property
    def _slope(self) -> Expr | None:
        return slope(self.frame, self.value)

    @cached_property
    def secant_table(self) -> Array:
        """The signature of values over the grid of hyper-parameters."""
        return self.secants(self.grid)

    @cached_property
    def slope_table(self) -> Array | None:
        """The signature of slopes over the grid of hyper-parameters."""
        return self.slopes(self.grid)

    def at(self, theta: Array, root: Expr, batches: Sequence[Points]) -> Array:
        """An expression at all points of some batches for each row of hyper-parameters, one after the other."""
        import numpy as np

        columns = {param(a.name): theta[:, k] for k, a in enumerate(self.axes)}
        parts = [evaluated(root, batch, len(theta), columns, self._fixed) for batch in batches]
        return np.concatenate(parts, axis=1)


def evaluated(
    root: Expr,
    batch: Points,
    times: int = 1,
    columns: Mapping[Expr, Array] | None = None,
    fixed: Mapping[Expr, float] | None = None,
) -> Array:
    """An expression at the points of a batch for so many rows of hyper-parameters: [times, n] or [times, n*C]."""
    import numpy as np

    n = len(batch)
    arrays = dict(_tiled(batch, times))
    for leaf, values in (columns or {}).items():
        spread = np.repeat(values, n)
        arrays[leaf] = spread if batch.num_classes is None else spread[:, None]
    for leaf, value in (fixed or {}).items():
        arrays[leaf] = np.full(n * times if batch.num_classes is None else (n * times, 1), value)
    stacked = _Stacked({}, (), batch.num_classes, arrays, n * times)
    return evaluate_in(FLOAT64, [root], stacked)[0].reshape(times, -1)


def _tiled(batch: Points, times: int) -> dict[Expr, Array]:
    """y and f of a batch, so many times over; kept for the next call, as fits repeat them."""
    import numpy as np

    key = (id(batch), times)
    found = _tiles.get(key)
    if found is None or found[0] is not batch:
        plain = {leaf: batch.array(leaf) for leaf in (Y, F)}
        made = {leaf: np.tile(a, (times, 1) if a.ndim == 2 else times) for leaf, a in plain.items()}
        if times > _FEW_TIMES:
            return made
        if len(_tiles) >= _MOST_TILES:
            _tiles.clear()
        found = _tiles[key] = (batch, made)
    return found[1]


def trusted(root: Expr, batches: Sequence[Points]) -> Array:
    """An expression of y and f at all points of some batches, in float64; NaN where that overflows or loses digits."""
    import numpy as np

    fine, coarse = (
        np.concatenate([evaluate_in(form, [root], batch)[0].reshape(len(batch), -1)[:, 0] for batch in batches])
        for form in (FLOAT64, _COARSE)
    )
    with np.errstate(all="ignore"):
        out: Array = np.where(np.abs(fine - coarse) <= _TRUSTED * np.abs(fine), fine, np.nan)
    return out


def secants(where: Cloud, values: Array) -> Array:
    """The differences of values [G, points] between the neighbours of a cloud; NaN where one is not finite."""
    import numpy as np

    first, second = np.array(where.pairs).T
    with np.errstate(all="ignore"):
        out: Array = values[:, second] - values[:, first]
        out[np.abs(out) <= _ROUNDING * np.maximum(np.abs(values[:, first]), np.abs(values[:, second]))] = 0
    out[~np.isfinite(out)] = np.nan
    return out


def slope(frame: Frame, value: Expr) -> Expr | None:
    """dL/df of a value with respect to what the model gives; None where there is no (short) closed form."""
    try:
        found = gradient(frame.output(value), F)
    except LosscError:
        return None
    return found if len(postorder(found)) <= MAX_NODES else None


_FEW_TIMES, _MOST_TILES = 8, 200
_tiles: dict[tuple[int, int], tuple[Points, dict[Expr, Array]]] = {}
_clouds: dict[tuple[object, ...], Cloud] = {}
_grids: dict[tuple[object, ...], Points] = {}
_models: dict[tuple[object, ...], Model] = {}


def fixed_cloud(frame: Frame) -> Cloud:
    """The cloud of a frame, made once."""
    if frame.key not in _clouds:
        _clouds[frame.key] = cloud(frame)
    return _clouds[frame.key]


def fixed_grid(frame: Frame) -> Points:
    """The grid of distances of a frame, made once."""
    if frame.key not in _grids:
        _grids[frame.key] = grid(frame)
    return _grids[frame.key]


def model(frame: Frame, known: Loss) -> Model | None:
    """A known loss in a frame, tabulated once a process; None if the two are not to be compared."""
    key: tuple[Any, ...] = (frame.key, known)
    found = _models.get(key)
    if found is None:
        value = frame.form(known)
        if value is None:
            return None
        if len(_models) >= _MOST_MODELS:
            _models.clear()
        found = _models[key] = Model(frame, known, value)
    return found
