"""A loss of a row of any number of classes as a function of a few bounded unknowns.

The target's prediction is one of them, that of any other class another; the greatest of all others, their log-sum-exp
and their sums are unknowns of their own, within the bounds that follow from C. What holds for all values of these holds
for every row.
"""

from __future__ import annotations

import math

from lossc.compiler import interval as iv
from lossc.compiler.analysis.verdicts.ranges import Box, Ranges
from lossc.compiler.analysis.verdicts.rows import Rows
from lossc.compiler.facts import Facts
from lossc.compiler.interval import Interval
from lossc.compiler.ir import LEAF_OPS, ONE, ZERO, Expr, F, Y, fold, node, param, postorder, rebuild
from lossc.compiler.loss import varies
from lossc.compiler.ops import MAP, REDUCE, call, record
from lossc.compiler.passes.canonicalize import canonical_expr

_T, _O = param("?target"), param("?other")


class _Form:
    """The body at the target and at another class, in unknowns with ranges."""

    def __init__(self, rows: Rows) -> None:
        subject = rows.subject
        self.classes = subject.classes
        self.facts = Facts(rows.loss)
        body = node("sum_c", rows.loss.body) if varies(rows.loss.body) else rows.loss.body
        self.ranges = subject.pair(body)
        known = self.ranges.all(*subject.pair_boxes())
        self.known = dict(zip(self.ranges.order, known, strict=True))
        domain = subject.pair_boxes()[0][F]
        self.box: dict[Expr, Interval] = {_T: domain, _O: domain}
        done: dict[Expr, tuple[Expr, Expr]] = {}
        for here in postorder(body):
            done[here] = self._at(here, [done[a] for a in here.args])
        self.target = done[body][0]

    def _at(self, here: Expr, args: list[tuple[Expr, Expr]]) -> tuple[Expr, Expr]:
        if here is F:
            return _T, _O
        if here is Y:
            return ONE, ZERO
        if here.op in LEAF_OPS or not here.args:
            return here, here
        kind = record(here).axis
        if kind in (REDUCE, MAP):
            return self._along(here, args[0])
        return tuple(self._plain(rebuild(here, [a[i] for a in args])) for i in (0, 1))  # type: ignore[return-value]

    def _plain(self, root: Expr) -> Expr:
        return canonical_expr(root, self.facts)

    def _unknown(self, where: Interval) -> Expr:
        name = param(f"?unknown{len(self.box)}")
        self.box[name] = where
        return name

    def _along(self, here: Expr, x: tuple[Expr, Expr]) -> tuple[Expr, Expr]:
        other = self.known[here.args[0]][1]
        rest = iv.point(float(self.classes - 1))
        if here.op in ("sum_c", "mean_c"):
            total = x[0] if x[1] is ZERO else x[0] + self._unknown(iv.mul(rest, other))
            total = self._plain(total if here.op == "sum_c" else total / self.classes)
            return total, total
        if here.op == "max_c":
            top = call("max", x[0], self._unknown(other))
            return top, top
        spare = math.log(self.classes - 1)
        shifted = iv.add(other, Interval(iv.down(spare, 4), iv.up(spare, 4)))
        every = call("logaddexp", x[0], self._unknown(shifted))
        if here.op == "logsumexp_c":
            return every, every
        if here.op == "log_softmax":
            return x[0] - every, x[1] - every
        target, elsewhere = self.known[here]
        return self._unknown(target), self._unknown(elsewhere)


def least_value(rows: Rows) -> float:
    """A lower bound of the loss of a row of C classes; for one-hot targets."""
    form = _Form(rows)
    inside = frozenset({_T, _O}) if rows.loss.f == "prob" else frozenset[Expr]()
    facts = Facts(rows.loss)
    for leaf, r in form.box.items():
        facts._done[leaf] = r
    return _low(pushed(form.target, facts), form.box, inside)


def _low(root: Expr, box: Box, inside: frozenset[Expr]) -> float:
    return Ranges(root, None, inside)(box).lo


def pushed(root: Expr, facts: Facts) -> Expr:
    """max(a, b) - c as max(a - c, b - c), and so for log-sum-exp: what is common then cancels."""

    def visit(here: Expr, args: list[Expr]) -> Expr:
        if here.op == "sub" and args[0].op in ("max", "logaddexp"):
            inner = args[0]
            return node(inner.op, *(visit(node("sub", a, args[1]), [a, args[1]]) for a in inner.args))
        made = rebuild(here, args)
        return canonical_expr(made, facts) if here.op in ("add", "sub", "neg") else made

    return fold(root, visit)
