"""The filters of a search: what they let through and what they reject, against known losses and closed forms."""

from __future__ import annotations

import math

import pytest
import torch

import lossc
from lossc.runtime.meta.symbolic import Symbolic
from lossc.runtime.search.filters import (
    DEAD,
    FLAT,
    NOT_FINITE,
    UNPROMISING,
    Probe,
    Rejection,
    curve_check,
    dead,
    equivalent,
    gradient,
    make_probe,
    norms,
    promise,
    rejected,
    turns,
)
from lossc.runtime.tasks import get_task

REGRESSION, CLASSES = get_task("diabetes"), get_task("digits")
QUICK = Rejection(steps=300)


def family(text: str, *, classes: bool = False) -> Symbolic:
    """A loss with unit coefficients."""
    loss = lossc.parse(text, y="onehot", f="prob") if classes else lossc.parse(text)
    return Symbolic(loss, spread=0.0)


def probe(kind: Symbolic, *, classes: bool = False) -> Probe:
    """The probe of a task."""
    return make_probe(CLASSES if classes else REGRESSION, kind, 0, rows=60)


def verdict(text: str, *, classes: bool = False) -> str:
    """What gradient check and rejection protocol say."""
    kind = family(text, classes=classes)
    seen = probe(kind, classes=classes)
    phi = kind.initial(0)
    return dead(gradient(kind, phi, seen)) or rejected(kind, phi, seen, QUICK)


@pytest.mark.parametrize(
    ("text", "classes", "expected"),
    [
        ("(y - f)^2", False, ""),
        ("abs(y - f)", False, ""),
        ("psqrt(y - f)", False, ""),
        ("tanh((y - f)^2)", False, ""),
        ("-(y - f)^2", False, UNPROMISING),
        ("(y + f)^2", False, UNPROMISING),
        ("sign(y - f)*y + sign(f)", False, DEAD),
        ("log(f)*y", False, NOT_FINITE),
        ("1/(y - f - y + f)*f", False, NOT_FINITE),
        ("-y*log(f)", True, ""),
        ("(y - f)^2", True, ""),
        ("abs(log(y*f + eps))", True, ""),
        ("y*log(f)", True, UNPROMISING),
        ("sign(y - 2*f)", True, DEAD),
    ],
)
def test_verdicts(text: str, classes: bool, expected: str) -> None:
    """Proper losses pass; ascending, gradient-free and undefined ones are rejected, each for its reason."""
    assert verdict(text, classes=classes) == expected


def test_promise_of_the_squared_error_by_hand() -> None:
    """Minimising (y - f)² over f reaches f = y: the promise is nearly the whole first metric."""
    kind = family("(y - f)^2")
    seen = probe(kind)

    gain = promise(kind, kind.initial(0), seen, Rejection(steps=2000, rate=0.05))

    assert gain == pytest.approx(seen.metric(seen.outputs), rel=1e-6)


def test_promise_does_not_depend_on_the_scale_of_the_loss() -> None:
    """Adam on the predictions sees the shape of a loss: 1,000 times the loss has the same promise."""
    small, large = family("abs(y - f)"), family("1000*abs(y - f)")
    seen = probe(small)

    gains = [promise(k, k.initial(0), seen, QUICK) for k in (small, large)]

    assert gains[0] == pytest.approx(gains[1], rel=1e-3)


def test_a_stricter_threshold_rejects_more() -> None:
    """The threshold of 2022, a gain of 0.6, rejects what 0 lets through."""
    kind = family("tanh((y - f)^2)*0.5")
    seen = probe(kind)
    gain = promise(kind, kind.initial(0), seen, QUICK)

    assert rejected(kind, kind.initial(0), seen, Rejection(300, least=gain + 0.01)) == UNPROMISING
    assert rejected(kind, kind.initial(0), seen, Rejection(300, least=gain - 0.01)) == ""


def test_equal_gradients_are_recognised_and_norms_merge_more() -> None:
    """Losses that differ by a constant, or in form alone, are equivalent; -L is not, but its norms are."""
    one, two, other, turned = (family(t) for t in ("(y - f)^2", "y^2 - 2*y*f + f^2 + 3", "abs(y - f)", "-(y - f)^2"))
    seen = probe(one)
    a, b, c, d = (gradient(k, k.initial(0), seen) for k in (one, two, other, turned))

    assert equivalent(a.tolist(), b.tolist()) and not equivalent(a.tolist(), c.tolist())
    assert not equivalent(a.tolist(), d.tolist())
    assert equivalent(norms(a, seen.outputs).tolist(), norms(d, seen.outputs).tolist())
    assert not equivalent([1.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("a", "b", "same"), [(1.0, 1.04, True), (1.0, 1.06, False), (9.96, 10.04, True), (0.0, 0.0, True)]
)
def test_two_digits_with_a_guard_band(a: float, b: float, same: bool) -> None:
    """Half a unit of the second digit apart is the same, also across a rounding edge."""
    assert equivalent([a], [b]) == same


def test_curves_of_classification_losses() -> None:
    """Cross-entropy falls to p = 1 without a turn; a loss with its minimum at 1/2, and a flat one, are rejected."""
    ce = family("-sum_c(y*log(f))", classes=True)
    lowest, turned, flat = turns(ce, ce.initial(0))
    assert (turned, flat) == (0, 0.0) and lowest == pytest.approx(0.995)
    assert curve_check(ce, ce.initial(0)) == ""
    half = family("sum_c(y*(f - 0.5)^2)", classes=True)
    assert curve_check(half, half.initial(0)) == UNPROMISING
    level = family("sum_c(y*max(0.6 - f, 0))", classes=True)
    assert curve_check(level, level.initial(0)) == FLAT


def test_probe_is_the_same_for_every_loss() -> None:
    """Equal seeds give equal predictions, whatever the loss; torch's stream is left alone."""
    state = torch.random.get_rng_state()
    one, two = probe(family("(y - f)^2")), probe(family("abs(y - f)"))

    assert torch.equal(one.outputs, two.outputs) and torch.equal(one.raw, two.raw)
    assert torch.equal(state, torch.random.get_rng_state())
    assert math.isfinite(one.metric(one.outputs))
