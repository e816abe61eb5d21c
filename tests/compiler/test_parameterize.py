"""The transition procedure: coefficients on every edge that can be learned, and folding them back."""

from __future__ import annotations

import math

import mpmath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lossc
from lossc.compiler.errors import LimitError, LosscError, UsageError
from lossc.compiler.evaluate import evaluate
from lossc.compiler.ir import COEF, ONE, Expr, F, Y, coef, leaves, node, postorder, substitute
from lossc.compiler.loss import Loss
from lossc.compiler.passes.adjoint import slope_in_f
from lossc.compiler.passes.parameterize import OUTPUTS, count_coefficients, fold_coefficients, parameterize
from tests.strategies import exprs


def text(formula: str, **more: object) -> str:
    """The parameterised formula as text."""
    return str(parameterize(lossc.parse(formula), **more))  # type: ignore[arg-type]


def test_every_edge_of_the_tree_has_its_own_coefficient() -> None:
    """The edge out of the root and each edge below, in prefix order (algorithm 2); shared parts are two edges."""
    assert text("sqrt(abs(y - f))") == "phi[0]*sqrt(phi[1]*abs(phi[2]*(phi[3]*y - phi[4]*f)))"
    assert count_coefficients(parameterize(lossc.parse("(y - f)*(y - f)"))) == 7


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("sign(y - f)*f", "phi[0]*(phi[1]*sign(y - f)*(phi[2]*f))"),
        ("(y - f)^2", "phi[0]*(phi[1]*(phi[2]*y - phi[3]*f))^2"),
        ("where(y > f, f, 2*f)", "phi[0]*where(y > f, phi[1]*f, phi[2]*(phi[3]*2*(phi[4]*f)))"),
        ("f^2 + log(y)", "phi[0]*(phi[1]*(phi[2]*f)^2 + log(y))"),
        ("log(2 + f^2)*y", "phi[0]*(phi[1]*log(phi[2]*2 + phi[3]*(phi[4]*f)^2)*(phi[5]*y))"),
        ("log(abs(y - f) + 1)", "phi[0]*log(phi[1]*abs(phi[2]*(phi[3]*y - phi[4]*f)) + phi[5]*1)"),
    ],
)
def test_edges_that_cannot_be_learned_have_none(formula: str, expected: str) -> None:
    """Below signs and conditions, on constant exponents, and on terms without f there is nothing to learn."""
    assert text(formula) == expected


@pytest.mark.parametrize("output", OUTPUTS)
def test_output_activation_wraps_the_root(output: str) -> None:
    """The activation is outermost; the root's coefficient inside it is live."""
    made = parameterize(lossc.parse("abs(y - f)"), output=output)

    assert coef(0) in leaves(slope_in_f(made), COEF)
    if output != "identity":
        assert made.body.op in ("softplus", "add")


@settings(max_examples=60, deadline=None)
@given(body=exprs(params=(), total=True, max_leaves=8), data=st.data())
def test_unit_coefficients_are_the_loss_and_all_are_live(body: Expr, data: st.DataObject) -> None:
    """With every φ at 1 the network is the loss, to 60 digits; each φ is in the gradient with respect to f."""
    loss = Loss(body, y="onehot", f="prob")
    try:
        made = parameterize(loss)
        slope = slope_in_f(made)
    except LosscError as problem:
        assert problem.diagnostic.code == "L310"
        return
    found = leaves(made.body, COEF)
    assert [c.index for c in sorted(found, key=lambda c: c.index)] == list(range(len(found)))
    assert set(found) <= set(leaves(slope, COEF))
    assert made.layout == loss.layout or F not in postorder(body)
    env = {Y: [1, 0, 0], F: [mpmath.mpf(1) / 2, mpmath.mpf(3) / 10, mpmath.mpf(1) / 5]}
    with mpmath.workdps(60):
        ours = evaluate(substitute(made.body, dict.fromkeys(found, ONE)), env, dps=60, num_classes=3)
        theirs = evaluate(loss.body, env, dps=60, num_classes=3)
        for a, b in zip(_list(ours), _list(theirs), strict=True):
            assert abs(a - b) <= mpmath.mpf(10) ** -50 * (1 + abs(b))


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def test_folding_back_is_exact() -> None:
    """Coefficients return as the numbers that they are: the same float64, and a formula that parses again."""
    made = parameterize(lossc.parse("sqrt(abs(y - f))"), output="softplus")
    phi = [0.1 + 1e-17, math.pi, -1e-9, 123456.789, 0.0]

    folded = fold_coefficients(made, phi)

    again = lossc.parse(str(folded))
    assert again.body is folded.body
    env = {Y: mpmath.mpf("0.3"), F: mpmath.mpf("-1.7")}
    want = evaluate(substitute(made.body, {coef(i): _number(v) for i, v in enumerate(phi)}), env, dps=60)
    assert evaluate(folded.body, env, dps=60) == want


def _number(value: float) -> Expr:
    from lossc.compiler.ir import const

    return const(value)


@pytest.mark.parametrize("phi", [[1.0], [1.0] * 5 + [2.0], [math.nan] * 5, [math.inf] * 5])
def test_folding_refuses_what_is_not_there(phi: list[float]) -> None:
    """Too few, too many, or numbers that are none."""
    made = parameterize(lossc.parse("sqrt(abs(y - f))"))

    with pytest.raises(UsageError) as caught:
        fold_coefficients(made, phi)
    assert caught.value.diagnostic.code == "L252"


def test_hyper_parameters_become_their_defaults() -> None:
    """A hyper-parameter is a number in the network; one without a value is asked for."""
    made = parameterize(lossc.parse("delta*abs(y - f)", params={"delta": 2.0}))
    assert made.params == () and "2" in str(made)

    with pytest.raises(UsageError) as caught:
        parameterize(lossc.parse("delta*abs(y - f)", params={"delta": None}))
    assert caught.value.diagnostic.code == "L242"


def test_limits_and_wrong_calls() -> None:
    """Too large a tree, an unknown activation, and a loss that is parameterised already."""
    big = F
    for _ in range(12):
        big = node("add", big, big)
    with pytest.raises(LimitError) as limit:
        parameterize(Loss(big))
    assert limit.value.diagnostic.code == "L113"
    for call, code in (
        (lambda: parameterize(lossc.parse("y - f"), output="relu"), "L250"),
        (lambda: parameterize(parameterize(lossc.parse("y - f"))), "L251"),
    ):
        with pytest.raises(UsageError) as caught:
            call()
        assert caught.value.diagnostic.code == code


def test_a_network_is_linear_in_the_tree() -> None:
    """Two nodes an edge, whatever the shape; a chain of 900 operations is no trouble."""
    body = Y - F
    for _ in range(900):
        body = node("tanh", body)

    made = parameterize(Loss(body))

    assert count_coefficients(made) == body.tree_size == 903
    assert made.body.tree_size == 3 * body.tree_size
