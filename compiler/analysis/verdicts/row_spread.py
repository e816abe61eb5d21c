"""A loss of a row as a function of a few numbers, each of which stands for one class or for many equal ones.

A row with one value at the target, one at another class and one at all the rest has three numbers, whatever C is: sums
count the rest (C - 2) times, and a log-sum-exp adds log(C - 2) to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lossc.compiler import ops
from lossc.compiler.ir import Expr, const, postorder
from lossc.compiler.loss import Loss, varies
from lossc.compiler.ops import call


def spread(loss: Loss, leaves: Mapping[Expr, Sequence[Expr]], weights: Sequence[int]) -> Expr:
    """The loss of one row: y and f are given for each group of classes, `weights` are the sizes of the groups."""
    done: dict[Expr, Sequence[Expr]] = {}
    for here in postorder(loss.body):
        if here in leaves:
            done[here] = leaves[here]
        elif not here.args:
            done[here] = (here,) * len(weights)
        elif ops.record(here).axis in (ops.REDUCE, ops.MAP):
            done[here] = _along(here.op, done[here.args[0]], weights)
        else:
            columns = [done[a] for a in here.args]
            done[here] = tuple(call(here.op, *(c[i] for c in columns)) for i in range(len(weights)))
    values = done[loss.body]
    return _sum(values, weights) if varies(loss.body) else values[0]


def _sum(x: Sequence[Expr], weights: Sequence[int]) -> Expr:
    terms = [v if times == 1 else times * v for v, times in zip(x, weights, strict=True) if times]
    out = terms[0]
    for term in terms[1:]:
        out = out + term
    return out


def _log_sum(x: Sequence[Expr], weights: Sequence[int]) -> Expr:
    """log(sum of exp(x)) of the groups that are not empty."""
    terms = [v if times == 1 else v + call("log", const(times)) for v, times in zip(x, weights, strict=True) if times]
    out = terms[-1]
    for term in reversed(terms[:-1]):
        out = call("logaddexp", term, out)
    return out


def _along(op: str, x: Sequence[Expr], weights: Sequence[int]) -> Sequence[Expr]:
    if op in ("sum_c", "mean_c"):
        total = _sum(x, weights)
        return (total if op == "sum_c" else total / sum(weights),) * len(x)
    if op == "max_c":
        top = x[-1]
        for v in reversed(x[:-1]):
            top = call("max", v, top)
        return (top,) * len(x)
    every = _log_sum(x, weights)
    if op == "logsumexp_c":
        return (every,) * len(x)
    if op in ("log_softmax", "softmax"):
        logs = [v - every for v in x]
        return logs if op == "log_softmax" else [call("exp", v) for v in logs]
    rest = [_log_sum(x, [w - (i == k) for i, w in enumerate(weights)]) - every for k in range(len(x))]
    return rest if op == "log_cosoftmax" else [call("exp", v) for v in rest]
