"""Pull the link into the loss: a loss of probabilities becomes one of scores, fused so that it stays finite.

A model gives scores z; a loss with `f: prob` speaks of f = softmax(z) or f = sigmoid(z). Written one after the other
they overflow and round to 0 and 1 (docs/numerics.md, V4, V5, V10, V11, V31); written together they need not. The
rules are data: a stabiliser may hand its own to `apply_link`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lossc.compiler.ir import F, substitute
from lossc.compiler.loss import IDENTITY, Loss
from lossc.compiler.ops import call
from lossc.compiler.passes.rewrite import A, Applied, B, Rule, rewrite

_sigmoid, _softmax = call("sigmoid", A), call("softmax", A)

LINK_RULES: tuple[Rule, ...] = (
    Rule("V6", 1 - _sigmoid, call("sigmoid", -A), "no cancellation; and log(1 - f) becomes logsigmoid(-x), V5"),
    Rule("V4", call("log", _sigmoid), call("logsigmoid", A), "finite where sigmoid(x) underflows"),
    Rule("V5", call("log1p", -_sigmoid), call("logsigmoid", -A), "finite where sigmoid(x) rounds to 1"),
    Rule("V4", call("log2", _sigmoid), call("logsigmoid", A) / call("log", 2), "as for log"),
    Rule("V4", call("log10", _sigmoid), call("logsigmoid", A) / call("log", 10), "as for log"),
    Rule("V4", call("xlogy", B, _sigmoid), B * call("logsigmoid", A), "sigmoid(x) is never 0: no case needed"),
    Rule("V11", call("log", _softmax), call("log_softmax", A), "finite where softmax(x) underflows"),
    Rule("V11", call("log2", _softmax), call("log_softmax", A) / call("log", 2), "as for log"),
    Rule("V11", call("log10", _softmax), call("log_softmax", A) / call("log", 10), "as for log"),
    Rule("V11", call("xlogy", B, _softmax), B * call("log_softmax", A), "softmax(x) is never 0: no case needed"),
    Rule("V4", call("log", B * _sigmoid), call("log", B) + call("logsigmoid", A), "sigmoid(x) > 0, so b > 0"),
    Rule("V4", call("log", B / _sigmoid), call("log", B) - call("logsigmoid", A), "sigmoid(x) > 0, so b > 0"),
    Rule("V4", call("log", _sigmoid / B), call("logsigmoid", A) - call("log", B), "sigmoid(x) > 0, so b > 0"),
    Rule("V11", call("log", B * _softmax), call("log", B) + call("log_softmax", A), "softmax(x) > 0, so b > 0"),
    Rule("V11", call("log", B / _softmax), call("log", B) - call("log_softmax", A), "softmax(x) > 0, so b > 0"),
    Rule("V11", call("log", _softmax / B), call("log_softmax", A) - call("log", B), "softmax(x) > 0, so b > 0"),
    Rule("V31", _sigmoid / (1 - _sigmoid), call("exp", A), "inf where sigmoid(x) rounds to 1"),
    Rule("V31", _sigmoid / call("sigmoid", -A), call("exp", A), "inf where sigmoid(-x) underflows"),
    Rule("V31", 1 / _sigmoid - 1, call("exp", -A), "cancels where sigmoid(x) is near 1"),
    Rule("V31", call("logsigmoid", A) - call("logsigmoid", -A), A, "the logit of a sigmoid"),
    Rule("V31", call("softplus", A) - call("softplus", -A), A, "the logit of a sigmoid"),
)
"""Equal on the reals for every A and B; the test suite proves each against mpmath."""


def apply_link(loss: Loss, rules: Sequence[Rule] = LINK_RULES) -> Loss:
    """The same loss of the scores: `f` in its body now means what the model gives, and its role is `logit`.

    A loss whose link is the identity is returned as it is.
    """
    return link_report(loss, rules)[0]


def link_report(loss: Loss, rules: Sequence[Rule] = LINK_RULES) -> tuple[Loss, list[Applied]]:
    """`apply_link`, with the list of the rules that fired."""
    if loss.link == IDENTITY:
        return loss, []
    body = substitute(loss.body, {F: call(loss.link, F)})
    body, applied = rewrite(body, rules)
    return replace(loss, body=body, f="logit"), applied
