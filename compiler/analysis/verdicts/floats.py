"""Where a formula, computed as it is written, stops being finite: its value, its gradient, what autograd makes of it.

A proof bounds every intermediate value and every local derivative on the box: if all are finite numbers of the dtype,
so is what reverse mode multiplies and adds up, whichever branch is taken. A refutation is a point at which the formula,
or reverse mode through it, gives NaN or an infinity: found in an emulation of the dtype, and replayed in torch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from functools import cached_property

from lossc.compiler import ops
from lossc.compiler.analysis.verdicts.float_ranges import Safety
from lossc.compiler.analysis.verdicts.ranges import Box, Ranges, split
from lossc.compiler.analysis.verdicts.repairs import repair_of
from lossc.compiler.analysis.verdicts.reverse import as_run, backward, local_partials
from lossc.compiler.analysis.verdicts.signs import true
from lossc.compiler.analysis.verdicts.subject import ROW, ROW_F, Case, Subject
from lossc.compiler.analysis.verdicts.verdict import (
    GRADIENT,
    HESSIAN,
    PROVED,
    VALUE,
    Entry,
    Verdict,
    Witness,
    at,
    proved,
    refuted,
    unknown,
)  # fmt: skip
from lossc.compiler.errors import LosscError
from lossc.compiler.float32 import evaluate_in
from lossc.compiler.formats import FORMATS
from lossc.compiler.interval import Interval, hull, point
from lossc.compiler.ir import LEAF_OPS, Expr, F, Y, postorder, substitute
from lossc.compiler.printing import to_text
from lossc.compiler.sampling import Points

BUDGET = 60
"""Boxes that a proof may take."""
LARGEST = 20_000
"""Nodes of the graph of a derivative that is still looked at."""
_SPECIALS = (0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 1e-30, 1e-12, 1e-7, -1e-7, 1e-3, 0.1, 20.0, -20.0, 90.0, -90.0)
_WORDS = {VALUE: "the value", GRADIENT: "the gradient", HESSIAN: "the second derivative"}


class Floats:
    """The formula of a subject in one dtype."""

    def __init__(self, subject: Subject) -> None:
        self.subject, self.form = subject, FORMATS[subject.dtype]
        self.top = float(self.form.largest)
        self.is_row = subject.kind == ROW

    # -- what is judged ------------------------------------------------------------------------------------------------

    @cached_property
    def body(self) -> Expr:
        """The formula as written, of one prediction, or of a row in the values of its groups."""
        return as_run(self.subject.spread if self.is_row else self.subject.loss.body)

    @cached_property
    def leaf(self) -> Expr:
        """The prediction that gradients are taken by."""
        return ROW_F[0] if self.is_row else F

    @cached_property
    def gradient(self) -> Expr:
        """Reverse mode through the formula, nothing simplified. Raises LosscError."""
        return backward(self.body, self.leaf)

    @cached_property
    def hessian(self) -> Expr:
        """Reverse mode through that."""
        return backward(self.gradient, self.leaf)

    @cached_property
    def boxes(self) -> tuple[Box, ...]:
        """The box for each kind of target."""
        box = self.subject.box
        targets = {"onehot": (0.0, 1.0), "binary": (0.0, 1.0), "sign": (-1.0, 1.0)}.get(self.subject.loss.y)
        if targets is None:
            return ({F: box[F], Y: box[Y]},)
        return tuple({F: box[F], Y: point(t)} for t in targets)

    # -- decisions -----------------------------------------------------------------------------------------------------

    def value(self) -> Verdict:
        """The value is finite on the box."""
        if self._is_safe(self.body, with_partials=False):
            return proved("every intermediate value is finite, by intervals")
        return self._search(VALUE) or unknown("intervals do not bound every intermediate value; no failure was found")

    def autograd_gradient(self) -> Verdict:
        """Reverse mode gives a finite gradient on the box."""
        return self._autograd_gradient

    def autograd_hessian(self) -> Verdict:
        """Reverse mode twice gives a finite second derivative on the box."""
        return self._autograd_hessian

    @cached_property
    def _autograd_gradient(self) -> Verdict:
        if self._is_safe(self.body, with_partials=True):
            return proved("every local derivative is finite, by intervals")
        return self._search(GRADIENT) or unknown("intervals do not bound every local derivative; no failure was found")

    @cached_property
    def _autograd_hessian(self) -> Verdict:
        if self._is_hessian_safe():
            return proved("every local derivative of the gradient is finite, by intervals")
        if self._too_large(self.gradient) or self._too_large(self.hessian):
            return unknown("the graph of the gradient is too large")
        return self._search(HESSIAN) or unknown(
            "intervals do not bound the graph of the gradient; no failure was found"
        )

    @staticmethod
    def _too_large(root: Expr) -> bool:
        return len(postorder(root)) > LARGEST

    def gradient_value(self, order: int = 1) -> Verdict:
        """The derivative itself (not what autograd makes of it) is finite on the box, its ends included."""
        quantity = GRADIENT if order == 1 else HESSIAN
        autograd = self.autograd_gradient() if order == 1 else self.autograd_hessian()
        if autograd.status == PROVED:
            return proved("autograd's is: every local derivative is finite")
        try:
            if self.is_row:
                if order == 1 and self._row_is_bounded(self.subject.slopes.body):
                    return proved("the closed form is bounded on the box, by intervals")
            elif all(self._derivative_is_bounded(c, order) for c in self.subject.cases):
                return proved("the closed form is bounded on the box, by intervals")
            found = None if self._too_large(self.hessian) else self._search(quantity, diverging=order)
        except LosscError as problem:
            return unknown(str(problem))
        return found or unknown("intervals do not bound the closed form; no point was found at which it diverges")

    def _box_of(self, case: Case) -> Box:
        """The box in the variables of a case: one that stands for all targets has a residual, or a margin, for f."""
        f, y = self.subject.box[F], self.subject.box[Y]
        if case.every and self.subject.distance is not None:
            return {F: Interval(f.lo - y.hi, f.hi - y.lo), Y: y}
        if case.every:
            return {F: Interval(min(f.lo, -f.hi), max(f.hi, -f.lo)), Y: y}
        return {F: f, Y: y}

    def _row_is_bounded(self, root: Expr) -> bool:
        boxes = self.subject.pair_boxes(self.subject.box[F])
        if not all(r.total for r in Ranges(self.subject.loss.body, self.subject.classes).pair(*boxes)):
            return False
        pair = Ranges(root, self.subject.classes).pair(*boxes)
        return all(r.total and max(abs(r.lo), abs(r.hi)) < self.top for r in pair)

    def _derivative_is_bounded(self, case: Case, order: int) -> bool:
        """Whether the loss has a value on the box, and a closed form that is bounded."""
        box = self._box_of(case)
        has_value = Ranges(case.body)
        return _everywhere(lambda here: has_value(here).total, box) and self._is_bounded(
            case.slope if order == 1 else case.curve, box
        )

    def _is_bounded(self, root: Expr, box: Box) -> bool:
        ranges = Ranges(root)

        def small(here: Box) -> bool:
            r = ranges(here)
            return r.total and max(abs(r.lo), abs(r.hi)) < self.top

        return _everywhere(small, box)

    # -- proofs --------------------------------------------------------------------------------------------------------

    def _is_safe(self, root: Expr, with_partials: bool) -> bool:
        """Every intermediate value (and local derivative) on every box is a finite number of the dtype."""
        if self.is_row:
            safety = Safety(self.subject.loss.body, self.form, with_partials, self.subject.classes)
            return safety.holds(*self.subject.pair_boxes(self.subject.box[F]))
        safety = Safety(root, self.form, with_partials)
        return all(_everywhere(safety.holds, box) for box in self.boxes)

    def _is_hessian_safe(self) -> bool:
        if not self.is_row:
            if self._too_large(self.gradient) or not self._is_safe(self.body, with_partials=True):
                return False
            return self._is_safe(self.gradient, with_partials=True)
        tame = all(
            n.op in LEAF_OPS or n.op in _TAME or (n.op == "div" and n.args[1].op == "const")
            for n in postorder(self.subject.loss.body)
        )
        return tame and self._is_safe(self.subject.loss.body, with_partials=True) and self._row_adjoint() < self.top

    def _row_adjoint(self) -> float:
        """A bound of what the backward pass of the backward pass of a row of tame operators adds up."""
        safety = Safety(self.subject.loss.body, self.form, True, self.subject.classes)
        boxes = self.subject.pair_boxes(self.subject.box[F])
        known = {n: hull(r) for n, r in zip(safety.ranges.order, safety.ranges.all(*boxes), strict=True)}
        return safety.greatest_adjoint(known) ** 2 * self.subject.classes

    # -- witnesses -----------------------------------------------------------------------------------------------------

    def _search(self, quantity: str, diverging: int = 0) -> Verdict | None:
        """A point at which what is computed in the dtype is not finite; with `diverging`, nor is the derivative."""
        root = {VALUE: lambda: self.body, GRADIENT: lambda: self.gradient, HESSIAN: lambda: self.hessian}[quantity]()
        points = self._points()
        (values,) = evaluate_in(self.form, [root], points)
        found = values.reshape(len(points), -1)[:, 0].tolist()
        tried = 0
        for i in self._plainest(points, quantity):
            value = found[i]
            if math.isfinite(value):
                continue
            if diverging:
                tried += 1
                if tried > _TRIED or not self._diverges(points, i, diverging):
                    continue
            return self._verdict(points, i, value, quantity)
        return None

    def _plainest(self, points: Points, quantity: str) -> list[int]:
        """The points in their order; of a derivative, those first at which the loss itself has a value."""
        if quantity == VALUE:
            return list(range(len(points)))
        (values,) = evaluate_in(self.form, [self.body], points)
        finite = [math.isfinite(v) for v in values.reshape(len(points), -1)[:, 0].tolist()]
        return sorted(range(len(points)), key=lambda i: not finite[i])

    def _verdict(self, points: Points, i: int, value: float, quantity: str) -> Verdict:
        here = self._here(points, i)
        witness = Witness((here,), quantity, (value,), "not finite", dtype=self.form.name)
        fault, repair, what = self._culprit(points, i, quantity)
        return refuted(f"{_WORDS[quantity]} is {value} at {at(here)}{what}", witness, fault=fault, repair=repair)

    def _culprit(self, points: Points, i: int, quantity: str) -> tuple[str, str, str]:
        """The first operation whose value, or else local derivative, is not finite; what would help; and in words."""
        one = Points({k: (v[i],) for k, v in points.columns.items()}, (points.kinds[i],))
        order = [n for n in postorder(self.body) if n.op not in LEAF_OPS and ops.kind_of(n) == ops.REAL_KIND]
        for here, value in zip(order, evaluate_in(self.form, order, one), strict=True):
            if not math.isfinite(float(value.reshape(-1)[0])):
                return self._text(here), repair_of(here, self.subject.loss, VALUE), ""
        local = [(n, p) for (n, _), p in local_partials(self.body, self.leaf).items()]
        if local and quantity != VALUE:
            values = evaluate_in(self.form, [p for _, p in local], one)
            for (here, _), value in zip(local, values, strict=True):
                if not math.isfinite(float(value.reshape(-1)[0])):
                    text = self._text(here)
                    repair = repair_of(here, self.subject.loss, quantity)
                    return text, repair, f": the slope of {text} is infinite there"
        return "", "", ""

    def _text(self, here: Expr) -> str:
        return to_text(substitute(here, dict.fromkeys(ROW_F, F)) if self.is_row else here)

    def _here(self, points: Points, i: int) -> dict[str, Entry]:
        if self.is_row:
            row = [_number(points.columns[leaf][i]) for leaf in self.subject.row_leaves]
            return {"y": self.subject.row_targets, "f": self.subject.row_of(row)}
        return {"y": _number(points.columns[Y][i]), "f": _number(points.columns[F][i])}

    def _diverges(self, points: Points, i: int, order: int) -> bool:
        """Whether the true derivative grows beyond all bounds as f comes close to the point."""
        env = {leaf: _number(column[i]) for leaf, column in points.columns.items()}
        root = self.gradient if order == 1 else self.hessian
        box = self.subject.box[F]
        there = env[self.leaf]
        for sign in (1, -1):
            if not box.lo <= there + sign * 1e-9 <= box.hi:
                continue
            sizes = [
                abs(true(root, {**env, self.leaf: Fraction(there) + sign * Fraction(1, 10**k)})) for k in (20, 40, 80)
            ]
            if any(math.isnan(s) for s in sizes):
                continue
            if (sizes[1] > 10 * sizes[0] and sizes[2] > 10 * sizes[1]) or all(s > self.top for s in sizes):
                return True
        return False

    def _points(self) -> Points:
        """Special values of y and f in the box."""
        box = self.subject.box
        if self.is_row:
            return self._rows()
        targets = {"onehot": (1.0, 0.0), "binary": (1.0, 0.0), "sign": (1.0, -1.0)}.get(self.subject.loss.y)
        fs = _inside(box[F])
        ys = list(targets) if targets is not None else _inside(box[Y])
        if self.subject.loss.y == "count":
            ys = [y for y in ys if y == int(y)]
        pairs = [*itertools.product(ys, fs), *((y, y) for y in ys if box[F].lo <= y <= box[F].hi)]
        pairs.sort(key=lambda p: (abs(p[0]) > 1, abs(p[1]) > 20))
        return Points({Y: tuple(p[0] for p in pairs), F: tuple(p[1] for p in pairs)}, ("",) * len(pairs))

    def _rows(self) -> Points:
        """Rows of special values."""
        box, leaves, weights = self.subject.box[F], self.subject.row_leaves, self.subject.row_weights
        if self.subject.loss.f == "prob":
            shares = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.5, 0.5, 0.0), (0.0, 0.5, 0.5), (1 / 3,) * 3]
            fitting = [r[: len(weights)] for r in shares if not any(r[len(weights) :])]
            rows = [tuple(s / w for s, w in zip(r, weights, strict=True)) for r in fitting]
        else:
            ends = [v for v in (box.lo, box.hi, 0.0, 0.5) if box.lo <= v <= box.hi]
            rows = list(itertools.product(ends, repeat=len(leaves)))
        return Points({leaf: tuple(r[k] for r in rows) for k, leaf in enumerate(leaves)}, ("",) * len(rows))


_TAME = frozenset({"add", "sub", "neg", "mul", "sum_c", "mean_c", "logsumexp_c", "softmax", "log_softmax", "softplus",
                   "sigmoid", "relu", "max_c", "max", "num_classes", "logsigmoid", "square"})  # fmt: skip
"""Operators whose local second derivatives are bounded wherever the operands are."""
_TRIED = 40
"""Points at which it is looked at whether a derivative diverges."""


def _everywhere(holds: Callable[[Box], bool], box: Box) -> bool:
    """Whether something holds on a box, or on all parts of it, after a few cuts."""
    todo, seen = [box], 0
    while todo:
        here = todo.pop()
        seen += 1
        if holds(here):
            continue
        halves = split(here)
        if halves is None or seen > BUDGET:
            return False
        todo += halves
    return True


def _number(value: object) -> float:
    assert isinstance(value, float)
    return value


def _inside(box: Interval) -> list[float]:
    found = dict.fromkeys(v for v in (*_SPECIALS, box.lo, box.hi, 1 - 2.0**-24) if box.lo <= v <= box.hi)
    return list(found)
