"""Claims about a loss as a function of the prediction, tested by values at several predictions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import mpmath
import numpy as np

from benchmarks.attacked import (
    COMPARABLE,
    CONFIRMED,
    ROW_COUNTS,
    SLACK,
    TARGETS,
    Array,
    Attacked,
    Claim,
    Entered,
)
from lossc.compiler.analysis.verdicts.verdict import Verdict
from lossc.compiler.evaluate import evaluate
from lossc.compiler.ir import F, Y

# -- comparisons of values --------------------------------------------------------------------------------------------


def violations(gap: Array, scale: Array, confirm: Callable[[int], str]) -> Iterator[str]:
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


def exactly(x: object) -> object:
    """A float, or a row of them, as mpf."""
    return [mpmath.mpf(float(v)) for v in x] if isinstance(x, np.ndarray) else mpmath.mpf(float(x))  # type: ignore[arg-type]


def between(a: object, b: object, t: float) -> object:
    """The point at a part t of the way from one prediction to another."""
    if isinstance(a, list):
        return [(1 - mpmath.mpf(t)) * x + mpmath.mpf(t) * z for x, z in zip(a, b, strict=True)]  # type: ignore[call-overload]
    return (1 - mpmath.mpf(t)) * a + mpmath.mpf(t) * b  # type: ignore[operator]


def chords(attacked: Attacked, n: int, bound: Callable[[Array, Array, Array, float], Array], what: str,
            exact: Callable[..., mpmath.mpf]) -> Iterator[str]:  # fmt: skip
    """L between two predictions against a bound made of its values there."""
    for t in (0.5, 0.1, 0.8):
        for y, a, b in pairs(attacked, n // 3):
            middle = (1 - t) * a + t * b
            va, vm, vb = (attacked.values(y, v) for v in (a, middle, b))
            gap = vm - bound(va, vb, distances(a, b), t)
            scale = np.maximum(np.maximum(abs(va), abs(vb)), abs(vm))

            def confirm(i: int, y: Array = y, a: Array = a, b: Array = b, t: float = t) -> str:
                target, left, right = exactly(y[i]), exactly(a[i]), exactly(b[i])
                with mpmath.workdps(60):
                    inner = attacked.exact(target, between(left, right, t))
                    low, high = attacked.exact(target, left), attacked.exact(target, right)
                    over = inner - exact(low, high, distance_exact(left, right), mpmath.mpf(t))
                    real = all(map(mpmath.isfinite, (inner, low, high))) and over > 1e-30 * (1 + abs(low) + abs(high))
                return f"{what}: y = {y[i]}, f = {a[i]} and {b[i]}, t = {t}" if real else ""

            yield from violations(gap, scale, confirm)


def confirmed(
    attacked: Attacked, y: Array, points: tuple[Array, ...], over: Callable[..., mpmath.mpf], said: str
) -> Callable[[int], str]:
    """A confirmation: `over`, of exact values at some predictions and of their distance, is positive with 60 digits."""

    def confirm(i: int) -> str:
        with mpmath.workdps(60):
            target, at = exactly(y[i]), [exactly(p[i]) for p in points]
            values = [attacked.exact(target, f) for f in at]
            if not all(map(mpmath.isfinite, values)):
                return ""
            distance = distance_exact(at[0], at[-1]) if len(at) > 1 else mpmath.mpf(0)
            found = over(*values, distance)
        return (
            f"{said}: y = {y[i]}, f = {', '.join(str(p[i]) for p in points)}"
            if found > 1e-25 * (1 + sum(map(abs, values)))
            else ""
        )

    return confirm


def pairs(attacked: Attacked, n: int) -> Iterator[tuple[Array, Array, Array]]:
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


def distances(a: Array, b: Array) -> Array:
    """How far predictions are apart."""
    return np.sqrt(((a - b) ** 2).sum(axis=1)) if a.ndim == 2 else abs(a - b)


def distance_exact(a: object, b: object) -> mpmath.mpf:
    """The same for mpf."""
    if isinstance(a, list):
        return mpmath.sqrt(mpmath.fsum((x - z) ** 2 for x, z in zip(a, b, strict=True)))  # type: ignore[call-overload]
    return abs(a - b)  # type: ignore[operator]


def convex(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """Below every chord."""
    yield from chords(attacked, n, lambda va, vb, d, t: (1 - t) * va + t * vb, "above the chord",
                       lambda va, vb, d, t: (1 - t) * va + t * vb)  # fmt: skip


def strongly_convex(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """Below every chord by m t(1 - t)/2 times the square of its length."""
    m = float(verdict.value) * (1 - 1e-3)
    if attacked.told.kind == "classes":
        attacked = Entered(attacked.loss, attacked.told, n, 1)
    yield from chords(attacked, n, lambda va, vb, d, t: (1 - t) * va + t * vb - m * t * (1 - t) / 2 * d * d,
                       f"not convex with the modulus {m}",
                       lambda va, vb, d, t: (1 - t) * va + t * vb - m * t * (1 - t) / 2 * d * d)  # fmt: skip


def quasiconvex(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """Never above both ends."""
    yield from chords(attacked, n, lambda va, vb, d, t: np.maximum(va, vb), "a hill", lambda va, vb, d, t: max(va, vb))


def strictly_convex(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """Strictly below, with 200 digits, at some pairs (of cases that f enters)."""
    for y, a, b in pairs(attacked, min(n, 60)):
        for i in range(len(a)):
            with mpmath.workdps(120):
                target, left, right = exactly(y[i]), exactly(a[i]), exactly(b[i])
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
    for y, a, b in pairs(attacked, n):
        if attacked.rows and a.shape[1] != attacked.told.classes:
            continue  # the constant is that of so many classes
        if attacked.rows:
            b = a.copy()
            b[:, 0] += attacked.rng.normal(0, 1, len(a))
        va, vb = attacked.values(y, a), attacked.values(y, b)
        gap = abs(va - vb) - k * distances(a, b)
        yield from violations(
            gap, 0 * gap, confirmed(attacked, y, (a, b), lambda p, q, d: abs(p - q) - k * d, f"steeper than {k}")
        )


def smooth(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """Second differences are bounded by the constant."""
    try:
        k = float(verdict.value) * (1 + 1e-3)
    except ValueError:
        return
    for y, a, b in pairs(attacked, n):
        va, vm, vb = (attacked.values(y, v) for v in (a, (a + b) / 2, b))
        gap = abs(va - 2 * vm + vb) - k * (distances(a, b) / 2) ** 2

        def confirm(i: int, y: Array = y, a: Array = a, b: Array = b) -> str:
            with mpmath.workdps(60):
                target, left, right = exactly(y[i]), exactly(a[i]), exactly(b[i])
                p, m, q = (attacked.exact(target, v) for v in (left, between(left, right, 0.5), right))
                d = distance_exact(left, right)
                real = all(map(mpmath.isfinite, (p, m, q))) and abs(p - 2 * m + q) > k * (d / 2) ** 2 + 1e-12 * (1 + d)
            return f"bends more than {k}: y = {y[i]}, f = {a[i]} and {b[i]}" if real else ""

        yield from violations(gap, 0 * gap, confirm)


def monotone(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """One direction for each target."""
    for drawn, a, b in pairs(attacked, n):
        y = drawn if attacked.loss.y in TARGETS else drawn[np.arange(len(drawn)) % 4]
        low, high = np.minimum(a, b), np.maximum(a, b)
        rise = attacked.values(y, high) - attacked.values(y, low)
        scale = abs(attacked.values(y, high)) + abs(attacked.values(y, low))
        for t in [None] if y.ndim > 1 else np.unique(y)[:4]:
            here = np.ones(len(y), dtype=bool) if t is None else y == t
            up = (rise > SLACK * scale) & here & np.isfinite(rise)
            down = (rise < -SLACK * scale) & here & np.isfinite(rise)
            rises = _steepest(attacked, y, low, high, np.where(up, rise, 0))
            falls = _steepest(attacked, y, high, low, np.where(down, -rise, 0))
            if rises is not None and falls is not None:
                yield f"rises between {low[rises]}, {high[rises]} and falls between {low[falls]}, {high[falls]}"


def _steepest(attacked: Attacked, y: Array, start: Array, end: Array, rise: Array) -> int | None:
    """Where L rises most from one prediction to another, of those where it does so with 60 digits."""
    for i in np.argsort(-rise)[:4]:
        target = exactly(y[i])
        if rise[i] > 0 and attacked.exact(target, exactly(end[i])) - attacked.exact(target, exactly(start[i])) > 1e-40:
            return int(i)
    return None


def bounded_below(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """L >= the bound, where one is given."""
    try:
        bound = float(verdict.value)
    except ValueError:
        return
    for y, a, _ in pairs(attacked, n):
        values = attacked.values(y, a)
        low = mpmath.mpf(bound) - abs(bound) / 10**5
        confirm = confirmed(attacked, y, (a,), lambda v, d, low=low: low - v, f"below {bound}")
        yield from violations(bound - values, 0 * values, confirm)


def nonnegative(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """L >= 0, of the sum over a row where classes add up."""
    if attacked.told.kind == "soft":
        y = attacked.rng.dirichlet(np.ones(4), n // 4)
        f = attacked.rng.dirichlet(np.full(4, 0.5), n // 4).clip(1e-12, 1)
        total = sum(attacked.values(y[:, k], f[:, k]) for k in range(4))
        yield from violations(-np.asarray(total) - 1e-9, abs(np.asarray(total)), lambda i: "the sum is negative")
        return
    for y, a, _ in pairs(attacked, n):
        values = attacked.values(y, a)
        yield from violations(-values, 0 * values, confirmed(attacked, y, (a,), lambda v, d: -v, "negative"))


def continuous(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """A step of 10^-9 changes L by next to nothing, or by ever less for smaller ones."""
    for y, a, _ in pairs(attacked, n):
        step = 1e-9 * np.maximum(1.0, abs(a)) if not attacked.rows else 1e-9
        b = np.clip(a + step, None, 1 - 1e-13) if attacked.loss.f == "prob" else a + step
        va, vb = attacked.values(y, a), attacked.values(y, b)

        def confirm(i: int, y: Array = y, a: Array = a) -> str:
            target, at = exactly(y[i]), exactly(a[i])
            sizes = []
            with mpmath.workdps(60):
                for k in (20, 30, 40):
                    moved = (
                        [v + mpmath.mpf(10) ** -k for v in at] if isinstance(at, list) else at + mpmath.mpf(10) ** -k
                    )
                    sizes.append(abs(attacked.exact(target, moved) - attacked.exact(target, at)))
            return f"jumps at f = {a[i]}, y = {y[i]}" if sizes[2] > 0.999 * sizes[0] and sizes[2] > 1e-12 else ""

        yield from violations(abs(va - vb) - 1e-6, abs(va) + abs(vb), confirm)


def derivative_jumps(order: int) -> Claim:
    """The claim that a derivative of an order is continuous."""

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
            with mpmath.workdps(420):
                for k in (12, 16):
                    h = mpmath.mpf(10) ** -k
                    at_, t_ = mpmath.mpf(float(at)), mpmath.mpf(float(target))
                    v = {
                        j: evaluate(attacked.body, {Y: t_, F: at_ + j * h}, dps=420, ctx=mpmath.mp)
                        for j in range(-3, 4)
                    }
                    if not all(map(mpmath.isfinite, v.values())):
                        break
                    right, left = v[1] - v[0], v[0] - v[-1]
                    if order == 2:
                        right, left = v[3] - 2 * v[2] + v[1], v[-1] - 2 * v[-2] + v[-3]
                    gaps.append(abs(right - left) / h**order)
            if len(gaps) == 2 and gaps[1] > 0.3 * gaps[0] and gaps[1] > 1e-7:
                yield f"order {order} jumps at f = {at}, y = {target}: {mpmath.nstr(gaps[1], 5)}"
                return

    return attack


def robust(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """Far out, the slope grows no more (regression: both ways; else for the wrong prediction)."""
    for y, f in far_out(attacked):
        slopes = [
            abs(attacked.exact(y, s * f + 1) - attacked.exact(y, s * f))
            for s in (mpmath.mpf(10) ** 5, mpmath.mpf(10) ** 8, mpmath.mpf(10) ** 11)
        ]
        if all(map(mpmath.isfinite, slopes)) and all(b > 2 * a + 1e-9 for a, b in itertools.pairwise(slopes)):
            yield f"the slope grows for y = {y}: {mpmath.nstr(slopes, 4)}"
            return


def redescending(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """Far out, the slope vanishes."""
    for y, f in far_out(attacked):
        slopes = [
            abs(attacked.exact(y, far * f + 1) - attacked.exact(y, far * f))
            for far in map(mpmath.mpf, (10**12, 10**36))
        ]
        lasting = slopes[1] > slopes[0] / 2  # 1/log(f) vanishes, too
        if all(map(mpmath.isfinite, slopes)) and slopes[0] > 1e-4 and lasting:
            yield f"slopes {mpmath.nstr(slopes, 4)} far out for y = {y}"
            return


def far_out(attacked: Attacked) -> Iterator[tuple[float, float]]:
    """Targets and directions in which f goes far out."""
    if attacked.loss.y == "sign":
        yield from ((1.0, -1.0), (-1.0, 1.0))
    elif attacked.loss.y == "binary":
        yield from ((1.0, -1.0), (0.0, 1.0))
    else:
        for y in (0.0, 1.0, 2.5) if attacked.loss.y == "count" else (0.5, 1.0, 7.0):
            yield from ((y, 1.0), (y, -1.0)) if attacked.loss.f == "real" else ((y, 1.0),)


def no_dead_zone(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """Three near predictions with exactly one value."""
    if attacked.told.kind == "classes":
        attacked = Entered(attacked.loss, attacked.told, n, 1)
    for y, a, _ in pairs(attacked, min(n, 200)):
        for i in range(len(a)):
            if abs(a[i]) > 12 or abs(y[i]) > 12:
                continue
            with mpmath.workdps(200):
                at, h = mpmath.mpf(float(a[i])), mpmath.mpf(float(a[i] or 1)) / 1000
                values = {
                    evaluate(attacked.body, {Y: exactly(y[i]), F: at + k * h}, dps=200, ctx=mpmath.mp) for k in range(3)
                }
            if len(values) == 1 and all(map(mpmath.isfinite, values)):
                yield f"flat at f = {a[i]}, y = {y[i]}"
                return
