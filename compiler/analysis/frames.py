"""What two losses must share to be compared, and the inputs at which they are.

A `Frame` is a loss as one side of comparisons: its roles say what y and f are, and `form` says what another loss means
under them, or that it cannot be compared. A loss of probabilities has a second frame, the scores before its link, for
known losses that are written in logits. Binary targets are soft first (any number of [0, 1]) and 0 or 1 after that.

Probabilities stay strictly between 0 and 1, as a sigmoid or softmax gives them, and one-hot targets are one-hot.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeAlias

from lossc.compiler.ir import Expr, F, Y, node, substitute
from lossc.compiler.loss import CLASSWISE, IDENTITY, Loss, varies
from lossc.compiler.passes.link import apply_link
from lossc.compiler.roles import ROLES
from lossc.compiler.sampling import Points

Row: TypeAlias = tuple[float, ...]

WIDTHS = (3, 2, 5)
"""Class counts of the inputs, so that a scale that depends on their number is not taken for a constant."""
_TARGETS = {
    "real": (-3.0, -0.7, 0.0, 0.4, 1.0, 2.5, 8.0),
    "positive": (0.01, 0.3, 1.0, 2.5, 8.0),
    "count": (0.0, 1.0, 2.0, 3.0, 7.0),
    "binary": (0.0, 1.0, 0.3),
    "sign": (-1.0, 1.0),
    "prob": (0.0, 1.0, 0.3),
    "onehot": (0.0, 1.0),
}
_STEPS = (0.001, 0.02, 0.1, 0.3, 0.7, 1.3, 2.2, 4.0, 7.0, 12.0, 30.0, 130.0)
_SCORES = (0.25, 1.5, 3.0, 6.0, 12.0, 25.0)
_POSITIVE = (1e-9, 1e-7, 1e-5, 1e-3, 0.03, 0.2, 0.5, 1.0, 1.7, 3.0, 6.0, 20.0, 100.0)
_INSIDE = (1e-6, 1e-3, 0.02, 0.1, 0.25, 0.41, 0.5, 0.6, 0.75, 0.9, 0.98, 0.999)
_ROWS = 36
"""Rows of a batch of so many classes."""
_GRID = 128
"""Points of the fixed grid of distances; rows, for a classwise loss."""


@dataclass(frozen=True)
class Frame:
    """A loss, without hyper-parameters, as the one side of comparisons.

    loss   its body, and the roles of y and f under which both sides are looked at
    hard   whether binary targets are 0 or 1 only
    asis   whether f is as it was declared (else it holds the scores before the link)
    """

    loss: Loss
    hard: bool = False
    asis: bool = True

    @property
    def key(self) -> tuple[object, ...]:
        """Frames with equal keys have equal points, and other losses have the same form in them."""
        return (self.loss.layout, self.loss.y, self.loss.f, self.hard, self.asis)

    @property
    def classwise(self) -> bool:
        """Whether a point is a row of classes."""
        return self.loss.layout == CLASSWISE

    @property
    def domain(self) -> str:
        """What a reader must know of where the comparison holds; "" if that is what the roles say."""
        return "for y = 0 or 1" if self.hard else ""

    @property
    def target(self) -> Expr:
        """The value of the loss itself."""
        return self.value(self.loss.body)

    def form(self, other: Loss) -> Expr | None:
        """The value of another loss under the roles of this frame, a number a point; None if they do not go together.

        What a loss of probabilities means for scores is its link's business. Any other pair is compared as written.
        """
        if other.layout != self.loss.layout:
            return None
        mine, its = self.loss.f, other.f
        if not self.asis and its != "logit":
            return None
        if self.asis and mine == "prob" and its == "logit":
            return None
        return self.value((apply_link(other) if mine == "logit" and its == "prob" else other).body)

    def value(self, body: Expr) -> Expr:
        """A body as one number a point: summed over the classes if it varies over them."""
        return node("sum_c", body) if self.classwise and varies(body) else body

    def output(self, value: Expr) -> Expr:
        """A value as a function of what a model gives: its scores, where f is a probability."""
        linked = replace(self.loss, body=value)
        return value if linked.link == IDENTITY else apply_link(linked).body


def frames(loss: Loss) -> list[Frame]:
    """The frames of a loss, in the order in which they are to be tried."""
    out = [Frame(loss)]
    if loss.link != IDENTITY:
        out.append(Frame(apply_link(loss), asis=False))
    if loss.y == "binary":
        out += [replace(frame, hard=True) for frame in out]
    return out


def closed(loss: Loss, values: Mapping[Expr, Expr]) -> Loss:
    """The loss with its hyper-parameters replaced by constant expressions."""
    return replace(loss, body=substitute(loss.body, values), params=(), spans={}, text=None)


# -- points of fingerprints and fits ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cloud:
    """Inputs in runs of one y each: one batch, or one a class count; `pairs` are the neighbours in a run."""

    batches: tuple[Points, ...]
    pairs: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return sum(len(b) for b in self.batches)

    def place(self, index: int) -> tuple[int, int]:
        """The batch of a point, and its place in it."""
        for number, batch in enumerate(self.batches):
            if index < len(batch):
                return number, index
            index -= len(batch)
        raise IndexError(index)


def cloud(frame: Frame) -> Cloud:
    """Fixed inputs over many orders of magnitude, on which hyper-parameters are fitted."""
    batches: list[Points] = []
    pairs: list[tuple[int, int]] = []
    start = 0
    for runs, classes in _runs(frame):
        ys: list[Any] = []
        fs: list[Any] = []
        for y, run in runs:
            first = start + len(ys)
            ys += [y] * len(run)
            fs += run
            pairs += pairwise(range(first, first + len(run)))
        batches.append(fixed(ys, fs, classes))
        start += len(ys)
    return Cloud(tuple(batches), tuple(pairs))


def _runs(frame: Frame) -> Iterator[tuple[list[tuple[Any, list[Any]]], int | None]]:
    """For each batch: runs of predictions beside one target, and the number of classes."""
    if not frame.classwise:
        targets = _TARGETS[frame.loss.y][:2] if frame.hard else _TARGETS[frame.loss.y]
        yield [(y, _beside(y, frame.loss.f)) for y in targets], None
        return
    for classes in WIDTHS:
        rng = random.Random(classes)
        rows = [_target_row(frame, classes, rng, k) for k in range(4)]
        yield (
            [
                (y, [_prediction_row(frame, classes, rng, k) for k in range(_ROWS // 4)] + _sure_rows(frame, y))
                for y in rows
            ],
            classes,
        )


def _beside(y: float, role: str) -> list[float]:
    """Predictions for one target, in order: near it, far from it, and of any size."""
    near = [y + s * step for step in _STEPS for s in (1, -1)]
    if role == "prob":
        return sorted({*_INSIDE, *(v for v in near if 0 < v < 1)})
    if role == "positive":
        return sorted({*_POSITIVE, *(v for v in near if v > 0)})
    return sorted({y, *near, *(s * v for v in _SCORES for s in (1, -1))})


def _target_row(frame: Frame, classes: int, rng: random.Random, index: int) -> Row:
    role = frame.loss.y
    if role == "onehot" or (role == "prob" and index == 0):
        hot = index % classes
        return tuple(float(k == hot) for k in range(classes))
    if role == "prob":
        return simplex([rng.uniform(-2, 2) for _ in range(classes)])
    if role == "binary":
        soft = index >= 2 and not frame.hard
        return tuple(rng.random() if soft else float(rng.randrange(2)) for _ in range(classes))
    return tuple(rng.choice(_TARGETS[role]) for _ in range(classes))


def _prediction_row(frame: Frame, classes: int, rng: random.Random, index: int) -> Row:
    spread = (0.3, 1.0, 2.0, 4.0)[index % 4]
    scores = [spread * rng.gauss(0, 1) for _ in range(classes)]
    if frame.loss.f == "prob":
        return simplex(scores)
    return tuple(abs(s) + 1e-3 for s in scores) if frame.loss.f == "positive" else tuple(scores)


def _sure_rows(frame: Frame, y: Row) -> list[Row]:
    """Probabilities that are nearly 1 at the greatest target."""
    if frame.loss.f != "prob":
        return []
    return [sure(len(y), y.index(max(y)), rest) for rest in (1e-5, 3e-8, 1e-9)]


def sure(classes: int, hot: int, rest: float) -> Row:
    """1 - rest at one class, in multiples of 2^-40 that sum to exactly 1."""
    part = max(1, int(rest / (classes - 1) * 2**40)) if classes > 1 else 0
    return tuple(1 - part * (classes - 1) / 2**40 if k == hot else part / 2**40 for k in range(classes))


def simplex(scores: Sequence[float]) -> Row:
    """The softmax of some scores, in multiples of 2^-40 that sum to exactly 1."""
    weights = [math.exp(s) for s in scores]
    parts = [max(1, int(w / sum(weights) * 2**40)) for w in weights]
    parts[parts.index(max(parts))] += 2**40 - sum(parts)
    return tuple(p / 2**40 for p in parts)


def fixed(ys: Sequence[Any], fs: Sequence[Any], classes: int | None) -> Points:
    """Points with these targets and predictions."""
    return Points({Y: tuple(ys), F: tuple(fs)}, ("fixed",) * len(ys), classes)


# -- the grid of distances -------------------------------------------------------------------------------------------


def grid(frame: Frame) -> Points:
    """The fixed grid of distances: 128 points where the roles say that y and f typically lie, or rows of 3 classes.

    It is a grid of what a model gives, so of scores where f is a probability.
    """
    rng = random.Random(7)
    y_role = ROLES[frame.loss.y]
    scores = frame.loss.f in ("prob", "logit")
    low, high = (-4.0, 4.0) if scores else ROLES[frame.loss.f].typical

    def target() -> float:
        if y_role.values:
            return rng.choice(y_role.values)
        drawn = rng.uniform(*y_role.typical)
        return float(round(drawn)) if y_role.integer else drawn

    if not frame.classwise:
        rows = [(target(), rng.uniform(low, high)) for _ in range(_GRID)]
        return fixed([y for y, _ in rows], [f for _, f in rows], None)
    classes = WIDTHS[0]
    whole = y_role.name in ("onehot", "prob")
    ys = [
        _target_row(frame, classes, rng, k) if whole else tuple(target() for _ in range(classes)) for k in range(_GRID)
    ]
    return fixed(ys, [tuple(rng.uniform(low, high) for _ in range(classes)) for _ in ys], classes)
