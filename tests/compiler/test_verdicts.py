"""Verdicts: traits that the literature states, values in closed form, an independent attack, losses that are odd.

`benchmarks/verdicts.py` attacks every verdict at 100,000 points; here it is done at a few hundred.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings

from benchmarks.verdicts import attack
from lossc.compiler.analysis.properties_page import properties_page
from lossc.compiler.analysis.verdicts.catalogue import PROPERTIES
from lossc.compiler.analysis.verdicts.judge import Verdicts, judge
from lossc.compiler.analysis.verdicts.verdict import PROVED, REFUTED, UNKNOWN
from lossc.compiler.errors import UsageError
from lossc.compiler.ir import const
from lossc.compiler.loss import Loss
from lossc.grammar import parse
from lossc.grammar.library import named, named_losses
from tests.strategies import losses

PAGE = Path(__file__).parents[2] / "docs" / "properties.md"
_COLUMNS = (
    "convex", "strictly-convex", "strongly-convex", "lipschitz", "C1", "C2", "distance", "margin", "symmetric",
    "calibrated", "robust",
)  # fmt: skip
_TRAITS = """
mse                 y y y n y y y . y . n
l2                  y y y n y y y . y . n
mae                 y n n y n n y . y . y
huber               y n n y y n y . y . y
smooth_l1           y n n y y n y . y . y
log_cosh            y y n y y y y . y . y
pseudo_huber        y y n y y y y . y . y
charbonnier         y y n y y y y . y . y
quantile            y n n y n n y . y . y
expectile           y y y n y y y . y . n
cauchy              n n n y y y y . y . y
geman_mcclure       n n n y y y y . y . y
welsch              n n n y y y y . y . y
tukey               n n n y y y y . y . y
student_t           n n n y y y y . y . y
hinge               y n n y n n . y . y y
squared_hinge       y n n n y n . y . y n
soft_margin         y y n ? y y . y . y ?
exponential         y y n n y y . y . y ?
perceptron          y n n y n n . y . n y
savage              n n n y y y . y . y y
"""
"""Of twenty-one classical losses, at their defaults (LossFunctions.jl; Bartlett et al. 2006; Huber 1981): y or n, a dot
where the trait does not apply, ? where no answer is asked for. At tau = 0.5 quantile and expectile are symmetric."""


@pytest.fixture(scope="module")
def told() -> dict[str, Verdicts]:
    """Verdicts on all named losses."""
    return {name: judge(loss) for name, loss in named_losses().items()}


@pytest.mark.parametrize("row", _TRAITS.strip().splitlines(), ids=lambda row: row.split()[0])
def test_traits_of_classical_losses(told: dict[str, Verdicts], row: str) -> None:
    """Every trait that is stated by hand."""
    name, *traits = row.split()
    answers = {PROVED: "y", REFUTED: "n", UNKNOWN: "?"}
    for column, trait in zip(_COLUMNS, traits, strict=True):
        verdict = told[name].found.get(column)
        if trait == ".":
            assert verdict is None, column
        elif trait != "?":
            assert verdict is not None and answers[verdict.status] == trait, (column, verdict)


def test_nine_of_ten_are_decided(told: dict[str, Verdicts]) -> None:
    """Of named losses x properties that apply; and each refutation has a witness whose relation holds."""
    every = [v for verdicts in told.values() for v in verdicts.found.values()]
    assert sum(v.decided for v in every) >= 0.95 * len(every)
    assert all(v.because for v in every)
    assert all(v.witness is not None and v.witness.holds() for v in every if v.status == REFUTED)


def test_the_page_of_properties_is_what_the_engine_says(told: dict[str, Verdicts]) -> None:
    """docs/properties.md is generated: `lossc analyze --all --markdown docs/properties.md`."""
    assert PAGE.read_text("utf-8") == properties_page(told.values())


@pytest.mark.parametrize("name", sorted(named_losses()))
def test_no_verdict_is_wrong(told: dict[str, Verdicts], name: str) -> None:
    """The independent attack finds nothing, and torch replays every witness."""
    assert attack(named(name), told[name], 300, seed=1) == []


def test_constants_in_closed_form() -> None:
    """Moduli, Lipschitz constants and bounds that are known."""
    huber = judge(named("huber").with_defaults(delta="2.5"))
    assert float(huber["lipschitz"].value) == 2.5 and float(huber["smooth"].value) == 1
    assert float(judge(named("mse"))["strongly-convex"].value) == 2
    assert float(judge(named("charbonnier"))["smooth"].value) == pytest.approx(1000)
    assert float(judge(named("log_cosh"))["smooth"].value) == 1
    assert float(judge(named("quantile").with_defaults(tau="0.8"))["lipschitz"].value) == pytest.approx(0.8)
    assert float(judge(named("brier"))["strongly-convex"].value) == 2
    assert (
        judge(named("mape"))["homogeneous"].status != REFUTED and judge(named("evomal_j"))["homogeneous"].value == "1/2"
    )
    assert judge(named("quantile").with_defaults(tau="0.8"))["median-consistent"].status == REFUTED


def test_the_thesis_on_chapter_four(told: dict[str, Verdicts]) -> None:
    """Absolute cross-entropy has a kink at 1/φ1 and is least there (eq. 4.24); KL is a divergence; CE is proper."""
    ace = judge(named("ace_phi").with_defaults(phi1="1.25"))
    assert ace["C1"].status == REFUTED and ace["C1"].value == "4/5"
    assert ace["minimum-at-target"].status == ace["convex"].status == REFUTED
    assert told["cross_entropy"]["proper"].status == told["ace"]["proper"].status == PROVED
    assert told["mae_classes"]["proper"].status == told["focal"]["proper"].status == REFUTED
    assert told["kl_divergence"]["nonnegative"].status == PROVED
    assert told["cross_entropy_logits"]["convex"].status == PROVED
    assert told["cross_entropy"]["convex-in-scores"].status == PROVED


def test_what_cancels_is_not_taken_for_zero() -> None:
    """cosh^2 - sinh^2 = 1, of which hundreds of digits show nothing far out; SymPy does."""
    loss = parse("(y - f)^2*(cosh(f)^2 - sinh(f)^2)")
    alone = judge(loss, sympy=False)
    assert {alone[p].status for p in ("convex", "strongly-convex", "gradient-sign")} == {UNKNOWN}
    found = judge(loss, names=["convex", "strictly-convex", "strongly-convex", "gradient-sign", "mean-consistent"])
    assert not found.of(REFUTED)
    assert found["convex"].status == found["gradient-sign"].status == PROVED
    assert "SymPy" in found["convex"].because


def test_a_jump_away_from_the_target_is_not_right() -> None:
    """The slope is 0 everywhere, but L falls from 1 to -1 where |y - f| exceeds 1/e."""
    found = judge(parse("sign(plog(plog(y - f)))"), names=["gradient-sign", "minimum-at-target"], sympy=False)
    assert PROVED not in {v.status for v in found.found.values()}


def test_scaling_and_moving_keep_verdicts() -> None:
    """3 L + 2 has the properties of L, but for its sign and its values at 0."""
    for name in ("huber", "cauchy", "hinge", "focal"):
        loss = named(name)
        changed = judge(loss.with_body(const(3) * loss.body + 2))
        for p, verdict in judge(loss).found.items():
            if p not in ("nonnegative", "homogeneous") and verdict.decided and changed[p].decided:
                assert changed[p].status == verdict.status, (name, p)


def test_a_sign_flipped_is_seen() -> None:
    """-L is concave, unbounded below, and leads away from the target."""
    for name in ("mse", "huber", "log_cosh"):
        loss = named(name)
        found = judge(loss.with_body(-loss.body))
        for p in ("convex", "nonnegative", "bounded-below", "gradient-sign", "minimum-at-target"):
            assert found[p].status == REFUTED, (name, p)


def test_faults_and_repairs_are_named() -> None:
    """The part of the formula that fails, and what helps."""
    found = judge(parse("log(1 + exp(f))", f="logit"))
    assert found["finite-value"].status == REFUTED and "exp(f)" in found["finite-value"].fault
    assert "softplus" in found["finite-value"].repair
    found = judge(parse("abs(log(sqrt(y*f) + eps))", y="onehot", f="prob"))
    assert found["autograd-gradient"].status == REFUTED and found["autograd-gradient"].fault == "sqrt(y*f)"


@pytest.mark.parametrize(
    "text",
    ["3", "y", "f", "log(-1 - (y - f)^2)", "where(f > 0, 1, 2)", "1/(y - f)", "tan(f)", "1e300*(y - f)^2",
     "exp(exp(exp(f)))", "abs(y - f)^0.001", "sign(f)", "clamp(f, -1, 1)", "max(abs(f), 1)", "log(abs(f))", "f^3 - f",
     "(f - 1)*(f - 2)*abs(f)"],
)  # fmt: skip
def test_odd_losses_get_right_verdicts(text: str) -> None:
    """No traceback, within the time, and nothing wrong."""
    loss = parse(text)
    began = time.monotonic()
    assert attack(loss, judge(loss, timeout=8), 200) == []
    assert time.monotonic() - began < 20


@given(losses())
@settings(max_examples=8, deadline=None)
def test_random_losses_get_verdicts(loss: Loss) -> None:
    """Whatever the formula: no traceback, every verdict has its reason, and every witness shows what is said of it."""
    loss = loss.with_defaults(**{p.name: "1" for p in loss.params if p.default is None and p.role != "sign"})
    told = judge(loss, timeout=1.5)
    assert set(told.found) <= {p.name for p in PROPERTIES}
    assert all(v.because for v in told.found.values())
    assert all(v.witness is None or v.witness.holds() for v in told.found.values())


def test_calls_that_cannot_be() -> None:
    """Unknown properties, boxes, dtypes, classes and free hyper-parameters are refused with a code."""
    for kwargs, code in (
        ({"names": ["nice"]}, "L209"), ({"box": {"f": (1.0, 0.0)}}, "L209"), ({"dtype": "int8"}, "L235"),
        ({"classes": 1}, "L207"),
    ):  # fmt: skip
        with pytest.raises(UsageError) as caught:
            judge(named("mse"), **kwargs)  # type: ignore[arg-type]
        assert caught.value.diagnostic.code == code
