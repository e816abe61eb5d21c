"""Closed forms that JAX and TensorFlow are given: a whole Hessian by a diagonal and outer products, zeros that win."""

from __future__ import annotations

from typing import Any

import mpmath
import pytest

from lossc.compiler.evaluate import evaluate, evaluate_all
from lossc.compiler.ir import Expr, F, Y, node, param, postorder
from lossc.compiler.loss import Loss
from lossc.compiler.targets import emit
from lossc.compiler.targets.pipeline import prepare
from lossc.compiler.targets.products import closed_forms, zeros_kept
from lossc.grammar.library import named

ROW, HOT = (0.4, -1.1, 0.9), [0.0, 1.0, 0.0]


@pytest.mark.parametrize("name", ["focal", "evomal_c", "brier"])
def test_a_whole_hessian(name: str) -> None:
    """H_jk = δ_jk d_j + Σ a_j b_k (j ≠ k): second differences of the loss with 60 digits."""
    stages = prepare(named(name))
    loss = stages.guarded
    forms = closed_forms(stages, "jax")
    assert forms is not None and forms.outer
    with mpmath.workdps(60):
        at: dict[Expr, Any] = {Y: HOT, **{param(p.name): p.default for p in loss.params}}
        found = evaluate_all([forms.diagonal, *forms.second[1:]], {**at, F: list(map(mpmath.mpf, ROW))}, num_classes=3)
        diagonal, *outer = (v if isinstance(v, list) else [v] * 3 for v in found)

        def total(*moves: tuple[int, Any]) -> Any:
            row = list(map(mpmath.mpf, ROW))
            for i, step in moves:
                row[i] += step
            return mpmath.fsum(evaluate(loss.body, {**at, F: row}, num_classes=3))

        h = mpmath.mpf("1e-15")
        for j in range(3):
            for k in range(3):
                true = sum(s * t * total((j, s * h), (k, t * h)) for s in (1, -1) for t in (1, -1)) / (4 * h * h)
                beside = mpmath.fsum(a[j] * b[k] for a, b in zip(outer[::2], outer[1::2], strict=True))
                assert abs((diagonal[j] if j == k else beside) - true) <= 1e-20 * (1 + abs(true)), (j, k)


def test_a_coefficient_of_zero_wins() -> None:
    """q x^(q - 1) is 0 for q = 0, also at x = 0, and the same as before elsewhere; x^(q - 1) alone stays."""
    q, x = param("q"), param("x")
    slope = q * (Y * node("pow", x, q - 1))
    kept = zeros_kept(slope)
    for value in (0.5, 2.0):
        env: dict[Expr, Any] = {q: value, x: 1.5, Y: 3.0}
        assert evaluate(kept, env) == evaluate(slope, env)
    assert evaluate(kept, {q: 0.0, x: 0.0, Y: 3.0}) == 0
    assert zeros_kept((q - 1) * node("pow", x, q)) is (q - 1) * node("pow", x, q)


def test_an_operator_without_a_derivative_is_left_to_the_library() -> None:
    """The second derivative of digamma is not ours: the file has the loss alone, and JAX differentiates it."""
    loss = Loss(node("trigamma", F) * Y, "third", f="positive")
    assert closed_forms(prepare(loss), "jax") is None
    source = str(emit(loss, "jax", selftest=False))
    assert "custom_jvp" not in source and "return _value(" not in source and "out = _value(f, y)" in source
    assert {"trigamma"} <= {n.op for n in postorder(loss.body)}
