"""What a proved verdict on single predictions claims, tried at very many points.

Each attack yields a line for every violation that mpmath confirms.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from benchmarks.verdict_attack.function import Function, worst
from benchmarks.verdict_attack.points import Array, numbers, pairs, predictions

_DEEP = 150.0
"""Predictions beyond this are not asked for what needs more than 80 digits: 1 - exp(-f)."""
EXACT = 1e-30
"""What a violation must be in mpmath, relative to the size of the numbers."""


class Claims:
    """The attacks on one loss of single predictions; `kind` as the verdicts have it, `target` if there is but one."""

    def __init__(self, function: Function, kind: str, count: int, seed: int, target: float | None = None) -> None:
        self.function, self.kind, self.count, self.target = function, kind, count, target
        self.rng = np.random.default_rng(seed)
        self.y_role, self.f_role = function.loss.y, function.loss.f
        if kind == "classes":
            self.y_role = "onehot"

    # -- points ------------------------------------------------------------------------------------------------------

    def _targets(self, count: int) -> Array:
        if self.target is not None:
            return np.full(count, self.target)
        y = numbers(self.y_role, count, self.rng, 4)
        return (
            np.where(self.rng.random(count) < 0.1, self.rng.choice([0.0, 1.0], count), y)
            if self.y_role == "prob"
            else y
        )

    def _points(self) -> tuple[Array, Array]:
        y = self._targets(self.count)
        return y, predictions(self.f_role, y, self.rng)

    def _pairs(self) -> tuple[Array, Array, Array]:
        y = self._targets(self.count)
        low, high = pairs(self.f_role, y, self.rng)
        return y, low, high

    def _triples(self) -> tuple[Array, Array, Array, Array]:
        """Two predictions, and one between them."""
        y, low, high = self._pairs()
        t = np.where(self.rng.random(self.count) < 0.5, 0.5, self.rng.random(self.count))
        return y, low, low + t * (high - low), high

    def _some(self, count: int, most: float = 1e6) -> Iterator[tuple[float, float]]:
        """A few points, none greater than `most`: exp(1000) takes more digits than are computed."""
        y = self._targets(count)
        f = predictions(self.f_role, y, self.rng, 6)
        for one in zip(y.tolist(), f.tolist(), strict=True):
            if max(map(abs, one)) <= most:
                yield one

    def constant(self, y: float) -> bool:
        """Whether f does not enter for this target."""
        values = [self.function.exact(y, f) for f in self._spread()]
        return all(v == values[0] for v in values)

    def _spread(self) -> list[float]:
        return [0.1, 0.3, 0.55, 0.8, 0.95] if self.f_role == "prob" else [0.1, 0.7, 2.0, 9.0, 40.0] + (
            [] if self.f_role == "positive" else [-0.3, -2.5, -30.0])  # fmt: skip

    # -- shape -------------------------------------------------------------------------------------------------------

    def convex(self, modulus: float = 0.0) -> Iterator[str]:
        y, a, m, b = self._triples()
        va, vm, vb = (self.function(y, x) for x in (a, m, b))
        with np.errstate(all="ignore"):
            t = (m - a) / (b - a)
            gap = vm - ((1 - t) * va + t * vb) + modulus / 2 * t * (1 - t) * (b - a) ** 2
            scale = np.abs(va) + np.abs(vb) + np.abs(vm)
        for i in worst(gap, scale):
            yield from self._chord(float(y[i]), float(a[i]), float(m[i]), float(b[i]), modulus)
        for y0, f0 in self._some(150):  # and close by, with all digits
            h = 10.0 ** self.rng.uniform(-12, -1) * max(1.0, abs(f0))
            if self._inside(f0 - h) and self._inside(f0 + h):
                yield from self._chord(y0, f0 - h, f0, f0 + h, modulus)

    def _inside(self, f: float) -> bool:
        return f > 0 if self.f_role == "positive" else 0 < f < 1 if self.f_role == "prob" else True

    def _chord(self, y: float, a: float, m: float, b: float, modulus: float) -> Iterator[str]:
        if not a < m < b:
            return
        mp = self.function.ctx
        va, vm, vb = (self.function.exact(y, x) for x in (a, m, b))
        t = (mp.mpf(m) - a) / (mp.mpf(b) - a)
        gap = vm - ((1 - t) * va + t * vb) + mp.mpf(modulus) / 2 * t * (1 - t) * (mp.mpf(b) - a) ** 2
        if any(map(mp.isnan, (va, vm, vb))) and max(abs(a), abs(b)) < _DEEP:
            yield f"no value at y = {y!r}, f = {a!r}, {m!r} or {b!r}"
        elif gap > EXACT * (abs(va) + abs(vm) + abs(vb)):
            yield f"above the chord by {mp.nstr(gap, 3)} at y = {y!r}, f = {a!r}, {m!r}, {b!r}"

    def strictly_convex(self) -> Iterator[str]:
        yield from self.convex()
        mp = self.function.ctx
        for y, f in self._some(300, _DEEP):
            h = 10.0 ** self.rng.uniform(-3, 0.5)
            if self.constant(y) or not (self._inside(f - h) and self._inside(f + h)):
                continue
            va, vm, vb = (self.function.exact(y, mp.mpf(f) + k * mp.mpf(h), 400) for k in (-1, 0, 1))
            if (va + vb) / 2 - vm <= 0 and mp.isfinite(vm):
                yield f"straight at y = {y!r}, f = {f!r} +- {h!r}"

    def quasi_convex(self) -> Iterator[str]:
        y, a, m, b = self._triples()
        va, vm, vb = (self.function(y, x) for x in (a, m, b))
        with np.errstate(all="ignore"):
            gap, scale = vm - np.maximum(va, vb), np.abs(va) + np.abs(vb) + np.abs(vm)
        for i in worst(gap, scale):
            exact = [self.function.exact(float(y[i]), float(x[i])) for x in (a, m, b)]
            if exact[1] - max(exact[0], exact[2]) > EXACT * sum(map(abs, exact)):
                yield f"a hump at y = {y[i]!r}, f = {a[i]!r}, {m[i]!r}, {b[i]!r}"

    def monotone(self) -> Iterator[str]:
        """For each target one way only."""
        for y in {float(v) for v in self._targets(60)}:
            ys = np.full(max(self.count // 60, 50), y)
            low, high = pairs(self.f_role, ys, self.rng)
            with np.errstate(all="ignore"):
                rise = self.function(ys, high) - self.function(ys, low)
                scale = np.abs(self.function(ys, low)) + np.abs(self.function(ys, high))
            ways = set()
            for i in [*worst(rise, scale, count=3), *worst(-rise, scale, count=3)]:
                step = self.function.exact(y, float(high[i])) - self.function.exact(y, float(low[i]))
                ways.add(0 if step == 0 else 1 if step > 0 else -1)
            if {1, -1} <= ways:
                yield f"it rises and falls at y = {y!r}"

    # -- size --------------------------------------------------------------------------------------------------------

    def bounded_below(self, bound: float | None) -> Iterator[str]:
        y, f = self._points()
        values = self.function(y, f)
        if bound is not None:
            slack = 1e-5 * (abs(bound) + 1e-300)
            for i in worst(bound - values, np.ones_like(values)):
                value = self.function.exact(float(y[i]), float(f[i]))
                if value < bound - slack:
                    yield f"{self.function.ctx.nstr(value, 8)} < {bound} at y = {y[i]!r}, f = {f[i]!r}"
            return
        for y0 in {float(v) for v in self._targets(12)}:
            for far in self._far():
                seen = [self.function.exact(y0, x) for x in far]
                steps = [b - a for a, b in itertools.pairwise(seen)]
                if all(s < -1 for s in steps[-3:]):
                    yield f"it falls without end at y = {y0!r}, f = {far[-1]}"

    def _far(self) -> list[list[Any]]:
        mp = self.function.ctx
        if self.f_role == "prob":
            return [
                [mp.mpf(10) ** -k for k in (5, 20, 40, 80, 160)],
                [1 - mp.mpf(10) ** -k for k in (5, 10, 20, 40, 70)],
            ]
        out = [[mp.mpf(10) ** k for k in (2, 10, 40, 80, 160)]]
        out.append(
            [mp.mpf(10) ** -k for k in (2, 10, 40, 80, 160)] if self.f_role == "positive" else [-x for x in out[0]]
        )
        return out

    def nonnegative(self) -> Iterator[str]:
        if self.kind in ("classes", "soft") and self.f_role == "prob":
            return  # of the sum: `row_claims`
        y, f = self._points()
        values = self.function(y, f)
        for i in worst(-values, np.abs(values) + 1e-30):
            value = self.function.exact(float(y[i]), float(f[i]))
            if value < 0:
                yield f"{self.function.ctx.nstr(value, 5)} at y = {y[i]!r}, f = {f[i]!r}"

    def lipschitz(self, constant: float | None) -> Iterator[str]:
        mp = self.function.ctx
        y, a, b = self._pairs()
        with np.errstate(all="ignore"):
            rise = np.abs(self.function(y, b) - self.function(y, a))
            ratio = rise / (b - a)
        if constant is not None:
            places = worst(rise - constant * (b - a), np.abs(rise) + constant * (b - a))
            for i in places:
                exact = abs(
                    self.function.exact(float(y[i]), float(b[i])) - self.function.exact(float(y[i]), float(a[i]))
                )
                if exact > constant * (1 + 1e-3) * (mp.mpf(float(b[i])) - float(a[i])):
                    yield f"a secant steeper than {constant} at y = {y[i]!r}, f = {a[i]!r}, {b[i]!r}"
            for y0, f0 in self._some(200):
                slope = abs(self.function.slope(y0, f0))
                if slope > constant * (1 + 1e-3) or mp.isnan(slope):
                    yield f"slope {mp.nstr(slope, 6)} beyond {constant} at y = {y0!r}, f = {f0!r}"
            return
        usual = float(np.nanquantile(ratio[np.isfinite(ratio)], 0.9)) + 1
        for y0 in {float(v) for v in self._targets(8)}:
            for far in self._far():
                slopes = [abs((self.function.exact(y0, x * mp.mpf("1.001")) - self.function.exact(y0, x)) / (x / 1000))
                          for x in far if self._inside(x * mp.mpf("1.001"))]  # fmt: skip
                if slopes and slopes[-1] > 1e9 * usual:
                    yield f"slope {mp.nstr(slopes[-1], 4)} at y = {y0!r}, f = {mp.nstr(far[-1], 5)}"

    def smooth(self, constant: float | None) -> Iterator[str]:
        yield from self.of_class(1)
        if constant is None:
            return
        mp = self.function.ctx
        for y0, f0 in self._some(600):
            h = mp.mpf(10) ** -self.rng.uniform(0.5, 12)
            if not (self._inside(f0 - h) and self._inside(f0 + h)):
                continue
            va, vm, vb = (self.function.exact(y0, mp.mpf(f0) + k * h, 120) for k in (-1, 0, 1))
            noise = mp.mpf(10) ** -100 * (abs(va) + abs(vb))
            if abs(va - 2 * vm + vb) > constant * (1 + 1e-3) * h**2 + noise:
                yield f"bends more than {constant} at y = {y0!r}, f = {f0!r} +- {mp.nstr(h, 3)}"

    def robust(self) -> Iterator[str]:
        yield from self._far_slopes(lambda far, usual: far > 1e6 * (usual + 1))

    def redescending(self) -> Iterator[str]:
        yield from self._far_slopes(lambda far, usual: far > 1e-3 * usual and far > 1e-9)

    def _far_slopes(self, wrong: Callable[[Any, Any], bool]) -> Iterator[str]:
        mp = self.function.ctx
        for y0 in {float(v) for v in self._targets(12)}:
            usual = max((abs(self.function.slope(y0, x)) for x in self._spread()), default=0)
            for side in (1, -1):
                if (self.y_role == "sign" and side == y0) or (self.y_role == "binary" and (side > 0) == (y0 > 0)):
                    continue
                x = side * mp.mpf(10) ** 60
                far = abs((self.function.exact(y0, 2 * x) - self.function.exact(y0, x)) / x)
                if wrong(far, usual):
                    yield f"slope {mp.nstr(far, 4)} at y = {y0!r}, f = {mp.nstr(x, 3)}"

    def no_dead_zone(self) -> Iterator[str]:
        mp = self.function.ctx
        for y0, f0 in self._some(400, _DEEP):
            h = mp.mpf(10) ** -self.rng.uniform(0, 4)
            xs = [mp.mpf(f0) + k * h for k in (0, 1, 2, 3)]
            if self.constant(y0) or not all(map(self._inside, xs)):
                continue
            values = [self.function.exact(y0, x, 400) for x in xs]
            if all(v == values[0] for v in values):
                yield f"flat at y = {y0!r}, f = {f0!r}"

    # -- smoothness --------------------------------------------------------------------------------------------------

    def of_class(self, order: int) -> Iterator[str]:
        """No jump of a derivative: looked for by halving towards where it changes most."""
        quotient = (lambda y, f, s: self.function.exact(y, f, 160), self.function.slope, self.function.bend)[order]
        mp = self.function.ctx
        for y0 in sorted({float(v) for v in self._targets(10) if abs(v) < _DEEP}):
            line = np.unique(predictions(self.f_role, np.full(160, y0), self.rng, 3))
            line = line[np.abs(line) < _DEEP]
            values = [quotient(y0, float(f), 1) for f in line]
            steps = [abs(b - a) for a, b in itertools.pairwise(values)]
            if any(mp.isnan(s) for s in steps):
                bad = next(float(f) for f, v in zip(line, values, strict=True) if mp.isnan(v) or mp.isinf(v))
                if order == 0 or mp.isnan(quotient(y0, bad, -1)):
                    yield f"no value at y = {y0!r}, f = {bad!r}"
                continue
            for i in sorted(range(len(steps)), key=lambda i: -steps[i])[:6]:
                yield from self._halved(quotient, y0, mp.mpf(float(line[i])), mp.mpf(float(line[i + 1])), order)

    def _halved(self, quotient: Callable[..., Any], y: float, a: Any, b: Any, order: int) -> Iterator[str]:
        mp = self.function.ctx
        va, vb = quotient(y, a, 1), quotient(y, b, 1)
        first = abs(vb - va)
        with mp.workdps(60):
            for _ in range(80):
                m = (a + b) / 2
                vm = quotient(y, m, 1)
                if abs(vm - va) >= abs(vb - vm):
                    b, vb = m, vm
                else:
                    a, va = m, vm
        if abs(vb - va) > max(1e-9 * first, 1e-12 * (abs(va) + abs(vb)), mp.mpf(10) ** -30):
            yield f"derivative {order} jumps from {mp.nstr(va, 6)} to {mp.nstr(vb, 6)} at y = {y!r}, f = {mp.nstr(a, 18)}"

    # -- towards the target ------------------------------------------------------------------------------------------

    def gradient_sign(self) -> Iterator[str]:
        """Between two predictions on one side of the target, the loss does not grow towards it."""
        y, a, b = self._pairs()
        up = y > 0 if self.kind in ("margin", "label", "classes") else None
        if up is None:
            a, b = np.where(a < y, a, np.maximum(a, y)), np.where(a < y, np.minimum(b, y), b)
            up = b <= y
        with np.errstate(all="ignore"):
            va, vb = self.function(y, a), self.function(y, b)
            gap = np.where(up, vb - va, va - vb)
            scale = np.abs(va) + np.abs(vb)
        keep = (a < b) & (self.f_role not in ("positive",) or a > 0)
        for i in worst(np.where(keep, gap, -np.inf), scale):
            exact = self.function.exact(float(y[i]), float(b[i])) - self.function.exact(float(y[i]), float(a[i]))
            if (exact > 0) if up[i] else (exact < 0):
                yield f"leads away between f = {a[i]!r} and {b[i]!r}, y = {y[i]!r}"

    def minimum_at_target(self) -> Iterator[str]:
        y, f = self._points()
        if self.kind in ("margin", "label"):
            best = np.where(y > 0, 1.0, -1.0) * 1e15 if self.f_role != "prob" else np.where(y > 0, 1 - 1e-13, 1e-13)
        else:
            best = y
        keep = np.isfinite(self.function(y, best)) & (best > 0 if self.f_role == "positive" else True)
        with np.errstate(all="ignore"):
            v, least = self.function(y, f), self.function(y, best)
            gap, scale = np.where(keep, least - v, -np.inf), np.abs(v) + np.abs(least)
        slack = 1e-12 if self.kind in ("margin", "label") else 0
        for i in worst(gap, scale):
            here, there = (self.function.exact(float(y[i]), float(x[i])) for x in (f, best))
            if here < there - EXACT * abs(there) - slack:
                yield f"smaller at f = {f[i]!r} than at {best[i]!r}, y = {y[i]!r}"

    # -- statistics --------------------------------------------------------------------------------------------------

    def mean_consistent(self) -> Iterator[str]:
        """What is best for the mean is best for every distribution with that mean."""
        for _ in range(40):
            ys, chances = self._distribution()
            mean = float(np.dot(ys, chances))
            grid = self._grid(ys)
            at_mean = self.function(np.full_like(grid, mean), grid)
            if not np.isfinite(at_mean).any():
                continue
            best = grid[int(np.nanargmin(at_mean))]
            yield from self._beaten(ys, chances, best, "the best one for the mean")

    def median_consistent(self) -> Iterator[str]:
        for _ in range(60):
            ys = np.sort(numbers(self.y_role, 5, self.rng, 1))
            yield from self._beaten(ys, np.full(5, 0.2), float(ys[2]), "the median", 0.0)

    def _distribution(self) -> tuple[Array, Array]:
        ys = numbers(self.y_role, 5, self.rng, 1)
        chances = self.rng.dirichlet(np.ones(5))
        if self.y_role == "count":
            ys[0] = max(ys[0], 1)
        return ys, chances

    def _grid(self, ys: Array) -> Array:
        low, high = float(ys.min()), float(ys.max())
        width = high - low + 3
        return np.concatenate([np.linspace(max(low - width, 1e-9) if self.f_role == "positive" else low - width,
                                           high + width, 20001), ys])  # fmt: skip

    def _beaten(self, ys: Array, chances: Array, best: float, word: str, slack: float = 1e-6) -> Iterator[str]:
        """A prediction with a smaller expected loss, by more than the step of the grid explains."""
        if self.f_role == "positive" and best <= 0:
            return
        grid = self._grid(ys)
        with np.errstate(all="ignore"):
            expected = sum(c * self.function(np.full_like(grid, y), grid) for y, c in zip(ys, chances, strict=True))
        i = int(np.nanargmin(expected))
        ctx = self.function.ctx
        there, here = (ctx.fsum(ctx.mpf(c) * self.function.exact(float(y), x) for y, c in zip(ys, chances, strict=True))
                       for x in (float(grid[i]), best))  # fmt: skip
        if there < here - (slack * (1 + abs(here)) if slack else EXACT * abs(here)):
            yield f"f = {grid[i]!r} beats {word} {best!r} for y = {ys.tolist()}"

    def proper_label(self) -> Iterator[str]:
        """The expected loss of a label at any other probability is no smaller."""
        p, q = numbers("prob", self.count, self.rng), numbers("prob", self.count, self.rng)
        one, zero = np.ones_like(p), np.zeros_like(p)

        def scores(x: Array) -> Array:
            return x if self.f_role == "prob" else np.log(x) - np.log1p(-x)

        with np.errstate(all="ignore"):
            truth, lie = (p * self.function(one, scores(x)) + (1 - p) * self.function(zero, scores(x)) for x in (p, q))
        ctx = self.function.ctx
        for i in worst(truth - lie, np.abs(truth) + np.abs(lie)):
            a = ctx.mpf(float(p[i]))

            def risk(x: Any, a: Any = a) -> Any:
                f = x if self.f_role == "prob" else ctx.log(x) - ctx.log1p(-x)
                return a * self.function.exact(1, f) + (1 - a) * self.function.exact(0, f)

            if risk(a) - risk(ctx.mpf(float(q[i]))) > EXACT * abs(risk(a)):
                yield f"a lie {q[i]!r} beats the truth {p[i]!r}"

    def calibrated(self) -> Iterator[str]:
        """The least risk over scores of the wrong sign is greater than that over all."""
        grid = np.concatenate([10 ** np.linspace(-8, 3, 4001)])
        low = -1.0 if self.y_role == "sign" else 0.0
        for eta in (0.51, 0.6, 0.8, 0.99, 0.4, 0.05):

            def risk(f: Array, eta: float = eta) -> Array:
                return eta * self.function(np.ones_like(f), f) + (1 - eta) * self.function(np.full_like(f, low), f)

            with np.errstate(all="ignore"):
                right, wrong = risk(grid), risk(np.append(-grid, 0.0))
            if eta < 0.5:
                right, wrong = risk(-grid), risk(np.append(grid, 0.0))
            if np.nanmin(wrong) < np.nanmin(right) - 1e-12:
                yield f"a score of the wrong sign is better for a probability of {eta}"

    # -- form --------------------------------------------------------------------------------------------------------

    def _same(self, what: Callable[[float, float], tuple[Any, Any, Any, Any, Any]], word: str) -> Iterator[str]:
        for y, f in self._some(2000):
            y0, f0, y1, f1, factor = what(y, f)
            a, b = self.function.exact(y0, f0), self.function.exact(y1, f1)
            if abs(a * factor - b) > EXACT * (abs(a * factor) + abs(b)):
                yield f"{word}: y = {y!r}, f = {f!r}"

    def distance(self) -> Iterator[str]:
        mp = self.function.ctx
        yield from self._same(lambda y, f: (mp.mpf(y), mp.mpf(f), mp.mpf(y) + 3, mp.mpf(f) + 3, 1), "moving changes it")
        yield from self._same(
            lambda y, f: (mp.mpf(y), mp.mpf(f), 0, mp.mpf(f) - mp.mpf(y), 1), "moving to y = 0 changes it"
        )

    def margin(self) -> Iterator[str]:
        yield from self._same(lambda y, f: (y, f, -y, -f, 1), "turning both signs changes it")

    def symmetric(self) -> Iterator[str]:
        yield from self._same(lambda y, f: (y, f, f, y, 1), "exchanging changes it")

    def homogeneous(self, degree: Fraction) -> Iterator[str]:
        mp = self.function.ctx
        exponent = mp.mpf(degree.numerator) / degree.denominator
        for t in (3, mp.mpf(1) / 7):
            power = mp.mpf(t) ** exponent
            whole = t if self.y_role != "count" or t == 3 else 3
            power = power if whole == t else mp.mpf(3) ** exponent
            yield from self._same(
                lambda y, f, t=whole, p=power: (mp.mpf(y), mp.mpf(f), mp.mpf(y) * t, mp.mpf(f) * t, p), "scaling"
            )
