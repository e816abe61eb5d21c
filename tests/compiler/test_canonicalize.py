"""The canonical form: right to 60 digits, defined exactly where the formula is, idempotent, one for equal shapes."""

from __future__ import annotations

from fractions import Fraction

import mpmath
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lossc.compiler.evaluate import evaluate
from lossc.compiler.facts import Facts
from lossc.compiler.ir import ONE, Expr, F, Y, const, node, postorder
from lossc.compiler.loss import Loss
from lossc.compiler.passes.canonicalize import canonical_expr, canonicalize
from lossc.grammar import parse
from tests.strategies import environments, exprs, losses

DIGITS, AGREE = 60, mpmath.mpf(10) ** -25
THOROUGH = settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
"""At least 2,000 expressions for each property."""


def as_list(value: object) -> list[mpmath.mpf]:
    return value if isinstance(value, list) else [value] * 3


def same_value(a: mpmath.mpf, b: mpmath.mpf) -> bool:
    """Equal to 25 digits, or both undefined; points where a value overflows say nothing."""
    if mpmath.isinf(a) or mpmath.isinf(b):
        return True
    if mpmath.isnan(a) or mpmath.isnan(b):
        return bool(mpmath.isnan(a) and mpmath.isnan(b))
    return bool(abs(a - b) <= AGREE * (1 + abs(a)))


def near_a_jump(body: Expr, env: dict[Expr, object]) -> bool:
    """Whether some comparison, sign or partial operator is decided by rounding in 60 digits: no oracle there."""
    with mpmath.workdps(DIGITS):
        for here in postorder(body):
            if here.op in ("lt", "le", "gt", "ge", "eq", "ne", "max", "min"):
                gap = node("sub", *here.args)
            elif here.args and here.op not in ("add", "sub", "mul", "neg"):
                gap = here.args[-1] if here.op in ("div", "xlogy", "clamp") else here.args[0]
            else:
                continue
            values = [gap, gap - 1, gap + 1, gap + gap - 1] if here.op in ("asin", "acos", "atanh", "acosh") else [gap]
            if here.op == "pow":
                exponents = as_list(evaluate(here.args[1], env, num_classes=3))
                if any(0 < abs(v - mpmath.nint(v)) < mpmath.mpf(10) ** -30 for v in exponents):
                    return True  # a whole exponent, but for rounding
            for value in values:
                for v in as_list(evaluate(value, env, num_classes=3) if here.op != "where" else ONE.number):
                    if not isinstance(v, (bool, Fraction)) and 0 < abs(v) < mpmath.mpf(10) ** -30:
                        return True
    return False


@THOROUGH
@given(st.data())
def test_canonical_form_agrees_with_mpmath(data: st.DataObject) -> None:
    """Where the formula is defined the canonical form has the same value; where it is not, neither is the form."""
    loss = data.draw(losses(exotic=False, max_leaves=8))
    env = data.draw(environments(loss, num_classes=3))
    before = as_list(evaluate(loss.body, env, num_classes=3, dps=DIGITS))
    after = as_list(evaluate(canonicalize(loss).body, env, num_classes=3, dps=DIGITS))
    with mpmath.workdps(DIGITS):
        agree = all(same_value(a, b) for a, b in zip(before, after, strict=True))
    assert agree or near_a_jump(loss.body, env), f"{loss}  became  {canonicalize(loss)}  at {env}: {before} {after}"


@THOROUGH
@given(losses(coefs=True))
def test_canonical_form_is_idempotent(loss: Loss) -> None:
    """Canonicalising twice gives the very same object."""
    once = canonicalize(loss)
    assert canonicalize(once).body is once.body


@pytest.mark.parametrize("text", ["(1e37 + 0.001)/y", "-(1e37 + 0.001)/y", "(1e37 - 0.001)/y", "(0.001 - 1e37)/y"])
def test_sums_too_long_to_fold_have_one_sign(text: str) -> None:
    """A sum of numbers that no literal holds stays a sum, and where a sign stands does not depend on the run."""
    once = parse(f"{text} + f").canonicalize()
    assert once.canonicalize().body is once.body
    negated = parse(f"-({text} + f)").canonicalize()
    assert parse(f"-(-({text} + f))").canonicalize().body is once.body
    assert negated.canonicalize().body is negated.body


@settings(THOROUGH, max_examples=300)
@given(losses(max_leaves=6), exprs(params=(), max_leaves=4))
def test_commuted_forms_are_one_object(loss: Loss, other: Expr) -> None:
    """a+b and b+a, a*b and b*a, (a+b)+c and a+(b+c), max(a,b) and max(b,a) become the same object."""
    facts, a, b = Facts(loss), loss.body, other
    assert canonical_expr(a + b, facts) is canonical_expr(b + a, facts)
    assert canonical_expr(a * b, facts) is canonical_expr(b * a, facts)
    assert canonical_expr((a + b) + Y, facts) is canonical_expr(a + (b + Y), facts)
    assert canonical_expr(node("max", a, b), facts) is canonical_expr(node("max", b, a), facts)


EQUAL = [
    ("log(exp(y)*exp(f)) + 0*y + (f - y) - f", "f"),
    ("(f - y)^2", "(y - f)^2"),
    ("abs(f - y)", "abs(y - f)"),
    ("2*y - 2*f", "2*(y - f)"),
    ("sqrt(f^2*y^4)", "abs(f)*y^2"),
    ("sqrt(4*f)", "2*sqrt(f)"),
    ("f + sqrt(0)", "f"),
    ("f + (y - y)^(1/3)", "f"),
    ("f + (f - f)^(1 + y^2)", "f"),
    ("log(f^2)", "2*log(abs(f))"),
    ("exp(y)^2*exp(-y)", "exp(y)"),
    ("(y^2)^0.5", "abs(y)"),
    ("e^(y - f)", "exp(y - f)"),
    ("3*(y - f) - 2*(y - f)", "y - f"),
    ("max(y, max(f, y))", "max(y, f)"),
    ("where(1 < 2, f, y)", "f"),
    ("tanh(-f)", "-tanh(f)"),
    ("relu(abs(f))", "abs(f)"),
    ("cos(y - f)", "cos(f - y)"),
    ("sum_c(2*f)", "2*sum_c(f)"),
    ("mean_c(mean_c(f))", "mean_c(f)"),
    ("asinh(sinh(f))", "f"),
    ("where(f < f, y, 1)", "1"),
]


@pytest.mark.parametrize(("written", "canonical"), EQUAL)
def test_known_forms(written: str, canonical: str) -> None:
    """Formulas that are equal for all real y and f have one canonical form."""
    assert parse(written).canonicalize().body is parse(canonical).canonicalize().body


KEPT_APART = [
    ("log(f)/log(f)", "1"),
    ("f/f", "1"),
    ("sqrt(f)^2", "f"),
    ("exp(log(f))", "f"),
    ("1/(1/f)", "f"),
    ("log(f) - log(f)", "0"),
    ("0*log(f)", "0"),
    ("f^3/f", "f^2"),
]


@pytest.mark.parametrize(("written", "wrong"), KEPT_APART)
def test_domains_are_not_enlarged(written: str, wrong: str) -> None:
    """What is undefined somewhere on the declared domain stays so (numerics.md, finding 2), else it simplifies."""
    assert parse(written).canonicalize().body is not parse(wrong).canonicalize().body
    assert parse(written, f="positive").canonicalize().body is (
        parse(wrong, f="positive").canonicalize().body
        if "log(f)/" not in written
        else parse(written, f="positive").canonicalize().body
    )


@pytest.mark.parametrize("written", ["(y - f)^2", "1/(1 + exp(-f))", "sqrt(1 + (y - f)^2) - 1", "(y - f)*(y + f)"])
def test_accurate_forms_are_not_expanded(written: str) -> None:
    """Squares of differences, sigmoids and factored differences keep their accurate shape (numerics.md V23, V24)."""
    ops_before = sorted(n.op for n in postorder(parse(written).body))
    assert sorted(n.op for n in postorder(parse(written).canonicalize().body)) == ops_before


def test_facts_of_roles() -> None:
    """Under `y: onehot, f: prob` the roles simplify: |f| is f, the classes of y sum to 1."""
    assert parse("abs(f)", y="onehot", f="prob").canonicalize().body is F
    assert parse("sum_c(y)*f", y="onehot", f="prob").canonicalize().body is F
    assert parse("sqrt(f)^2", y="onehot", f="prob").canonicalize().body is F


@pytest.mark.parametrize(
    "written", ["((y - f)/d + y) - ((y - f)/d + y)", "0*log(f)*y/f", "log(f) - log(f) + 1/y - 1/y"]
)
def test_what_is_left_of_a_hole_is_canonical(written: str) -> None:
    """Terms that cancel but are not everywhere defined leave 0 times as little as keeps the hole, once and for all."""
    once = parse(written, params={"d": 1}).canonicalize()
    assert once.canonicalize().body is once.body
    assert once.body.tree_size < parse(written, params={"d": 1}).body.tree_size


def test_a_hole_is_kept_once() -> None:
    """delta/delta cancels where another factor divides by delta anyway: pseudo-Huber's slope with a plain parameter."""
    loss = parse("delta^2*(sqrt(1 + ((y - f)/delta)^2) - 1)", params={"delta": 1.0})
    slope = parse("(f - y)/sqrt(((y - f)/delta)^2 + 1)", params={"delta": 1.0})
    assert loss.grad("f").body is slope.canonicalize().body
    assert "{0}" not in loss.grad("f", order=2).latex()


@pytest.mark.parametrize("written", ["f - f + sum_c(y*f)", "(y - f)^2 + 0*sum_c(f)"])
def test_the_class_reduction_is_not_changed(written: str) -> None:
    """A loss that is summed over the classes stays one: simplifying must not turn it into one that reduces itself."""
    loss = parse(written)
    made = loss.canonicalize()
    assert (made.layout, made.reduces_itself) == (loss.layout, loss.reduces_itself)


def test_huge_chains_are_flattened_in_good_time() -> None:
    """A sum of 1,500 terms, a DAG that unfolds to 2^200 nodes, and a tower 10,000 deep all end."""
    chain: Expr = Y
    for i in range(1500):
        chain = chain + const(i) * F
    assert canonical_expr(chain, Facts(Loss(chain))).tree_size < 10
    doubled: Expr = F
    for _ in range(200):
        doubled = doubled + doubled
    canonical_expr(doubled, Facts(Loss(doubled)))
    tower: Expr = F
    for _ in range(10_000):
        tower = node("tanh", tower)
    assert canonical_expr(tower, Facts(Loss(tower))).depth == 10_001
