"""Continuous, once and twice differentiable: where a loss jumps or has a kink."""

from __future__ import annotations

import math
from collections.abc import Iterator

from lossc.compiler.analysis.verdicts.levers import JUMPING
from lossc.compiler.analysis.verdicts.pieces import Jump, Piece
from lossc.compiler.analysis.verdicts.shape import by_slices, guarded
from lossc.compiler.analysis.verdicts.signs import true
from lossc.compiler.analysis.verdicts.study import Study, uses
from lossc.compiler.analysis.verdicts.verdict import GRADIENT, HESSIAN, VALUE, Verdict, Witness, proved, unknown
from lossc.compiler.ir import F, postorder
from lossc.compiler.ops import record
from lossc.compiler.printing import to_text

QUANTITIES = (VALUE, GRADIENT, HESSIAN)
STEEP = 1e6
"""A slope beyond this, near a point, is shown where it is infinite there."""
_NEAR = (1e-9, 1e-6, 1e-12, 1e-4, 1e-14, 1e-20, 1e-30, 1e-60, 1e-100)
_WORDS = ("L", "L'", "L''")


@guarded
def continuous(study: Study) -> Verdict:
    """L(y, .) has a value everywhere on the domain, and no jumps."""
    if study.total and not study.may_jump:
        return proved("continuous operators, each with a value on the whole domain")
    if study.free:
        return by_slices(study, continuous, "an operator that jumps, or may have no value")
    for piece in study.line:
        if not piece.total:
            return unknown(f"it is not certain that L has a value where {piece}")
    found = _joined(study, 0, "the pieces join")
    if found.status != "proved":
        return found
    for before, _, _ in study.jumps(0):
        if not study.joins(before):
            because = f"L jumps at f = {before.right}{study.case.clause}"
            return study.refuted(because, _alone(study, before), str(before.right), _culprit(study), _REPAIRS[0]) or (
                unknown(f"what L is at f = {before.right} is open"))  # fmt: skip
    return found


@guarded
def differentiable(study: Study) -> Verdict:
    """L(y, .) has a continuous first derivative (C1)."""
    return _of_class(study, 1)


@guarded
def twice_differentiable(study: Study) -> Verdict:
    """L(y, .) has a continuous second derivative (C2)."""
    return _of_class(study, 2)


def _of_class(study: Study, order: int) -> Verdict:
    if study.analytic:
        return proved("analytic operators: derivatives of all orders")
    if study.free:
        decide = differentiable if order == 1 else twice_differentiable
        return by_slices(study, decide, "whether a kink can be reached is open")
    base = continuous(study) if order == 1 else differentiable(study)
    if base.status != "proved":
        return base
    return _joined(study, order, "the slopes of the pieces join" if order == 1 else "their second derivatives join")


def _joined(study: Study, order: int, words: str) -> Verdict:
    open_at = ""
    for before, after, j in study.jumps(order):
        if j.none:
            continue
        if j.same is False:
            kind = "jumps" if j.finite else "is unbounded"
            because = f"{_WORDS[order]} {kind} at f = {before.right}{study.case.clause}"
            found = study.refuted(because, _sides(study, before, after, j, order), str(before.right),
                                  _culprit(study), _REPAIRS[order])  # fmt: skip
            if found is not None:
                return found
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


def _sides(study: Study, before: Piece, after: Piece, j: Jump, order: int) -> Iterator[Witness]:
    """Numbers on both sides, close by, that differ by what the two limits do; or one that grows beyond bounds."""
    assert before.right is not None
    b = float(before.right.at)
    for h in _NEAR:
        step = h * max(1.0, abs(b)) if abs(b) > 0 else h
        xs = (b - step, b + step)
        if not (before.box.lo < xs[0] < b < xs[1] < after.box.hi):
            continue
        values = (true(before.order(order), {F: xs[0]}), true(after.order(order), {F: xs[1]}))
        if j.finite:
            gap = float(j.step)
            if abs((values[1] - values[0]) - gap) <= 0.5 * abs(gap):  # the jump, and not the way between
                yield Witness(study.points(xs), QUANTITIES[order], values, "differ")
        else:
            for x, v in zip(xs, values, strict=True):
                if STEEP < abs(v) < math.inf:
                    yield Witness(study.points((x,)), QUANTITIES[order], (v,), "beyond", STEEP)


def _alone(study: Study, before: Piece) -> Iterator[Witness]:
    """The value at a break, and one close by, which differ."""
    assert before.right is not None
    b = float(before.right.at)
    if before.right.exact is not None and before.right.exact == b:
        for h in _NEAR:
            yield study.by_values((b - h * max(1.0, abs(b)), b), "differ")


def _culprit(study: Study) -> str:
    """The first operator that has a kink or jumps."""
    for here in postorder(study.case.body):
        if not here.args or not uses(here, F):
            continue
        row = record(here)
        if here.op in JUMPING or row.kinks(*here.args) or row.singular(*here.args):
            return to_text(here)
    return ""
