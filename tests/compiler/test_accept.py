"""The accept test: the rewrites that SymPy gets wrong are refused for the right reason, and good ones are accepted."""

from __future__ import annotations

import time

import pytest

from lossc.compiler.equivalence import OutOfTime
from lossc.compiler.ir import F, Y, node, param
from lossc.compiler.loss import Loss, Parameter
from lossc.compiler.passes.accept import AcceptTest, Verdict
from lossc.grammar import parse


def judge(formula: str, proposal: str, **roles: str) -> Verdict:
    """The verdict on a proposal, both as written (not in canonical form)."""
    loss = parse(formula, params={"d": 1.0, "p": 2.0}, **roles)
    return AcceptTest(loss).judge(parse(proposal, params={"d": 1.0, "p": 2.0}, **roles).body)


REFUSED = [
    # formula, proposal, roles, the check that refuses, what the reason or its witness says
    ("1/(1+exp(-f))", "exp(f)/(exp(f)+1)", {}, "accuracy", "nan"),
    ("f+log(1+exp(-f))", "log(exp(f)+1)", {}, "accuracy", "inf"),
    ("log(y)-log(f)+y", "log(y/f)+y", {"y": "positive", "f": "positive"}, "domain", "certain"),
    ("log(y)-log(f)", "log(y/f)", {}, "domain", "has none"),
    ("sqrt(f)^2", "f", {}, "domain", "defines a value (-1.0)"),
    ("sqrt(f^2)", "f", {}, "agreement", "gives -1.0 where the formula gives 1.0"),
    ("log(f)/log(f)", "1", {"f": "prob"}, "domain", "defines a value"),
    ("log(f)/log(f)", "1", {"f": "positive"}, "domain", "f = 1"),
    ("0*log(f) + y", "y", {}, "domain", "defines a value"),
    ("exp(2*log(f))", "f^2", {}, "domain", "defines a value"),
    ("(f^2-1)/(f-1)", "f+1", {}, "domain", "f = 1"),
    ("(y-f)^2", "y^2-2*y*f+f^2", {}, "cost", "not less"),
    ("1-tanh(f)^2", "cosh(f)^(-2)", {}, "cost", "not less"),
    ("abs(y-f)", "y-f", {}, "agreement", "gives"),
    ("(y*f)^0.5*1", "y^0.5*f^0.5", {}, "cost", "not less"),
    ("sqrt(y*f)+sin(y)^2+cos(y)^2", "sqrt(y)*sqrt(f)+1", {}, "domain", "no value where the formula has one"),
    ("2*f - f + y", "y + f + 0.00001*0 + 1e-30", {}, "cost", "not less"),
    ("sin(y)^2+cos(y)^2+f", "f + 1.0000000000000000000000000000000001", {}, "agreement", "gives"),
    ("log(f/(1-f))*1", "log(f)", {"f": "prob"}, "domain", "defines a value"),
]


@pytest.mark.parametrize(("formula", "proposal", "roles", "check", "says"), REFUSED, ids=lambda x: str(x)[:40])
def test_wrong_rewrites_are_refused(formula: str, proposal: str, roles: dict[str, str], check: str, says: str) -> None:
    """SymPy's own mistakes (docs/numerics.md, finding 2) and their kin are refused, by the check that should."""
    verdict = judge(formula, proposal, **roles)
    assert not verdict.accepted
    assert verdict.check == check, str(verdict)
    assert says in str(verdict)


def test_log_of_a_quotient_is_refused_for_its_float32_range() -> None:
    """log(a) - log(b) has a value at (1e20, 1e-20) where log(a/b) overflows float32 (V25)."""
    loss = parse("log(y) - log(f)", y="positive", f="positive")
    test = AcceptTest(loss)
    test._domain = lambda candidate, numbers: None  # type: ignore[method-assign]  # silence the interval check before it
    verdict = test.judge(parse("log(y/f)", y="positive", f="positive").body)
    assert (verdict.accepted, verdict.check) == (False, "accuracy")


ACCEPTED = [
    ("y^2-2*y*f+f^2", "(y-f)^2", {}),
    ("sin(f)^2+cos(f)^2+y", "y+1", {}),
    ("exp(y)*exp(f)", "exp(y+f)", {}),
    ("y^3+f^3+f*y^2+f^2*y", "(y+f)*(y^2+f^2)", {}),
    ("sqrt(f^2)", "abs(f)", {}),
    ("sqrt(f^2)", "f", {"f": "prob"}),
    ("log(y)+log(f)-log(f)", "log(y)", {"y": "positive", "f": "positive"}),
    ("y*f+y*d", "y*(f+d)", {}),
    ("sum_c(y*f)*d + sum_c(y*f)*p", "sum_c(y*f)*(d+p)", {"y": "onehot", "f": "logit"}),
    ("softmax(f)*y + softmax(f)*d", "softmax(f)*(y+d)", {"y": "onehot", "f": "logit"}),
]


@pytest.mark.parametrize(("formula", "proposal", "roles"), ACCEPTED, ids=lambda x: str(x)[:40])
def test_good_rewrites_are_accepted(formula: str, proposal: str, roles: dict[str, str]) -> None:
    """Cheaper forms that are equal, as defined and as accurate are accepted, with the numbers measured."""
    verdict = judge(formula, proposal, **roles)
    assert verdict.accepted, str(verdict)
    assert verdict.numbers["cost after"] <= verdict.numbers["cost before"]
    assert verdict.numbers["points"] > 50


def test_a_proposal_must_keep_the_sum_over_classes() -> None:
    """A body that stops varying over the classes would no longer be summed over them: that is another loss."""
    loss = parse("sum_c(y*f) + 0*y", y="onehot", f="logit")
    verdict = AcceptTest(loss).judge(parse("sum_c(y*f)", y="onehot", f="logit").body)
    assert (verdict.accepted, verdict.check) == (False, "form")


@pytest.mark.parametrize("bad", [Y + param("other"), node("nonsense", Y), node("add", Y), node("lt", Y, F)])
def test_malformed_proposals_are_refused(bad: object) -> None:
    """Unknown names and operators, wrong arities and conditions are no proposals."""
    verdict = AcceptTest(parse("y + f + y + f")).judge(bad)  # type: ignore[arg-type]
    assert (verdict.accepted, verdict.check) == (False, "form")


def test_a_formula_without_values_accepts_nothing() -> None:
    """Where the formula is hardly ever defined there is nothing to test against, so nothing is believed."""
    verdict = judge("log(-1-f^2) + y - y", "log(-1-f^2)")
    assert (verdict.accepted, verdict.check) == (False, "domain")
    assert "0 points" in verdict.reason


def test_new_infinite_slopes_are_refused() -> None:
    """sqrt(d^2 + e^2) - d, for tiny d, has float32 slope 0/0 at e = 0, where the pseudo-Huber form has 0."""
    loss = parse("d^2*(sqrt(1+((y-f)/d)^2)-1)", params={"d": 1.0})
    loss = Loss(loss.body, params=(Parameter("d", "positive", loss.params[0].default),))
    proposal = parse("d*(sqrt(d^2+(y-f)^2)-d)", params={"d": 1.0}).body
    verdict = AcceptTest(loss).judge(proposal)
    assert (verdict.accepted, verdict.check) == (False, "slope")
    assert "d = 1e-30" in verdict.witness


def test_the_deadline_is_kept() -> None:
    """After its deadline the test stops instead of judging."""
    test = AcceptTest(parse("y^2-2*y*f+f^2"), deadline=time.monotonic() - 1)
    with pytest.raises(OutOfTime):
        test.judge(parse("(y-f)^2").body)


def test_cancellation_near_saturation_is_seen() -> None:
    """C^2 - C - f (C^2 - C), for C (C - 1)(1 - f), loses digits where a prediction saturates."""
    roles = {"y": "onehot", "f": "prob"}
    loss = parse("y*(d/(1 - f)/(C*(C - 1)) + d*d*d*d*d)", params={"d": 1.0}, **roles)
    proposal = parse("y*(d/(C^2 - C - f*(C^2 - C)) + d^5)", params={"d": 1.0}, **roles)
    test = AcceptTest(loss)
    test._conditions = lambda candidate, numbers: None  # type: ignore[method-assign]
    verdict = test.judge(proposal.body)
    assert (verdict.accepted, verdict.check) == (False, "accuracy"), str(verdict)
