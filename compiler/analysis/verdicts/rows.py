"""A loss whose classes depend on each other: bounds for any row, and numbers for rows of three classes."""

from __future__ import annotations

import math
import random
from functools import cached_property

from lossc.compiler.analysis.verdicts.curvature import Shape, shape
from lossc.compiler.analysis.verdicts.ranges import Pair
from lossc.compiler.analysis.verdicts.subject import ROW_CLASSES, ROW_F, ROW_Y, Subject
from lossc.compiler.analysis.verdicts.verdict import VALUE, Witness
from lossc.compiler.analysis.world import context
from lossc.compiler.evaluate import evaluate
from lossc.compiler.ir import Expr
from lossc.compiler.passes.differentiate import derivative

DRAWS = 120


class Rows:
    """The rows of a subject."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.loss = subject.loss

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
    def draws(self) -> list[tuple[float, ...]]:
        """Rows of predictions: special ones and random ones, the same every time."""
        rng = random.Random(7)
        out: list[tuple[float, ...]] = []
        if self.loss.f == "prob":
            out += [
                (1 / 3,) * 3,
                (0.98, 0.01, 0.01),
                (0.01, 0.98, 0.01),
                (1 - 2e-6, 1e-6, 1e-6),
                (1e-6, 0.5, 0.5 - 1e-6),
            ]
            while len(out) < DRAWS:
                cut = sorted((rng.random(), rng.random()))
                row = (cut[0], cut[1] - cut[0], 1 - cut[1])
                if min(row) > 1e-6:
                    out.append(row)
            return out
        out += [(0.0,) * 3, (1.0, 0.0, 0.0), (-1.0, 1.0, 0.0), (9.0, -3.0, 2.0), (-20.0, 5.0, 5.0), (20.0, -5.0, -5.0)]
        while len(out) < DRAWS:
            scale = 10 ** rng.uniform(-1, 1.5)
            out.append(tuple(rng.uniform(-scale, scale) for _ in range(ROW_CLASSES)))
        return [tuple(abs(v) + 0.01 for v in r) for r in out] if self.loss.f == "positive" else out

    def true(self, row: tuple[float, ...], root: Expr | None = None) -> float:
        """The loss of a row (or another expression in its predictions), computed with many digits."""
        value = evaluate(root or self.subject.row, dict(zip(ROW_F, row, strict=True)), dps=40, ctx=context())
        return float(value)

    @cached_property
    def row_slopes(self) -> tuple[Expr, ...]:
        """∂L/∂f at each of the three classes. Raises LosscError."""
        return tuple(derivative(self.subject.row, leaf) for leaf in ROW_F)

    def here(self, row: tuple[float, ...]) -> dict[str, tuple[float, ...]]:
        """A row as a witness has it."""
        low = -1.0 if self.loss.y == "sign" else 0.0
        return {"y": tuple(v or low for v in ROW_Y), "f": row}

    def bump(self) -> Witness | None:
        """Two rows whose middle lies above the chord."""
        for a, b in zip(self.draws, self.draws[1:], strict=False):
            middle = tuple((x + y) / 2 for x, y in zip(a, b, strict=True))
            values = tuple(self.true(r) for r in (a, middle, b))
            witness = Witness(tuple(self.here(r) for r in (a, middle, b)), VALUE, values, "above the chord")
            if all(map(math.isfinite, values)) and witness.holds():
                return witness
        return None
