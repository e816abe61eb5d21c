"""Where verdicts are attacked: values of y and f by their roles, random at every scale, and special ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SPECIAL = (0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 1e-7, -1e-7, 1e-12, 3.0, 10.0, -10.0, 1e3, -1e3, 1e6, 0.1, -0.1, 1.5)
SHARES = (0.5, 0.25, 1e-7, 1 - 1e-7, 1e-3, 0.999, 0.1, 0.9, 1 / 3, 1e-12, 2 / 3, 0.75)


def numbers(role: str, count: int, rng: np.random.Generator, reach: float = 12.0) -> Array:
    """`count` values of a role: special ones, some of moderate size, some of every order of magnitude."""
    if role in ("binary", "onehot"):
        return rng.integers(0, 2, count).astype(float)
    if role == "sign":
        return 2.0 * rng.integers(0, 2, count) - 1
    if role == "count":
        return np.where(rng.random(count) < 0.7, rng.integers(0, 12, count), rng.integers(0, 2000, count)).astype(float)
    if role == "prob":
        return _shares(count, rng)
    moderate = rng.uniform(-6, 6, count)
    wide = rng.choice([-1.0, 1.0], count) * 10 ** rng.uniform(-12, reach, count)
    picked = rng.choice(SPECIAL, count)
    kind = rng.random(count)
    out = np.where(kind < 0.55, moderate, np.where(kind < 0.9, wide, picked))
    return np.maximum(np.abs(out), 1e-12) if role == "positive" else out


def _shares(count: int, rng: np.random.Generator) -> Array:
    even, odds = rng.random(count), 1 / (1 + np.exp(rng.uniform(-28, 28, count)))
    out = np.where(rng.random(count) < 0.5, even, odds)
    out = np.where(rng.random(count) < 0.1, rng.choice(SHARES, count), out)
    return np.clip(out, 1e-13, 1 - 1e-13)


def predictions(role: str, y: Array, rng: np.random.Generator, reach: float = 12.0) -> Array:
    """Predictions for given targets: many of them close to the target."""
    count = len(y)
    out = numbers(role, count, rng, reach)
    if role in ("real", "positive"):
        near = y + rng.choice([-1.0, 1.0], count) * 10 ** rng.uniform(-9, 2, count)
        out = np.where(rng.random(count) < 0.35, near, out)
        out = np.where(rng.random(count) < 0.02, y + rng.choice([-1.0, 1.0, 0.0, 0.5, 2.0], count), out)
    return np.maximum(out, 1e-12) if role == "positive" else out


def pairs(role: str, y: Array, rng: np.random.Generator, reach: float = 12.0) -> tuple[Array, Array]:
    """Two predictions each, the first one smaller: far apart, or close together."""
    a = predictions(role, y, rng, reach)
    b = predictions(role, y, rng, reach)
    close = a + rng.choice([-1.0, 1.0], len(y)) * np.maximum(np.abs(a), 1e-3) * 10 ** rng.uniform(-5, 0, len(y))
    b = np.where(rng.random(len(y)) < 0.5, b, close)
    if role == "prob":
        b = np.clip(b, 1e-13, 1 - 1e-13)
    if role == "positive":
        b = np.maximum(b, 1e-12)
    low, high = np.minimum(a, b), np.maximum(a, b)
    return low, np.where(high == low, np.nextafter(high, np.inf), high)


def rows(role: str, classes: int, count: int, rng: np.random.Generator) -> Array:
    """Rows of predictions [count, classes]."""
    if role == "prob":
        sharp = 10 ** rng.uniform(-1.5, 1, (count, 1))
        logits = rng.normal(size=(count, classes)) / sharp
        z = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares = z / z.sum(axis=1, keepdims=True)
        return np.maximum(shares, 1e-300)
    scale = 10 ** rng.uniform(-2, 2, (count, 1))
    out = rng.normal(size=(count, classes)) * scale
    ties = rng.random(count) < 0.1
    out[ties, 1] = out[ties, 0]
    return np.abs(out) + 1e-9 if role == "positive" else out
