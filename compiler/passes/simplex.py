"""Facts of a row with a target and some other class, its probabilities strictly between 0 and 1."""

from __future__ import annotations

from collections.abc import Mapping

from lossc.compiler import interval as iv
from lossc.compiler.facts import Facts
from lossc.compiler.interval import INF, TINY, Interval
from lossc.compiler.ir import ONE, Expr, F, node, param
from lossc.compiler.loss import Loss
from lossc.compiler.roles import ROLES

TARGET = param("?target")
"""The prediction at the target, in what is said of another class. No hyper-parameter can have this name."""
CLASSES = node("num_classes")
OTHERS = CLASSES - 1
"""How many classes a row has beside the target."""


class SimplexFacts(Facts):
    """`Facts` where C >= 2 and probabilities are as a softmax gives them, 0 < f < 1.

    Then the mean of the others, (1 - f)/(C - 1), is below 1 too, and what it leaves is positive, in either form.
    `places` are leaves that stand for a value at the target, with their ranges.
    """

    def __init__(self, loss: Loss, places: Mapping[Expr, Interval] | None = None) -> None:
        super().__init__(loss)
        inside = Interval(TINY, 1.0) if loss.f == "prob" else ROLES[loss.f].range
        self._known = {F: inside, TARGET: inside, CLASSES: Interval(2.0, INF), **(places or {})}
        self._below_one: tuple[Expr, ...] = ()
        if loss.f == "prob":
            self._below_one = (F, TARGET, *((1 - f) / OTHERS for f in (F, TARGET)))
            self._known |= {(1 - f) / (1 - CLASSES) + 1: inside for f in (F, TARGET)}

    @property
    def key(self) -> tuple[object, ...]:
        """Losses with equal keys have equal facts."""
        return ("simplex", tuple(self._known.items()), *super().key)

    def _compute(self, here: Expr) -> Interval:
        found = self._known.get(here)
        if found is not None:
            return found
        if here.op == "sub" and here.args[0] is ONE and here.args[1] in self._below_one:
            return Interval(TINY, 1.0)
        found = super()._compute(here)
        operands = [self._done[a] for a in here.args]
        return _SHARPER[here.op](operands, found) if here.op in _SHARPER else found


def _signed(operands: list[Interval], found: Interval) -> Interval:
    """A product or quotient of numbers that are not 0 is not 0: only underflow has put that into its range."""
    first, last = operands[0], operands[-1]
    if not (first.nonzero and last.nonzero):
        return found
    if (first.lo > 0) == (last.lo > 0):
        return Interval(max(found.lo, TINY), found.hi, found.total)
    return Interval(found.lo, min(found.hi, -TINY), found.total)


def _power(operands: list[Interval], found: Interval) -> Interval:
    """A power of a positive number is positive; and x^p has a value for x >= 0 and p >= 0, 0^0 too."""
    base, exponent = operands
    if base.lo > 0:
        return Interval(max(found.lo, TINY), found.hi, found.total)
    if base.lo >= 0 and exponent.lo >= 0 and not found.total:
        return Interval(0.0, max(1.0, iv.up(_grown(base.hi, exponent.hi), 4)), base.total and exponent.total)
    return found


def _logarithm(operands: list[Interval], found: Interval) -> Interval:
    """log(x) <= 0 for x <= 1, and >= 0 for x >= 1: exactly so at 1."""
    (x,) = operands
    lo = max(found.lo, 0.0) if x.lo >= 1 else found.lo
    hi = min(found.hi, 0.0) if x.hi <= 1 else found.hi
    return Interval(lo, hi, found.total)


_SHARPER = {"mul": _signed, "div": _signed, "square": _signed, "pow": _power, "log": _logarithm}
"""Sharper bounds than those of the records, where proofs of signs need them."""


def _grown(x: float, p: float) -> float:
    try:
        return float(x**p)
    except OverflowError:
        return INF
