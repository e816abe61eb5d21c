"""What a proved verdict on rows claims (classes that depend on each other, and sums over the classes), tried on rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.verdict_attack.claims import EXACT
from benchmarks.verdict_attack.function import Function, worst
from benchmarks.verdict_attack.points import Array, rows


class RowClaims:
    """The attacks on one loss of rows."""

    def __init__(self, function: Function, count: int, seed: int) -> None:
        self.function, self.rng = function, np.random.default_rng(seed)
        self.classes = function.classes
        self.count = max(count // self.classes, 100)
        self.y_role, self.f_role = function.loss.y, function.loss.f

    def _targets(self, count: int) -> Array:
        if self.y_role == "onehot":
            return np.eye(self.classes)[self.rng.integers(0, self.classes, count)]
        if self.y_role == "prob":
            return rows("prob", self.classes, count, self.rng)
        bits = self.rng.integers(0, 2, (count, self.classes)).astype(float)
        return 2 * bits - 1 if self.y_role == "sign" else bits

    def _predictions(self, count: int) -> Array:
        return rows(self.f_role, self.classes, count, self.rng)

    def _exact(self, y: Array, f: Array) -> Any:
        return self.function.exact(y.tolist(), f.tolist())

    def convex(self, modulus: float = 0.0) -> Iterator[str]:
        y, a, b = self._targets(self.count), self._predictions(self.count), self._predictions(self.count)
        near = self.rng.random(self.count) < 0.5
        b[near] = a[near] + 0.1 * (b[near] - a[near])
        middle = (a + b) / 2
        va, vm, vb = (self.function.rows(y, x) for x in (a, middle, b))
        with np.errstate(all="ignore"):
            gap, scale = vm - (va + vb) / 2, np.abs(va) + np.abs(vb) + np.abs(vm)
        mp = self.function.ctx
        for i in worst(gap, scale):
            between = [(mp.mpf(p) + q) / 2 for p, q in zip(a[i].tolist(), b[i].tolist(), strict=True)]
            ea, eb = self._exact(y[i], a[i]), self._exact(y[i], b[i])
            em = self.function.exact(y[i].tolist(), between)
            if em - (ea + eb) / 2 > EXACT * (abs(ea) + abs(eb)):
                yield f"above the chord between {a[i].tolist()} and {b[i].tolist()}"

    def bounded_below(self, bound: float | None) -> Iterator[str]:
        if bound is None:
            return
        y, f = self._targets(self.count), self._predictions(self.count)
        values = self.function.rows(y, f)
        for i in worst(bound - values, np.ones_like(values)):
            if self._exact(y[i], f[i]) < bound - 1e-5 * (abs(bound) + 1e-300):
                yield f"below {bound} at {f[i].tolist()}"

    def nonnegative(self) -> Iterator[str]:
        y, f = self._targets(self.count), self._predictions(self.count)
        if self.y_role == "prob":
            f[: self.count // 2] = y[: self.count // 2] * (1 + 1e-3 * self.rng.normal(size=f[: self.count // 2].shape))
            if self.f_role == "prob":
                f = np.clip(f, 1e-300, None)
                f /= f.sum(axis=1, keepdims=True)
        values = self.function.rows(y, f)
        for i in worst(-values, np.abs(values) + 1e-30):
            row = [self.function.ctx.mpf(v) for v in f[i].tolist()]
            target = [self.function.ctx.mpf(v) for v in y[i].tolist()]
            if self.f_role == "prob":
                row = [v / self.function.ctx.fsum(row) for v in row]
                target = [v / self.function.ctx.fsum(target) for v in target] if self.y_role == "prob" else target
            value = self.function.exact(target, row)
            if value < 0:
                yield f"{self.function.ctx.nstr(value, 5)} at {f[i].tolist()}"

    def lipschitz(self, constant: float | None) -> Iterator[str]:
        y, a = self._targets(self.count), self._predictions(self.count)
        k = self.rng.integers(0, self.classes, self.count)
        step = 10 ** self.rng.uniform(-4, 2, self.count)
        b = a.copy()
        b[np.arange(self.count), k] += step
        with np.errstate(all="ignore"):
            rise = np.abs(self.function.rows(y, b) - self.function.rows(y, a))
        if constant is None:
            far = rise / step
            if float(np.nanmax(far)) > 1e6:
                yield f"a secant as steep as {np.nanmax(far)}"
            return
        for i in worst(rise - constant * step, rise + constant * step):
            width = self.function.ctx.mpf(float(b[i, k[i]])) - float(a[i, k[i]])
            if abs(self._exact(y[i], b[i]) - self._exact(y[i], a[i])) > constant * (1 + 1e-3) * width:
                yield f"steeper than {constant} at {a[i].tolist()}"

    def gradient_sign(self) -> Iterator[str]:
        y, a = self._targets(self.count), self._predictions(self.count)
        k = self.rng.integers(0, self.classes, self.count)
        k = np.where(self.rng.random(self.count) < 0.4, y.argmax(axis=1), k)
        b = a.copy()
        b[np.arange(self.count), k] += 10 ** self.rng.uniform(-6, 1, self.count)
        if self.f_role == "prob":
            b = np.minimum(b, 1 - 1e-12)
        wanted = y[np.arange(self.count), k] > 0
        with np.errstate(all="ignore"):
            va, vb = self.function.rows(y, a), self.function.rows(y, b)
            gap = np.where(wanted, vb - va, va - vb)
        for i in worst(gap, np.abs(va) + np.abs(vb)):
            rise = self._exact(y[i], b[i]) - self._exact(y[i], a[i])
            if (rise > 0 if wanted[i] else rise < 0) and b[i, k[i]] > a[i, k[i]]:
                yield f"leads away at {a[i].tolist()}, class {k[i]}"

    def minimum_at_target(self) -> Iterator[str]:
        y, f = self._targets(self.count), self._predictions(self.count)
        if self.f_role == "prob":
            sure = np.where(y > 0, 1 - (self.classes - 1) * 1e-12, 1e-12)
        else:
            sure = np.where(y > 0, 1e6, -1e6)
        with np.errstate(all="ignore"):
            v, least = self.function.rows(y, f), self.function.rows(y, sure)
            gap = least - v
        for i in worst(gap, np.abs(v) + np.abs(least)):
            here, there = self._exact(y[i], f[i]), self._exact(y[i], sure[i])
            if here < there - EXACT * abs(there) - 1e-9:
                yield f"smaller at {f[i].tolist()} than where the target is certain"

    def proper(self) -> Iterator[str]:
        """No other probabilities have a smaller expected loss than the true ones."""
        ctx = self.function.ctx
        tries = min(self.count // 20, 400)
        truths = rows("prob", self.classes, tries, self.rng)
        lies = rows("prob", self.classes, tries, self.rng)
        near = self.rng.random(tries) < 0.5
        lies[near] = 0.9 * truths[near] + 0.1 * lies[near]
        for p, q in zip(truths, lies, strict=True):
            if self.y_role == "prob":
                risks = [float(self.function.rows(p[None], x[None])[0]) for x in (p, q)]
            else:
                targets = np.eye(self.classes)
                risks = [float(np.dot(p, self.function.rows(targets, np.tile(self._scores(x), (self.classes, 1)))))
                         for x in (p, q)]  # fmt: skip
            if risks[0] - risks[1] > 1e-9 * (abs(risks[0]) + abs(risks[1])):
                yield f"a lie {q.tolist()} beats the truth {p.tolist()} by {ctx.nstr(risks[0] - risks[1], 3)}"

    def _scores(self, p: Array) -> Array:
        return p if self.f_role == "prob" else np.log(p)

    def of_class(self, order: int) -> Iterator[str]:
        """Along single coordinates no derivative jumps: by halving towards where it changes most."""
        for _ in range(4):
            y, f = self._targets(1)[0], self._predictions(1)[0]
            k = int(self.rng.integers(0, self.classes))
            others = [float(v) for i, v in enumerate(f) if i != k]
            line = sorted({*others, *(float(f[k]) + s for s in (-3.0, -1.0, -0.2, 0.1, 0.7, 2.5))})
            if self.f_role == "prob":
                line = [x for x in line if 0 < x < 1]
            if len(line) > 1:
                yield from self._jumps(y, f, k, line, order)

    def _jumps(self, y: Array, f: Array, k: int, line: list[float], order: int) -> Iterator[str]:
        mp = self.function.ctx

        def at(x: Any) -> Any:
            with mp.workdps(100):
                h = mp.mpf(10) ** -25
                values = []
                for step in range(order + 1):
                    row = [mp.mpf(v) for v in f.tolist()]
                    row[k] = mp.mpf(x) + step * h
                    values.append(self.function.exact(y.tolist(), row, 100))
                for _ in range(order):
                    values = [(b - a) / h for a, b in zip(values, values[1:], strict=False)]
                return values[0]

        for low, high in zip(line, line[1:], strict=False):
            a, b = mp.mpf(low) - mp.mpf("1e-3"), mp.mpf(high) - mp.mpf("1e-3")
            va, vb = at(a), at(b)
            first = abs(vb - va)
            with mp.workdps(40):
                for _ in range(60):
                    m = (a + b) / 2
                    vm = at(m)
                    a, va, b, vb = (a, va, m, vm) if abs(vm - va) >= abs(vb - vm) else (m, vm, b, vb)
            if abs(vb - va) > 1e-6 * first and abs(vb - va) > 1e-9 * (abs(va) + abs(vb)):
                yield f"derivative {order} jumps at class {k} of {f.tolist()}"
