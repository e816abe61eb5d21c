"""Code that overwrites its temporaries: the values of code that does not, and a result that has its full size."""

from __future__ import annotations

import ast
import math
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lossc.compiler.errors import LosscError
from lossc.compiler.ir import Expr
from lossc.compiler.loss import Loss, Parameter
from lossc.compiler.targets.closed_form import in_parts, value_only
from lossc.compiler.targets.inplace import fills, overwrite, shared
from lossc.compiler.targets.kernel import build_kernel
from lossc.compiler.targets.lowering import lower
from lossc.compiler.targets.options import Options
from lossc.compiler.targets.scalars import POWER_HELPER
from lossc.compiler.targets.torch import TORCH, emit
from lossc.compiler.targets.torch_fused import SELECT
from lossc.compiler.targets.torch_names import FILE_NAMES
from lossc.grammar import parse
from lossc.grammar.library import named, names
from tests.strategies import PARAMS, exprs

FUSED, PLAIN = Options(fused=True), Options(fused=False)
C = 3


def run_lines(lines: list[str], results: list[str], y: Tensor, f: Tensor) -> tuple[Any, ...]:
    """The values that three-address code computes."""
    body = "".join(f"    {line}\n" for line in [*lines, f"return {', '.join(results)},"])
    head = f"from __future__ import annotations\n{SELECT}\n{POWER_HELPER}\n"
    space: dict[str, Any] = {"torch": torch, "math": math, "Tensor": Tensor}
    exec(f"{head}def kernel(y, f, alpha, delta, gamma, dim, num_classes):\n{body}", space)  # noqa: S102  our own text
    found: tuple[Any, ...] = space["kernel"](y, f, 1.5, -0.5, 2.0, 1, C)
    return found


def compared(one: Expr, other: Expr, batch: int = 5) -> None:
    """Both values by the lines as printed, and as rewritten: the same, with y and f untouched."""
    params = tuple(Parameter(p, "real", Fraction(1)) for p in PARAMS)
    loss, more = (lower(Loss(e, "drawn", "real", "real", params)) for e in (one, other))
    try:
        kernel = build_kernel(loss, {"y": "y", "f": "f", **{p: p for p in PARAMS}}, TORCH, more.body)
    except LosscError:
        return
    torch.manual_seed(3)
    y, f = torch.randn(batch, C, dtype=torch.float64), torch.randn(batch, C, dtype=torch.float64)
    expected = run_lines(kernel.lines, kernel.results, y, f)
    lines, results = shared(kernel.lines, kernel.results)
    lines = [line.replace("torch.where(", "_select(") for line in lines]
    mine = (y.clone(), f.clone())
    got = run_lines(overwrite(lines, results, ["y", "f"]), results, *mine)
    assert torch.equal(mine[0], y) and torch.equal(mine[1], f)
    for result, a, b in zip(results, expected, got, strict=True):
        if fills(lines, result, ["y", "f"]):
            assert b.shape == f.shape
        if isinstance(a, Tensor):
            assert a.shape == b.shape
            assert torch.allclose(a.double(), b.double(), rtol=1e-9, atol=1e-300, equal_nan=True)


@settings(max_examples=300)
@given(exprs(exotic=False), exprs(exotic=False), st.booleans())
def test_overwriting_changes_no_value(one: Expr, other: Expr, parts: bool) -> None:
    """For any two formulas that share a kernel, code that overwrites gives the values of code that does not."""
    if parts:
        one, other = in_parts(value_only(one)), in_parts(value_only(other))
    compared(one, other)


@pytest.mark.parametrize("batch", [5, 1500])
@pytest.mark.parametrize(
    "text",
    [
        "where(sum_c(f) > 0, sum_c(f)^2, 1)*y*exp(f)",
        "exp(where(sum_c(f) > sum_c(y), max_c(f), 1))*f + y",
        "sign(delta)*sin(f) + sign(alpha - gamma)",
        "where(delta > 0, f, f^2)^2*y",
        "where(alpha > delta, digamma(gamma), 1)^2*f",
        "where(digamma(gamma) > 0, digamma(alpha), 2)*exp(f)",
    ],
)
def test_rows_numbers_and_truths_are_not_overwritten(text: str, batch: int) -> None:
    """What is smaller than a value an element, or may be, or is a condition, is no place for one."""
    body = parse(text, params=dict.fromkeys(PARAMS, 1.0)).body
    compared(body, body * body, batch)


@pytest.mark.parametrize("delta", [1.0, -1.0])
@pytest.mark.parametrize(
    "text",
    ["digamma(delta + 3)*f", "digamma(delta + 3)*(f + y)", "where(delta > 0, f, f^2)*2",
     "where(digamma(delta + 2.5) > 0, f, y + 2*f)", "where(delta > 0, 1, f)^2*f"],
)  # fmt: skip
def test_gradients_that_are_one_number(text: str, delta: float) -> None:
    """A slope that is the same everywhere is spread over the whole gradient."""
    loss = parse(text, params={"delta": 1.0})
    torch.manual_seed(4)
    f, y = torch.randn(50, requires_grad=True), torch.randn(50)
    assert "class _Sum" in emit(loss, options=FUSED)
    slopes = [torch.autograd.grad(loss.to_torch("sum", options=o, delta=delta)(f, y), f)[0] for o in (FUSED, PLAIN)]
    assert torch.allclose(*slopes)


@pytest.mark.parametrize("name", names())
def test_names_of_the_file_are_reserved(name: str) -> None:
    """No hyper-parameter gets a name that a function of the file, which may have it, assigns or takes."""
    loss = named(name)
    own = {p.name for p in loss.params}
    for options in (FUSED, PLAIN):
        for function in ast.walk(ast.parse(emit(loss, selftest=False, options=options))):
            if isinstance(function, ast.FunctionDef) and function.name != "_select":
                used = {a.arg for a in ast.walk(function) if isinstance(a, ast.arg)}
                used |= {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
                left = {u.removesuffix("_") for u in used - FILE_NAMES if not u.removeprefix("v").isdigit()}
                assert left <= own | {""}


@pytest.mark.parametrize("name", ["shape", "others", "index", "values", "scale", "ready", "top", "mass", "one", "each"])
def test_hyper_parameters_with_names_of_the_fused_code(name: str) -> None:
    """A hyper-parameter may have any name of the fused form."""
    torch.manual_seed(5)
    z = torch.randn(6, C, requires_grad=True)
    for text, y, f in (("{0}*(y - f)^2", "real", "real"), ("-{0}*y*log(f)", "onehot", "prob")):
        loss = parse(text.format(name), y=y, f=f, params={name: 2.0})
        target = torch.randint(0, C, (6,)) if y == "onehot" else torch.randn(6, C)
        slopes = [torch.autograd.grad(loss.to_torch(options=o)(z, target), z)[0] for o in (FUSED, PLAIN)]
        assert torch.allclose(*slopes, atol=1e-6)
