"""Functions of a residual whose plain formulas overflow or cancel: what stable forms of robust losses are made of.

1 + x^2 overflows where its logarithm, its root and quotients by it do not (beyond 1.8e19 in float32, 256 in float16),
and forgets a small x. Each operator here is one such formula, right to a few ulps for every x, with a derivative that
is of the same kind; no threshold depends on a dtype (docs/numerics.md, V17 to V21).
"""

from __future__ import annotations

import math

from lossc.compiler import interval as iv
from lossc.compiler.interval import INF, Interval
from lossc.compiler.ir import Expr
from lossc.compiler.ops.elementary import unary
from lossc.compiler.ops.record import OpRecord, call, table


def _log1psq(x: float) -> float:
    x = abs(x)
    return math.log1p(x * x) if x < 1 else 2 * math.log(x) + math.log1p(1 / x / x)


def _sqdiv1psq(x: float) -> float:
    return x * x / (1 + x * x) if x < 1 else 1 / (1 + 1 / x / x)


def _div1psq(x: float) -> float:
    return x / (1 + x * x) if abs(x) < 1 else 1 / (x + 1 / x)


def _div1psq_interval(x: Interval) -> Interval:
    """x/(1 + x^2) falls, rises between -1 and 1, and falls: its extremes are at the ends, or at -1 and 1."""
    if x.lo >= 1 or x.hi <= -1:
        return iv.decreasing(_div1psq, x, 0.0 if x.lo >= 1 else -0.5, 0.5 if x.lo >= 1 else 0.0)
    ends = (_div1psq(x.lo), _div1psq(x.hi))
    low = -0.5 if x.lo < -1 else 0.0 if x.lo >= 0 else iv.down(min(ends), 4)
    high = 0.5 if x.hi > 1 else 0.0 if x.hi <= 0 else iv.up(max(ends), 4)
    return Interval(max(low, -0.5), min(high, 0.5), x.total)


def _excess(x: float, c: float) -> float:
    return INF if math.isinf(x) else x * (x / (math.hypot(x, c) + c)) if c > 0 else abs(x)


def _hypotm_interval(x: Interval, c: Interval) -> Interval:
    size, base = iv.absolute(x), Interval(max(c.lo, 0.0), max(c.hi, 0.0))
    low = 0.0 if math.isinf(base.hi) else max(iv.down(_excess(size.lo, base.hi), 4), 0.0)
    return Interval(low, iv.up(_excess(size.hi, base.lo), 4), x.total and c.total and c.lo > 0)


def _cosine(x: Expr, y: Expr) -> Expr:
    return call("over_hypot", x, y)


def _logratio_interval(x: Interval, y: Interval) -> Interval:
    low = -INF if x.lo <= 0 or math.isinf(y.hi) else _log_of_quotient(x.lo, max(y.hi, iv.TINY), -1)
    high = INF if y.lo <= 0 or math.isinf(x.hi) else _log_of_quotient(max(x.hi, iv.TINY), y.lo, 1)
    return Interval(low, high, x.total and y.total and x.lo > 0 and y.lo > 0)


def _log_of_quotient(x: float, y: float, side: int) -> float:
    """A bound of log(x/y): the two logarithms may cancel, so that the error is one of theirs."""
    a, b = math.log(x), math.log(y)
    return a - b + side * 4 * math.ulp(abs(a) + abs(b))


_ONE = "torch.ones((), dtype={0}.dtype, device={0}.device)"
_GREATER = f"torch.maximum(torch.abs({{0}}), {_ONE})"
_LIMITED = f"torch.maximum(torch.minimum({{0}}, {_ONE}), -{_ONE})"
_FUSED = {
    "log1psq": f"2.0 * torch.log({_GREATER}) + torch.log1p((torch.minimum(torch.abs({{0}}), {_ONE}) / {_GREATER}) ** 2)",
    "div1psq": f"{_LIMITED} * (1.0 / {_GREATER}) / ((1.0 / {_GREATER}) ** 2 + {_LIMITED} ** 2)",
    "sqdiv1psq": f"{_LIMITED} ** 2 / ((1.0 / {_GREATER}) ** 2 + {_LIMITED} ** 2)",
}
"""Values without a branch, from the greater of |x| and 1 and from x limited to [-1, 1]: both sides over max(|x|, 1)^2."""


# The tables below are laid out by hand.
# fmt: off
STABLE = (
    unary(
        "log1psq", "log(1 + x^2), accurate near 0 and finite for every x", lambda x: 2 * call("div1psq", x),
        lambda x: iv.increasing(_log1psq, iv.absolute(x), 0.0),
        (
            "torch.where(torch.abs({0}) > 1.0, "
            "2.0 * torch.log(torch.clamp(torch.abs({0}), min=1.0)) + "
            "torch.log1p((1.0 / torch.clamp(torch.abs({0}), min=1.0)) ** 2), "
            "torch.log1p(torch.clamp({0}, -1.0, 1.0) ** 2))",
            "np.where(np.abs({0}) > 1.0, 2.0 * np.log(np.maximum(np.abs({0}), 1.0)) + "
            "np.log1p((1.0 / np.maximum(np.abs({0}), 1.0)) ** 2), np.log1p(np.clip({0}, -1.0, 1.0) ** 2))",
            "(2.0 * math.log(abs({0})) + math.log1p((1.0 / {0}) ** 2) if abs({0}) > 1.0 else math.log1p({0} * {0}))",
        ),
        meaning=lambda ctx, x: ctx.log1p(x * x), parity="even", exact=table((0, 0)), fused=_FUSED["log1psq"], cost=45,
    ),
    unary(
        "div1psq", "x/(1 + x^2), finite and accurate for every x",
        lambda x: 1 / (1 + x**2) - 2 * call("div1psq", x) ** 2, _div1psq_interval,
        (
            "torch.where(torch.abs({0}) > 1.0, "
            "1.0 / (torch.where(torch.abs({0}) > 1.0, {0}, 1.0) + 1.0 / torch.where(torch.abs({0}) > 1.0, {0}, 1.0)), "
            "torch.clamp({0}, -1.0, 1.0) / (1.0 + torch.clamp({0}, -1.0, 1.0) ** 2))",
            "np.where(np.abs({0}) > 1.0, 1.0 / ({0} + 1.0 / {0}), np.clip({0}, -1.0, 1.0) / (1.0 + np.clip({0}, -1.0, 1.0) ** 2))",
            "(1.0 / ({0} + 1.0 / {0}) if abs({0}) > 1.0 else {0} / (1.0 + {0} * {0}))",
        ),
        meaning=lambda ctx, x: x / (1 + x * x), parity="odd", exact=table((0, 0)), fused=_FUSED["div1psq"], cost=12,
    ),
    unary(
        "sqdiv1psq", "x^2/(1 + x^2), finite and accurate for every x",
        lambda x: 2 * call("div1psq", x) / (1 + x**2), lambda x: iv.increasing(_sqdiv1psq, iv.absolute(x), 0.0, 1.0),
        (
            "torch.where(torch.abs({0}) > 1.0, "
            "1.0 / (1.0 + (1.0 / torch.clamp(torch.abs({0}), min=1.0)) ** 2), "
            "torch.clamp({0}, -1.0, 1.0) ** 2 / (1.0 + torch.clamp({0}, -1.0, 1.0) ** 2))",
            "np.where(np.abs({0}) > 1.0, 1.0 / (1.0 + (1.0 / {0}) ** 2), "
            "np.clip({0}, -1.0, 1.0) ** 2 / (1.0 + np.clip({0}, -1.0, 1.0) ** 2))",
            "(1.0 / (1.0 + (1.0 / {0}) ** 2) if abs({0}) > 1.0 else {0} * {0} / (1.0 + {0} * {0}))",
        ),
        meaning=lambda ctx, x: x * x / (1 + x * x), parity="even", exact=table((0, 0)), fused=_FUSED["sqdiv1psq"], cost=14,
    ),
    OpRecord(
        name="hypotm", args=("x", "c"), doc="hypot(x, c) - c for c > 0, accurate near x = 0",
        meaning=lambda ctx, x, c: x * x / (ctx.sqrt(x * x + c * c) + c),
        partials=lambda x, c: (_cosine(x, c), -(call("hypotm", x, c) / call("hypot", x, c))),
        defined=lambda x, c: bool(c > 0), interval=_hypotm_interval,
        lower={
            "torch": "{0} * ({0} / (torch.hypot({0}, {1}) + {1}))", "numpy": "{0} * ({0} / (np.hypot({0}, {1}) + {1}))",
            "math": "{0} * ({0} / (math.hypot({0}, {1}) + {1}))",
        }, cost=15, sample=((-3.0, 3.0), (0.3, 3.0)),
    ),
    OpRecord(
        name="over_hypot", args=("x", "y"), doc="x/hypot(x, y), the cosine of the angle of the point (x, y)",
        meaning=lambda ctx, x, y: x / ctx.sqrt(x * x + y * y),
        partials=lambda x, y: (
            _cosine(y, x) ** 2 / call("hypot", x, y), -(_cosine(x, y) * _cosine(y, x) / call("hypot", x, y)),
        ),
        defined=lambda x, y: bool(x != 0 or y != 0),
        interval=lambda x, y: Interval(
            0.0 if x.lo >= 0 else -1.0, 0.0 if x.hi <= 0 else 1.0, x.total and y.total and (x.nonzero or y.nonzero)
        ),
        lower={
            "torch": "{0} / torch.hypot({0}, {1})", "numpy": "{0} / np.hypot({0}, {1})",
            "math": "{0} / math.hypot({0}, {1})",
        }, cost=12, sample=((0.2, 3.0), (0.2, 3.0)),
    ),
    OpRecord(
        name="logratio", args=("x", "y"), doc="log(x/y) for x, y > 0, accurate near x = y, and without overflow",
        meaning=lambda ctx, x, y: ctx.log1p((x - y) / y) if abs(x - y) < y / 2 else ctx.log(x) - ctx.log(y),
        partials=lambda x, y: (1 / x, -(1 / y)),
        defined=lambda x, y: bool(x > 0 and y > 0), interval=_logratio_interval, monotone=(1, -1),
        lower={
            "torch": "torch.where(torch.abs({0} - {1}) < 0.5 * {1}, torch.log1p(torch.clamp(({0} - {1}) / {1}, -0.5, 0.5)), "
                     "torch.log({0}) - torch.log({1}))",
            "numpy": "np.where(np.abs({0} - {1}) < 0.5 * {1}, np.log1p(np.clip(({0} - {1}) / {1}, -0.5, 0.5)), "
                     "np.log({0}) - np.log({1}))",
            "math": "(math.log1p(({0} - {1}) / {1}) if abs({0} - {1}) < 0.5 * {1} else math.log({0}) - math.log({1}))",
        }, cost=50, sample=((0.3, 3.0), (0.3, 3.0)),
    ),
)
