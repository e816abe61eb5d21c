"""A classwise loss that needs its prediction at the target only, as an elementwise loss of one number a sample.

With f = softmax(z), the probability at the target is the sigmoid of the *margin*: the target's score less the
log-sum-exp of the others. So such a loss is one of two classes, of a target that is 1: every stable form of sigmoid and
of its logarithms applies, 1 - f included, and nothing cancels however certain the target is. Neither a one-hot tensor
nor a softmax over the classes is needed for its value, and the margin's own gradient is the softmax over the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lossc.compiler.ir import F, node, param, postorder, substitute
from lossc.compiler.loss import CLASSWISE, Loss, Parameter
from lossc.compiler.ops import call
from lossc.compiler.passes.target_only import per_class_terms, target_only

OTHERS = "__others"
"""The hyper-parameter that stands for C - 1, the number of the other classes; none of a user has such a name."""


@dataclass(frozen=True, slots=True)
class TargetForm:
    """`loss` is elementwise, and f is the target's margin before its link (`margin`), or the input there."""

    loss: Loss
    margin: bool


def target_form(loss: Loss) -> TargetForm | None:
    """The loss of class indices as one of a number a sample, where that is proved; `loss` is in canonical form."""
    found = target_only(loss)
    if found is None:
        return None
    body, role, margin = found.hit, loss.f, loss.f == "prob"
    if found.maps:
        body = substitute(body, {call("softmax", F): node("sigmoid", F), call("log_softmax", F): node("logsigmoid", F)})
        inside = {n for m in found.maps for n in postorder(m)}
        if any(F in n.args and n not in inside for n in postorder(found.hit)):
            return None  # both the score itself and its softmax
        role, margin = "logit", True
    others = param(OTHERS)
    body = substitute(body + others * found.miss, {node("num_classes"): others + 1})
    if F not in postorder(body):
        return None
    made = replace(loss, body=body, y="real", f=role, params=(*loss.params, Parameter(OTHERS, "positive")))
    return None if made.layout == CLASSWISE else TargetForm(made, margin)


def opened(loss: Loss) -> Loss:
    """The loss as a sum over the classes of its body, if it is one that reduces itself: -sum_c(y*log f) is -y*log f."""
    if loss.layout != CLASSWISE or not loss.reduces_itself:
        return loss
    terms = per_class_terms(loss)
    if terms is None:
        return loss
    made = loss.with_body(terms)
    return loss if made.reduces_itself or made.layout != CLASSWISE else made
