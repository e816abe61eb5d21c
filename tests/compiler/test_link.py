"""The link pass: each rule against mpmath, and a loss of probabilities that becomes one of scores."""

from __future__ import annotations

from typing import Any

import mpmath
import pytest

from lossc.compiler.evaluate import evaluate
from lossc.compiler.ir import Expr, F, Y, postorder
from lossc.compiler.loss import IDENTITY, SIGMOID, SOFTMAX, Loss
from lossc.compiler.ops import call
from lossc.compiler.passes.link import LINK_RULES, apply_link, link_report
from lossc.compiler.passes.rewrite import A, B, Rule, match, rewrite
from tests.compiler.torch_support import loss_of

LOG = call("log", F)
SCORES: list[list[float]] = [[0.0, 0.0, 0.0], [1.5, -2.0, 0.25], [-30.0, 40.0, 3.0], [400.0, -300.0, 0.5]]


def ops_of(loss: Loss) -> set[str]:
    return {n.op for n in postorder(loss.body)}


@pytest.mark.parametrize("rule", LINK_RULES, ids=lambda r: f"{r.id} {r.before.op}")
def test_rules_are_equal_to_60_digits(rule: Rule) -> None:
    """Both sides of every rule are one function, at moderate and at extreme scores and weights."""
    compared = 0
    with mpmath.workdps(700):  # so that 1 - sigmoid(400) does not round before it is compared
        for row in SCORES:
            for weight in (0.0, 0.3, -2.0):
                env: dict[Expr, Any] = {A: row, B: weight}
                before, after = (evaluate(side, env, num_classes=3) for side in (rule.before, rule.after))
                for left, right in zip(before, after, strict=True):
                    assert mpmath.isnan(left) == mpmath.isnan(right)
                    assert mpmath.isnan(left) or mpmath.almosteq(left, right, rel_eps=mpmath.mpf(10) ** -60)
                    compared += not mpmath.isnan(left)
    assert compared >= 12


@pytest.mark.parametrize(
    ("body", "y", "expected", "gone"),
    [
        (-Y * LOG, "onehot", {"log_softmax"}, {"log", "softmax"}),
        (-call("sum_c", Y * LOG), "onehot", {"log_softmax"}, {"log", "softmax"}),
        (-((0.9 * Y + 0.1 / call("num_classes")) * LOG), "prob", {"log_softmax"}, {"log", "softmax"}),
        (-(Y * LOG + (1 - Y) * call("log", 1 - F)), "binary", {"logsigmoid"}, {"log", "sigmoid"}),
        (-(Y * LOG + (1 - Y) * call("log1p", -F)), "binary", {"logsigmoid"}, {"log1p", "sigmoid"}),
        (call("xlogy", Y, Y) - call("xlogy", Y, F), "prob", {"log_softmax"}, {"softmax"}),
        (call("log2", F) + call("log10", F), "binary", {"logsigmoid"}, {"log2", "log10", "sigmoid"}),
        ((Y - F) ** 2, "onehot", {"softmax"}, {"log_softmax"}),
    ],
)
def test_logarithms_of_probabilities_are_fused(body: Expr, y: str, expected: set[str], gone: set[str]) -> None:
    """The literal pattern is replaced in plain, smoothed and binary cross-entropy; nothing else is touched."""
    linked = apply_link(Loss(body, y=y, f="prob").canonicalize())
    assert expected <= ops_of(linked) and not gone & ops_of(linked)


def test_the_linked_loss_takes_scores() -> None:
    """f is a logit afterwards, the layout is what it was, and there is no link left to apply."""
    for y, link in (("onehot", SOFTMAX), ("binary", SIGMOID)):
        loss = Loss(-Y * LOG, y=y, f="prob")
        linked = apply_link(loss)
        assert loss.link == link
        assert (linked.f, linked.link, linked.layout) == ("logit", IDENTITY, loss.layout)
        assert apply_link(linked) is linked


def test_losses_without_a_link_are_left_alone() -> None:
    """Only `f: prob` has a link."""
    loss = loss_of((Y - F) ** 2)
    assert link_report(loss) == (loss, [])


def test_the_report_names_the_rules() -> None:
    """What was applied, and where, for the header of the file."""
    _, applied = link_report(Loss(-Y * LOG, y="onehot", f="prob"))
    assert [(one.rule, one.where.op) for one in applied] == [("V11", "log")]


def test_patterns_match_in_either_order_and_bind_once() -> None:
    """Commutative operators match both ways round; a wildcard that occurs twice stands for one expression."""
    pattern = A * call("log", A)
    assert match(pattern, call("log", F) * F) == {A: F}
    assert match(pattern, Y * call("log", F)) is None
    assert match(A + B, Y + F) == {A: Y, B: F}
    assert match(A - B, F - Y) == {A: F, B: Y}


def test_rewriting_reaches_what_a_rule_made() -> None:
    """log(1 - sigmoid(x)) takes two rules, one inside the other; shared parts are rewritten once."""
    inner = call("log", 1 - call("sigmoid", F))
    made, applied = rewrite(inner * inner + inner, LINK_RULES)
    assert made == call("logsigmoid", -F) * call("logsigmoid", -F) + call("logsigmoid", -F)
    assert [one.rule for one in applied] == ["V6", "V4"]
