"""Equivalence of formulas: in value, in domain, and as losses."""

from __future__ import annotations

import pytest

from lossc.compiler.equivalence import equivalent
from lossc.compiler.passes.accept import AcceptTest
from lossc.grammar import parse


@pytest.mark.parametrize(
    ("a", "b", "roles", "kind"),
    [
        ("1/(1+exp(-f))", "exp(f)/(exp(f)+1)", {}, "agree"),
        ("log(1+exp(f))", "softplus(f)", {}, "agree"),
        ("sin(f)^2+cos(f)^2", "1", {}, "agree"),
        ("log(y*f)", "log(y)+log(f)", {"y": "positive", "f": "positive"}, "agree"),
        ("log(y*f)", "log(y)+log(f)", {}, "differ"),
        ("sum_c(f)", "1", {"y": "onehot", "f": "prob"}, "agree"),
        ("sum_c(f)", "1", {"y": "onehot", "f": "logit"}, "differ"),
        ("f", "f + 1e-39", {}, "differ"),
        ("mean_c(f)*C", "sum_c(f)", {"y": "onehot", "f": "logit"}, "agree"),
        ("C", "3", {"y": "onehot", "f": "logit"}, "differ"),
        ("y*0 + sum_c(f)", "C*sum_c(f)", {"y": "onehot", "f": "logit"}, "agree"),
        ("y*0 + sum_c(f)", "sum_c(f)", {"y": "onehot", "f": "logit"}, "differ"),
        ("sqrt(-1-f^2)", "log(-2-f^2)", {}, "undecided"),
        ("where(f > 0, log(f), 0)", "where(f > 0, log(abs(f)), 0)", {}, "agree"),
        ("y^2", "abs(y)", {"y": "sign"}, "agree"),
        ("y^2", "y", {"y": "binary"}, "differ"),
        ("1e300*exp(sin(f))", "1e300*exp(sin(f)) + (y - f)^2", {}, "differ"),
        ("(y - f)^2", "f + 1e300*exp(sin(f)) - 1e300*exp(sin(f)) - f + (y - f)^4", {}, "differ"),
        ("1e350*(1e350*(1e300*exp(sin(f))))", "1e350*(1e350*(1e300*exp(sin(f)))) + y", {}, "differ"),
        ("lgamma(1 + f^2)*1e90", "lgamma(1 + f^2)*1e90 + y", {}, "differ"),
        ("(y - f)^2", "f + 1e300*exp(sin(f)) - 1e300*exp(sin(f)) - f + (y - f)^2", {}, "agree"),
        ("exp(2*f) - exp(f)^2", "0*f", {}, "agree"),
    ],
)
def test_equivalence(a: str, b: str, roles: dict[str, str], kind: str) -> None:
    """Equal means equal on the declared domain: in value, where defined, and as losses (sums over classes included)."""
    loss = parse(a, **roles)
    found = equivalent(loss.body, parse(b, **roles).body, loss)
    assert found.kind == kind, found
    assert bool(found) == (kind == "agree")


def test_simplify_keeps_what_a_great_value_hides() -> None:
    """A small term beside 1e300 is not noise: no proposal without it is accepted."""
    loss = parse("1e300*exp(sin(f)) + (y - f)^2")
    verdict = AcceptTest(loss).judge(parse("1e300*exp(sin(f))").body)
    assert (verdict.accepted, verdict.check) == (False, "agreement"), verdict


def test_the_logarithm_of_a_rounding_error_is_not_a_value() -> None:
    """Where cancellation leaves only noise, each precision shows another value: that is no disagreement."""
    loss = parse("log(y/3 + f/7 - y/3 - f/7)")
    assert equivalent(loss.body, parse("log(0*y*f)").body, loss).kind != "differ"
    assert equivalent(parse("log(0*y*f)").body, loss.body, loss).kind != "differ"
    assert equivalent(loss.body, parse("log(1 + f^2)").body, loss).kind == "differ"
