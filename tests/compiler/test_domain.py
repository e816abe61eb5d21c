"""The conditions under which an expression has a value: exactly those where mpmath finds one, in a comparable form."""

from __future__ import annotations

import mpmath
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lossc.compiler.evaluate import evaluate
from lossc.compiler.facts import Facts
from lossc.compiler.ir import Expr, F, Y, node, postorder
from lossc.compiler.loss import Loss
from lossc.compiler.ops import OPS, OpRecord
from lossc.compiler.passes.accept import AcceptTest
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.passes.domain import NONNEGATIVE, NONZERO, POSITIVE, Condition, conditions, rules, unimplied
from lossc.compiler.passes.simplify import simplify
from lossc.grammar import parse
from tests.strategies import environments, losses

THOROUGH = settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
EVERYWHERE = OpRecord.__dataclass_fields__["defined"].default


def test_every_partial_operator_has_a_rule() -> None:
    """A record that says where it is defined has a rule here, and only such a record."""
    assert rules() == {r.name for r in OPS.values() if r.defined is not EVERYWHERE}


def holds(condition: Condition, env: dict[Expr, object]) -> bool | None:
    """Whether a condition is met at a point, in 60 digits; None where rounding might decide."""
    for test, wanted in condition.guards:
        met = evaluate(test, env, dps=60, num_classes=3)
        if isinstance(met, list) or not isinstance(met, bool):
            return None
        if met is not wanted:
            return True
    values = [evaluate(o, env, dps=60, num_classes=3) for o in condition.operands]
    if any(isinstance(v, list) or not mpmath.isfinite(v) for v in values):
        return None
    x = values[0]
    if 0 < abs(x) < mpmath.mpf(10) ** -20:
        return None
    if condition.kind in (NONZERO, POSITIVE, NONNEGATIVE):
        return bool({NONZERO: x != 0, POSITIVE: x > 0, NONNEGATIVE: x >= 0}[condition.kind])
    return bool(OPS[condition.kind].defined(*values))


@THOROUGH
@given(st.data())
def test_conditions_say_where_there_is_a_value(data: st.DataObject) -> None:
    """A formula has a value at a point if all its conditions hold there, and none if one fails."""
    loss = data.draw(losses(class_axis=False, exotic=False, max_leaves=6))
    env = data.draw(environments(loss))
    with mpmath.workdps(60):
        seen = [evaluate(n, env, dps=60, num_classes=3) for n in postorder(loss.body)]
    if any(not isinstance(v, bool) and (mpmath.isinf(v) or 0 < abs(v) < mpmath.mpf(10) ** -20) for v in seen):
        return  # overflow, or a zero blurred by rounding: no oracle
    verdicts = [holds(c, env) for c in conditions(loss.body, Facts(loss))]
    value = evaluate(loss.body, env, dps=60)
    if mpmath.isnan(value):
        assert not verdicts or any(v is not True for v in verdicts), "no value, but every condition holds"
        assert verdicts, "no value, but no condition either"
    else:
        assert all(v is not False for v in verdicts), "a value, but a condition fails"


@THOROUGH
@given(losses(class_axis=False, exotic=False, max_leaves=6))
def test_the_canonical_form_keeps_the_conditions(loss: Loss) -> None:
    """Canonicalising a canonical form again cannot change what it asks; conditions are deterministic."""
    facts = Facts(loss)
    made = canonical_expr(loss.body, facts)
    assert conditions(made, facts) == conditions(made, Facts(loss))
    assert not unimplied(conditions(made, facts), conditions(made, facts))


@pytest.mark.parametrize(
    ("formula", "roles", "asked"),
    [
        ("y/f", {}, {"f != 0"}),
        ("y/(2*(f - y)^2*exp(f))", {}, {"y - f != 0", "f - y != 0"}),
        ("log(y*f)", {"y": "binary", "f": "prob"}, {"y != 0", "f != 0"}),
        ("log(3*f)", {}, {"f > 0"}),
        ("log(f/(1 - f))", {"f": "prob"}, {"f != 0", "1 - f != 0", "f - 1 != 0"}),
        ("1/sqrt(y + f)", {}, {"y + f >= 0", "y + f != 0"}),
        ("tanh(f)^(-3)", {}, {"f != 0"}),
        ("sqrt((y - f)^2 + 1)", {}, set()),
        ("log(1 + exp(f))", {}, set()),
        ("f^2.5", {"f": "prob"}, set()),
        ("f^y", {}, {"pow(f, y) has a value"}),
        ("f^y", {"f": "positive"}, set()),
    ],
)
def test_conditions_are_taken_apart(formula: str, roles: dict[str, str], asked: set[str]) -> None:
    """Products, powers and monotone functions are looked through; what the roles promise is not asked."""
    loss = parse(formula, **roles)
    found = {str(c) for c in conditions(loss.body, Facts(loss))}
    assert found <= asked
    assert bool(found) == bool(asked)


def test_a_branch_asks_only_where_it_is_taken() -> None:
    """The conditions of a branch of `where` hold under its condition only."""
    loss = parse("where(f > 0, log(f), 1/y)")
    guards = {c.kind: {holds for _, holds in c.guards} for c in conditions(loss.body, Facts(loss))}
    assert guards == {POSITIVE: {True}, NONZERO: {False}}
    bare = conditions(parse("log(f)").body, Facts(loss))
    assert not unimplied(frozenset(c for c in conditions(loss.body, Facts(loss)) if c.kind == POSITIVE), bare)
    assert unimplied(bare, conditions(loss.body, Facts(loss)))


@pytest.mark.parametrize(
    ("formula", "proposal", "roles"),
    [
        ("(f - 3/10)^2/(f - 3/10)", "f - 3/10", {}),
        ("(softmax(f) - 1/4)^2/(softmax(f) - 1/4)", "softmax(f) - 1/4", {"y": "onehot", "f": "logit"}),
        ("(f*y - 1/7)/(f*y - 1/7) + y", "1 + y", {}),
        ("1/(1/(f - 1/3) + y)", "(f - 1/3)/(1 + y*(f - 1/3))", {}),
        ("tanh(f - 1/3)*sqrt(f - 1/3)/sqrt(f - 1/3)", "tanh(f - 1/3)", {"f": "positive"}),
    ],
)
def test_holes_that_no_sample_hits_are_seen(formula: str, proposal: str, roles: dict[str, str]) -> None:
    """A single point without a value is lost by cancelling; no sampled point shows it, the conditions do."""
    loss = parse(formula, **roles)
    verdict = AcceptTest(loss).judge(parse(proposal, **roles).body)
    assert (verdict.accepted, verdict.check) == (False, "domain"), str(verdict)


def test_a_part_with_the_same_domain_may_lift_a_condition() -> None:
    """sqrt(y^2 - 2yf + f^2) asks what always holds; through its part (y - f)^2 it still becomes |y - f|."""
    assert simplify(parse("sqrt(y^2 - 2*y*f + f^2)")).loss.body is node("abs", Y - F)
