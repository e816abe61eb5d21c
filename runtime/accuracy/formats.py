"""The floating-point formats, and how far a number is from the truth in one: in ulps, and in bits.

An ulp is the distance between neighbouring numbers of the format around the truth; below the smallest normal number
all distances are equal, so a subnormal truth, and 0, are measured in the smallest subnormal number. The bits of error
of a result are

    log2(1 + error in ulps)

so that 0 is exact, 0.58 is correctly rounded at worst (half an ulp), the precision of the format (53, 24, 8, 11) means
that no digit is right, and more that even the magnitude is wrong. It stops at the width of the format (64, 32, 16, 16),
which is also what NaN and infinities have where the truth is a number that the format holds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from lossc.compiler.targets.options import DTYPES


@dataclass(frozen=True, slots=True)
class Format:
    """A binary floating-point format: `precision` digits, normal numbers from 2^`least` to below 2^(`most` + 1)."""

    name: str
    width: int
    precision: int
    least: int
    most: int

    @property
    def largest(self) -> float:
        """The greatest finite number."""
        return math.ldexp(2.0 - math.ldexp(1.0, 1 - self.precision), self.most)

    @property
    def smallest(self) -> float:
        """The smallest positive number, a subnormal one."""
        return math.ldexp(1.0, self.least - self.precision + 1)

    @property
    def patterns(self) -> int:
        """How many positive finite numbers there are: pattern 1 is the smallest, the last one the largest."""
        return ((self.most - self.least + 2) << (self.precision - 1)) - 1

    def of_pattern(self, index: int) -> float:
        """The positive number with that bit pattern: neighbours have neighbouring ones."""
        exponent, mantissa = divmod(index, 1 << (self.precision - 1))
        hidden = 1 << (self.precision - 1) if exponent else 0
        return math.ldexp(float(mantissa + hidden), max(exponent, 1) - 1 + self.least - self.precision + 1)

    def pattern_of(self, x: float) -> int:
        """The bit pattern of a positive number of the format."""
        _, exponent = math.frexp(x)
        place = max(exponent - 1, self.least)
        mantissa = int(math.ldexp(x, self.precision - 1 - place))
        return ((place - self.least) << (self.precision - 1)) + mantissa

    def round(self, x: float) -> float:
        """The nearest number of the format (ties to even), within its finite range."""
        if x == 0 or not math.isfinite(x):
            return max(-self.largest, min(self.largest, x))
        _, exponent = math.frexp(x)
        unit = max(exponent - 1, self.least) - self.precision + 1
        near = math.ldexp(float(round(math.ldexp(x, -unit))), unit) if self.precision < 53 else x
        return max(-self.largest, min(self.largest, near))

    def shortest(self, x: float) -> str:
        """The shortest decimal that means this number of the format."""
        if not math.isfinite(x):
            return str(x)
        return next(s for n in range(1, 18) if self.round(float(s := f"{x:.{n}g}")) == x)

    def holds(self, truth: Any) -> bool:
        """Whether a real number (mpf) has a finite nearest number in the format."""
        edge = self.largest / 2 + math.ldexp(1.0, self.most - self.precision - 1)  # halved: it must be a float64
        return bool(abs(truth) / 2 < edge)

    def vanishes(self, truth: Any) -> bool:
        """Whether the number of the format that is nearest to a real number is 0."""
        return bool(abs(truth) * 2 <= self.smallest)

    def ulps(self, got: float, truth: Any, mp: Any) -> float:
        """The error of `got` in ulps of the truth, inf if `got` is not finite. `mp` is the context of the truth."""
        if not math.isfinite(got):
            return math.inf
        place = self.least if truth == 0 else max(int(mp.mag(truth)) - 1, self.least)
        error = mp.ldexp(abs(mp.mpf(got) - truth), self.precision - 1 - place)
        return float(error) if error < 1e300 else 1e300

    def bits(self, ulps: float) -> float:
        """Bits of error, from the error in ulps."""
        return float(self.width) if math.isinf(ulps) else min(math.log2(1 + ulps), float(self.width))


def _format(name: str) -> Format:
    info = torch.finfo(getattr(torch, name))
    least, top = round(math.log2(info.tiny)), math.frexp(info.max)[1]
    return Format(name, info.bits, 1 - round(math.log2(info.eps)), least, top - 1)


FORMATS: dict[str, Format] = {name: _format(name) for name in DTYPES}
"""Every dtype that losses are measured in, the widest first."""
