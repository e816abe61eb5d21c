"""Interval evaluation of one expression on boxes, and branch and bound on its sign.

Along the class axis a node has two ranges: at the target, and at every other class. Where an operand is defined on a
part of the box only, its range is that of the part: a claim about signs is one about points where there is a value.

An end at `TINY` (or -TINY) is 0, left out: a number above it may be smaller than any float. Rules of operators see 0
there, and only what they say of signs and of being defined is taken from the open end.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from lossc.compiler import interval as iv
from lossc.compiler import ops
from lossc.compiler.analysis.verdicts.clock import tick
from lossc.compiler.facts import constant_range
from lossc.compiler.interval import INF, TINY, Interval
from lossc.compiler.ir import CONST, LEAF_OPS, ONE, Expr, F, Y, postorder

Box: TypeAlias = Mapping[Expr, Interval]
Pair: TypeAlias = tuple[Interval, Interval]

BUDGET = 600
"""Boxes that a search may look at."""
FAR, NEAR = 1e280, 1e-280
"""Boxes are not split beyond these."""


class Step:
    """A node of a program, with all that does not depend on the box."""

    __slots__ = (
        "constant", "has_exact", "is_bool", "is_fixed", "is_rest", "is_signed", "is_special", "node", "numbers",
        "places",
        "record",
    )  # fmt: skip

    def __init__(self, node: Expr, places: list[int], is_rest: bool, fixed: frozenset[Expr]) -> None:
        self.node, self.places, self.is_rest, self.is_fixed = node, places, is_rest, node in fixed
        self.numbers = [i for i, a in enumerate(node.args) if a not in fixed]
        self.constant = _constant(node) if node.op == CONST else None
        self.record = None if node.op in LEAF_OPS else ops.OPS[node.op]
        record = self.record
        self.has_exact = bool(record and record.arity == 1 and record.exact and record.monotone)
        self.is_bool = record is not None and record.gives == ops.BOOL_KIND
        self.is_signed = node.op in _SIGNED
        shared = len(node.args) == 2 and node.args[0] is node.args[1]
        self.is_special = shared or node.op == "pow" or (node.op == "div" and node.args[1].op == "sum_c")


class Ranges:
    """An expression as a program on intervals.

    `classes` is C for pairs along the class axis, None for numbers; leaves in `inside` are certainly less than 1. With
    `in_f`, what y enters and f does not counts as defined: the claim is one about each y for which that has a value.
    """

    def __init__(
        self, root: Expr, classes: int | None = None, inside: frozenset[Expr] = frozenset(), in_f: bool = False
    ) -> None:
        self.order = postorder(root)
        self.root, self.classes = root, classes
        self.place = {n: i for i, n in enumerate(self.order)}
        rest = {ONE - leaf for leaf in inside}
        fixed = _without_f(self.order) if in_f else frozenset[Expr]()
        self._steps = [Step(n, [self.place[a] for a in n.args], n in rest, fixed) for n in self.order]

    def __call__(self, box: Box) -> Interval:
        """The range on a box; of the target and the other classes together."""
        target, other = self.pair(box)
        return iv.hull([target, other])

    def pair(self, box: Box, other: Box | None = None) -> Pair:
        """The ranges at the target and at another class, whose leaves have the ranges of `other`."""
        return self.all(box, other)[-1]

    def all(self, box: Box, other: Box | None = None) -> list[Pair]:
        """The ranges of every node of `order`."""
        tick()
        done: list[Pair] = []
        for step in self._steps:
            record = step.record
            if record is None:
                a = self._leaf(step, box)
                done.append((a, a if other is None else self._leaf(step, other)))
                continue
            args = [done[i] for i in step.places]
            if record.axis in (ops.REDUCE, ops.MAP):
                done.append(self._along(record, args[0]))
            elif record.axis == ops.SIZE and self.classes is not None:
                done.append((iv.point(self.classes), iv.point(self.classes)))
            else:
                a = self._one(step, record, [x[0] for x in args])
                same = other is None or all(x[0] is x[1] for x in args)
                done.append((a, a if same else self._one(step, record, [x[1] for x in args])))
        return done

    def _leaf(self, step: Step, box: Box) -> Interval:
        return box[step.node] if step.constant is None else step.constant

    def _one(self, step: Step, record: ops.OpRecord, args: list[Interval]) -> Interval:
        found = _opened(step, record, args)
        if step.is_signed and not (found.lo > 0 or found.hi < 0) and all(a.lo > 0 or a.hi < 0 for a in args):
            found = _nonzero(found)
        if step.is_special:
            found = refined(step.node, found, args)
        if step.is_rest:
            return Interval(max(found.lo, TINY), found.hi, found.total)
        if step.is_fixed:  # defined, but for numbers without a value
            return Interval(found.lo, found.hi, all(args[i].total for i in step.numbers))
        return found

    def _along(self, record: ops.OpRecord, x: Pair) -> Pair:
        """A reduction or map: sums are added up, the rest is a rule on the hull."""
        if record.name in ("sum_c", "mean_c") and self.classes is not None:
            total = iv.add(x[0], iv.mul(iv.point(float(self.classes - 1)), x[1]))
            out = total if record.name == "sum_c" else iv.div(total, iv.point(float(self.classes)))
        elif record.name == "max_c":
            out = ops.OPS["max"].interval(*x)
        else:
            out = _within(record, iv.hull(x), self.classes)
        return out, out


def _within(record: ops.OpRecord, x: Interval, classes: int | None) -> Interval:
    """A map or a log-sum-exp: of C operands within a width, log-probabilities are at least -width - log C."""
    found = record.interval(x)
    if classes is None or not (math.isfinite(x.lo) and math.isfinite(x.hi)):
        return found
    spare = iv.up(math.log(classes), 4)
    if record.name == "logsumexp_c":
        return Interval(found.lo, min(found.hi, iv.up(x.hi + spare)), found.total)
    if record.name == "log_softmax" or (record.name == "log_cosoftmax" and classes > 1):
        return Interval(iv.down(x.lo - x.hi - spare, 2), 0.0, x.total)
    return found


def _without_f(order: list[Expr]) -> frozenset[Expr]:
    """The nodes that y enters, and f does not."""
    with_f, with_y = {F}, {Y}
    for here in order:
        if any(a in with_f for a in here.args):
            with_f.add(here)
        if any(a in with_y for a in here.args):
            with_y.add(here)
    return frozenset(with_y - with_f)


def _constant(here: Expr) -> Interval:
    """The floats around a constant; of one that is next to nothing only the sign counts."""
    found = constant_range(here)
    if here.number and abs(found.lo) < _NOTHING and abs(found.hi) < _NOTHING:
        return Interval(TINY, _NOTHING) if here.number > 0 else Interval(-_NOTHING, -TINY)
    return found


_NOTHING = 1e-300
"""Ends that are closer to 0 are taken for 0, left out: multiples of `TINY` are no bounds."""


def _opened(step: Step, record: ops.OpRecord, args: list[Interval]) -> Interval:
    """The record's rule, where an open end at 0 is 0; what is strict because the end is open stays strict."""
    exact = _sharp(step, record, args)
    if step.is_bool:
        return exact
    for a in args:
        if 0 < a.lo < _NOTHING or -_NOTHING < a.hi < 0:
            break
    else:
        return exact
    wide = _sharp(step, record, [_closed(a) for a in args])
    low = TINY if exact.lo > 0 and wide.lo <= 0 else min(wide.lo, exact.lo)
    high = -TINY if exact.hi < 0 and wide.hi >= 0 else max(wide.hi, exact.hi)
    return Interval(low, high, exact.total)


def _closed(x: Interval) -> Interval:
    return Interval(0.0 if 0 < x.lo < _NOTHING else x.lo, 0.0 if -_NOTHING < x.hi < 0 else x.hi, x.total)


def refined(here: Expr, found: Interval, args: list[Interval]) -> Interval:
    """Sharper than operand by operand: x*x >= 0, x - x = 0, a share of a sum is 1 at most, a power of x > 0 > 0."""
    if len(here.args) == 2 and here.args[0] is here.args[1]:
        x = args[0]
        if here.op == "mul":
            return _nonzero(iv.square(x)) if x.nonzero else iv.square(x)
        if here.op == "div" and x.nonzero:
            return Interval(1.0, 1.0, x.total)
        if here.op == "sub":
            return Interval(0.0, 0.0, x.total)
        if here.op == "xlogy" and x.lo >= 0:  # 0 where x is
            return Interval(found.lo, found.hi, x.total)
    if here.op == "div" and here.args[1].op == "sum_c" and here.args[1].args[0] is here.args[0] and args[0].lo >= 0:
        return Interval(0.0, 1.0, found.total)  # a share of a sum over the classes
    if here.op == "pow" and args[0].lo > 0 and found.lo == 0:
        return Interval(TINY, found.hi, found.total)
    return found


def _nonzero(found: Interval) -> Interval:
    """The range of what is certainly not 0: only underflow has made an end 0."""
    if found.lo >= 0:
        return Interval(max(found.lo, TINY), found.hi, found.total)
    return Interval(found.lo, min(found.hi, -TINY), found.total) if found.hi <= 0 else found


def _sharp(step: Step, record: ops.OpRecord, args: list[Interval]) -> Interval:
    """The record's rule, without its rounding at ends where the value is known exactly: log(1) = 0."""
    found = record.interval(*args)
    if not step.has_exact:
        return found
    low, high = _exact(record, args[0].lo), _exact(record, args[0].hi)
    if low is None and high is None:
        return found
    if record.monotone[0] < 0:
        low, high = high, low
    return Interval(found.lo if low is None else low, found.hi if high is None else high, found.total)


def _exact(record: ops.OpRecord, x: float) -> float | None:
    """The value at a float, if the record has it and it is a float itself."""
    if not abs(x) < 1e9 or x * 1024 != math.floor(x * 1024):  # tables hold simple numbers
        return None
    value = record.exact.get(Fraction(x))
    return float(value) if value is not None and Fraction(float(value)) == value else None


_SIGNED = frozenset({"mul", "div", "square", "sqrt", "abs"})
INSIDE = Interval(TINY, 1.0)
"""Probabilities as a softmax gives them: above 0 and, if the leaf is named as `inside`, below 1."""


# -- branch and bound -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Found:
    """What a search came to: "proved", "refuted" (a box on which the claim is certainly false) or "open"."""

    status: str
    boxes: int
    box: Box | None = None
    bound: float = INF


def prove(root: Ranges, box: Box, holds: Callable[[Interval], bool], fails: Callable[[Interval], bool],
          budget: int = BUDGET) -> Found:  # fmt: skip
    """Whether `holds` is true of the values on the whole box, by splitting it."""
    todo: list[Box] = [box]
    seen = 0
    while todo:
        here = todo.pop()
        seen += 1
        found = root(here)
        if holds(found):
            continue
        if fails(found) and found.total:
            return Found("refuted", seen, here)
        halves = split(here)
        if halves is None or seen + len(todo) > budget:
            return Found("open", seen, here)
        todo.extend(halves)
    return Found("proved", seen)


def positive(root: Ranges, box: Box, budget: int = BUDGET) -> Found:
    """root > 0 wherever it has a value."""
    return prove(root, box, lambda r: r.lo > 0, lambda r: r.hi <= 0, budget)


def nonnegative(root: Ranges, box: Box, budget: int = BUDGET) -> Found:
    """root >= 0 wherever it has a value."""
    return prove(root, box, lambda r: r.lo >= 0, lambda r: r.hi < 0, budget)


def negative(root: Ranges, box: Box, budget: int = BUDGET) -> Found:
    """root < 0 wherever it has a value."""
    return prove(root, box, lambda r: r.hi < 0, lambda r: r.lo >= 0, budget)


def nonpositive(root: Ranges, box: Box, budget: int = BUDGET) -> Found:
    """root <= 0 wherever it has a value."""
    return prove(root, box, lambda r: r.hi <= 0, lambda r: r.lo > 0, budget)


def greatest(root: Ranges, box: Box, size: Callable[[Interval], float], enough: float, budget: int = BUDGET) -> float:
    """An upper bound of `size` over the box: no more than `enough` if the budget allows, else the best found."""
    first = size(root(box))
    queue: list[tuple[float, int, Box]] = [(-first, 0, box)]
    seen = 1
    while queue:
        top = -queue[0][0]
        if top <= enough or seen > budget:
            return top
        _, _, here = heapq.heappop(queue)
        halves = split(here)
        if halves is None:
            return top
        for half in halves:
            seen += 1
            heapq.heappush(queue, (-size(root(half)), seen, half))
    return -INF


def split(box: Box) -> tuple[Box, Box] | None:
    """Two halves of the box along its widest side; None if it is too small to be split."""
    widest, where, best = None, 0.0, 0.0
    for leaf, x in box.items():
        width, middle = _width(x)
        if middle is not None and width > best:
            widest, where, best = leaf, middle, width
    if widest is None:
        return None
    x = box[widest]
    return {**box, widest: Interval(x.lo, where, x.total)}, {**box, widest: Interval(where, x.hi, x.total)}


def _width(x: Interval) -> tuple[float, float | None]:
    """How wide a side is, and where to cut it: at 0, by orders of magnitude where they differ, else in the middle."""
    if x.lo == x.hi:
        return 0.0, None
    if x.lo < 0 < x.hi:
        return max(_size(x.hi) + _size(x.lo), 1.0), 0.0
    if x.hi <= 0:
        width, middle = _width(Interval(-x.hi, -x.lo))
        return width, None if middle is None else -middle
    low, high = x.lo, x.hi
    if high == INF:
        return 50.0, max(1.0, 8 * low) if low < FAR else None
    if low < NEAR:
        return 40.0, None if high < NEAR else high / 16
    if high > 4 * low:
        return math.log2(high / low), math.sqrt(low) * math.sqrt(high)
    middle = low + (high - low) / 2
    if not low < middle < high or (high - low) < 1e-9 * high:
        return 0.0, None
    return (high - low) / high, middle


def _size(x: float) -> float:
    return 50.0 if math.isinf(x) else abs(x)
