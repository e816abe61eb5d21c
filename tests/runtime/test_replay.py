"""What refutes a property stands in torch, and what does not is no refutation."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from lossc.compiler.analysis.verdicts.judge import judge
from lossc.compiler.analysis.verdicts.verdict import GRADIENT, HESSIAN, SCORES, VALUE, Witness
from lossc.compiler.loss import Loss
from lossc.grammar import parse
from lossc.grammar.library import named
from lossc.runtime.replay import replay, replayed


@pytest.mark.parametrize(
    ("loss", "point", "quantity", "entry", "expected"),
    [
        (named("mse"), {"y": 1.0, "f": 3.0}, VALUE, 0, 4.0),
        (named("mse"), {"y": 1.0, "f": 3.0}, GRADIENT, 0, 4.0),
        (named("mse"), {"y": 1.0, "f": 3.0}, HESSIAN, 0, 2.0),
        (named("cross_entropy"), {"y": (0.0, 1.0), "f": (0.75, 0.25)}, VALUE, 0, math.log(4)),
        (named("cross_entropy"), {"y": (0.0, 1.0), "f": (0.75, 0.25)}, GRADIENT, 1, -4.0),
        (named("cross_entropy"), {"y": (0.0, 1.0), SCORES: (0.0, 0.0)}, GRADIENT, 1, -0.5),
        (named("cross_entropy"), {"y": (0.0, 1.0), SCORES: (0.0, 0.0)}, HESSIAN, 0, 0.25),
        (named("cross_entropy"), {"y": 1.0, "f": 0.25}, GRADIENT, 0, -4.0),
    ],
)
def test_the_numbers_are_those_of_the_formula(
    loss: Loss, point: dict[str, float], quantity: str, entry: int, expected: float
) -> None:
    """Value, gradient and second derivative of predictions, of rows of them, and of scores."""
    witness = Witness((point,), quantity, (expected,), "equal", entry=entry)
    assert replay(loss, witness) == [pytest.approx(expected, rel=1e-14)]


def test_a_dtype_is_kept() -> None:
    """The second power of 1e25 is no float32."""
    witness = Witness(({"y": 0.0, "f": 1e25},), VALUE, (math.inf,), "not finite", dtype="float32")
    assert replay(named("mse"), witness) == [math.inf]
    assert replay(named("mse"), replace(witness, dtype="")) == [pytest.approx(1e50)]


def test_what_does_not_replay_is_unknown() -> None:
    """Right refutations stay, and one with a wrong number does not; what is proved is not asked."""
    told = judge(named("cauchy"))
    assert replayed(told).found == told.found
    witness = told["convex"].witness
    assert witness is not None
    wrong = replace(witness, points=tuple({"y": 0.0, "f": 0.1} for _ in witness.points))
    found = dict(told.found) | {"convex": replace(told["convex"], witness=wrong)}
    after = replayed(replace(told, found=found))
    assert after["convex"].status == "unknown" and "torch gives" in after["convex"].because
    assert after["nonnegative"] == told["nonnegative"]


@pytest.mark.parametrize("text", ["sqrt(abs(y*f)) + f^2", "abs(y - f)^1.5/(1 + abs(f))", "log(abs(f - y) + 1e-12)",
                                  "where(f > y, (f - y)^2, abs(f - y))", "(y - f)/(1e-30 + f^2)"])  # fmt: skip
def test_refutations_in_floating_point_replay(text: str) -> None:
    """The emulation of a dtype and of reverse mode is what torch does."""
    told = judge(parse(text), timeout=8)
    after = replayed(told)
    assert {n: after[n].status for n in told} == {n: told[n].status for n in told}
