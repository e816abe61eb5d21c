"""The way to lines of code: lowering keeps values, templates split into steps, the reduction is that of the formula."""

from __future__ import annotations

import ast
import math
from fractions import Fraction

import mpmath
import pytest
import torch
from hypothesis import given

from lossc.compiler.evaluate import evaluate
from lossc.compiler.ir import Expr, F, Y, const, param, postorder
from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.ops import OPS, OpRecord, call
from lossc.compiler.targets.lowering import lower
from lossc.compiler.targets.pipeline import prepare
from lossc.compiler.targets.templates import fill, steps
from tests.compiler.torch_support import column, module_of
from tests.strategies import PARAMS, exprs

POINT: dict[Expr, object] = {Y: [0.3, -1.25, 2.0], F: [0.75, 0.5, -0.5]} | {param(p): Fraction(7, 4) for p in PARAMS}
TEMPLATES = [(r, key) for r in OPS.values() for key in ("torch", "math") if r.arity and key in r.lower]


@given(exprs(exotic=False, max_leaves=8))
def test_lowering_keeps_values(body: Expr) -> None:
    """Powers as products and class-axis operators of class-wise constants as arithmetic: one value, by mpmath."""
    before, after = (evaluate(e, POINT, num_classes=3, dps=60) for e in (body, lower(Loss(body)).body))
    rows = [v if isinstance(v, list) else [v] * 3 for v in (before, after)]
    for left, right in zip(*rows, strict=True):
        if mpmath.isfinite(left):
            assert mpmath.almosteq(left, right, rel_eps=mpmath.mpf(10) ** -40, abs_eps=mpmath.mpf(10) ** -300)


def test_small_whole_powers_become_products() -> None:
    """x^2, x^3, x^4, 1/x^3 and square roots: no general power is left; x^5 and x^(1/3) stay."""
    cheap = F**2 + F**3 + F**4 + F**-3 + F**-1 + F ** const(Fraction(-1, 2))
    assert "pow" not in {n.op for n in postorder(lower(Loss(cheap)).body)}
    assert [n.op for n in postorder(lower(Loss(F**5)).body)][-1] == "pow"


@pytest.mark.parametrize(("record", "key"), TEMPLATES, ids=lambda x: getattr(x, "name", x))
def test_steps_are_single_operations(record: OpRecord, key: str) -> None:
    """Every step of every template is one operation on atoms (a conditional expression stays whole)."""
    for step in steps(record.lower[key], record.arity):
        tree = ast.parse(fill(step, [f"v{i}" for i in range(40)]), mode="eval").body
        if isinstance(tree, ast.IfExp):
            continue
        inner = [*getattr(tree, "args", []), *(getattr(tree, n, None) for n in ("left", "right", "operand"))]
        assert all(isinstance(i, (ast.Name, ast.Constant, ast.Attribute, type(None))) or is_number(i) for i in inner)


def is_number(here: ast.expr) -> bool:
    return isinstance(here, ast.UnaryOp) and isinstance(here.operand, ast.Constant)


@pytest.mark.parametrize("record", [r for r in OPS.values() if r.arity and not r.axis], ids=lambda r: r.name)
def test_steps_compute_what_the_template_says(record: OpRecord) -> None:
    """Run step by step, a template gives exactly what it gives as one expression."""
    template = record.lower["torch"]
    operands = [torch.linspace(*record.sample_of(i), 5, dtype=torch.float64) for i in range(record.arity)]
    operands = [o > 0 if record.kind_of(i) == "bool" else o for i, o in enumerate(operands)]
    space = {"torch": torch, "math": math, **{f"x{i}": o for i, o in enumerate(operands)}}
    whole = eval(fill(template, [f"x{i}" for i in range(record.arity)]), dict(space))  # noqa: S307  our own table
    names = [f"x{i}" for i in range(record.arity)]
    for i, step in enumerate(steps(template, record.arity)):
        space[f"t{i}"] = eval(fill(step, names), dict(space))  # noqa: S307  our own table
        names.append(f"t{i}")
    assert torch.equal(space[names[-1]], whole)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("template", "operands", "filled"),
    [
        ("{0} + {1}", ["-1.0", "-2.0"], "-1.0 + (-2.0)"),
        ("{0} ** {1}", ["-1.0", "v0"], "(-1.0) ** v0"),
        ("{0} * {1}", ["v0", "-2.0"], "v0 * (-2.0)"),
        ("-{0}", ["-1.0"], "-(-1.0)"),
        ("torch.clamp({0}, {1}, {2})", ["v0", "-1.0", "1.0"], "torch.clamp(v0, -1.0, 1.0)"),
        ("{1} if {0} else {2}", ["v0", "-1.0", "-2.0"], "-1.0 if v0 else -2.0"),
        ("{0} < {1}", ["v0", "-1.0"], "v0 < (-1.0)"),
    ],
)
def test_negative_numbers_get_brackets_where_they_need_them(template: str, operands: list[str], filled: str) -> None:
    """Beside an operator, and not inside a call."""
    assert fill(template, operands) == filled


@pytest.mark.parametrize(
    "body",
    [
        0 * F + call("sum_c", Y),
        F - F + call("max_c", Y),
        call("sum_c", F) + Y * 0,
        call("softmax", F) - call("softmax", F) + Y,
    ],
    ids=str,
)
def test_the_reduction_is_that_of_the_formula_as_written(body: Expr) -> None:
    """A formula that varies over the classes is summed over them, even if its canonical form would not vary."""
    loss = Loss(body)
    assert loss.layout == CLASSWISE and not loss.reduces_itself
    stages = prepare(loss)
    assert stages.canonical.layout == CLASSWISE
    f, y = column([[0.3, -1.0, 2.0]]), torch.tensor([[1.0, 0.5, -2.0]], dtype=torch.float64)
    terms = evaluate(body, {F: f[0].tolist(), Y: y[0].tolist()}, num_classes=3, dps=30)
    assert module_of(loss)(f, y).tolist() == pytest.approx([float(mpmath.fsum(terms))])
