"""The degree of a homogeneous formula, by rules: how each node scales when y and f are both multiplied by t > 0."""

from __future__ import annotations

from fractions import Fraction

from lossc.compiler import ops
from lossc.compiler.ir import CONST, LEAF_OPS, ZERO, Expr, F, Y, postorder

ANY, NONE = "any", "none"
"""The degree of 0, which has all; and of what is not seen to have one."""
Degree = Fraction | str
_ALIKE = frozenset({"add", "sub", "max", "min", "hypot", "clamp", "hypotm"})
"""Operators of operands of one degree, which is that of the result."""
_SAME = frozenset({"neg", "abs", "relu"})
_LEVEL = frozenset({"sign", "heaviside", "atan2", "over_hypot", "logratio"})
"""Operators that do not change when their operands are multiplied by one positive factor."""


def degrees(root: Expr) -> Degree:
    """The degree k with root(t*y, t*f) = t^k root(y, f) for all t > 0."""
    done: dict[Expr, Degree] = {}
    for here in postorder(root):
        done[here] = _degree(here, [done[a] for a in here.args])
    return done[root]


def _degree(here: Expr, inner: list[Degree]) -> Degree:
    if here.op in LEAF_OPS:
        return Fraction(1) if here in (Y, F) else ANY if here is ZERO else Fraction(0)
    if here.op == "where":
        return NONE if inner[0] == NONE else _one(inner[1:])
    if here.op in _ALIKE:
        return _one(inner)
    if here.op in _SAME:
        return inner[0]
    if here.op in _LEVEL or ops.record(here).gives == ops.BOOL_KIND:
        return NONE if _one(inner) == NONE else Fraction(0)
    known = [d for d in inner if isinstance(d, Fraction)]
    if here.op in ("mul", "div"):
        if NONE in inner:
            return NONE
        return ANY if len(known) < 2 else known[0] + (known[1] if here.op == "mul" else -known[1])
    if here.op in ("square", "sqrt"):
        return known[0] * (2 if here.op == "square" else Fraction(1, 2)) if known else inner[0]
    if here.op == "pow" and here.args[1].op == CONST and here.args[1].number != 0:
        return known[0] * here.args[1].number if isinstance(inner[0], Fraction) else inner[0]
    return Fraction(0) if all(d in (ANY, Fraction(0)) for d in inner) else NONE


def _one(inner: list[Degree]) -> Degree:
    """The one degree of several nodes; 0 has every degree."""
    found = {d for d in inner if d != ANY}
    if len(found) > 1:
        return NONE
    return found.pop() if found else ANY
