"""One number a point, of an expression without hyper-parameters, in mpmath and to any number of digits."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from lossc.compiler.equivalence import DEFINED, UNDEFINED, UNKNOWN, OutOfTime
from lossc.compiler.evaluate import evaluate, evaluate_all
from lossc.compiler.ir import Expr
from lossc.compiler.sampling import Points

Place: TypeAlias = tuple[int, int]
"""A batch of points, and a place in it."""
TINY, FEW = -1500, 60
"""Numbers below 2^-1500 but not 0 may lose half of 1,000 digits in a sum with 1. With more than 60 digits, what is left
where others cancel can be that small too, so they are looked for with few."""


@dataclass(frozen=True, slots=True)
class Look:
    """A value, if the state is DEFINED.

    UNKNOWN is what overflowed the interpreter on the way, or came so near to 0 that a sum with it loses it at every
    precision: nothing can be said of it.
    """

    state: str
    value: Any


class Sight:
    """Some batches of points, looked at with an mpmath context of one's own. Raises OutOfTime after the deadline."""

    def __init__(self, batches: Sequence[Points], deadline: float, ctx: Any = None) -> None:
        if ctx is None:
            from mpmath.ctx_mp import MPContext

            ctx = MPContext()
        self.batches, self.deadline, self.ctx = list(batches), deadline, ctx
        self._looks: dict[tuple[Expr, Place, int], Look] = {}

    def places(self) -> list[Place]:
        """All points, those of all batches mixed evenly."""
        each = [(k / len(batch), (b, k)) for b, batch in enumerate(self.batches) for k in range(len(batch))]
        return [place for _, place in sorted(each)]

    def look(self, root: Expr, place: Place, digits: int) -> Look:
        """An expression at one point."""
        key = (root, place, digits)
        if key not in self._looks:
            self._looks[key] = self._look(root, place, digits)
        return self._looks[key]

    def _look(self, root: Expr, place: Place, digits: int) -> Look:
        if time.monotonic() > self.deadline:
            raise OutOfTime
        ctx, where, extent = self.ctx, self.batches[place[0]], _Extent(self.ctx)
        (seen,) = evaluate_all(
            [root], where.env(place[1]), num_classes=where.num_classes, dps=digits, ctx=ctx, each=extent.seen
        )
        value = _one(seen)
        if extent.infinite or (digits <= FEW and extent.low < TINY):
            return Look(UNKNOWN, ctx.nan)
        return Look(DEFINED if ctx.isfinite(value) else UNDEFINED, value)

    def number(self, constant: Expr, digits: int) -> Any:
        """A constant expression."""
        return evaluate(constant, {}, dps=digits, ctx=self.ctx)


class _Extent:
    """The exponent of the smallest number of an evaluation, and whether one was infinite."""

    __slots__ = ("ctx", "infinite", "low")

    def __init__(self, ctx: Any) -> None:
        self.ctx, self.infinite, self.low = ctx, False, 0

    def seen(self, value: Any) -> Any:
        """Take note of one number, and hand it back."""
        if isinstance(value, bool):
            return value
        raw = getattr(value, "_mpf_", None)
        _, mantissa, exponent, bits = raw if raw is not None else self.ctx.mpf(value)._mpf_
        if mantissa:
            self.low = min(self.low, exponent + bits)
        elif exponent and not self.ctx.isnan(value):
            self.infinite = True
        return value


def _one(value: Any) -> Any:
    """The number that a point has, or its first one: a value that does not vary over the classes can be a list."""
    return value[0] if isinstance(value, list) else value
