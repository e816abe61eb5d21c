"""Sparsify: the redistributed-loss trick of the thesis (section 4.5), an approximation that says what it assumes.

A loss of a one-hot target and of probabilities is L = hit(f_t) + Σ_{j != t} miss(f_j). Its sparse form

    y*(hit(f) + (C - 1)*miss((1 - f)/(C - 1)))

needs the prediction at the target only. The other classes' losses are replaced by what they are expected to be: their
predictions have the mean (1 - f_t)/(C - 1), since probabilities sum to 1 (eq. 4.31), and the mean of their losses is
taken for the loss of their mean (eq. 4.30). So label smoothing becomes SparseLSR (eq. 4.32), and the focal loss with
smoothed targets becomes Focal+SparseLSR (eq. 4.38), which needs one assumption more: see `reflected`.

This is not a rewrite. Where `miss` is not straight, it is another loss; the result says which way it is off, and by
what to second order:

    L - sparse = 1/2*miss''(m)*Σ_{j != t} (f_j - m)^2 + ...,     m = (1 - f_t)/(C - 1)

    >>> print(sparsify(lossc.parse("-y*log(f)", y="onehot", f="prob"), xi=0.1).explain())
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from lossc.compiler.errors import LossTypeError, UsageError
from lossc.compiler.facts import Facts
from lossc.compiler.ir import ZERO, Expr, F, Y, param, postorder, substitute
from lossc.compiler.loss import Loss, Parameter
from lossc.compiler.names import MAX_NAME
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.passes.redistribute import (
    EQUAL,
    LOWER,
    OWN,
    REFLECTED,
    UNKNOWN,
    UPPER,
    both,
    focus_bound,
    reflected,
    second_order,
    taylor_bound,
)  # fmt: skip
from lossc.compiler.passes.simplex import CLASSES, OTHERS, TARGET
from lossc.compiler.passes.target_only import Split, split_by_target, straight_slope, works_along
from lossc.compiler.printing import to_text

MAX_SHOWN = 2_000
"""Nodes beyond which a report names the size of a formula instead of the formula."""
DEFAULT_XI = 0.1
MEAN = (1 - F) / OTHERS
"""What the other classes' predictions are on average, where F is the target's (eq. 4.31)."""
F_T, F_J = param("f_t"), param("f_j")
"""How the predictions at the target and at another class are written in reports."""


@dataclass(frozen=True)
class Step:
    """One step of a derivation: the thesis's equation, what is done, and the formula that this gives."""

    equation: str
    what: str
    formula: str


@dataclass(frozen=True)
class Sparsified:
    """A loss in sparse form, and what that took.

    loss           the sparse form; the loss as it was where there was nothing to redistribute
    redistributed  what another class loses: in the leaves `F_J`, its own prediction, and `F_T`, the target's; 0 if none
    assumptions    what the sparse form takes for granted, a sentence each; none if it is equal for every row
    exact          whether it is equal for every row of probabilities
    bound          whether it is a "lower bound" or "upper bound" of the loss, "exact", or "unknown"
    second_order   1/2*miss''(m) in the leaf `F_T`; None where `miss` has a kink or no second derivative in closed form
    steps          the derivation, in order
    """

    loss: Loss
    redistributed: Expr
    assumptions: tuple[str, ...]
    exact: bool
    bound: str
    second_order: Expr | None
    steps: tuple[Step, ...]

    @property
    def unchanged(self) -> bool:
        """Whether the loss needed the target's prediction only already."""
        return self.redistributed is ZERO

    def explain(self) -> str:
        """The report of `lossc sparsify --explain`."""
        lines = [f"result     {_text(self.loss.body)}"]
        for step in self.steps:
            lines += [f"{step.equation and 'eq. ' + step.equation:<10} {step.what}", f"{'':<10}     {step.formula}"]
        lines += [f"assumes    {text}" for text in self.assumptions]
        return "\n".join([*lines, *self._quality()])

    def _quality(self) -> list[str]:
        if self.exact:
            return ["error      none: the two are equal for every row of probabilities"]
        if self.second_order is None:
            error = "no closed form: what the others lose has a kink, or no second derivative"
        else:
            error = f"loss - sparse = ({_text(self.second_order)})*S + ..., S = sum of (f_j - E[f_j])^2 over the others"
        return [f"error      {error}", f"bound      {_BOUNDS[self.bound]}"]


_BOUNDS = {
    LOWER: "the sparse form is never above the loss",
    UPPER: "the sparse form is never below the loss",
    UNKNOWN: "not known: the sparse form may be above the loss for one row and below it for another",
}


# -- smoothed targets -------------------------------------------------------------------------------------------------


def smooth(loss: Loss, xi: float | Fraction | str = DEFAULT_XI) -> Loss:
    """The loss of smoothed targets, y*(1 - xi) + xi/C for y (thesis, eq. 4.27), with the hyper-parameter xi.

    Raises LossTypeError (L321) if y is not one-hot, UsageError (L202) if xi is not a number from 0 to 1.
    """
    if loss.y != "onehot":
        raise _unfit(f"`{loss.name}` has `y: {loss.y}`; only one-hot targets are smoothed", _ONE_HOT)
    taken = {p.name for p in loss.params}
    name = next(n for n in ("xi", *(f"xi{i}" for i in range(2, len(taken) + 3))) if n not in taken)
    weight = param(name)
    body = substitute(loss.body, {Y: Y * (1 - weight) + weight / CLASSES})
    made = replace(
        loss, body=body, name=_name("smooth", loss.name), params=(*loss.params, Parameter(name, "unit")),
        doc=f"{loss.name} of smoothed targets.", source=_source("thesis, eq. 4.27", loss), spans={}, text=None,
    )  # fmt: skip
    return made.with_defaults(**{name: xi})


# -- the trick --------------------------------------------------------------------------------------------------------


def sparsify(loss: Loss, *, xi: float | Fraction | str | None = None, focus: str = REFLECTED) -> Sparsified:
    """The sparse form of a loss with `y: onehot` and `f: prob`, after smoothing its targets with `xi` if that is given.

    focus   "reflected": a focusing factor (1 - f_j)^gamma of another class becomes f_t^gamma, as in eq. 4.38 (see
            `reflected`); "own": it is treated like the rest of the loss

    Raises LossTypeError (L321) for a loss that the trick does not apply to, UsageError for a wrong xi or focus.
    """
    if focus not in (REFLECTED, OWN):
        raise UsageError("L235", f"`{focus[:64]}` is not a way to treat a focusing factor", expected="reflected or own")
    given = loss if xi is None else smooth(loss, xi)
    split = _split(given)
    smoothed = Step("4.27", "the targets are smoothed: y becomes y*(1 - xi) + xi/C", _text(given.body))
    steps = [] if xi is None else [smoothed]
    steps.append(Step("4.27", "what the target loses", _text(_named(split.hit, F_T))))
    steps.append(Step("4.27", "what each of the C - 1 other classes loses", _text(_named(split.miss, F_J))))
    if split.miss is ZERO:
        steps.append(Step("", "already target-only: nothing to redistribute", _text(given.body)))
        return Sparsified(given, ZERO, (), True, EQUAL, ZERO, tuple(steps))
    return _redistributed(loss, given, split, focus, steps)


def _redistributed(original: Loss, loss: Loss, split: Split, focus: str, steps: list[Step]) -> Sparsified:
    miss, facts = split.miss, split.facts
    seen = reflected(miss, facts) if focus == REFLECTED else miss
    moved, focused = F in postorder(seen), seen is not miss
    second = second_order(seen, facts)
    straight = not moved or straight_slope(seen, facts) is not None
    bound = both(taylor_bound(seen, second, straight, facts), focus_bound(miss, facts) if focused else EQUAL)
    shared = canonical_expr(OTHERS * _at_mean(seen), facts)
    body = canonical_expr(Y * canonical_expr(split.hit + shared, facts), Facts(loss))
    assumptions, exact = _assumptions(focused, moved, straight), straight and not focused
    final = "4.38" if focused else "4.32"
    made = replace(
        loss, body=body, name=_name("sparse", original.name), doc=_doc(original, assumptions, exact),
        source=_source(f"lossc sparsify (thesis, eq. 4.29-{final})", original), spans={}, text=None,
    )  # fmt: skip
    steps = [*steps, *_derivation(miss, seen, shared, straight)]
    steps.append(Step(final, "all of it is counted at the target, and 0 elsewhere", _text(body)))
    at_target = None if second is None else _named(canonical_expr(_at_mean(second), facts), F_T)
    return Sparsified(made, _named(miss, F_J), assumptions, exact, bound, at_target, tuple(steps))


def _at_mean(x: Expr) -> Expr:
    """x of another class at the mean prediction, with F for the prediction at the target."""
    return substitute(x, {F: MEAN, TARGET: F})


def _split(loss: Loss) -> Split:
    """The loss at the target and elsewhere. Raises LossTypeError (L321), with the reason, where the trick fails."""
    if loss.y != "onehot":
        raise _unfit(f"`{loss.name}` has `y: {loss.y}`: without a target class nothing can be redistributed", _ONE_HOT)
    if loss.f != "prob":
        raise _unfit(
            f"`{loss.name}` has `f: {loss.f}`: the trick needs predictions that sum to 1 over the classes",
            "write it in probabilities, `f: prob`; the softmax is then part of the module",
        )
    split = split_by_target(loss)
    if split is None or works_along(split.miss) or any(n in split.places for n in postorder(split.miss)):
        raise _unfit(
            f"`{loss.name}` is not a sum in which each other class loses by its own prediction",
            "the trick needs a loss like sum_c(...) or -y*log(f): no root, product or maximum over several classes",
        )
    if works_along(split.hit):
        raise _unfit(
            f"what `{loss.name}` loses at the target depends on the other classes' predictions",
            "the trick needs a loss whose value at each class is a function of y and f there",
        )
    return split


_ONE_HOT = "declare `y: onehot` (--y onehot) if that is what it is"


def _unfit(why: str, hint: str) -> LossTypeError:
    return LossTypeError("L321", why, hint=hint)


# -- what is said of it -----------------------------------------------------------------------------------------------


def _assumptions(focused: bool, moved: bool, straight: bool) -> tuple[str, ...]:
    out = []
    if focused:
        out.append("the focusing factor (1 - f_j)^p of another class is f_t^p: true for C = 2, and else too small")
    if moved:
        out.append("the predictions of a row sum to 1, so that those of the others are (1 - f_t)/(C - 1) on average")
    if not straight:
        out.append("the mean loss of the others is the loss of their mean: true where they are equal, as for C = 2")
    return tuple(out)


def _derivation(miss: Expr, seen: Expr, shared: Expr, straight: bool) -> list[Step]:
    """Eq. 4.29 to 4.31."""
    each, used = _text(_named(miss, F_J)), _text(_named(seen, F_J))
    steps = [Step("4.29", "the others together lose what is expected", f"(C - 1)*E[{each}]")]
    if seen is not miss:
        steps.append(Step("4.38", "a focusing factor is reflected: 1 - f_j becomes f_t", f"(C - 1)*E[{used}]"))
    if F in postorder(seen):
        at_mean = _text(_named(substitute(seen, {F: param("E[f_j]")}), F_J))
        how = "the mean loss is the loss of the mean" + ("" if straight else ", to first order")
        steps.append(Step("4.30", how, f"(C - 1)*({at_mean})"))
        steps.append(Step("4.31", "and the mean is E[f_j] = (1 - f_t)/(C - 1)", _text(_named(shared, F_T))))
    return steps


def _named(x: Expr, prediction: Expr) -> Expr:
    return substitute(x, {F: prediction, TARGET: F_T})


def _text(x: Expr) -> str:
    """A formula for a report, with C for the number of classes as the thesis has it."""
    if x.tree_size > MAX_SHOWN:
        return f"(a formula of {x.tree_size:,} nodes)"
    return to_text(x if param("C") in postorder(x) else substitute(x, {CLASSES: param("C")}))


def _name(prefix: str, name: str) -> str:
    return f"{prefix}_{name}" if len(prefix) + 1 + len(name) <= MAX_NAME else name


def _doc(original: Loss, assumptions: tuple[str, ...], exact: bool) -> str:
    lines = [f"Sparse form of {original.name}: what the other classes lose is counted at the target."]
    lines.append("Equal for every row of probabilities." if exact else "An approximation. Assumed:")
    return "\n".join(lines + ([] if exact else [f"- {text}" for text in assumptions]))


def _source(how: str, original: Loss) -> str:
    return f"{how} of {original.name}" + (f"; {original.source}" if original.source else "")
