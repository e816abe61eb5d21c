"""What an expression costs to compute: the measure that "simpler" means everywhere.

The unit is one addition on every element of a batch. Work is counted over the DAG (a shared node is computed once), by
the `cost` of the operator records; what does not depend on y or f is computed once a call, so it counts 1/16. Ties are
broken by the size of the formula as it is read (`Expr.tree_size`).
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from lossc.compiler import ops
from lossc.compiler.ir import ARG, COEF, CONST, HALF, LEAF_OPS, Expr, postorder

SCALAR_WEIGHT = 1 / 16
"""Share of a node that depends on hyper-parameters only (a power of two: sums stay exact)."""
DIVISION, SQUARE_ROOT, POWER = 4, 5, 20


class Cost(NamedTuple):
    """Ordered: less work first, then the shorter formula."""

    work: float
    size: int

    def __str__(self) -> str:
        return f"{self.work:g} ({self.size} node{'' if self.size == 1 else 's'})"


def cost(*roots: Expr) -> Cost:
    """The cost of computing the roots together."""
    varying: set[Expr] = set()
    work = 0.0
    for here in postorder(*roots):
        if here.op in (ARG, COEF) or any(a in varying for a in here.args):
            varying.add(here)
        if here.op not in LEAF_OPS:
            work += node_cost(here) * (1.0 if here in varying else SCALAR_WEIGHT)
    return Cost(work, sum(r.tree_size for r in roots))


def node_cost(here: Expr) -> int:
    """The cost of one operation, its arguments given: powers with a constant exponent are chains of products."""
    if here.op == "pow" and here.args[1].op == CONST:
        return _power_cost(here.args[1].number)
    return ops.OPS[here.op].cost


def _power_cost(exponent: Fraction) -> int:
    if exponent == HALF.number:
        return SQUARE_ROOT
    if exponent == -HALF.number:
        return SQUARE_ROOT + DIVISION
    if exponent.denominator != 1:
        return POWER
    n = abs(exponent.numerator)
    products = max(n.bit_length() + n.bit_count() - 2, 0)
    return min(products + (DIVISION if exponent < 0 else 0), POWER)
