"""The V rules: equal on the reals at 60 digits, and right where the naive form fails (numerics.md, 6b)."""

from __future__ import annotations

import random
from collections.abc import Iterator

import mpmath
import numpy as np
import pytest

from lossc.compiler.evaluate import evaluate
from lossc.compiler.float32 import evaluate32, ulps
from lossc.compiler.ir import F, Y, param, substitute
from lossc.compiler.passes.rewrite import A, B, Rule
from lossc.compiler.passes.stabilize import RULES, stabilize, stabilize_report
from lossc.compiler.sampling import Points
from lossc.grammar import parse

DIGITS = 60
ALL_POSITIVE = ("V18", "V25")
"""Rules whose condition makes both wildcards positive; the others hold wherever their left side is defined."""


@pytest.fixture(autouse=True)
def _precision() -> Iterator[None]:
    """All mpmath arithmetic of these tests in 60 digits."""
    with mpmath.workdps(DIGITS):
        yield


def drawn(rng: random.Random, positive: bool) -> mpmath.mpf:
    """Float-uniform, log-uniform, integer, boundary and special values."""
    size = rng.choice([
        mpmath.mpf(rng.uniform(0, 5)), mpmath.mpf(10) ** rng.uniform(-12, 2), mpmath.mpf(rng.randint(0, 5)),
        mpmath.mpf(1), mpmath.mpf(2) ** -149, mpmath.mpf("0.5"),
    ])  # fmt: skip
    return max(size, mpmath.mpf(10) ** -40) if positive else rng.choice([size, -size])


@pytest.mark.parametrize("rule", RULES, ids=lambda r: f"{r.id}-{r.after!r}")
def test_rule_is_an_identity(rule: Rule) -> None:
    """Wherever the left side is defined the right side has its value, to 25 digits, on five kinds of samples."""
    rng = random.Random(rule.id)
    before, after = (substitute(side, {A: F, B: Y}) for side in (rule.before, rule.after))
    seen = 0
    for _ in range(400):
        positive = rule.id in ALL_POSITIVE
        env = {leaf: [drawn(rng, positive) for _ in range(3)] for leaf in (F, Y)}
        left, right = (evaluate(side, env, num_classes=3) for side in (before, after))
        for a, b in zip(left, right, strict=True):
            if mpmath.isfinite(a) and abs(a) < mpmath.mpf(10) ** 30:
                seen += 1
                assert abs(a - b) <= mpmath.mpf(10) ** -20 * (mpmath.mpf(10) ** -20 + abs(a)) + mpmath.mpf(10) ** -38
    assert seen > 100


TARGET = 10_000.0
FAILS = [  # id, formula, role of f, and an f at which the naive form is wrong in float32 (numerics.md, 6b)
    ("V1", "log(1 + f)", "real", 1e-8),
    ("V2", "exp(f) - 1", "real", 1e-8),
    ("V3", "log(1 + exp(f))", "real", 100.0),
    ("V3", "log(1 + exp(f))", "real", -20.0),
    ("V4", "log(sigmoid(f))", "real", -100.0),
    ("V5", "log(1 - sigmoid(f))", "real", 20.0),
    ("V6", "1 - sigmoid(f)", "real", 20.0),
    ("V7", "1/(1 + exp(-f))", "real", -100.0),
    ("V7", "exp(f)/(1 + exp(f))", "real", 100.0),
    ("V8", "(exp(f) - exp(-f))/(exp(f) + exp(-f))", "real", 100.0),
    ("V9", "1 - tanh(f)^2", "real", 10.0),
    ("V13", "log(1 - exp(f))", "real", -1e-8),
    ("V13", "log(1 - exp(f))", "real", -20.0),
    ("V16", "log(cosh(f))", "real", 100.0),
    ("V16", "log(cosh(f))", "real", 1e-4),
    ("V17", "sqrt(1 + f^2) - 1", "real", 1e-4),
    ("V17", "1 - sqrt(1 + f^2)", "real", 1e-4),
    ("V20", "1 - exp(-f^2)", "real", 1e-4),
    ("V23", "y^2 - f^2", "real", 9999.999),
    ("V24", "y^2 - 2*y*f + f^2", "real", 9999.999),
    ("V27", "1 - erf(f)", "real", 4.0),
    ("V28", "1 - cos(f)", "real", 1e-4),
    ("V19", "log(1 + f^2)", "real", 1e-5),
]


@pytest.mark.parametrize(("rule", "formula", "role", "at"), FAILS, ids=[f"{r}-{t}-{x}" for r, t, _, x in FAILS])
def test_stable_where_the_naive_form_fails(rule: str, formula: str, role: str, at: float) -> None:
    """In float32, at the failing input of numerics.md, the stable form is within 8 ulp and the naive one is not."""
    loss = parse(formula, f=role)
    point = float(np.float32(at))
    points = Points({F: (point,), Y: (TARGET,)}, ("special",))
    true = np.array([float(evaluate(loss.body, {F: point, Y: TARGET}))])
    naive, stable = (ulps(v, true)[0] for v in evaluate32([loss.body, stabilize(loss).body], points))
    assert stable <= 8
    assert not naive <= 8


def test_stabilize_is_idempotent_and_says_what_it_did() -> None:
    """A second run changes nothing, and the report names the rules."""
    loss = parse("log(1 + exp(-y*f)) + sqrt(1 + (y - f)^2) - 1")
    once, applied = stabilize_report(loss)
    assert {a.rule for a in applied} >= {"V3", "V17"}
    again, nothing = stabilize_report(once)
    assert again.body is once.body
    assert not nothing


def test_conditions_are_respected() -> None:
    """log(a/b) is split only where both are known to be positive."""
    assert stabilize(parse("log(y/f)")).body is parse("log(y/f)").canonicalize().body
    split = stabilize(parse("log(y/f)", y="positive", f="positive"))
    assert split.body is parse("log(y) - log(f)").canonicalize().body


@pytest.mark.parametrize("name", ["sparse_lsr", "focal_sparse_lsr"])
@pytest.mark.parametrize("margin", [0.5, 18.0, 100.0, 1e4])
def test_sparse_label_smoothing_is_finite(name: str, margin: float) -> None:
    """log(1 - softmax) of an almost certain target is finite in float32, value and gradient, and right (V13)."""
    import torch

    from lossc.grammar.library import named

    loss = named(name)
    scores = [margin, 0.0, -0.25]
    logits = torch.tensor([scores], requires_grad=True)
    value = loss.to_torch(reduction="none")(logits, torch.tensor([0]))
    value.sum().backward()
    with mpmath.workdps(5000):
        exponentials = [mpmath.exp(mpmath.mpf(s)) for s in scores]
        p = [v / mpmath.fsum(exponentials) for v in exponentials]
    params = {param(q.name): q.default for q in loss.params}
    true = mpmath.fsum(evaluate(loss.body, {F: p, Y: [1, 0, 0], **params}, num_classes=3, dps=5000))
    assert abs(float(value) - true) <= 1e-5 * (1 + abs(true))
    assert torch.isfinite(logits.grad).all()
