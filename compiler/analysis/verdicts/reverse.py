"""Reverse mode through a formula as it is written, as expressions: what autograd multiplies and adds up."""

from __future__ import annotations

from lossc.compiler import ops
from lossc.compiler.analysis.verdicts.ranges import Ranges
from lossc.compiler.errors import LossTypeError
from lossc.compiler.ir import ARG, LEAF_OPS, ONE, PARAM, ZERO, Expr, const, fold, node, postorder, rebuild
from lossc.compiler.ops import call

_SELECTING = frozenset({"where", "max", "min", "clamp", "relu", "clog", "csqrt"})
"""Operators whose backward pass picks, rather than multiplies by 0 or 1."""


def backward(root: Expr, leaf: Expr) -> Expr:
    """∂root/∂leaf as reverse mode computes it: products and sums along every path, nothing simplified.

    A slope that is 0 for every operand passes nothing on. Raises LossTypeError where an operator has no derivative.
    """
    bars: dict[Expr, Expr] = {root: ONE}
    live = live_nodes(root, leaf)
    for here in reversed(postorder(root)):
        if here not in bars or here.op in LEAF_OPS or here not in live:
            continue
        for i, (a, partial) in enumerate(zip(here.args, partials(here), strict=True)):
            if a not in live or ops.kind_of(a) == ops.BOOL_KIND or partial is ZERO:
                continue
            if partial is None:
                raise LossTypeError("L310", f"`{here.op}` has no closed-form derivative")
            amount = _amount(here, i, bars[here], partial)
            bars[a] = node("add", bars[a], amount) if a in bars else amount
    return bars.get(leaf, ZERO)


def as_run(body: Expr) -> Expr:
    """The formula without branches that are never run: those of conditions on numbers alone."""
    varying: set[Expr] = set()
    done: dict[Expr, Expr] = {}
    for here in postorder(body):
        if here.op == ARG or here.op == PARAM or any(a in varying for a in here.args):
            varying.add(here)
        args = [done[a] for a in here.args]
        done[here] = rebuild(here, args) if args else here
        if here.op == "where" and here.args[0] not in varying:
            truth = Ranges(here.args[0])({})
            if truth.is_point and truth.total:
                done[here] = args[1] if truth.lo > 0 else args[2]
    return done[body]


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


def _with_signs_of_torch(here: Expr, args: list[Expr]) -> Expr:
    """The sign of NaN is 0 in torch."""
    if here.op == "sign":
        return call("where", call("gt", args[0], 0), ONE, call("where", call("lt", args[0], 0), -ONE, ZERO))
    return rebuild(here, args) if args else here


def _amount(here: Expr, index: int, bar: Expr, partial: Expr) -> Expr:
    """What one operand gets; an operator that picks a side gives exactly 0 to the other one."""
    if here.op == "where":
        condition = here.args[0]
        return node("where", condition, bar, ZERO) if index == 1 else node("where", condition, ZERO, bar)
    partial = fold(partial, _with_signs_of_torch)
    if here.op in _SELECTING:
        return node("where", call("eq", partial, ZERO), ZERO, node("mul", bar, partial))
    if here.op == "div" and index == 1:  # by a/b, as torch has it: b*b may be 0
        return node("mul", node("neg", bar), node("div", here, here.args[1]))
    if partial.op == "div":
        return node("div", _times(bar, partial.args[0]), partial.args[1])
    return _times(bar, partial)


def _times(bar: Expr, partial: Expr) -> Expr:
    if partial is ONE:
        return bar
    return node("neg", bar) if partial is const(-1) else node("mul", bar, partial)
