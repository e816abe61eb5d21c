"""log(1 - softmax(x)) in a form whose derivatives stay finite and accurate where a class is almost certain.

Its record's slope is p/(1 - p), times the difference of two numbers that agree where p is near 1: all digits cancel
when 1 - p is 1e-16, and where 1 - p underflows 0*inf is left. But at the one class with p > 1/2 the operator is the
log-sum-exp of the others less that of all, and the slope of that is a softmax over the others less p; at all other
classes 1 - p is at least 1/2. So that is what is differentiated:

    where(p > 1/2, log(Σ_others exp(x - m)) + m - logsumexp(x), log1p(-p))

The shift m, the greatest of the others, is a free number: its slope is 0, since it cancels. It is a hyper-parameter
while the derivative is taken, and gets its value afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from lossc.compiler.ir import HALF, ZERO, Expr, node, param, postorder, rebuild, substitute
from lossc.compiler.loss import Loss, Parameter, varies
from lossc.compiler.ops import call


@dataclass(frozen=True, slots=True)
class Opened:
    """The loss to differentiate, and what the shifts in the derivative stand for."""

    loss: Loss
    shifts: Mapping[Expr, Expr]

    def closed(self, derivative: Expr) -> Expr:
        """A derivative with the shifts at their values."""
        return substitute(derivative, dict(self.shifts)) if self.shifts else derivative


def opened(loss: Loss) -> Opened:
    """The loss with every log(1 - softmax(x)) taken apart; the loss itself where there is none."""
    shifts: dict[Expr, Expr] = {}
    done: dict[Expr, Expr] = {}
    taken = {p.name for p in loss.params}
    for here in postorder(loss.body):
        made = rebuild(here, (done[a] for a in here.args))
        if made.op == "log_cosoftmax" and varies(made.args[0]):
            x = made.args[0]
            likely = call("gt", call("softmax", x), HALF)
            shift = param(_fresh(f"shift_{len(shifts)}", taken))
            least = -call("max_c", -x)  # which is one of the others
            shifts[shift] = call("max_c", node("where", likely, least, x))
            others = call("sum_c", node("where", likely, ZERO, call("exp", x - shift)))
            far = call("log", others) + (shift - call("logsumexp_c", x))
            made = node("where", likely, far, call("log1p", -call("softmax", x)))
        done[here] = made
    if not shifts:
        return Opened(loss, shifts)
    params = (*loss.params, *(Parameter(s.name, "real") for s in shifts))
    return Opened(replace(loss, body=done[loss.body], params=params), shifts)


def _fresh(name: str, taken: set[str]) -> str:
    """The name, or one like it that no hyper-parameter has."""
    while name in taken:
        name += "_"
    return name
