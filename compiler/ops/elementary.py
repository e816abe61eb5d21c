"""Elementary functions of one real argument."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from lossc.compiler import interval as iv
from lossc.compiler.interval import INF, TINY, Interval
from lossc.compiler.ir import ONE, ZERO, Expr, const
from lossc.compiler.ops.record import OpRecord, call, table


def unary(
    name: str,
    doc: str,
    partial: Callable[[Expr], Expr] | None,
    interval: Callable[[Interval], Interval],
    lower: tuple[str, str, str],
    *,
    meaning: Callable[..., Any] | None = None,
    fused: str = "",
    **more: Any,
) -> OpRecord:
    """A record for `name(x)`; `lower` is (torch, numpy, math); the meaning defaults to mpmath's function of that name.

    `fused` is torch's form where only the value counts, if another one is faster there.
    """
    return OpRecord(
        name=name,
        args=("x",),
        doc=doc,
        meaning=meaning or (lambda ctx, x: getattr(ctx, name)(x)),
        partials=None if partial is None else lambda x: (partial(x),),
        interval=interval,
        lower=dict(zip(("torch", "numpy", "math"), lower, strict=True)) | ({"fused": fused} if fused else {}),
        **more,
    )


def _same(name: str, np_name: str = "") -> tuple[str, str, str]:
    return f"torch.{name}({{0}})", f"np.{np_name or name}({{0}})", f"math.{name}({{0}})"


def on_domain(
    lo: float, hi: float, rule: Callable[[Interval], Interval], lo_open: bool = True, hi_open: bool = True
) -> Callable[[Interval], Interval]:
    """The interval rule of a function that is defined on (lo, hi) only: clip, and say whether the clip bit."""

    def inside(x: Interval) -> bool:
        above = x.lo > lo if lo_open else x.lo >= lo
        return above and (x.hi < hi if hi_open else x.hi <= hi)

    def apply(x: Interval) -> Interval:
        if inside(x):
            return rule(x)
        clipped_lo, clipped_hi = max(x.lo, lo), min(x.hi, hi)
        if clipped_lo > clipped_hi:
            return iv.NOWHERE_SURE
        return iv.partial(rule(Interval(clipped_lo, clipped_hi, x.total)))

    return apply


def _up(function: Callable[[float], float], lo: float = -INF, hi: float = INF) -> Callable[[Interval], Interval]:
    return lambda x: iv.increasing(function, x, lo, hi)


def _log(x: float) -> float:
    return -INF if x <= 0 else math.log(x)


def _log1p(x: float) -> float:
    return -INF if x <= -1 else math.log1p(x)


def _log1mexp(x: float) -> float:
    return -INF if x >= 0 else math.log(-math.expm1(x)) if x > -1 else math.log1p(-math.exp(x))


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _logcosh(x: float) -> float:
    if abs(x) < 1:  # the other form cancels
        return math.log1p(2 * math.sinh(x / 2) ** 2)
    return abs(x) + math.log1p(math.exp(-2 * abs(x))) - math.log(2)


def _even(function: Callable[[float], float], least: float) -> Callable[[Interval], Interval]:
    """An even function that grows away from 0, with value `least` there."""
    return lambda x: iv.increasing(function, iv.absolute(x), least)


def _sqrt_exact(values: range) -> Mapping[Fraction, Fraction]:
    return {Fraction(n * n): Fraction(n) for n in values} | {Fraction(1, n * n): Fraction(1, n) for n in values if n}


def _wave(function: Callable[[float], float], top: float) -> Callable[[Interval], Interval]:
    """sin or cos, whose maxima are at top + 2πk: sharp on intervals that hold few of them, close to 0."""

    def rule(x: Interval) -> Interval:
        if not (x.hi - x.lo < 6 and max(abs(x.lo), abs(x.hi)) < 1e6):
            return Interval(-1.0, 1.0, x.total)
        ends = (function(x.lo), function(x.hi))
        low = -1.0 if _may_hold(x, top + math.pi) else max(iv.down(min(ends), 4), -1.0)
        high = 1.0 if _may_hold(x, top) else min(iv.up(max(ends), 4), 1.0)
        return Interval(low, high, x.total)

    return rule


def _may_hold(x: Interval, start: float, period: float = 2 * math.pi) -> bool:
    """Whether one of start + period*k may lie in the interval: exact but for 1e-9, which says yes."""
    return math.floor((x.hi - start) / period + 1e-9) >= math.ceil((x.lo - start) / period - 1e-9)


def _tan_interval(x: Interval) -> Interval:
    """The tangent has no value at π/2 + πk; between two such places it rises."""
    if not (x.hi - x.lo < 4 and max(abs(x.lo), abs(x.hi)) < 1e6) or _may_hold(x, math.pi / 2, math.pi):
        return Interval(-INF, INF, False)
    return iv.increasing(math.tan, x)


def _polygamma_positive(x: Interval) -> Interval:
    return Interval(-INF, INF, x.total and x.lo > 0)


# The tables below are laid out by hand.
# fmt: off
EXPONENTIAL = (
    unary(
        "exp", "e to the power x", lambda x: call("exp", x), _up(math.exp, TINY), _same("exp"),
        monotone=(1,), curvature="convex", exact=table((0, 1)), sympy="exp", cost=15,
    ),
    unary(
        "expm1", "exp(x) - 1, accurate near 0", lambda x: call("exp", x), _up(math.expm1, -1.0), _same("expm1"),
        monotone=(1,), curvature="convex", exact=table((0, 0)), cost=18,
    ),
    unary(
        "log", "the natural logarithm, for x > 0", lambda x: 1 / x, on_domain(0, INF, _up(_log), True, False), _same("log"),
        aliases=("ln",), defined=lambda x: bool(x > 0), monotone=(1,), curvature="concave",
        exact=table((1, 0)), sympy="log", cost=15, sample=((0.1, 4.0),),
    ),
    unary(
        "log1p", "log(1 + x), accurate near 0", lambda x: 1 / (1 + x), on_domain(-1, INF, _up(_log1p), True, False),
        _same("log1p"), defined=lambda x: bool(x > -1), monotone=(1,), curvature="concave",
        exact=table((0, 0)), cost=18, sample=((-0.8, 4.0),),
    ),
    unary(
        "log2", "the logarithm to base 2", lambda x: 1 / (x * call("log", const(2))),
        on_domain(0, INF, lambda x: iv.increasing(lambda v: _log(v) / math.log(2), x), True, False), _same("log2"),
        meaning=lambda ctx, x: ctx.log(x) / ctx.log(2), defined=lambda x: bool(x > 0), monotone=(1,),
        curvature="concave", exact=table((1, 0), (2, 1), (4, 2), (8, 3), (16, 4)), cost=16, sample=((0.1, 4.0),),
    ),
    unary(
        "log10", "the logarithm to base 10", lambda x: 1 / (x * call("log", const(10))),
        on_domain(0, INF, lambda x: iv.increasing(lambda v: _log(v) / math.log(10), x), True, False), _same("log10"),
        meaning=lambda ctx, x: ctx.log(x) / ctx.log(10), defined=lambda x: bool(x > 0), monotone=(1,),
        curvature="concave", exact=table((1, 0), (10, 1), (100, 2), (1000, 3)), cost=16, sample=((0.1, 4.0),),
    ),
    unary(
        "log1mexp", "log(1 - exp(x)), accurate near 0 and far below, for x < 0", lambda x: -(1 / call("expm1", -x)),
        on_domain(-INF, 0, lambda x: iv.decreasing(_log1mexp, x, -INF, 0.0), False, True),
        (
            # double-where: neither branch sees an input where it, or its slope, fails (numerics.md V13)
            "torch.where({0} > -0.6931471805599453, "
            "torch.log(-torch.expm1(torch.where({0} > -0.6931471805599453, {0}, -1.0))), "
            "torch.log1p(-torch.exp(torch.where({0} > -0.6931471805599453, -1.0, {0}))))",
            "np.where({0} > -0.6931471805599453, np.log(-np.expm1({0})), np.log1p(-np.exp({0})))",
            "(math.log(-math.expm1({0})) if {0} > -0.6931471805599453 else math.log1p(-math.exp({0})))",
        ),
        meaning=lambda ctx, x: ctx.log(-ctx.expm1(x)) if x > -1 else ctx.log1p(-ctx.exp(x)),
        defined=lambda x: bool(x < 0), monotone=(-1,),
        curvature="concave", cost=40, sample=((-4.0, -0.1),),
    ),
    unary(
        "sqrt", "the square root, for x >= 0; slope 0 at 0 when guarded", lambda x: 1 / (2 * call("sqrt", x)),
        on_domain(0, INF, _up(lambda v: math.sqrt(max(v, 0.0)), 0.0), False, False), _same("sqrt"),
        defined=lambda x: bool(x >= 0), monotone=(1,), curvature="concave", exact=_sqrt_exact(range(33)),
        singular=lambda x: (x,), sympy="sqrt", cost=5, sample=((0.1, 4.0),),
    ),
)

SIGMOIDAL = (
    unary(
        "sigmoid", "1/(1 + exp(-x))", lambda x: call("sigmoid", x) * call("sigmoid", -x), _up(_sigmoid, TINY, 1.0),
        ("torch.sigmoid({0})", "np.exp(-np.logaddexp(0.0, -{0}))", "0.5 * (1.0 + math.tanh(0.5 * {0}))"),
        meaning=lambda ctx, x: 1 / (1 + ctx.exp(-x)) if x >= 0 else ctx.exp(x) / (1 + ctx.exp(x)),
        aliases=("logistic", "expit", "sigm"), monotone=(1,), exact={Fraction(0): Fraction(1, 2)}, cost=18,
    ),
    unary(
        "logsigmoid", "log(sigmoid(x)) = -softplus(-x)", lambda x: call("sigmoid", -x),
        _up(lambda v: -_softplus(-v), -INF, 0.0),
        ("torch.nn.functional.logsigmoid({0})", "-np.logaddexp(0.0, -{0})",
         "min({0}, 0.0) - math.log1p(math.exp(-abs({0})))"),
        meaning=lambda ctx, x: _softplus_meaning(ctx, -x) * -1, aliases=("log_sigmoid",), monotone=(1,),
        curvature="concave", cost=30,
    ),
    unary(
        "softplus", "log(1 + exp(x))", lambda x: call("sigmoid", x), _up(_softplus, TINY),
        ("-torch.nn.functional.logsigmoid(-{0})", "np.logaddexp(0.0, {0})",
         "max({0}, 0.0) + math.log1p(math.exp(-abs({0})))"),
        meaning=lambda ctx, x: _softplus_meaning(ctx, x), monotone=(1,), curvature="convex", cost=30,
    ),
    unary(
        "relu", "max(x, 0); slope 0 at 0", lambda x: call("where", call("gt", x, 0), ONE, ZERO),
        lambda x: Interval(max(x.lo, 0.0), max(x.hi, 0.0), x.total),
        ("torch.relu({0})", "np.maximum({0}, 0.0)", "max({0}, 0.0)"),
        meaning=lambda ctx, x: x if x > 0 else ctx.mpf(0), monotone=(1,), curvature="convex",
        idempotent=True, kinks=lambda x: (x,), cost=1,
    ),
    unary(
        "logcosh", "log(cosh(x))", lambda x: call("tanh", x), _even(_logcosh, 0.0),
        (
            "torch.where(torch.abs({0}) < 1.0, torch.log1p(2.0 * torch.sinh(0.5 * torch.clamp({0}, -1.0, 1.0)) ** 2), "
            "torch.abs({0}) + torch.log1p(torch.exp(-2.0 * torch.abs({0}))) - math.log(2.0))",
            "np.where(np.abs({0}) < 1.0, np.log1p(2.0 * np.sinh(0.5 * np.clip({0}, -1.0, 1.0)) ** 2), "
            "np.abs({0}) + np.log1p(np.exp(-2.0 * np.abs({0}))) - np.log(2.0))",
            "(math.log1p(2.0 * math.sinh(0.5 * {0}) ** 2) if abs({0}) < 1.0 "
            "else abs({0}) + math.log1p(math.exp(-2.0 * abs({0}))) - math.log(2.0))",
        ),
        meaning=lambda ctx, x: abs(x) + ctx.log1p(ctx.expm1(-2 * abs(x)) / 2),
        aliases=("log_cosh",), parity="even", curvature="convex", exact=table((0, 0)), cost=35,
    ),
    unary(
        "erf", "the error function", lambda x: 2 / call("sqrt", call("pi")) * call("exp", -(x**2)),
        _up(math.erf, -1.0, 1.0), ("torch.erf({0})", "special.erf({0})", "math.erf({0})"),
        parity="odd", monotone=(1,), exact=table((0, 0)), sympy="erf", cost=25,
    ),
    unary(
        "erfc", "1 - erf(x), accurate for large x", lambda x: -2 / call("sqrt", call("pi")) * call("exp", -(x**2)),
        lambda x: iv.decreasing(math.erfc, x, 0.0, 2.0), ("torch.erfc({0})", "special.erfc({0})", "math.erfc({0})"),
        monotone=(-1,), exact=table((0, 1)), sympy="erfc", cost=25,
    ),
)


def _softplus_meaning(ctx: Any, x: Any) -> Any:
    return ctx.log1p(ctx.exp(x)) if x <= 0 else x + ctx.log1p(ctx.exp(-x))


def _one_plus_square(x: Expr) -> Expr:
    return 1 + x**2


TRIGONOMETRIC = (
    unary("sin", "the sine (radians)", lambda x: call("cos", x), _wave(math.sin, math.pi / 2), _same("sin"),
          parity="odd", exact=table((0, 0)), sympy="sin", cost=15),
    unary("cos", "the cosine (radians)", lambda x: -call("sin", x), _wave(math.cos, 0.0), _same("cos"),
          parity="even", exact=table((0, 1)), sympy="cos", cost=15),
    unary("tan", "the tangent (radians)", lambda x: 1 + call("tan", x) ** 2,
          _tan_interval, _same("tan"),
          parity="odd", exact=table((0, 0)), sympy="tan", cost=20, sample=((-1.4, 1.4),)),
    unary("asin", "the inverse sine, for |x| <= 1", lambda x: 1 / call("sqrt", 1 - x**2),
          on_domain(-1, 1, _up(lambda v: math.asin(max(-1.0, min(1.0, v)))), False, False), _same("asin", "arcsin"),
          aliases=("arcsin",), defined=lambda x: bool(abs(x) <= 1), parity="odd", monotone=(1,), exact=table((0, 0)),
          singular=lambda x: (1 - x, 1 + x), sympy="asin", cost=20, sample=((-0.9, 0.9),)),
    unary("acos", "the inverse cosine, for |x| <= 1", lambda x: -(1 / call("sqrt", 1 - x**2)),
          on_domain(-1, 1, lambda x: iv.decreasing(lambda v: math.acos(max(-1.0, min(1.0, v))), x), False, False),
          _same("acos", "arccos"), aliases=("arccos",), defined=lambda x: bool(abs(x) <= 1), monotone=(-1,),
          exact=table((1, 0)), singular=lambda x: (1 - x, 1 + x), sympy="acos", cost=20, sample=((-0.9, 0.9),)),
    unary("atan", "the inverse tangent", lambda x: 1 / _one_plus_square(x), _up(math.atan, -1.5707963267948968, 1.5707963267948968),
          _same("atan", "arctan"), aliases=("arctan",), parity="odd", monotone=(1,), exact=table((0, 0)),
          sympy="atan", cost=20),
)

HYPERBOLIC = (
    unary("sinh", "the hyperbolic sine", lambda x: call("cosh", x), _up(math.sinh), _same("sinh"),
          parity="odd", monotone=(1,), exact=table((0, 0)), sympy="sinh", cost=20),
    unary("cosh", "the hyperbolic cosine", lambda x: call("sinh", x), _even(math.cosh, 1.0), _same("cosh"),
          parity="even", curvature="convex", exact=table((0, 1)), sympy="cosh", cost=20),
    unary("tanh", "the hyperbolic tangent", lambda x: 1 - call("tanh", x) ** 2, _up(math.tanh, -1.0, 1.0), _same("tanh"),
          parity="odd", monotone=(1,), exact=table((0, 0)), sympy="tanh", cost=18),
    unary("asinh", "the inverse hyperbolic sine", lambda x: 1 / call("sqrt", _one_plus_square(x)), _up(math.asinh),
          _same("asinh", "arcsinh"), aliases=("arcsinh",), parity="odd", monotone=(1,), exact=table((0, 0)),
          sympy="asinh", cost=20),
    unary("acosh", "the inverse hyperbolic cosine, for x >= 1",
          lambda x: 1 / (call("sqrt", x - 1) * call("sqrt", x + 1)),
          on_domain(1, INF, _up(lambda v: math.acosh(max(v, 1.0)), 0.0), False, False), _same("acosh", "arccosh"),
          aliases=("arccosh",), defined=lambda x: bool(x >= 1), monotone=(1,), curvature="concave",
          exact=table((1, 0)), singular=lambda x: (x - 1,), sympy="acosh", cost=20, sample=((1.1, 5.0),)),
    unary("atanh", "the inverse hyperbolic tangent, for |x| < 1", lambda x: 1 / (1 - x**2),
          on_domain(-1, 1, _up(lambda v: INF if v >= 1 else -INF if v <= -1 else math.atanh(v))),
          _same("atanh", "arctanh"), aliases=("arctanh",), defined=lambda x: bool(abs(x) < 1), parity="odd",
          monotone=(1,), exact=table((0, 0)), sympy="atanh", cost=20, sample=((-0.9, 0.9),)),
)

GAMMA = (
    unary("lgamma", "the logarithm of the gamma function, for x > 0", lambda x: call("digamma", x),
          _polygamma_positive, ("torch.lgamma({0})", "special.gammaln({0})", "math.lgamma({0})"),
          meaning=lambda ctx, x: ctx.loggamma(x), aliases=("gammaln", "loggamma"), defined=lambda x: bool(x > 0),
          curvature="convex", exact=table((1, 0), (2, 0)), cost=40, sample=((0.2, 6.0),)),
    unary("digamma", "the derivative of lgamma, for x > 0", lambda x: call("trigamma", x),
          _polygamma_positive, ("torch.digamma({0})", "special.digamma({0})", "torch.digamma(torch.tensor({0})).item()"),
          meaning=lambda ctx, x: ctx.digamma(x), defined=lambda x: bool(x > 0), monotone=(1,), curvature="concave",
          cost=40, sample=((0.2, 6.0),)),
    unary("trigamma", "the second derivative of lgamma, for x > 0", None,
          _polygamma_positive, ("torch.polygamma(1, {0})", "special.polygamma(1, {0})", "torch.polygamma(1, torch.tensor({0})).item()"),
          meaning=lambda ctx, x: ctx.psi(1, x), defined=lambda x: bool(x > 0), monotone=(-1,), curvature="convex",
          cost=60, sample=((0.2, 6.0),)),
)

ELEMENTARY = EXPONENTIAL + SIGMOIDAL + TRIGONOMETRIC + HYPERBOLIC + GAMMA
