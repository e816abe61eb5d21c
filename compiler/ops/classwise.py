"""Operators along the class axis: reductions (`sum_c`, ...) and the maps that hide one (`softmax`, `log_softmax`).

Every expression is, in meaning, a vector over the C classes; a reduction gives the same number at every class. Its
derivative is said by one vector: `weight(x, r)[k] = ∂r/∂x_k`. A map is elementwise once its hidden reduction
`centre(x)` is known, so its two partials are with respect to x and to that.
"""

from __future__ import annotations

from typing import Any

from lossc.compiler import interval as iv
from lossc.compiler.interval import INF, TINY, Interval
from lossc.compiler.ir import ONE, Expr, const
from lossc.compiler.ops.record import MAP, REDUCE, OpRecord, call


def _logsumexp(ctx: Any, values: list[Any]) -> Any:
    top = max(values)
    return top + ctx.log(ctx.fsum(ctx.exp(v - top) for v in values))


def _others(ctx: Any, values: list[Any]) -> list[Any]:
    """At each class the log-sum-exp of the others: -inf if there are none."""
    rest = (values[:i] + values[i + 1 :] for i in range(len(values)))
    return [_logsumexp(ctx, r) if r else -ctx.inf for r in rest]


def _log_cosoftmax(ctx: Any, values: list[Any]) -> list[Any]:
    whole = _logsumexp(ctx, values)
    small = [v - whole < -1 for v in values]
    return [
        ctx.log1p(-ctx.exp(v - whole)) if unlikely else rest - whole
        for v, rest, unlikely in zip(values, _others(ctx, values), small, strict=True)
    ]


def _less(values: list[Any], shift: Any) -> list[Any]:
    return [v - shift for v in values]


def _max_weight(x: Expr, r: Expr) -> Expr:
    """Ties share the slope evenly, as torch.amax has it."""
    at_top = call("where", call("ge", x, r), 1, 0)
    return at_top / call("sum_c", at_top)


def _sum_interval(x: Interval) -> Interval:
    return Interval(x.lo if x.lo >= 0 else -INF, x.hi if x.hi <= 0 else INF, x.total)


_NP_SHIFTED = "({0} - np.max({0}, axis=axis, keepdims=True))"
_NP_SOFTMAX = f"(np.exp({_NP_SHIFTED}) / np.sum(np.exp({_NP_SHIFTED}), axis=axis, keepdims=True))"
_NP_LOG_SOFTMAX = f"({_NP_SHIFTED} - np.log(np.sum(np.exp({_NP_SHIFTED}), axis=axis, keepdims=True)))"
"""Of plain NumPy calls, which a printer takes apart and shares: scipy's own functions cost ten times as much a call."""


# The tables below are laid out by hand.
# fmt: off
CLASSWISE = (
    OpRecord(
        name="sum_c", args=("x",), doc="the sum over the classes", axis=REDUCE, aliases=("sum_classes",),
        meaning=lambda ctx, values: [ctx.fsum(values)] * len(values),
        partials=None, weight=lambda x, r: ONE, interval=_sum_interval, curvature="affine", monotone=(1,),
        lower={
            "torch": "torch.sum({0}, dim=dim, keepdim=True)", "numpy": "np.sum({0}, axis=axis, keepdims=True)",
        }, cost=2,
    ),
    OpRecord(
        name="mean_c", args=("x",), doc="the mean over the classes", axis=REDUCE, aliases=("mean_classes",),
        meaning=lambda ctx, values: [ctx.fsum(values) / len(values)] * len(values),
        partials=None, weight=lambda x, r: 1 / call("num_classes"), interval=lambda x: Interval(iv.down(x.lo), iv.up(x.hi), x.total),
        curvature="affine", monotone=(1,),
        lower={
            "torch": "torch.mean({0}, dim=dim, keepdim=True)", "numpy": "np.mean({0}, axis=axis, keepdims=True)",
        }, cost=2,
    ),
    OpRecord(
        name="max_c", args=("x",), doc="the greatest over the classes; ties share the slope", axis=REDUCE,
        aliases=("max_classes",),
        meaning=lambda ctx, values: [max(values)] * len(values),
        partials=None, weight=_max_weight, interval=lambda x: x, curvature="convex", monotone=(1,),
        lower={
            "torch": "torch.amax({0}, dim=dim, keepdim=True)", "numpy": "np.max({0}, axis=axis, keepdims=True)",
        }, cost=2,
    ),
    OpRecord(
        name="logsumexp_c", args=("x",), doc="log of the sum of exp(x) over the classes", axis=REDUCE,
        aliases=("logsumexp",),
        meaning=lambda ctx, values: [_logsumexp(ctx, values)] * len(values),
        partials=None, weight=lambda x, r: call("softmax", x),
        interval=lambda x: Interval(iv.down(x.lo, 4), INF, x.total), curvature="convex", monotone=(1,),
        lower={
            "torch": "torch.logsumexp({0}, dim=dim, keepdim=True)",
            "numpy": "np.max({0}, axis=axis, keepdims=True) + "
                     "np.log(np.sum(np.exp({0} - np.max({0}, axis=axis, keepdims=True)), axis=axis, keepdims=True))",
        }, cost=20,
    ),
    OpRecord(
        name="softmax", args=("x",), doc="exp(x) over its sum along the classes", axis=MAP,
        meaning=lambda ctx, values: [ctx.exp(v) for v in _less(values, _logsumexp(ctx, values))],
        partials=lambda x: (call("softmax", x), -call("softmax", x)),
        centre=lambda x: call("logsumexp_c", x),
        interval=lambda x: Interval(TINY, 1.0, x.total),
        lower={"torch": "torch.softmax({0}, dim=dim)", "numpy": _NP_SOFTMAX}, cost=22,
    ),
    OpRecord(
        name="log_softmax", args=("x",), doc="log(softmax(x)), stable", axis=MAP, aliases=("logsoftmax",),
        meaning=lambda ctx, values: _less(values, _logsumexp(ctx, values)),
        partials=lambda x: (ONE, const(-1)),
        centre=lambda x: call("logsumexp_c", x),
        interval=lambda x: Interval(-INF, 0.0, x.total),
        lower={"torch": "torch.log_softmax({0}, dim=dim)", "numpy": _NP_LOG_SOFTMAX}, cost=22,
    ),
    OpRecord(
        name="cosoftmax", args=("x",), doc="1 - softmax(x), accurate where softmax(x) is near 1", axis=MAP,
        meaning=lambda ctx, values: [ctx.exp(v - _logsumexp(ctx, values)) for v in _others(ctx, values)],
        partials=lambda x: (-call("softmax", x), call("softmax", x)),
        centre=lambda x: call("logsumexp_c", x),
        interval=lambda x: Interval(0.0, 1.0, x.total),
        lower={
            "torch": "torch.where(torch.softmax({0}, dim=dim) > 0.5, torch.sum(torch.where(torch.softmax({0}, dim=dim) > 0.5, 0.0, "
                     "torch.softmax({0}, dim=dim)), dim=dim, keepdim=True), 1.0 - torch.softmax({0}, dim=dim))",
            "numpy": f"np.where({_NP_SOFTMAX} > 0.5, np.sum(np.where({_NP_SOFTMAX} > 0.5, 0.0, {_NP_SOFTMAX}), "
                     f"axis=axis, keepdims=True), 1.0 - {_NP_SOFTMAX})",
        }, cost=30,
    ),
    OpRecord(
        name="log_cosoftmax", args=("x",), doc="log(1 - softmax(x)), stable; for two classes or more", axis=MAP,
        meaning=_log_cosoftmax,
        partials=lambda x: (-(call("softmax", x) / call("cosoftmax", x)), call("softmax", x) / call("cosoftmax", x)),
        centre=lambda x: call("logsumexp_c", x),
        interval=lambda x: Interval(-INF, 0.0, False),
        # the log-sum-exp of the others where p > 1/2 (at one class at most), else log(1 - p)
        lower={
            "torch": "torch.where(torch.log_softmax({0}, dim=dim) > -0.6931471805599453, "
                     "torch.logsumexp(torch.where(torch.log_softmax({0}, dim=dim) > -0.6931471805599453, -math.inf, "
                     "torch.log_softmax({0}, dim=dim)), dim=dim, keepdim=True), "
                     "torch.log1p(-torch.exp(torch.where(torch.log_softmax({0}, dim=dim) > -0.6931471805599453, -1.0, "
                     "torch.log_softmax({0}, dim=dim)))))",
            "numpy": f"np.where({_NP_LOG_SOFTMAX} > -0.6931471805599453, "
                     f"special.logsumexp(np.where({_NP_LOG_SOFTMAX} > -0.6931471805599453, -np.inf, "
                     f"{_NP_LOG_SOFTMAX}), axis=axis, keepdims=True), "
                     f"np.log1p(-np.exp(np.minimum({_NP_LOG_SOFTMAX}, -0.6931471805599453))))",
        }, cost=60,
    ),
)
