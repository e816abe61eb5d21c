"""The truth: value and gradient of a loss as it is written, in mpmath, with as many digits as the point needs.

The oracle is the reference interpreter on the formula with its link (f = softmax(z) or sigmoid(z) where the module is
given scores). The gradient with respect to what the module is given is the closed form, which is checked against a
difference at some points, and replaced by differences if it fails; at kinks and where the closed form has no value,
differences from both sides say whether there is a gradient at all.

Two precisions that agree to 25 digits are believed. Where they do not, or where the result is 0 or not finite and
something was rounded away on the way to it (1 - sigmoid(200) is 0 in 60 digits), the digits are raised; what is not
settled by the last level (log(1 - softmax) at a margin of 1e30 would take 1e30 digits) is computed from the compiler's
stable form of the same function, whose rules are proven one by one; what is not settled then is counted as unresolved.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lossc.compiler import ops
from lossc.compiler.errors import LossTypeError
from lossc.compiler.evaluate import evaluate_all
from lossc.compiler.facts import Facts
from lossc.compiler.interval import REAL
from lossc.compiler.ir import LEAF_OPS, Expr, F, Y, const, dag_size, param, postorder, substitute
from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.ops import call
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.passes.differentiate import differentiate
from lossc.compiler.roles import ROLES
from lossc.compiler.targets.options import Options
from lossc.compiler.targets.pipeline import prepare
from lossc.runtime.accuracy.points import Batch, Row
from lossc.runtime.accuracy.wide import Wide

LEVELS = (60, 130, 420, 1700)
"""Decimal digits."""
WORK = {130: 10**9, 420: 2000, 1700: 150}
"""How many functions are computed at that level, at most, for a batch; the points beyond stay unresolved."""
AGREE, NOTHING = -83, -1200
"""Powers of 2: the relative agreement that is believed (25 digits), and what is smaller than any dtype can see."""
STEP, STEP_DIGITS = -1200, 1000
"""Differences are taken with a step of 2^STEP (relative to small inputs), in so many digits."""
DIFFERENCES = 1000
"""How many functions may be computed so, at most, for a batch; the points beyond are unresolved."""
GAMMA = ("lgamma", "digamma", "trigamma")
"""Functions that mpmath cannot give with hundreds of digits in reasonable time: differences have larger steps there."""

UNDEFINED, UNRESOLVED, KINK = "undefined", "unresolved", "kink"

_EXACT = frozenset(
    ("add", "sub", "mul", "neg", "square", "abs", "sign", "heaviside", "relu", "max", "min", "clamp", "where",
     "sum_c", "max_c", "lt", "le", "gt", "ge", "eq", "ne")
)  # fmt: skip
"""Operators that round nothing, given enough digits."""


@dataclass(frozen=True, slots=True)
class Truth:
    """The value, and the slope with respect to each entry of the row that the module is given.

    A number (mpf, perhaps infinite: beyond all dtypes), or one of UNDEFINED, UNRESOLVED and (slopes) KINK.
    """

    value: Any
    slopes: tuple[Any, ...]


class Oracle:
    """The truth about one loss at the defaults of its hyper-parameters."""

    def __init__(self, loss: Loss, *, stable: bool = False) -> None:
        import mpmath

        self.mp: Any = mpmath.mp
        self.wide = Wide(mpmath.mp)
        self.loss = prepare(loss).stable if stable else prepare(loss, Options(literal=True)).guarded
        self.stable = None if stable else Oracle(loss, stable=True)
        self.classwise = loss.layout == CLASSWISE
        self.params = {param(p.name): float(p.default or 0) for p in loss.params}
        self.body = self.loss.body
        self.slope: Expr | None = _closed_form(by_target(self.loss))
        self.kinks = [k for k in _kinks(self.body) if F in postorder(k)]
        self.ties = [n.args[0] for n in postorder(self.body) if n.op == "max_c"]
        gamma = any(n.op in GAMMA for n in postorder(self.body))
        self.levels = LEVELS[:2] if gamma else LEVELS
        self.step, self.step_digits = (-130, LEVELS[1]) if gamma else (STEP, STEP_DIGITS)
        self._nodes = postorder(self.body, *([self.slope] if self.slope else []), *self.kinks, *self.ties)
        self._ends = {op: _ends(op) for op in {n.op for n in self._nodes} - LEAF_OPS}
        self._exact = _exact_nodes(self._nodes)
        self._left = DIFFERENCES
        self._checked: set[int | None] = set()
        self._hard = max(1, sum(n.op not in _EXACT | LEAF_OPS | {"div"} for n in self._nodes))

    @property
    def size(self) -> int:
        """Distinct nodes that one truth costs."""
        return dag_size(self.body, *([self.slope] if self.slope else []))

    def truths(self, batch: Batch) -> list[Truth]:
        """The truth at every point of the batch."""
        self._check_closed_form(batch)
        found: dict[int, Truth] = {}
        before = self._samples(batch, range(len(batch)), LEVELS[0])
        open_ = list(before)
        for digits in self.levels[1:]:
            open_ = open_[: max(2, WORK[digits] // (self._hard * (batch.classes or 1)))]
            after = self._samples(batch, open_, digits)
            with self.mp.workdps(digits):
                judged = {i: self._judge(before[i], sample, digits) for i, sample in after.items()}
            found |= {i: truth for i, (truth, _) in judged.items()}
            open_ = [i for i in found if UNRESOLVED in (found[i].value, *found[i].slopes)]
            before |= after
        if self.stable is not None:
            for i, truth in self.stable.settled(batch, open_).items():
                found[i] = truth
        self._left = DIFFERENCES
        return [self._at_kinks(batch, i, found[i], before[i]) for i in range(len(batch))]

    def settled(self, batch: Batch, which: Sequence[int]) -> dict[int, Truth]:
        """The truth at those of some points where two moderate precisions settle it."""
        first, second = (self._samples(batch, which, digits) for digits in LEVELS[:2])
        with self.mp.workdps(LEVELS[1]):
            found = {i: self._judge(first[i], second[i], LEVELS[1])[0] for i in which}
        for i, truth in found.items():
            if not isinstance(truth.value, str) and UNRESOLVED in truth.slopes:  # the closed form cancels: differences
                slopes = (self._difference(batch, i, j) if s == UNRESOLVED else s for j, s in enumerate(truth.slopes))
                found[i] = replace(truth, slopes=tuple(slopes))
        return {i: truth for i, truth in found.items() if UNRESOLVED not in (truth.value, *truth.slopes)}

    # -- one evaluation -----------------------------------------------------------------------------------------------

    def _samples(self, batch: Batch, which: Sequence[int], digits: int) -> dict[int, _Sample]:
        """Every node at the points `which`, at a precision."""
        if not which:
            return {}
        with self.mp.workdps(digits):
            if self.classwise:
                return {i: self._row(batch.targets[i], batch.inputs[i]) for i in which}
            env = {Y: [batch.targets[i][0] for i in which], F: [batch.inputs[i][0] for i in which]}
            values = evaluate_all(self._nodes, {**env, **self.params}, ctx=self.wide)
            columns = [v if isinstance(v, list) else [v] * len(which) for v in values]
            return {i: dict(zip(self._nodes, ([c[k]] for c in columns), strict=True)) for k, i in enumerate(which)}

    def _row(self, y: Row, z: Sequence[Any]) -> _Sample:
        env = {Y: list(y), F: list(z), **self.params}
        values = evaluate_all(self._nodes, env, num_classes=len(z), ctx=self.wide)
        return dict(zip(self._nodes, (v if isinstance(v, list) else [v] * len(z) for v in values), strict=True))

    def value(self, entries: list[Any]) -> Any:
        """The value of the loss from the entries of its body: one, or summed over the classes."""
        if not self.classwise or self.loss.reduces_itself:
            return entries[0]
        if any(self.mp.isnan(v) for v in entries):
            return self.mp.nan
        return self.mp.fsum(entries) if all(self.mp.isfinite(v) for v in entries) else sum(entries, self.mp.zero)

    def _results(self, sample: _Sample) -> list[Any]:
        slopes = [self.mp.nan] * len(sample[self.body]) if self.slope is None else sample[self.slope]
        return [self.value(sample[self.body]), *slopes]

    # -- belief -------------------------------------------------------------------------------------------------------

    def _judge(self, before: _Sample, after: _Sample, digits: int) -> tuple[Truth, bool]:
        """What two precisions say, and whether it is settled by them."""
        mp, out = self.mp, []
        lost: Any = None
        for a, b in zip(self._results(before), self._results(after), strict=True):
            if mp.isfinite(b) and b != 0:
                good = bool(mp.isfinite(a) and abs(a - b) <= mp.ldexp(abs(b), AGREE) + mp.ldexp(1, NOTHING))
            elif mp.isinf(b):  # beyond all dtypes: nothing that is rounded away makes a number infinite
                good = bool(a == b)
            else:
                lost = self._lost(after, self._nodes, digits) if lost is None else lost
                good = lost == 0 or bool(b == 0 and lost < mp.ldexp(1, NOTHING))
            out.append(b if good else UNRESOLVED)
        value, *slopes = (UNDEFINED if not isinstance(v, str) and mp.isnan(v) else v for v in out)
        return Truth(value, tuple(slopes)), UNRESOLVED not in out

    def _lost(self, sample: _Sample, nodes: Sequence[Expr], digits: int) -> Any:
        """How large a part of the computation was lost, at most; 0 if nothing was.

        A term may vanish beside a larger one, two equal terms may be equal only as they are rounded, and a function may
        be at a limit that it never reaches.
        """
        most = self.mp.zero
        grain = self.mp.ldexp(1, -int(digits * 3.32))
        for here in nodes:
            if here.op not in ("add", "sub") and not self._ends.get(here.op):
                continue
            arguments = [sample[a] for a in here.args]
            for k, value in enumerate(sample[here]):
                if self.mp.isfinite(value):
                    most = max(most, self._vanished(here, value, [a[k] for a in arguments], grain))
        return most

    def _vanished(self, here: Expr, value: Any, args: list[Any], grain: Any) -> Any:
        if len(args) == 1:
            return abs(value) * grain if value in self._ends[here.op] and args[0] != 0 else 0
        small, large = sorted(map(abs, args))
        if value == 0:
            return large * grain if here not in self._exact else 0
        if small != 0 and abs(value) == large:  # of a term, what is lost is known: it counts relative to the other
            return self.mp.ldexp(small / large, -NOTHING)
        return 0

    # -- kinks --------------------------------------------------------------------------------------------------------

    def _at_kinks(self, batch: Batch, index: int, truth: Truth, sample: _Sample) -> Truth:
        """The truth with the slopes of differences where the point is on a kink or the closed form has no value."""
        if isinstance(truth.value, str) or not self.mp.isfinite(truth.value):
            return replace(truth, slopes=tuple(UNDEFINED for _ in truth.slopes))
        kinked = self._on_kink(sample)
        slopes = [
            self._difference(batch, index, j) if kinked or slope == UNDEFINED else slope
            for j, slope in enumerate(truth.slopes)
        ]
        return replace(truth, slopes=tuple(slopes))

    def _on_kink(self, sample: _Sample) -> bool:
        for x in self.ties:
            if sum(v == max(sample[x]) for v in sample[x]) > 1:
                return True
        hit = [k for k in self.kinks if any(v == 0 for v in sample[k])]
        return any(k in self._exact or not self._lost(sample, postorder(k), LEVELS[0]) for k in hit)

    def _difference(self, batch: Batch, index: int, entry: int) -> Any:
        """The slope from both sides and from two step sizes; KINK unless all four agree."""
        self._left -= (batch.classes or 1) * self._hard
        if self._left < 0:
            return UNRESOLVED
        mp, z = self.mp, batch.inputs[index]
        with mp.workdps(self.step_digits):
            slopes = []
            for power in (self.step, self.step - 33):
                step = mp.ldexp(min(1.0, abs(z[entry])) or 1.0, power)
                low, here, high = (self._shifted(batch.targets[index], z, entry, s) for s in (-step, mp.zero, step))
                slopes += [(here - low) / step, (high - here) / step]
            if not all(mp.isfinite(s) for s in slopes):
                return KINK
            span = max(abs(s - slopes[0]) for s in slopes)
            if span > mp.ldexp(max(map(abs, slopes)), AGREE) and span > mp.ldexp(1, self.step + 50):
                return KINK
            slope = (slopes[2] + slopes[3]) / 2
            return slope if abs(slope) > mp.ldexp(1, self.step + 50) else mp.zero

    def _shifted(self, y: Row, z: Row, entry: int, step: Any) -> Any:
        """The value with one entry of the input moved, at the precision of the context."""
        moved = [self.mp.mpf(v) + (step if j == entry else 0) for j, v in enumerate(z)]
        env = {Y: list(y) if self.classwise else y[0], F: moved if self.classwise else moved[0], **self.params}
        (found,) = evaluate_all([self.body], env, num_classes=len(z) if self.classwise else None, ctx=self.wide)
        return self.value(found if isinstance(found, list) else [found] * len(z))

    def _check_closed_form(self, batch: Batch) -> None:
        """Give the closed form up if a difference contradicts it at one of a few points of data."""
        if self.slope is None or batch.measure != "data-like" or batch.classes in self._checked:
            return
        self._checked.add(batch.classes)
        for i in range(0, len(batch), max(1, len(batch) // 3)):
            self._left = DIFFERENCES
            with self.mp.workdps(self.step_digits):
                sample = self._row(batch.targets[i], batch.inputs[i]) if self.classwise else None
                got = sample[self.slope][0] if sample else self._samples(batch, [i], self.step_digits)[i][self.slope][0]
                true = self._difference(batch, i, 0)
                if isinstance(true, str) or not self.mp.isfinite(got):
                    continue
                if abs(got - true) > self.mp.ldexp(abs(true), AGREE + 10) + self.mp.ldexp(1, self.step + 50):
                    self.slope = None
                    return


_Sample = dict[Expr, list[Any]]
"""The values of every node at one point: one, or one a class."""


def by_target(loss: Loss) -> Loss:
    """The same loss, case by case, where the target has but two values (not in the sum over the classes itself).

    At y = 0 the closed form of sqrt(y*f) is 0/0, although sqrt(0*f) is constant.
    """
    values = ROLES[loss.y].values
    if not values or any(Y in postorder(n) for n in postorder(loss.body) if n.op in ops.OPS and ops.OPS[n.op].axis):
        return loss
    facts = Facts(loss)
    low, high = (canonical_expr(substitute(loss.body, {Y: const(v)}), facts) for v in values)
    return loss.with_body(low if low is high else call("where", call("gt", Y, sum(values) / 2), high, low))


def _closed_form(loss: Loss) -> Expr | None:
    try:
        return differentiate(loss).body
    except LossTypeError:  # an operator without a closed form
        return None


def _kinks(body: Expr) -> Iterator[Expr]:
    """Expressions whose zeros are where the slope may jump: of the records, and of the conditions."""
    for here in postorder(body):
        if here.op in LEAF_OPS:
            continue
        record = ops.record(here)
        yield from record.kinks(*here.args)
        if record.gives == ops.BOOL_KIND:
            yield here.args[0] - here.args[1]


def _ends(op: str) -> tuple[float, ...]:
    """The finite limits of a function that it reaches at no argument but by rounding."""
    record = ops.OPS[op]
    if record.arity != 1 or op in _EXACT or record.takes:
        return ()
    reach = record.interval(REAL)
    return tuple(end for end in (reach.lo, reach.hi) if abs(end) < 1e300)


def _exact_nodes(nodes: Sequence[Expr]) -> set[Expr]:
    out: set[Expr] = set()
    for here in nodes:
        if here.op in LEAF_OPS or (here.op in _EXACT and all(a in out for a in here.args)):
            out.add(here)
    return out
