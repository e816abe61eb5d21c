"""A loss over the classes as a sum of terms, one a class."""

from __future__ import annotations

from lossc.compiler.ir import Expr, node
from lossc.compiler.loss import CLASSWISE, Loss, varies


def opened(loss: Loss) -> Loss:
    """The loss as a sum over the classes of its body, if it is one that reduces itself: -sum_c(y*log f) is -y*log f."""
    if loss.layout != CLASSWISE or not loss.reduces_itself:
        return loss
    made = _terms(loss.body)
    if made is None or not varies(made):
        return loss
    found = loss.with_body(made)
    return found if found.layout == CLASSWISE else loss


def _terms(body: Expr) -> Expr | None:
    """t with Σ_c t_c = body, where body is a sum of multiples of class sums; None if it is not."""
    if body.op == "sum_c" and varies(body.args[0]):
        return body.args[0]
    if body.op == "mean_c" and varies(body.args[0]):
        return body.args[0] / node("num_classes")
    if body.op == "neg":
        inner = _terms(body.args[0])
        return None if inner is None else -inner
    if body.op in ("add", "sub"):
        first, second = (_terms(a) for a in body.args)
        return None if first is None or second is None else node(body.op, first, second)
    if body.op in ("mul", "div"):
        first = _terms(body.args[0])
        if first is not None and not varies(body.args[1]):
            return node(body.op, first, body.args[1])
        second = _terms(body.args[1]) if body.op == "mul" else None
        return None if second is None else body.args[0] * second
    return None
