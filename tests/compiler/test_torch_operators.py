"""Every operator as the torch target writes it, against the meaning and the partials of its record."""

from __future__ import annotations

import itertools
from fractions import Fraction

import mpmath
import pytest
import torch

from lossc.compiler import ops
from lossc.compiler.errors import LossTypeError
from lossc.compiler.evaluate import evaluate
from lossc.compiler.ir import Expr, F, Y, const, node, param
from lossc.compiler.loss import Loss, Parameter
from lossc.compiler.ops import call
from lossc.compiler.passes.differentiate import differentiate
from tests.compiler.torch_support import DIGITS, DTYPES, column, module_of

REAL = [r for r in ops.OPS.values() if r.arity and not r.axis and r.gives == ops.REAL_KIND]
ELEMENTWISE = [r for r in ops.OPS.values() if r.arity and not r.axis]
CLASSWISE = [r for r in ops.OPS.values() if r.axis in (ops.REDUCE, ops.MAP)]
ROWS = [[0.3, -1.2, 0.9], [1.5, 0.25, -0.5], [0.1, 0.2, 2.0]]


def spread(low: float, high: float, n: int) -> list[float]:
    """n numbers inside the range, off its ends and off round numbers."""
    return [low + (high - low) * (0.031 + 0.93 * i / (n - 1)) for i in range(n)]


def applied(record: ops.OpRecord, slot: int) -> Expr:
    """The operator with f at `slot` and constants from its sample box elsewhere."""
    args: list[Expr] = []
    for i in range(record.arity):
        low, high = record.sample_of(i)
        if record.kind_of(i) == ops.BOOL_KIND:
            args.append(call("lt", Y, F))
        else:
            args.append(F if i == slot else const(str(round(low + 0.37 * (high - low), 3))))
    return node(record.name, *args)


CASES = [(r, i) for r in REAL for i in range(r.arity) if r.kind_of(i) == ops.REAL_KIND]


@pytest.mark.parametrize(("record", "slot"), CASES, ids=lambda x: getattr(x, "name", str(x)))
def test_values_and_derivatives_of_an_operator(record: ops.OpRecord, slot: int) -> None:
    """In float64, on the sample box of the record: the value is mpmath's, and the first and second derivative by
    autograd are the closed forms that the records give (torch's trigamma is off by 5e-10)."""
    loss = Loss(applied(record, slot))
    at = spread(*record.sample_of(slot), 23)
    f, y = column(at), torch.full((len(at),), 0.1, dtype=torch.float64)
    value = module_of(loss)(f, y)
    (slope,) = torch.autograd.grad(value.sum(), f, create_graph=True)
    bend = torch.autograd.grad(slope.sum(), f)[0] if slope.requires_grad else torch.zeros_like(f)
    for i, v in enumerate(at):
        found = (value[i].item(), slope[i].item(), bend[i].item())
        rough = record.name in ("digamma", "trigamma")
        accuracy = (1e-9, 1e-9, 1e-9) if rough else (1e-13, 1e-11, 1e-9)
        for order, (got, tolerance) in enumerate(zip(found, accuracy, strict=True)):
            assert got == pytest.approx(closed_form(loss, order, v), rel=tolerance, abs=tolerance), (order, v)


def closed_form(loss: Loss, order: int, at: float) -> float:
    """The value or a derivative from the records; numerically, with 60 digits, where they offer no closed form."""
    env = {F: at, Y: 0.1}
    try:
        body = differentiate(loss, "f", order=order).body if order else loss.body
        return float(evaluate(body, env, dps=DIGITS))
    except LossTypeError:
        with mpmath.workdps(DIGITS):
            return float(mpmath.diff(lambda t: evaluate(loss.body, {**env, F: t}), at, order))


@pytest.mark.parametrize("record", CLASSWISE, ids=lambda r: r.name)
def test_class_axis_operators(record: ops.OpRecord) -> None:
    """Values along the class axis are mpmath's, for [N, C] and for [N, C, d]; the gradient is the closed form."""
    loss = Loss(node(record.name, F) * Y, y="real")
    f, y = column(ROWS), torch.tensor(ROWS, dtype=torch.float64).flip(0)
    value = module_of(loss)(f, y)
    (slope,) = torch.autograd.grad(value.sum(), f)
    deep = module_of(loss)(torch.stack([f, f], dim=2), torch.stack([y, y], dim=2))
    assert torch.equal(deep, torch.stack([value, value], dim=1))
    first = differentiate(loss, "f")
    for i, row in enumerate(ROWS):
        env = {F: row, Y: y[i].tolist()}
        terms = evaluate(loss.body, env, num_classes=3, dps=DIGITS)
        assert value[i].item() == pytest.approx(float(mpmath.fsum(terms)), rel=1e-13)
        expected = [float(v) for v in evaluate(first.body, env, num_classes=3, dps=DIGITS)]
        assert slope[i].tolist() == pytest.approx(expected, rel=1e-12, abs=1e-13)


@pytest.mark.parametrize("record", CLASSWISE, ids=lambda r: r.name)
def test_class_axis_operators_of_what_is_the_same_at_every_class(record: ops.OpRecord) -> None:
    """sum_c of a constant, of a hyper-parameter or of another reduction counts it C times, as the interpreter does."""
    inner = call("sum_c", F)
    for x, params in ((const(2), ()), (param("a"), (Parameter("a", "real", Fraction(3)),)), (inner, ())):
        loss = Loss(node(record.name, x) + 0 * call("sum_c", F), params=params)
        value = module_of(loss)(column(ROWS), torch.zeros(3, 3, dtype=torch.float64))
        for i, row in enumerate(ROWS):
            env = {F: row, Y: [0.0] * 3, param("a"): 3}
            expected = evaluate(loss.body, env, num_classes=3, dps=DIGITS)
            assert value[i].item() == pytest.approx(float(expected[0] if isinstance(expected, list) else expected))


@pytest.mark.parametrize("record", ELEMENTWISE, ids=lambda r: r.name)
def test_numbers_beside_tensors_keep_the_dtype(record: ops.OpRecord) -> None:
    """With y, f, a constant or a hyper-parameter at each place, and in each dtype: the result and the gradient have the
    dtype of the input, and the shape too."""
    reals = [i for i in range(record.arity) if record.kind_of(i) == ops.REAL_KIND]
    for kinds in itertools.product("yfcp", repeat=len(reals)):
        if "f" not in kinds:
            continue
        body, params, slots = mixed(record, kinds)
        module = module_of(Loss(body, params=params))
        low, high = record.sample_of(slots["f"])
        other = record.sample_of(slots.get("y", slots["f"]))
        for dtype in DTYPES:
            f = torch.tensor(spread(low, high, 5)).to(dtype).requires_grad_()
            value = module(f, torch.tensor(spread(*other, 5)).to(dtype))
            value.sum().backward()
            assert f.grad is not None
            assert (value.dtype, f.grad.dtype, value.shape) == (dtype, dtype, (5,)), kinds


def mixed(record: ops.OpRecord, kinds: tuple[str, ...]) -> tuple[Expr, tuple[Parameter, ...], dict[str, int]]:
    """The operator with one kind of operand at each place; conditions become numbers by `where`."""
    left = iter(kinds)
    args: list[Expr] = []
    params: list[Parameter] = []
    slots: dict[str, int] = {}
    for i in range(record.arity):
        if record.kind_of(i) == ops.BOOL_KIND:
            args.append(call("lt", Y, F))
            continue
        kind = next(left)
        slots[kind] = i
        low, high = record.sample_of(i)
        middle = Fraction(str(round(low + 0.37 * (high - low), 3)))
        if kind == "p":
            params.append(Parameter(f"p{i}", "real", middle))
        args.append({"y": Y, "f": F, "c": const(middle), "p": param(f"p{i}")}[kind])
    body = node(record.name, *args)
    return (call("where", body, Y, 2 * F) if record.gives == ops.BOOL_KIND else body), tuple(params), slots


POWERS = [Fraction(n) for n in (0, 1, 2, 3, 4, 5, 7, -1, -2, -3)]
POWERS += [Fraction(1, 2), Fraction(-1, 2), Fraction(3, 2), Fraction(1, 3), Fraction(5, 2)]


@pytest.mark.parametrize("exponent", POWERS, ids=str)
def test_literal_exponents(exponent: Fraction) -> None:
    """Powers with literal exponents, however they are written, have the value and two derivatives of the power; whole
    ones at negative bases too."""
    bases = [0.3, 0.9, 1.0, 1.7, 3.0] + ([-0.4, -1.0, -2.5] if exponent.denominator == 1 else [])
    f = column(bases)
    value = module_of(Loss(F ** const(exponent) + 0 * Y))(f, torch.zeros(len(bases), dtype=torch.float64))
    (slope,) = torch.autograd.grad(value.sum(), f, create_graph=True)
    bend = torch.autograd.grad(slope.sum(), f)[0] if slope.requires_grad else torch.zeros_like(f)
    n = float(exponent)
    for i, x in enumerate(bases):
        assert value[i].item() == pytest.approx(x**n, rel=1e-14)
        assert slope[i].item() == pytest.approx(n * x ** (n - 1), rel=1e-13, abs=1e-15)
        assert bend[i].item() == pytest.approx(n * (n - 1) * x ** (n - 2), rel=1e-12, abs=1e-15)


def test_whole_powers_of_f_need_no_pow() -> None:
    """Squares and cubes are products, reciprocals are divisions: what compilers fuse and vectorise best."""
    from lossc.compiler.targets.torch import emit

    source = emit(Loss((Y - F) ** 2 + F**3 + 1 / F**2 + F ** const(Fraction(1, 2))), selftest=False)
    assert "**" not in source
    assert "torch.sqrt" in source and "pow" not in source


def test_a_negative_literal_keeps_its_brackets() -> None:
    """(-2)^y is a power of minus two, not the negative of a power."""
    value = module_of(Loss(const(-2) ** Y + 0 * F))(column([0.0] * 4), torch.tensor([0.0, 1.0, 2.0, 3.0]).double())
    assert value.tolist() == [1.0, -2.0, 4.0, -8.0]
