"""Whether one loss is a*known + b of another, exactly: by canonical forms, or at points of the domain in mpmath.

Numbers that are only close prove nothing, so a and b are constants here: expressions, or, where they have no simple
form, what two inputs say that they are, to as many digits as are looked at. The other inputs then decide.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from lossc.compiler.analysis.edges import Edges
from lossc.compiler.analysis.frames import Frame
from lossc.compiler.analysis.sight import Place, Sight
from lossc.compiler.analysis.witnesses import some, witnesses
from lossc.compiler.equivalence import DEFINED, SLOW_BEYOND, UNDEFINED, UNKNOWN, OutOfTime
from lossc.compiler.facts import Facts
from lossc.compiler.ir import ONE, ZERO, Expr, postorder
from lossc.compiler.loss import Loss
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.passes.target_only import split_by_target
from lossc.compiler.sampling import Points

CANONICAL, SAMPLED = "canonical forms", "points"
DIGITS = (60, 240, 1000)
"""Working precisions: values that do not agree to so many digits as AGREED says get more."""
LOOSE = 30
AGREED, LOOSELY = {60: 40, 240: 120, 1000: 500}, dict.fromkeys(DIGITS, LOOSE)
"""Digits to which values must agree; and those if hyper-parameters are known as numbers only."""
DEEP = 80
"""One of so many points is looked at with the most digits at once."""
POINTS = 220
"""Inputs at which both losses must have a value."""
MIN_VALUES = 20
"""Different values that the known loss must have there: a plateau says nothing."""
COUNTS = (440, 1760)
"""Inputs of which these are, in a mixed order: more where the losses have no value at most of them."""


@dataclass(frozen=True)
class Line:
    """a and b of a*known + b: expressions, or None for what `anchors`, two inputs, say.

    `spread` is how much the loss differs between these two, a typical size of it.
    """

    scale: Expr | None
    offset: Expr | None
    anchors: tuple[tuple[Points, int], ...] = ()
    spread: Any = 0

    def numbers(self, target: Expr, value: Expr, ctx: Any, digits: int) -> tuple[Any, Any] | None:
        """a and b to so many digits; None if they are no numbers, or a is not positive."""
        sight = Sight([where for where, _ in self.anchors], math.inf, ctx)
        with ctx.workdps(digits):
            if self.scale is None or self.offset is None:
                places = [(k, index) for k, (_, index) in enumerate(self.anchors)]
                l0, l1 = (sight.look(target, p, digits).value for p in places)
                k0, k1 = (sight.look(value, p, digits).value for p in places)
                if k0 == k1:
                    return None
            a = sight.number(self.scale, digits) if self.scale is not None else (l1 - l0) / (k1 - k0)
            b = sight.number(self.offset, digits) if self.offset is not None else l0 - a * k0
            return (a, b) if ctx.isfinite(a) and ctx.isfinite(b) and a > 0 else None

    def of(self, known: Expr) -> Expr | None:
        """The expression a*known + b."""
        if self.scale is None or self.offset is None:
            return None
        scaled = known if self.scale is ONE else self.scale * known
        return scaled if self.offset is ZERO else scaled + self.offset


@dataclass(frozen=True)
class Proof:
    """How two losses were shown to be the same: by canonical forms, or at so many points with a value of both.

    `everywhere` is false if one has a value at points where the other has none: then they are the same where both do.
    `open` counts points that say nothing, since numbers overflow there or leave no digits.
    """

    how: str
    points: int = 0
    everywhere: bool = True
    open: int = 0

    def __str__(self) -> str:
        if self.how == CANONICAL:
            return "the canonical forms are equal"
        where = "" if self.everywhere else ", all where both have a value"
        left = f"; at {self.open} others numbers overflow" if self.open else ""
        return f"equal at {self.points} points of the domain, computed with {DIGITS[0]} digits{where}{left}"


class Prover:
    """Proofs about one loss; what was seen of it is kept."""

    def __init__(self, frame: Frame, deadline: float, ctx: Any) -> None:
        self.frame, self.deadline, self.ctx = frame, deadline, ctx
        self._sights: dict[tuple[object, ...], Sight] = {}
        self._edges = Edges(frame)
        self._proven: list[tuple[Expr, Proof]] = []

    def prove(self, known: Loss, value: Expr, line: Line, exact: bool = True) -> Proof | None:
        """The proof that the loss of the frame is a*value + b; None if there is none.

        `known` is what `value` is of, without hyper-parameters: its roles say where else to look. `exact` is false if
        some of them are known as numbers only. Raises OutOfTime.
        """
        self.check_time()
        whole = line.of(value)
        if whole is not None and canonical(self.frame, self.frame.target, whole, value, line):
            return Proof(CANONICAL)
        for other, proof in self._proven:
            if whole is not None and canonical(self.frame, other, whole, value, line):
                return proof
        found = self._by_points(known, value, line, exact)
        if found is not None and whole is not None and exact:
            self._proven.append((whole, found))
        return found

    def check_time(self) -> None:
        """Raises OutOfTime after the deadline."""
        if time.monotonic() > self.deadline:
            raise OutOfTime

    def _by_points(self, known: Loss, value: Expr, line: Line, exact: bool) -> Proof | None:
        for count in COUNTS:
            seen = _Comparison(self.frame.target, value, line, self._sight(known, count), exact)
            if not seen.agrees():
                return None
            if seen.enough:
                sides = Sight(self._edges.beyond((self.frame.target, value), seen.met()), self.deadline, self.ctx)
                far = _Comparison(self.frame.target, value, line, sides, exact)
                if not far.agrees():
                    return None
                return Proof(SAMPLED, seen.both, seen.holes + far.holes == 0, seen.open)
            if seen.both * COUNTS[-1] < POINTS * count:
                return None
        return None

    def _sight(self, known: Loss, count: int) -> Sight:
        key = (known.y, known.f, count)
        if key not in self._sights:
            self._sights[key] = Sight(witnesses(self.frame, known, count), self.deadline, self.ctx)
        return self._sights[key]


def canonical(frame: Frame, target: Expr, whole: Expr, value: Expr, line: Line) -> bool:
    """Whether canonical forms show that `target` is `whole` = a*value + b, as it stands or with a and b taken away.

    For one-hot targets also by what is lost at the target and at another class (`lossc.compiler.passes.target_only`).
    """
    facts = Facts(frame.loss)
    if canonical_expr(whole, facts) is canonical_expr(target, facts):
        return True
    assert line.scale is not None and line.offset is not None
    bare = target if line.offset is ZERO else target - line.offset
    if canonical_expr(bare if line.scale is ONE else bare / line.scale, facts) is canonical_expr(value, facts):
        return True
    if frame.loss.y != "onehot":
        return False
    mine, its = split_by_target(frame.loss.with_body(target)), split_by_target(frame.loss.with_body(whole))
    if mine is None or its is None:
        return False
    return (mine.hit, mine.miss, dict(mine.places)) == (its.hit, its.miss, dict(its.places))


class _Comparison:
    """A loss and a*value + b, looked at point by point."""

    def __init__(self, target: Expr, value: Expr, line: Line, sight: Sight, exact: bool) -> None:
        self.target, self.value, self.line, self.sight = target, value, line, sight
        top = min((SLOW_BEYOND.get(n.op, DIGITS[-1]) for n in postorder(value, target)), default=DIGITS[-1])
        self.ladder = [d for d in DIGITS if d <= top]
        self.agreed, self.deep = (AGREED, DEEP) if exact else (LOOSELY, 0)
        self.both = self.holes = self.open = 0
        self.values: set[Any] = set()
        self._met: list[Place] = []
        self._lines: dict[int, tuple[Any, Any] | None] = {}

    def agrees(self) -> bool:
        """Whether no point speaks against it until there are enough; counts those with a value of both or of one, and
        those left open.
        """
        for number, place in enumerate(self.sight.places()):
            if self.enough:
                break
            if not self._at(place, number):
                return False
        return True

    def met(self) -> list[Points]:
        """The points at which both have a value."""
        places: dict[int, list[int]] = {}
        for b, k in self._met:
            places.setdefault(b, []).append(k)
        return [some(self.sight.batches[b], those) for b, those in places.items()]

    @property
    def enough(self) -> bool:
        """Whether as many points as are needed have told something."""
        return self.both >= POINTS and len(self.values) >= MIN_VALUES

    def _at(self, place: Place, number: int) -> bool:
        """Whether both are the same at a point, as far as can be seen."""
        deep = self.deep and number % self.deep == self.deep // 2
        states = (UNKNOWN, UNKNOWN)
        for digits in self.ladder[-1:] if deep else self.ladder:
            mine, its = (self.sight.look(e, place, digits) for e in (self.target, self.value))
            states = (mine.state, its.state)
            if states == (UNDEFINED, UNDEFINED):
                return True
            if UNKNOWN in states:
                break
            if states == (DEFINED, DEFINED) and self._close(place, digits):
                self.both += 1
                self._met.append(place)
                self.values.add(its.value)
                return True
        if UNKNOWN in states or (states == (DEFINED, DEFINED) and self._lost(place)):
            self.open += 1
            return True
        if states == (DEFINED, DEFINED):
            return False
        self.holes += 1
        return True

    def _gap(self, place: Place, digits: int) -> tuple[Any, Any] | None:
        """How far loss and a*its + b are apart, and the greatest of the three; None if a or b are no numbers."""
        constants = self._line(digits)
        if constants is None:
            return None
        mine, its = (self.sight.look(e, place, digits).value for e in (self.target, self.value))
        a, b = constants
        with self.sight.ctx.workdps(digits):
            return abs(a * its + b - mine), max(abs(mine), abs(a * its), abs(b))

    def _close(self, place: Place, digits: int) -> bool:
        """Whether mine = a*its + b to the digits that must agree.

        With more than the fewest digits also to those of the typical size of the loss: 0 may come out as noise.
        """
        found = self._gap(place, digits)
        if found is None:
            return False
        gap, size = found
        with self.sight.ctx.workdps(digits):
            size = size if digits == DIGITS[0] else max(size, self.line.spread)
            return bool(gap <= self.sight.ctx.mpf(10) ** -self.agreed[digits] * size)

    def _lost(self, place: Place) -> bool:
        """Whether the difference is another one with more digits, and so rounding error of greater numbers."""
        few, most = (self._gap(place, digits) for digits in self.ladder[-2:])
        if few is None or most is None:
            return False
        return not abs(few[0] - most[0]) <= most[0] / 1000

    def _line(self, digits: int) -> tuple[Any, Any] | None:
        if digits not in self._lines:
            self._lines[digits] = self.line.numbers(self.target, self.value, self.sight.ctx, digits)
        return self._lines[digits]
