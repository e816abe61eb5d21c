"""The bridge to SymPy: nothing changes on the way there and back, no name crosses, and strangers are refused."""

from __future__ import annotations

from typing import Any

import pytest
import sympy
from hypothesis import HealthCheck, given, settings

from lossc.compiler import ops
from lossc.compiler.facts import Facts
from lossc.compiler.ir import ONE, Expr, F, Y, const, node, param
from lossc.compiler.loss import Loss, Parameter
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.roles import ROLES
from lossc.compiler.sympy_bridge import MAX_SYMPY_DEPTH, Bridge, BridgeRefusal, to_sympy
from tests.strategies import losses

THOROUGH = settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))


@THOROUGH
@given(losses(coefs=True))
def test_round_trip(loss: Loss) -> None:
    """There and back is the same formula, up to its canonical form, for every operator, constant and leaf."""
    facts = Facts(loss)
    bridge = Bridge([loss.body])
    back = bridge.from_sympy(bridge.to_sympy(loss.body))
    assert canonical_expr(back, facts) is canonical_expr(loss.body, facts)


@pytest.mark.parametrize(
    "root",
    [
        node("log", F) / node("log", F),
        const(0) * node("log", F),
        node("square", node("sqrt", F)),
        node("exp", 2 * node("log", F)),
        node("pow", const(9), node("pow", const(9), node("pow", const(9), const(9)))),
    ],
    ids=repr,
)
def test_nothing_is_evaluated_on_the_way_in(root: Expr) -> None:
    """Formulas that SymPy would change, or compute for ever, when built in the usual way arrive as they are."""
    bridge = Bridge([root])
    back = bridge.from_sympy(bridge.to_sympy(root))
    facts = Facts(Loss(root))
    assert canonical_expr(back, facts) is canonical_expr(root, facts)
    assert back.op == ("pow" if root.op == "square" else root.op)


@pytest.mark.parametrize("root", [node("pow", node("e"), const(-1)), F * node("sqrt", node("e")) / node("e")], ids=repr)
def test_powers_of_e_are_exponentials(root: Expr) -> None:
    """1/e and exp(-1) have one canonical form, so that SymPy's way of writing it makes no difference."""
    bridge = Bridge([root])
    facts = Facts(Loss(root))
    assert canonical_expr(bridge.from_sympy(bridge.to_sympy(root)), facts) is canonical_expr(root, facts)


def test_symbols_carry_no_user_text() -> None:
    """SymPy pastes symbol names into code that it executes (sympy#24990): a name of the user never gets there."""
    nasty = param("__import__('os').getpid()")
    made = to_sympy(nasty * Y + param("lambda"))
    assert {s.name for s in made.free_symbols} == {"y", "p0", "p1"}


def test_assumptions_follow_the_roles() -> None:
    """SymPy may assume what the range of a role says, and no more."""
    bridge = Bridge([Y * F], {Y: ROLES["count"], F: ROLES["positive"]})
    y, f = bridge.symbol(Y), bridge.symbol(F)
    assert y is not None and f is not None
    assert y.is_integer and y.is_nonnegative and y.is_positive is None
    assert f.is_positive
    plain = to_sympy(F)
    assert plain.is_real and plain.is_positive is None


@pytest.mark.parametrize("op", sorted(r.name for r in ops.OPS.values() if r.sympy))
def test_sympy_means_the_same(op: str) -> None:
    """Where a record names a SymPy function, that function has its value, at a point of its domain."""
    import mpmath

    from lossc.compiler.evaluate import evaluate

    record = ops.OPS[op]
    leaves = [Y, F][: record.arity]
    point = [sympy.Rational(1, 3), sympy.Rational(3, 4)][: record.arity]
    if op == "acosh":
        point = [sympy.Rational(7, 4)]
    made = Bridge([*leaves]).to_sympy(node(op, *leaves)) if leaves else to_sympy(node(op))
    values = {sympy.Symbol(leaf.name, real=True): v for leaf, v in zip(leaves, point, strict=True)}
    with mpmath.workdps(50):
        env = {leaf: mpmath.mpf(int(v.p)) / int(v.q) for leaf, v in zip(leaves, point, strict=True)}
        theirs = mpmath.mpf(str(sympy.N(made.subs(values), 50)))
        assert abs(evaluate(node(op, *leaves), env) - theirs) < mpmath.mpf(10) ** -45


X, Z = sympy.Symbol("y", real=True), sympy.Symbol("f", real=True)


@pytest.mark.parametrize(
    ("obj", "reason"),
    [
        (sympy.I * X, "complex"),
        (sympy.zoo, "infinite"),
        (sympy.nan, "undefined"),
        (-sympy.oo, "infinite"),
        (sympy.Piecewise((X, X > 0), (0, True)), "Piecewise"),
        (sympy.besselj(0, X), "besselj"),
        (sympy.Float("0.1") * X, "Float"),
        (sympy.Integer(10) ** 41 + 1, "too many digits"),
        (X**1000, "exponent"),
        (sympy.Symbol("z") + X, "Symbol"),
        (sympy.StrictLessThan(X, Z), "not a number"),
        (sympy.Integral(X, X), "not a number"),
        (sympy.conjugate(sympy.Symbol("z")), "Symbol"),
        (sympy.Function("os_system")(X), "os_system"),
        (sympy.Function("op_os")(X), "op_os"),
        (sympy.Function("op_log1p")(X, Z), "2 arguments"),
    ],
    ids=str,
)
def test_strangers_are_refused(obj: Any, reason: str) -> None:
    """What is not an expression of ours comes back as a refusal that names it."""
    bridge = Bridge([Y * F])
    with pytest.raises(BridgeRefusal, match=reason):
        bridge.from_sympy(obj)


def test_flat_and_inverse_forms_are_read() -> None:
    """SymPy's flat sums, products, chains of Max and negative powers become binary operators of ours."""
    bridge = Bridge([Y * F])
    facts = Facts(Loss(Y))
    made = bridge.from_sympy(sympy.Max(X, Z, 3) - 2 * X / (Z**2 * sympy.sqrt(X)) + sympy.exp(1) ** Z)
    wanted = node("max", node("max", const(3), Y), F) - 2 * node("sqrt", Y) / F**2 + node("exp", F)
    assert canonical_expr(made, facts) is canonical_expr(wanted, facts)
    assert bridge.from_sympy(sympy.Heaviside(X)) is node("heaviside", Y)
    assert bridge.from_sympy(-X) is node("neg", Y)


def test_deep_and_large_formulas_are_refused_not_crashed() -> None:
    """Beyond the limits of SymPy's recursion the bridge refuses, in both directions."""
    deep = Y
    for _ in range(MAX_SYMPY_DEPTH):
        deep = node("sin", deep)
    with pytest.raises(BridgeRefusal, match="too large"):
        to_sympy(deep)
    wide = Y
    for _ in range(20):
        wide = node("add", wide, wide)
    with pytest.raises(BridgeRefusal, match="too large"):
        to_sympy(wide)
    long_sum = sympy.Add(*[sympy.Function("op_log1p")(X + n) for n in range(3000)])
    with pytest.raises(BridgeRefusal, match="more than"):
        Bridge([Y]).from_sympy(long_sum)


def test_parameters_of_a_loss_come_back_by_name() -> None:
    """The n-th hyper-parameter is p{n} in SymPy and itself on return."""
    loss = Loss(param("delta") * Y + param("alpha"), params=(Parameter("delta"), Parameter("alpha")))
    bridge = Bridge([loss.body])
    assert bridge.from_sympy(bridge.to_sympy(loss.body)) is loss.body


def test_minus_one_times_minus_one() -> None:
    """A product of two -1 is 1: the sign was once lost on the way back."""
    product = node("mul", const(-1), const(-1))
    bridge, facts = Bridge([product]), Facts(Loss(product))
    assert canonical_expr(bridge.from_sympy(bridge.to_sympy(product)), facts) is ONE
