"""Emitted modules under torch's transformations: compile, vmap, functional gradients, double backward, odd tensors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from lossc.compiler.ir import F, Y, param
from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.ops import call
from tests.compiler.torch_support import loss_of, module_of

D = param("delta")
ACE = loss_of(call("abs", call("log", call("sqrt", Y * F) + call("eps"))), "ace", "onehot", "prob")
LOSSES = {
    "mse": loss_of((Y - F) ** 2),
    "pseudo-huber": loss_of(D**2 * (call("sqrt", 1 + ((Y - F) / D) ** 2) - 1), delta=1.0),
    "guarded": loss_of(
        call("where", call("gt", F, Y), call("log", call("abs", F - Y) + D), call("sqrt", Y - F)), delta=0.5
    ),
    "several operands": loss_of(call("max", call("clamp", F, -1, D), call("hypot", F - Y, 0.5)), delta=1.0),
    "bce": loss_of(-(Y * call("log", F) + (1 - Y) * call("log", 1 - F)), y="binary", f="prob"),
    "cross-entropy": loss_of(-Y * call("log", F), y="onehot", f="prob"),
    "ace": ACE,
    "focal": loss_of(-Y * (1 - F) ** D * call("log", F), y="onehot", f="prob", delta=2.0),
    "own reduction": loss_of(call("logsumexp_c", F) - call("sum_c", Y * F), y="onehot", f="logit"),
}
EACH = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())


def batch(loss: Loss, *shape: int) -> tuple[Tensor, Tensor]:
    """Random input [*shape, 5, 3] and its target: class indices [*shape, 5] for classwise losses."""
    torch.manual_seed(2)
    z = torch.randn(*shape, 5, 3, dtype=torch.float64)
    if loss.layout == CLASSWISE:
        return z, torch.randint(0, 3, (*shape, 5))
    return z, (torch.rand(*shape, 5, 3) > 0.5).to(z.dtype)


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    """No compiled code from other tests."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@EACH
def test_compile_in_one_graph(loss: Loss, fresh_compiler: None) -> None:
    """torch.compile(fullgraph=True) gives the same value and gradient, also after a hyper-parameter has changed."""
    z, y = batch(loss)
    z.requires_grad_()
    module = module_of(loss, "mean")
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    for delta in (None, 0.75, 3.0):
        if delta is not None and loss.params:
            module.delta = delta
        elif delta is not None:
            break
        plain, ours = module(z, y), compiled(z, y)
        assert torch.allclose(plain, ours, rtol=1e-13)
        assert torch.allclose(*(torch.autograd.grad(v.sum(), z)[0] for v in (plain, ours)), rtol=1e-12)


@EACH
def test_vmap_over_input_target_and_both(loss: Loss) -> None:
    """torch.func.vmap over batches of batches, over either argument alone, and over single samples."""
    module = module_of(loss)
    z, y = batch(loss, 4)
    each = torch.stack([module(a, b) for a, b in zip(z, y, strict=True)])
    assert torch.allclose(torch.func.vmap(module)(z, y), each)
    over_z = torch.stack([module(a, y[0]) for a in z])
    assert torch.allclose(torch.func.vmap(module, in_dims=(0, None))(z, y[0]), over_z)
    over_y = torch.stack([module(z[0], b) for b in y])
    assert torch.allclose(torch.func.vmap(module, in_dims=(None, 0))(z[0], y), over_y)
    assert torch.allclose(torch.func.vmap(module)(z[0], y[0]), each[0])


@EACH
def test_functional_gradients(loss: Loss) -> None:
    """torch.func.grad, per-sample gradients by vmap(grad), and jacrev equal what backward gives."""
    module = module_of(loss, "sum")
    z, y = batch(loss)
    leaf = z.clone().requires_grad_()
    (backward,) = torch.autograd.grad(module(leaf, y), leaf)
    assert torch.allclose(torch.func.grad(module)(z, y), backward)
    assert torch.allclose(torch.func.vmap(torch.func.grad(module))(z, y), backward)
    assert torch.allclose(torch.func.jacrev(module_of(loss))(z, y).flatten(0, -3).sum(0), backward)


@EACH
def test_double_backward(loss: Loss) -> None:
    """First and second derivatives pass torch's gradcheck and gradgradcheck in float64; forward mode agrees."""
    module = module_of(loss, "sum")
    z, y = batch(loss)
    z = z.requires_grad_()
    assert torch.autograd.gradcheck(lambda v: module(v, y), z)
    assert torch.autograd.gradgradcheck(lambda v: module(v, y), z)
    hessian = torch.func.hessian(module)(z.detach(), y)
    assert torch.allclose(hessian, torch.autograd.functional.hessian(lambda v: module(v, y), z), atol=1e-12)


@EACH
def test_gradients_for_the_target(loss: Loss) -> None:
    """A target that wants a gradient gets a finite one: losses can be distilled from one model to another."""
    z, y = batch(loss)
    if loss.layout == CLASSWISE:
        y = torch.nn.functional.one_hot(y, 3).to(z.dtype)
    y = (0.8 * y + 0.1).requires_grad_()
    (slope,) = torch.autograd.grad(module_of(loss, "sum")(z, y), y)
    assert torch.isfinite(slope).all() and slope.abs().sum() > 0


@EACH
def test_tensors_that_are_not_contiguous(loss: Loss) -> None:
    """Transposed, strided, expanded and channels-last tensors give the numbers of their contiguous copies."""
    module = module_of(loss)
    z, y = batch(loss, 2)
    for odd_z, odd_y in (
        (z[0].t().contiguous().t(), y[0]),
        (z[:, ::2].transpose(0, 1)[0], y[:, ::2].transpose(0, 1)[0]),
        (z[0, :1].expand(5, 3), y[0, :1].expand(5, *y.shape[2:])),
    ):
        assert torch.equal(module(odd_z, odd_y), module(odd_z.contiguous(), odd_y.contiguous()))
    images = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    if loss.layout == CLASSWISE:
        labels = torch.randint(0, 3, (2, 4, 4))
        channels_last = images.to(memory_format=torch.channels_last)
        assert torch.allclose(module(channels_last, labels), module(images, labels))


@EACH
def test_empty_batches(loss: Loss) -> None:
    """No samples: an empty loss, sum 0, mean NaN as for torch's losses, and backward works."""
    z, y = batch(loss)
    z = z[:0].requires_grad_()
    assert module_of(loss, "none")(z, y[:0]).shape[0] == 0
    total = module_of(loss, "sum")(z, y[:0])
    total.backward()
    assert total.item() == 0 and z.grad is not None and z.grad.shape == (0, 3)
    assert torch.isnan(module_of(loss, "mean")(z, y[:0]))


@EACH
def test_nothing_is_changed_in_place(loss: Loss) -> None:
    """Input and target are as they were after forward and backward."""
    z, y = batch(loss)
    before = (z.clone(), y.clone())
    z.requires_grad_()
    module_of(loss, "mean")(z, y).backward()
    assert torch.equal(z.detach(), before[0]) and torch.equal(y, before[1])


def test_the_module_has_no_state() -> None:
    """Nothing to learn and nothing to save: hyper-parameters are plain floats, as in torch's losses."""
    module = module_of(LOSSES["pseudo-huber"], "mean", delta=2.0)
    assert not module.state_dict() and not list(module.parameters())
    assert isinstance(module.delta, float)


def test_autocast_keeps_working() -> None:
    """Under CPU autocast the inputs may be bfloat16; value and gradient are finite."""
    z, y = batch(LOSSES["cross-entropy"])
    z = z.float().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = module_of(LOSSES["cross-entropy"], "mean")(z @ torch.eye(3), y)
    value.backward()
    assert torch.isfinite(value) and z.grad is not None and torch.isfinite(z.grad).all()
