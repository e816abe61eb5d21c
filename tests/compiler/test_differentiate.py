"""Derivatives in closed form against mpmath's numerical ones, and against the formulas printed in the thesis."""

from __future__ import annotations

from fractions import Fraction

import mpmath
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from lossc.compiler import ops
from lossc.compiler.errors import LossTypeError, UsageError
from lossc.compiler.evaluate import evaluate
from lossc.compiler.ir import Expr, F, Y, const, node, param, postorder
from lossc.compiler.loss import CLASSWISE, Loss, Parameter
from lossc.compiler.passes.differentiate import differentiate
from lossc.grammar import parse
from tests.strategies import environments, exprs

DIGITS = 60
SMOOTH = tuple(
    r.name
    for r in ops.OPS.values()
    if r.arity and r.gives == ops.REAL_KIND and r.name not in ("trigamma", "digamma", "lgamma", "where", "max_c")
)


def total(loss: Loss, env: dict[Expr, object], count: int) -> mpmath.mpf:
    """The loss of one sample: the sum over the classes, or the one value of a body that reduces itself."""
    value = evaluate(loss.body, env, num_classes=count)
    if loss.layout != "classwise" or loss.reduces_itself:
        return value[0] if isinstance(value, list) else value
    return mpmath.fsum(value) if isinstance(value, list) else count * value


def smooth_at(body: Expr, env: dict[Expr, object], count: int) -> bool:
    """Whether no operator is near a kink or the edge of its domain at this point."""
    for here in postorder(body):
        record = ops.OPS.get(here.op)
        for gap in (*record.kinks(*here.args), *record.singular(*here.args)) if record else ():
            value = evaluate(gap, env, num_classes=count)
            if any(abs(v) < mpmath.mpf("1e-3") for v in (value if isinstance(value, list) else [value])):
                return False
    return True


@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_derivative_agrees_with_mpmath(data: st.DataObject) -> None:
    """dL/df, dL/dy and dL/dparam equal mpmath's numerical derivative to 15 digits, along the classes too."""
    axis = data.draw(st.booleans())
    body = data.draw(exprs(names=SMOOTH, params=("delta",), class_axis=axis, total=True, max_leaves=7))
    loss = Loss(body, params=(Parameter("delta", "positive"),))
    classwise = loss.layout == CLASSWISE
    count = 3 if classwise else 1
    env = data.draw(environments(loss, num_classes=3 if classwise else None))
    wrt = data.draw(st.sampled_from(["f", "y", "delta"]))
    with mpmath.workdps(DIGITS):
        assume(smooth_at(body, env, count))
        leaf = {"f": F, "y": Y, "delta": param("delta")}[wrt]
        ours = evaluate(differentiate(loss, wrt).body, env, num_classes=count)
        slots = range(3) if classwise and wrt != "delta" else range(1)
        for j in slots:

            def along(t: object, j: int = j) -> object:
                value = env[leaf]
                moved = [*value[:j], t, *value[j + 1 :]] if isinstance(value, list) else t
                return total(loss, {**env, leaf: moved}, count)

            start = env[leaf][j] if isinstance(env[leaf], list) else env[leaf]
            true = mpmath.diff(along, mpmath.mpf(start.numerator) / start.denominator, h=mpmath.mpf(10) ** -25)
            got = ours
            if isinstance(ours, list):
                got = (
                    mpmath.fsum(ours)
                    if wrt == "delta" and loss.layout == "classwise" and not loss.reduces_itself
                    else ours[j]
                )
            elif wrt == "delta" and loss.layout == "classwise" and not loss.reduces_itself:
                got = 3 * ours
            assert abs(got - true) <= mpmath.mpf(10) ** -15 * (1 + abs(true)), f"d/d{wrt} of {loss}: {got}, not {true}"


TABLE_1_1 = [
    ("(y - f)^2", "2*(y - f)"),
    ("delta^2*(sqrt(1 + ((y - f)/delta)^2) - 1)", "(y - f)/sqrt((y - f)^2/delta^2 + 1)"),
    ("log(1 + 0.5*((y - f)/delta)^2)", "2*(y - f)/(2*delta^2 + (y - f)^2)"),
    ("(y - f)^2/(delta + (y - f)^2)", "2*delta*(y - f)/(delta + (y - f)^2)^2"),
    ("delta^2/2*(1 - exp(-(y - f)^2/(2*delta^2)))", "0.5*(y - f)*exp(-(y - f)^2/(2*delta^2))"),
]


@pytest.mark.parametrize(("formula", "printed"), TABLE_1_1)
def test_table_1_1(formula: str, printed: str) -> None:
    """The derivatives by the residual e = y - f of Table 1.1; it prints a factor 1/delta too many for pseudo-Huber."""
    loss = parse(formula, params={"delta": 1.5})
    closed, table = differentiate(loss, "y"), parse(printed, params={"delta": 1.5})
    for y, f in [(0.3, -1.2), (2.0, 0.5), (-1.0, 1.0)]:
        env = {Y: y, F: f, param("delta"): 1.5}
        assert abs(evaluate(closed.body, env, dps=40) - evaluate(table.body, env, dps=40)) < mpmath.mpf(10) ** -30


def test_absolute_cross_entropy() -> None:
    """Eq. 4.10: -dL/df of y*|log(phi1*f)| is -y*log(phi1*f)/(f*|log(phi1*f)|)."""
    loss = parse("y*abs(log(phi1*f))", y="onehot", f="prob", params={"phi1": 1.1})
    for f in (0.1, 0.5, 0.95):
        env = {Y: [1, 0], F: [f, 1 - f], param("phi1"): 1.1}
        ours = evaluate(differentiate(loss).body, env, num_classes=2, dps=40)
        log = mpmath.log(mpmath.mpf("1.1") * f)
        assert abs(ours[0] - log / (f * abs(log))) < 1e-14
        assert ours[1] == 0


def test_softmax_cross_entropy() -> None:
    """The gradient of cross-entropy by the logits is softmax(f) - y, and its Hessian diagonal p(1 - p)."""
    for text in ("-y*log_softmax(f)", "-sum_c(y*log_softmax(f))", "-y*log(softmax(f))"):
        loss = parse(text, y="onehot", f="logit")
        assert differentiate(loss).body is parse("softmax(f) - y", y="onehot", f="logit").canonicalize().body
        p = node("softmax", F)
        assert differentiate(loss, order=2).body is loss.with_body(p - p**2).canonicalize().body


def test_hessian_diagonal_of_a_coupled_loss() -> None:
    """∂²L/∂f_j² of a loss with two reductions equals mpmath's second difference at every class."""
    loss = parse("logsumexp_c(f^2)*sum_c(y*sin(f)) + f*mean_c(f*y)", y="real", f="real")
    hessian = differentiate(loss, "f", order=2)
    scores, targets = [0.3, -0.8, 1.1], [0.5, 1.5, -0.7]
    with mpmath.workdps(DIGITS):
        ours = evaluate(hessian.body, {F: scores, Y: targets}, num_classes=3)
        for j in range(3):

            def along(t: object, j: int = j) -> object:
                return total(loss, {F: [*scores[:j], t, *scores[j + 1 :]], Y: targets}, 3)

            assert abs(ours[j] - mpmath.diff(along, scores[j], 2)) < mpmath.mpf(10) ** -20


@pytest.mark.parametrize(
    ("text", "at", "slope"),
    [
        ("abs(f)", 0, 0),
        ("relu(f)", 0, 0),
        ("max(f, 0)", 0, mpmath.mpf(1) / 2),
        ("clamp(f, 0, 1)", 0, 1),
        ("sign(f)", 0, 0),
    ],
)
def test_subgradients_at_kinks(text: str, at: float, slope: object) -> None:
    """At a kink the derivative is the record's subgradient, torch's wherever torch has one (G10)."""
    assert evaluate(differentiate(parse(text)).body, {F: at, Y: 0}) == slope


def test_where_keeps_bad_branches_out() -> None:
    """The derivative of where(f > 0, log(f), 0) is 0, not NaN, where f <= 0 (G3)."""
    loss = differentiate(parse("where(f > 0, log(f), 0)"))
    assert evaluate(loss.body, {F: 0, Y: 0}) == 0
    assert evaluate(loss.body, {F: 2, Y: 0}) == 0.5


def test_refusals() -> None:
    """Unknown names and orders, and operators without a derivative, are clear errors."""
    with pytest.raises(UsageError, match="no hyper-parameter"):
        differentiate(parse("(y - f)^2"), "delta")
    with pytest.raises(UsageError):
        differentiate(parse("(y - f)^2"), "f", order=3)
    with pytest.raises(LossTypeError):
        differentiate(Loss(node("trigamma", F) + const(1)), "f")


def test_the_exponent_of_a_slope_may_be_too_long_to_write() -> None:
    """x^p with p about 1e-292, where p - 1 has more digits than a constant may have: p*x^(p - 1) all the same."""
    p = Fraction(123456789, 10**300)
    slope = differentiate(Loss(F ** const(p), f="positive"), "f").body
    with mpmath.workdps(400):
        exact = mpmath.mpf(p.numerator) / p.denominator
        wanted = exact * mpmath.mpf(2) ** (exact - 1)
        assert abs(evaluate(slope, {F: 2}, dps=400) / wanted - 1) < mpmath.mpf(10) ** -390
