"""The protected operators of the thesis (Table 3.1) and the clamped ones of its public code.

They are operators of their own, never modes of `log`, `sqrt` or `/`: which one a written name means is the dialect's
business (`lossc.grammar.dialects`). ε is 1e-7 in all of them. The public code clamps instead of adding, which makes the
slope exactly 0 below ε: both are here, because both are in use.
"""

from __future__ import annotations

import math

from lossc.compiler import interval as iv
from lossc.compiler.interval import INF, Interval
from lossc.compiler.ir import Expr
from lossc.compiler.ops.arithmetic import EPSILON
from lossc.compiler.ops.record import OpRecord, call

_EPS = float(EPSILON)


def _eps(ctx: object) -> object:
    return ctx.mpf(EPSILON.numerator) / EPSILON.denominator  # type: ignore[attr-defined]


def _smallest_shift(x: Interval) -> Interval:
    return iv.add(iv.absolute(x), Interval(iv.down(_EPS), iv.up(_EPS)))


def _floor(x: Interval) -> Interval:
    a = iv.absolute(x)
    return Interval(max(a.lo, iv.down(_EPS)), max(a.hi, iv.up(_EPS)), a.total)


def _log(v: float) -> float:
    return INF if math.isinf(v) else math.log(v)


def _aq_interval(x: Interval, y: Interval) -> Interval:
    size = iv.absolute(y)
    low, high = iv.down(math.hypot(1.0, size.lo), 4), iv.up(math.hypot(1.0, size.hi), 4)
    return iv.div(x, Interval(max(low, 1.0), high, x.total and y.total))


def _live(x: Expr, slope: Expr) -> Expr:
    """The slope of a clamped form: exactly 0 below ε, as the public code's is."""
    return call("where", call("lt", call("abs", x), call("eps")), 0, slope)


# The tables below are laid out by hand.
# fmt: off
PROTECTED = (
    OpRecord(
        name="aq", args=("x", "y"), doc="the analytic quotient x / sqrt(1 + y^2) (thesis, Table 3.1)",
        aliases=("analytic_quotient", "protected_div", "pdiv"),
        meaning=lambda ctx, x, y: x / ctx.sqrt(1 + y * y),
        partials=lambda x, y: (
            1 / call("sqrt", 1 + y**2), -(x * y / call("pow", 1 + y**2, 1.5)),
        ),
        interval=_aq_interval,
        lower={
            "torch": "{0} / torch.sqrt(1.0 + {1} * {1})", "numpy": "{0} / np.sqrt(1.0 + {1} * {1})",
            "math": "{0} / math.sqrt(1.0 + {1} * {1})",
        }, cost=11,
    ),
    OpRecord(
        name="plog", args=("x",), doc="the protected logarithm log(|x| + ε) (thesis, Table 3.1)",
        aliases=("protected_log",),
        meaning=lambda ctx, x: ctx.log(abs(x) + _eps(ctx)),
        partials=lambda x: (call("sign", x) / (call("abs", x) + call("eps")),),
        interval=lambda x: iv.increasing(_log, _smallest_shift(x)),
        parity="even", kinks=lambda x: (x,),
        lower={
            "torch": "torch.log(torch.abs({0}) + 1e-07)", "numpy": "np.log(np.abs({0}) + 1e-07)",
            "math": "math.log(abs({0}) + 1e-07)",
        }, cost=17,
    ),
    OpRecord(
        name="psqrt", args=("x",), doc="the protected square root sqrt(|x| + ε) (thesis, Table 3.1)",
        aliases=("protected_sqrt",),
        meaning=lambda ctx, x: ctx.sqrt(abs(x) + _eps(ctx)),
        partials=lambda x: (call("sign", x) / (2 * call("psqrt", x)),),
        interval=lambda x: iv.increasing(math.sqrt, _smallest_shift(x), 0.0),
        parity="even", kinks=lambda x: (x,),
        lower={
            "torch": "torch.sqrt(torch.abs({0}) + 1e-07)", "numpy": "np.sqrt(np.abs({0}) + 1e-07)",
            "math": "math.sqrt(abs({0}) + 1e-07)",
        }, cost=7,
    ),
    OpRecord(
        name="clog", args=("x",), doc="the clamped logarithm log(max(|x|, ε)) of the public code; slope 0 below ε",
        aliases=("clamped_log",),
        meaning=lambda ctx, x: ctx.log(max(abs(x), _eps(ctx))),
        partials=lambda x: (_live(x, 1 / x),),
        interval=lambda x: iv.increasing(_log, _floor(x)),
        parity="even", kinks=lambda x: (call("abs", x) - call("eps"),),
        lower={
            "torch": "torch.log(torch.clamp(torch.abs({0}), min=1e-07))", "numpy": "np.log(np.maximum(np.abs({0}), 1e-07))",
            "math": "math.log(max(abs({0}), 1e-07))",
        }, cost=17, sample=((0.1, 3.0),),
    ),
    OpRecord(
        name="csqrt", args=("x",), doc="the clamped square root sqrt(max(|x|, ε)) of the public code; slope 0 below ε",
        aliases=("clamped_sqrt",),
        meaning=lambda ctx, x: ctx.sqrt(max(abs(x), _eps(ctx))),
        partials=lambda x: (_live(x, call("sign", x) / (2 * call("csqrt", x))),),
        interval=lambda x: iv.increasing(math.sqrt, _floor(x), 0.0),
        parity="even", kinks=lambda x: (call("abs", x) - call("eps"),),
        lower={
            "torch": "torch.sqrt(torch.clamp(torch.abs({0}), min=1e-07))",
            "numpy": "np.sqrt(np.maximum(np.abs({0}), 1e-07))", "math": "math.sqrt(max(abs({0}), 1e-07))",
        }, cost=7, sample=((0.1, 3.0),),
    ),
)

WITH_EPSILON = frozenset(r.name for r in PROTECTED if "1e-07" in r.lower["torch"])
"""The operators that hold an ε of their own."""
