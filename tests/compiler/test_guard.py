"""Guards: values stay, gradients become finite and right, and what needs no guard gets none."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import mpmath
import pytest
import torch
from hypothesis import HealthCheck, assume, example, given, settings

from lossc.compiler import ops
from lossc.compiler.errors import LossTypeError
from lossc.compiler.evaluate import evaluate, evaluate_all
from lossc.compiler.ir import Expr, F, Y, const, dag_size, param, postorder
from lossc.compiler.loss import Loss, Parameter
from lossc.compiler.ops import call
from lossc.compiler.passes.guard import CURES, guard, guard_report
from lossc.grammar.library import named
from tests.compiler.torch_support import column, loss_of, module_of, reference_slope, value_and_slope
from tests.strategies import PARAMS, exprs

D = param("delta")
SETTINGS = tuple(Parameter(n, "real", Fraction(d)) for n, d in zip(PARAMS, ("1", "1/2", "2"), strict=True))
CORNERS = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0)


def rules(loss: Loss) -> list[str]:
    return [one.rule for one in guard_report(loss)[1]]


# -- the headline -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_the_headline(dtype: torch.dtype) -> None:
    """abs(log(sqrt(y*f) + eps)) with one-hot y and f = softmax(z): the literal program has a gradient of NaN at every
    logit; the emitted one has the gradient of mpmath (numerics.md, G13 and finding 1)."""
    loss = loss_of(call("abs", call("log", call("sqrt", Y * F) + call("eps"))), "ace", "onehot", "prob")
    rows, labels = [[0.5, -1.0, 2.0], [0.0, 0.0, 0.0], [4.0, -4.0, 1.0]], [0, 2, 1]
    z = torch.tensor(rows, dtype=dtype, requires_grad=True)
    y = torch.nn.functional.one_hot(torch.tensor(labels), 3)
    literal = torch.log(torch.sqrt(y * torch.softmax(z, 1)) + 1e-7).abs().sum()
    assert torch.isnan(torch.autograd.grad(literal, z)[0]).all()
    _, slope = value_and_slope(module_of(loss), z, torch.tensor(labels))
    assert torch.isfinite(slope).all()
    for i, row in enumerate(rows):
        expected = [float(reference_slope(loss, y[i].tolist(), row, j)) for j in range(3)]
        assert slope[i].tolist() == pytest.approx(expected, rel=1e-9 if dtype == torch.float64 else 1e-4)


# -- what each rule does ----------------------------------------------------------------------------------------------

POINTS: list[tuple[str, Expr, float]] = [
    ("sqrt of a square", call("sqrt", F**2), 0.0),
    ("sqrt of a product", call("sqrt", Y * F), 0.0),
    ("power below one", call("abs", F) ** const(Fraction(1, 3)), 0.0),
    ("power of unknown exponent", call("abs", F) ** D, 0.0),
    ("x * sqrt x", F * call("sqrt", F), 0.0),
    ("hypot", call("hypot", F, Y - 1), 0.0),
    ("asin", call("asin", F), 1.0),
    ("acos", call("acos", F), -1.0),
    ("acosh", call("acosh", F), 1.0),
    ("xlogy at a zero target", call("xlogy", Y - 1, F), 0.0),
    ("norm over the classes", call("sqrt", call("sum_c", F**2)), 0.0),
]


@pytest.mark.parametrize(("body", "at"), [(b, a) for _, b, a in POINTS], ids=[n for n, _, _ in POINTS])
def test_singular_points_have_slope_zero(body: Expr, at: float) -> None:
    """At the point where the literal slope is infinite or NaN, the value is exact and the slope is 0."""
    loss = loss_of(body, delta=0.5)
    f, y = column([[at, at, at]]), torch.ones(1, 3, dtype=torch.float64)
    value, slope = value_and_slope(module_of(loss), f, y)
    exact = {0.0: 0.0, 1.0: {"asin": math.pi / 2}.get(body.op, 0.0), -1.0: math.pi}[at]
    assert value.flatten().tolist() == [exact] * value.numel()
    assert slope.tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize("p", [0.25, 0.5, 0.999, 1.0, 1.5, 2.0, 3.0])
def test_powers_with_a_hyperparameter_keep_true_slopes(p: float) -> None:
    """x^p at 0: slope 0 where it would be infinite (0 < p < 1), 1 for p = 1, 0 beyond; and p*x^(p-1) elsewhere."""
    f = column([0.0, 0.3, 2.0])
    value, slope = value_and_slope(module_of(loss_of(F**D, delta=0.5), "none", delta=p), f, torch.zeros(3).double())
    assert value.tolist() == pytest.approx([0.0, 0.3**p, 2**p], rel=1e-14)
    assert slope.tolist() == pytest.approx([float(p == 1), p * 0.3 ** (p - 1), p * 2 ** (p - 1)], rel=1e-13)


def test_xlogy_keeps_the_slope_of_its_first_argument() -> None:
    """At x = 0 the slope with respect to x is log y wherever y > 0: only the corner y <= 0 is guarded."""
    x = column([0.0, 0.0, 2.0])
    _, slope = value_and_slope(module_of(loss_of(call("xlogy", F, Y))), x, torch.tensor([3.0, 0.0, 0.5]).double())
    assert slope.tolist() == pytest.approx([math.log(3.0), 0.0, math.log(0.5)])


F_POSITIVE = call("gt", F, 0)
BRANCHES: list[tuple[str, Expr]] = [
    ("log of the negative side", call("where", call("gt", F, 0), call("log", F), -F)),
    ("reciprocal", call("where", call("gt", call("abs", F), 0.1), 1 / F, 10 * F)),
    ("overflow in exp", call("where", call("lt", F, 1), call("exp", F), F)),
    ("overflow in a power", call("where", call("lt", call("abs", F), 1), F**12, call("abs", F))),
    ("two branches", call("where", call("gt", F, Y), call("log", F - Y), call("sqrt", Y - F))),
    ("nested", call("where", F_POSITIVE, call("where", call("gt", F, 1), call("log", F - 1), call("sqrt", F)), 0)),
    ("of two arguments", call("where", call("gt", F * Y, 0), call("log", F * Y), F)),
    ("of a hyper-parameter", call("where", call("gt", F, D), call("log", F / D - 1), 2 * F)),
    ("0 * log 0", call("where", call("eq", F, 0), 0, F * call("log", call("abs", F)))),
    ("quotient of squares", call("where", call("lt", call("abs", F), 1), F**2 / (1 + F**2), call("abs", F))),
]
WIDE = (-1e4, -300.0, -2.0, -1.0, -0.25, 0.0, 0.25, 0.5, 1.0, 2.0, 300.0, 1e4)


@pytest.mark.parametrize("body", [b for _, b in BRANCHES], ids=[n for n, _ in BRANCHES])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_the_branch_that_is_not_taken_leaves_no_trace(body: Expr, dtype: torch.dtype) -> None:
    """where(): over inputs on both sides, far out too, the gradient is finite wherever the value is, and right (G3)."""
    loss = loss_of(body, delta=0.5)
    assert "G3" in rules(loss)
    f, y = column(WIDE, dtype), torch.full((len(WIDE),), 0.75, dtype=dtype)
    value, slope = value_and_slope(module_of(loss), f, y)
    for i, x in enumerate(WIDE):
        if not math.isfinite(value[i]):
            continue
        assert math.isfinite(slope[i]), x
        expected = reference_slope(loss, 0.75, x)
        if expected is not None and (x != 0 or abs(expected) < 20):  # x log x has no slope at 0
            assert slope[i].item() == pytest.approx(float(expected), rel=1e-9 if dtype == torch.float64 else 1e-4)


@pytest.mark.parametrize("delta", [0.01, 1.0, 50.0, 1e4])
def test_a_branch_without_one_safe_point_is_masked_operand_by_operand(delta: float) -> None:
    """log(|y - f|/delta - 1) has no point that is safe for every delta; the gradient is finite for all of them."""
    body = call("where", call("gt", call("abs", Y - F), D), call("log", call("abs", Y - F) / D - 1), 0)
    loss = Loss(body, params=(Parameter("delta", "positive", Fraction(1)),))
    f = column([delta * k for k in (-3.0, -1.0, 0.0, 0.5, 1.0, 1.5, 4.0)])
    value, slope = value_and_slope(module_of(loss, "none", delta=delta), f, torch.zeros(7).double())
    assert torch.isfinite(value).all() and torch.isfinite(slope).all()
    assert slope[-1].item() == pytest.approx(1 / (3 * delta), rel=1e-12)


def test_a_condition_that_differs_between_classes() -> None:
    """A branch with a softmax under a class-wise condition: the softmax itself sees every class, and the gradient is
    the true one."""
    body = call("where", call("gt", Y, 0.5), -call("log", call("softmax", F)), call("softmax", F) ** 2)
    loss = loss_of(body, y="onehot", f="logit")
    z = [[0.3, -1.0, 2.0], [900.0, 0.0, -900.0]]
    _, slope = value_and_slope(module_of(loss), column(z), torch.tensor([1, 0]))
    for i, label in enumerate((1, 0)):
        y = [float(label == j) for j in range(3)]
        expected = [float(reference_slope(loss, y, z[i], j)) for j in range(3)]
        assert slope[i].tolist() == pytest.approx(expected, rel=1e-10, abs=1e-14)


# -- nothing more than needed -----------------------------------------------------------------------------------------

FINE: list[Loss] = [
    loss_of((Y - F) ** 2),
    loss_of(call("sqrt", 1 + (Y - F) ** 2)),
    loss_of(call("sqrt", (Y - F) ** 2 + call("eps"))),
    loss_of(call("abs", F) ** const(Fraction(5, 2)) + F**3),
    loss_of(call("sqrt", F) + F ** const(Fraction(1, 2)), f="positive"),
    loss_of(call("asin", call("tanh", F) / 2) + call("acosh", 2 + F**2)),
    loss_of(call("log", call("where", call("gt", F, 0), F, 1))),
    loss_of(call("where", call("le", call("abs", Y - F), D), (Y - F) ** 2 / 2, D * call("abs", Y - F)), delta=1.0),
    loss_of(call("where", call("gt", F, Y), call("sqrt", 1 + F**2), call("log", 1 + F**2 + Y**2))),
    loss_of(call("where", call("gt", D, 0), call("log", F), 1 / F), delta=1.0),
    loss_of(call("sqrt", D) * F, delta=1.0),
    *(named(n).canonicalize() for n in ("mse", "mae", "huber", "pseudo_huber", "quantile", "poisson", "smooth_l1")),
]


@pytest.mark.parametrize("loss", FINE, ids=lambda x: x.name + " " + str(x)[:40])
def test_what_is_provably_fine_is_left_alone(loss: Loss) -> None:
    """Facts prove these slopes finite: the pass gives back the very same loss."""
    assert guard(loss) is loss


@pytest.mark.parametrize("body", [b for _, b, _ in POINTS], ids=[n for n, _, _ in POINTS])
def test_guarding_twice_is_guarding_once(body: Expr) -> None:
    """The pass recognises its own guards of singular points."""
    loss = guard(loss_of(body, delta=0.5))
    assert guard(loss) is loss


def test_every_singular_operator_has_a_cure() -> None:
    """The records say which operators have a point with a value and no slope; each of these has a guard."""
    x = (param("a"), param("b"), param("c"))
    singular = {r.name for r in ops.OPS.values() if r.arity and r.singular(*x[: r.arity])}
    assert singular <= set(CURES)


def test_guards_cost_little() -> None:
    """A guard adds a comparison and two selections, whatever the size of what it guards."""
    body = Y * F
    for _ in range(20):
        body = call("sin", body + Y)
    loss = loss_of(call("sqrt", body))
    assert dag_size(guard(loss).body) <= dag_size(loss.body) + 5


# -- for all expressions ----------------------------------------------------------------------------------------------


def env_at(y: float, f: float) -> dict[Expr, Any]:
    return {Y: y, F: f, **{param(p.name): p.default for p in SETTINGS}}


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(exprs(class_axis=False, exotic=False, max_leaves=8))
@example(Y * call("log", Y) + F)
@example(call("pow", call("lgamma", call("lgamma", F - 2)), Y))
def test_values_are_unchanged(body: Expr) -> None:
    """At corners where guards act, the guarded loss and the loss have one value in the reference interpreter; where the
    loss has none, the guarded loss has none either, unless a hole was filled (G7, G8, G12)."""
    loss = Loss(body, params=SETTINGS)
    guarded = guard(loss).body
    filled = {"G7", "G8", "G12"} & set(rules(loss))
    for y, f in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (-1.0, 2.0), (2.0, -0.5)):
        before, after = evaluate_all([body, guarded], env_at(y, f), dps=40)
        same = mpmath.isnan(before) and (mpmath.isnan(after) or filled)
        assert same or before == after or mpmath.almosteq(before, after, rel_eps=1e-35)


GUARDED_OPS = ("where", "sqrt", "pow", "log", "div", "mul", "sub", "add", "abs", "max", "min", "hypot", "xlogy", "exp",
               "asin", "acos", "acosh")  # fmt: skip


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(exprs(names=GUARDED_OPS, class_axis=False, exotic=False, max_leaves=8))
@example(call("where", call("gt", F, 0), call("log", F) * call("sqrt", Y), F))
@example((call("sqrt", F) - F) ** F)
@example(call("max", call("min", Y, F), F))
def test_gradients_are_finite_and_right_wherever_the_value_is_finite(body: Expr) -> None:
    """Compiled, in float64, at all corners: where every part of the formula has a moderate value, the module has that
    value, a finite gradient, and the true one where the reference is smooth and no part of it is at a kink (the chosen
    slopes of max(min(y, f), f) at y = f are those of its parts)."""
    assume(body.tree_size < 60)
    kinks = [k for n in postorder(body) if n.args for k in ops.record(n).kinks(*n.args)]
    loss = Loss(body, params=SETTINGS)
    at = [(y, f) for y in CORNERS for f in CORNERS]
    f = column([f for _, f in at])
    try:
        value, slope = value_and_slope(module_of(loss), f, torch.tensor([y for y, _ in at], dtype=torch.float64))
    except LossTypeError as refused:
        assert refused.diagnostic.code == "L340"
        return
    for i, (y, x) in enumerate(at):
        parts = evaluate_all(postorder(body), env_at(y, x), dps=40)
        if not all(isinstance(p, bool) or (mpmath.isfinite(p) and (p == 0 or 1e-8 < abs(p) < 1e6)) for p in parts):
            continue
        assert value[i].item() == pytest.approx(float(parts[-1]), rel=1e-6, abs=1e-6), (y, x)
        assert math.isfinite(slope[i]), (y, x)
        at_kink = any(k == 0 for k in evaluate_all(kinks, env_at(y, x), dps=40))
        expected = None if at_kink else reference_slope(loss, y, x)
        if expected is not None and abs(expected) < 20:  # beyond: x^x and its kin at 0, where no difference converges
            assert slope[i].item() == pytest.approx(float(expected), rel=1e-5, abs=1e-5), (y, x)


def test_evaluate_sees_guards_as_the_identity() -> None:
    """A sanity check of the oracle itself: sqrt guarded at 0 is 0 there, and NaN where sqrt is undefined."""
    guarded = guard(loss_of(call("sqrt", F))).body
    assert [evaluate(guarded, {F: v}, dps=30) for v in (0.0, 4.0)] == [0, 2]
    assert mpmath.isnan(evaluate(guarded, {F: -1.0}, dps=30))
