"""A loss whose classes depend on each other: bounds for any row, and numbers for rows of three values."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import cached_property

from lossc.compiler.analysis.verdicts.clock import tick
from lossc.compiler.analysis.verdicts.curvature import Shape, shape
from lossc.compiler.analysis.verdicts.levers import JUMPING, levers
from lossc.compiler.analysis.verdicts.ranges import Pair
from lossc.compiler.analysis.verdicts.signs import true
from lossc.compiler.analysis.verdicts.subject import Subject
from lossc.compiler.analysis.verdicts.verdict import VALUE, Witness
from lossc.compiler.analysis.verdicts.written import Written
from lossc.compiler.analysis.world import context
from lossc.compiler.evaluate import evaluate
from lossc.compiler.facts import Facts
from lossc.compiler.ir import Expr, F, Y, postorder
from lossc.compiler.passes.differentiate import derivative

DRAWS = 120
_SPECIAL = ((0.0,) * 3, (1.0, 0.0, 0.0), (-1.0, 1.0, 0.0), (9.0, -3.0, 2.0), (-20.0, 5.0, 5.0), (20.0, -5.0, -5.0))


class Rows:
    """The rows of a subject. A row is given by a value for each of its groups: target, another class, all the rest."""

    def __init__(self, subject: Subject, written: Written) -> None:
        self.subject, self.written = subject, written
        self.loss = subject.loss

    # -- bounds for any row ------------------------------------------------------------------------------------------

    @cached_property
    def shape(self) -> Shape:
        """The curvature in all predictions, by the rules of composition."""
        target, other = self.subject.pair_boxes()
        return shape(self.subject.pair(self.loss.body), (dict(target), dict(other)))

    @cached_property
    def value(self) -> Pair:
        """Where the value (of the target, and of another class) lies."""
        return self.subject.pair(self.loss.body).pair(*self.subject.pair_boxes())

    @cached_property
    def slope(self) -> Pair:
        """Where ∂L/∂f at the target, and at another class, lies. Raises LosscError."""
        return self.subject.pair(self.subject.slopes.body).pair(*self.subject.pair_boxes())

    @cached_property
    def continuous(self) -> bool:
        """Whether L certainly has a value for every row, and no jumps."""
        live = {F}
        for here in postorder(self.loss.body):
            if any(a in live for a in here.args):
                live.add(here)
                if here.op in JUMPING:
                    return False
        return all(r.total for r in self.value)

    @cached_property
    def rough(self) -> Expr | None:
        """An expression at whose zeros an operator may bend, and that may be 0; None if L is certainly analytic."""
        for here in postorder(self.loss.body):
            if here.op == "max_c":
                return here
        for k in levers(self.loss.body, Facts(self.loss)):
            pair = self.subject.pair(k).pair(*self.subject.pair_boxes())
            if not all(r.total and r.nonzero for r in pair):
                return k
        return None

    # -- numbers -----------------------------------------------------------------------------------------------------

    @cached_property
    def draws(self) -> list[tuple[float, ...]]:
        """Rows, by their groups: special ones and random ones, the same every time."""
        rng = random.Random(7)
        size = len(self.subject.row_leaves)
        if self.loss.f == "prob":
            out = list(_special_shares(self.subject.row_weights))
            while len(out) < DRAWS:
                shares = [rng.expovariate(1) for _ in range(size)]
                total = sum(s for s in shares)
                out.append(tuple(s / total / w for s, w in zip(shares, self.subject.row_weights, strict=True)))
            return [r for r in out if min(r) > 1e-9 and max(r) < 1]
        out = [row[:size] for row in _SPECIAL]
        while len(out) < DRAWS:
            scale = 10 ** rng.uniform(-1, 1.5)
            out.append(tuple(rng.uniform(-scale, scale) for _ in range(size)))
        return [tuple(abs(v) + 0.01 for v in r) for r in out] if self.loss.f == "positive" else out

    def true(self, row: Sequence[float], root: Expr | None = None) -> float:
        """The loss of a row (or another expression in its groups), computed with many digits."""
        return true(root or self.subject.row, dict(zip(self.subject.row_leaves, row, strict=True)))

    def true_of(self, whole: Sequence[float]) -> float:
        """The loss of a row of any values, the first of which is at the target."""
        tick()
        env = {F: list(whole), Y: list(self.subject.row_targets)}
        value = evaluate(self.loss.body, env, num_classes=len(whole), dps=40, ctx=context())
        if not isinstance(value, list):
            return float(value)
        return float(value[0] if self.loss.reduces_itself else context().fsum(value))

    @cached_property
    def row_slopes(self) -> tuple[Expr, ...]:
        """∂L/∂f at one class of each group. Raises LosscError."""
        found = []
        for leaf, times in zip(self.subject.row_leaves, self.subject.row_weights, strict=True):
            slope = derivative(self.subject.row, leaf)
            found.append(slope if times == 1 else slope / times)
        return tuple(found)

    def here(self, row: Sequence[float]) -> dict[str, tuple[float, ...]]:
        """A row as a witness has it."""
        return {"y": self.subject.row_targets, "f": self.subject.row_of(row)}

    def bumps(self) -> Iterator[Witness]:
        """Two rows and their middle, which may lie above the chord."""
        for a, b in zip(self.draws, self.draws[1:], strict=False):
            middle = tuple((x + y) / 2 for x, y in zip(a, b, strict=True))
            rows = (a, middle, b)
            yield Witness(tuple(map(self.here, rows)), VALUE, tuple(map(self.true, rows)), "above the chord")


def _special_shares(weights: Sequence[int]) -> Iterator[tuple[float, ...]]:
    """Rows of probabilities: even, sure and right, sure and wrong, undecided."""
    for three in ((0.98, 0.01, 0.01), (0.01, 0.98, 0.01), (1 - 2e-6, 1e-6, 1e-6), (1e-6, 0.5, 0.5 - 1e-6)):
        shares = three if len(weights) == 3 else (three[0], 1 - three[0])
        yield tuple(s / w for s, w in zip(shares, weights, strict=True))
    yield (1 / sum(weights),) * len(weights)
