"""What is claimed of floating point, tried in torch: values, gradients and second derivatives on the box."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from benchmarks.verdict_attack.function import Function
from benchmarks.verdict_attack.points import SPECIAL, Array, rows
from lossc.compiler.analysis.verdicts.judge import Verdicts
from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.roles import ROLES
from lossc.compiler.targets.options import Options
from lossc.runtime.compiled import to_torch


class FloatClaims:
    """The formula as it is written, run by torch in the dtype that was judged."""

    def __init__(self, found: Verdicts, plain: Loss, count: int, seed: int) -> None:
        self.found, self.count = found, count
        self.rng = np.random.default_rng(seed)
        self.plain = plain
        free = replace(plain, y="real", f="real")
        self.whole = found.kind == "row" or free.layout == CLASSWISE
        self.module = to_torch(free, "none", options=Options(literal=True))
        self.dtype = getattr(torch, found.dtype)

    def _inputs(self) -> tuple[Array, Array]:
        (ylow, yhigh), (flow, fhigh) = self.found.box["y"], self.found.box["f"]
        if self.found.kind == "row":
            return self._rows(flow, fhigh)
        y, f = self._within(self.found.loss.y, ylow, yhigh), self._within(self.found.loss.f, flow, fhigh)
        tied = self.rng.random(self.count) < 0.1
        return y, np.where(tied & (y >= flow) & (y <= fhigh), y, f)

    def _within(self, role: str, low: float, high: float) -> Array:
        values = ROLES[role].values
        if values:
            return self.rng.choice(values, self.count)
        if ROLES[role].integer:
            return self.rng.integers(int(np.ceil(low)), int(high) + 1, self.count).astype(float)
        special = [v for v in (*SPECIAL, low, high, 1 - 2.0**-24) if low <= v <= high]
        small = np.clip(
            self.rng.choice([-1.0, 1.0], self.count) * 10 ** self.rng.uniform(-45, 2, self.count), low, high
        )
        kind = self.rng.random(self.count)
        drawn = np.where(kind < 0.5, self.rng.uniform(low, high, self.count), small)
        return np.where(kind > 0.85, self.rng.choice(special, self.count), drawn)

    def _rows(self, low: float, high: float) -> tuple[Array, Array]:
        classes, count = self.found.classes, self.count // self.found.classes
        if self.found.loss.f == "prob":
            f = rows("prob", classes, count, self.rng)
            f[: count // 10] = np.eye(classes)[self.rng.integers(0, classes, count // 10)]
        else:
            f = self.rng.uniform(low, high, (count, classes))
            f[: count // 4] = self.rng.choice([low, high, 0.0, 1.0], (count // 4, classes))
        y = np.eye(classes)[self.rng.integers(0, classes, count)]
        if self.found.loss.y == "binary":
            y = self.rng.integers(0, 2, (count, classes)).astype(float)
        return (2 * y - 1 if self.found.loss.y == "sign" else y), f

    def finite(self, order: int) -> Iterator[str]:
        """The value (order 0), autograd's gradient or its second derivative, element by element."""
        y, f = self._inputs()
        target = torch.tensor(y, dtype=torch.float64).to(self.dtype)
        given = torch.tensor(f, dtype=torch.float64).to(self.dtype).requires_grad_(order > 0)
        wide = self.whole and given.ndim == 1
        value = self.module(given[:, None], target[:, None]) if wide else self.module(given, target)
        out = value
        for k in range(order):
            (out,) = torch.autograd.grad(out.sum(), given, create_graph=k + 1 < order) if out.requires_grad else (
                torch.zeros_like(given),)  # fmt: skip
        bad = ~torch.isfinite(out.detach().reshape(len(f), -1)).all(dim=1)
        for i in torch.nonzero(bad)[:3, 0].tolist():
            yield f"not finite at y = {y[i].tolist()}, f = {f[i].tolist()}"

    def closed(self, function: Function, order: int) -> Iterator[str]:
        """The derivative itself, as a difference quotient with many digits, is a number of the dtype."""
        if self.found.kind == "row":
            return
        self.count, kept = 300, self.count
        y, f = self._inputs()
        self.count = kept
        top = float(torch.finfo(self.dtype).max)
        (low, high) = self.found.box["f"]
        for y0, f0 in zip(y.tolist(), f.tolist(), strict=True):
            side = 1 if f0 < high else -1
            size = abs((function.slope if order == 1 else function.bend)(y0, f0, side, 80))
            if not size <= top and low <= f0 <= high:
                yield f"derivative {function.ctx.nstr(size, 4)} at y = {y0!r}, f = {f0!r}"
