"""The two steps of the redistributed-loss trick that are not exact, and which way each is off.

`reflected` takes another class's focusing factor for a function of the target's prediction (thesis, eq. 4.38); the
other step takes the loss of a mean for a mean of losses (eq. 4.30), which `second_order` and `taylor_bound` judge. In
both, F is the prediction at another class and `TARGET` the one at the target.
"""

from __future__ import annotations

from lossc.compiler.errors import LosscError
from lossc.compiler.facts import Facts
from lossc.compiler.ir import HALF, ONE, ZERO, Expr, F, dag_size, postorder
from lossc.compiler.passes.canonical.sums import signed_parts
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.passes.differentiate import derivative, times
from lossc.compiler.passes.simplex import TARGET
from lossc.compiler.passes.target_only import is_smooth

LOWER, UPPER, EQUAL, UNKNOWN = "lower bound", "upper bound", "exact", "unknown"
"""What a sparse form, or one step towards it, is of the loss."""
REFLECTED, OWN = "reflected", "own"
"""What becomes of another class's focusing factor: that of `reflected`, or what becomes of the rest of the loss."""
MAX_DERIVED = 300
"""Distinct nodes beyond which no second derivative is looked for: the bound is then unknown."""
_COMPLEMENT, _TURNED = 1 - F, F - 1


# -- the focusing factor ----------------------------------------------------------------------------------------------


def reflected(miss: Expr, facts: Facts) -> Expr:
    """`miss` with its focusing factor (1 - F)^p replaced by f_t^p, "its shifted reflection" (thesis, eq. 4.38).

    The target's factor (1 - f_t)^p says how far the target is from being certain. For the others together, which have
    the probability 1 - f_t, the same is (1 - (1 - f_t))^p = f_t^p: all of them count as one class. For C = 2 that is
    what the factor is; else f_t < 1 - f_j, so that the others weigh less. Only a factor of the whole of `miss` (or of a
    term of it) is one, and only if the rest depends on F too: it must have something to focus.
    """
    parts = [(_focused(term), term, sign) for term, sign in signed_parts(miss)]
    if not any(found for found, _, _ in parts):
        return miss
    total = ZERO
    for found, term, sign in parts:
        made = found[0] if found else term
        total = total + made if sign > 0 else total - made
    return canonical_expr(total, facts)


def _focused(term: Expr) -> tuple[Expr, list[Expr]] | None:
    """A product with its focusing factors reflected, and their exponents; None if it has none."""
    exponents: list[Expr] = []
    kept, rest, below = ONE, ONE, ONE
    stack = [(term, True)]
    while stack:
        here, above = stack.pop()
        if here.op in ("mul", "div"):
            stack += [(here.args[0], above), (here.args[1], above == (here.op == "mul"))]
        elif here.op == "neg":
            stack.append((here.args[0], above))
            rest = -rest
        elif not above:
            below = times(below, here)
        elif (p := _focus(here)) is not None:
            exponents.append(p)
            kept = times(kept, TARGET**p)
        elif here is _TURNED:
            exponents.append(ONE)
            kept = -times(kept, TARGET)
        else:
            rest = times(rest, here)
    if not exponents or F not in postorder(rest, below):
        return None
    return kept * rest / below, exponents


def _focus(factor: Expr) -> Expr | None:
    """p of (1 - F)^p, or None."""
    base, p = factor.args if factor.op == "pow" else (factor, ONE)
    return p if base is _COMPLEMENT and F not in postorder(p) else None


# -- how far off it is ------------------------------------------------------------------------------------------------


def second_order(miss: Expr, facts: Facts) -> Expr | None:
    """1/2*miss'' in F; None where `miss` may have a kink, or no second derivative in closed form."""
    if dag_size(miss) > MAX_DERIVED or not is_smooth(miss, facts):
        return None
    try:
        return canonical_expr(HALF * derivative(canonical_expr(derivative(miss, F), facts), F), facts)
    except LosscError:
        return None


def taylor_bound(miss: Expr, second: Expr | None, straight: bool, facts: Facts) -> str:
    """Jensen: a convex loss of the mean is at most the mean of the losses (eq. 4.30)."""
    if straight:
        return EQUAL
    if second is None or not (facts.total(miss) and facts.total(second)):
        return UNKNOWN
    return LOWER if facts.nonnegative(second) else UPPER if facts.nonpositive(second) else UNKNOWN


def focus_bound(miss: Expr, facts: Facts) -> str:
    """A factor that gets smaller takes from a positive term and adds to a negative one."""
    bound = EQUAL
    for term, sign in signed_parts(miss):
        found = _focused(term)
        if found is not None:
            shrinks = all(facts.nonnegative(p) for p in found[1])
            up, down = facts.nonnegative(term), facts.nonpositive(term)
            raised = (up if sign < 0 else down) and shrinks
            lowered = (down if sign < 0 else up) and shrinks
            bound = both(bound, LOWER if lowered else UPPER if raised else UNKNOWN)
    return bound


def both(first: str, second: str) -> str:
    """What two steps in a row are."""
    if EQUAL in (first, second):
        return second if first == EQUAL else first
    return first if first == second else UNKNOWN
