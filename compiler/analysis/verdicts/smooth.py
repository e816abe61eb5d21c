"""Continuous, once and twice differentiable: where a loss jumps or has a kink."""

from __future__ import annotations

import math

from lossc.compiler import ops
from lossc.compiler.analysis.verdicts.pieces import Jump, Piece
from lossc.compiler.analysis.verdicts.shape import by_slices, guarded
from lossc.compiler.analysis.verdicts.study import Study, true, uses
from lossc.compiler.analysis.verdicts.verdict import (
    GRADIENT,
    HESSIAN,
    VALUE,
    Verdict,
    Witness,
    proved,
    refuted,
    unknown,
)
from lossc.compiler.interval import INF
from lossc.compiler.ir import F, postorder
from lossc.compiler.printing import to_text

QUANTITIES = (VALUE, GRADIENT, HESSIAN)
STEEP = 1e6
"""A slope beyond this, near a point, is shown where it is infinite there."""
_JUMPING = frozenset({"sign", "heaviside", "where", "atan2"})
_WORDS = ("L", "L'", "L''")


@guarded
def continuous(study: Study) -> Verdict:
    """L(y, .) has no jumps on the domain."""
    if study.total and not any(n.op in _JUMPING and uses(n, F) for n in postorder(study.case.body)):
        return proved("continuous operators, each with a value on the whole domain")
    if study.free:
        return by_slices(study, continuous, "an operator that jumps, or may have no value")
    for piece in study.line:
        if not piece.total:
            return unknown(f"it is not certain that L has a value where {piece}")
    return _joined(study, 0, "the pieces join")


@guarded
def differentiable(study: Study) -> Verdict:
    """L(y, .) has a continuous first derivative (C1)."""
    if study.analytic:
        return proved("analytic operators: derivatives of all orders")
    if study.free:
        return by_slices(study, differentiable, "whether a kink can be reached is open")
    base = continuous(study)
    if base.status != "proved":
        return base
    return _joined(study, 1, "the slopes of the pieces join")


@guarded
def twice_differentiable(study: Study) -> Verdict:
    """L(y, .) has a continuous second derivative (C2)."""
    if study.analytic:
        return proved("analytic operators: derivatives of all orders")
    if study.free:
        return by_slices(study, twice_differentiable, "whether a kink can be reached is open")
    base = differentiable(study)
    if base.status != "proved":
        return base
    return _joined(study, 2, "the second derivatives of the pieces join")


def _joined(study: Study, order: int, words: str) -> Verdict:
    open_at = ""
    for before, after, j in study.jumps(order):
        if j.none:
            continue
        witness = _sides(study, before, after, j, order)
        if witness is not None:
            kind = "jumps" if j.finite else "is unbounded"
            because = f"{_WORDS[order]} {kind} at f = {before.right}{study.case.clause}"
            return refuted(because, witness, str(before.right), _culprit(study), _REPAIRS[order])
        open_at = str(before.right)
    if open_at:
        return unknown(f"what {_WORDS[order]} does at f = {open_at} is open")
    at = [str(b.right) for b, _, _ in study.jumps(order)]
    return proved(words + (f" at f = {', '.join(at)}" if at else ""))


_REPAIRS = (
    "let the branches meet at their common border",
    "a smooth operator in place of the kink: sqrt(x^2 + d^2) for abs(x), softplus(x) for relu(x)",
    "none needed for first-order training; second-order methods see a jump of the curvature",
)


def _sides(study: Study, before: Piece, after: Piece, j: Jump, order: int) -> Witness | None:
    """Numbers on both sides, close by, that differ as the two limits do; or ones that grow beyond bounds."""
    assert before.right is not None
    b = float(before.right.at)
    for h in (1e-9, 1e-6, 1e-12, 1e-14, 1e-20, 1e-30):
        step = h * max(1.0, abs(b)) if abs(b) > 0 else h
        xs = (b - step, b + step)
        if not (before.box.lo < xs[0] < b < xs[1] < after.box.hi):
            continue
        values = (true(before.order(order), {F: xs[0]}), true(after.order(order), {F: xs[1]}))
        points = tuple(study.case.here(x) for x in xs)
        if j.finite:
            witness = Witness(points, QUANTITIES[order], values, "differ")
            close = abs(values[1] - values[0]) > 0.5 * abs(float(j.right) - float(j.left))
            if all(map(math.isfinite, values)) and close and witness.holds():
                return witness
        else:
            steep = [(p, v) for p, v in zip(points, values, strict=True) if STEEP < abs(v) < INF]
            if steep:
                return Witness((steep[0][0],), QUANTITIES[order], (steep[0][1],), "beyond", STEEP)
    return None


def _culprit(study: Study) -> str:
    """The first operator that has a kink or jumps."""
    for here in postorder(study.case.body):
        if not here.args or not uses(here, F):
            continue
        record = ops.record(here)
        if here.op in _JUMPING or record.kinks(*here.args) or record.singular(*here.args):
            return to_text(here)
    return ""
