"""The fused form of emitted files, attacked: blocks, autograd's corners, transformations, memory, the call."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from lossc.compiler.loss import Loss
from lossc.compiler.targets.options import Options
from lossc.grammar.library import named
from tests.compiler.torch_support import emitted

FUSED, PLAIN = Options(fused=True), Options(fused=False)
REDUCTIONS = ("none", "mean", "sum")
C = 3


def labels(z: Tensor) -> Tensor:
    """Class indices."""
    return torch.randint(0, z.shape[1], (z.shape[0], *z.shape[2:]))


KINDS: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "elementwise": ("log_cosh", torch.randn_like),
    "binary": ("bce", lambda z: (torch.rand_like(z) > 0.5).to(z.dtype)),
    "indices": ("cross_entropy", labels),
    "rows": ("cross_entropy", lambda z: torch.softmax(torch.randn_like(z), 1)),
    "focal": ("focal", labels),
    "brier": ("brier", labels),
}
EACH = pytest.mark.parametrize("kind", KINDS)
EACH_REDUCTION = pytest.mark.parametrize("reduction", REDUCTIONS)


def modules(loss: Loss, reduction: str = "mean", **given: Any) -> tuple[nn.Module, nn.Module]:
    """The fused module and the plain one."""
    assert "class _Sum" in emitted(loss, FUSED) and "class _Sum" not in emitted(loss, PLAIN)
    return loss.to_torch(reduction, options=FUSED, **given), loss.to_torch(reduction, options=PLAIN, **given)


def case(kind: str, *shape: int, dtype: torch.dtype = torch.float64) -> tuple[Loss, Tensor, Tensor]:
    """A loss, an input that wants a gradient, and a target."""
    torch.manual_seed(7)
    name, target = KINDS[kind]
    z = torch.randn(*(shape or (11, C)), dtype=dtype)
    return named(name), z.requires_grad_(), target(z.detach())


def text_of(module: nn.Module) -> ModuleType:
    """The loaded file of a module."""
    return sys.modules[type(module).__module__]


def slope_of(loss: Tensor, z: Tensor, **given: Any) -> Tensor:
    """The gradient of the sum."""
    return torch.autograd.grad(loss.sum(), z, **given)[0]


def weights_for(kind: str, z: Tensor) -> Tensor:
    """Sample weights, some of them 0."""
    shape = z.shape if kind in ("elementwise", "binary") else z.shape[:1] + z.shape[2:]
    return torch.rand(shape, dtype=z.dtype) * (torch.rand(shape) > 0.3)


# -- blocks -----------------------------------------------------------------------------------------------------------


@EACH
@EACH_REDUCTION
@pytest.mark.parametrize("block", [1, 7, 64, 2**18])
def test_blocks_of_any_size(kind: str, reduction: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values and gradients do not depend on the size of a block, with weights and without, for every shape."""
    for shape in [(1, C), (64, C), (65, C), (10, C, 4, 2), (22, 70)]:
        loss, z, y = case(kind, *shape)
        fused, plain = modules(loss, reduction)
        monkeypatch.setattr(text_of(fused), "_BLOCK", block)
        for w in (None, weights_for(kind, z)):
            ours, theirs = fused(z, y, w), plain(z, y, w)
            assert ours.shape == theirs.shape
            assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-15, equal_nan=True)
            assert torch.allclose(slope_of(ours, z), slope_of(theirs, z), rtol=1e-10, atol=1e-13)


@EACH
@EACH_REDUCTION
def test_odd_memory(kind: str, reduction: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Transposed, sliced, expanded and channels-last inputs: the plain form's numbers, and no tensor is changed."""
    loss, z, y = case(kind, 6, C, 4, 2)
    fused, plain = modules(loss, reduction)
    monkeypatch.setattr(text_of(fused), "_BLOCK", 10)
    z = z.detach()
    odd = [
        z.to(memory_format=torch.channels_last), z.transpose(2, 3).contiguous().transpose(2, 3),
        torch.cat([z, z])[::2], z[:1].expand(6, C, 4, 2), torch.stack([z, z], -1)[..., 1],
    ]  # fmt: skip
    for made in odd:
        leaf, before, target = made.detach().requires_grad_(), made.clone(), y.clone()
        ours, theirs = fused(leaf, y), plain(leaf, y)
        pull = (
            torch.rand(ours.shape[:1], dtype=ours.dtype).reshape(-1, *[1] * (ours.dim() - 1)).expand(ours.shape)
            if ours.dim()
            else torch.tensor(0.7, dtype=ours.dtype)
        )
        kept = pull.clone()
        (mine,) = torch.autograd.grad(ours, leaf, pull)
        (right,) = torch.autograd.grad(theirs, leaf, pull)
        assert torch.allclose(mine, right, rtol=1e-10, atol=1e-14) and mine.dtype == leaf.dtype
        assert torch.equal(leaf.detach(), before) and torch.equal(y, target) and torch.equal(pull, kept)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@EACH
def test_loss_scaling_before_rounding(kind: str, dtype: torch.dtype) -> None:
    """A gradient is scaled before half precision rounds it: that of a scaled mean is as good as a rounded exact one,
    although that of the mean itself would be lost below 2^-24."""
    loss, z, y = case(kind, 30_000, C, dtype=dtype)
    exact = z.detach().double().requires_grad_()
    module = modules(loss)[0]
    got, wanted = slope_of(module(z, y) * 2.0**13, z), slope_of(module(exact, y) * 2.0**13, exact)
    error, rounding = (got.double() - wanted).abs(), (wanted.to(dtype).double() - wanted).abs()
    assert (error <= 2 * rounding + 1e-4 * wanted.abs() + 1e-5 * wanted.abs().mean()).all()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32, torch.int64])
def test_targets_of_any_whole_dtype(dtype: torch.dtype) -> None:
    """Labels and 0/1 targets of every integer dtype, and bool; ignore_index does not wrap around in uint8."""
    torch.manual_seed(8)
    z, y = torch.randn(4, 200, requires_grad=True), torch.tensor([0, 156, 1, 99])
    y = y % 100 if dtype == torch.int8 else y
    ours = named("cross_entropy").to_torch(options=FUSED)(z, y.to(dtype))
    assert torch.allclose(ours, functional.cross_entropy(z, y))
    f, hot = torch.randn(9), torch.tensor([0, 1, 1, 0, 1, 0, 0, 1, 1])
    for made in (hot.to(dtype), hot.bool()):
        ours = named("bce").to_torch(options=FUSED)(f, made)
        assert torch.allclose(ours, functional.binary_cross_entropy_with_logits(f, hot.float()))


# -- autograd ---------------------------------------------------------------------------------------------------------


@EACH
@EACH_REDUCTION
@pytest.mark.parametrize("scale", [1.0, 0.25, 3.0])
def test_a_gradient_belongs_to_its_caller(kind: str, reduction: str, scale: float) -> None:
    """Whoever changes a gradient in place does not change what a second backward of the same graph gives."""
    loss, z, y = case(kind)
    value = modules(loss, reduction)[0](z, y).sum() * scale
    value.backward(retain_graph=True)
    assert z.grad is not None
    first = z.grad.clone()
    z.grad.mul_(-100.0)
    z.grad = None
    (second,) = torch.autograd.grad(value, z, retain_graph=True)
    assert torch.allclose(first, second, rtol=1e-14)
    second.zero_()
    value.backward()
    assert z.grad is not None and torch.allclose(first, z.grad, rtol=1e-14)
    with pytest.raises(RuntimeError, match="second time"):
        value.backward()


@EACH
def test_accumulation_and_shared_inputs(kind: str) -> None:
    """Gradients of several losses of one input add up, in .grad and inside one graph."""
    loss, z, y = case(kind)
    fused, plain = modules(loss)
    expected = slope_of(plain(z, y), z)
    fused(z, y).backward()
    fused(z, y).backward()
    assert z.grad is not None and torch.allclose(z.grad, 2 * expected, rtol=1e-10, atol=1e-15)
    together = fused(z, y) + 3 * fused(z * 1.0, y) - plain(z, y)
    assert torch.allclose(slope_of(together, z), 3 * expected, rtol=1e-10, atol=1e-15)


@EACH
@EACH_REDUCTION
def test_third_derivatives_and_penalties(kind: str, reduction: str) -> None:
    """create_graph: derivatives up to the third, and the gradient of a gradient penalty, are the plain form's."""
    loss, z, y = case(kind)
    found = []
    for module in modules(loss, reduction):
        value, chain = module(z, y).sum(), []
        for _ in range(3):
            (slope,) = torch.autograd.grad(value, z, create_graph=True)
            chain.append(slope.detach())
            value = (slope * torch.cos(z.detach())).sum()
        penalty = (slope_of(module(z, y), z, create_graph=True) ** 2).sum()
        found.append([*chain, slope_of(penalty, z)])
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-13)


@EACH_REDUCTION
def test_masked_garbage_in_gradients_of_gradients(reduction: str) -> None:
    """NaN where a sample does not count leaves no trace in a first and second derivative with create_graph (G15)."""
    torch.manual_seed(9)
    z = torch.randn(4, C, dtype=torch.float64)
    z[1] = math.nan
    z.requires_grad_()
    f = torch.tensor([1.0, math.nan, 2.0], dtype=torch.float64, requires_grad=True)
    ignored, mask = torch.tensor([0, -100, 1, 2]), torch.tensor([1.0, 0.0, 2.0])
    for name, leaf, arguments in (
        ("cross_entropy", z, (ignored,)),
        ("focal", z, (ignored,)),
        ("log_cosh", f, (torch.zeros(3), mask)),
    ):
        value = named(name).to_torch(reduction, options=FUSED)(leaf, *arguments)
        (first,) = torch.autograd.grad(value.sum(), leaf, create_graph=True)
        (second,) = torch.autograd.grad((first**2).sum(), leaf)
        for slope in (first, second):
            assert torch.isfinite(slope).all() and slope[1].abs().sum() == 0 and slope[0].abs().sum() > 0


@EACH
@EACH_REDUCTION
def test_checkpoints_hooks_and_modes(kind: str, reduction: str) -> None:
    """Checkpointing, saved-tensor hooks, anomaly mode and modes without gradients change no number."""
    loss, z, y = case(kind)
    module = modules(loss, reduction)[0]
    value, expected = module(z, y).detach(), slope_of(module(z, y), z)
    assert torch.equal(slope_of(checkpoint(module, z * 1.0, y, use_reentrant=False), z), expected)
    checkpoint(module, z * 1.0, y, use_reentrant=True).sum().backward()
    assert z.grad is not None and torch.equal(z.grad, expected)
    with torch.autograd.graph.save_on_cpu():
        moved = module(z, y)
    assert torch.equal(slope_of(moved, z), expected)
    with torch.autograd.set_detect_anomaly(True):
        assert torch.equal(slope_of(module(z, y), z), expected)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            without = module(z, y)
        assert not without.requires_grad and torch.allclose(without, value, rtol=1e-13)


@EACH
@EACH_REDUCTION
def test_an_input_changed_after_the_forward_is_an_error(kind: str, reduction: str) -> None:
    """Not a wrong gradient: torch's own complaint."""
    loss, z, y = case(kind)
    inner = z * 1.0
    value = modules(loss, reduction)[0](inner, y).sum()
    with torch.no_grad():
        inner.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        value.backward()


def test_what_else_may_be_learned() -> None:
    """Gradients of sample weights, class weights, targets and a temperature are those of torch's cross-entropy."""
    torch.manual_seed(5)
    z, y = torch.randn(6, C).double(), torch.randint(0, C, (6,))
    ours, theirs = named("cross_entropy").to_torch(options=FUSED), functional.cross_entropy
    sample, weight, heat = (torch.rand(n, dtype=torch.float64, requires_grad=True) for n in (6, C, 1))
    soft = torch.softmax(torch.randn(6, C).double(), 1).requires_grad_()
    each = theirs(z, y, reduction="none")
    assert torch.allclose(slope_of(ours(z, y, sample), sample), slope_of((sample * each).sum() / sample.sum(), sample))
    module = named("cross_entropy").to_torch(options=FUSED, weight=weight)
    meant = (weight[y] * each).sum() / weight[y].sum()  # torch's own has no gradient for it
    assert torch.allclose(slope_of(module(z, y), weight), slope_of(meant, weight))
    assert torch.allclose(slope_of(ours(z, soft), soft), slope_of(theirs(z, soft), soft))
    assert torch.allclose(slope_of(ours(z / heat, y), heat), slope_of(theirs(z / heat, y), heat))


# -- transformations --------------------------------------------------------------------------------------------------


def tangent_of(module: nn.Module, given: list[Tensor], which: int) -> Tensor:
    """The derivative in forward mode with respect to one argument, along ones."""
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(given[which], torch.ones_like(given[which]))
        found: Tensor = forward_ad.unpack_dual(module(*given[:which], dual, *given[which + 1 :])).tangent
        return found


@EACH
def test_forward_mode(kind: str) -> None:
    """Tangents of the input, of the target and of the weights each find their way."""
    loss, z, y = case(kind)
    given = [z.detach(), y, weights_for(kind, z.detach())]
    for which in (0, 1, 2) if y.is_floating_point() else (0, 2):
        fused, plain = (tangent_of(m, given, which) for m in modules(loss))
        assert torch.allclose(fused, plain, rtol=1e-10, atol=1e-14)


@EACH
@EACH_REDUCTION
def test_many_gradients_at_once(kind: str, reduction: str) -> None:
    """torch.vmap over backward, as torch's own documentation computes Jacobians."""
    loss, z, y = case(kind)
    value = modules(loss, reduction)[0](z, y)
    pulls = torch.randn(4, *value.shape, dtype=torch.float64)
    every = torch.vmap(lambda p: torch.autograd.grad(value, z, p, retain_graph=True)[0])(pulls)
    one = torch.stack([torch.autograd.grad(value, z, p, retain_graph=True)[0] for p in pulls])
    assert torch.allclose(every, one, rtol=1e-12, atol=1e-15)


@EACH
@EACH_REDUCTION
def test_tensors_without_numbers(kind: str, reduction: str) -> None:
    """Meta tensors have a shape and a dtype, forward and backward; fake ones too."""
    loss, z, y = case(kind)
    module = modules(loss, reduction)[0]
    z, shape = z.detach(), module(z, y).shape
    leaf = z.to("meta").requires_grad_()
    value = module(leaf, y.to("meta"))
    assert value.shape == shape and slope_of(value, leaf).shape == z.shape
    with torch._subclasses.FakeTensorMode() as mode:
        leaf = mode.from_tensor(z).requires_grad_()
        assert slope_of(module(leaf, mode.from_tensor(y)), leaf).shape == z.shape


@EACH
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit.*:DeprecationWarning")
def test_tracing(kind: str) -> None:
    """torch.export and torch.jit.trace record the loss, and the result runs on other numbers."""
    loss, z, y = case(kind)
    module = modules(loss)[0]
    exported = torch.export.export(module, (z.detach(), y)).module()
    assert torch.allclose(exported(2 * z.detach(), y), module(2 * z, y).detach(), rtol=1e-12)
    traced = torch.jit.trace(module, (z, y))
    assert torch.allclose(slope_of(traced(2 * z, y), z), slope_of(module(2 * z, y), z), rtol=1e-10, atol=1e-14)


@EACH
def test_the_default_device_is_not_asked(kind: str) -> None:
    """Tensors on the CPU stay there, whatever new tensors get by default: above and below the size of _select."""
    for count in (5, 5000):
        loss, z, y = case(kind, count, C)
        module = modules(loss)[0]
        expected = slope_of(module(z, y), z)
        with torch.device("meta"):
            found = slope_of(module(z, y), z)
        assert torch.equal(found, expected)


@EACH
def test_threads(kind: str) -> None:
    """Eight threads use one module at once."""
    loss, z, y = case(kind)
    module = modules(loss)[0]
    expected = slope_of(module(z, y), z)
    found: list[Tensor] = []

    def work() -> None:
        leaf = z.detach().clone().requires_grad_()
        found.extend(slope_of(module(leaf, y), leaf) for _ in range(20))

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 160 and all(torch.equal(f, expected) for f in found)


def test_autocast() -> None:
    """Under autocast the loss has the dtype of torch's cross-entropy."""
    z, y = torch.randn(6, C, requires_grad=True), torch.randint(0, C, (6,))
    module = named("cross_entropy").to_torch(options=FUSED)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = z @ torch.eye(C)
        assert scores.dtype == torch.bfloat16
        assert module(scores, y).dtype == functional.cross_entropy(scores, y).dtype


# -- memory -----------------------------------------------------------------------------------------------------------


class _Counter(TorchDispatchMode):
    """Collects the memory of at least a size that operations give back."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.seen = size, set[int]()
        self.kept: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and out.untyped_storage().nbytes() >= self.size:
            self.seen.add(out.untyped_storage().data_ptr())
            self.kept.append(out)  # so that no address is used twice
        return out


@pytest.mark.parametrize("kind", ["elementwise", "indices", "focal", "rows"])
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_one_gradient_is_all_that_is_allocated(kind: str, scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward and backward of a mean make one tensor as large as the input, its gradient: no one-hot rows, no copy."""
    loss, z, y = case(kind, 400, C)
    module = modules(loss)[0]
    monkeypatch.setattr(text_of(module), "_BLOCK", 60)
    with _Counter(z.untyped_storage().nbytes()) as counter:
        (slope,) = torch.autograd.grad(module(z, y) * scale, z)
    assert counter.seen - {t.untyped_storage().data_ptr() for t in (z, y)} == {slope.untyped_storage().data_ptr()}


# -- the call ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [FUSED, PLAIN], ids=["fused", "plain"])
@pytest.mark.parametrize("name", ["cross_entropy", "focal", "label_smoothing"])
@pytest.mark.parametrize("shape", [(2,), (4,), (1,), (), (1, C), (C, 2)], ids=str)
def test_class_weights_of_another_shape(options: Options, name: str, shape: tuple[int, ...]) -> None:
    """Neither more weights than classes, nor one that would broadcast, for labels and for rows."""
    module = named(name).to_torch(options=options, weight=torch.ones(shape))
    z = torch.randn(5, C)
    for y in (torch.tensor([0, 1, 0, 1, 0]), torch.softmax(z, 1)):
        with pytest.raises(ValueError, match=r"weight must have the shape \(3,\)"):
            module(z, y)


def test_pos_weight_does_not_enlarge_the_loss() -> None:
    """pos_weight broadcasts to the input, and the input not to it."""
    z, y = torch.randn(5), torch.ones(5)
    with pytest.raises(RuntimeError, match="expand"):
        named("bce").to_torch(options=FUSED, pos_weight=torch.ones(3, 5))(z, y)
    assert named("bce").to_torch("none", options=FUSED, pos_weight=torch.tensor([2.0]))(z, y).shape == (5,)


@EACH_REDUCTION
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weight", [None, [0.0, 1.0, 2.0], [-1.0, 2.0, 0.5]], ids=str)
def test_extreme_calls(reduction: str, smoothing: float, weight: list[float] | None) -> None:
    """Zero and negative class weights, smoothing up to 1, and an ignored class that exists: nn.CrossEntropyLoss."""
    torch.manual_seed(6)
    z, y = torch.randn(9, C, dtype=torch.float64, requires_grad=True), torch.tensor([0, 1, 2, 1, 1, 0, 2, 2, 1])
    given: dict[str, Any] = {"ignore_index": 2, "label_smoothing": smoothing}
    given["weight"] = None if weight is None else torch.tensor(weight).double()
    ours = named("cross_entropy").to_torch(reduction, options=FUSED, **given)(z, y)
    theirs = nn.CrossEntropyLoss(reduction=reduction, **given)(z, y)
    assert torch.allclose(ours, theirs, rtol=1e-11, atol=1e-14)
    assert torch.allclose(slope_of(ours, z), slope_of(theirs, z), rtol=1e-10, atol=1e-13)


def test_a_million_classes() -> None:
    """One sample is more than a block."""
    torch.manual_seed(10)
    z, y = torch.randn(2, 1_000_000, dtype=torch.float64, requires_grad=True), torch.tensor([3, 999_999])
    ours, theirs = named("cross_entropy").to_torch(options=FUSED)(z, y), functional.cross_entropy(z, y)
    assert torch.allclose(ours, theirs, rtol=1e-12)
    assert torch.allclose(slope_of(ours, z), slope_of(theirs, z), rtol=1e-9, atol=1e-18)


def test_masks() -> None:
    """A NaN among sample weights does not count where the label is ignored; a mask of another shape is refused."""
    z, y = torch.randn(4, C), torch.tensor([0, -100, 1, 2])
    module = named("cross_entropy").to_torch(options=FUSED)
    weight = torch.tensor([1.0, math.nan, 1.0, 1.0])
    assert torch.allclose(module(z, y, weight), functional.cross_entropy(z, y))
    with pytest.raises(RuntimeError, match="expand"):
        module(z, y, torch.ones(3, dtype=torch.bool))
