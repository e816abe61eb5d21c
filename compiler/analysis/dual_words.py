"""A dual-point analysis in words: what the errors of the scores do to the target and the others, beside cross-entropy.

Every sentence follows from a computed sign, limit or leading term, never from the name of a loss. Cross-entropy's error
is y - f (of the softmax or the sigmoid): 1 - 1/C and -1/C at the null epoch, ε(C - 1) and -ε near certainty.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import isnan
from typing import TYPE_CHECKING

from lossc.compiler.analysis.asymptotics import EPSILON, Lead, lead
from lossc.compiler.analysis.cases import Case, TooManyCases, decide
from lossc.compiler.analysis.dual_text import condition_text, number_text, setting, shown
from lossc.compiler.analysis.world import Domain, OutOfTime, Unsolved, World, context, number
from lossc.compiler.ir import CONST, ONE, ZERO, Expr, const, postorder

if TYPE_CHECKING:
    from lossc.compiler.analysis.dual_point import AtPoint, DualPoint, Quantity

TIMEOUT = 5.0
"""Seconds that one comparison may take."""
LONG = 60
"""Characters beyond which a formula does not stand in a sentence."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """An error of a score beside cross-entropy's.

    sign     the sign of the error; 0 if there is none
    grows    whether it grows without bound (1), tends to a number (0) or vanishes (-1)
    same     the same for the size of their ratio; `factor` is that where it tends to a number
    defined  whether there is a value at all
    term     the leading term of the error
    here     whether it is that of the numbers at hand
    """

    sign: int
    grows: int = -1
    same: int = 0
    factor: Expr = ZERO
    term: Expr = ZERO
    defined: bool = True
    here: bool = True


def sentences(found: DualPoint) -> list[str]:
    """What the loss does, a sentence or two at each point."""
    out = _at_start(found)
    out += _at_end(found)
    out += _thesis(found)
    return out


def _reference(found: DualPoint, at: AtPoint, target: bool) -> Expr:
    """Cross-entropy's error of the score."""
    row = found.row
    if at is found.null:
        hit = const(1) / 2 if row.labels else 1 - 1 / row.classes
        return hit if target else (-hit if row.labels else -1 / row.classes)
    return (EPSILON if row.labels else EPSILON * (row.classes - 1)) if target else -EPSILON


def _verdicts(found: DualPoint, at: AtPoint, target: bool) -> list[Case[Verdict]] | None:
    quantity = at.score_target if target else at.score_other
    if quantity.leads is None:
        return None
    reference = _reference(found, at, target)
    roles = {p: found.loss.role_of(p) for p in found.values}
    deadline = time.monotonic() + TIMEOUT
    world = World(Domain(roles, found.row.facts, found.classes, found.values, deadline))
    try:
        return decide(lambda w: _verdict(quantity.expr, reference, 1 if target else -1, w), world, _alike)
    except (Unsolved, TooManyCases, OutOfTime):
        return None


def _verdict(expr: Expr, reference: Expr, sense: int, world: World) -> Verdict:
    """`sense` is the sign of the reference."""
    top = lead(expr, world)
    if top is None:
        return Verdict(0, defined=False)
    if top.sign == 0:
        return Verdict(0)
    ratio = world(top.sign * sense * (top.term / reference))
    if EPSILON not in postorder(ratio):
        return Verdict(top.sign, top.grows, 0, ratio, top.term)
    beside = lead(ratio, world)
    assert isinstance(beside, Lead)
    return Verdict(top.sign, top.grows, beside.grows, term=top.term)


def _alike(world: World, a: Verdict, b: Verdict) -> bool:
    same = (a.sign, a.grows, a.same, a.defined) == (b.sign, b.grows, b.same, b.defined)
    return same and world(a.factor - b.factor) is ZERO and world(a.term - b.term) is ZERO


# -- the null epoch ---------------------------------------------------------------------------------------------------


def _at_start(found: DualPoint) -> list[str]:
    names = _names(found)
    both = [_verdicts(found, found.null, target) for target in (True, False)]
    if both[0] is not None and both[1] is not None and _one_factor(found, both[0], both[1]):
        return _each(found, both[0], lambda v: f"at the null epoch {_learns(found, v)}")
    out = []
    for table, quantity, who in zip(
        both, (found.null.score_target, found.null.score_other), (names[0], names[1]), strict=True
    ):
        if table is None:
            out.append(_unresolved(found, quantity, "At the null epoch", who))
            continue
        out += _each(found, table, partial(_start_of_one, found, who))
    return out


def _start_of_one(found: DualPoint, who: str, verdict: Verdict) -> str:
    return f"at the null epoch {who} {_moves(found, verdict)}"


def _one_factor(found: DualPoint, target: list[Case[Verdict]], other: list[Case[Verdict]]) -> bool:
    """Whether target and others learn by the same factor of cross-entropy, in the same cases."""
    world = World(Domain({}, found.row.facts, 2))
    return [c.conditions for c in target] == [c.conditions for c in other] and all(
        a.answer.sign == -b.answer.sign and world.tidy(a.answer.factor - b.answer.factor) is ZERO
        for a, b in zip(target, other, strict=True)
    )


def _learns(found: DualPoint, verdict: Verdict) -> str:
    if verdict.sign == 0:
        return "it does not learn: no score gets an error"
    if verdict.factor is ONE:
        return "it learns exactly like cross-entropy"
    if verdict.sign > 0:
        return f"it learns like cross-entropy, {_times(found, verdict)}"
    size = _times(found, verdict)
    return f"it learns the opposite of cross-entropy, {size}: {_names(found)[0]} is pushed down"


def _moves(found: DualPoint, verdict: Verdict) -> str:
    if verdict.sign == 0:
        return "gets no error"
    if verdict.factor is ONE:
        return f"is pushed {_direction(verdict.sign)}, as strongly as by cross-entropy"
    return f"is pushed {_direction(verdict.sign)}, {_times(found, verdict)}, beside cross-entropy"


# -- near zero training error -----------------------------------------------------------------------------------------


def _at_end(found: DualPoint) -> list[str]:
    names = _names(found)
    target, other = (_verdicts(found, found.end, t) for t in (True, False))
    out: list[str] = []
    if target is None:
        out.append(_unresolved(found, found.end.score_target, "Near zero training error", names[0]))
    else:
        out += _each(found, target, lambda v: f"near zero training error {_ends(found, v)}")
    if found.row.link == "softmax":
        return out
    if other is None:
        out.append(_unresolved(found, found.end.score_other, "Near zero training error", names[1]))
    else:
        out += _each(found, other, lambda v: f"there {names[1]} {_ends_other(found, v)}")
    return out


def _ends(found: DualPoint, verdict: Verdict) -> str:
    name = _names(found)[0]
    if verdict.sign == 0:
        return f"it stops: {name} gets no error at all any more"
    if verdict.sign < 0:
        strength = {
            1: "with an error that grows without bound",
            0: f"with an error that does not vanish ({_formula(found, verdict.term)})",
            -1: f"with an error that vanishes ({_formula(found, verdict.term)})",
        }[verdict.grows]
        if _pulls_from_the_start(found):
            return f"{name} is pulled down, too, {strength}"
        return f"{name} is pulled back, {strength}: it penalises over-confidence, as label smoothing does"
    if verdict.grows == 1:
        return f"{name} is pushed further up, with an error that grows without bound"
    if verdict.grows == 0:
        return (
            f"{name} is pushed further up with an error that does not vanish ({_formula(found, verdict.term)}), "
            "where cross-entropy's does"
        )
    return f"{name} is still pushed up, {_beside(found, verdict)}"


def _beside(found: DualPoint, verdict: Verdict) -> str:
    if verdict.same == 0:
        if verdict.factor is ONE:
            return "exactly like with cross-entropy"
        return f"like with cross-entropy, {_times(found, verdict)}"
    size = _formula(found, verdict.term)
    if verdict.same < 0:
        return f"but ever less than with cross-entropy ({size}): what is learned hardly counts, as with a focal loss"
    return f"ever more than with cross-entropy ({size})"


def _ends_other(found: DualPoint, verdict: Verdict) -> str:
    if verdict.sign == 0:
        return "gets no error"
    size = {1: "without bound", 0: _formula(found, verdict.term), -1: _formula(found, verdict.term)}[verdict.grows]
    return f"is pushed {_direction(verdict.sign)} ({size})"


# -- the thesis's δ ---------------------------------------------------------------------------------------------------


def _thesis(found: DualPoint) -> list[str]:
    row, out = found.row, []
    if row.link == "softmax":
        out.append(
            "The errors of the scores sum to 0 (softmax): what the target gets, the others lose, in equal parts."
        )
        if row.other is ZERO:
            out.append("Its own δ at a non-target is 0: only the target is computed, the others move by the softmax.")
    end, null = found.end.score_target, found.null.score_target
    if found.turning is not None and _sign(found, end) < 0 < _sign(found, null):
        out.append(f"For {setting(found)}, the pull sets in where the target has {_probability(found.turning)}.")
    return out


def _pulls_from_the_start(found: DualPoint) -> bool:
    """Whether the target is pushed down at the null epoch in every case, so that nothing can be over-confident."""
    return all(k.answer is not None and k.answer.sign < 0 for k in found.null.score_target.leads or ())


def _sign(found: DualPoint, quantity: Quantity) -> int:
    """The sign of an error for the numbers at hand."""
    for case in quantity.leads or ():
        if case.holds(found.values, found.shown):
            return case.answer.sign if case.answer is not None else 0
    return 0


def _probability(p: float) -> str:
    return f"{p:.6g}" if p < 0.999999 else f"1 - {1 - p:.2g}"


# -- pieces -----------------------------------------------------------------------------------------------------------


def _names(found: DualPoint) -> tuple[str, str]:
    return ("a positive label", "a negative label") if found.row.labels else ("the target", "each non-target")


def _direction(sign: int) -> str:
    return "up" if sign > 0 else "down"


def _times(found: DualPoint, verdict: Verdict) -> str:
    """`1 - xi times as strongly [0.9]`."""
    factor = verdict.factor
    if factor.op == CONST:
        return f"{number_text(float(factor.number))} times as strongly"
    value = number_text(float(number(factor, found.values, found.shown, context())))
    text = shown(found.loss, factor)
    if len(text) > LONG:
        return f"{value} times as strongly (here)" if verdict.here else "by a long factor"
    return f"{text} times as strongly" + (f" [{value}]" if verdict.here else "")


def _formula(found: DualPoint, term: Expr) -> str:
    text = shown(found.loss, term)
    return text if len(text) <= LONG else "a long formula, in the table"


def _each(found: DualPoint, table: list[Case[Verdict]], say: Callable[[Verdict], str]) -> list[str]:
    """A sentence a case; where its condition is too long, only if it is that of the numbers at hand."""
    out = []
    for case in table:
        if not case.answer.defined:
            continue
        here = case.holds(found.values, found.shown)
        text = say(replace(case.answer, here=here))
        conditions = [condition_text(found.loss, k) for k in case.conditions]
        if sum(map(len, conditions)) <= LONG:
            out.append(f"If {' and '.join(conditions)}, {text}." if conditions else f"{text[0].upper()}{text[1:]}.")
        elif here:
            out.append(f"For {setting(found)} (it depends on them), {text}.")
    return out


def _unresolved(found: DualPoint, quantity: Quantity, where: str, who: str) -> str:
    """What is left to say of an error that was not derived."""
    if isnan(quantity.at):
        return f"{where} the error of {who} was not found, or has no value."
    at = f"For {setting(found)}, " if setting(found) else ""
    text = f"{where if not at else where[0].lower() + where[1:]} the error of {who} is {number_text(quantity.at)}"
    return f"{at}{text}{' (numeric)' if quantity.numeric else ''}."
