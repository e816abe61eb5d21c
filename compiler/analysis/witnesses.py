"""The inputs at which two losses are compared exactly."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lossc.compiler.analysis.frames import WIDTHS, Frame, fixed, sure
from lossc.compiler.ir import F, Y
from lossc.compiler.loss import Loss
from lossc.compiler.sampling import Points, points

_CERTAIN = 48
"""Rows of a batch of nearly certain predictions."""


def witnesses(frame: Frame, other: Loss, count: int) -> list[Points]:
    """About `count` inputs of the domain for the exact comparison with another loss, in a fixed mixed order.

    Where the other loss knows more of y or f than this frame does, as many inputs again are of its kind.
    """
    mine = frame.loss
    out = _sampled(frame, mine, count)
    y = other.y if mine.y == "real" and other.y in ("positive", "count") else mine.y
    f = other.f if frame.asis and mine.f == "real" and other.f in ("positive", "prob") else mine.f
    if (y, f) != (mine.y, mine.f):
        out += _sampled(frame, replace(mine, y=y, f=f), count)
    return out


def _sampled(frame: Frame, loss: Loss, count: int) -> list[Points]:
    drawn = points(loss, Y, F, count=2 * count if loss.f == "prob" else count)
    batches = [_within(frame, loss, batch) for batch in drawn]
    return batches + [_certain(classes) for classes in WIDTHS[:2] if frame.classwise and loss.y == "onehot"
                      and loss.f == "prob"]  # fmt: skip


def _certain(classes: int) -> Points:
    """Rows in which a model is all but sure, mostly rightly: there some losses have what little shape they have."""
    rng = random.Random(classes)
    ys, fs = [], []
    for k in range(_CERTAIN):
        hot = k % classes
        target = hot if k % 4 else (hot + 1) % classes
        ys.append(tuple(float(j == target) for j in range(classes)))
        fs.append(sure(classes, hot, 10 ** rng.uniform(-11, -4)))
    return fixed(ys, fs, classes)


def _within(frame: Frame, loss: Loss, batch: Points) -> Points:
    """The points with one-hot targets, binary ones as the frame has them, and probabilities strictly inside."""
    ys, fs = [], []
    for y, f in zip(batch.columns[Y], batch.columns[F], strict=True):
        row = f if isinstance(f, tuple) else (f,)
        if loss.f == "prob" and not all(0 < v < 1 for v in row):
            continue
        ys.append(_hardened(frame, y))
        fs.append(f)
    order = list(range(len(ys)))
    random.Random(0).shuffle(order)
    return fixed([ys[k] for k in order], [fs[k] for k in order], batch.num_classes)


def _hardened(frame: Frame, y: Any) -> Any:
    if frame.loss.y == "onehot" and isinstance(y, tuple):
        return tuple(float(k == y.index(max(y))) for k in range(len(y)))
    if frame.hard:
        return tuple(float(v >= 0.5) for v in y) if isinstance(y, tuple) else float(y >= 0.5)
    return y


def some(batch: Points, places: Sequence[int]) -> Points:
    """Some points of a batch."""
    columns = {leaf: tuple(values[k] for k in places) for leaf, values in batch.columns.items()}
    return Points(columns, tuple(batch.kinds[k] for k in places), batch.num_classes)
