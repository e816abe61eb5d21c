"""Every claim of a proved property, tested by its definition at many points: generators of what does not hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import mpmath
import numpy as np

from benchmarks.attacked import (
    ROW_COUNTS,
    TARGETS,
    Array,
    Attacked,
    Claim,
)
from benchmarks.chords import (
    bounded_below,
    confirmed,
    continuous,
    convex,
    derivative_jumps,
    exactly,
    lipschitz,
    monotone,
    no_dead_zone,
    nonnegative,
    pairs,
    quasiconvex,
    redescending,
    robust,
    smooth,
    strictly_convex,
    strongly_convex,
    violations,
)
from lossc.compiler.analysis.verdicts.verdict import Verdict

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
            yield from violations(
                gap, 0 * gap, confirmed(attacked, y, (better, f), lambda p, q, d: p - q, "a better row loses more")
            )
        return
    y, a, b = next(pairs(attacked, n))
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
    yield from violations(vb - vw, abs(vb) + abs(vw), lambda i: f"y = {y[i]}: L({better[i]}) > L({worse[i]})")


def minimum_at_target(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """No prediction beats f = y."""
    if attacked.rows or attacked.loss.y in TARGETS:
        return
    y, f, _ = next(pairs(attacked, n))
    best, there = attacked.values(y, y), attacked.values(y, f)
    yield from violations(best - there, abs(best) + abs(there), lambda i: f"L({f[i]}) < L(y) for y = {y[i]}")


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
    yield from violations(gap, sum(abs(r) for two in risks for r in two), lambda i: f"mean {m[i]}: other things matter")


def median_consistent(attacked: Attacked, verdict: Verdict, n: int) -> Iterator[str]:
    """Of five targets, none but the median has the least expected loss."""
    y = np.sort(attacked.rng.normal(0, 3, (n // 20, 5)), axis=1)
    best = sum(attacked.values(y[:, k], y[:, 2]) for k in range(5))
    for _ in range(4):
        f = y[:, 2] + attacked.rng.normal(0, 1, len(y))
        other = sum(attacked.values(y[:, k], f) for k in range(5))
        yield from violations(
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
        yield from violations(risks[0] - risks[1], abs(risks[0]), lambda i: f"p = {p[i]}: {q[i]} is better")
        return
    for classes in ROW_COUNTS:
        p, q = (rng.dirichlet(np.full(classes, 0.8), n // 10).clip(1e-6, 1) for _ in "pq")
        p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
        risks = [_expected(attacked, p, v) for v in (p, q)]
        said = [f"p = {a}: {b} is better" for a, b in zip(p, q, strict=True)]
        yield from violations(risks[0] - risks[1], abs(risks[0]) + 1e-5, said.__getitem__)


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
                left = attacked.exact(exactly(y[i]), exactly(f[i])) * factor(verdict)
                right = attacked.exact(exactly(other[0][i]), exactly(other[1][i]))
                real = (
                    abs(left - right) > 1e-6 * (abs(left) + abs(right))
                    and mpmath.isfinite(left)
                    and mpmath.isfinite(right)
                )
            return f"{what}: y = {y[i]}, f = {f[i]}" if real and inputs[i] < 1e5 else ""

        yield from violations(abs(a - b) - 1e-6 * (abs(a) + abs(b)), abs(a) + abs(b), confirm)

    return attack


def _shift(attacked: Attacked, y: Array, f: Array) -> tuple[Array, Array]:
    return y + 0.5, f + 0.5


ATTACKS: dict[str, Claim] = {
    "convex": convex, "strictly-convex": strictly_convex, "strongly-convex": strongly_convex,
    "quasi-convex": quasiconvex, "monotone": monotone, "bounded-below": bounded_below, "nonnegative": nonnegative,
    "lipschitz": lipschitz,
    "smooth": smooth, "robust": robust, "redescending": redescending, "no-dead-zone": no_dead_zone,
    "continuous": continuous, "C1": derivative_jumps(1), "C2": derivative_jumps(2), "gradient-sign": towards,
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
