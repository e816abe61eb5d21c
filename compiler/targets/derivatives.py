"""What a target prints of a loss: its value, gradient and Hessian diagonal in f, in closed form, of operators it has.

    found = roots(loss, "jax")
    found.guarded, found.value, found.gradient, found.hessian

`guarded` is for targets that differentiate automatically; `value` is the same number without what guards do for slopes.
All come from the stages of `pipeline.py`, and share what they can.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from lossc.compiler.ir import ONE, Expr, F, postorder, rebuild
from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.passes.differentiate import diagonal, gradient
from lossc.compiler.passes.guard import guard_value
from lossc.compiler.passes.stabilize import stable_expr
from lossc.compiler.targets.closed_form import (
    LARGEST,
    Cautious,
    aligned,
    always_defined,
    best_of,
    closed_form,
    decided,
    in_parts,
    value_only,
)
from lossc.compiler.targets.fallback import without
from lossc.compiler.targets.lowering import lower
from lossc.compiler.targets.options import DEFAULT, Options
from lossc.compiler.targets.other_classes import opened
from lossc.compiler.targets.pipeline import Stages, prepare


@dataclass(frozen=True, slots=True)
class Guarded:
    """The expression that a target prints which differentiates automatically; of operators that the target has.

    At each element; classwise at each class, where the sum over the classes is the loss, unless it reduces itself.
    """

    stages: Stages
    guarded: Expr

    @property
    def loss(self) -> Loss:
        """The loss after its link: f is what the model gives."""
        return self.stages.guarded


@dataclass(frozen=True, slots=True)
class Roots(Guarded):
    """All expressions of a loss: `value` is as `guarded`, `gradient` and `hessian` are at each class, for a sample."""

    value: Expr
    gradient: Expr
    hessian: Expr


def guarded(loss: Loss, key: str, options: Options = DEFAULT) -> Guarded:
    """The loss alone, guarded, as `key` can print it. Raises LossTypeError (L345) for an operator that it lacks."""
    stages = prepare(loss, options)
    (printed,) = without(key, stages.guarded.body)
    return Guarded(stages, printed)


def roots(loss: Loss, key: str, options: Options = DEFAULT) -> Roots:
    """The value and two derivatives of a loss as `key` can print them.

    Raises LossTypeError: L310 for an operator without a derivative in closed form, L345 for one that the target lacks.
    """
    stages = prepare(loss, options)
    body = stages.guarded.body
    printed = without(key, body, *map(in_parts, (value_only(body), slope_of(stages), bend_of(stages))))
    return Roots(stages, *printed)


@lru_cache(maxsize=16)  # every target of an export to all asks the same
def slope_of(stages: Stages) -> Expr:
    """∂L/∂f: the closed form where there is a good one, else the derivative of the guarded loss."""
    found = closed_form(stages)
    if found is not None:
        return found
    apart = opened(stages.guarded)
    return _last(stages, apart.closed(_first(apart.loss)))


@lru_cache(maxsize=16)
def bend_of(stages: Stages) -> Expr:
    """∂²L/∂f², the diagonal of the Hessian: of several equal forms the one that arithmetic computes best."""
    forms = {stages.guarded.body: stages.guarded}
    if not any(one.rule.startswith("G") for one in stages.applied):
        forms = {one.body: one for one in (stages.linked, stages.stable, stages.guarded)}
    made = dict.fromkeys(bend for form in forms.values() for bend in _bends(form))
    good = [bend for bend in made if bend.tree_size <= LARGEST and always_defined(bend, stages.guarded)]
    found = best_of(stages.guarded, good) if good else None
    if found is None:
        apart = opened(stages.guarded)
        return _last(stages, apart.closed(_second(apart.loss)))
    return aligned(lower(stages.guarded.with_body(found)).body, stages.guarded)


def _first(loss: Loss) -> Expr:
    return gradient(loss.body, F, summed=loss.layout == CLASSWISE and not loss.reduces_itself)


def _second(loss: Loss) -> Expr:
    return diagonal(_first(loss), F)


def _bends(loss: Loss) -> list[Expr]:
    """The second derivative of one form of the loss, as it comes and in stable forms."""
    facts = Cautious(loss)
    made = diagonal(canonical_expr(_first(loss), facts), F)
    if made.tree_size > 100 * LARGEST:
        return []
    plain = canonical_expr(decided(canonical_expr(made, facts)), facts)
    if plain.tree_size > LARGEST:
        return []
    return [plain, *(stable_expr(one, facts)[0] for one in (plain, canonical_expr(_factored(plain), facts)))]


def _factored(root: Expr) -> Expr:
    """The same with p - p^2 as p(1 - p), which does not cancel where p is near 1; s p - s p^2 likewise."""
    done: dict[Expr, Expr] = {}
    for here in postorder(root):
        made = rebuild(here, (done[a] for a in here.args))
        if made.op == "sub":
            left, right = _pair(made.args[0]), _pair(made.args[1])
            for scale, p in (left, left[::-1]):
                if {scale, p**2} == set(right):
                    made = scale * (p * (1 - p))
                    break
        done[here] = made
    return done[root]


def _pair(product: Expr) -> tuple[Expr, ...]:
    return product.args if product.op == "mul" else (ONE, product)


def _last(stages: Stages, made: Expr) -> Expr:
    """A derivative of the guarded loss that has a value wherever it can: what is 0/0 is given its limit."""
    loss = replace(stages.guarded, body=decided(made))
    return value_only(guard_value(lower(loss)).body)
