"""Golden values: from the formula as written, through the link, equal to closed forms; and chosen with care."""

from __future__ import annotations

import math
import runpy
from pathlib import Path

import mpmath
import pytest

from lossc.compiler.evaluate import evaluate
from lossc.compiler.ir import F, Y, param
from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.ops import call
from lossc.compiler.passes.differentiate import differentiate
from lossc.compiler.targets.golden import golden
from lossc.compiler.targets.options import Options
from lossc.compiler.targets.torch import emit
from lossc.grammar.library import named, names
from tests.compiler.torch_support import loss_of

ELEMENTWISE = [n for n in names() if named(n).layout != CLASSWISE]
CLASSES = [n for n in names() if named(n).layout == CLASSWISE and "sqrt(y*f)" not in str(named(n))]
"""But for the loss whose closed form is 0 * inf at y = 0: tests/compiler/test_guard.py has it."""


def test_squares() -> None:
    """(y - f)^2 by hand."""
    found = golden(loss_of((Y - F) ** 2))
    for f, y, value, slope in zip(found.inputs, found.targets, found.values, found.gradients, strict=True):
        assert value == pytest.approx((y - f) ** 2, rel=1e-15)
        assert slope == pytest.approx(2 * (f - y), rel=1e-15)


def test_cross_entropy_of_scores() -> None:
    """-y log f with f = softmax(z): values by log-sum-exp, gradients softmax(z) - y, and the labels of the rows."""
    found = golden(Loss(-Y * call("log", F), y="onehot", f="prob"))
    for z, y, value, slope, label in zip(
        found.inputs, found.targets, found.values, found.gradients, found.labels, strict=True
    ):
        total = math.fsum(math.exp(v) for v in z)
        assert value == pytest.approx(math.log(total) - z[label], rel=1e-14)
        assert slope == pytest.approx([math.exp(v) / total - t for v, t in zip(z, y, strict=True)], rel=1e-13)
        assert y.index(1.0) == label


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_gradients_are_the_closed_forms(name: str) -> None:
    """Central differences of 50 digits agree with the derivative pass times the slope of the link, to 1e-14."""
    loss = named(name)
    found = golden(loss)
    assert found.values
    slope = differentiate(loss, "f").body
    for z, y, gradient in zip(found.inputs, found.targets, found.gradients, strict=True):
        with mpmath.workdps(50):
            f = 1 / (1 + mpmath.exp(-z)) if loss.link == "sigmoid" else mpmath.mpf(z)
            through = f * (1 - f) if loss.link == "sigmoid" else 1
            env = {Y: y, F: f, **{param(n): v for n, v in found.hyperparameters.items()}}
            assert gradient == pytest.approx(float(evaluate(slope, env) * through), rel=1e-14, abs=1e-18)


@pytest.mark.parametrize("name", CLASSES)
def test_classwise_gradients_are_the_closed_forms(name: str) -> None:
    """The same along the class axis, through the Jacobian of the softmax."""
    loss = named(name)
    found = golden(loss)
    assert found.values
    slope = differentiate(loss, "f").body
    for z, y, gradient in zip(found.inputs, found.targets, found.gradients, strict=True):
        with mpmath.workdps(50):
            scores = [mpmath.mpf(v) for v in z]
            total = mpmath.fsum(map(mpmath.exp, scores))
            f = [mpmath.exp(v) / total for v in scores] if loss.link == "softmax" else scores
            env = {Y: list(y), F: f, **{param(n): v for n, v in found.hyperparameters.items()}}
            g = evaluate(slope, env, num_classes=3)
            g = g if isinstance(g, list) else [g] * 3
            if loss.link == "softmax":
                mean = mpmath.fsum(a * b for a, b in zip(f, g, strict=True))
                g = [p * (v - mean) for p, v in zip(f, g, strict=True)]
            assert gradient == pytest.approx([float(v) for v in g], rel=1e-14, abs=1e-17)


def test_points_off_the_domain_kinks_and_cancellation_are_not_taken() -> None:
    """log f takes positive f only; |f - 0.7| not its kink; what loses all digits in float32 is no golden value."""
    assert all(f > 0 for f in golden(loss_of(call("log", F))).inputs)
    kink = golden(loss_of(call("abs", F - 0.7)))
    assert kink.inputs and 0.7 not in kink.inputs
    assert golden(loss_of((F + 10**9) - 10**9)).values == ()
    assert golden(loss_of(call("log", -(F**2)))).values == ()


def test_hyperparameters_without_a_default_get_a_value_of_their_role() -> None:
    """The self-test must pass something."""
    loss = Loss(param("a") * F, params=(loss_of(param("a") * F, a=None).params[0],))
    assert golden(loss).hyperparameters == {"a": 1.25}


@pytest.mark.parametrize("name", ["cross_entropy", "bce", "brier", "sparse_lsr"])
@pytest.mark.parametrize("eps", ["none", "add", "clamp"])
@pytest.mark.parametrize("from_logits", [True, False])
def test_files_of_every_policy_test_themselves(
    name: str, eps: str, from_logits: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The golden values are those of the loss as the policies have it, and for models that give probabilities too."""
    source = emit(named(name), options=Options(eps=eps, from_logits=from_logits))
    (tmp_path / "emitted.py").write_text(source, encoding="utf-8")
    runpy.run_path(str(tmp_path / "emitted.py"), run_name="__main__")
    assert "values and gradients equal the reference" in capsys.readouterr().out
