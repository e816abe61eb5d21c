"""How far a number is from the truth in a floating-point format: in ulps, and in bits; and its bit patterns.

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
from typing import Any

from lossc.compiler.formats import FLOAT64, Format


def patterns(form: Format) -> int:
    """How many positive finite numbers there are: pattern 1 is the smallest, the last one the largest."""
    return ((form.greatest - form.least + 2) << (form.digits - 1)) - 1


def of_pattern(index: int, form: Format) -> float:
    """The positive number with that bit pattern: neighbours have neighbouring ones."""
    exponent, mantissa = divmod(index, 1 << (form.digits - 1))
    hidden = 1 << (form.digits - 1) if exponent else 0
    return math.ldexp(float(mantissa + hidden), max(exponent, 1) - 1 + form.least - form.digits + 1)


def pattern_of(x: float, form: Format) -> int:
    """The bit pattern of a positive number of the format."""
    _, exponent = math.frexp(x)
    place = max(exponent - 1, form.least)
    mantissa = int(math.ldexp(x, form.digits - 1 - place))
    return ((place - form.least) << (form.digits - 1)) + mantissa


def nearest(x: float, form: Format) -> float:
    """The nearest number of the format (ties to even), within its finite range."""
    largest = float(form.largest)
    if x == 0 or not math.isfinite(x):
        return max(-largest, min(largest, x))
    _, exponent = math.frexp(x)
    unit = max(exponent - 1, form.least) - form.digits + 1
    near = x if form is FLOAT64 else math.ldexp(float(round(math.ldexp(x, -unit))), unit)
    return max(-largest, min(largest, near))


def shortest(x: float, form: Format) -> str:
    """The shortest decimal that means this number of the format."""
    if not math.isfinite(x):
        return str(x)
    return next(s for n in range(1, 18) if nearest(float(s := f"{x:.{n}g}"), form) == x)


def holds(truth: Any, form: Format) -> bool:
    """Whether a real number (mpf) has a finite nearest number in the format."""
    return bool(abs(truth) < int(form.overflow))  # a whole number, which mpmath compares exactly


def vanishes(truth: Any, form: Format) -> bool:
    """Whether the number of the format that is nearest to a real number is 0."""
    return bool(abs(truth) * 2 <= float(form.smallest))


def ulps(got: float, truth: Any, form: Format, mp: Any) -> float:
    """The error of `got` in ulps of the truth, inf if `got` is not finite. `mp` is the context of the truth."""
    if not math.isfinite(got):
        return math.inf
    place = form.least if truth == 0 else max(int(mp.mag(truth)) - 1, form.least)
    error = mp.ldexp(abs(mp.mpf(got) - truth), form.digits - 1 - place)
    return float(error) if error < 1e300 else 1e300


def bits(ulps: float, form: Format) -> float:
    """Bits of error, from the error in ulps."""
    return float(form.width) if math.isinf(ulps) else min(math.log2(1 + ulps), float(form.width))
