"""A loss as numbers, for an attack on its verdicts: the formula as written, in float64 and with 60 digits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import mpmath
import numpy as np
from numpy.typing import NDArray

from lossc.compiler.analysis.verdicts.judge import Verdicts
from lossc.compiler.analysis.verdicts.subject import at_values
from lossc.compiler.analysis.verdicts.verdict import Verdict
from lossc.compiler.evaluate import evaluate
from lossc.compiler.float32 import evaluate_in
from lossc.compiler.formats import FLOAT64
from lossc.compiler.ir import F, Y
from lossc.compiler.loss import Loss
from lossc.compiler.sampling import Points

Array = NDArray[np.float64]
SLACK = 1e-9
CONFIRMED = 24
"""Apparent violations that are computed again, the worst first."""
ROW_COUNTS = (3, 5)
TARGETS = {"onehot": (1.0, 0.0), "binary": (1.0, 0.0), "sign": (1.0, -1.0)}
COMPARABLE = (("real", "real"), ("positive", "positive"), ("positive", "real"), ("count", "positive"))


class Attacked:
    """A loss as numbers: the formula as written, in float64 and with 60 digits; of one prediction, or of rows."""

    def __init__(self, loss: Loss, told: Verdicts, count: int, seed: int) -> None:
        self.loss, self.told, self.count = loss, told, count
        self.rng = np.random.default_rng(seed)
        self.rows = told.kind == "row"
        self.body = at_values(loss, told.classes).body

    def values(self, y: Array, f: Array) -> Array:
        """L at points: [n], or of rows [n, C]."""
        if not self.rows:
            points = Points({Y: tuple(y.tolist()), F: tuple(f.tolist())}, ("",) * len(f))
            (out,) = evaluate_in(FLOAT64, [self.body], points)
            return out
        body = at_values(self.loss, f.shape[1]).body
        columns = {Y: tuple(map(tuple, y.tolist())), F: tuple(map(tuple, f.tolist()))}
        (out,) = evaluate_in(FLOAT64, [body], Points(columns, ("",) * len(f), f.shape[1]))
        total = out.sum(axis=1) if out.shape[1] == f.shape[1] else out[:, 0]
        return np.asarray(total, dtype=np.float64)

    def exact(self, y: object, f: object) -> mpmath.mpf:
        """L at one point, with 60 digits: floats, mpf, or rows of them."""
        if not self.rows:
            return evaluate(self.body, {Y: y, F: f}, dps=60, ctx=mpmath.mp)
        row = list(f)  # type: ignore[call-overload]
        body = at_values(self.loss, len(row)).body
        env = {Y: [mpmath.mpf(v) for v in y], F: [mpmath.mpf(v) for v in row]}  # type: ignore[attr-defined]
        value = evaluate(body, env, num_classes=len(row), dps=60, ctx=mpmath.mp)
        if not isinstance(value, list):
            return value
        from lossc.compiler.loss import varies

        return mpmath.fsum(value) if varies(body) else value[0]

    # -- where ---------------------------------------------------------------------------------------------------------

    def numbers(self, role: str, n: int) -> Array:
        """Values of a role: special ones, then typical, wide and tiny ones."""
        rng = self.rng
        if role == "prob":
            tails = 10.0 ** rng.uniform(-12, 0, n)
            mixed = np.where(rng.random(n) < 0.5, rng.uniform(0, 1, n), np.where(rng.random(n) < 0.5, tails, 1 - tails))
            return np.clip(mixed, 1e-12, 1 - 1e-12)
        sizes = 10.0 ** rng.uniform(-6, 4, n)
        if role == "count":
            return rng.integers(0, 60, n).astype(np.float64)
        if role == "positive":
            return np.where(rng.random(n) < 0.6, rng.uniform(1e-3, 8, n), sizes)
        wide = np.where(rng.random(n) < 0.5, sizes, -sizes)
        out = np.where(rng.random(n) < 0.6, rng.uniform(-5, 5, n), wide)
        special = np.asarray([0.0, 1.0, -1.0, 0.5, 2.0, 1e-9, -1e-9, 100.0, -100.0])
        out[: min(n, len(special))] = special[:n]
        return out

    def targets(self, f: Array) -> Array:
        """Targets for predictions, some of them close."""
        role = self.loss.y
        if role in TARGETS:
            return self.rng.choice(np.asarray(TARGETS[role]), len(f))
        y = self.numbers(role, len(f))
        if (role, self.loss.f) in COMPARABLE and role != "count":
            near = np.where(self.rng.random(len(f)) < 0.3, f * (1 + self.rng.normal(0, 0.01, len(f))), y)
            y = np.maximum(near, 1e-6) if role == "positive" else near
        return y

    def row_points(self, classes: int, n: int) -> tuple[Array, Array]:
        """Targets and predictions of rows."""
        rng = self.rng
        if self.loss.f == "prob":
            f = rng.dirichlet(np.full(classes, 0.7), n).clip(1e-9, 1)
            f /= f.sum(axis=1, keepdims=True)
        else:
            f = rng.normal(0, 10.0 ** rng.uniform(-1, 1.5, (n, 1)), (n, classes))
        y = np.zeros((n, classes))
        if self.loss.y == "binary":
            y = rng.integers(0, 2, (n, classes)).astype(np.float64)
        else:
            y[np.arange(n), rng.integers(0, classes, n)] = 1.0
        return y, f


class Entered(Attacked):
    """The terms of a sum over classes that f enters."""

    def targets(self, f: Array) -> Array:
        terms = [t for t in TARGETS["onehot"] if len({self.exact(t, x) for x in (0.25, 0.4, 0.7, 0.9)}) > 1]
        return self.rng.choice(np.asarray(terms or TARGETS["onehot"]), len(f))


@dataclass(frozen=True)
class Wrong:
    """A verdict that does not stand."""

    loss: str
    name: str
    why: str


Claim = Callable[[Attacked, Verdict, int], Iterator[str]]
