"""Which losses need the prediction at the target only: an exact analysis of classwise losses of one-hot targets.

Because y is 1 at the target t and 0 elsewhere, a loss L = Σ_c t(y_c, f_c) is

    L = hit(f_t) + Σ_{c != t} miss(f_c),     hit = t(1, f),  miss = t(0, f)

and where `miss` does not depend on f, L = hit(f_t) + (C - 1)*miss: it can be computed from one number a row. That is
proved here, by the canonical form under `SimplexFacts`, or not claimed; nothing is sampled. What is proved holds for
one-hot y and C >= 2 wherever f is what its role says, a probability strictly between 0 and 1, as a softmax gives it. It
holds for undefined values too: L has one exactly where hit + (C - 1)*miss has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lossc.compiler import ops
from lossc.compiler.facts import Facts
from lossc.compiler.ir import (
    HALF,
    LEAF_OPS,
    ONE,
    ZERO,
    Expr,
    F,
    Y,
    const,
    fold,
    is_live,
    param,
    postorder,
    rebuild,
    substitute,
)  # fmt: skip
from lossc.compiler.loss import CLASSWISE, Loss, class_varying, varies
from lossc.compiler.ops import call
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.passes.differentiate import derivative, plus, times
from lossc.compiler.passes.simplex import CLASSES, OTHERS, TARGET, SimplexFacts

_MINUS = const(-1)
MAX_RESOLVED = 10_000
"""Nodes of a term, as a tree, beyond which a sum over the classes is left alone: nested sums can double each other."""


# -- one term a class -------------------------------------------------------------------------------------------------


def per_class_terms(loss: Loss) -> Expr | None:
    """An expression t with L = Σ_c t_c (a t that does not vary counts C times); None if none is found.

    The body itself if it varies over the classes. Of a loss that reduces itself, the outermost sums and means are
    opened, through sums and class-constant factors: `-k*mean_c(x) + b` is Σ_c of `-k*x/C + b/C`. A root of a sum, or a
    maximum over the classes, is no sum over them.
    """
    if loss.layout != CLASSWISE:
        return None
    if varies(loss.body):
        return loss.body
    terms, rest = _opened(loss)
    facts = Facts(loss)
    rest = canonical_expr(rest, facts)
    if is_live(rest):
        return None
    return canonical_expr(plus(terms, ZERO if rest is ZERO else rest / CLASSES), facts)


def _opened(loss: Loss) -> tuple[Expr, Expr]:
    """`(t, rest)` with L = Σ_c t_c + rest, where rest is the same at every class."""
    if varies(loss.body):
        return loss.body, ZERO
    root = canonical_expr(loss.body, Facts(loss))
    varying = class_varying(root)

    def visit(here: Expr, below: list[tuple[Expr, Expr]]) -> tuple[Expr, Expr]:
        if here in varying:
            return ZERO, here
        if here.op == "sum_c":
            return here.args[0], ZERO
        if here.op == "mean_c":
            return here.args[0] / CLASSES, ZERO
        if here.op == "neg":
            return times(below[0][0], _MINUS), times(below[0][1], _MINUS)
        if here.op in ("add", "sub"):
            (a, p), (b, q) = below
            if here.op == "sub":
                b, q = times(b, _MINUS), times(q, _MINUS)
            return plus(a, b), plus(p, q)
        if here.op in ("mul", "div"):
            return _opened_product(here, *below)
        return ZERO, here

    return fold(root, visit)


def _opened_product(here: Expr, left: tuple[Expr, Expr], right: tuple[Expr, Expr]) -> tuple[Expr, Expr]:
    """One factor is opened, the other is a coefficient; the second first, where canonical forms have the larger one."""
    a, b = here.args
    if here.op == "mul" and right[0] is not ZERO:
        return times(right[0], a), times(right[1], a)
    if left[0] is ZERO:
        return ZERO, here
    if here.op == "mul":
        return times(left[0], b), times(left[1], b)
    return left[0] / b, ZERO if left[1] is ZERO else left[1] / b


# -- the target and the others ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Split:
    """A loss of a one-hot target as L = hit + Σ_{c != t} miss_c, both canonical under `facts` and free of y.

    hit     to be looked at in the target's class: F is the prediction there
    miss    to be looked at in another class: F is the prediction there, `TARGET` the one at the target
    places  further leaves of `miss` that stand for a value at the target, and that value: log_softmax(F), ...
    """

    hit: Expr
    miss: Expr
    facts: SimplexFacts = field(repr=False)
    places: Mapping[Expr, Expr] = field(default_factory=dict, repr=False)

    @property
    def miss_depends_on_f(self) -> bool:
        """Whether the other classes' losses depend on any prediction, as far as the canonical form can tell."""
        return any(n in (F, TARGET) or n in self.places for n in postorder(self.miss))


def split_by_target(loss: Loss) -> Split | None:
    """What a loss is at the target and at each other class; None if y is not one-hot, or the loss no such sum.

    Sums over the classes that contain y are resolved where their terms at the other classes are the same, mostly 0
    (`sum_c(y*f)` is f at the target), or are straight in f, since probabilities sum to 1. Reductions without y stay.
    """
    if loss.y != "onehot" or loss.layout != CLASSWISE:
        return None
    terms, rest = _opened(loss)
    splitter = _Splitter(loss, terms, rest)
    try:
        hit, miss = splitter.both(terms)
        hit = plus(hit, splitter.both(rest)[0])
    except _NoSum:
        return None
    at_target = {TARGET: F, **splitter.places}
    facts = splitter.facts
    return Split(canonical_expr(substitute(hit, at_target), facts), canonical_expr(miss, facts), facts, splitter.places)


class _NoSum(Exception):
    """The loss is not a sum of one term a class, as far as we can see."""


class _Splitter:
    """Expressions at the target and at another class: F is the prediction at the latter, `TARGET` at the former."""

    def __init__(self, loss: Loss, *roots: Expr) -> None:
        self.prob = loss.f == "prob"
        self.with_y: set[Expr] = set()
        maps: list[Expr] = []
        for here in postorder(*roots):
            if here is Y or any(a in self.with_y for a in here.args):
                self.with_y.add(here)
            elif here.op not in LEAF_OPS and ops.record(here).axis == ops.MAP:
                maps.append(here)
        self.places = {param(f"?{n.op}{i}"): n for i, n in enumerate(maps)}
        self._place_of = {n: place for place, n in self.places.items()}
        plain = Facts(loss)
        self.facts = SimplexFacts(loss, {place: plain.range(n) for place, n in self.places.items()})

    def both(self, root: Expr) -> tuple[Expr, Expr]:
        """`root` at the target and at another class."""
        return fold(root, self._visit)

    def _visit(self, here: Expr, below: list[tuple[Expr, Expr]]) -> tuple[Expr, Expr]:
        if here is Y:
            return ONE, ZERO
        if here is F:
            return TARGET, F
        axis = "" if here.op in LEAF_OPS else ops.record(here).axis
        if axis == ops.MAP:
            if here in self.with_y:
                raise _NoSum
            return self._place_of[here], here
        if axis == ops.REDUCE:
            found = self._reduced(here, *below[0])
            return found, found
        return rebuild(here, (b[0] for b in below)), rebuild(here, (b[1] for b in below))

    def _reduced(self, here: Expr, hit: Expr, miss: Expr) -> Expr:
        """A sum or mean over the classes, resolved; another reduction, or a sum that cannot be, only without y."""
        if here.op in ("sum_c", "mean_c"):
            total = self._total(hit, canonical_expr(miss, self.facts)) if miss.tree_size <= MAX_RESOLVED else None
            if total is not None:
                return total if here.op == "sum_c" else total / CLASSES
        if here in self.with_y:
            raise _NoSum
        return here

    def _total(self, hit: Expr, miss: Expr) -> Expr | None:
        if not varies(miss):
            return plus(hit, times(OTHERS, miss))
        slope = straight_slope(miss, self.facts) if self.prob else None
        if slope is None:
            return None
        return hit + OTHERS * _at_zero(miss, slope, self.facts) + slope * (ONE - TARGET)


def straight_slope(miss: Expr, facts: Facts) -> Expr | None:
    """b where `miss` is certainly a + b*F on the whole domain, with a, b the same at every class; else None."""
    if not is_smooth(miss, facts):
        return None
    slope = canonical_expr(derivative(miss, F), facts)
    return None if varies(slope) or F in postorder(slope) or not facts.total(miss) else slope


def _at_zero(straight: Expr, slope: Expr, facts: Facts) -> Expr:
    """a of a + b*F, also where it is written such that F must not be 0."""
    start = canonical_expr(substitute(straight, {F: ZERO}), facts)
    return start if facts.total(start) else substitute(straight, {F: HALF}) - slope / 2


def is_smooth(root: Expr, facts: Facts) -> bool:
    """Whether `root`, as a function of F, certainly has no kink or jump and no part that works along the class axis."""
    moving = class_varying(root)
    for here in postorder(root):
        if here.op in LEAF_OPS:
            continue
        record = ops.record(here)
        if record.axis not in ("", ops.SIZE) or (here in moving and record.gives == ops.BOOL_KIND):
            return False
        if here in moving and (record.partials is None or not all(facts.nonzero(k) for k in record.kinks(*here.args))):
            return False
    return True


# -- losses of the target only ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TargetOnly:
    """A proof that L = hit(f_t) + (C - 1)*miss for one-hot y and C >= 2.

    hit     F is the prediction at the target; no operator along the class axis is left in it but `num_classes`, and,
            for scores, softmax(F) and log_softmax(F), which mean their entry at the target (`maps` lists them)
    miss    free of y and f, certainly defined; hyper-parameters and `num_classes` may occur
    """

    hit: Expr
    miss: Expr

    @property
    def maps(self) -> tuple[Expr, ...]:
        """The softmax(F) and log_softmax(F) of `hit`."""
        return tuple(n for n in postorder(self.hit) if n.op not in LEAF_OPS and ops.record(n).axis == ops.MAP)


def target_only(loss: Loss) -> TargetOnly | None:
    """The proof that a loss depends on the prediction at the target only; None if there is none."""
    split = split_by_target(loss)
    if split is None or split.miss_depends_on_f or not split.facts.total(split.miss) or works_along(split.miss):
        return None
    scores = loss.f != "prob"
    if works_along(split.hit, besides=(call("softmax", F), call("log_softmax", F)) if scores else ()):
        return None
    return TargetOnly(split.hit, split.miss)


def works_along(root: Expr, besides: tuple[Expr, ...] = ()) -> bool:
    """Whether an operator works along the class axis: a reduction or a map, other than `besides`."""
    return any(
        here.op not in LEAF_OPS and ops.record(here).axis in (ops.REDUCE, ops.MAP) and here not in besides
        for here in postorder(root)
    )
