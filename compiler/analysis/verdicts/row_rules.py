"""Decisions about losses whose classes depend on each other (softmax, sums and maxima over the classes)."""

from __future__ import annotations

import math

from lossc.compiler import ops
from lossc.compiler.analysis.verdicts.pieces import levers
from lossc.compiler.analysis.verdicts.ranges import Ranges
from lossc.compiler.analysis.verdicts.rows import Rows
from lossc.compiler.analysis.verdicts.subject import ROW_F
from lossc.compiler.analysis.verdicts.verdict import (
    GRADIENT,
    VALUE,
    Verdict,
    Witness,
    proved,
    refuted,
    shown,
    unknown,
)  # fmt: skip
from lossc.compiler.analysis.world import context
from lossc.compiler.errors import LosscError
from lossc.compiler.evaluate import evaluate
from lossc.compiler.facts import Facts
from lossc.compiler.interval import INF, Interval
from lossc.compiler.ir import Expr, F, fold, node, postorder, rebuild, substitute
from lossc.compiler.loss import varies
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.passes.differentiate import derivative
from lossc.compiler.printing import to_text

_JUMPING = frozenset({"sign", "heaviside", "where", "atan2"})
_THREE = "a row of three classes, the difference moved inside max and log-sum-exp; by intervals"


def convex(rows: Rows) -> Verdict:
    """L is convex in all predictions of a row together."""
    found = rows.shape
    if found.convex:
        return proved("composition of convex and monotone operators (DCP), for any number of classes")
    witness = rows.bump()
    fault = to_text(found.fault) if found.fault is not None else ""
    if witness is not None:
        return refuted("the middle of two rows lies above the chord", witness, fault=fault)
    return unknown("no rule of composition applies, and no counterexample was found")


def continuous(rows: Rows) -> Verdict:
    """L has no jumps."""
    if all(r.total for r in rows.value) and not any(n.op in _JUMPING for n in postorder(rows.loss.body)):
        return proved("continuous operators, each with a value on the whole domain")
    return unknown("an operator that jumps, or may have no value")


def differentiable(rows: Rows) -> Verdict:
    """L has a continuous gradient."""
    return _smooth(rows, 1)


def twice_differentiable(rows: Rows) -> Verdict:
    """L has a continuous Hessian."""
    return _smooth(rows, 2)


def _smooth(rows: Rows, order: int) -> Verdict:
    body = rows.loss.body
    rough = [n for n in postorder(body) if n.args and n.op not in ("arg", "const") and _is_rough(n)]
    if not rough and all(r.total for r in rows.value):
        return proved("analytic operators: derivatives of all orders")
    witness = _kink(rows) if order == 1 or _kink(rows) is not None else None
    if witness is not None:
        return refuted("the gradient jumps", witness, fault=to_text(rough[0]) if rough else "")
    return unknown("whether a kink can be reached is open")


def _is_rough(here: Expr) -> bool:
    record = ops.record(here)
    return record.name == "max_c" or bool(record.kinks(*here.args)) if record.axis == "" else record.name == "max_c"


def _kink(rows: Rows) -> Witness | None:
    """Two rows on both sides of a kink, whose gradients differ."""
    ctx = context()
    for k in _row_levers(rows):
        for row in rows.draws[:20]:
            for i, leaf in enumerate(ROW_F):
                env = dict(zip(ROW_F, row, strict=True))
                slope = evaluate(derivative(k, leaf), env, dps=30, ctx=ctx)
                if not ctx.isfinite(slope) or slope == 0:
                    continue
                at = row[i] - float(evaluate(k, env, dps=30, ctx=ctx) / slope)
                found = _sides(rows, row, i, at)
                if found is not None:
                    return found
    return None


def _row_levers(rows: Rows) -> list[Expr]:
    out: dict[Expr, None] = {}
    for leaf in ROW_F:
        body = substitute(rows.subject.row, {leaf: F})
        for k in levers(body, rows.loss):
            out[substitute(k, {F: leaf})] = None
    return list(out)


def _sides(rows: Rows, row: tuple[float, ...], i: int, at: float) -> Witness | None:
    if rows.loss.f == "prob" or not math.isfinite(at) or abs(at) > 1e6:
        return None
    h = 2.0**-20
    two = [tuple(at + s * h if k == i else v for k, v in enumerate(row)) for s in (-1, 1)]
    for entry in range(len(ROW_F)):
        values = tuple(rows.true(r, rows.row_slopes[entry]) for r in two)
        witness = Witness(tuple(rows.here(r) for r in two), GRADIENT, values, "differ", entry=entry)
        if all(map(math.isfinite, values)) and abs(values[1] - values[0]) > 1e-3 and witness.holds():
            return witness
    return None


# -- size -------------------------------------------------------------------------------------------------------------


def total_value(rows: Rows) -> Interval:
    """Where the loss of a row lies, by intervals, for the number of classes of the subject."""
    target, _other = rows.value
    if not varies(rows.loss.body):
        return target
    subject = rows.subject
    return subject.pair(node("sum_c", rows.loss.body)).pair(*subject.pair_boxes())[0]


def bounded_below(rows: Rows) -> Verdict:
    """L has a lower bound."""
    low = total_value(rows).lo
    if low > -INF:
        return proved("by intervals", f"{low:.6g}")
    low = _pushed_low(rows)
    if low > -INF:
        return proved(_THREE, f"{low:.6g}")
    for scale in (1e3, 1e7):
        for row in rows.draws[:30]:
            if rows.loss.f == "prob":
                break
            far = tuple(scale * v for v in row)
            value = rows.true(far)
            if value < -100 * scale / 1e3 and math.isfinite(value):
                return refuted("it falls without end", Witness((rows.here(far),), VALUE, (value,), "below", value / 2))
    return unknown("neither intervals nor the form give a bound")


def nonnegative(rows: Rows) -> Verdict:
    """L >= 0."""
    if total_value(rows).lo >= 0:
        return proved("by intervals")
    if _pushed_low(rows) >= 0:
        return proved(_THREE)
    for row in rows.draws:
        value = rows.true(row)
        if value < -1e-12:
            return refuted(f"L = {value:.4g}", Witness((rows.here(row),), VALUE, (value,), "negative", 1e-13))
    return unknown("no negative value was found, and no rule applies")


def _pushed_low(rows: Rows) -> float:
    box = dict.fromkeys(ROW_F, rows.subject.pair_boxes()[0][F])
    facts = Facts(rows.loss)
    for leaf, r in box.items():
        facts._done[leaf] = r
    return Ranges(pushed(rows.subject.row, facts), None, frozenset(ROW_F) if rows.loss.f == "prob" else frozenset())(
        box
    ).lo


def pushed(root: Expr, facts: Facts) -> Expr:
    """max(a, b) - c as max(a - c, b - c), and so for log-sum-exp: what is common then cancels."""

    def visit(here: Expr, args: list[Expr]) -> Expr:
        if here.op == "sub" and args[0].op in ("max", "logaddexp"):
            inner = args[0]
            return node(inner.op, *(visit(node("sub", a, args[1]), [a, args[1]]) for a in inner.args))
        made = rebuild(here, args)
        return canonical_expr(made, facts) if here.op in ("add", "sub", "neg") else made

    return fold(root, visit)


def lipschitz(rows: Rows) -> Verdict:
    """Every entry of the gradient is bounded."""
    try:
        target, other = rows.slope
        top = max(abs(v) for r in (target, other) for v in (r.lo, r.hi))
        if top < INF:
            return proved("every entry of the gradient is bounded, by intervals", f"{top:.4g}")
        shape = _steps_are_bounded(rows)
        if shape:
            return proved("sums and maxima of functions with bounded slopes")
        for row in [*rows.draws, (1e-9, 0.5, 0.5 - 1e-9)]:
            for entry, slope in enumerate(rows.row_slopes):
                value = rows.true(row, slope)
                if abs(value) > 1e6 and math.isfinite(value):
                    return refuted(
                        f"{value:.3g}", Witness((rows.here(row),), GRADIENT, (value,), "beyond", 1e6, entry=entry)
                    )
    except LosscError as problem:
        return unknown(str(problem))
    return unknown("no bound was found")


_TAME = frozenset({"add", "sub", "neg", "sum_c", "mean_c", "max_c", "max", "min", "relu", "abs", "logsumexp_c",
                   "log_softmax", "softplus", "num_classes", "logsigmoid", "sigmoid", "tanh", "logcosh"})  # fmt: skip


def _steps_are_bounded(rows: Rows) -> bool:
    """Whether only operators with slopes of at most 1, sums and multiples by the target or numbers occur."""
    return all(
        n.op in _TAME or not n.args
        or (n.op in ("mul", "div") and sum(_has_f(a) for a in n.args) == 1 and not _has_f(n.args[-1]))
        or (n.op == "mul" and not _has_f(n.args[0]) and n.args[0].op in ("arg", "const", "sub")) or not _has_f(n)
        for n in postorder(rows.loss.body)
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
        for row in rows.draws:
            for entry, slope in enumerate(rows.row_slopes):
                value = rows.true(row, slope)
                if (value > 1e-12 and entry == 0) or (value < -1e-12 and entry > 0):
                    relation = "positive" if entry == 0 else "negative"
                    witness = Witness((rows.here(row),), GRADIENT, (value,), relation, entry=entry)
                    which = "the target" if entry == 0 else "another class"
                    return refuted(f"L' = {value:.3g} at {which}, f = {shown(row)}: away from the target", witness)
        if rows.loss.y == "binary" and _labels_are_right(rows):
            return proved("L' <= 0 for y = 1 and L' >= 0 for y = 0, by intervals")
    except LosscError as problem:
        return unknown(str(problem))
    return unknown("right at every row that was tried; not shown for all")


def _labels_are_right(rows: Rows) -> bool:
    from lossc.compiler.interval import point
    from lossc.compiler.ir import Y

    subject = rows.subject
    domain = subject.pair_boxes()[0][F]
    slope = subject.pair(subject.slopes.body)
    one = slope.pair({F: domain, Y: point(1.0)}, {F: domain, Y: point(1.0)})[0]
    zero = slope.pair({F: domain, Y: point(0.0)}, {F: domain, Y: point(0.0)})[0]
    return one.hi <= 0 and zero.lo >= 0


def minimum_at_target(rows: Rows) -> Verdict:
    """L is least where the right class is certain."""
    found = gradient_sign(rows)
    if found.status == "proved":
        return proved("it falls as the target's prediction rises and as the others fall")
    certain = (1 - 2e-6, 1e-6, 1e-6) if rows.loss.f == "prob" else (60.0, -60.0, -60.0)
    best = rows.true(certain)
    for row in rows.draws:
        value = rows.true(row)
        witness = Witness((rows.here(row), rows.here(certain)), VALUE, (value, best), "smaller than")
        if math.isfinite(value) and math.isfinite(best) and witness.holds():
            return refuted(f"L is smaller at f = {shown(row)} than where the target is certain", witness)
    return unknown("nothing smaller was found, and no rule applies")
