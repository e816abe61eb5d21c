"""The range of an axis that shows what a curve does, not how far it goes where it has no bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[np.float64]"
Range: TypeAlias = tuple[float, float]

REACH = 2.0
"""Beyond the quartiles, so many times their distance is shown (Tukey's fences are at 1.5)."""
KEPT = 3.5
"""A bounded curve that goes further than that by less than this factor is shown whole."""
MARGIN = 0.06
ALIKE = 5.0
"""Panels side by side share an axis if their ranges differ by less than this factor."""


def span(values: Array, *, bounded: bool = True) -> Range | None:
    """The part of evenly spaced values that is to be seen; None if none of them is finite.

    Of a curve without a bound nothing is seen beyond the fences: how far the values go says only where they are taken.
    """
    import numpy as np

    seen = values[np.isfinite(values)]
    if not len(seen):
        return None
    low, q1, q3, high = (float(v) for v in np.quantile(seen, (0.0, 0.25, 0.75, 1.0)))
    reach = REACH * (q3 - q1)
    if reach <= 0:
        return low, high
    kept = KEPT if bounded else 1.0
    bottom = low if q1 - low <= kept * reach else q1 - reach
    top = high if high - q3 <= kept * reach else q3 + reach
    return bottom, top


def union(spans: Sequence[Range | None]) -> Range | None:
    """What holds all of them."""
    known = [s for s in spans if s is not None]
    return (min(low for low, _ in known), max(high for _, high in known)) if known else None


def padded(shown: Range | None) -> Range:
    """The range of an axis: with a margin, and around a single value something to see it in."""
    if shown is None:
        return 0.0, 1.0
    low, high = shown
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        wide = max(abs(low), 1.0) / 2
        return low - wide, high + wide
    margin = MARGIN * (high - low)
    return low - margin, high + margin


def shared(spans: Sequence[Range | None]) -> list[Range | None]:
    """The ranges of panels side by side: one for all where they are alike, so that heights compare; else each its own.

    A constant goes with any other.
    """
    wide = [high - low for low, high in (s for s in spans if s is not None) if high > low]
    if wide and max(wide) > ALIKE * min(wide):
        return list(spans)
    return [union(spans)] * len(spans)
