"""Which gradients were seen: the first loss with an equivalent one, found without comparing with all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

from lossc.runtime.search.filters import TOLERANCE, equivalent

_UNIT = 1e-10
"""Entries are compared on a scale that is logarithmic above this and linear below."""
_WIDTH = -math.log1p(-TOLERANCE)
"""On that scale equivalent entries are no further apart than this: relative to the larger, or by 1e-12."""


class Seen:
    """Signatures in buckets by two of their entries: equivalent ones are in the same bucket or in one beside it."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[int, ...], list[tuple[int, Sequence[float]]]] = {}

    def add(self, ticket: int, signature: Sequence[float]) -> None:
        """Keep a signature that has an entry."""
        self._buckets.setdefault(_bucket(signature), []).append((ticket, signature))

    def first(self, signature: Sequence[float]) -> int | None:
        """The lowest ticket with an equivalent signature."""
        count, *home = _bucket(signature)
        around = product(*((place - 1, place, place + 1) for place in home))
        near = (t for key in around for t, s in self._buckets.get((count, *key), ()) if equivalent(s, signature))
        return min(near, default=None)


def _bucket(signature: Sequence[float]) -> tuple[int, ...]:
    picked = signature[0], signature[len(signature) // 2]
    return (len(signature), *(math.floor(math.copysign(math.log1p(abs(v) / _UNIT), v) / _WIDTH) for v in picked))
