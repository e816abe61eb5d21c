"""The emitted module as a drop-in: shapes, dtypes, reductions, hyper-parameters, and the errors of a wrong call."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from lossc.compiler import ops
from lossc.compiler.ir import F, Y, const, param, substitute
from lossc.compiler.loss import Loss, Parameter
from lossc.compiler.ops import call
from lossc.compiler.roles import ROLES, roles_for
from lossc.compiler.targets.torch import emit
from lossc.runtime.compiled import load_source
from tests.compiler.torch_support import DTYPES, loss_of, module_of

MSE = loss_of((Y - F) ** 2)
CROSS_ENTROPY = loss_of(-Y * call("log", F), y="onehot", f="prob")
OWN_SUM = loss_of(-call("sum_c", Y * call("log", F)), y="onehot", f="prob")
COSINE = loss_of(-call("sum_c", Y * F))
SHAPES = [(), (4,), (3, 4), (2, 3, 4), (0,), (0, 4)]


# -- elementwise ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_elementwise_shapes(shape: tuple[int, ...]) -> None:
    """Any one shape, 0-d and empty ones too; "none" keeps it, "sum" and "mean" give a scalar, as torch's losses do."""
    f, y = torch.rand(shape), torch.rand(shape)
    assert torch.equal(module_of(MSE, "none")(f, y), torch.nn.functional.mse_loss(f, y, reduction="none"))
    assert torch.equal(module_of(MSE, "sum")(f, y), torch.nn.functional.mse_loss(f, y, reduction="sum"))
    mean, expected = module_of(MSE, "mean")(f, y), torch.nn.functional.mse_loss(f, y)
    assert mean.shape == () and torch.allclose(mean, expected, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.bool, torch.float64, torch.float16])
def test_elementwise_targets_take_the_dtype_of_the_input(dtype: torch.dtype) -> None:
    """Whole-number, boolean and differently rounded targets are converted; the loss has the dtype of the input."""
    f, y = torch.rand(5), torch.tensor([0, 1, 1, 0, 1])
    loss = module_of(MSE)(f, y.to(dtype))
    assert loss.dtype == torch.float32
    assert torch.equal(loss, (y.float() - f) ** 2)


@pytest.mark.parametrize("other", [(4,), (3, 1), (3, 4, 1), ()], ids=str)
def test_elementwise_shapes_never_broadcast(other: tuple[int, ...]) -> None:
    """Different shapes are an error that names both: a silent [N, 1] - [N] is the classic way to train nonsense."""
    with pytest.raises(ValueError, match=re.escape(f"one shape, got (3, 4) and {other}")):
        module_of(MSE)(torch.rand(3, 4), torch.rand(other))


def test_inputs_that_are_not_floating_point_tensors() -> None:
    """Integers, complex numbers and things that are no tensors are refused with their type."""
    module = module_of(MSE)
    for f, y, said in (
        (torch.ones(3, dtype=torch.int64), torch.ones(3), "int64"),
        (torch.ones(3, dtype=torch.complex64), torch.ones(3), "complex64"),
        (torch.ones(3), torch.ones(3, dtype=torch.complex64), "complex64"),
        ([1.0], torch.ones(1), "list"),
        (torch.ones(1), 1.0, "float"),
    ):
        with pytest.raises(TypeError, match=said):
            module(f, y)


@pytest.mark.parametrize("body", [Y**2, const(3), param("a") * 2, call("where", call("gt", F, 0), Y, 1)], ids=str)
def test_a_body_without_f_has_its_shape_and_a_gradient_of_zero(body: object) -> None:
    """Whatever is missing from the formula, "none" has the shape of the input and backward works."""
    assert isinstance(body, type(F))
    f, y = torch.rand(2, 3, requires_grad=True), torch.rand(2, 3)
    loss = module_of(loss_of(body, a=1.5))(f, y)
    assert loss.shape == (2, 3)
    loss.sum().backward()
    assert f.grad is not None and torch.equal(f.grad, torch.zeros(2, 3))


@pytest.mark.parametrize("a", [1.0, -1.0])
def test_a_branch_chosen_by_a_hyperparameter(a: float) -> None:
    """where() with a condition on hyper-parameters takes one branch only, and the shape is right for both."""
    body = call("where", call("gt", param("a"), 0), F, 2)
    f = torch.rand(2, 3, requires_grad=True)
    loss = module_of(loss_of(body, a=a))(f, torch.zeros(2, 3))
    assert torch.equal(loss.detach(), f.detach() if a > 0 else torch.full((2, 3), 2.0))
    loss.sum().backward()
    summed = module_of(loss_of(call("sum_c", body), a=a))(f, torch.zeros(2, 3))
    assert torch.allclose(summed, f.sum(1) if a > 0 else torch.full((2,), 6.0))


# -- classwise --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [CROSS_ENTROPY, OWN_SUM], ids=["summed", "own sum"])
@pytest.mark.parametrize("shape", [(4,), (3, 4), (3, 4, 2), (2, 4, 3, 2), (0, 4)], ids=str)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_classwise_shapes(loss: Loss, shape: tuple[int, ...], reduction: str) -> None:
    """[C] and [N, C, ...] with class indices, one-hot rows and soft rows: as nn.CrossEntropyLoss has it."""
    torch.manual_seed(0)
    z, dim = torch.randn(shape), min(1, len(shape) - 1)
    labels = torch.randint(0, 4, shape[:dim] + shape[dim + 1 :])
    onehot = torch.nn.functional.one_hot(labels, 4).movedim(-1, dim)
    soft = torch.softmax(torch.randn(shape), dim=dim)
    module, theirs = module_of(loss, reduction), torch.nn.CrossEntropyLoss(reduction=reduction)
    for y in (labels, labels.to(torch.int32), labels.to(torch.uint8)):
        assert torch.allclose(module(z, y), theirs(z, labels), equal_nan=True)
    for rows in (onehot, onehot.bool(), onehot.float()):
        assert torch.allclose(module(z, rows), theirs(z, labels), equal_nan=True)
    assert torch.allclose(module(z, soft), theirs(z, soft), equal_nan=True)


@pytest.mark.parametrize("bad", [3, -1, 100])
def test_class_indices_out_of_range(bad: int) -> None:
    """An index that is no class is an error, as in torch, and never a silent row of zeros."""
    with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
        module_of(CROSS_ENTROPY)(torch.rand(2, 3), torch.tensor([0, bad]))


def test_classwise_targets_of_the_wrong_kind() -> None:
    """Wrong shapes name what was expected; class indices that are not whole numbers name their dtype."""
    module, z = module_of(CROSS_ENTROPY), torch.rand(4, 3, 2)
    with pytest.raises(ValueError, match=r"\(4, 2\) \(class indices\) or \(4, 3, 2\).*got target \(4, 3\)"):
        module(z, torch.zeros(4, 3))
    with pytest.raises(TypeError, match=r"integers, got torch\.float32"):
        module(z, torch.zeros(4, 2))
    with pytest.raises(TypeError, match=r"integers, got torch\.bool"):
        module(z, torch.zeros(4, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"\[C\] or \[N, C, ...\]"):
        module(torch.tensor(1.0), torch.tensor(0))
    with pytest.raises(ValueError, match=r"one shape, got \(4, 3\) and \(4,\)"):
        module_of(COSINE)(torch.rand(4, 3), torch.zeros(4, dtype=torch.int64))


def test_the_number_of_classes_is_that_of_the_input() -> None:
    """`C` is read from the input at run time: [N, 2] and [N, 5] through the same module."""
    module = module_of(loss_of(Y * call("num_classes") - call("mean_c", F), y="onehot", f="logit"))
    for classes in (1, 2, 5):
        z = torch.rand(3, classes)
        expected = classes - z.mean(1) * classes
        assert torch.allclose(module(z, torch.zeros(3, dtype=torch.int64)), expected)


# -- dtypes, reductions, hyper-parameters -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("loss", [MSE, CROSS_ENTROPY, COSINE], ids=lambda x: str(x.body.op))
def test_every_floating_dtype(loss: Loss, dtype: torch.dtype) -> None:
    """Value, gradient and reductions keep the dtype of the input, and agree with float64 as far as it can."""
    torch.manual_seed(1)
    z64, y = torch.randn(6, 3, dtype=torch.float64), torch.eye(3).repeat(2, 1)
    z = z64.to(dtype).requires_grad_()
    for reduction in ("none", "mean", "sum"):
        value = module_of(loss, reduction)(z, y)
        (slope,) = torch.autograd.grad(value.sum(), z)
        assert value.dtype == slope.dtype == dtype
        exact = module_of(loss, reduction)(z64, y)
        assert torch.allclose(value.double(), exact, rtol=64 * torch.finfo(dtype).eps, atol=64 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("reduction", ["average", "", "MEAN", None])
def test_a_wrong_reduction(reduction: str) -> None:
    """Refused with torch's own words, by the class, and by the function."""
    module = load_source(emit(MSE, selftest=False), "m")
    with pytest.raises(ValueError, match="is not a valid value for reduction"):
        module.Loss(reduction)
    with pytest.raises(ValueError, match="is not a valid value for reduction"):
        module.tested_loss(torch.rand(2), torch.rand(2), reduction)


@pytest.mark.parametrize("role", roles_for("hyper-parameter"))
def test_hyperparameters_must_suit_their_role(role: str) -> None:
    """The class and the function refuse what the role excludes, NaN and infinities; they take what it allows."""
    loss = Loss(param("a") * (Y - F), params=(Parameter("a", role, Fraction(1, 2)),))
    emitted = load_source(emit(loss, selftest=False), "m")
    bound = ROLES[role].range
    f, y = torch.rand(1), torch.rand(1)
    for value in (0.0, 0.5, 1.0, 2.0, -1.0, float("nan"), float("inf"), -float("inf"), 1):
        if abs(value) < float("inf") and value in bound:
            assert torch.equal(emitted.Loss("none", a=value)(f, y), value * (y - f))
            continue
        with pytest.raises(ValueError, match="a must be"):
            emitted.Loss(a=value)
        with pytest.raises(ValueError, match="a must be"):
            emitted.custom_loss(f, y, a=value)


def test_hyperparameters_without_a_default_are_asked_for() -> None:
    """No default in the header, no default in the signature."""
    emitted = load_source(emit(loss_of(param("a") * F, a=None), selftest=False), "m")
    with pytest.raises(TypeError, match="'a'"):
        emitted.Loss()
    assert emitted.Loss(a=2.0)(torch.ones(1), torch.ones(1)).item() == 2.0


def test_the_class_shows_its_settings() -> None:
    """repr() shows the reduction and every hyper-parameter, as torch's modules do; `Loss` is the class itself."""
    emitted = load_source(emit(loss_of(param("a") * F, "slope", a=0.5), selftest=False), "m")
    assert repr(emitted.Loss("sum")) == "SlopeLoss(reduction='sum', a=0.5)"
    assert emitted.Loss is emitted.SlopeLoss
    assert emitted.__all__ == ["Loss", "SlopeLoss", "slope_loss"]


def test_the_functional_twin_is_the_module() -> None:
    """function(input, target, reduction, *, hyper-parameters) and the module give the same numbers."""
    emitted = load_source(emit(loss_of(param("a") * (Y - F) ** 2, "scaled", a=0.5), selftest=False), "m")
    f, y = torch.rand(3), torch.rand(3)
    for reduction in ("none", "mean", "sum"):
        module: Tensor = emitted.Loss(reduction, a=3.0)(f, y)
        assert torch.equal(emitted.scaled_loss(f, y, reduction, a=3.0), module)
    assert torch.equal(emitted.scaled_loss(f, y), emitted.Loss()(f, y))


# -- arithmetic on hyper-parameters -----------------------------------------------------------------------------------


@pytest.mark.parametrize("a", [0.0, -2.0, 1000.0, 0.5])
def test_arithmetic_on_hyperparameters_never_raises(a: float) -> None:
    """1/a, log(a), a^-0.5 and exp(a) of a hyper-parameter where Python raises: the result is NaN or infinite, as it
    would be for tensors, and a branch that is not taken leaves no trace."""
    x = param("a")
    risky = {
        "div": 1 / x, "log": call("log", x), "sqrt": call("sqrt", x), "exp": call("exp", x), "pow": x ** call("pi"),
        "inverse": x**-3, "acosh": call("acosh", x), "atanh": call("atanh", x), "lgamma": call("lgamma", x),
        "cosh": call("cosh", x), "xlogy": call("xlogy", x, x), "expm1": call("expm1", x), "asin": call("asin", x),
    }  # fmt: skip
    f, y = torch.ones(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    for name, part in risky.items():
        tensor = module_of(Loss(part + 0 * F, params=(Parameter("a", "real", Fraction(1)),)), a=a)(f, y)
        t = torch.tensor(a, dtype=torch.float64)
        plain = {
            "div": 1 / t, "log": torch.log(t), "sqrt": torch.sqrt(t), "exp": torch.exp(t), "pow": t**torch.pi,
            "inverse": t**-3, "acosh": torch.acosh(t), "atanh": torch.atanh(t), "lgamma": torch.lgamma(t),
            "cosh": torch.cosh(t), "xlogy": torch.xlogy(t, t), "expm1": torch.expm1(t), "asin": torch.asin(t),
        }[name]  # fmt: skip
        if torch.isfinite(plain) and not (name == "lgamma" and a <= 0):
            assert torch.allclose(tensor, plain.expand(2), rtol=1e-12), name
        else:
            assert not torch.isfinite(tensor).any(), name
        chosen = call("where", call("gt", x * x, -1), F, part)
        loss = Loss(chosen, params=(Parameter("a", "real", Fraction(1)),))
        assert torch.equal(module_of(loss, a=a)(f, y), f), name


ELEMENTWISE_OPS = [r for r in ops.OPS.values() if r.arity and not r.axis and r.gives == ops.REAL_KIND]
NASTY = [0.0, -0.5, 0.5, 1.0, -1.0, 2.0, -3.0, 50.0, 1e3, -1e3, 1e300, -1e300, 1e-300]


@pytest.mark.parametrize("record", ELEMENTWISE_OPS, ids=lambda r: r.name)
def test_python_floats_and_tensors_agree(record: ops.OpRecord) -> None:
    """Each operator on hyper-parameters alone gives what it gives on tensors, over awkward values, and infinities and
    NaN that other arithmetic made; it never raises."""
    a = param("a")
    for inner in (lambda x: x, lambda x: x * call("exp", x), lambda x: call("log", -1 - x * x)):
        args = [call("gt", a, 0.1) if record.kind_of(i) == ops.BOOL_KIND else inner(a) for i in range(record.arity)]
        with_a = call(record.name, *args)
        scalar = Loss(with_a + 0 * F, params=(Parameter("a", "real", Fraction(1)),))
        tensor = Loss(substitute(with_a, {a: Y}) + 0 * F)
        once = load_source(emit(scalar, selftest=False), "scalar").Loss
        y = torch.tensor(NASTY, dtype=torch.float64)
        expected = module_of(tensor)(torch.zeros_like(y), y)
        for i, value in enumerate(NASTY):
            got = once("none", a=value)(torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
            beyond = record.name == "lgamma" and value <= 0  # where torch goes on, and our lgamma is undefined
            if torch.isfinite(expected[i]) and not beyond:
                assert got.item() == pytest.approx(expected[i].item(), rel=1e-12, abs=1e-15), value
            else:
                assert not torch.isfinite(got), value
