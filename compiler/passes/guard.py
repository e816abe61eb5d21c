"""Guards: values stay, and reverse mode gives finite, right first and second derivatives wherever the value is finite.

Autograd multiplies by local slopes. Where a slope is infinite (sqrt at 0) or undefined (the unused branch of a
`where`), 0 * inf is NaN although the formula has a value, and often a derivative (docs/numerics.md: the gradient of
abs(log(sqrt(y*f) + eps)) at y = 0). In this order:

G2                 an absolute value inside an even function of it is dropped (`evenness`).
G3                 where(c, a, b) with a branch that may fail off its side: inside the branch, y and f are replaced by a
                   safe point wherever the other branch is taken (`branches`); likewise the losing operand of min,
                   max, relu and clamp (`saturation`).
G7, G8, G12        products and quotients with a limit where they have no value get it (`removable`).
G1, G4, G7, G11    op(x) singular at a point: where(x is there, value there, op(where(x is there, harmless, x))). The
                   slope at the point itself is then 0.

Facts decide what needs none. Run last: guards hide patterns from other passes.
"""

from __future__ import annotations

from collections.abc import Callable

from lossc.compiler import ops
from lossc.compiler.facts import Facts
from lossc.compiler.interval import TINY, Interval, up
from lossc.compiler.ir import (
    CONST,
    HALF,
    LEAF_OPS,
    ONE,
    TWO,
    ZERO,
    Expr,
    F,
    is_live,
    live_nodes,
    node,
    postorder,
    rebuild,
)
from lossc.compiler.loss import Loss
from lossc.compiler.ops import call
from lossc.compiler.passes.branches import LEAST, mask_branch
from lossc.compiler.passes.evenness import without_needless_abs
from lossc.compiler.passes.removable import Filler, is_filled
from lossc.compiler.passes.rewrite import Applied
from lossc.compiler.passes.saturation import is_saturated, saturated


class GuardFacts(Facts):
    """Facts that also see through guards: in where(x == 0, 1, x) and where(x > 0, x, 1) the value is not 0."""

    def _refine(self, here: Expr, found: Interval) -> Interval:
        found = super()._refine(here, found)
        if here.op != "where":
            return found
        condition, then, otherwise = here.args
        if condition.op in ("eq", "ne") and ZERO in condition.args:
            rest = self._done[otherwise]
            if condition.op == "eq" and rest.lo == rest.hi == 0 and _is_multiple(then, condition):
                return Interval(0.0, 0.0, found.total)
            x = condition.args[1] if condition.args[0] is ZERO else condition.args[0]
            kept, constant = (otherwise, then) if condition.op == "eq" else (then, otherwise)
            at = self._done[constant]
            if kept is x and at.lo >= LEAST and self._done[x].lo >= 0:
                return Interval(max(found.lo, TINY), found.hi, found.total)
        if condition.op in ("lt", "le", "gt", "ge"):
            low, x = condition.args if condition.op in ("lt", "le") else reversed(condition.args)
            least = self._done[low].lo
            least = up(least) if condition.op in ("lt", "gt") else least
            if x is then:
                return Interval(max(found.lo, min(least, self._done[otherwise].lo)), found.hi, found.total)
        return found

    def surely_nonzero(self, x: Expr) -> bool:
        """Nonzero by role, by a bound that no dtype rounds away, or because a guard keeps 0 away."""
        stack = [x]
        while stack:
            here = stack.pop()
            bound = self.range(here)
            least = max(bound.lo, -bound.hi)
            if least >= LEAST or (least == TINY and not self._may_underflow(here)) or _is_kept_away(here):
                return True
            if here.op == "add" and all(self.range(a).lo >= 0 for a in here.args):
                stack += here.args  # a sum of nonnegative numbers is 0 only if each is
        return False

    def _may_underflow(self, x: Expr) -> bool:
        """Whether a value that is positive on the reals only may be 0 in a machine: exp(-1000)."""
        stack, seen = [x], set()
        while stack:
            here = stack.pop()
            if here in seen or (here.op == "where" and here.args[0].op == "eq"):
                continue
            seen.add(here)
            if here.op in _UNDERFLOWING and self.range(here).lo == TINY:
                return True
            stack += here.args
        return False


def _is_multiple(then: Expr, condition: Expr) -> bool:
    """Whether where(x == 0, then, 0) is 0 everywhere: a slope chosen at a kink (G10)."""
    factors, stack = set(), [then]
    while stack:
        here = stack.pop()
        stack += here.args if here.op in ("mul", "neg") else here.args[:1] if here.op == "div" else ()
        factors.add(here)
    return any(a in factors for a in condition.args)


_UNDERFLOWING = frozenset({"exp", "sigmoid", "softplus", "softmax"})


def _is_kept_away(x: Expr) -> bool:
    """Whether x is where(|u| < c, d, u) with numbers c and d >= c: what G12 makes of a variable."""
    if x.op != "where" or x.args[0].op != "lt":
        return False
    (size, bound), (_, far, u) = x.args[0].args, x.args
    return size is call("abs", u) and bound.op == far.op == CONST and LEAST <= bound.number <= far.number


# -- singular points (G1, G4, G11) ------------------------------------------------------------------------------------

Cure = tuple[Expr, Expr, tuple[Expr, ...]]
"""When the argument is at the point; the value there; harmless arguments to use instead."""


def _at_zero(x: Expr) -> Cure:
    at = call("eq", x, ZERO)
    return at, ZERO, (call("where", at, ONE, x),)


def _power(x: Expr, p: Expr, *, total: bool = True) -> Cure:
    """Only 0 < p < 1 (the slope) and 1 < p < 2 (the second derivative) are singular at 0.

    Where p is known at run time only, the condition says so too. If f is in p, but not in x, x = 0 is taken out for
    every p >= 0, since the slope in p is x^p log(x); if f is not in p, p = 0 is taken out for every x,
    unless x may be undefined (`total` is false): x^0 is then undefined too.
    """
    if p.op == CONST:
        at = call("eq", x, ZERO)
        return at, ZERO, (call("where", at, ONE, x), p)
    steep = call("where", call("lt", call("abs", call("abs", p - 1) - HALF), HALF), x, ONE)
    value = ZERO
    if is_live(p):
        value = call("where", call("eq", p, ZERO), ONE, ZERO)
        flat = x if _depends_on_f(p) or not total else ZERO
        steep = call("where", call("eq", p, ZERO), flat, steep)
        if _depends_on_f(p) and not _depends_on_f(x):
            steep = call("where", call("lt", p, ZERO), ONE, x)
    at = call("eq", steep, ZERO)
    return at, value, (call("where", at, ONE, x), p)


def _depends_on_f(x: Expr) -> bool:
    return F in postorder(x)


def _hypotenuse(x: Expr, y: Expr) -> Cure:
    at = call("eq", call("max", call("abs", x), call("abs", y)), ZERO)
    return at, ZERO, (call("where", at, ONE, x), y)


def _inverse_sine(x: Expr) -> Cure:
    at = call("eq", call("abs", x), ONE)
    return at, call("sign", x) * (call("pi") / 2), (call("where", at, ZERO, x),)


def _inverse_cosine(x: Expr) -> Cure:
    at, value, safe = _inverse_sine(x)
    return at, call("pi") / 2 - value, safe


def _inverse_hyperbolic_cosine(x: Expr) -> Cure:
    at = call("eq", x, ONE)
    return at, ZERO, (call("where", at, TWO, x),)


def _xlogy(x: Expr, y: Expr) -> Cure:
    """At x = 0 the value is 0 whatever y is, but the slopes log(y) and x/y exist for y > 0 only."""
    at = call("le", call("where", call("eq", x, ZERO), y, ONE), ZERO)
    return at, ZERO, (x, call("where", at, ONE, y))


CURES: dict[str, tuple[str, Callable[..., Cure]]] = {
    "sqrt": ("G1", _at_zero),
    "pow": ("G4", _power),
    "hypot": ("G1", _hypotenuse),
    "asin": ("G11", _inverse_sine),
    "acos": ("G11", _inverse_cosine),
    "acosh": ("G11", _inverse_hyperbolic_cosine),
    "xlogy": ("G7", _xlogy),
}
"""Rule id and cure of every operator with a singular point. A test holds this table and the records together."""


def _singular(here: Expr, facts: GuardFacts) -> bool:
    """Whether an argument may sit where the value is finite and a slope is not."""
    if here.op == "xlogy":
        x, y = here.args
        return 0 in facts.range(x) and facts.range(y).lo <= 0
    points = ops.record(here).singular(*here.args)
    return any(not facts.surely_nonzero(p) for p in points)


# -- the pass ---------------------------------------------------------------------------------------------------------


def guard(loss: Loss) -> Loss:
    """The same loss with guards where they are needed: equal values, and a finite gradient wherever the value is."""
    return guard_report(loss)[0]


def guard_value(loss: Loss) -> Loss:
    """Guards for what is not differentiated again: limits where there is 0/0, nothing for the slopes of branches."""
    return guard_report(loss, branches=False)[0]


def guard_report(loss: Loss, *, branches: bool = True) -> tuple[Loss, list[Applied]]:
    """`guard`, with the list of what was guarded, and by which rule."""
    facts = GuardFacts(loss)
    body, smoothed = without_needless_abs(loss.body, facts)
    before = {n.args[2] for n in postorder(body) if n.op == "where" and is_saturated(n)}

    def masks(here: Expr) -> tuple[tuple[str, ...], Expr] | None:
        kept = here in before or (here.op == "where" and not branches)
        return None if kept else _mask_branches(here, loss, facts)

    body, masked = _rewrite_live(body, masks)
    whole = whole_products(body)
    filler = Filler(facts.surely_nonzero)
    body, completed = _rewrite_live(body, lambda here: _fill(here, filler), whole)
    cured_before = {n.args[2] for n in postorder(body) if n.op == "where" and _is_cure(n)}
    body, cured = _rewrite_live(body, lambda here: None if here in cured_before else _cure(here, facts))
    return loss.with_body(body), [*smoothed, *masked, *completed, *cured]


_PRODUCT = frozenset({"mul", "div", "neg"})


def whole_products(body: Expr) -> set[Expr]:
    """The products and quotients that are not part of a larger one, but for those that G7 has seen to."""
    order = postorder(body)
    outside = {a for n in order if n.op not in _PRODUCT for a in n.args} | {body}
    done = {n.args[2] for n in order if n.op == "where" and is_filled(n)}
    return {n for n in outside if n.op in _PRODUCT and n not in done}


def _rewrite_live(
    root: Expr, step: Callable[[Expr], tuple[tuple[str, ...], Expr] | None], only: set[Expr] | None = None
) -> tuple[Expr, list[Applied]]:
    """Bottom-up, apply `step` to every operation that y or f enters, or to those in `only`; it names its rules."""
    done: dict[Expr, Expr] = {}
    live = live_nodes(root)
    applied: list[Applied] = []
    for here in postorder(root):
        made = rebuild(here, (done[a] for a in here.args))
        if here in live:
            found = step(made) if here.op not in LEAF_OPS and (only is None or here in only) else None
            if found is not None:
                rules, made = found
                applied += [Applied(rule, here) for rule in rules]
        done[here] = made
    return done[root], applied


def _fill(here: Expr, filler: Filler) -> tuple[tuple[str, ...], Expr] | None:
    found = filler.filled(here)
    return (tuple(rule for rule, _ in found), found[-1][1]) if found else None


def _mask_branches(here: Expr, loss: Loss, facts: GuardFacts) -> tuple[tuple[str, ...], Expr] | None:
    if here.op != "where":
        settled = saturated(here, loss, facts)
        return None if settled is None else (("G3",), settled)
    if _is_cure(here) or is_filled(here) or is_saturated(here):
        return None
    condition, then, otherwise = here.args
    then = mask_branch(then, condition, True, loss, facts)
    otherwise = mask_branch(otherwise, condition, False, loss, facts)
    return None if (then, otherwise) == here.args[1:] else (("G3",), node("where", condition, then, otherwise))


def _is_cure(here: Expr) -> bool:
    """Whether `here` is what `_cure` makes of a singular operation: where(at, value, op(where(at, ...)))."""
    at, _, kept = here.args
    return kept.op in CURES and any(a.op == "where" and a.args[0] is at for a in kept.args)


def _cure(here: Expr, facts: GuardFacts) -> tuple[tuple[str, ...], Expr] | None:
    if here.op not in CURES or not _singular(here, facts):
        return None
    rule, cure = CURES[here.op]
    known = {"total": facts.total(here.args[0])} if here.op == "pow" else {}
    at, value, safe = cure(*here.args, **known)
    return (rule,), node("where", at, value, node(here.op, *safe))
