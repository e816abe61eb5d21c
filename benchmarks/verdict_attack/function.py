"""A loss as a function of y and f: fast in float64, and exact in mpmath, from the formula as it is written."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import mpmath
import numpy as np

from benchmarks.verdict_attack.points import Array
from lossc.compiler.evaluate import evaluate
from lossc.compiler.float32 import evaluate_in
from lossc.compiler.formats import FLOAT64
from lossc.compiler.ir import Expr, F, Y, const, node, param, substitute
from lossc.compiler.loss import Loss, varies
from lossc.compiler.ops import call
from lossc.compiler.sampling import Points

DIGITS = 80


class Function:
    """L(y, f) with hyper-parameters at their defaults; `classes` where the formula asks for their number."""

    def __init__(self, loss: Loss, classes: int, link: str = "") -> None:
        values: dict[Expr, Expr] = {param(p.name): const(p.default) for p in loss.params if p.default is not None}
        self.loss, self.classes = loss, classes
        body = substitute(loss.body, values | {node("num_classes"): const(classes)})
        self.body = substitute(body, {F: call(link, F)}) if link else body
        self.ctx = mpmath.mp.clone()
        self.ctx.dps = DIGITS

    @cached_property
    def _sums(self) -> bool:
        return varies(self.body)

    def __call__(self, y: Array, f: Array) -> Array:
        """Values of single predictions."""
        columns = {Y: tuple(y.tolist()), F: tuple(f.tolist())}
        (out,) = evaluate_in(FLOAT64, [self.body], Points(columns, ("",) * len(f)))
        return np.asarray(out).reshape(-1)

    def rows(self, y: Array, f: Array) -> Array:
        """Values of rows [n, C]: summed over the classes."""
        points = Points(
            {Y: tuple(map(tuple, y.tolist())), F: tuple(map(tuple, f.tolist()))}, ("",) * len(f), f.shape[1]
        )
        (out,) = evaluate_in(FLOAT64, [self.body], points)
        out = np.asarray(out)
        return out.sum(axis=1) if self._sums else out[:, 0]

    def exact(self, y: Any, f: Any, digits: int = DIGITS) -> Any:
        """The value of one prediction (numbers), or of one row (sequences)."""
        with self.ctx.workdps(digits):
            if not isinstance(f, (list, tuple)):
                return evaluate(self.body, {Y: y, F: f}, dps=digits, ctx=self.ctx)
            out = evaluate(self.body, {Y: list(y), F: list(f)}, num_classes=len(f), dps=digits, ctx=self.ctx)
            if not isinstance(out, list):
                return out
            return self.ctx.fsum(out) if self._sums else out[0]

    def slope(self, y: Any, f: Any, side: int = 1, h: int = 30) -> Any:
        """A one-sided difference quotient over 10^-h, with the digits that it takes."""
        with self.ctx.workdps(4 * h):
            step = self.ctx.mpf(10) ** -h * side
            there = self.ctx.mpf(f)
            return (self.exact(y, there + step, 4 * h) - self.exact(y, there, 4 * h)) / step

    def bend(self, y: Any, f: Any, side: int = 1, h: int = 30) -> Any:
        """A one-sided second difference quotient."""
        with self.ctx.workdps(6 * h):
            step = self.ctx.mpf(10) ** -h * side
            there = self.ctx.mpf(f)
            a, b, c = (self.exact(y, there + k * step, 6 * h) for k in (0, 1, 2))
            return (a - 2 * b + c) / step**2


def worst(gap: Array, scale: Array, allowed: Sequence[int] | None = None, count: int = 12) -> list[int]:
    """The places where `gap` is greatest relative to `scale`: those to look at in mpmath."""
    with np.errstate(all="ignore"):
        ratio = np.where(np.isfinite(gap) & np.isfinite(scale), gap / np.maximum(scale, 1e-300), -np.inf)
    order = np.argsort(-ratio)[:count]
    return [int(i) for i in order if ratio[i] > -1e-9]
