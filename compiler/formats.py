"""The binary floating-point formats that losses are computed in: the one place that says what they are.

    >>> FORMATS["float16"].largest
    Fraction(65504, 1)

All is exact, in rational numbers; who rounds arrays (`float32.py`), weighs constants (`analysis/dtypes.py`) or counts
ulps (`runtime/accuracy/formats.py`) has functions of a format.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property


@dataclass(frozen=True)
class Format:
    """A format of IEEE 754: `digits` bits of significand, normal numbers from 2^`least` to below 2^(`greatest` + 1)."""

    name: str
    digits: int
    least: int
    greatest: int

    @cached_property
    def smallest(self) -> Fraction:
        """The least positive number, a subnormal one."""
        return Fraction(2) ** (self.least - self.digits + 1)

    @cached_property
    def normal(self) -> Fraction:
        """The least positive number with all its digits."""
        return Fraction(2) ** self.least

    @cached_property
    def largest(self) -> Fraction:
        """The greatest finite number."""
        return (2 - Fraction(2) ** (1 - self.digits)) * Fraction(2) ** self.greatest

    @cached_property
    def overflow(self) -> Fraction:
        """The least number whose nearest one is infinite: half a step above the greatest."""
        return self.largest + Fraction(2) ** (self.greatest - self.digits)

    @property
    def width(self) -> int:
        """Bits in all: the significand without its first bit, the exponent, and the sign."""
        return self.digits + self.greatest.bit_length() + 1


FLOAT64 = Format("float64", 53, -1022, 1023)
FLOAT32 = Format("float32", 24, -126, 127)
BFLOAT16 = Format("bfloat16", 8, -126, 127)
FLOAT16 = Format("float16", 11, -14, 15)

FORMATS: dict[str, Format] = {form.name: form for form in (FLOAT64, FLOAT32, BFLOAT16, FLOAT16)}
"""The dtypes that losses are computed in, by name, the widest first."""
