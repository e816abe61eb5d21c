"""Operands that lose (docs/numerics.md, G3): min(exp(f), 1) has no slope where exp(f) overflows, but 0 * inf is NaN.

relu, min, max and clamp choose between operands as `where` does. One that is not certainly tame is computed at a safe
point wherever it loses: where(exp(f) > 1, 1, min(exp(f'), 1)) with f' harmless there. At the tie the operator itself
is what counts, with its subgradient.
"""

from __future__ import annotations

from lossc.compiler.facts import Facts
from lossc.compiler.ir import ZERO, Expr, node
from lossc.compiler.loss import Loss
from lossc.compiler.ops import call
from lossc.compiler.passes.branches import is_masked, mask_branch, tame


def saturated(here: Expr, loss: Loss, facts: Facts) -> Expr | None:
    """The operation with its wild operand masked wherever it loses; None if there is nothing to mask."""
    found = _wild_operand(here, facts)
    if found is None:
        return None
    index, loses, value = found
    masked = mask_branch(here.args[index], loses, False, loss, facts)
    if masked is here.args[index]:
        return None
    args = (masked if i == index else a for i, a in enumerate(here.args))
    return node("where", loses, value, node(here.op, *args))


def is_saturated(here: Expr) -> bool:
    """Whether `here`, a `where`, is what `saturated` makes: its last branch sees y and f through its condition only."""
    kept = here.args[2]
    return kept.op in ("relu", "min", "max", "clamp") and any(is_masked(a, here.args[0]) for a in kept.args)


def _wild_operand(here: Expr, facts: Facts) -> tuple[int, Expr, Expr] | None:
    """The place of the operand that is not tame, when it loses, and the value then; None if there is no such one."""
    if here.op == "relu":
        (x,) = here.args
        return None if tame(x, facts) else (0, call("lt", x, ZERO), ZERO)
    if here.op in ("min", "max"):
        wild = [i for i, x in enumerate(here.args) if not tame(x, facts)]
        if len(wild) != 1:
            return None
        x, other = here.args[wild[0]], here.args[1 - wild[0]]
        return wild[0], call("lt" if here.op == "max" else "gt", x, other), other
    if here.op == "clamp":
        x, low, high = here.args
        ordered = facts.range(low).hi <= facts.range(high).lo
        if not ordered or tame(x, facts) or not (tame(low, facts) and tame(high, facts)):
            return None
        return 0, call("gt", call("max", low - x, x - high), ZERO), call("where", call("lt", x, low), low, high)
    return None
