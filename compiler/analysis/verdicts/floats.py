"""Where a formula, computed as it is written, stops being finite: its value, its gradient, what autograd makes of it.

A proof bounds every intermediate value and every local derivative on the box: if all are finite numbers of the dtype,
so is what reverse mode multiplies and adds up, whichever branch is taken. A refutation is a point at which the formula,
or reverse mode through it, gives NaN or an infinity: found in an emulation of the dtype, and replayed in torch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cached_property

from lossc.compiler import interval as iv
from lossc.compiler import ops
from lossc.compiler.analysis.verdicts.ranges import Box, Pair, Ranges, split
from lossc.compiler.analysis.verdicts.repairs import repair_of
from lossc.compiler.analysis.verdicts.study import true
from lossc.compiler.analysis.verdicts.subject import ROW, ROW_CLASSES, ROW_F, ROW_Y, Subject
from lossc.compiler.analysis.verdicts.verdict import (
    GRADIENT,
    HESSIAN,
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
from lossc.compiler.facts import constant_range
from lossc.compiler.float32 import evaluate_in
from lossc.compiler.formats import FORMATS
from lossc.compiler.interval import INF, Interval, hull, point
from lossc.compiler.ir import LEAF_OPS, ONE, ZERO, Expr, F, Y, const, node, postorder, substitute
from lossc.compiler.ops import call
from lossc.compiler.printing import to_text
from lossc.compiler.sampling import Points

BUDGET = 60
"""Boxes that a proof may take."""
_SELECTING = frozenset({"where", "max", "min", "clamp", "relu"})
"""Operators whose backward pass picks, rather than multiplies by 0 or 1."""
_SPECIALS = (0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 1e-30, 1e-12, 1e-7, -1e-7, 1e-3, 0.1, 20.0, -20.0, 90.0, -90.0)


class Floats:
    """The formula of a subject in one dtype."""

    def __init__(self, subject: Subject) -> None:
        self.subject, self.form = subject, FORMATS[subject.dtype]
        self.top = float(self.form.largest)

    # -- what is judged ------------------------------------------------------------------------------------------------

    @cached_property
    def body(self) -> Expr:
        """The formula as written, of one prediction, or of a row of three classes."""
        return self.subject.spread if self.subject.kind == ROW else self.subject.loss.body

    @cached_property
    def leaf(self) -> Expr:
        """The prediction that gradients are taken by."""
        return ROW_F[0] if self.subject.kind == ROW else F

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
        if self.subject.kind == ROW:
            return (dict.fromkeys(ROW_F, box[F]),)
        targets = {"onehot": (0.0, 1.0), "binary": (0.0, 1.0), "sign": (-1.0, 1.0)}.get(self.subject.loss.y)
        if targets is None:
            return ({F: box[F], Y: box[Y]},)
        return tuple({F: box[F], Y: point(t)} for t in targets)

    # -- decisions -----------------------------------------------------------------------------------------------------

    @cached_property
    def _known(self) -> dict[str, Verdict]:
        return {}

    def _once(self, name: str, decide: Callable[[], Verdict]) -> Verdict:
        if name not in self._known:
            self._known[name] = decide()
        return self._known[name]

    def value(self) -> Verdict:
        """The value is finite on the box."""
        if self.subject.kind == ROW:
            if self._row_is_safe(with_partials=False):
                return proved("every intermediate value of a row is finite, by intervals")
        elif self._safe(self.body, False):
            return proved("every intermediate value is finite, by intervals")
        return self._search(self.body, VALUE) or unknown(
            "intervals do not bound every intermediate value; no failure was found"
        )

    def autograd_gradient(self) -> Verdict:
        """Reverse mode gives a finite gradient on the box."""
        return self._once(GRADIENT, self._autograd_gradient)

    def autograd_hessian(self) -> Verdict:
        """Reverse mode twice gives a finite second derivative on the box."""
        return self._once(HESSIAN, self._autograd_hessian)

    def _autograd_gradient(self) -> Verdict:
        if self.subject.kind == ROW:
            if self._row_is_safe(with_partials=True):
                return proved("every local derivative is finite, by intervals")
        elif self._safe(self.body, True):
            return proved("every local derivative is finite, by intervals")
        try:
            found = self._search(self.gradient, GRADIENT)
        except LosscError as problem:
            return unknown(str(problem))
        return found or unknown("intervals do not bound every local derivative; no failure was found")

    def _autograd_hessian(self) -> Verdict:
        try:
            if self.gradient.tree_size > 5000:
                return unknown("the graph of the gradient is too large")
            if self.subject.kind != ROW and self._safe(self.gradient, True):
                return proved("every local derivative of the gradient is finite, by intervals")
            if self.subject.kind == ROW and self._row_is_safe(with_partials=True) and self._row_hessian_is_safe():
                return proved("every local derivative of the gradient is finite, by intervals")
            found = self._search(self.hessian, HESSIAN)
        except LosscError as problem:
            return unknown(str(problem))
        return found or unknown("intervals do not bound the graph of the gradient; no failure was found")

    def gradient_value(self, order: int = 1) -> Verdict:
        """The derivative itself (not what autograd makes of it) is finite on the box, its ends included."""
        quantity = GRADIENT if order == 1 else HESSIAN
        if (self.autograd_gradient() if order == 1 else self.autograd_hessian()).status == "proved":
            return proved("autograd's is: every local derivative is finite")
        try:
            closed = self._closed(order) if self.subject.kind != ROW or order == 1 else []
            if closed and all(self._bounded(root, box) for root, box in closed):
                return proved("the closed form is bounded on the box, by intervals")
            found = self._search(self.gradient if order == 1 else self.hessian, quantity, diverging=order)
        except LosscError as problem:
            return unknown(str(problem))
        return found or unknown("intervals do not bound the closed form; no point was found at which it diverges")

    def _closed(self, order: int) -> list[tuple[Expr, Box]]:
        """The derivative in closed form, case by case."""
        if self.subject.kind == ROW:
            target, _ = self.subject.pair_boxes(self.subject.box[F])
            return [(self.subject.slopes.body, target)]
        out: list[tuple[Expr, Box]] = []
        for case in self.subject.cases:
            root = case.slope if order == 1 else case.curve
            width = self.subject.box[F].hi - self.subject.box[F].lo
            f = Interval(-width, width) if case.every and self.subject.distance is not None else self.subject.box[F]
            out.append((root, {F: f, Y: self.subject.box[Y]}))
        return out

    def _bounded(self, root: Expr, box: Box) -> bool:
        if self.subject.kind == ROW:
            pair = Ranges(root, self.subject.classes).pair(*self.subject.pair_boxes(self.subject.box[F]))
            return all(r.total and max(abs(r.lo), abs(r.hi)) < self.top for r in pair)
        ranges = Ranges(root)
        todo, seen = [box], 0
        while todo:
            here = todo.pop()
            seen += 1
            r = ranges(here)
            if r.total and max(abs(r.lo), abs(r.hi)) < self.top:
                continue
            halves = split(here)
            if halves is None or seen > BUDGET:
                return False
            todo += halves
        return True

    # -- proofs --------------------------------------------------------------------------------------------------------

    def _safe(self, root: Expr, with_partials: bool) -> bool:
        """Every intermediate value (and local derivative) on every box is a finite number of the dtype."""
        try:
            extra = list(_local(root, F).values()) if with_partials else []
        except LosscError:
            return False
        every = _bundle([root, *extra])
        ranges = Ranges(every)
        for box in self.boxes:
            todo, seen = [box], 0
            while todo:
                here = todo.pop()
                seen += 1
                if self._all_finite(ranges.all(here), ranges, root, extra):
                    continue
                halves = split(here)
                if halves is None or seen > BUDGET:
                    return False
                todo += halves
        return True

    def _all_finite(self, known: list[Pair], ranges: Ranges, root: Expr, partials: Sequence[Expr]) -> bool:
        for here in postorder(root, *partials):
            r = hull(known[ranges.place[here]])
            if here.op in LEAF_OPS or ops.kind_of(here) == ops.BOOL_KIND:
                continue
            if not r.total or not max(abs(r.lo), abs(r.hi)) < self.top:
                return False
        return self._adjoints_finite(known, ranges, root) if partials else True

    def _adjoints_finite(self, known: list[Pair], ranges: Ranges, root: Expr) -> bool:
        """Bounds of what reverse mode multiplies and adds up."""
        size: dict[Expr, float] = {root: 1.0}
        live = _live(root, F)
        for here in reversed(postorder(root)):
            bar = size.get(here, 0.0)
            if here.op in LEAF_OPS or bar == 0.0:
                continue
            for a, partial in zip(here.args, _partials(here), strict=True):
                if partial is None or a not in live or ops.kind_of(a) == ops.BOOL_KIND:
                    continue
                r = hull(known[ranges.place[partial]])
                size[a] = size.get(a, 0.0) + bar * max(abs(r.lo), abs(r.hi))
                if not size[a] < self.top:
                    return False
        return True

    def _row_is_safe(self, with_partials: bool) -> bool:
        """As `_safe`, along the class axis, for rows of any length."""
        subject = self.subject
        ranges = subject.pair(subject.loss.body)
        known = ranges.all(*subject.pair_boxes(subject.box[F]))
        for here, pair in zip(ranges.order, known, strict=True):
            r = hull(pair)
            if here.op in LEAF_OPS or ops.kind_of(here) == ops.BOOL_KIND:
                continue
            if not r.total or not max(abs(r.lo), abs(r.hi)) < self.top:
                return False
            if with_partials and not self._row_partials(here, [known[ranges.place[a]] for a in here.args], pair):
                return False
        return True

    def _row_partials(self, here: Expr, args: list[Pair], pair: Pair) -> bool:
        record = ops.record(here)
        if record.name in ("sum_c", "mean_c", "max_c", "logsumexp_c", "softmax", "log_softmax", "cosoftmax"):
            return True  # 1, 1/C, a share, a probability, or 1 and -1
        if record.axis in (ops.REDUCE, ops.MAP):
            return False
        box = {n: hull(p) for n, p in zip(here.args, args, strict=True)} | {here: hull(pair)}
        for a, partial in zip(here.args, _partials(here), strict=True):
            if partial is not None and any(n is F for n in postorder(a)):
                r = _range_over(partial, box)
                if not r.total or not max(abs(r.lo), abs(r.hi)) < self.top:
                    return False
        return True

    def _row_hessian_is_safe(self) -> bool:
        """The local second derivatives along the class axis are bounded where all operators are smooth and tame."""
        tame = {"add", "sub", "neg", "mul", "sum_c", "mean_c", "logsumexp_c", "softmax", "log_softmax", "softplus",
                "sigmoid", "relu", "max_c", "max", "num_classes", "logsigmoid", "square"}  # fmt: skip
        body = self.subject.loss.body
        return all(
            n.op in LEAF_OPS or n.op in tame or (n.op == "div" and n.args[1].op == "const") for n in postorder(body)
        )

    # -- witnesses -----------------------------------------------------------------------------------------------------

    def _search(self, root: Expr, quantity: str, diverging: int = 0) -> Verdict | None:
        """A point at which `root`, computed in the dtype, is not finite; with `diverging`, nor is the derivative."""
        for points in self._points():
            (values,) = evaluate_in(self.form, [root], points)
            for i, value in enumerate(values.reshape(len(points), -1)[:, 0].tolist()):
                if math.isfinite(value) or (diverging and not self._diverges(points, i, diverging)):
                    continue
                return self._verdict(points, i, value, quantity)
        return None

    def _verdict(self, points: Points, i: int, value: float, quantity: str) -> Verdict:
        here = self._here(points, i)
        witness = Witness((here,), quantity, (value,), "not finite", dtype=self.form.name)
        culprit, what = self._culprit(points, i, quantity)
        word = {VALUE: "the value", GRADIENT: "the gradient", HESSIAN: "the second derivative"}[quantity]
        return refuted(f"{word} is {value} at {at(here)}{what}", witness, fault=culprit[0], repair=culprit[1])

    def _culprit(self, points: Points, i: int, quantity: str) -> tuple[tuple[str, str], str]:
        """The first operation whose value, or else local derivative, is not finite; and what would help."""
        one = Points({k: (v[i],) for k, v in points.columns.items()}, (points.kinds[i],))
        order = [n for n in postorder(self.body) if n.op not in LEAF_OPS and ops.kind_of(n) == ops.REAL_KIND]
        for here, value in zip(order, evaluate_in(self.form, order, one), strict=True):
            if not math.isfinite(float(value.reshape(-1)[0])):
                return (self._text(here), repair_of(here, self.subject.loss, VALUE)), ""
        local = [(n, p) for (n, _), p in _local(self.body, self.leaf).items()]
        if local and quantity != VALUE:
            values = evaluate_in(self.form, [p for _, p in local], one)
            for (here, _), value in zip(local, values, strict=True):
                if not math.isfinite(float(value.reshape(-1)[0])):
                    text = self._text(here)
                    return (
                        text,
                        repair_of(here, self.subject.loss, quantity),
                    ), f": the slope of {text} is infinite there"
        return ("", ""), ""

    def _text(self, here: Expr) -> str:
        return to_text(substitute(here, dict.fromkeys(ROW_F, F)) if self.subject.kind == ROW else here)

    def _here(self, points: Points, i: int) -> dict[str, Entry]:
        if self.subject.kind == ROW:
            row = tuple(_number(points.columns[leaf][i]) for leaf in ROW_F)
            low = -1.0 if self.subject.loss.y == "sign" else 0.0
            return {"y": tuple(v or low for v in ROW_Y), "f": row}
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
            if (
                all(math.isfinite(s) or s == INF for s in sizes)
                and sizes[1] > 10 * sizes[0]
                and sizes[2] > 10 * sizes[1]
            ):
                return True
            if all(s > self.top for s in sizes):
                return True
        return False

    def _points(self) -> list[Points]:
        """Special values of y and f in the box."""
        box = self.subject.box
        fs = _inside(box[F])
        if self.subject.kind == ROW:
            ends = (box[F].lo, box[F].hi, 0.0, 0.5)
            rows = [
                r for r in itertools.product(ends, repeat=ROW_CLASSES) if all(box[F].lo <= v <= box[F].hi for v in r)
            ]
            if self.subject.loss.f == "prob":
                rows = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.5, 0.5, 0.0), (0.0, 0.5, 0.5), (1 / 3,) * 3]
            columns: dict[Expr, tuple[float, ...]] = {leaf: tuple(r[k] for r in rows) for k, leaf in enumerate(ROW_F)}
            return [Points(columns, ("",) * len(rows))]
        targets = {"onehot": (1.0, 0.0), "binary": (1.0, 0.0), "sign": (1.0, -1.0)}.get(self.subject.loss.y)
        ys = list(targets) if targets is not None else _inside(box[Y])
        pairs = [(y, f) for y, f in itertools.product(ys, fs)] + [
            (y, y) for y in ys if y in fs or box[F].lo <= y <= box[F].hi
        ]
        pairs.sort(key=lambda p: (abs(p[0]) > 1, abs(p[1]) > 20))
        return [Points({Y: tuple(p[0] for p in pairs), F: tuple(p[1] for p in pairs)}, ("",) * len(pairs))]


def _number(value: object) -> float:
    assert isinstance(value, float)
    return value


def _inside(box: Interval) -> list[float]:
    found = dict.fromkeys(v for v in (*_SPECIALS, box.lo, box.hi, 1 - 2.0**-24) if box.lo <= v <= box.hi)
    return list(found)


# -- reverse mode, as expressions -------------------------------------------------------------------------------------


def _partials(here: Expr) -> tuple[Expr | None, ...]:
    record = ops.record(here)
    if record.partials is None:
        return (None,) * len(here.args)
    return tuple(record.partials(*here.args))


def _local(root: Expr, leaf: Expr) -> dict[tuple[Expr, int], Expr]:
    """The partial derivatives along all paths from the root to a leaf."""
    out = {}
    live = _live(root, leaf)
    for here in postorder(root):
        if here.op not in LEAF_OPS and here in live and ops.kind_of(here) == ops.REAL_KIND:
            for i, partial in enumerate(_partials(here)):
                if partial is not None and here.args[i] in live:
                    out[here, i] = partial
    return out


def _bundle(roots: Sequence[Expr]) -> Expr:
    """One expression that has all of them under it."""
    out = roots[0]
    for r in roots[1:]:
        out = node("add", out, r) if ops.kind_of(r) == ops.REAL_KIND else out
    return out


def _range_over(root: Expr, known: Box) -> Interval:
    """The range of an expression in sub-expressions whose ranges are known."""
    done: dict[Expr, Interval] = dict(known)
    for here in postorder(root):
        if here in done:
            continue
        if here.op in LEAF_OPS:
            done[here] = constant_range(here) if here.op == "const" else iv.REAL
        else:
            done[here] = ops.record(here).interval(*(done[a] for a in here.args))
    return done[root]


def backward(root: Expr, leaf: Expr) -> Expr:
    """∂root/∂leaf as reverse mode computes it: products and sums along every path, nothing simplified.

    Raises LossTypeError where an operator has no derivative.
    """
    bars: dict[Expr, Expr] = {root: ONE}
    live = _live(root, leaf)
    for here in reversed(postorder(root)):
        if here not in bars or here.op in LEAF_OPS or here not in live:
            continue
        for i, (a, partial) in enumerate(zip(here.args, _partials(here), strict=True)):
            if partial is None or a not in live or ops.kind_of(a) == ops.BOOL_KIND:
                continue
            amount = _amount(here, i, bars[here], partial)
            bars[a] = node("add", bars[a], amount) if a in bars else amount
    return bars.get(leaf, ZERO)


def _live(root: Expr, leaf: Expr) -> set[Expr]:
    out = {leaf}
    for here in postorder(root):
        if any(a in out for a in here.args):
            out.add(here)
    return out


def _amount(here: Expr, index: int, bar: Expr, partial: Expr) -> Expr:
    """What one operand gets; an operator that picks a side gives exactly 0 to the other one."""
    if here.op == "where":
        condition = here.args[0]
        return node("where", condition, bar, ZERO) if index == 1 else node("where", condition, ZERO, bar)
    if here.op in _SELECTING:
        return node("where", call("eq", partial, ZERO), ZERO, node("mul", bar, partial))
    if partial is ONE:
        return bar
    return node("neg", bar) if partial is const(-1) else node("mul", bar, partial)
