"""Functions of two or more arguments, comparisons and selection."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lossc.compiler import interval as iv
from lossc.compiler.interval import INF, Interval
from lossc.compiler.ir import ONE, ZERO, Expr
from lossc.compiler.ops.record import BOOL_KIND, REAL_KIND, OpRecord, call


def _max_interval(a: Interval, b: Interval) -> Interval:
    return Interval(max(a.lo, b.lo), max(a.hi, b.hi), a.total and b.total)


def _min_interval(a: Interval, b: Interval) -> Interval:
    return Interval(min(a.lo, b.lo), min(a.hi, b.hi), a.total and b.total)


def _where_interval(c: Interval, a: Interval, b: Interval) -> Interval:
    if c.lo >= 1:
        return Interval(a.lo, a.hi, a.total and c.total)
    if c.hi <= 0:
        return Interval(b.lo, b.hi, b.total and c.total)
    both = iv.hull([a, b])
    return Interval(both.lo, both.hi, both.total and c.total)


def _hypot_interval(a: Interval, b: Interval) -> Interval:
    low = math.hypot(iv.absolute(a).lo, iv.absolute(b).lo)
    high = math.hypot(iv.absolute(a).hi, iv.absolute(b).hi)
    return Interval(max(iv.down(low, 4), 0.0), iv.up(high, 4), a.total and b.total)


def _slope_of_hypot(x: Expr, y: Expr) -> Expr:
    """∂hypot/∂x, 0 where both are 0."""
    return call("where", call("eq", call("hypot", x, y), 0), 0, call("over_hypot", x, y))


def _logaddexp(a: float, b: float) -> float:
    if math.isinf(a) or math.isinf(b):
        return max(a, b)
    return max(a, b) + math.log1p(math.exp(-abs(a - b)))


def _logaddexp_interval(a: Interval, b: Interval) -> Interval:
    """Where the greater operand is negative the two parts may cancel: so the error is one of the parts."""
    low = _logaddexp(a.lo, b.lo) - _slip(a.lo, b.lo)
    high = _logaddexp(a.hi, b.hi) + _slip(a.hi, b.hi)
    return Interval(max(low, a.lo, b.lo), high, a.total and b.total)


def _slip(a: float, b: float) -> float:
    """What rounding may do to log(exp(a) + exp(b)), from above."""
    top = max(a, b)
    return 0.0 if math.isinf(top) else 8 * math.ulp(abs(top) + 1)


def _xlogy_interval(x: Interval, y: Interval) -> Interval:
    log_y = Interval(-INF if y.lo <= 0 else iv.down(math.log(y.lo), 4), INF if y.hi <= 0 else iv.up(_log(y.hi), 4))
    out = iv.mul(x, log_y)
    nothing = x.lo == x.hi == 0
    return Interval(min(out.lo, 0.0) if 0 in x else out.lo, out.hi, x.total and y.total and (y.lo > 0 or nothing))


def _log(x: float) -> float:
    return INF if math.isinf(x) else math.log(x)


def _comparison(
    name: str, sign: str, doc: str, test: Callable[[Any, Any], Any], interval: Callable[[Interval, Interval], Interval]
) -> OpRecord:
    template = f"{{0}} {sign} {{1}}"
    return OpRecord(
        name=name,
        args=("x", "y"),
        doc=doc,
        infix=sign,
        precedence=5,
        gives=BOOL_KIND,
        meaning=lambda ctx, x, y: bool(test(x, y)),
        partials=lambda x, y: (None, None),
        interval=interval,
        lower={"torch": template, "numpy": template, "math": template},
        cost=1,
        commutative=sign in ("==", "!="),
    )


# The tables below are laid out by hand.
# fmt: off
COMPARISONS = (
    _comparison("lt", "<", "x < y", lambda x, y: x < y, lambda x, y: iv.truth(x.hi < y.lo, x.lo >= y.hi, x.total and y.total)),
    _comparison("le", "<=", "x <= y", lambda x, y: x <= y, lambda x, y: iv.truth(x.hi <= y.lo, x.lo > y.hi, x.total and y.total)),
    _comparison("gt", ">", "x > y", lambda x, y: x > y, lambda x, y: iv.truth(x.lo > y.hi, x.hi <= y.lo, x.total and y.total)),
    _comparison("ge", ">=", "x >= y", lambda x, y: x >= y, lambda x, y: iv.truth(x.lo >= y.hi, x.hi < y.lo, x.total and y.total)),
    _comparison("eq", "==", "x equals y", lambda x, y: x == y,
                lambda x, y: iv.truth(x.is_point and x == y, x.hi < y.lo or y.hi < x.lo, x.total and y.total)),
    _comparison("ne", "!=", "x differs from y", lambda x, y: x != y,
                lambda x, y: iv.truth(x.hi < y.lo or y.hi < x.lo, x.is_point and x == y, x.total and y.total)),
)

MULTIPLE = (
    OpRecord(
        name="max", args=("x", "y"), doc="the greater of x and y; at a tie each has slope 1/2",
        aliases=("maximum", "fmax"),
        meaning=lambda ctx, x, y: x if x >= y else y,
        partials=lambda x, y: (call("heaviside", x - y), call("heaviside", y - x)),
        interval=_max_interval, commutative=True, associative=True, idempotent=True,
        monotone=(1, 1), curvature="convex", kinks=lambda x, y: (x - y,), sympy="Max",
        lower={"torch": "torch.maximum({0}, {1})", "numpy": "np.maximum({0}, {1})", "math": "max({0}, {1})"}, cost=1,
    ),
    OpRecord(
        name="min", args=("x", "y"), doc="the smaller of x and y; at a tie each has slope 1/2",
        aliases=("minimum", "fmin"),
        meaning=lambda ctx, x, y: x if x <= y else y,
        partials=lambda x, y: (call("heaviside", y - x), call("heaviside", x - y)),
        interval=_min_interval, commutative=True, associative=True, idempotent=True,
        monotone=(1, 1), curvature="concave", kinks=lambda x, y: (x - y,), sympy="Min",
        lower={"torch": "torch.minimum({0}, {1})", "numpy": "np.minimum({0}, {1})", "math": "min({0}, {1})"}, cost=1,
    ),
    OpRecord(
        name="clamp", args=("x", "lo", "hi"), doc="x limited to [lo, hi]; slope 1 on the closed range, 0 outside",
        aliases=("clip",),
        meaning=lambda ctx, x, lo, hi: min(max(x, lo), hi),
        partials=lambda x, lo, hi: (
            call("where", call("lt", x, lo), ZERO, call("where", call("gt", x, hi), ZERO, ONE)),
            call("where", call("lt", x, lo), call("where", call("gt", lo, hi), ZERO, ONE), ZERO),
            call("where", call("gt", call("max", x, lo), hi), ONE, ZERO),
        ),
        interval=lambda x, lo, hi: _min_interval(_max_interval(x, lo), hi),
        monotone=(1, 1, 1), kinks=lambda x, lo, hi: (x - lo, x - hi),
        lower={
            "torch": "torch.clamp({0}, {1}, {2})", "numpy": "np.minimum(np.maximum({0}, {1}), {2})",
            "math": "min(max({0}, {1}), {2})",
        }, cost=2, sample=((-3.0, 3.0), (-2.0, -0.5), (0.5, 2.0)),
    ),
    OpRecord(
        name="where", args=("c", "a", "b"), doc="a where the condition c holds, else b",
        aliases=("select", "ifelse"), takes=(BOOL_KIND, REAL_KIND, REAL_KIND),
        meaning=lambda ctx, c, a, b: a if c else b,
        partials=lambda c, a, b: (None, call("where", c, ONE, ZERO), call("where", c, ZERO, ONE)),
        interval=_where_interval,
        lower={
            "torch": "torch.where({0}, {1}, {2})", "numpy": "np.where({0}, {1}, {2})",
            "math": "({1} if {0} else {2})",
        }, cost=2,
    ),
    OpRecord(
        name="hypot", args=("x", "y"), doc="sqrt(x^2 + y^2) without overflow; slope 0 where both are 0",
        meaning=lambda ctx, x, y: ctx.sqrt(x * x + y * y),
        partials=lambda x, y: (_slope_of_hypot(x, y), _slope_of_hypot(y, x)),
        interval=_hypot_interval, commutative=True, curvature="convex", kinks=lambda x, y: (call("hypot", x, y),),
        singular=lambda x, y: (call("hypot", x, y),),
        lower={"torch": "torch.hypot({0}, {1})", "numpy": "np.hypot({0}, {1})", "math": "math.hypot({0}, {1})"},
        cost=8, sample=((0.2, 3.0), (0.2, 3.0)),
    ),
    OpRecord(
        name="logaddexp", args=("x", "y"), doc="log(exp(x) + exp(y))",
        meaning=lambda ctx, x, y: max(x, y) + ctx.log1p(ctx.exp(-abs(x - y))),
        partials=lambda x, y: (call("sigmoid", x - y), call("sigmoid", y - x)),
        interval=_logaddexp_interval, commutative=True, associative=True, monotone=(1, 1), curvature="convex",
        lower={
            # torch.logaddexp has a second derivative of NaN where exp(x - y) overflows; the slope here is a sigmoid
            "torch": "torch.where({0} >= {1}, {0}, {1}) "
            "- torch.nn.functional.logsigmoid(torch.where({0} >= {1}, {0} - {1}, {1} - {0}))",
            "numpy": "np.logaddexp({0}, {1})",
            "math": "max({0}, {1}) + math.log1p(math.exp(-abs({0} - {1})))",
        }, cost=35,
    ),
    OpRecord(
        name="xlogy", args=("x", "y"), doc="x log(y), and 0 where x = 0",
        meaning=lambda ctx, x, y: ctx.mpf(0) if x == 0 else x * ctx.log(y),
        partials=lambda x, y: (call("log", y), x / y),
        defined=lambda x, y: bool(x == 0 or y > 0), interval=_xlogy_interval,
        lower={
            "torch": "torch.xlogy({0}, {1})", "numpy": "special.xlogy({0}, {1})",
            "math": "(0.0 if {0} == 0 else {0} * math.log({1}))",
        }, cost=17, sample=((-3.0, 3.0), (0.1, 3.0)),
    ),
    OpRecord(
        name="atan2", args=("y", "x"), doc="the angle of the point (x, y)", aliases=("arctan2",),
        meaning=lambda ctx, y, x: ctx.atan2(y, x),
        partials=lambda y, x: (x / (x**2 + y**2), -(y / (x**2 + y**2))),
        defined=lambda y, x: bool(x != 0 or y != 0),
        interval=lambda y, x: Interval(-iv.up(math.pi), iv.up(math.pi), y.total and x.total and (y.nonzero or x.nonzero)),
        lower={"torch": "torch.atan2({0}, {1})", "numpy": "np.arctan2({0}, {1})", "math": "math.atan2({0}, {1})"},
        cost=25, sample=((0.2, 3.0), (0.2, 3.0)),
    ),
)
