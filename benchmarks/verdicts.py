"""Every verdict on the named losses attacked: what is proved at many points, what is refuted in torch.

    python -m benchmarks.verdicts                    # 100,000 points for each proved property
    python -m benchmarks.verdicts --write            # and puts the table into benchmarks/RESULTS.md
    python -m benchmarks.verdicts --points 2000 --only huber,ace

The attack knows nothing of how verdicts are reached: it computes the formula as written in float64 (NumPy) and tests
what the property says, by its definition, at random and special points. What looks like a violation is computed
again with 60 digits by mpmath, and counts if it stands. Refutations are replayed in torch.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import mpmath
import numpy as np
from numpy.typing import NDArray

from benchmarks.results import put_section
from lossc.compiler.analysis.verdicts.judge import Verdicts, judge
from lossc.compiler.analysis.verdicts.subject import at_values
from lossc.compiler.analysis.verdicts.verdict import PROVED, REFUTED, UNKNOWN, Verdict
from lossc.compiler.evaluate import evaluate
from lossc.compiler.float32 import evaluate_in
from lossc.compiler.formats import FLOAT64
from lossc.compiler.ir import F, Y
from lossc.compiler.loss import Loss
from lossc.compiler.sampling import Points
from lossc.grammar.library import named_losses
from lossc.runtime.replay import replay

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


class _OfTarget(Attacked):
    """The term of the target alone."""

    def targets(self, f: Array) -> Array:
        return np.ones_like(f)


@dataclass(frozen=True)
class Wrong:
    """A verdict that does not stand."""

    loss: str
    name: str
    why: str


Claim = Callable[[Attacked, Verdict, int], Iterator[str]]


# -- comparisons of values --------------------------------------------------------------------------------------------


def _violations(gap: Array, scale: Array, confirm: Callable[[int], str]) -> Iterator[str]:
    """Places where `gap` should not be positive and is, confirmed one by one, the worst first."""
    finite = np.isfinite(gap) & np.isfinite(scale)
    worst = np.where(finite, gap - SLACK * (scale + 1e-300), -np.inf)
    for i in np.argsort(-worst)[:CONFIRMED]:
        if worst[i] <= 0:
            return
        said = confirm(int(i))
        if said:
            yield said
            return


def _mp(x: object) -> object:
    return [mpmath.mpf(float(v)) for v in x] if isinstance(x, np.ndarray) else mpmath.mpf(float(x))  # type: ignore[arg-type]


def _between(a: object, b: object, t: float) -> object:
    if isinstance(a, list):
        return [(1 - mpmath.mpf(t)) * x + mpmath.mpf(t) * z for x, z in zip(a, b, strict=True)]  # type: ignore[call-overload]
    return (1 - mpmath.mpf(t)) * a + mpmath.mpf(t) * b  # type: ignore[operator]


def _chords(attacked: Attacked, n: int, bound: Callable[[Array, Array, Array, float], Array], what: str,
            exact: Callable[..., mpmath.mpf]) -> Iterator[str]:  # fmt: skip
    """L between two predictions against a bound made of its values there."""
    for t in (0.5, 0.1, 0.8):
        for y, a, b in _pairs(attacked, n // 3):
            middle = (1 - t) * a + t * b
            va, vm, vb = (attacked.values(y, v) for v in (a, middle, b))
            gap = vm - bound(va, vb, _distance(a, b), t)
            scale = np.maximum(np.maximum(abs(va), abs(vb)), abs(vm))

            def confirm(i: int, y: Array = y, a: Array = a, b: Array = b, t: float = t) -> str:
                target, left, right = _mp(y[i]), _mp(a[i]), _mp(b[i])
                with mpmath.workdps(60):
                    inner = attacked.exact(target, _between(left, right, t))
                    low, high = attacked.exact(target, left), attacked.exact(target, right)
                    over = inner - exact(low, high, _distance_exact(left, right), mpmath.mpf(t))
                    real = all(map(mpmath.isfinite, (inner, low, high))) and over > 1e-30 * (1 + abs(low) + abs(high))
                return f"{what}: y = {y[i]}, f = {a[i]} and {b[i]}, t = {t}" if real else ""

            yield from _violations(gap, scale, confirm)


def _real(
    attacked: Attacked, y: Array, points: tuple[Array, ...], over: Callable[..., mpmath.mpf], said: str
) -> Callable[[int], str]:
    """A confirmation: `over`, of exact values at some predictions and of their distance, is positive with 60 digits."""

    def confirm(i: int) -> str:
        with mpmath.workdps(60):
            target, at = _mp(y[i]), [_mp(p[i]) for p in points]
            values = [attacked.exact(target, f) for f in at]
            if not all(map(mpmath.isfinite, values)):
                return ""
            distance = _distance_exact(at[0], at[-1]) if len(at) > 1 else mpmath.mpf(0)
            found = over(*values, distance)
        return (
            f"{said}: y = {y[i]}, f = {', '.join(str(p[i]) for p in points)}"
            if found > 1e-25 * (1 + sum(map(abs, values)))
            else ""
        )

    return confirm


def _pairs(attacked: Attacked, n: int) -> Iterator[tuple[Array, Array, Array]]:
    """(y, a, b): a target and two predictions."""
    if attacked.rows:
        for classes in (*ROW_COUNTS, attacked.told.classes):
            y, a = attacked.row_points(classes, n // 3)
            yield y, a, attacked.row_points(classes, len(a))[1]
        return
    a = attacked.numbers(attacked.loss.f, n)
    b = np.where(
        attacked.rng.random(n) < 0.5, attacked.numbers(attacked.loss.f, n), a * (1 + attacked.rng.normal(0, 0.2, n))
    )
    if attacked.loss.f == "prob":
        b = np.clip(b, 1e-12, 1 - 1e-12)
    if attacked.loss.f == "positive":
        b = np.maximum(b, 1e-9)
    yield attacked.targets(a), a, b


def _distance(a: Array, b: Array) -> Array:
    return np.sqrt(((a - b) ** 2).sum(axis=1)) if a.ndim == 2 else abs(a - b)


def _distance_exact(a: object, b: object) -> mpmath.mpf:
    if isinstance(a, list):
        return mpmath.sqrt(mpmath.fsum((x - z) ** 2 for x, z in zip(a, b, strict=True)))  # type: ignore[call-overload]
    return abs(a - b)  # type: ignore[operator]


def convex(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """Below every chord."""
    yield from _chords(attacked, n, lambda va, vb, d, t: (1 - t) * va + t * vb, "above the chord",
                       lambda va, vb, d, t: (1 - t) * va + t * vb)  # fmt: skip


def strongly_convex(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """Below every chord by m t(1 - t)/2 times the square of its length."""
    m = float(verdict.value) * (1 - 1e-3)
    if attacked.told.kind == "classes":  # of the target's term: the others may not depend on f
        attacked = _OfTarget(attacked.loss, attacked.told, n, 1)
    yield from _chords(attacked, n, lambda va, vb, d, t: (1 - t) * va + t * vb - m * t * (1 - t) / 2 * d * d,
                       f"not convex with the modulus {m}",
                       lambda va, vb, d, t: (1 - t) * va + t * vb - m * t * (1 - t) / 2 * d * d)  # fmt: skip


def quasiconvex(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """Never above both ends."""
    yield from _chords(attacked, n, lambda va, vb, d, t: np.maximum(va, vb), "a hill", lambda va, vb, d, t: max(va, vb))


def strictly_convex(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """Strictly below, with 200 digits, at some pairs (of cases that f enters)."""
    for y, a, b in _pairs(attacked, min(n, 60)):
        for i in range(len(a)):
            with mpmath.workdps(120):
                target, left, right = _mp(y[i]), _mp(a[i]), _mp(b[i])
                values = [evaluate(attacked.body, {Y: target, F: v}, dps=120, ctx=mpmath.mp)
                          for v in (left, (left + right) / 2, right)]  # fmt: skip
                if (
                    abs(left - right) > 1e-3
                    and abs(left) + abs(right) + abs(target) < 60
                    and all(map(mpmath.isfinite, values))
                ):
                    moves = max(values) != min(values)
                    if moves and not values[1] < (values[0] + values[2]) / 2:
                        yield f"straight between {a[i]} and {b[i]} for y = {y[i]}"
                        return


def lipschitz(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """|L(a) - L(b)| <= K |a - b|, where a constant is given."""
    try:
        k = float(verdict.value) * (1 + 1e-3)
    except ValueError:
        return
    for y, a, b in _pairs(attacked, n):
        if attacked.rows and a.shape[1] != attacked.told.classes:
            continue  # the constant is that of so many classes
        if attacked.rows:
            b = a.copy()
            b[:, 0] += attacked.rng.normal(0, 1, len(a))
        va, vb = attacked.values(y, a), attacked.values(y, b)
        gap = abs(va - vb) - k * _distance(a, b)
        yield from _violations(
            gap, 0 * gap, _real(attacked, y, (a, b), lambda p, q, d: abs(p - q) - k * d, f"steeper than {k}")
        )


def smooth(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """Second differences are bounded by the constant."""
    try:
        k = float(verdict.value) * (1 + 1e-3)
    except ValueError:
        return
    for y, a, b in _pairs(attacked, n):
        va, vm, vb = (attacked.values(y, v) for v in (a, (a + b) / 2, b))
        gap = abs(va - 2 * vm + vb) - k * (_distance(a, b) / 2) ** 2
        ends = (a, (a + b) / 2, b)
        yield from _violations(
            gap,
            0 * gap,
            _real(
                attacked,
                y,
                ends,
                lambda p, m, q, d: abs(p - 2 * m + q) - k * (d / 2) ** 2 - 1e-12 * (1 + d),
                f"bends more than {k}",
            ),
        )


def monotone(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """One direction for each target."""
    for y, a, b in _pairs(attacked, n):
        low, high = np.minimum(a, b), np.maximum(a, b)
        rise = attacked.values(y, high) - attacked.values(y, low)
        scale = abs(attacked.values(y, high)) + abs(attacked.values(y, low))
        for t in np.unique(y)[:4] if attacked.loss.y in TARGETS else [None]:
            here = np.ones(len(y), dtype=bool) if t is None else y == t
            up = (rise > SLACK * scale) & here & np.isfinite(rise)
            down = (rise < -SLACK * scale) & here & np.isfinite(rise)
            if up.any() and down.any():
                yield f"rises between {low[up][0]}, {high[up][0]} and falls between {low[down][0]}, {high[down][0]}"


def bounded_below(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """L >= the bound, where one is given."""
    try:
        bound = float(verdict.value)
    except ValueError:
        return
    for y, a, _ in _pairs(attacked, n):
        values = attacked.values(y, a)
        low = mpmath.mpf(bound) - abs(bound) / 10**5
        confirm = _real(attacked, y, (a,), lambda v, d, low=low: low - v, f"below {bound}")
        yield from _violations(bound - values, 0 * values, confirm)


def nonnegative(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """L >= 0, of the sum over a row where classes add up."""
    if attacked.told.kind == "soft":
        y = attacked.rng.dirichlet(np.ones(4), n // 4)
        f = attacked.rng.dirichlet(np.full(4, 0.5), n // 4).clip(1e-12, 1)
        total = sum(attacked.values(y[:, k], f[:, k]) for k in range(4))
        yield from _violations(-np.asarray(total) - 1e-9, abs(np.asarray(total)), lambda i: "the sum is negative")
        return
    for y, a, _ in _pairs(attacked, n):
        values = attacked.values(y, a)
        yield from _violations(-values, 0 * values, _real(attacked, y, (a,), lambda v, d: -v, "negative"))


def continuous(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """A step of 10^-9 changes L by next to nothing, or by ever less for smaller ones."""
    for y, a, _ in _pairs(attacked, n):
        step = 1e-9 * np.maximum(1.0, abs(a)) if not attacked.rows else 1e-9
        b = np.clip(a + step, None, 1 - 1e-13) if attacked.loss.f == "prob" else a + step
        va, vb = attacked.values(y, a), attacked.values(y, b)

        def confirm(i: int, y: Array = y, a: Array = a) -> str:
            target, at = _mp(y[i]), _mp(a[i])
            sizes = []
            with mpmath.workdps(60):
                for k in (20, 30, 40):
                    moved = (
                        [v + mpmath.mpf(10) ** -k for v in at] if isinstance(at, list) else at + mpmath.mpf(10) ** -k
                    )
                    sizes.append(abs(attacked.exact(target, moved) - attacked.exact(target, at)))
            return f"jumps at f = {a[i]}, y = {y[i]}" if sizes[2] > 1e-3 * sizes[0] and sizes[2] > 1e-12 else ""

        yield from _violations(abs(va - vb) - 1e-6, abs(va) + abs(vb), confirm)


def _derivative_jumps(order: int) -> Claim:
    def attack(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
        """Differences on both sides of points, with 60 digits: equal for smaller and smaller steps."""
        if attacked.rows:
            return
        f = attacked.numbers(attacked.loss.f, min(n, 120))
        y = attacked.targets(f)
        if (attacked.loss.y, attacked.loss.f) in COMPARABLE:
            f = np.concatenate([f, y])
            y = np.concatenate([y, y])
        for target, at in zip(y, f, strict=True):
            if abs(at) > 1e3 or (attacked.loss.f == "positive" and at < 1e-6):
                continue
            gaps = []
            with mpmath.workdps(120):
                for k in (12, 16):
                    h = mpmath.mpf(10) ** -k
                    at_, t_ = mpmath.mpf(float(at)), mpmath.mpf(float(target))
                    v = {
                        j: evaluate(attacked.body, {Y: t_, F: at_ + j * h}, dps=120, ctx=mpmath.mp)
                        for j in range(-3, 4)
                    }
                    if not all(map(mpmath.isfinite, v.values())):
                        break
                    right, left = v[1] - v[0], v[0] - v[-1]
                    if order == 2:
                        right, left = v[3] - 2 * v[2] + v[1], v[-1] - 2 * v[-2] + v[-3]
                    gaps.append(abs(right - left) / (h**order + abs(right) + abs(left)))
            if len(gaps) == 2 and gaps[1] > 1e-2 * gaps[0] and gaps[1] > 1e-7:
                yield f"order {order} jumps at f = {at}, y = {target}: {mpmath.nstr(gaps[1], 5)}"
                return

    return attack


def robust(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """Far out, the slope grows no more (regression: both ways; else for the wrong prediction)."""
    for y, f in _far(attacked):
        slopes = [
            abs(attacked.exact(y, s * f + 1) - attacked.exact(y, s * f))
            for s in (mpmath.mpf(10) ** 5, mpmath.mpf(10) ** 8)
        ]
        if all(map(mpmath.isfinite, slopes)) and slopes[1] > 2 * slopes[0] + 1e-9:
            yield f"the slope grows for y = {y}: {mpmath.nstr(slopes, 4)}"
            return


def redescending(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """Far out, the slope vanishes."""
    for y, f in _far(attacked):
        slope = abs(attacked.exact(y, mpmath.mpf(10) ** 12 * f + 1) - attacked.exact(y, mpmath.mpf(10) ** 12 * f))
        if mpmath.isfinite(slope) and slope > 1e-4:
            yield f"slope {mpmath.nstr(slope, 4)} far out for y = {y}"
            return


def _far(attacked: Attacked) -> Iterator[tuple[float, float]]:
    if attacked.loss.y == "sign":
        yield from ((1.0, -1.0), (-1.0, 1.0))
    elif attacked.loss.y == "binary":
        yield from ((1.0, -1.0), (0.0, 1.0))
    else:
        for y in (0.0, 1.0, 2.5) if attacked.loss.y == "count" else (0.5, 1.0, 7.0):
            yield from ((y, 1.0), (y, -1.0)) if attacked.loss.f == "real" else ((y, 1.0),)


def no_dead_zone(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """Three near predictions with exactly one value, for a loss that f enters."""
    for y, a, _ in _pairs(attacked, min(n, 200)):
        for i in range(len(a)):
            if abs(a[i]) > 12 or (attacked.loss.y == "onehot" and y[i] == 0) or abs(y[i]) > 12:
                continue
            with mpmath.workdps(200):
                at, h = mpmath.mpf(float(a[i])), mpmath.mpf(float(a[i] or 1)) / 1000
                values = {
                    evaluate(attacked.body, {Y: _mp(y[i]), F: at + k * h}, dps=200, ctx=mpmath.mp) for k in range(3)
                }
            if len(values) == 1 and all(map(mpmath.isfinite, values)):
                yield f"flat at f = {a[i]}, y = {y[i]}"
                return


# -- towards the target, statistics, form ------------------------------------------------------------------------------


def towards(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """Further from the target, or less sure of it, L is no smaller."""
    if attacked.rows:
        for classes in ROW_COUNTS:
            y, f = attacked.row_points(classes, n // 4)
            if attacked.loss.f == "prob":
                continue
            better = f + np.where(y > 0, 1.0, -1.0) * abs(attacked.rng.normal(0, 1, f.shape))
            gap = attacked.values(y, better) - attacked.values(y, f)
            yield from _violations(
                gap, 0 * gap, _real(attacked, y, (better, f), lambda p, q, d: p - q, "a better row loses more")
            )
        return
    y, a, b = next(_pairs(attacked, n))
    if attacked.loss.y in TARGETS:
        up = y > 0
        better, worse = (
            np.where(up, np.maximum(a, b), np.minimum(a, b)),
            np.where(up, np.minimum(a, b), np.maximum(a, b)),
        )
    else:
        side = np.where(attacked.rng.random(len(y)) < 0.5, 1.0, -1.0)
        near, far = np.minimum(abs(a - y), abs(b - y)), np.maximum(abs(a - y), abs(b - y))
        better, worse = y + side * near, y + side * far
        if attacked.loss.f == "positive":
            better, worse = np.maximum(better, 1e-9), np.maximum(worse, 1e-9)
    vb, vw = attacked.values(y, better), attacked.values(y, worse)
    yield from _violations(vb - vw, abs(vb) + abs(vw), lambda i: f"y = {y[i]}: L({better[i]}) > L({worse[i]})")


def minimum_at_target(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """No prediction beats f = y."""
    if attacked.rows or attacked.loss.y in TARGETS:
        return
    y, f, _ = next(_pairs(attacked, n))
    best, there = attacked.values(y, y), attacked.values(y, f)
    yield from _violations(best - there, abs(best) + abs(there), lambda i: f"L({f[i]}) < L(y) for y = {y[i]}")


def mean_consistent(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """Two distributions of one mean: the differences of expected losses are the same."""
    rng = attacked.rng
    m = 1 + attacked.rng.uniform(0, 6, n // 4)
    if attacked.loss.y == "count":
        m = np.round(m) + 3
    spread = [
        np.round(rng.uniform(0, 3, len(m))) if attacked.loss.y == "count" else rng.uniform(0, 1, len(m)) for _ in "ab"
    ]
    f, g = (attacked.numbers(attacked.loss.f, len(m)).clip(-5, 5) for _ in "ab")
    if attacked.loss.f == "positive":
        f, g = f.clip(0.01), g.clip(0.01)
    risks = [[attacked.values(m - s, h) / 2 + attacked.values(m + s, h) / 2 for h in (f, g)] for s in spread]
    gap = abs((risks[0][0] - risks[0][1]) - (risks[1][0] - risks[1][1]))
    yield from _violations(
        gap, sum(abs(r) for two in risks for r in two), lambda i: f"mean {m[i]}: other things matter"
    )


def median_consistent(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """Of five targets, none but the median has the least expected loss."""
    y = np.sort(attacked.rng.normal(0, 3, (n // 20, 5)), axis=1)
    best = sum(attacked.values(y[:, k], y[:, 2]) for k in range(5))
    for _ in range(4):
        f = y[:, 2] + attacked.rng.normal(0, 1, len(y))
        other = sum(attacked.values(y[:, k], f) for k in range(5))
        yield from _violations(
            np.asarray(best - other), abs(np.asarray(best)) + 1e-9, lambda i: "another constant is better"
        )


def proper(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """No prediction has a smaller expected loss than the truth."""
    rng, loss = attacked.rng, attacked.loss
    if loss.y == "binary":
        p, q = (rng.uniform(0.001, 0.999, n // 2) for _ in "pq")
        f = [v if loss.f == "prob" else np.log(v / (1 - v)) for v in (p, q)]
        one, zero = np.ones_like(p), np.zeros_like(p)
        risks = [p * attacked.values(one, v) + (1 - p) * attacked.values(zero, v) for v in f]
        yield from _violations(risks[0] - risks[1], abs(risks[0]), lambda i: f"p = {p[i]}: {q[i]} is better")
        return
    for classes in ROW_COUNTS:
        p, q = (rng.dirichlet(np.full(classes, 0.8), n // 10).clip(1e-6, 1) for _ in "pq")
        p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
        risks = [_expected(attacked, p, v) for v in (p, q)]
        said = [f"p = {a}: {b} is better" for a, b in zip(p, q, strict=True)]
        yield from _violations(risks[0] - risks[1], abs(risks[0]) + 1e-9, said.__getitem__)


def _expected(attacked: Attacked, p: Array, q: Array) -> Array:
    """The expected loss of predictions q where the targets have probabilities p."""
    classes = p.shape[1]
    f = q if attacked.loss.f == "prob" else np.log(q)
    total = np.zeros(len(p))
    if attacked.told.kind == "soft":
        return np.asarray(sum(attacked.values(p[:, k], f[:, k]) for k in range(classes)))
    for k in range(classes):
        y = np.zeros_like(p)
        y[:, k] = 1
        if attacked.rows:
            value = attacked.values(y, f)
        else:
            value = np.asarray(sum(attacked.values(y[:, j], f[:, j]) for j in range(classes)))
        total += p[:, k] * value
    return total


def calibrated(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """Of scores on a grid, the best one has the sign of the likelier label."""
    grid = np.concatenate([-np.geomspace(1e-4, 30, 200)[::-1], [0.0], np.geomspace(1e-4, 30, 200)])
    if attacked.loss.f == "prob":
        grid = np.linspace(0.001, 0.999, 401)
    middle = 0.5 if attacked.loss.f == "prob" else 0.0
    low = -1.0 if attacked.loss.y == "sign" else 0.0
    one, other = attacked.values(np.ones_like(grid), grid), attacked.values(np.full_like(grid, low), grid)
    for eta in (0.52, 0.6, 0.75, 0.9, 0.99, 0.3, 0.05):
        risk = eta * one + (1 - eta) * other
        best = grid[np.nanargmin(risk)]
        if (best > middle) != (eta > 0.5) and best != middle:
            yield f"eta = {eta}: the best score is {best}"
            return


def _same(
    change: Callable[[Attacked, Array, Array], tuple[Array, Array]], factor: Callable[[Verdict], float], what: str
) -> Claim:
    def attack(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
        f = attacked.numbers(attacked.loss.f, n)
        y = attacked.targets(f)
        grain = 2.0**-20  # so that shifts and factors are exact
        f, y = (
            np.maximum(np.round(v / grain), 1 if attacked.loss.f == "positive" else -np.inf) * grain for v in (f, y)
        )
        other = change(attacked, y, f)
        a, b = attacked.values(y, f) * factor(verdict), attacked.values(*other)
        inputs = abs(y) + abs(f) + abs(other[0]) + abs(other[1])

        def confirm(i: int) -> str:
            with mpmath.workdps(60):
                left = attacked.exact(_mp(y[i]), _mp(f[i])) * factor(verdict)
                right = attacked.exact(_mp(other[0][i]), _mp(other[1][i]))
                real = (
                    abs(left - right) > 1e-6 * (abs(left) + abs(right))
                    and mpmath.isfinite(left)
                    and mpmath.isfinite(right)
                )
            return f"{what}: y = {y[i]}, f = {f[i]}" if real and inputs[i] < 1e5 else ""

        yield from _violations(abs(a - b) - 1e-6 * (abs(a) + abs(b)), abs(a) + abs(b), confirm)

    return attack


def _shift(attacked: Attacked, y: Array, f: Array) -> tuple[Array, Array]:
    return y + 0.5, f + 0.5


ATTACKS: dict[str, Claim] = {
    "convex": convex, "strictly-convex": strictly_convex, "strongly-convex": strongly_convex,
    "quasi-convex": quasiconvex, "monotone": monotone, "bounded-below": bounded_below, "nonnegative": nonnegative,
    "lipschitz": lipschitz,
    "smooth": smooth, "robust": robust, "redescending": redescending, "no-dead-zone": no_dead_zone,
    "continuous": continuous, "C1": _derivative_jumps(1), "C2": _derivative_jumps(2), "gradient-sign": towards,
    "minimum-at-target": minimum_at_target, "mean-consistent": mean_consistent, "median-consistent": median_consistent,
    "proper": proper, "calibrated": calibrated,
    "distance": _same(_shift, lambda v: 1.0, "moves with a shift"),
    "margin": _same(lambda a, y, f: (-y, -f), lambda v: 1.0, "changes with both signs"),
    "symmetric": _same(lambda a, y, f: (f, y), lambda v: 1.0, "changes when exchanged"),
    "homogeneous": _same(lambda a, y, f: (2 * y, 2 * f), lambda v: 2.0 ** _fraction(v.value), "of another degree"),
}  # fmt: skip
"""How each proved property is attacked; those of floating point are, in torch."""


def _fraction(text: str) -> float:
    from fractions import Fraction

    return float(Fraction(text))


# -- floating point, in torch -----------------------------------------------------------------------------------------


def floats(attacked: Attacked, names: list[str], n: int) -> Iterator[tuple[str, str]]:
    """Value, gradient and second derivative by torch, of the formula as written, all over the box."""
    from dataclasses import replace

    import torch

    from lossc.compiler.targets.options import Options
    from lossc.runtime.compiled import to_torch

    if not names or attacked.rows:
        return
    told = attacked.told
    plain = replace(at_values(attacked.loss, told.classes), y="real", f="real")
    module = to_torch(plain, "none", options=Options(literal=True))
    dtype = getattr(torch, told.dtype)
    low, high = told.box["f"]
    f = attacked.rng.uniform(low, high, n)
    f[: n // 4] = np.clip(attacked.numbers(attacked.loss.f, n // 4), low, high)
    f[:3] = low, high, min(max(0.0, low), high)
    y = attacked.targets(f).clip(*told.box["y"])
    given = torch.tensor(f, dtype=torch.float64).to(dtype).requires_grad_()
    target = torch.tensor(y, dtype=torch.float64).to(dtype)
    value = module(given, target)
    first = second = torch.zeros_like(given)
    if value.requires_grad:
        (first,) = torch.autograd.grad(value.sum(), given, create_graph=True)
        if first.requires_grad:
            (second,) = torch.autograd.grad(first.sum(), given, allow_unused=True, materialize_grads=True)
    for name, got in (("finite-value", value), ("autograd-gradient", first), ("autograd-hessian", second)):
        bad = ~torch.isfinite(got)
        if name in names and bad.any():
            i = int(bad.nonzero()[0, 0])
            yield name, f"{float(got[i])} at y = {float(target[i])}, f = {float(given[i])}"


# -- all of it --------------------------------------------------------------------------------------------------------


def attack(loss: Loss, told: Verdicts, points: int, seed: int = 0) -> list[Wrong]:
    """The verdicts on a loss that do not stand."""
    wrong = []
    attacked = Attacked(loss, told, points, seed)
    with np.errstate(all="ignore"):
        for name, verdict in told.found.items():
            if verdict.status == PROVED and name in ATTACKS:
                wrong += [Wrong(loss.name, name, why) for why in ATTACKS[name](attacked, verdict, points)]
            if verdict.witness is not None and not verdict.witness.holds(replay(loss, verdict.witness, told.classes)):
                wrong.append(Wrong(loss.name, name, "the witness does not replay"))
        sure = [n for n in told.of(PROVED) if n.startswith(("finite", "autograd"))]
        wrong += [Wrong(loss.name, name, why) for name, why in floats(attacked, sure, points)]
    return wrong


def main() -> None:
    """Run the attack and print, or write, the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--only", default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    chosen = {n: one for n, one in named_losses().items() if not args.only or n in args.only.split(",")}
    judge(next(iter(chosen.values())))  # imports, once
    times, counts, wrong = [], Counter[str](), []
    for one in chosen.values():
        began = time.perf_counter()
        told = judge(one)
        times.append(time.perf_counter() - began)
        counts.update(v.status for v in told.found.values())
        found = attack(one, told, args.points, args.seed)
        wrong += found
        for w in found:
            print(f"WRONG {w.loss} {w.name}: {w.why}", flush=True)
    text = _table(len(chosen), times, counts, wrong, args.points)
    print(text)
    if args.write:
        put_section(
            "verdicts", "Verdicts: speed, coverage, and an attack", "python -m benchmarks.verdicts --write", text
        )


def _table(losses: int, times: list[float], counts: Counter[str], wrong: list[Wrong], points: int) -> str:
    total = sum(counts.values())
    share = 100 * (1 - counts[UNKNOWN] / total)
    rows = [
        f"| all verdicts on a named loss, median (95 %, most) | {statistics.median(times):.2f} s "
        f"({np.quantile(times, 0.95):.2f}, {max(times):.2f}) | < 1 s |",
        f"| decided, of {losses} losses x the properties that apply ({total:,}) | {share:.1f} % | >= 90 % |",
        f"| proved, each attacked at {points:,} points (derivatives and strictness: some hundred, with mpmath) "
        f"| {counts[PROVED]:,} | |",
        f"| refuted, each replayed in torch | {counts[REFUTED]:,} | |",
        f"| wrong | {len(wrong)} | 0 |",
    ]
    note = "".join(f"\n- {w.loss}, {w.name}: {w.why}" for w in wrong[:20])
    return "\n".join(["| | measured | target |", "|---|---|---|", *rows]) + note


if __name__ == "__main__":
    main()
