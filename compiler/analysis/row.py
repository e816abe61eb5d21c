"""One row of predictions: a target, one other class that is looked at, and the rest; and the errors that it sends back.

For a one-hot target every expression of a classification loss has three values: at the target, at the class that is
looked at, and at each of the C - 2 others, if those have equal predictions. So the loss is a function of three numbers,
whose slopes are the thesis's δ = -∂L/∂f (section 4.4.2, eq. 4.8). Labels that are judged one by one (y: binary, sign)
are a row of one positive and one negative label in the same way.

Through the softmax, f_i = exp(z_i)/Σ_k exp(z_k), the error of the score z_i is

    -∂L/∂z_i = f_i*(δ_i - Σ_k f_k*δ_k)

which, with a prediction p of the target and q of each other class, is p*(1 - p)*D at the target and -p*q*D at each
other class, for the difference D of the two δ: they sum to 0. Through the sigmoid it is f*(1 - f)*δ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lossc.compiler import ops
from lossc.compiler.analysis.asymptotics import EPSILON
from lossc.compiler.errors import UsageError
from lossc.compiler.interval import TINY, Interval
from lossc.compiler.ir import HALF, LEAF_OPS, ONE, ZERO, Expr, F, Y, const, fold, param, substitute
from lossc.compiler.loss import CLASSWISE, SIGMOID, SOFTMAX, Loss, varies
from lossc.compiler.ops import call
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.passes.differentiate import derivative, plus, times
from lossc.compiler.passes.simplex import CLASSES, SimplexFacts
from lossc.compiler.roles import ROLES

T, J, R = param("?t"), param("?j"), param("?r")
"""The prediction at the target, at the class that is looked at, and at each of the others."""
LEAVES = (T, J, R)
SCORES = "scores"
"""The link of losses that are given scores: the softmax, or the sigmoid, is their own business."""

Three = tuple[Expr, Expr, Expr]


@dataclass(frozen=True)
class Point:
    """Where a row is looked at: the predictions at the target and at the others, and a sentence."""

    key: str
    name: str
    target: Expr
    other: Expr


@dataclass(frozen=True)
class Row:
    """The errors of a loss on a row, in `LEAVES`, C and hyper-parameters.

    classes    C, or its value
    link       "softmax" or "sigmoid" where f is a probability, else "scores"
    labels     whether the two outputs are labels of their own (positive, negative), rather than classes of one row
    body       the loss of the row
    target     δ at the target: -∂L/∂f there
    other      δ at the class that is looked at
    """

    loss: Loss
    classes: Expr
    link: str
    labels: bool
    facts: SimplexFacts
    body: Expr
    target: Expr
    other: Expr

    def points(self) -> tuple[Point, Point]:
        """The null epoch (eq. 4.11) and the approach to zero training error (eq. 4.12)."""
        p, q = ONE - (self.classes - 1) * EPSILON, EPSILON
        start = ONE / self.classes
        if self.labels:
            p, start = ONE - EPSILON, HALF
        null, end = (start, start), (p, q)
        if self.link == SCORES:
            null, end = (ZERO, ZERO), (call("log", p), call("log", q))
            if self.labels:
                score = call("log", p / q)
                end = (score, -score)
            else:
                null = (call("log", start), call("log", start))
        if self.classes is not CLASSES:
            null, end = ((canonical_expr(t, self.facts), canonical_expr(j, self.facts)) for t, j in (null, end))
        return Point("null", "null epoch", *null), Point("end", "zero training error", *end)

    def errors(self, at: Point) -> tuple[Expr, Expr]:
        """δ at the target and at another class, at a point."""
        there = {T: at.target, J: at.other, R: at.other}
        return substitute(self.target, there), substitute(self.other, there)

    def score_errors(self, at: Point) -> tuple[Expr, Expr]:
        """The errors of the scores, at a point: -∂L/∂z at the target and at another class."""
        target, other = self.errors(at)
        if self.link == SCORES:
            return target, other
        if self.labels:
            return at.target * (1 - at.target) * target, at.other * (1 - at.other) * other
        gap = target - other
        return at.target * (1 - at.target) * gap, -at.target * at.other * gap


def row_of(loss: Loss, num_classes: int | None = None) -> Row:
    """The errors of a classification loss. Raises UsageError (L206) for any other loss."""
    classes = CLASSES if num_classes is None else const(num_classes)
    loss = loss.with_body(substitute(loss.body, {CLASSES: classes}))
    labels = _labels(loss)
    link = loss.link if loss.link in (SOFTMAX, SIGMOID) else SCORES
    inside = Interval(TINY, 1.0) if loss.f == "prob" else ROLES[loss.f].range
    facts = SimplexFacts(loss, {**dict.fromkeys(LEAVES, inside), EPSILON: Interval(TINY, 0.5)})
    spread = _Spread(loss, facts, classes)
    body = canonical_expr(spread.total(), facts)
    target, other = (canonical_expr(-spread.slope(body, leaf), facts) for leaf in (T, J))
    body, target, other = (_filled(x, spread.maxima) for x in (body, target, other))
    return Row(loss, classes, link, labels, facts, body, target, other)


def _labels(loss: Loss) -> bool:
    """Whether labels are judged one by one; UsageError where y or f are not those of a classification."""
    if loss.f not in ("prob", "logit", "real"):
        raise _unsuited(f"f is `{loss.f}`", loss)
    if loss.layout == CLASSWISE and (loss.y in ("onehot", "prob") or loss.link == SOFTMAX):
        return False
    if loss.y in ("binary", "sign"):
        return True
    raise _unsuited(f"y is `{loss.y}`", loss)


def _unsuited(what: str, loss: Loss) -> UsageError:
    names = loss.y == "real" and loss.f == "real"
    return UsageError(
        "L206", f"`{loss.name}` is no classification loss: {what}",
        expected="y: onehot (or binary, sign) and f: prob (or logit, real)",
        hint="for a formula in probabilities, --y onehot --f prob" if names else "",
    )  # fmt: skip


def _filled(root: Expr, maxima: Mapping[Expr, Three]) -> Expr:
    for leaf, (t, j, r) in reversed(list(maxima.items())):
        root = substitute(root, {leaf: call("max", t, call("max", j, r))})
    return root


class _Spread:
    """Every node at the target, at the class that is looked at, and at the others."""

    def __init__(self, loss: Loss, facts: SimplexFacts, classes: Expr) -> None:
        self.loss, self.facts, self.classes = loss, facts, classes
        self.counts: Three = (ONE, ONE, canonical_expr(classes - 2, facts))
        self.no_target = const(-1) if loss.y == "sign" else ZERO
        self.maxima: dict[Expr, Three] = {}
        """A leaf for the greatest of the three, whose slope is shared by all that are the greatest."""

    def total(self) -> Expr:
        """The loss of the row."""
        t, j, r = fold(self.loss.body, self._visit)
        if self.loss.layout != CLASSWISE:
            return t + j
        return self._sum((t, j, r)) if varies(self.loss.body) else t

    def slope(self, body: Expr, leaf: Expr) -> Expr:
        """∂body/∂leaf, through the maxima too."""
        columns: dict[Expr, Expr] = {}

        def whole(root: Expr) -> Expr:
            out = derivative(root, leaf)
            for m, column in columns.items():
                out = plus(out, times(derivative(root, m), column))
            return out

        for m, values in self.maxima.items():
            at_top = [call("where", call("ge", x, m), 1, 0) for x in values]
            shares = [times(n, w) for n, w in zip(self.counts, at_top, strict=True)]
            moved = [times(s, whole(x)) for s, x in zip(shares, values, strict=True)]
            columns[m] = _added(moved) / _added(shares)
        return whole(body)

    def _visit(self, here: Expr, below: list[Three]) -> Three:
        if here is Y:
            return ONE, self.no_target, self.no_target
        if here is F:
            return LEAVES
        axis = "" if here.op in LEAF_OPS else ops.record(here).axis
        if axis in (ops.REDUCE, ops.MAP):
            return self._along(here.op, below[0])
        t, j, r = (canonical_expr(_rebuilt(here, [b[i] for b in below]), self.facts) for i in range(3))
        return t, j, r

    def _along(self, op: str, x: Three) -> Three:
        """A reduction or map over the classes, written out."""
        if op in ("sum_c", "mean_c"):
            total = self._sum(x)
            return _same(total if op == "sum_c" else total / self.classes)
        if op == "max_c":
            leaf = param(f"?max{len(self.maxima)}")
            self.maxima[leaf] = x
            return _same(leaf)
        t, j, r = (call("exp", v) for v in x)
        total = self._sum((t, j, r))
        if op == "logsumexp_c":
            return _same(call("log", total))
        if op == "log_softmax":
            return x[0] - call("log", total), x[1] - call("log", total), x[2] - call("log", total)
        t, j, r = t / total, j / total, r / total
        if op == "softmax":
            return t, j, r
        if op == "cosoftmax":
            return 1 - t, 1 - j, 1 - r
        return call("log", 1 - t), call("log", 1 - j), call("log", 1 - r)

    def _sum(self, x: Three) -> Expr:
        return _added([times(n, v) for n, v in zip(self.counts, x, strict=True)])


def _rebuilt(here: Expr, args: list[Expr]) -> Expr:
    return call(here.op, *args) if here.args else here


def _same(x: Expr) -> Three:
    return x, x, x


def _added(terms: list[Expr]) -> Expr:
    out = ZERO
    for term in terms:
        out = plus(out, term)
    return out
