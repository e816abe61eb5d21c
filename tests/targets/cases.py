"""What the parity tests compare on: losses (all named ones, and random ones), inputs, and the truth in mpmath.

The truth is the formula as written, evaluated with many digits; derivatives are central differences of it, so that
they come from no pass and no target. Inputs are numbers of float32, the same ones for every dtype.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import mpmath
import numpy as np

from lossc.compiler import ops
from lossc.compiler.errors import LosscError
from lossc.compiler.evaluate import evaluate, evaluate_all
from lossc.compiler.ir import Expr, F, Y, const, node, param, postorder
from lossc.compiler.loss import CLASSWISE, SIGMOID, SOFTMAX, Loss, Parameter
from lossc.compiler.targets.derivatives import roots
from lossc.grammar.library import named, names

DIGITS, STEP = 80, "1e-25"
BITS = {"float64": 53, "float32": 24}
Row = Any
"""A number, or a tuple of one for each class."""


@dataclass(frozen=True)
class Point:
    """An input and what is true there: value, gradient and Hessian diagonal (numbers, or one for each class).

    `slack` is what arithmetic of 24 and of 53 bits makes of the closed forms, as absolute errors of the three.
    """

    y: Row
    f: Row
    truth: tuple[Any, Any, Any]
    slack: dict[int, tuple[Any, Any, Any]]


@dataclass(frozen=True)
class Case:
    """A loss with defaults for all its hyper-parameters, and points where it is smooth."""

    loss: Loss
    points: tuple[Point, ...]

    def arrays(self, dtype: str) -> tuple[np.ndarray, np.ndarray]:
        """y and f, an entry (or a row) a point."""
        return tuple(np.array([getattr(p, w) for p in self.points], dtype) for w in ("y", "f"))  # type: ignore[return-value]

    def truth(self, which: int) -> list[Any]:
        return [p.truth[which] for p in self.points]

    def slack(self, which: int, bits: int) -> list[Any]:
        return [p.slack[bits][which] for p in self.points]


# -- losses -----------------------------------------------------------------------------------------------------------


def filled(loss: Loss) -> Loss:
    """The loss with a default for every hyper-parameter."""
    missing = {p.name: Fraction(3, 4) for p in loss.params if p.default is None}
    return loss.with_defaults(**missing) if missing else loss


def named_losses() -> list[str]:
    """The losses of the library."""
    return names()


_PLAIN = ("add", "sub", "mul", "aq", "max", "min", "square", "abs", "tanh", "atan", "asinh", "sigmoid", "softplus",
          "logcosh", "plog", "psqrt", "relu", "erf", "sin", "log1psq", "logaddexp", "hypot")  # fmt: skip


def random_loss(seed: int) -> Loss:
    """A loss bred at random, a pure function of the seed: elementwise, or on the class axis for every fifth seed."""
    rng = random.Random(f"parity/{seed}")
    classwise = seed % 5 == 4
    for _ in range(1000):
        body = _random(rng, 4)
        if not {Y, F} <= set(postorder(body)) or body.tree_size > 25:
            continue
        if classwise:
            loss = Loss(call_sum(rng, body), f"random_{seed}", y="onehot", f="prob")
        else:
            loss = Loss(body, f"random_{seed}", params=(Parameter("delta", "positive", Fraction(5, 4)),))
        try:
            roots(loss, "np")
        except LosscError:
            continue
        return loss
    raise AssertionError("no loss was found")


def call_sum(rng: random.Random, body: Expr) -> Expr:
    return rng.choice([body, node("sum_c", body), node("mean_c", body), node("logsumexp_c", body)])


def _random(rng: random.Random, depth: int) -> Expr:
    if depth == 0 or rng.random() < 0.15:
        return rng.choice([Y, F, F, Y - F, const(rng.randint(-3, 3)), const(Fraction(rng.randint(1, 30), 8))])
    record = ops.OPS[rng.choice(_PLAIN)]
    return node(record.name, *(_random(rng, depth - 1) for _ in range(record.arity)))


# -- inputs -----------------------------------------------------------------------------------------------------------

_Y = {
    "real": (0.3125, -1.75, 2.5, -0.625, 1.125, 0.84375), "positive": (0.375, 1.75, 2.5, 0.625, 1.125, 0.84375),
    "count": (1.0, 3.0, 0.0, 2.0, 5.0, 1.0), "binary": (1.0, 0.0, 1.0, 0.0, 0.0, 1.0),
    "sign": (1.0, -1.0, 1.0, -1.0, -1.0, 1.0), "prob": (0.75, 0.1875, 0.875, 0.375, 0.5625, 0.3125),
}  # fmt: skip
_F = {
    "real": (-0.78125, 1.375, 0.5625, 2.25, -1.8125, 0.15625), "logit": (0.4375, -1.125, 1.6875, -2.5, 0.21875, 2.875),
    "positive": (0.71875, 1.375, 2.0625, 0.4375, 3.1875, 0.15625),
    "unit": (0.71875, 0.21875, 0.9375, 0.4375, 0.1875, 0.59375),
}  # fmt: skip
_ROWS = ((0.4375, -1.125, 0.90625, 0.15625), (1.71875, 0.21875, -0.59375, -2.5), (-0.3125, 0.78125, 0.09375, 1.5))
_HOT = ((0, 0, 1, 0), (1, 0, 0, 0), (0, 1, 0, 0))
_SOFT = ((0.125, 0.25, 0.5, 0.125), (0.5, 0.25, 0.125, 0.125), (0.0625, 0.4375, 0.25, 0.25))


def inputs(loss: Loss) -> Iterator[tuple[Row, Row]]:
    """Well-scaled inputs that suit the roles: targets, and what the model gives."""
    if loss.layout != CLASSWISE:
        yield from zip(_Y[loss.y], _F["logit" if loss.link == SIGMOID else loss.f], strict=True)
        return
    for i, row in enumerate(_ROWS):
        f = row
        if loss.f in ("positive", "unit"):
            f = tuple(abs(v) / (4 if loss.f == "unit" else 1) + 0.125 for v in row)
        y = _HOT[i] if loss.y == "onehot" else _SOFT[i] if loss.y == "prob" else (_Y[loss.y] * 2)[i : i + 4]
        yield tuple(map(float, y)), f


# -- the truth --------------------------------------------------------------------------------------------------------


def at(loss: Loss, y: Row, z: Row) -> Any:
    """The loss as written for what the model gives: of one element, or of a sample over its classes."""
    f = z
    if loss.link == SIGMOID:
        f = 1 / (1 + mpmath.exp(-z))
    elif loss.link == SOFTMAX:
        f = [mpmath.exp(v) / mpmath.fsum(map(mpmath.exp, z)) for v in z]
    env = {**settings(loss), Y: list(y) if isinstance(y, tuple) else y, F: f}
    if loss.layout != CLASSWISE:
        return evaluate(loss.body, env)
    found = evaluate(loss.body, env, num_classes=len(z))
    row = found if isinstance(found, list) else [found] * len(z)
    return row[0] if loss.reduces_itself else mpmath.fsum(row)


def settings(loss: Loss) -> dict[Expr, Any]:
    return {param(p.name): p.default for p in loss.params}


def truth(loss: Loss, y: Row, z: Row) -> tuple[Any, Any, Any] | None:
    """Value, gradient and Hessian diagonal; None where there is none, or a kink."""
    with mpmath.workdps(DIGITS):
        exact = [mpmath.mpf(v) for v in z] if isinstance(z, tuple) else mpmath.mpf(z)
        value = at(loss, y, exact)
        if isinstance(exact, list):
            pairs = [_slopes(loss, y, exact, i, value) for i in range(len(exact))]
            if not mpmath.isfinite(value) or None in pairs:
                return None
            return value, [s for s, _ in pairs], [b for _, b in pairs]  # type: ignore[misc]
        pair = _slopes(loss, y, exact, None, value)
        return None if pair is None else (value, *pair)


def _slopes(loss: Loss, y: Row, z: Any, i: int | None, value: Any) -> tuple[Any, Any] | None:
    step = mpmath.mpf(STEP)
    moved = [z + s if i is None else [*z[:i], z[i] + s, *z[i + 1 :]] for s in (-2 * step, -step, step, 2 * step)]
    far, below, above, beyond = (at(loss, y, m) for m in moved)
    if not all(mpmath.isfinite(v) for v in (value, far, below, above, beyond)):
        return None
    left, right = (value - below) / step, (above - value) / step
    bends = (below * 2 - far - value) / -(step**2), (beyond - 2 * above + value) / step**2
    if abs(left - right) > 1e-15 * (1 + abs(left)) or abs(bends[0] - bends[1]) > 1e-10 * (1 + abs(bends[0])):
        return None
    return (above - below) / (2 * step), (above - 2 * value + below) / step**2


def slack(loss: Loss, y: Row, z: Row, exact: tuple[Any, Any, Any], bits: int) -> tuple[Any, Any, Any]:
    """How far arithmetic of some bits is from the truth, in the closed forms of the loss: the largest of a few tries.

    Each try has a few bits more, and its error is scaled up to what it means for `bits`.
    """
    found = _closed(loss)
    linked = found.stages.guarded
    env: dict[Expr, Any] = {**settings(loss), Y: list(y) if isinstance(y, tuple) else y}
    env[F] = list(z) if isinstance(z, tuple) else z
    classes = len(z) if isinstance(z, tuple) else None
    worst = [_zero(e) for e in exact]
    for more in (0, 1, 2, 4, 6):
        with mpmath.workprec(bits + more):
            got = evaluate_all([found.value, found.gradient, found.hessian], env, num_classes=classes)
            if classes and not linked.reduces_itself:
                got[0] = mpmath.fsum(got[0]) if isinstance(got[0], list) else got[0] * classes
            elif isinstance(got[0], list):
                got[0] = got[0][0]
        worst = [_larger(w, _off(g, e, 2**more)) for w, g, e in zip(worst, got, exact, strict=True)]
    return worst[0], worst[1], worst[2]


@cache
def _closed(loss: Loss) -> Any:
    return roots(loss, "np")


def _zero(e: Any) -> Any:
    return [mpmath.mpf(0)] * len(e) if isinstance(e, list) else mpmath.mpf(0)


def _off(got: Any, exact: Any, scale: int) -> Any:
    if isinstance(exact, list):
        got = got if isinstance(got, list) else [got] * len(exact)
        return [abs(g - e) * scale for g, e in zip(got, exact, strict=True)]
    return abs(got - exact) * scale


def _larger(a: Any, b: Any) -> Any:
    return [max(x, y) for x, y in zip(a, b, strict=True)] if isinstance(a, list) else max(a, b)


def case(loss: Loss, bits: Sequence[int] = (53, 24)) -> Case:
    """The loss with its points."""
    loss = filled(loss)
    points = []
    for y, f in inputs(loss):
        found = truth(loss, y, f)
        if found is not None and all(abs(v) < 1e6 for t in found for v in (t if isinstance(t, list) else [t])):
            points.append(Point(y, f, found, {b: slack(loss, y, f, found, b) for b in bits}))
    return Case(loss, tuple(points))


@cache
def named_case(name: str) -> Case:
    return case(named(name))


def seeds(few: int) -> range:
    """The random losses that a slow library is tried on; LOSSC_RANDOM=200 says how many instead."""
    return range(int(os.environ.get("LOSSC_RANDOM", few)))


@cache
def random_case(seed: int) -> Case:
    return case(random_loss(seed))
