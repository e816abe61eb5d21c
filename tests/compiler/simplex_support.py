"""What tests of target-only losses and sparse forms share: rows over the classes, and values in mpmath."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import mpmath

from lossc.compiler.evaluate import evaluate_all
from lossc.compiler.ir import Expr, F, Y, coef, param, postorder
from lossc.compiler.loss import Loss, varies
from lossc.compiler.roles import ROLES

GRAIN = 2**200
"""Probabilities are multiples of 1/GRAIN: exact in binary, so that a row sums to exactly 1."""


@dataclass(frozen=True)
class Row:
    """A target class, predictions, and values of the leaves that are the same at every class."""

    target: int
    f: tuple[Fraction, ...]
    rest: Mapping[Expr, Fraction]

    @property
    def classes(self) -> int:
        return len(self.f)

    def env(self) -> dict[Expr, Any]:
        """The leaves' values, as `evaluate` takes them."""
        y = [Fraction(int(i == self.target)) for i in range(self.classes)]
        return {Y: y, F: list(self.f), **self.rest}


def probabilities(rng: random.Random, classes: int) -> tuple[Fraction, ...]:
    """Strictly between 0 and 1, summing to exactly 1: even, spread out, or with all but nothing in one class."""
    size = rng.choice([1, 4, 40, 120])
    weights = [Fraction(2) ** round(rng.uniform(-size, 0)) * rng.randint(1, 2**10) for _ in range(classes)]
    if rng.random() < 0.2:
        weights = [Fraction(1)] * classes
    parts = [max(1, w * GRAIN // sum(weights)) for w in weights]
    parts[parts.index(max(parts))] += GRAIN - sum(parts)
    return tuple(Fraction(p, GRAIN) for p in parts)


def value_of(role: str, rng: random.Random) -> Fraction:
    """A value that the role allows, its ends included."""
    low, high = ROLES[role].typical
    ends = {"unit": [0, 1], "nonnegative": [0, 1, 2], "real": [0, 1, -1], "logit": [0, 300, -300]}.get(role, [1])
    if rng.random() < 0.3:
        return Fraction(rng.choice(ends))
    return Fraction(round(rng.uniform(low, high) * 2**20) or 1, 2**20)


def row(loss: Loss, rng: random.Random, classes: int | None = None) -> Row:
    """A random row for the roles of a loss with one-hot targets."""
    count = classes or rng.choice([2, 2, 3, 5, 10])
    prob = loss.f == "prob"
    f = probabilities(rng, count) if prob else tuple(value_of(loss.f, rng) for _ in range(count))
    rest: dict[Expr, Fraction] = {param(p.name): value_of(p.role, rng) for p in loss.params}
    rest |= {coef(i): Fraction(8 + i % 5, 10) for i in range(100)}
    return Row(rng.randrange(count), f, rest)


class Overflow(Exception):
    """Some intermediate value overflowed the interpreter, which then says nothing."""


def look(root: Expr, env: Mapping[Expr, Any], classes: int) -> list[Any]:
    """The values of an expression at every class. Raises Overflow."""
    values = evaluate_all(postorder(root), env, num_classes=classes)
    flat = [v for x in values for v in (x if isinstance(x, list) else [x]) if not isinstance(v, bool)]
    if any(mpmath.isinf(v) for v in flat):
        raise Overflow
    last = values[-1]
    return last if isinstance(last, list) else [last] * classes


def total(loss: Loss, at: Row) -> Any:
    """The loss of one row: its classes summed, unless it reduces itself."""
    values = look(loss.body, at.env(), at.classes)
    return mpmath.fsum(values) if varies(loss.body) else values[0]


def agree(left: Callable[[], Any], right: Callable[[], Any]) -> bool:
    """Whether two computations come to the same value, or both to none.

    They differ if they do so with 60, 240 and 1,000 digits; and if only one of them has a value, that must be one that
    more digits leave as it is: not the logarithm of a rounding error.
    """
    seen = []
    for digits in (60, 240, 1000):
        with mpmath.workdps(digits):
            a, b = left(), right()
            if mpmath.isnan(a) and mpmath.isnan(b):
                return True
            if not (mpmath.isnan(a) or mpmath.isnan(b)):
                tolerance = mpmath.mpf(10) ** (-digits // 2)
                if abs(a - b) <= tolerance * max(abs(a), abs(b), tolerance):
                    return True
            seen.append((a, b))
    one_sided = all(mpmath.isnan(a) != mpmath.isnan(b) for a, b in seen[-2:])
    values = [a if mpmath.isnan(b) else b for a, b in seen[-2:]]
    return one_sided and abs(values[1] - values[0]) > abs(values[1]) / 1000
