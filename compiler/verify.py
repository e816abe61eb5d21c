"""The verifier: an expression and a loss are well formed. Run on all that comes from outside, and between passes."""

from __future__ import annotations

from lossc.compiler import ops
from lossc.compiler.errors import LimitError, LossTypeError
from lossc.compiler.ir import ARG, COEF, CONST, LEAF_OPS, PARAM, Expr, postorder
from lossc.compiler.loss import Loss
from lossc.compiler.roles import ROLES, roles_for

MAX_NODES = 2_000
MAX_DEPTH = 400
"""Depth of the IR, not of the text (whose limit is 100): rebalanced sums and derivatives may be deeper."""
MAX_EXPONENT = 64
MAX_PARAMS = 64


def verify_expr(root: Expr, *, max_nodes: int | None = None) -> None:
    """Operators known, arities and kinds right, leaves well formed, size within `max_nodes` of the unfolded tree."""
    if max_nodes is not None and root.tree_size > max_nodes:
        raise LimitError("L104", f"the formula has {_count(root.tree_size)} nodes; the limit is {max_nodes:,}")
    for here in postorder(root):
        if here.op in LEAF_OPS:
            _verify_leaf(here)
            continue
        record = ops.OPS.get(here.op)
        if record is None:
            raise LossTypeError("L301", f"`{here.op}` is not an operator")
        if len(here.args) != record.arity:
            raise LossTypeError("L302", f"`{here.op}` takes {record.arity} arguments, got {len(here.args)}")
        for i, a in enumerate(here.args):
            if ops.kind_of(a) != record.kind_of(i):
                wanted = "a condition" if record.kind_of(i) == ops.BOOL_KIND else "a number"
                raise LossTypeError(
                    "L303", f"argument {i + 1} of `{here.op}` must be {wanted}", expected=record.signature
                )
    if ops.kind_of(root) != ops.REAL_KIND:
        raise LossTypeError("L303", "a loss must be a number, not a condition", hint="use where(condition, a, b)")


def _count(n: int) -> str:
    return f"{n:,}" if n < 10**12 else "more than 10^12"


def _verify_leaf(here: Expr) -> None:
    if here.op == CONST:
        here.number  # noqa: B018  (raises if the payload is not a number)
    elif here.op == COEF:
        if not isinstance(here.value, int) or here.value < 0:
            raise LossTypeError("L304", f"a coefficient needs an index, got {here.value!r}")
    elif not isinstance(here.value, str) or not here.value.isidentifier():
        raise LossTypeError("L304", f"{here.value!r} is not a name")
    elif here.op == ARG and here.value not in ("y", "f"):
        raise LossTypeError("L304", f"a loss has the arguments y and f, not `{here.value}`")


def verify(loss: Loss) -> Loss:
    """The loss itself, after checking its roles, hyper-parameters and body."""
    for which, role in (("y", loss.y), ("f", loss.f)):
        if role not in roles_for(which):
            raise LossTypeError(
                "L305", f"`{role}` is not a role of {which}", expected="one of: " + ", ".join(roles_for(which))
            )
    known = {p.name for p in loss.params}
    if len(known) != len(loss.params):
        raise LossTypeError("L306", "two hyper-parameters have the same name")
    for p in loss.params:
        if p.name in ("y", "f"):
            message = f"`{p.name}` is an argument of the loss: it cannot be a hyper-parameter"
            raise LossTypeError("L309", message, hint="choose another name")
        if p.role not in roles_for("hyper-parameter"):
            allowed = ", ".join(roles_for("hyper-parameter"))
            raise LossTypeError("L305", f"`{p.role}` is not a role of a hyper-parameter", expected=f"one of: {allowed}")
        if p.default is not None and not (ROLES[p.role].range.lo <= p.default <= ROLES[p.role].range.hi):
            raise LossTypeError("L202", f"the default of `{p.name}` must be {ROLES[p.role].doc}, got {p.default}")
    for here in postorder(loss.body):
        if here.op == PARAM and here.name not in known:
            raise LossTypeError("L307", f"`{here.name}` is used, but not declared as a hyper-parameter")
    verify_expr(loss.body)
    return loss
