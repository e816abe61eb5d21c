"""The gradient of a loss on its way to code: in closed form, stable, and the very slopes that the guarded loss has.

There is more than one formula for a derivative: that of the stable form, that of the form before it, that of the
guarded one. They are equal on the reals, not in floating point, and not in cost. The cheapest is taken of those that
24-bit arithmetic computes best at a few points (docs/numerics.md, finding 7).

The result is a value, not a program to differentiate: a further derivative is that of the guarded loss itself. So where
a condition has been decided, it is not asked again inside (the double-where of a guard comes down to one).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from lossc.compiler import ops
from lossc.compiler.cost import cost
from lossc.compiler.errors import LossTypeError
from lossc.compiler.evaluate import evaluate_all
from lossc.compiler.facts import Facts
from lossc.compiler.ir import (
    CONST,
    ONE,
    PARAM,
    ZERO,
    Expr,
    F,
    Y,
    const,
    live_nodes,
    node,
    postorder,
    rebuild,
    substitute,
)
from lossc.compiler.loss import CLASSWISE, Loss, varies
from lossc.compiler.ops import call
from lossc.compiler.passes.canonicalize import canonical_expr, canonical_exprs
from lossc.compiler.passes.differentiate import gradient
from lossc.compiler.passes.domain import Condition, conditions, unimplied
from lossc.compiler.passes.guard import CURES, GuardFacts
from lossc.compiler.passes.stabilize import stable_expr
from lossc.compiler.roles import ROLES
from lossc.compiler.targets.lowering import lower
from lossc.compiler.targets.pipeline import Stages

LARGEST = 4_000
"""Nodes (unfolded) that a gradient may have: beyond that autograd does better."""
_BITS, _DIGITS, _GREATEST, _TOLERANCE = 24, 40, 3.0e38, 2.0**-16


def closed_form(stages: Stages) -> Expr | None:
    """∂L/∂f, ready to print: at each entry of f for an elementwise loss, at each class for a classwise one.

    The derivative of a sample's loss (summed over its classes), with the slopes at kinks and singular points that the
    guarded loss has. None where an operator has no closed form, or the gradient would be too large.
    """
    forms = {stages.guarded.body: stages.guarded}
    if not any(one.rule.startswith("G") for one in stages.applied):  # no guard and no policy has a say in the slopes
        forms = {one.body: one for one in (stages.linked, stages.stable, stages.guarded)}
    found = dict.fromkeys(slope for form in forms.values() for slope in _slopes(form))
    best = best_of(stages.guarded, [slope for slope in found if always_defined(slope, stages.guarded)])
    return None if best is None else aligned(lower(stages.guarded.with_body(best)).body, stages.guarded)


def value_only(root: Expr) -> Expr:
    """The same value without what guards do for the slope: nothing is differentiated in a fused kernel."""
    done: dict[Expr, Expr] = {}
    settled = decided(root)
    for here in postorder(settled):
        made = rebuild(here, (done[a] for a in here.args))
        if made.op == "where" and made.args[2].op in CURES:
            at, value, _ = CURES[made.args[2].op][1](*made.args[2].args)
            made = made.args[2] if (at, value) == made.args[:2] else made
        done[here] = made
    return done[settled]


def in_parts(root: Expr) -> Expr:
    """Softmax, log-softmax and log-sum-exp by parts that they share: the maximum, the exponentials, their sum."""
    parts: dict[Expr, Expr] = {}
    for here in postorder(root):
        if here.op in ("softmax", "log_softmax", "logsumexp_c") and varies(here.args[0]):
            x = here.args[0]
            top = call("max_c", x)
            grown = call("exp", x - top)
            mass = call("sum_c", grown)
            parts[here] = {
                "softmax": grown / mass,
                "log_softmax": (x - top) - call("log", mass),
                "logsumexp_c": call("log", mass) + top,
            }[here.op]
    return substitute(root, parts)


class Cautious(Facts):
    """Facts for gradients: that a target sums to 1 over the classes is promised, but rows of zeros are in use."""

    def sums_to_one(self, root: Expr) -> bool:
        return root.op == "softmax"


def _slopes(loss: Loss) -> list[Expr]:
    """The derivative of one form of the loss, as it comes and in stable forms."""
    facts = Cautious(loss)
    try:
        summed = loss.layout == CLASSWISE and not loss.reduces_itself
        made = gradient(loss.body, F, summed=summed)
    except LossTypeError:
        return []
    if made.tree_size > 100 * LARGEST:
        return []
    plain = canonical_expr(decided(canonical_expr(made, facts)), facts)
    if plain.tree_size > LARGEST:
        return []
    return [e for e in (plain, stable_expr(plain, facts)[0]) if e.tree_size <= LARGEST]


def aligned(slope: Expr, loss: Loss) -> Expr:
    """The gradient with what the loss computes anyway in the loss's own form, a sign apart at most: y - f for f - y."""
    facts = Facts(loss)
    ours, theirs = _parts(value_only(loss.body)), _parts(slope)
    known = dict(zip(canonical_exprs(ours, facts), ours, strict=True))
    forms = dict(zip(theirs, canonical_exprs(theirs, facts), strict=True))
    turned = dict(zip(theirs, canonical_exprs((-n for n in theirs), facts), strict=True))
    done: dict[Expr, Expr] = {}
    for here in postorder(slope):
        made = rebuild(here, (done[a] for a in here.args))
        if here in forms and forms[here] in known:
            made = known[forms[here]]
        elif here in forms and turned[here] in known:
            made = -known[turned[here]]
        done[here] = _sign_outside(made)
    return done[slope]


def _parts(root: Expr) -> list[Expr]:
    """The operations under the root that have a value for each element."""
    live = live_nodes(root)
    return [n for n in postorder(root) if n.args and n in live and ops.kind_of(n) == ops.REAL_KIND]


def _sign_outside(here: Expr) -> Expr:
    """A minus sign taken to where it costs least: into a constant factor, or out of a product or quotient."""
    if here.op not in ("mul", "div", "neg", "add", "sub"):
        return here
    signs = [a.op == "neg" for a in here.args]
    bare = [a.args[0] if minus else a for a, minus in zip(here.args, signs, strict=True)]
    if here.op == "neg":
        return bare[0] if signs[0] else here
    if here.op in ("add", "sub"):
        return node("sub" if here.op == "add" else "add", here.args[0], bare[1]) if signs[1] else here
    if not any(signs):
        return here
    if here.op == "mul" and signs[1] and not signs[0] and here.args[0].op == CONST:
        return const(-here.args[0].number) * bare[1]
    made = node(here.op, *bare)
    return made if all(signs) else -made


def decided(root: Expr) -> Expr:
    """The same value with conditions asked once: in where(c, a, b), a knows that c holds, b that it does not."""
    done: dict[Expr, Expr] = {}
    for here in postorder(root):
        args = [done[a] for a in here.args]
        if here.op == "where":
            args[1], args[2] = _assuming(args[1], args[0], True), _assuming(args[2], args[0], False)
            if args[1] is args[2]:
                done[here] = args[1]
                continue
        done[here] = rebuild(here, args)
    return done[root]


def _assuming(branch: Expr, condition: Expr, holds: bool) -> Expr:
    """The branch where the condition holds (or does not): what is inside a reduction sees other classes too."""
    here_only = varies(condition)
    done: dict[Expr, Expr] = {}
    for here in postorder(branch):
        if here.op == "where" and here.args[0] is condition:
            done[here] = done[here.args[1 if holds else 2]]
        elif here_only and here.op in ops.OPS and ops.OPS[here.op].axis in (ops.REDUCE, ops.MAP):
            done[here] = here
        else:
            done[here] = rebuild(here, (done[a] for a in here.args))
    return done[branch]


def always_defined(slope: Expr, loss: Loss) -> bool:
    """Whether the gradient certainly has a value wherever the loss has one: no 0/0 that autograd meets apart."""
    facts = GuardFacts(loss)
    missing = unimplied(conditions(slope, facts), conditions(loss.body, facts))
    return all(_excluded(c, facts) or any(_is_share(x) for x in c.operands) for c in missing)


def _excluded(wanted: Condition, facts: Facts) -> bool:
    """Whether the condition of a `where` around it says that its operand is not 0: where(x == 0, 0, 1/x)."""
    for test, holds in wanted.guards:
        if (test.op, holds) in (("eq", False), ("ne", True)) and ZERO in test.args:
            x = test.args[1] if test.args[0] is ZERO else test.args[0]
            given = {(c.kind, c.operands) for c in conditions(ONE / x, facts)}
            if (wanted.kind, wanted.operands) in given:
                return True
    return False


def _is_share(x: Expr) -> bool:
    """Whether this is the number of classes that share a maximum, which is at least one."""
    if x.op != "sum_c" or x.args[0].op != "where" or x.args[0].args[1:] != (ONE, ZERO):
        return False
    test = x.args[0].args[0]
    low, high = test.args if test.op in ("le", "ge") else (ZERO, ZERO)
    return (test.op == "le" and low is node("max_c", high)) or (test.op == "ge" and high is node("max_c", low))


# -- the choice -------------------------------------------------------------------------------------------------------


def best_of(loss: Loss, forms: Sequence[Expr]) -> Expr | None:
    """The cheapest of the forms that are as good as any."""
    ranked = sorted(forms, key=lambda e: (cost(e), e.digest))
    if len(ranked) < 2:
        return ranked[0] if ranked else None
    import mpmath

    bad = _failures(loss, ranked, mpmath.mp)
    return min(zip(bad, range(len(ranked)), ranked, strict=True))[2]


def _failures(loss: Loss, forms: Sequence[Expr], ctx: Any) -> list[int]:
    """At how many points each form is inaccurate in arithmetic with the precision and the range of float32."""
    counts = [0] * len(forms)
    for env, classes in _points(loss):
        exact = [_flat(v) for v in evaluate_all(list(forms), env, num_classes=classes, dps=_DIGITS, ctx=ctx)]
        sound = next((v for v in exact if all(ctx.isfinite(x) and abs(x) < _GREATEST for x in v)), None)
        if sound is None:
            continue
        with ctx.workprec(_BITS):
            rough = evaluate_all(list(forms), env, num_classes=classes, ctx=ctx, each=lambda v: _in_range(v, ctx))
        for i, got in enumerate(rough):
            counts[i] += not _agrees(_flat(got), sound, ctx)
    return counts


def _in_range(value: Any, ctx: Any) -> Any:
    """What float32 makes of a number that it rounds to 0 or to an infinity."""
    if isinstance(value, bool) or not ctx.isfinite(value) or value == 0:
        return value
    size = ctx.mag(value)
    if size > 128:
        return ctx.inf if value > 0 else -ctx.inf
    return ctx.zero if size < -149 else value


def _agrees(got: list[Any], wanted: list[Any], ctx: Any) -> bool:
    """Whether the numbers are near enough; a single one stands for all classes, on either side."""
    scale = max(abs(w) for w in wanted)
    rows = max(len(got), len(wanted))
    got, wanted = (one if len(one) == rows else one * rows for one in (got, wanted))
    if not all(ctx.isfinite(v) for v in got):
        return False
    least = ctx.ldexp(1, -140)  # what is smaller has few digits in any form
    return all(abs(g - w) <= _TOLERANCE * max(abs(w), scale / 16) + least for g, w in zip(got, wanted, strict=True))


def _flat(value: Any) -> list[Any]:
    values = value if isinstance(value, list) else [value]
    return [v for v in values if not isinstance(v, bool)]


_SCORES = ((0.4, -1.1, 0.9), (3.0, -2.5, 0.25), (-30.0, 18.0, 1.0), (120.0, 0.0, -110.0), (1e4, -1e4, 0.0))
_PREDICTIONS = (0.7, -1.3, 1e-4, 30.0, -130.0, 3e4, 2e10, 3e25)
_TARGETS = {"positive": (1.1, 0.2), "count": (0.0, 3.0), "binary": (1.0, 0.0), "sign": (1.0, -1.0), "prob": (0.3, 1.0)}


def _points(loss: Loss) -> list[tuple[dict[Expr, Any], int | None]]:
    """Ordinary and extreme inputs, with hyper-parameters at their defaults."""
    params = {n: _setting(loss, n) for n in postorder(loss.body) if n.op == PARAM}
    if loss.layout == CLASSWISE:
        rows: list[Any] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
        if loss.y not in ("onehot", "prob"):
            rows = [[v, w, v] for v, w in itertools.pairwise((*_TARGETS.get(loss.y, (0.6, -1.7)), 1.0))]
        scores = [tuple(map(abs, s)) for s in _SCORES] if loss.f in ("positive", "unit") else _SCORES
        if loss.f == "unit":
            scores = [tuple(v / sum(s) for v in s) for s in scores]
        return [({F: list(s), Y: y, **params}, 3) for s in scores for y in rows]
    values = _PREDICTIONS if loss.f not in ("positive", "unit") else (0.7, 1e-4, 0.25, 0.999)
    pairs = itertools.product(values, _TARGETS.get(loss.y, (0.6, -1.7)))
    return [({F: f, Y: y, **params}, None) for f, y in pairs]


def _setting(loss: Loss, p: Expr) -> float:
    declared = loss.parameter(p.name)
    if declared.default is not None:
        return float(declared.default)
    return 0.75 if 0.75 in ROLES[declared.role].range else 1.0
