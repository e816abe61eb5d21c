"""mpmath's context for numbers far outside every dtype: exp(1e300) is a number here, not infinity.

The reference interpreter calls numbers beyond 2^4096 infinite, so that towers of exp end. But log(1 + exp(f)) at
f = 1e5 is 1e5, which any dtype holds. Here the exponent of a number may itself be as large as a float64 can be, and a
function that would make it larger still gives its limit instead.
"""

from __future__ import annotations

from typing import Any

LARGEST_MAG = 2**1200
"""Numbers may grow to 2^(2^1200): exp of the greatest product of two float64 numbers is far below."""
LARGEST_ARGUMENT = 1150
"""exp(x) is computed for |x| < 2^1150."""

FAR, HALF = 1000, 0.5
"""mpmath multiplies e with itself where x is a whole number, which takes long for a large one; so it is halved away."""


class Wide:
    """A stand-in for an mpmath context, for `lossc.compiler.evaluate.evaluate`; everything else is handed on."""

    def __init__(self, ctx: Any) -> None:
        self._ctx = ctx

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)

    def mag(self, x: Any) -> Any:
        """The magnitude that the interpreter's limit is compared with: 0 unless x is beyond the limits here."""
        found = self._ctx.mag(x)
        return found if found > LARGEST_MAG else 0

    def exp(self, x: Any) -> Any:
        """exp(x); its limit where the exponent could not be held."""
        ctx = self._ctx
        if not self._fits(x):
            return ctx.inf if x > 0 else ctx.zero
        if abs(x) < FAR or not ctx.isfinite(x) or not ctx.isint(x):
            return ctx.exp(x)
        with ctx.workprec(ctx.prec + ctx.mag(x) + 20):
            return ctx.exp(x - HALF) * ctx.exp(HALF)

    def expm1(self, x: Any) -> Any:
        return self._ctx.expm1(x) if self._fits(x) else self._ctx.inf if x > 0 else -self._ctx.one

    def sinh(self, x: Any) -> Any:
        return self._ctx.sinh(x) if self._fits(x) else x * self._ctx.inf

    def cosh(self, x: Any) -> Any:
        return self._ctx.cosh(x) if self._fits(x) else self._ctx.inf

    def tanh(self, x: Any) -> Any:
        return self._ctx.tanh(x) if self._fits(x) else self._ctx.sign(x)

    def erf(self, x: Any) -> Any:
        return self._ctx.erf(x) if abs(x) < 1e6 else self._ctx.sign(x)

    def erfc(self, x: Any) -> Any:
        return self._ctx.erfc(x) if abs(x) < 1e6 else 1 - self._ctx.sign(x)

    def power(self, x: Any, p: Any) -> Any:
        """x^p; its limit where the exponent of the result could not be held."""
        ctx = self._ctx
        if not x or not ctx.isfinite(x) or not ctx.isfinite(p):
            return ctx.power(x, p)
        if ctx.mag(p) + int(abs(ctx.mag(x))).bit_length() <= LARGEST_ARGUMENT:
            return ctx.power(x, p)
        if abs(x) == 1:
            return ctx.one
        return ctx.inf if (abs(x) > 1) == (p > 0) else ctx.zero

    def sin(self, x: Any) -> Any:
        return self._periodic("sin", x)

    def cos(self, x: Any) -> Any:
        return self._periodic("cos", x)

    def tan(self, x: Any) -> Any:
        return self._periodic("tan", x)

    def _periodic(self, name: str, x: Any) -> Any:
        if not self._fits(x):
            raise OverflowError(f"{name} of a number that large")
        return getattr(self._ctx, name)(x)

    def _fits(self, x: Any) -> bool:
        return bool(not self._ctx.isfinite(x) or x == 0 or self._ctx.mag(x) <= LARGEST_ARGUMENT)
