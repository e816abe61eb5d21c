"""Reverse mode through a formula as it is written, as expressions: what autograd multiplies and adds up."""

from __future__ import annotations

from lossc.compiler import ops
from lossc.compiler.ir import LEAF_OPS, ONE, ZERO, Expr, const, node, postorder
from lossc.compiler.ops import call

_SELECTING = frozenset({"where", "max", "min", "clamp", "relu"})
"""Operators whose backward pass picks, rather than multiplies by 0 or 1."""


def backward(root: Expr, leaf: Expr) -> Expr:
    """∂root/∂leaf as reverse mode computes it: products and sums along every path, nothing simplified.

    An operator without a derivative passes nothing on.
    """
    bars: dict[Expr, Expr] = {root: ONE}
    live = live_nodes(root, leaf)
    for here in reversed(postorder(root)):
        if here not in bars or here.op in LEAF_OPS or here not in live:
            continue
        for i, (a, partial) in enumerate(zip(here.args, partials(here), strict=True)):
            if partial is None or a not in live or ops.kind_of(a) == ops.BOOL_KIND:
                continue
            amount = _amount(here, i, bars[here], partial)
            bars[a] = node("add", bars[a], amount) if a in bars else amount
    return bars.get(leaf, ZERO)


def partials(here: Expr) -> tuple[Expr | None, ...]:
    """The partial derivatives of one operation; None where there is none."""
    record = ops.record(here)
    if record.partials is None:
        return (None,) * len(here.args)
    return tuple(record.partials(*here.args))


def local_partials(root: Expr, leaf: Expr) -> dict[tuple[Expr, int], Expr]:
    """The partial derivatives along all paths from the root to a leaf, by node and operand."""
    out = {}
    live = live_nodes(root, leaf)
    for here in postorder(root):
        if here.op not in LEAF_OPS and here in live and ops.kind_of(here) == ops.REAL_KIND:
            for i, partial in enumerate(partials(here)):
                if partial is not None and here.args[i] in live:
                    out[here, i] = partial
    return out


def live_nodes(root: Expr, leaf: Expr) -> set[Expr]:
    """The leaf and all nodes that it enters."""
    out = {leaf}
    for here in postorder(root):
        if any(a in out for a in here.args):
            out.add(here)
    return out


def _amount(here: Expr, index: int, bar: Expr, partial: Expr) -> Expr:
    """What one operand gets; an operator that picks a side gives exactly 0 to the other one."""
    if here.op == "where":
        condition = here.args[0]
        return node("where", condition, bar, ZERO) if index == 1 else node("where", condition, ZERO, bar)
    if here.op in _SELECTING:
        return node("where", call("eq", partial, ZERO), ZERO, node("mul", bar, partial))
    if partial is ONE:
        return bar
    return node("neg", bar) if partial is const(-1) else node("mul", bar, partial)
