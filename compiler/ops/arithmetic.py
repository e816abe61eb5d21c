"""Constants and arithmetic: the operators that have signs of their own."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from lossc.compiler import interval as iv
from lossc.compiler.interval import Interval, point
from lossc.compiler.ir import ONE, TWO, ZERO, Expr, const, is_writable
from lossc.compiler.ops.record import SIZE, OpRecord, call
from lossc.compiler.roles import NUM_CLASSES_RANGE

EPSILON = Fraction(1, 10**7)
"""The ε of the protected operators and of the written constant `eps` (thesis, section 4.4.1)."""


def _pow_meaning(ctx: Any, x: Any, p: Any) -> Any:
    return ctx.mpf(1) if p == 0 else ctx.power(x, p)


def _pow_defined(x: Any, p: Any) -> bool:
    if x > 0 or p == 0:
        return True
    return bool(p > 0) if x == 0 else bool(p == int(p))


def pow_interval(x: Interval, p: Interval) -> Interval:
    """x**p: exact exponents keep sharp bounds, others need a base that cannot be negative."""
    total = x.total and p.total
    if p.is_point and p.lo == int(p.lo) and abs(p.lo) <= 64:
        return _integer_power(x, int(p.lo))
    if x.lo > 0 or (x.lo >= 0 and p.lo > 0):
        corners = [_power(a, b) for a in (x.lo, x.hi) for b in (p.lo, p.hi)]
        return Interval(max(iv.down(min(corners), 4), 0.0), iv.up(max(corners), 4), total)
    if x.lo >= 0 and p.hi < 0:  # unbounded near 0
        return iv.div(point(1.0), pow_interval(x, iv.neg(p)))
    return iv.NOWHERE_SURE


def _integer_power(x: Interval, n: int) -> Interval:
    if n == 0:
        return Interval(1.0, 1.0, x.total)
    if n < 0:
        return iv.div(point(1.0), _integer_power(x, -n))
    if n == 1:
        return x
    ends = [_power(x.lo, n), _power(x.hi, n)]
    if n % 2 == 0:
        low = 0.0 if 0 in x else max(iv.down(min(ends), 4), 0.0)
        return Interval(low, iv.up(max(ends), 4), x.total)
    low, high = iv.down(ends[0], 4), iv.up(ends[1], 4)
    return Interval(max(low, 0.0) if x.lo >= 0 else low, min(high, 0.0) if x.hi <= 0 else high, x.total)


def _power(a: float, b: float) -> float:
    try:
        return float(a**b)
    except OverflowError:
        return iv.INF if a > 0 or b % 2 == 0 else -iv.INF
    except ZeroDivisionError:
        return iv.INF


def _constant_slope(x: Expr, p: Fraction) -> Expr:
    """∂x^p/∂x for a constant p, without the x^0 and x^1 that would carry the domain of x along."""
    if p == 0:
        return ZERO
    if p == 1:
        return ONE
    less = const(p - 1) if is_writable(p - 1) else const(p) - 1
    return const(p) * (x if p == 2 else call("pow", x, less))


def _pow_partials(x: Expr, p: Expr) -> tuple[Expr, ...]:
    slope = _constant_slope(x, p.number) if p.op == "const" else p * call("pow", x, p - 1)
    return slope, call("where", call("gt", x, 0), call("pow", x, p) * call("log", x), 0)


def _pow_singular(x: Expr, p: Expr) -> tuple[Expr, ...]:
    """At x = 0 the value is finite and the slope is not when 0 < p < 1, the second derivative when 1 < p < 2 (G4)."""
    if p.op == "const" and (p.number >= 2 or p.number == 1 or p.number <= 0):
        return ()
    return (x,)


def _constant(
    name: str, aliases: tuple[str, ...], doc: str, meaning: Any, value: Interval, lower: dict[str, str]
) -> OpRecord:
    return OpRecord(
        name=name,
        args=(),
        doc=doc,
        aliases=aliases,
        meaning=meaning,
        partials=lambda: (),
        interval=lambda: value,
        lower=lower,
        sympy={"pi": "pi", "e": "E"}.get(name, ""),
        axis=SIZE if name == "num_classes" else "",
        cost=0,
    )


def _around(x: float) -> Interval:
    return Interval(iv.down(x), iv.up(x))


# The tables below are laid out by hand.
# fmt: off
CONSTANTS = (
    _constant("pi", (), "the number π", lambda ctx: +ctx.pi, _around(3.141592653589793), {
        "torch": "math.pi", "numpy": "np.pi", "math": "math.pi",
    }),
    _constant("e", (), "Euler's number e", lambda ctx: +ctx.e, _around(2.718281828459045), {
        "torch": "math.e", "numpy": "np.e", "math": "math.e",
    }),
    _constant(
        "eps", ("epsilon",), "the small constant ε = 1e-7 (thesis, section 4.4.1)",
        lambda ctx: ctx.mpf(EPSILON.numerator) / EPSILON.denominator, _around(1e-7),
        {"torch": "1e-07", "numpy": "1e-07", "math": "1e-07"},
    ),
    _constant(
        "num_classes", ("C",), "the number of classes, C", lambda ctx, count: ctx.mpf(count), NUM_CLASSES_RANGE,
        {"torch": "num_classes", "numpy": "num_classes", "math": "num_classes"},
    ),
)

ARITHMETIC = (
    OpRecord(
        name="add", args=("x", "y"), doc="x + y", infix="+", precedence=10,
        aliases=("plus",),
        meaning=lambda ctx, x, y: x + y,
        partials=lambda x, y: (ONE, ONE),
        interval=iv.add, commutative=True, associative=True, monotone=(1, 1), curvature="affine",
        lower={"torch": "{0} + {1}", "numpy": "{0} + {1}", "math": "{0} + {1}"}, cost=1,
    ),
    OpRecord(
        name="sub", args=("x", "y"), doc="x - y", infix="-", precedence=10,
        aliases=("subtract", "minus"),
        meaning=lambda ctx, x, y: x - y,
        partials=lambda x, y: (ONE, const(-1)),
        interval=iv.sub, monotone=(1, -1), curvature="affine",
        lower={"torch": "{0} - {1}", "numpy": "{0} - {1}", "math": "{0} - {1}"}, cost=1,
    ),
    OpRecord(
        name="mul", args=("x", "y"), doc="x * y", infix="*", precedence=20,
        aliases=("multiply", "times"),
        meaning=lambda ctx, x, y: x * y,
        partials=lambda x, y: (y, x),
        interval=iv.mul, commutative=True, associative=True,
        lower={"torch": "{0} * {1}", "numpy": "{0} * {1}", "math": "{0} * {1}"}, cost=1,
    ),
    OpRecord(
        name="div", args=("x", "y"), doc="x / y", infix="/", precedence=20,
        aliases=("divide", "truediv"),
        meaning=lambda ctx, x, y: x / y,
        partials=lambda x, y: (1 / y, -(x / call("pow", y, 2))),
        defined=lambda x, y: bool(y != 0), interval=iv.div,
        lower={"torch": "{0} / {1}", "numpy": "{0} / {1}", "math": "{0} / {1}"}, cost=4,
        sample=((-3.0, 3.0), (0.3, 3.0)),
    ),
    OpRecord(
        name="neg", args=("x",), doc="-x", infix="-", precedence=25,
        aliases=("negative", "negate"),
        meaning=lambda ctx, x: -x,
        partials=lambda x: (const(-1),),
        interval=iv.neg, parity="odd", monotone=(-1,), curvature="affine",
        lower={"torch": "-{0}", "numpy": "-{0}", "math": "-{0}"}, cost=1,
    ),
    OpRecord(
        name="pow", args=("x", "p"), doc="x to the power p (0^0 is 1)", infix="^", precedence=30,
        aliases=("power",),
        meaning=_pow_meaning, partials=_pow_partials, defined=_pow_defined, interval=pow_interval,
        singular=_pow_singular,
        lower={"torch": "{0} ** {1}", "numpy": "{0} ** {1}", "math": "math.pow({0}, {1})"}, cost=20,
        sample=((0.2, 3.0), (-2.0, 3.0)),
    ),
    OpRecord(
        name="square", args=("x",), doc="x^2",
        aliases=("sq", "sqr"),
        meaning=lambda ctx, x: x * x,
        partials=lambda x: (TWO * x,),
        interval=iv.square, parity="even", curvature="convex",
        lower={"torch": "{0} * {0}", "numpy": "{0} * {0}", "math": "{0} * {0}"}, cost=1,
    ),
    OpRecord(
        name="abs", args=("x",), doc="the absolute value |x|; slope 0 at 0",
        aliases=("fabs", "absolute"),
        meaning=lambda ctx, x: abs(x),
        partials=lambda x: (call("sign", x),),
        interval=iv.absolute, parity="even", curvature="convex", kinks=lambda x: (x,), sympy="Abs",
        lower={"torch": "torch.abs({0})", "numpy": "np.abs({0})", "math": "abs({0})"}, cost=1,
    ),
    OpRecord(
        name="sign", args=("x",), doc="-1, 0 or 1: the sign of x",
        aliases=("sgn", "signum"),
        meaning=lambda ctx, x: ctx.mpf(int(x > 0) - int(x < 0)),
        partials=lambda x: (ZERO,),
        interval=lambda x: Interval(_sign(x.lo), _sign(x.hi), x.total),
        parity="odd", monotone=(1,), kinks=lambda x: (x,), sympy="sign",
        lower={
            "torch": "torch.sign({0})", "numpy": "np.sign({0})",
            "math": "float(({0} > 0) - ({0} < 0))",
        }, cost=1,
    ),
    OpRecord(
        name="heaviside", args=("x",), doc="0 below 0, 1 above, 1/2 at 0",
        aliases=("step",),
        meaning=lambda ctx, x: (1 + ctx.mpf(int(x > 0) - int(x < 0))) / 2,
        partials=lambda x: (ZERO,),
        interval=lambda x: Interval((1 + _sign(x.lo)) / 2, (1 + _sign(x.hi)) / 2, x.total),
        monotone=(1,), kinks=lambda x: (x,), sympy="Heaviside",
        lower={
            "torch": "0.5 * (torch.sign({0}) + 1.0)", "numpy": "0.5 * (np.sign({0}) + 1.0)",
            "math": "0.5 * (({0} > 0) - ({0} < 0) + 1.0)",
        }, cost=2,
    ),
)


def _sign(x: float) -> float:
    return float((x > 0) - (x < 0))
