"""The last rewriting before code: operations become the ones that machines are good at.

Powers with small whole exponents become products, and class-axis operators on a value that is the same at every class
(where a kept axis of length 1 would count it once instead of C times) become plain arithmetic. Equal on the reals.
"""

from __future__ import annotations

from lossc.compiler import ops
from lossc.compiler.ir import ARG, CONST, HALF, LEAF_OPS, ONE, Expr, const, node, postorder, rebuild
from lossc.compiler.loss import Loss
from lossc.compiler.ops import call

_CLASSES = node("num_classes")
_LONGEST_PRODUCT = 4


def lower(loss: Loss) -> Loss:
    """The loss with powers and class-axis operators in the form that is printed."""
    done: dict[Expr, Expr] = {}
    varying: set[Expr] = set()
    for here in postorder(loss.body):
        made = _lower_node(here, tuple(done[a] for a in here.args), varying)
        done[here] = made
        if _varies(here, varying):
            varying |= {here, made}
    return loss.with_body(done[loss.body])


def _varies(here: Expr, varying: set[Expr]) -> bool:
    if here.op in LEAF_OPS:
        return here.op == ARG
    return ops.record(here).axis != ops.REDUCE and any(a in varying for a in here.args)


def _lower_node(here: Expr, args: tuple[Expr, ...], varying: set[Expr]) -> Expr:
    if here.op == "pow" and args[1].op == CONST:
        return _power(args[0], args[1])
    if here.op not in LEAF_OPS and ops.record(here).axis in (ops.REDUCE, ops.MAP) and here.args[0] not in varying:
        return _at_every_class(here.op, args[0])
    return rebuild(here, args)


def _power(x: Expr, exponent: Expr) -> Expr:
    p = exponent.number
    if p < 0 and (p.denominator == 1 or -p == HALF.number) and -p <= _LONGEST_PRODUCT:
        return ONE / _power(x, const(-p))
    if p == HALF.number:
        return call("sqrt", x)
    if p.denominator != 1 or not 0 <= p <= _LONGEST_PRODUCT:
        return node("pow", x, exponent)
    square = call("square", x)
    return (ONE, x, square, square * x, call("square", square))[int(p)]


def _at_every_class(op: str, x: Expr) -> Expr:
    """What a class-axis operator makes of a value that is the same at each of the C classes."""
    if op == "sum_c":
        return x * _CLASSES
    if op == "logsumexp_c":
        return x + call("log", _CLASSES)
    if op == "softmax":
        return ONE / _CLASSES
    if op == "log_softmax":
        return -call("log", _CLASSES)
    if op in ("cosoftmax", "log_cosoftmax"):
        others = 1 - ONE / _CLASSES
        return others if op == "cosoftmax" else call("log", others)
    return x
