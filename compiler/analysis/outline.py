"""The values of a loss at the inputs of fits, and the scale and offset that make it of another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from lossc.compiler.analysis.constants import as_float, recognised
from lossc.compiler.analysis.fingerprint import evaluated, fixed_cloud, secants, trusted
from lossc.compiler.analysis.fit import NEWTON_DIGITS, Target
from lossc.compiler.analysis.frames import Frame
from lossc.compiler.analysis.same import Line
from lossc.compiler.analysis.sight import Look, Place, Sight
from lossc.compiler.equivalence import DEFINED
from lossc.compiler.ir import Expr

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[np.float64]"

VISIBLE = 1e-6
"""Differences of a loss must typically be greater than this part of it, or float64 does not see them."""
SMALL = 1e-30
"""Values of this size may be rounding errors of a sum that is 0."""
LINE_DIGITS = 120
"""Digits with which scale and offset are computed from two inputs."""
TRIED_ENDS = 8
"""Pairs of inputs that are tried for that."""


class Outline:
    """A loss in one frame, at the points of its cloud: what fits are held against. Raises OutOfTime.

    values   in float64; or, where they are too large, too small or too near to each other for that, their differences
             from one of them, in units of `shift`
    target   their signature
    """

    def __init__(self, frame: Frame, deadline: float) -> None:
        self.frame = frame
        self.cloud = fixed_cloud(frame)
        self.sight = Sight(self.cloud.batches, deadline)
        self.ctx = self.sight.ctx
        self.shift = self.ctx.one
        self.values = self._values()
        self.target = Target.relative(secants(self.cloud, self.values[None, :])[0])

    def _values(self) -> Array:
        """The loss, in float64 where that has its digits, or else rounded once."""
        import numpy as np

        values = trusted(self.frame.target, self.cloud.batches)
        for k in np.flatnonzero(~np.isfinite(values)):
            values[k] = self._looked(self.cloud.place(int(k)))
        apart = np.abs(secants(self.cloud, values[None, :])[0])
        apart, sizes = apart[apart > 0], np.abs(values[np.isfinite(values)])
        if len(apart) and np.median(apart) > VISIBLE * np.median(sizes):
            return values
        return self._differences()

    def _differences(self) -> Array:
        """The differences of the loss from its value at some point, with many digits and in units of a typical one."""
        import numpy as np

        places = [self.cloud.place(k) for k in range(len(self.cloud))]
        looks = [self.sight.look(self.frame.target, place, NEWTON_DIGITS) for place in places]
        values = sorted(k.value for k in looks if k.state == DEFINED)
        with self.ctx.workdps(NEWTON_DIGITS):
            middle = values[len(values) // 2] if values else self.ctx.zero
            least = abs(middle) * self.ctx.mpf(10) ** (10 - NEWTON_DIGITS)
            apart = sorted(abs(v - middle) for v in values if abs(v - middle) > least)
            if apart:
                self.shift = self.ctx.ldexp(1, self.ctx.mag(apart[len(apart) // 2]))
            return np.array([
                as_float((k.value - middle) / self.shift) if k.state == DEFINED and abs(k.value - middle) > least
                else 0.0 if k.state == DEFINED else np.nan
                for k in looks
            ])  # fmt: skip

    def _looked(self, place: Place) -> float:
        """The loss at a point in mpmath; what is small, and much smaller with twice as many digits, is 0."""
        few = self.sight.look(self.frame.target, place, NEWTON_DIGITS)
        if few.state != DEFINED:
            return float("nan")
        if abs(few.value) < SMALL:
            more = self.sight.look(self.frame.target, place, 2 * NEWTON_DIGITS)
            if more.state == DEFINED and abs(more.value) <= abs(few.value) * SMALL:
                return 0.0
        return as_float(few.value)

    def line(self, value: Expr, digits: int) -> Line | None:
        """Scale and offset from two inputs, as exact constants where they are recognised to so many digits."""
        ctx, ends = self.ctx, self._anchors(value)
        if ends is None:
            return None
        (l0, l1), (k0, k1) = ([self._fine(e, p).value for p in ends] for e in (self.frame.target, value))
        with ctx.workdps(LINE_DIGITS):
            if k0 == k1:
                return None
            a = (l1 - l0) / (k1 - k0)
            b = l0 - a * k0
            if a <= 0:
                return None
            written = recognised(ctx, a, 0, digits), recognised(ctx, b, max(abs(l0), abs(a * k0), abs(l1)), digits)
        return Line(*written, tuple((self.cloud.batches[p[0]], p[1]) for p in ends), abs(l1 - l0))

    def _anchors(self, value: Expr) -> list[Place] | None:
        """Two inputs at which the loss and another one have a value, and that differs."""
        import numpy as np

        known = np.concatenate([evaluated(value, batch)[0] for batch in self.cloud.batches])
        good = np.isfinite(known) & np.isfinite(self.values)
        for _ in range(TRIED_ENDS):
            if np.count_nonzero(good) < 4:
                return None
            ends = _ends(known, good)
            holes = [k for k in ends for e in (self.frame.target, value)
                     if self._fine(e, self.cloud.place(k)).state != DEFINED]  # fmt: skip
            if not holes:
                return [self.cloud.place(k) for k in ends]
            good[holes] = False  # float64 has a value there: that of exp(log(0)), say
        return None

    def _fine(self, root: Expr, place: Place) -> Look:
        return self.sight.look(root, place, LINE_DIGITS)


def _ends(values: Array, good: NDArray[np.bool_]) -> tuple[int, int]:
    """Two inputs for scale and offset: where a known loss is nearest to 0, and where it differs from that typically."""
    import numpy as np

    places = np.flatnonzero(good)
    first = int(places[np.argmin(np.abs(values[places]))])
    apart = np.abs(values[places] - values[first])
    order = places[np.argsort(apart, kind="stable")][np.count_nonzero(apart == 0) :]
    return first, int(order[len(order) // 2]) if len(order) else first
