"""Decisions about losses whose classes depend on each other (softmax, sums and maxima over the classes).

Proofs are for rows of any values, of the number of classes that is judged; witnesses are rows of at most 1000 classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from lossc.compiler.analysis.verdicts.curvature import CONSTANT
from lossc.compiler.analysis.verdicts.levers import levers
from lossc.compiler.analysis.verdicts.row_forms import least_value
from lossc.compiler.analysis.verdicts.rows import Rows
from lossc.compiler.analysis.verdicts.verdict import (
    GRADIENT,
    VALUE,
    Verdict,
    Witness,
    at_least,
    at_most,
    proved,
    refuted,
    unknown,
)
from lossc.compiler.analysis.world import context
from lossc.compiler.errors import LosscError
from lossc.compiler.evaluate import evaluate
from lossc.compiler.facts import Facts
from lossc.compiler.interval import INF, Interval, point
from lossc.compiler.ir import Expr, F, Y, node, postorder
from lossc.compiler.loss import varies
from lossc.compiler.passes.differentiate import derivative
from lossc.compiler.printing import to_text

BIG = 1e6
"""What an entry of the gradient must exceed to count as unbounded, where no bound is known."""


def _same_formula(rows: Rows) -> bool:
    """Whether rows of the witnesses' length are rows of the loss that is judged."""
    source = postorder(rows.subject.source.body)
    counted = any(n.op in ("num_classes", "mean_c") for n in source)
    return rows.subject.row_classes == rows.subject.classes or not counted


def _first(rows: Rows, because: str, candidates: Iterator[Witness], fault: str = "") -> Verdict | None:
    """Refuted by the first row that float64 shows."""
    if not _same_formula(rows):
        return None
    found = rows.written.first(candidates)
    return None if found is None else refuted(because, found, fault=fault)


def convex(rows: Rows) -> Verdict:
    """L is convex in all predictions of a row together."""
    if rows.shape.convex and all(r.total for r in rows.value):
        return proved("composition of convex and monotone operators (DCP), for any number of classes")
    fault = to_text(rows.shape.fault) if rows.shape.fault is not None else ""
    found = _first(rows, "the middle of two rows lies above the chord", rows.bumps(), fault)
    return found or unknown("no rule of composition applies, and no counterexample was found")


def continuous(rows: Rows) -> Verdict:
    """L has a value for every row, and no jumps."""
    if rows.continuous:
        return proved("continuous operators, each with a value on the whole domain")
    return unknown("an operator that jumps, or may have no value")


def differentiable(rows: Rows) -> Verdict:
    """L has a continuous gradient."""
    return _smooth(rows)


def twice_differentiable(rows: Rows) -> Verdict:
    """L has a continuous Hessian."""
    return _smooth(rows)


def _smooth(rows: Rows) -> Verdict:
    if rows.rough is None and rows.continuous:
        return proved("analytic operators: derivatives of all orders")
    fault = to_text(rows.rough) if rows.rough is not None else ""
    return _first(rows, "the gradient jumps", _kinks(rows), fault) or unknown("whether a kink can be reached is open")


def _kinks(rows: Rows) -> Iterator[Witness]:
    """Two rows on both sides of a kink, whose gradients differ by more than the way between explains."""
    if rows.loss.f == "prob":
        return
    ctx, leaves = context(), rows.subject.row_leaves
    for i, leaf in enumerate(leaves):
        for k in levers(rows.subject.row, Facts(rows.loss), leaf):
            try:
                slope = derivative(k, leaf)
            except LosscError:
                continue
            for row in rows.draws[:20]:
                env = dict(zip(leaves, row, strict=True))
                rise = evaluate(slope, env, dps=30, ctx=ctx)
                if ctx.isfinite(rise) and rise != 0:
                    yield from _sides(rows, row, i, row[i] - float(evaluate(k, env, dps=30, ctx=ctx) / rise))


def _sides(rows: Rows, row: tuple[float, ...], i: int, at: float) -> Iterator[Witness]:
    if not math.isfinite(at) or abs(at) > BIG:
        return

    def moved(h: float) -> tuple[float, ...]:
        return tuple(at + h if k == i else v for k, v in enumerate(row))

    h = 2.0**-20
    for entry, slope in enumerate(rows.row_slopes):
        values = tuple(rows.true(moved(s * h), slope) for s in (-1, 1))
        wider = tuple(rows.true(moved(s * 4 * h), slope) for s in (-1, 1))
        gap, further = abs(values[1] - values[0]), abs(wider[1] - wider[0])
        if gap > 1e-3 and abs(further - gap) < 0.1 * gap:  # it does not grow with the distance
            yield Witness(tuple(rows.here(moved(s * h)) for s in (-1, 1)), GRADIENT, values, "differ", entry=entry)


# -- size -------------------------------------------------------------------------------------------------------------


def total_value(rows: Rows) -> Interval:
    """Where the loss of a row lies, by intervals, for the number of classes of the subject."""
    if not varies(rows.loss.body):
        return rows.value[0]
    subject = rows.subject
    return subject.pair(node("sum_c", rows.loss.body)).pair(*subject.pair_boxes())[0]


def _low(rows: Rows) -> float:
    """A lower bound, by intervals; for one-hot targets after what is common has cancelled."""
    low = total_value(rows).lo
    return max(low, least_value(rows)) if low < 0 and rows.loss.y == "onehot" else low


def bounded_below(rows: Rows) -> Verdict:
    """L has a lower bound."""
    low = _low(rows)
    if low > -INF and all(r.total for r in rows.value):
        return proved("by intervals", at_least(low, 6))
    found = _first(rows, "it falls without end", _falling(rows))
    return found or unknown("neither intervals nor the form give a bound")


def _falling(rows: Rows) -> Iterator[Witness]:
    """Rows along which the loss falls at least as fast as the row grows."""
    if rows.loss.f == "prob":
        return
    for row in rows.draws[:30]:
        values = [rows.true(tuple(s * v for v in row)) for s in (1e3, 1e7, 1e11)]
        if values[0] < -100 and values[1] < 1e3 * values[0] and values[2] < 1e3 * values[1]:
            far = tuple(1e7 * v for v in row)
            yield Witness((rows.here(far),), VALUE, (values[1],), "below", values[1] / 2)


def nonnegative(rows: Rows) -> Verdict:
    """L >= 0."""
    if _low(rows) >= 0:
        return proved("by intervals")
    values = sorted((v, row) for row in rows.draws if (v := rows.true(row)) < 0)
    found = _first(
        rows, f"L = {values[0][0] if values else 0:.4g}",
        (Witness((rows.here(row),), VALUE, (v,), "below", v / 2) for v, row in values),
    )  # fmt: skip
    return found or unknown("no negative value was found, and no rule applies")


def lipschitz(rows: Rows) -> Verdict:
    """Every entry of the gradient is bounded."""
    if not rows.continuous:
        return unknown("an operator that jumps, or may have no value")
    try:
        target, other = rows.slope
        top = max(abs(v) for r in (target, other) for v in (r.lo, r.hi))
        if top < INF:
            return proved("every entry of the gradient is bounded, by intervals", at_most(top))
        if _steps_are_bounded(rows):
            return proved("sums and maxima of functions with bounded slopes")
        found = _first(rows, f"an entry of the gradient is beyond {BIG:g}", _steep(rows))
        return found or unknown("no bound was found")
    except LosscError as problem:
        return unknown(str(problem))


def _steep(rows: Rows) -> Iterator[Witness]:
    weights = rows.subject.row_weights
    if rows.loss.f == "prob":
        shared = [tuple(v / w for v, w in zip(_shares((1e-9, 0.5, 0.5 - 1e-9), weights), weights, strict=True))]
    else:
        shared = [r[: len(weights)] for r in ((1e9, 0.0, 0.0), (-1e9, 0.0, 0.0), (1e9, -1e9, 0.0))]
    for entry, slope in enumerate(rows.row_slopes):
        inner = [row for row in rows.draws[:30] if rows.loss.f != "prob" or min(row) > 1e-3]
        usual = max((abs(v) for row in inner if math.isfinite(v := rows.true(row, slope))), default=0.0)
        for row in [*rows.draws, *shared]:
            value = rows.true(row, slope)
            if math.isfinite(value) and abs(value) > BIG * (1 + usual):
                yield Witness((rows.here(row),), GRADIENT, (value,), "beyond", BIG, entry=entry)


def _shares(three: tuple[float, float, float], weights: tuple[int, ...]) -> tuple[float, ...]:
    """Probabilities of the groups of a row; of two classes, the second one has all the rest."""
    return three if len(weights) == 3 else (three[0], 1 - three[0])


_TAME = frozenset({"add", "sub", "neg", "sum_c", "mean_c", "max_c", "max", "min", "relu", "abs", "logsumexp_c",
                   "log_softmax", "softplus", "logsigmoid", "sigmoid", "tanh", "logcosh", "logaddexp"})  # fmt: skip
"""Operators with slopes of at most 1, or 2."""


def _steps_are_bounded(rows: Rows) -> bool:
    """Whether only tame operators and multiples by bounded factors without f occur."""
    shapes = rows.subject.pair(rows.loss.body)
    known = dict(zip(shapes.order, shapes.all(*rows.subject.pair_boxes()), strict=True))
    live = {n for n in shapes.order if _has_f(n)}

    def bounded(factor: Expr, inverse: bool) -> bool:
        return factor not in live and all(
            r.total and (r.lo > 1e-300 or r.hi < -1e-300 if inverse else max(abs(r.lo), abs(r.hi)) < INF)
            for r in known[factor]
        )

    return all(
        n not in live or not n.args or n.op in _TAME
        or (n.op == "mul" and any(bounded(a, False) for a in n.args))
        or (n.op == "div" and bounded(n.args[1], True)) for n in shapes.order
    )  # fmt: skip


def _has_f(root: Expr) -> bool:
    return any(n is F for n in postorder(root))


# -- towards the target -----------------------------------------------------------------------------------------------


def gradient_sign(rows: Rows) -> Verdict:
    """The gradient raises the target's prediction, and lowers those of the other classes."""
    if rows.loss.y not in ("onehot", "binary"):
        return unknown("only rows of one-hot or binary targets are looked at")
    try:
        if rows.loss.y == "onehot":
            target, other = rows.slope
            if target.hi <= 0 and other.lo >= 0:
                return proved("L' <= 0 at the target and L' >= 0 at every other class, by intervals")
        elif _labels_are_right(rows):
            return proved("L' <= 0 for y = 1 and L' >= 0 for y = 0, by intervals")
        found = _first(rows, "the gradient leads away from the target", _wrong(rows))
    except LosscError as problem:
        return unknown(str(problem))
    return found or unknown("right at every row that was tried; not shown for all")


def _wrong(rows: Rows) -> Iterator[Witness]:
    for row in rows.draws:
        for entry, slope in enumerate(rows.row_slopes):
            value = rows.true(row, slope)
            if (value > 1e-12 and entry == 0) or (value < -1e-12 and entry > 0):
                relation = "positive" if entry == 0 else "negative"
                yield Witness((rows.here(row),), GRADIENT, (value,), relation, entry=entry)


def _labels_are_right(rows: Rows) -> bool:
    """For a class with y = 1, and one with y = 0, whatever the others are."""
    subject = rows.subject
    domain = subject.pair_boxes()[0][F]
    slope = subject.pair(subject.slopes.body)
    others = {F: domain, Y: Interval(0.0, 1.0)}
    one = slope.pair({F: domain, Y: point(1.0)}, others)[0]
    zero = slope.pair({F: domain, Y: point(0.0)}, others)[0]
    return one.hi <= 0 and zero.lo >= 0


def minimum_at_target(rows: Rows) -> Verdict:
    """L is least where the right class is certain."""
    if gradient_sign(rows).status == "proved" and rows.continuous:
        return proved("it falls as the target's prediction rises and as the others fall")
    if rows.shape.curvature == CONSTANT:
        return proved("it does not depend on f")
    weights = rows.subject.row_weights
    certain: tuple[float, ...] = (60.0, -60.0, -60.0)[: len(weights)]
    if rows.loss.f == "prob":
        sure = _shares((1 - 2e-6, 1e-6, 1e-6), weights)
        certain = tuple(v / w for v, w in zip(sure, weights, strict=True))

    def better() -> Iterator[Witness]:
        best = rows.true(certain)
        for row in rows.draws:
            yield Witness((rows.here(row), rows.here(certain)), VALUE, (rows.true(row), best), "smaller than")

    found = _first(rows, "L is smaller elsewhere than where the target is certain", better())
    return found or unknown("nothing smaller was found, and no rule applies")
