"""Bounds of what a formula computes in a dtype: intervals in which every operation is rounded outwards.

A result of an operator on numbers of the dtype lies within the exact bounds, rounded: to the next number of the dtype
for what IEEE arithmetic rounds once, and by a few units more for functions. What may underflow includes 0.
"""

from __future__ import annotations

import math

from lossc.compiler import interval as iv
from lossc.compiler import ops
from lossc.compiler.analysis.verdicts.ranges import Box, Pair, Ranges, Step
from lossc.compiler.analysis.verdicts.reverse import live_nodes, local_partials, partials
from lossc.compiler.facts import constant_range
from lossc.compiler.formats import Format
from lossc.compiler.interval import INF, Interval, hull
from lossc.compiler.ir import CONST, LEAF_OPS, Expr, F, node, postorder

_ROUNDED_ONCE = frozenset({"add", "sub", "mul", "div", "neg", "abs", "square", "sqrt", "relu", "max", "min", "clamp",
                           "where", "sign", "heaviside", "max_c"})  # fmt: skip
_SLACK = 4
"""Units in the last place by which a function may be off."""
_UNDERFLOW = 1e-300


def outwards(x: Interval, form: Format, units: int = 0) -> Interval:
    """The interval with ends of a format, as many units further out; an end beyond its range is infinite."""
    return Interval(-_up(-x.lo, form, units), _up(x.hi, form, units), x.total)


def _up(x: float, form: Format, units: int) -> float:
    """The least number of the format at or above x, and some units more; 0 stays 0."""
    if x == 0 or math.isinf(x):
        return x
    if -_UNDERFLOW < x < 0:  # an open end: what is there rounds to 0
        return 0.0
    _, exponent = math.frexp(x)
    grain = max(exponent - form.digits, form.least - form.digits + 1)
    try:
        top = math.ldexp(math.ceil(math.ldexp(x, -grain)) + units, grain)
    except OverflowError:
        return INF
    if x < 0:
        top = min(top, 0.0)
    return INF if top > float(form.largest) else top


class FloatRanges(Ranges):
    """An expression as a program on intervals, in a format."""

    def __init__(self, root: Expr, form: Format, classes: int | None = None) -> None:
        super().__init__(root, classes)
        self.form = form

    def _leaf(self, step: Step, box: Box) -> Interval:
        return outwards(constant_range(step.node) if step.constant is not None else box[step.node], self.form)

    def _one(self, step: Step, record: ops.OpRecord, args: list[Interval]) -> Interval:
        if step.is_bool:
            return record.interval(*args)
        found = _together(step.node, record.interval(*args), args)
        return outwards(found, self.form, 0 if record.name in _ROUNDED_ONCE else _SLACK)

    def _along(self, record: ops.OpRecord, x: Pair) -> Pair:
        units = (self.classes or 1) + _SLACK if record.name not in _ROUNDED_ONCE else 0
        first, second = super()._along(record, x)
        return outwards(first, self.form, units), outwards(second, self.form, units)


def _together(here: Expr, found: Interval, args: list[Interval]) -> Interval:
    """Sharper where both operands are the same number: x*x >= 0, x - x = 0."""
    if len(here.args) == 2 and here.args[0] is here.args[1]:
        if here.op == "mul":
            return iv.square(args[0])
        if here.op == "sub":
            return Interval(0.0, 0.0, args[0].total)
    if here.op == "div" and here.args[1].op == "sum_c" and here.args[1].args[0] is here.args[0] and args[0].lo >= 0:
        return Interval(0.0, 1.0, found.total)
    return found


class Safety:
    """Whether every number that a formula, and reverse mode through it, computes on a box is finite in a format."""

    def __init__(self, root: Expr, form: Format, with_partials: bool, classes: int | None = None) -> None:
        self.root, self.form, self.classes = root, form, classes
        self.top = float(form.largest)
        self.local = local_partials(root, F) if with_partials and classes is None else {}
        self.with_partials = with_partials
        self.live = live_nodes(root, F)
        self.order = postorder(root)
        self.ranges = FloatRanges(_bundle([root, *self.local.values()]), form, classes)
        self.watched = postorder(root, *self.local.values())

    def holds(self, box: Box, other: Box | None = None) -> bool:
        """Whether it does on this box."""
        found = self.ranges.all(box, other)
        known = {n: hull(found[self.ranges.place[n]]) for n in self.watched}
        if not all(self._finite(known[n]) for n in self.watched if _is_computed(n)):
            return False
        return not self.with_partials or self.greatest_adjoint(known) < self.top

    def _finite(self, r: Interval) -> bool:
        return r.total and max(abs(r.lo), abs(r.hi)) < INF

    def greatest_adjoint(self, known: dict[Expr, Interval]) -> float:
        """A bound of all that reverse mode multiplies and adds up; infinite where a local derivative is not bounded."""
        size: dict[Expr, float] = {self.root: 1.0}
        for here in reversed(self.order):
            bar = size.get(here, 0.0)
            if here.op in LEAF_OPS or bar == 0.0 or here not in self.live:
                continue
            for i, a in enumerate(here.args):
                if a in self.live and ops.kind_of(a) != ops.BOOL_KIND:
                    size[a] = size.get(a, 0.0) + 1.001 * bar * self._slope(here, i, known) * self._spread(here, a)
        return max(size.values())

    def _slope(self, here: Expr, index: int, known: dict[Expr, Interval]) -> float:
        record = ops.record(here)
        if record.axis in (ops.REDUCE, ops.MAP):
            return 1.0 if record.name in _SHARES else INF
        partial = partials(here)[index]
        if partial is None:
            return INF
        r = known[partial] if partial in known else _range_over(partial, known, self.form)
        return max(abs(r.lo), abs(r.hi)) if r.total else INF

    def _spread(self, here: Expr, a: Expr) -> float:
        """How often an operand is used along the class axis: a reduction by every class, operands of a map by all."""
        if self.classes is None:
            return 1.0
        if ops.record(here).axis == ops.MAP:
            return 2.0 * self.classes
        reduced = a.op not in LEAF_OPS and ops.record(a).axis == ops.REDUCE
        return float(self.classes) if reduced and ops.record(here).axis != ops.REDUCE else 1.0


_SHARES = frozenset({"sum_c", "mean_c", "max_c", "logsumexp_c", "softmax", "log_softmax", "cosoftmax"})
"""Along the class axis: local derivatives of 1, 1/C, a share, a probability, or 1 and -1."""


def _is_computed(here: Expr) -> bool:
    return here.op not in LEAF_OPS and ops.kind_of(here) == ops.REAL_KIND


def _bundle(roots: list[Expr]) -> Expr:
    """One expression that has all of them under it."""
    out = roots[0]
    for r in roots[1:]:
        out = node("add", out, r) if ops.kind_of(r) == ops.REAL_KIND else out
    return out


def _range_over(root: Expr, known: dict[Expr, Interval], form: Format) -> Interval:
    """The range of an expression in sub-expressions whose ranges are known."""
    done = dict(known)
    for here in postorder(root):
        if here in done:
            continue
        if here.op in LEAF_OPS:
            done[here] = constant_range(here) if here.op == CONST else iv.REAL
        else:
            record = ops.record(here)
            found = record.interval(*(done[a] for a in here.args))
            done[here] = found if record.gives == ops.BOOL_KIND else outwards(found, form, _SLACK)
    return done[root]
