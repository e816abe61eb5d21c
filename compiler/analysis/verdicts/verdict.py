"""What is said of a property: proved with a certificate, refuted with a witness, or unknown with a reason.

A witness is one or more points with numbers of the loss there, and a relation that holds between those numbers. It can
be replayed by anyone who can compute the loss: `lossc.runtime.replay` does so in torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

PROVED, REFUTED, UNKNOWN = "proved", "refuted", "unknown"
VALUE, GRADIENT, HESSIAN = "value", "gradient", "hessian"
SCORES = "scores"
"""What f is called at the points of a witness that holds scores, before the softmax or sigmoid."""

Entry: TypeAlias = "float | tuple[float, ...]"
"""A number, or one for each class."""

TOLERANCE = 1e-9
"""What two numbers of a witness must differ by, relative to the greatest, to count as different."""


def _gap(values: Sequence[float]) -> float:
    return TOLERANCE * max(1e-300, *(abs(v) for v in values))


def _midpoint(values: Sequence[float]) -> bool:
    left, middle, right = values
    return middle - (left + right) / 2 > _gap(values)


RELATIONS: Mapping[str, Callable[[Sequence[float], float], bool]] = {
    "not finite": lambda v, bound: not all(math.isfinite(x) for x in v),
    "beyond": lambda v, bound: all(abs(x) > bound or not math.isfinite(x) for x in v),
    "below": lambda v, bound: v[0] < bound,
    "smaller than": lambda v, bound: v[1] - v[0] > _gap(v),
    "differ": lambda v, bound: abs(v[1] - v[0]) > _gap(v),
    "above the chord": lambda v, bound: _midpoint(v),
    "not below the chord": lambda v, bound: v[1] - (v[0] + v[2]) / 2 >= -_gap(v) / 1000,
    "between greater ones is no rise": lambda v, bound: v[1] - max(v[0], v[2]) > _gap(v),
    "positive": lambda v, bound: v[0] > bound,
    "negative": lambda v, bound: v[0] < -bound,
    "zero": lambda v, bound: all(x == 0 for x in v),
    "equal": lambda v, bound: max(v) - min(v) <= _gap(v) / 1000,
    "bent less than": lambda v, bound: v[1] - (v[0] + v[2]) / 2 >= -bound,
    "mixed signs": lambda v, bound: min(v) < -bound and max(v) > bound,
    "not straight": lambda v, bound: abs(v[0] - 2 * v[1] + v[2]) > _gap(v),
    "ratios differ": lambda v, bound: (
        abs(v[1] * v[2] - v[0] * v[3]) > TOLERANCE * max(abs(v[1] * v[2]), abs(v[0] * v[3]))
    ),
    "sum is positive": lambda v, bound: math.fsum(v) > _gap(v),
    "sum is not zero": lambda v, bound: abs(math.fsum(v)) > _gap(v),
}
"""What a witness shows of its numbers; `bound` is 0 where it plays no part."""


@dataclass(frozen=True)
class Witness:
    """Points, what was computed at each, and what holds of it.

    points    a value of y and f each (a number, or a row over the classes)
    quantity  "value", "gradient" (∂L/∂f, at `entry` of the row) or "hessian"
    values    one number a point
    relation  a key of `RELATIONS`, with its `bound`
    dtype     "" if the numbers are true ones; else they are those of the formula as written in that dtype, by torch
    weights   if given, factors of the numbers before they are related (probabilities of the points)
    """

    points: tuple[Mapping[str, Entry], ...]
    quantity: str
    values: tuple[float, ...]
    relation: str
    bound: float = 0.0
    dtype: str = ""
    entry: int = 0
    weights: tuple[float, ...] = ()

    def holds(self, values: Sequence[float] | None = None) -> bool:
        """Whether the relation holds, of its own numbers or of others for the same points."""
        return RELATIONS[self.relation](self.weighted(self.values if values is None else values), self.bound)

    def weighted(self, values: Sequence[float]) -> list[float]:
        """The numbers times their weights."""
        return [w * v for w, v in zip(self.weights, values, strict=True)] if self.weights else list(values)

    def is_sound(self) -> bool:
        """Whether its own numbers are numbers, unless it shows that they are not, and the relation holds."""
        finite = all(map(math.isfinite, self.values)) or self.relation == "not finite"
        return finite and self.holds()

    def __str__(self) -> str:
        what = {VALUE: "L", GRADIENT: "L'", HESSIAN: "L''"}[self.quantity]
        parts = [f"{what} = {shown(v)} at {at(p)}" for p, v in zip(self.points, self.values, strict=True)]
        return "; ".join(parts[:4]) + (f"; and {len(parts) - 4} more" if len(parts) > 4 else "")

    def data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "points": [dict(p) for p in self.points], "quantity": self.quantity,
            "values": [_plain(v) for v in self.values], "relation": self.relation,
            "bound": self.bound, "dtype": self.dtype or None, "entry": self.entry,
            **({"weights": list(self.weights)} if self.weights else {}),
        }  # fmt: skip


def _plain(value: float) -> float | str:
    """A number, or the name of what JSON has no number for: inf, -inf, nan."""
    return value if math.isfinite(value) else str(value)


def at(point: Mapping[str, Entry]) -> str:
    """`y = 1, f = 0.5`."""
    return ", ".join(f"{name} = {shown(value)}" for name, value in point.items())


def shown(value: Entry) -> str:
    """A number with six digits; a row in brackets, where what repeats at its end is counted."""
    if not isinstance(value, tuple):
        return f"{value:.6g}"
    words = [shown(v) for v in value]
    repeats = next((i for i, w in enumerate(reversed(words)) if w != words[-1]), len(words))
    if repeats > 2:
        words[-repeats:] = [f"{repeats} times {words[-1]}"]
    return "(" + ", ".join(words) + ")"


@dataclass(frozen=True)
class Verdict:
    """What is known of one property.

    status    "proved", "refuted" or "unknown"
    because   the certificate; what the witness shows; or why nothing is known
    witness   for a refuted property
    value     the constant that goes with the property (a bound, a modulus, a degree), if one is known
    fault     the part of the formula that is to blame, as text
    repair    what would help
    """

    status: str
    because: str
    witness: Witness | None = None
    value: str = ""
    fault: str = ""
    repair: str = ""

    @property
    def decided(self) -> bool:
        return self.status != UNKNOWN

    def data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "status": self.status, "because": self.because, "value": self.value or None,
            "witness": self.witness.data() if self.witness else None,
            "fault": self.fault or None, "repair": self.repair or None,
        }  # fmt: skip


def at_most(x: float, digits: int = 4) -> str:
    """An upper bound as text, rounded up, but for what is lost in the last digits of a float."""
    return _rounded(x, digits, 1)


def at_least(x: float, digits: int = 4) -> str:
    """A lower bound as text, rounded down."""
    return _rounded(x, digits, -1)


def _rounded(x: float, digits: int, sense: int) -> str:
    near = float(f"{x:.{digits}g}")
    if (near - x) * sense >= -1e-9 * abs(x):
        return f"{near:.{digits}g}"
    unit = 10.0 ** (math.floor(math.log10(abs(near))) - digits + 1)
    return f"{near + sense * unit:.{digits}g}"


def proved(because: str, value: str = "") -> Verdict:
    """It holds."""
    return Verdict(PROVED, because, value=value)


def refuted(
    because: str, witness: Witness | None = None, value: str = "", fault: str = "", repair: str = ""
) -> Verdict:
    """It does not hold."""
    return Verdict(REFUTED, because, witness, value, fault, repair)


def unknown(because: str) -> Verdict:
    """Not decided."""
    return Verdict(UNKNOWN, because)
