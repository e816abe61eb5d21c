"""The fused form: block by block, in place and with shared work, it gives what autograd makes of the plain form."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from torch import Tensor, nn

from lossc.compiler.errors import LossTypeError
from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.targets.inplace import overwrite, shared
from lossc.compiler.targets.options import Options
from lossc.compiler.targets.torch import emit
from lossc.grammar.library import named
from lossc.runtime.compiled import load_source
from tests.strategies import losses

FUSED, PLAIN = Options(fused=True), Options(fused=False)


def loaded(loss: Loss, options: Options) -> Any:
    """The emitted module, as a Python module."""
    return load_source(emit(loss, selftest=False, options=options), loss.name)


def with_blocks(loss: Loss, size: int, reduction: str, monkeypatch: pytest.MonkeyPatch, **more: Any) -> nn.Module:
    """The fused loss with blocks of another size."""
    module = loaded(loss, FUSED)
    monkeypatch.setattr(module, "_BLOCK", size)
    made: nn.Module = module.Loss(reduction, **more)
    return made


def both(module: nn.Module, z: Tensor, *given: Tensor) -> tuple[Tensor, Tensor]:
    """The loss, and the gradient of its sum."""
    value = module(z, *given)
    return value.detach(), torch.autograd.grad(value.sum(), z)[0]


# -- the kernels ------------------------------------------------------------------------------------------------------


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(losses(max_leaves=8))
def test_fused_is_plain_for_any_loss(loss: Loss) -> None:
    """Whatever the formula: values and gradients of the fused form are those of the plain form wherever these are
    moderate, and neither the input nor the target is touched (nothing is overwritten that is not a temporary)."""
    assume(all(p.default is not None for p in loss.params))
    torch.manual_seed(1)
    shape = (6, 3) if loss.layout == CLASSWISE else (12,)
    z = torch.randn(shape, dtype=torch.float64)
    z = (z.abs() + 0.1 if loss.f == "positive" else z).requires_grad_()
    y = torch.rand(shape, dtype=torch.float64)
    y = (y > 0.5).double() if loss.y in ("binary", "count") else y
    if loss.y in ("onehot", "prob"):
        y = torch.nn.functional.one_hot(torch.randint(0, 3, (6,)), 3).double()
    try:
        fused, plain = (loaded(loss, o) for o in (FUSED, PLAIN))
    except LossTypeError as refused:
        assert refused.diagnostic.code == "L340"
        return
    before = z.detach().clone(), y.clone()
    for reduction in ("none", "sum"):
        (a, da), (b, db) = (both(m.Loss(reduction), z, y) for m in (fused, plain))
        sound = torch.isfinite(b).all() and torch.isfinite(db).all() and b.abs().max() < 1e6 and db.abs().max() < 1e6
        if sound:
            assert torch.allclose(a, b, rtol=1e-7, atol=1e-9)
            assert torch.allclose(da, db, rtol=1e-6, atol=1e-7 * (1 + float(db.abs().max())))
    assert torch.equal(z.detach(), before[0]) and torch.equal(y, before[1])


def test_temporaries_are_overwritten_only_when_nothing_reads_them() -> None:
    """Arguments, views, results and what is read later are left alone; equal lines are computed once."""
    lines = ["v0 = y - f", "v1 = torch.abs(v0)", "v2 = f - y", "v3 = torch.abs(v0)", "v4 = v1 * v3", "v5 = v4 + y"]
    kept, results = shared(lines, ["v5", "v0"])
    assert kept == ["v0 = y - f", "v1 = torch.abs(v0)", "v2 = f - y", "v4 = v1 * v1", "v5 = v4 + y"]
    assert overwrite(kept, results, ["y", "f"])[-2:] == ["v4 = v1 * v1", "v5 = v4.add_(y)"]
    views = ["v0 = f * 2.0", "v1 = torch.squeeze(v0)", "v2 = v0 + 1.0", "v3 = v1 + v2"]
    assert overwrite(views, ["v3"], ["f"])[2] == "v2 = v0 + 1.0"
    rows = ["v0 = torch.sum(f, dim=dim, keepdim=True)", "v1 = v0 * f"]
    assert overwrite(rows, ["v1"], ["f"])[1] == "v1 = v0 * f"


# -- blocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 12, 24, 10**6])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("name", ["pseudo_huber", "evomal_i", "cross_entropy", "label_smoothing", "focal"])
def test_blocks_of_any_size(name: str, size: int, reduction: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of one element, that do not divide the batch, smaller than a row, and larger than everything."""
    torch.manual_seed(2)
    z = torch.randn(8, 3, dtype=torch.float64, requires_grad=True)
    y = torch.randn(8, 3).double() if named(name).layout != CLASSWISE else torch.randint(0, 3, (8,))
    weight = torch.rand(8, 3).double() if y.dim() == 2 else torch.rand(8).double()
    module, plain = with_blocks(named(name), size, reduction, monkeypatch), loaded(named(name), PLAIN).Loss(reduction)
    for given_ in ((y,), (y, weight)):
        for ours, theirs in zip(both(module, z, *given_), both(plain, z, *given_), strict=True):
            assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["pseudo_huber", "cross_entropy"])
def test_layouts(name: str) -> None:
    """Transposed, strided, expanded and channels-last inputs give the numbers of contiguous ones."""
    torch.manual_seed(3)
    base = torch.randn(4, 6, 5, 3, dtype=torch.float64)
    module = named(name).to_torch(options=FUSED)
    for z in (base.transpose(0, 2), base[::2], base.to(memory_format=torch.channels_last), base[:1].expand(4, 6, 5, 3)):
        y = torch.randn(z.shape).double()
        y = y if name == "pseudo_huber" else torch.randint(0, z.shape[1], z[:, 0].shape)
        odd, plain = z.detach().requires_grad_(), z.detach().contiguous().clone().requires_grad_()
        for ours, theirs in zip(both(module, odd, y), both(module, plain, y), strict=True):
            assert torch.allclose(ours, theirs, rtol=1e-12)


# -- autograd ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pseudo_huber", "sparse_lsr", "label_smoothing"])
def test_gradients_belong_to_the_caller(name: str) -> None:
    """A gradient may be changed in place, asked for again with retain_graph, scaled, and added to others."""
    torch.manual_seed(4)
    loss = named(name)
    z = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    y = torch.randint(0, 3, (6,)) if loss.layout == CLASSWISE else torch.randn(6, 3).double()
    value = loss.to_torch(options=FUSED)(z, y)
    true = torch.autograd.grad(loss.to_torch(options=PLAIN)(z, y), z)[0]
    for scale in (1.0, 1.0, -3.0, 0.5):
        (slope,) = torch.autograd.grad(value * scale, z, retain_graph=True)
        assert torch.allclose(slope, scale * true, rtol=1e-12)
        slope.mul_(100.0)
    value.backward()
    assert z.grad is not None and torch.allclose(z.grad, true, rtol=1e-12)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        value.backward()


def test_inputs_changed_in_between_are_noticed() -> None:
    """Changing the input between forward and backward is torch's error, not a wrong gradient."""
    z = torch.randn(5, dtype=torch.float64, requires_grad=True)
    inner = z * 1.0
    value = named("pseudo_huber").to_torch("none", options=FUSED)(inner, torch.zeros(5).double())
    inner.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        value.sum().backward()


def test_without_gradients_nothing_is_kept() -> None:
    """Under no_grad and inference_mode, and for inputs that want no gradient, only the value is computed."""
    z, y = torch.randn(5), torch.zeros(5)
    module = named("pseudo_huber").to_torch(options=FUSED)
    expected = named("pseudo_huber").to_torch(options=PLAIN)(z, y)
    for mode in (torch.no_grad(), torch.inference_mode(), torch.enable_grad()):
        with mode:
            value = module(z, y)
            assert not value.requires_grad and torch.allclose(value, expected)


@pytest.mark.parametrize("learned", ["target", "weights"])
def test_gradients_of_targets_and_weights(learned: str) -> None:
    """Targets and sample weights that want gradients get those of the plain form."""
    torch.manual_seed(5)
    z = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    y, w = torch.softmax(torch.randn(6, 3).double(), 1), torch.rand(6).double()
    leaf = (y if learned == "target" else w).requires_grad_()
    slopes = [
        torch.autograd.grad(named("cross_entropy").to_torch(options=o)(z, y, w), (z, leaf)) for o in (FUSED, PLAIN)
    ]
    for ours, theirs in zip(*slopes, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-12) and theirs.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype: torch.dtype) -> None:
    """Under autocast the loss is computed in float32 and is float32; without, it is rounded to the input's dtype."""
    z, y = torch.randn(6, 3).to(dtype).requires_grad_(), torch.randint(0, 3, (6,))
    module = named("cross_entropy").to_torch(options=FUSED)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = module(z, y)
    assert value.dtype == torch.float32 and module(z, y).dtype == dtype
    assert torch.allclose(value, torch.nn.functional.cross_entropy(z.float(), y), rtol=1e-6)
    value.backward()
    assert z.grad is not None and z.grad.dtype == dtype
    large = torch.full((2,), 200.0, dtype=torch.float16)
    assert named("mse").to_torch(options=FUSED)(large, torch.zeros_like(large)).item() == 40000.0  # V34


def test_no_onehot_tensor_for_class_indices() -> None:
    """One sample of a million classes: no tensor but the gradient and blocks of the input's size is ever made."""
    z = torch.randn(2, 100_000, requires_grad=True)
    for name in ("cross_entropy", "sparse_lsr", "focal"):
        source = emit(named(name), selftest=False, options=FUSED)
        block = source.partition("def _target_block")[2].partition("\ndef ")[0]
        assert "_onehot" not in block and "one_hot" not in block
        value = named(name).to_torch(options=FUSED)(z, torch.tensor([3, 99_999]))
        value.backward()
        assert torch.isfinite(value)
