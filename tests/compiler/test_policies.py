"""Numeric policies: one-sided slopes at kinks, operands kept away from edges; and nothing else changes."""

from __future__ import annotations

import itertools
import math
import time
from fractions import Fraction
from typing import Any

import mpmath
import pytest
import torch

from lossc.compiler import ops
from lossc.compiler.errors import UsageError
from lossc.compiler.evaluate import evaluate
from lossc.compiler.ir import Expr, F, Y, const, node, param
from lossc.compiler.loss import Loss, Parameter
from lossc.compiler.ops import call
from lossc.compiler.ops.record import OpRecord
from lossc.compiler.passes.differentiate import differentiate
from lossc.compiler.passes.kinks import KINKS
from lossc.compiler.passes.policies import EPS_POLICIES, KINK_POLICIES, apply_policies
from lossc.compiler.passes.protect import EDGES, OTHER_FORM
from lossc.compiler.passes.stabilize import stabilize
from lossc.compiler.targets.pipeline import prepare
from lossc.compiler.verify import verify
from lossc.grammar.library import named, named_losses
from tests.compiler.torch_support import DIGITS, DTYPES, column, loss_of, module_of, value_and_slope

EPS = Fraction(1, 10**7)
STEP = mpmath.mpf(10) ** -30
E = Y - F


def kinked(loss: Loss, policy: str) -> Loss:
    return apply_policies(loss, kinks=policy)[0]


def kept(body: Expr, policy: str, y: str = "real", f: str = "real") -> Expr:
    return apply_policies(loss_of(body, "kept", y, f), eps=policy)[0].body


# -- both -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", named_losses().values(), ids=lambda x: x.name)
def test_the_defaults_change_nothing(loss: Loss) -> None:
    """With `none` and `torch` every named loss comes back as the same object, with nothing reported."""
    assert apply_policies(loss) == (loss, [])
    assert apply_policies(loss)[0] is loss


@pytest.mark.parametrize("loss", named_losses().values(), ids=lambda x: x.name)
@pytest.mark.parametrize("eps", EPS_POLICIES)
@pytest.mark.parametrize("kinks", KINK_POLICIES)
def test_what_comes_out_is_a_loss(loss: Loss, eps: str, kinks: str) -> None:
    """Every combination on every named loss: well formed, of the same layout, and ready for code."""
    stable = stabilize(loss)
    made, applied = apply_policies(stable, eps, kinks)
    verify(made)
    assert (made.layout, made.reduces_itself) == (stable.layout, stable.reduces_itself)
    assert bool(applied) == (made is not stable)
    assert {a.rule for a in applied} <= {"G8", "G9", "G10"}
    prepare(made)


@pytest.mark.parametrize("call_with", [{"eps": "clip"}, {"kinks": "both"}, {"eps": ""}, {"kinks": "none"}])
def test_unknown_policies_are_refused(call_with: dict[str, str]) -> None:
    """A name that is not a policy is an error of the call, which lists those that there are."""
    with pytest.raises(UsageError) as refused:
        apply_policies(named("mse"), **call_with)
    assert refused.value.diagnostic.code == "L205"
    assert refused.value.diagnostic.expected


# -- kinks ------------------------------------------------------------------------------------------------------------


def test_every_operator_with_kinks_has_a_policy() -> None:
    """The records say which operators have kinks; the table of policies has these, and no others."""
    symbols = (param("a"), param("b"), param("c"))
    have = {r.name for r in ops.OPS.values() if r.arity and r.kinks(*symbols[: r.arity])}
    assert set(KINKS) == have


TAU = param("tau")
CASES: dict[str, tuple[Expr, float, Any]] = {
    "|f - y|": (call("abs", F - Y), 1.0, 1.0), "|y - f|": (call("abs", Y - F), 1.0, 1.0),
    "|2 - 4f|": (call("abs", 2 - 4 * F), 0.0, 0.5), "|log f|": (call("abs", call("log", F)), 0.0, 1.0),
    "|y f|, y < 0": (call("abs", Y * F), -3.0, 0.0), "|y f|, y > 0": (call("abs", Y * F), 3.0, 0.0),
    "relu f": (call("relu", F), 1.0, 0.0), "relu -f": (call("relu", -F), 1.0, 0.0),
    "hinge +": (call("relu", 1 - Y * F), 1.0, 1.0), "hinge -": (call("relu", 1 - Y * F), -1.0, -1.0),
    "hinge squared": (call("relu", 1 - Y * F) ** 2, 1.0, 1.0),
    "max(f, y)": (call("max", F, Y), 2.0, 2.0), "max(y, f)": (call("max", Y, F), 2.0, 2.0),
    "min(f, y)": (call("min", F, Y), 2.0, 2.0), "min(y, -f)": (call("min", Y, -F), 2.0, -2.0),
    "max(2f, f)": (call("max", 2 * F, F), 0.0, 0.0), "min(2f, f)": (call("min", 2 * F, F), 0.0, 0.0),
    "max(f, f^2)": (call("max", F, F**2), 0.0, 1.0), "max(yf, -f)": (call("max", Y * F, -F), 3.0, 0.0),
    "max(-3f, yf)": (call("max", -3 * F, Y * F), -2.0, 0.0), "max of one": (call("max", F * Y, F), 1.0, 0.5),
    "pinball": (call("max", TAU * E, (TAU - 1) * E), 1.0, 1.0),
    "clamp low": (call("clamp", F, -1, 1), 0.0, -1.0), "clamp high": (call("clamp", F, -1, 1), 0.0, 1.0),
    "clamp -f": (call("clamp", -F, -1, 2), 0.0, 1.0), "a bound with f": (call("clamp", Y, F, 2), 0.0, 0.0),
    "hypot": (call("hypot", 2 - F, Y - 1), 1.0, 2.0),
    "plog": (call("plog", F), 0.0, 0.0), "plog -2f": (call("plog", -2 * F), 0.0, 0.0),
    "psqrt": (call("psqrt", F - 1), 0.0, 1.0), "csqrt": (call("csqrt", -F), 0.0, EPS),
    "clog": (call("clog", F), 0.0, EPS), "clog -": (call("clog", F), 0.0, -EPS),
    "sum": (call("abs", E) - call("relu", F - 1), 1.0, 1.0),
    "under a root": (call("sqrt", 1 + call("abs", E)), 1.0, 1.0),
    "in a branch": (call("where", call("gt", Y, 0), call("abs", E), F), 1.0, 1.0),
}  # fmt: skip


def slopes(loss: Loss, y: float, f: Any) -> tuple[Any, Any]:
    """The one-sided slopes at f, from the value of the loss alone."""
    with mpmath.workdps(DIGITS):
        at = mpmath.mpf(f.numerator) / f.denominator if isinstance(f, Fraction) else mpmath.mpf(f)
        env = {Y: y, TAU: mpmath.mpf("0.3")}
        low, here, high = (evaluate(loss.body, {**env, F: at + s}) for s in (-STEP, 0, STEP))
        return (here - low) / STEP, (high - here) / STEP


def wanted(policy: str, left: Any, right: Any) -> Any:
    """The slope that a policy asks for."""
    nearest = min(max(mpmath.mpf(0), min(left, right)), max(left, right))
    return {"left": left, "right": right, "mid": (left + right) / 2, "zero": nearest}[policy]


def case(name: str) -> tuple[Loss, float, Any]:
    body, y, f = CASES[name]
    return Loss(body, "kinked", params=(Parameter("tau", "unit", Fraction(3, 10)),)), y, f


@pytest.mark.parametrize("policy", [p for p in KINK_POLICIES if p != "torch"])
@pytest.mark.parametrize("name", CASES)
def test_the_closed_form_has_the_slope_of_the_policy(name: str, policy: str) -> None:
    """At the kink the derivative of the loss under the policy is the one-sided slope that it names, seen from f."""
    loss, y, f = case(name)
    found = evaluate(differentiate(kinked(loss, policy), "f").body, {Y: y, F: f, TAU: Fraction(3, 10)}, dps=DIGITS)
    expected = wanted(policy, *slopes(loss, y, f))
    assert mpmath.almosteq(found, expected, rel_eps=1e-20, abs_eps=1e-12), (found, expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("policy", [p for p in KINK_POLICIES if p != "torch"])
@pytest.mark.parametrize("name", CASES)
def test_autograd_has_the_slope_of_the_policy(name: str, policy: str, dtype: torch.dtype) -> None:
    """The emitted module has that slope too: no later pass takes it away."""
    loss, y, f = case(name)
    z = torch.tensor([float(f)], dtype=dtype, requires_grad=True)
    _, slope = value_and_slope(module_of(kinked(loss, policy)), z, torch.tensor([y], dtype=dtype))
    expected = float(wanted(policy, *slopes(loss, y, f)))
    assert slope.item() == pytest.approx(expected, rel=16 * torch.finfo(dtype).eps, abs=torch.finfo(dtype).eps)


@pytest.mark.parametrize("policy", ["left", "right", "zero"])
def test_a_clamp_without_room_is_flat(policy: str) -> None:
    """clamp(f, 1, 1) is a constant: its two kinks at one point do not add up."""
    loss = kinked(loss_of(call("clamp", F, 1, 1)), policy)
    assert evaluate(differentiate(loss, "f").body, {F: 1}, dps=30) == 0
    assert value_and_slope(module_of(loss), column([1.0]), torch.zeros(1).double())[1].item() == 0.0


NASTY = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 1e-7, -1e-7, 1e30, -1e30, math.inf, -math.inf, math.nan]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("policy", ["left", "right", "mid", "zero"])
@pytest.mark.parametrize("name", CASES)
def test_kink_policies_leave_values_alone(name: str, policy: str, dtype: torch.dtype) -> None:
    """Zeros, infinities, NaN and ordinary numbers for y and f: the module computes what it computed, to the bit (a zero
    at the kink itself may change its sign)."""
    loss, *_ = case(name)
    pairs = list(itertools.product(NASTY, NASTY))
    y, f = (torch.tensor(v, dtype=torch.float64).to(dtype) for v in zip(*pairs, strict=True))
    before, after = module_of(loss)(f, y), module_of(kinked(loss, policy))(f, y)
    assert torch.equal(before.isnan(), after.isnan())
    kept_bits = before.isnan() | (before == after)
    assert kept_bits.all(), (y[~kept_bits], f[~kept_bits])
    zero = before == 0
    assert torch.equal(before.signbit()[~zero & ~before.isnan()], after.signbit()[~zero & ~before.isnan()])


def test_a_kink_policy_adds_no_nan() -> None:
    """Far from kinks, where a lever overflows, and at infinite ties the gradient stays what it was."""
    for body in (call("relu", 1 - call("exp", F)), call("abs", F**3), call("max", F, Y), call("clamp", F, -1, 1)):
        z, y = column([1e3, -1e3, 1e200, 5.0]), torch.tensor([1e3, 2.0, 1e200, 5.0]).double()
        for policy in ("left", "right"):
            _, before = value_and_slope(module_of(loss_of(body)), z, y)
            _, after = value_and_slope(module_of(kinked(loss_of(body), policy)), z, y)
            assert torch.equal(before.isfinite(), after.isfinite())


def test_conditions_and_data_have_no_kinks() -> None:
    """Only what a slope goes through is rewritten: not conditions, not kinks of y, not a kink that f cannot reach."""
    branch = call("where", call("lt", call("abs", F), 1), F**2, F)
    for body in (branch, call("abs", Y) * F, call("relu", Y - 1) + F, call("max", Y, 1) * F, call("sign", F) + F):
        assert kinked(loss_of(body), "right").body is body


def test_left_and_right_are_seen_from_f() -> None:
    """|y - f| and |f - y| are one function, and have one slope from the right; with y = -1 the hinge turns round."""
    for body in (call("abs", Y - F), call("abs", F - Y)):
        _, slope = value_and_slope(module_of(kinked(loss_of(body), "right")), column([2.0]), torch.tensor([2.0]))
        assert slope.item() == 1.0
    hinge = kinked(named("hinge"), "left")
    _, slope = value_and_slope(module_of(hinge), column([1.0, -1.0]), torch.tensor([1.0, -1.0]).double())
    assert slope.tolist() == [-1.0, 0.0]


def test_along_classes_the_operand_says_what_left_is() -> None:
    """Where a kink's operand mixes classes there is no one direction of f: the policy is that of the operand."""
    loss = stabilize(named("multi_margin"))
    z, y = column([[0.0, -1.0, -5.0]]), torch.tensor([0])  # class 1 sits at its kink: margin - best + f = 0
    for policy, share in (("left", 0.0), ("right", 1.0), ("mid", 0.5), ("zero", 0.0)):
        _, slope = value_and_slope(module_of(kinked(loss, policy)), z, y)
        assert slope[0].tolist() == pytest.approx([-share / 3, share / 3, 0.0]), policy


def test_left_gives_the_slope_of_torch_hinge_embedding() -> None:
    """torch's hinge embedding loss has slope -1 where the distance is the margin; ours relu's 0, or -1 by `left`."""
    f, y = column([1.0]), torch.tensor([-1.0]).double()
    (theirs,) = torch.autograd.grad(torch.nn.functional.hinge_embedding_loss(f, y, reduction="sum"), f)
    assert value_and_slope(module_of(named("hinge_embedding")), f, y)[1].item() == 0.0
    assert value_and_slope(module_of(kinked(named("hinge_embedding"), "left")), f, y)[1].item() == theirs.item() == -1.0


def test_large_formulas_take_little_time() -> None:
    """Chains of kinks, as a tree and as a DAG of 10^40 nodes: only small slopes are asked for their sign."""
    chain, shared = F, F
    for k in range(300):
        chain = call("max", chain, k * F - Y)
        shared = call("max", shared, Y * shared - k) if k < 150 else shared
    for body, policy in itertools.product((chain, shared), KINK_POLICIES):
        start = time.process_time()
        kinked(loss_of(body), policy)
        assert time.process_time() - start < 10


# -- edges ------------------------------------------------------------------------------------------------------------

WITHOUT_A_POLICY = {"hypot", "atan2"}
"""At the origin: a kink of the one, for the kink policies; no limit for the other."""


def has_an_edge(record: OpRecord) -> bool:
    """Whether the operator is not defined everywhere, or has a slope that is not finite where it is."""
    symbols = (param("a"), param("b"), param("c"))
    anywhere = ops.OPS["add"].defined
    return record.arity > 0 and (record.defined is not anywhere or bool(record.singular(*symbols[: record.arity])))


def test_every_operator_with_an_edge_has_a_policy() -> None:
    """The records say which operators are undefined or singular somewhere: each is protected, or listed as not."""
    assert {r.name for r in ops.OPS.values() if has_an_edge(r)} == set(EDGES) | WITHOUT_A_POLICY
    assert {n for forms in OTHER_FORM.values() for n in forms} == {"plog", "psqrt", "clog", "csqrt"}


NONNEGATIVE = call("abs", F)
NEGATED = node("neg", -NONNEGATIVE)
EPS_NODE = call("eps")


def away(x: Expr) -> Expr:
    """x, or ±eps where it is smaller."""
    return call("where", call("lt", call("abs", x), EPS_NODE), call("where", call("lt", x, 0), -EPS_NODE, EPS_NODE), x)


def analytic(a: Expr, b: Expr) -> Expr:
    """a*b/(b^2 + eps^2), without squares."""
    h = call("hypot", b, EPS_NODE)
    return a * (b / h) / h


FORMS: list[tuple[Expr, Expr, Expr]] = [
    (call("log", F), call("log", call("abs", F) + EPS_NODE), call("log", call("max", call("abs", F), EPS_NODE))),
    (call("log2", F**2), call("log2", F**2 + EPS_NODE), call("log2", call("max", F**2, EPS_NODE))),
    (call("sqrt", NONNEGATIVE), call("sqrt", NONNEGATIVE + EPS_NODE), call("sqrt", call("max", NONNEGATIVE, EPS_NODE))),
    (call("sqrt", F), call("sqrt", call("abs", F) + EPS_NODE), call("sqrt", call("max", call("abs", F), EPS_NODE))),
    (Y / NONNEGATIVE, Y / (NONNEGATIVE + EPS_NODE), Y / call("max", NONNEGATIVE, EPS_NODE)),
    (Y / -(F**2), Y / (-(F**2) - EPS_NODE), Y / call("min", -(F**2), -EPS_NODE)),
    (Y / F, analytic(Y, F), Y / away(F)),
    (F ** const(-2), (F / call("hypot", F, EPS_NODE) / call("hypot", F, EPS_NODE)) ** 2, away(F) ** const(-2)),
    (NONNEGATIVE ** const(-1.5), (NONNEGATIVE + EPS_NODE) ** const(-1.5),
     call("max", NONNEGATIVE, EPS_NODE) ** const(-1.5)),
    (F ** const(0.3), (call("abs", F) + EPS_NODE) ** const(0.3), call("max", call("abs", F), EPS_NODE) ** const(0.3)),
    (call("xlogy", Y, F), call("xlogy", Y, call("abs", F) + EPS_NODE),
     call("xlogy", Y, call("max", call("abs", F), EPS_NODE))),
    (call("log1p", call("max", F, -1)), call("log1p", call("max", F, -1) + EPS_NODE),
     call("log1p", call("max", call("max", F, -1), EPS_NODE - 1))),
    (call("log1mexp", -NONNEGATIVE), call("log1mexp", -(NEGATED + EPS_NODE)),
     call("log1mexp", -call("max", NEGATED, EPS_NODE))),
    (call("atanh", call("clamp", F, -1, 1)), call("atanh", (1 - EPS_NODE) * call("clamp", F, -1, 1)),
     call("atanh", call("clamp", call("clamp", F, -1, 1), EPS_NODE - 1, 1 - EPS_NODE))),
    (call("acosh", 1 + F**2), call("acosh", 1 + F**2 + EPS_NODE), call("acosh", call("max", 1 + F**2, 1 + EPS_NODE))),
    (call("lgamma", NONNEGATIVE), call("lgamma", NONNEGATIVE + EPS_NODE),
     call("lgamma", call("max", NONNEGATIVE, EPS_NODE))),
]  # fmt: skip


@pytest.mark.parametrize(("body", "added", "clamped"), FORMS, ids=lambda x: str(Loss(x)))
def test_protected_forms(body: Expr, added: Expr, clamped: Expr) -> None:
    """What each operator becomes under each policy."""
    assert kept(body, "add") is added
    assert kept(body, "clamp") is clamped


@pytest.mark.parametrize("policy", ["add", "clamp"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("body", [b for b, _, _ in FORMS], ids=lambda x: str(Loss(x)))
def test_protected_operators_are_finite_at_their_edges(body: Expr, dtype: torch.dtype, policy: str) -> None:
    """At, beside and beyond the edge: value, gradient and second derivative are finite (those of f^-2 need 1e-7^-6 on
    the way, which float32 does not hold)."""
    loss = apply_policies(loss_of(body), eps=policy)[0]
    z = torch.tensor([0.0, -0.0, 1e-9, -1e-9, 1e-30, 1.0, -1.0, 0.5, 2.0], dtype=dtype, requires_grad=True)
    value = module_of(loss)(z, torch.ones_like(z))
    (slope,) = torch.autograd.grad(value.sum(), z, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), z)
    assert value.isfinite().all() and slope.isfinite().all()
    assert bend.isfinite().all() or (dtype == torch.float32 and body is F ** const(-2))


@pytest.mark.parametrize("policy", ["add", "clamp"])
@pytest.mark.parametrize("body", [b for b, _, _ in FORMS], ids=lambda x: str(Loss(x)))
def test_far_from_the_edge_little_changes(body: Expr, policy: str) -> None:
    """At f = 0.7 and y = 1.3 `clamp` changes nothing, and `add` less than 1e-5 of the value."""
    env = {F: Fraction(7, 10), Y: Fraction(13, 10)}
    before, after = (evaluate(b, env, dps=30) for b in (body, kept(body, policy)))
    assert before == after if policy == "clamp" else abs(before - after) <= mpmath.mpf("1e-5") * abs(before)


@pytest.mark.parametrize("policy", ["add", "clamp"])
def test_a_signed_denominator_has_no_pole(policy: str) -> None:
    """1/b + eps would be infinite at b = -eps. For b through 0 in both directions the value never exceeds 1/eps, has
    the sign of b, and is odd."""
    body = kept(1 / F, policy)
    for k in range(-400, 401):
        b = Fraction(k, 10**9)  # ±4 eps, in hundredths of eps
        value = evaluate(body, {F: b}, dps=30)
        assert abs(value) <= 1 / mpmath.mpf("1e-7") * (1 + mpmath.mpf("1e-20"))
        assert k == 0 or (value > 0) == (k > 0)
        assert k == 0 or mpmath.almosteq(value, -evaluate(body, {F: -b}, dps=30))


SAFE: list[Loss] = [
    loss_of(call("log", 1 + F**2)), loss_of(1 / (1 + call("abs", F))), loss_of(call("log", F) / F, f="positive"),
    loss_of(call("sqrt", F) + F ** const(0.3), f="positive"), loss_of(call("sqrt", call("exp", F) + 1)),
    loss_of(F / param("delta"), delta=1.0), loss_of(call("log", param("delta")) * F, delta=1.0),
    loss_of(F**3 + call("abs", F) ** const(2.5)), loss_of(call("acosh", 2 + F**2) + call("asin", call("tanh", F) / 2)),
    loss_of(call("sin", F) / F), loss_of(F / call("abs", F)), loss_of(call("log1p", F**2) / F * Y),
    *(prepare(named(n)).stable for n in ("cross_entropy", "bce", "label_smoothing", "soft_margin", "cauchy",
                                    "pseudo_huber", "kl_divergence", "geman_mcclure", "poisson_rate")),
]  # fmt: skip


@pytest.mark.parametrize("policy", ["add", "clamp"])
@pytest.mark.parametrize("loss", SAFE, ids=lambda x: x.name + " " + str(x)[:40])
def test_what_is_safe_is_left_alone(loss: Loss, policy: str) -> None:
    """Facts, roles, log-space rewrites and filled holes need no ε; hyper-parameters are the caller's."""
    assert apply_policies(loss, eps=policy)[0] is loss


@pytest.mark.parametrize("policy", ["add", "clamp"])
@pytest.mark.parametrize("body", [b for b, _, _ in FORMS] + [call("plog", F), call("log", F**2 + EPS_NODE)], ids=str)
def test_eps_policies_are_idempotent_and_exchange_each_other(body: Expr, policy: str) -> None:
    """Applying a policy again changes nothing; what one policy wrote for a logarithm or root, the other rewrites."""
    once = kept(body, policy)
    assert kept(once, policy) is once
    other = "clamp" if policy == "add" else "add"
    if body.op in ("log2", "sqrt", "log", "xlogy", "plog", "lgamma"):
        assert kept(once, other) is kept(body, other)


def test_written_protections_take_the_form_of_the_policy() -> None:
    """plog and log(u + eps) are clamped under `clamp`, clog and log(max(u, eps)) shifted under `add`; under `none` all
    stay. A sum with eps whose sign is unknown is not a protection: it is protected itself."""
    shifted, clamped = call("log", F**2 + EPS_NODE), call("log", call("max", F**2, EPS_NODE))
    pairs = [(call("plog", F), call("clog", F)), (call("psqrt", F), call("csqrt", F)), (shifted, clamped)]
    for add, clamp in pairs:
        assert (kept(add, "none"), kept(clamp, "none")) == (add, clamp)
        assert (kept(add, "clamp"), kept(clamp, "add")) == (clamp, add)
        assert (kept(add, "add"), kept(clamp, "clamp")) == (add, clamp)
    u = F + EPS_NODE
    assert kept(call("log", u), "clamp") is call("log", call("max", call("abs", u), EPS_NODE))


@pytest.mark.parametrize("policy", ["add", "clamp"])
def test_the_headline_under_both(policy: str) -> None:
    """abs(log(sqrt(y*f) + eps)): `clamp` is dead below eps, `add` is not; both are finite for one-hot targets."""
    loss = apply_policies(stabilize(named("evomal_a")), eps=policy)[0]
    value, slope = value_and_slope(module_of(loss), column([[0.5, -1.0, 2.0]]), torch.tensor([0]))
    assert value.isfinite().all() and slope.isfinite().all() and slope[0, 0] != 0
    small = loss_of(kept(call("log", NONNEGATIVE), policy))
    _, dead = value_and_slope(module_of(small), column([1e-9]), torch.zeros(1).double())
    assert (dead.item() == 0.0) == (policy == "clamp")


def test_both_policies_together() -> None:
    """The clamp of `eps` is a kink too, and follows `kinks`: at |u| = eps the slope from the right is live, from the
    left dead."""
    for policy, live in (("left", False), ("right", True)):
        loss, applied = apply_policies(loss_of(call("log", NONNEGATIVE)), "clamp", policy)
        assert {a.rule for a in applied} == {"G9", "G10"}
        found = evaluate(differentiate(loss, "f").body, {F: EPS}, dps=DIGITS)
        assert mpmath.almosteq(found, 1 / mpmath.mpf(10) ** -7 if live else 0, abs_eps=1e-12)
