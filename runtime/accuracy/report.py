"""What was found about the accuracy of a loss: plain values, a verdict in words, and all of it as data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

VALUE, GRADIENT = "value", "gradient"
BEFORE, AFTER = "before", "after"
RIGHT = 0.585
"""Bits of error of a correctly rounded result: log2(1.5)."""


@dataclass(frozen=True, slots=True)
class Point:
    """One result that was compared with the truth: where, what came out, what is right (a decimal), and how far off."""

    at: str
    target: tuple[float, ...]
    input: tuple[float, ...]
    entry: int
    got: float
    truth: str
    ulps: float
    bits: float


@dataclass(frozen=True, slots=True)
class Entry:
    """The error of one quantity of one program in one dtype under one measure.

    count       results compared: points where the truth is a number that the dtype holds (for gradients, entries)
    not_finite  of these, results that are NaN or infinite
    dead        of these, gradients that are exactly 0 although the true one is not, and would not round to 0
    """

    dtype: str
    measure: str
    of: str
    program: str
    count: int
    mean_bits: float | None
    max_bits: float | None
    worst: Point | None
    not_finite: int
    dead: int
    worst_dead: Point | None
    failures: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Skipped:
    """Points of a dtype and measure, and those of them that have no truth to compare with.

    undefined   the loss has no value there
    overflow    the value is beyond the largest number of the dtype
    unresolved  the truth (of the value or of a gradient entry) would take too many digits
    kinks, steep   gradients (entries): at a kink, or the edge of the domain; beyond the largest number of the dtype
    """

    dtype: str
    measure: str
    points: int
    undefined: int
    overflow: int
    unresolved: int
    kinks: int
    steep: int


@dataclass(frozen=True, slots=True)
class Clamped:
    """A part of the formula that passes no gradient on where a condition holds, and how often that is so in data.

    share    of the data-like entries, the part where the condition holds
    silent   the part where it holds and the gradient of the whole loss is 0
    """

    part: str
    operator: str
    condition: str
    share: float
    silent: float


@dataclass(frozen=True, slots=True)
class Biased:
    """A small constant that is added to keep an operator defined, and what it does to the value in data.

    share    of the data-like points, the part where it changes the value by more than one float32 ulp
    most     the greatest change of the value
    needed   the points that would have no value without it
    """

    part: str
    constant: str
    share: float
    most: float
    at: str
    needed: int


@dataclass(frozen=True, slots=True)
class AccuracyReport:
    """The accuracy of a loss: `before` is the formula as it is written, `after` what lossc makes of it."""

    loss: str
    formula: str
    dtypes: tuple[str, ...]
    points: int
    seed: int
    entries: tuple[Entry, ...]
    skipped: tuple[Skipped, ...]
    clamped: tuple[Clamped, ...]
    biased: tuple[Biased, ...]
    notes: tuple[str, ...]

    def select(self, **wanted: str) -> list[Entry]:
        """The entries with these fields: `report.select(dtype="float32", program="after")`."""
        return [e for e in self.entries if all(getattr(e, key) == value for key, value in wanted.items())]

    def worst(self, **wanted: str) -> Entry | None:
        """The entry with the greatest error among those with these fields, None if nothing could be compared."""
        found = [e for e in self.select(**wanted) if e.max_bits is not None]
        return max(found, key=lambda e: (e.max_bits or 0.0, e.worst.ulps if e.worst else 0.0), default=None)

    def failures(self, **wanted: str) -> Iterator[tuple[Entry, Point]]:
        """Every result that is not finite where the truth is a number that the dtype holds."""
        for entry in self.select(**wanted):
            for point in entry.failures:
                yield entry, point

    def verdict(self) -> str:
        """What it comes to, in a few sentences: a line for each dtype, and what the formula as written does."""
        if not any(e.count for e in self.entries):
            return f"{self.loss} has no value that these dtypes hold at any point tried: nothing was measured.\n"
        return "".join(self._line(dtype) + "\n" for dtype in self.dtypes)

    def _line(self, dtype: str) -> str:
        after = [e for of in (VALUE, GRADIENT) if (e := self.worst(dtype=dtype, of=of, program=AFTER)) is not None]
        if not after:
            return f"{dtype}: nothing could be compared"
        line = f"{dtype}: " + ", ".join(f"{e.of} {self._within(e)}" for e in after)
        worse = [b for e in after if (b := self._worse(e)) is not None]
        if not worse:
            return f"{line}; as written, the formula is about as accurate"
        found = max(worse, key=lambda e: (e.not_finite, e.max_bits or 0.0))
        return f"{line}; as written, the {found.of} {_damage(found)} at {found.worst.at if found.worst else ''}"

    def _within(self, entry: Entry) -> str:
        alike = self._alike(entry, AFTER)
        wrong = sum(e.not_finite for e in alike)
        if wrong:
            return f"not finite at {wrong} of {sum(e.count for e in alike)}"
        return f"within {entry.max_bits:.1f} bits" if entry.max_bits else "exact"

    def _alike(self, entry: Entry, program: str) -> list[Entry]:
        return self.select(dtype=entry.dtype, of=entry.of, program=program)

    def _worse(self, after: Entry) -> Entry | None:
        """The worst entry of the formula as written, if it is worse than the compiled one by more than a bit."""
        before = self.worst(dtype=after.dtype, of=after.of, program=BEFORE)
        if before is None:
            return None
        wrong = [sum(e.not_finite for e in self._alike(after, program)) for program in (BEFORE, AFTER)]
        if wrong[0] > wrong[1] or (before.max_bits or 0.0) > (after.max_bits or 0.0) + 1:
            return before
        return None

    def as_json(self) -> dict[str, Any]:
        """The whole report as plain data; numbers that JSON does not know are the texts "nan", "inf" and "-inf"."""
        plain = {f.name: _plain(getattr(self, f.name)) for f in fields(self)}
        return {**plain, "verdict": self.verdict().splitlines()}


def _damage(entry: Entry) -> str:
    if entry.not_finite and entry.worst is not None:
        return f"is {entry.worst.got:g}"
    return f"is off by {entry.max_bits:.0f} bits"


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    if isinstance(value, (Point, Entry, Skipped, Clamped, Biased)):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    return value
