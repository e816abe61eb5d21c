"""The base models: published sizes, any shape, dtype and stream, every weight in use, pure under `functional_call`."""

from __future__ import annotations

import pickle
from functools import partial

import pytest
import torch
from torch import nn
from torch.func import functional_call

from lossc.compiler.errors import UsageError
from lossc.runtime.models import FLAT, IMAGES, MODELS, build, factory, mlp
from lossc.runtime.models.resnet import preresnet, wrn

COLOUR, GREY = (3, 32, 32), (1, 28, 28)


def count(module: nn.Module) -> int:
    """The number of weights."""
    return sum(p.numel() for p in module.parameters())


def stream(seed: int = 0) -> torch.Generator:
    """A random stream."""
    return torch.Generator().manual_seed(seed)


def batch(shape: tuple[int, ...], rows: int = 4, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Random inputs."""
    return torch.randn(rows, *shape, generator=stream(7), dtype=dtype)


PUBLISHED = {
    ("lenet5", GREY, 10): 61_706,
    ("alexnet", COLOUR, 10): 23_272_266,
    ("vgg16", COLOUR, 10): 14_728_266,
    ("allcnnc", COLOUR, 10): 1_369_738 + 2 * (3 * 96 + 5 * 192 + 10),
    ("resnet18", COLOUR, 10): 11_173_962,
    ("wrn28-10", COLOUR, 10): 36_479_194,
    ("wrn28-10", COLOUR, 100): 36_536_884,
    ("wrn16-8", COLOUR, 10): 10_961_370,
    ("squeezenet", COLOUR, 10): 734_986,
    ("preresnet", COLOUR, 10): 1_536_090,
    ("pyramidnet110", COLOUR, 10): 1_772_706,
}
"""LeCun et al. (1998) pad to 32x32; ResNet-18, VGG-16 and WRN as their usual CIFAR forms are quoted (11.17, 14.73, 36.5
and 11.0 million); All-CNN-C is the paper's 1.37 million and its normalisations; PyramidNet the paper's 1.7 million."""


@pytest.mark.parametrize(("name", "shape", "outputs"), PUBLISHED)
def test_published_networks_have_the_published_size(name: str, shape: tuple[int, ...], outputs: int) -> None:
    """The number of weights is the published one (counted on the meta device: nothing is computed)."""
    family = MODELS[name]
    with torch.device("meta"):
        module = family.make(shape, outputs, **family.sizes["thesis"][1])

    assert count(module) == PUBLISHED[name, shape, outputs]


def test_depths_of_residual_networks() -> None:
    """PreResNet-110 and -20 have the 1.7 and 0.27 million weights of He et al. (2016), to what the short cuts add;
    impossible depths are refused."""
    with torch.device("meta"):
        assert 1.72e6 < count(preresnet(COLOUR, 10, depth=110)) < 1.74e6
        assert 0.26e6 < count(preresnet(COLOUR, 10, depth=20)) < 0.28e6
    for make in (partial(preresnet, depth=7), partial(wrn, depth=27), partial(wrn, depth=4)):
        with pytest.raises(UsageError) as caught:
            make(COLOUR, 10)
        assert caught.value.diagnostic.code == "L223"


@pytest.mark.parametrize("name", [n for n in IMAGES if n != "wrn16-8"])
@pytest.mark.parametrize("shape", [GREY, COLOUR, (3, 40, 48)], ids=["28x28", "32x32", "40x48"])
def test_models_are_sized_for_the_images(name: str, shape: tuple[int, ...]) -> None:
    """One or three channels, 28x28, 32x32 or a rectangle: one row of logits an image."""
    _, make = factory(name, shape, 7)
    module = make(stream()).eval()

    assert module(batch(shape, 3)).shape == (3, 7)


@pytest.mark.parametrize("name", [n for n in IMAGES if n != "wrn16-8"])
def test_every_weight_learns(name: str) -> None:
    """In float64 the gradient of every weight tensor is finite, in training mode and in evaluation mode, and in the
    latter not zero. (Behind a bias there may be a normalisation, which takes it out again in training.)"""
    module = build(name, COLOUR, 10, "small", stream(), torch.float64)
    y = torch.arange(8) % 10
    for training in (True, False):
        outputs = module.train(training)(batch(COLOUR, 8, torch.float64))
        assert outputs.dtype == torch.float64
        slopes = torch.autograd.grad(nn.functional.cross_entropy(outputs, y), [*module.parameters()])
        for (label, _), slope in zip(module.named_parameters(), slopes, strict=True):
            assert torch.isfinite(slope).all()
            assert training or slope.abs().max() > 1e-9, label


@pytest.mark.parametrize("name", (*FLAT, *IMAGES))
def test_one_stream_one_model(name: str) -> None:
    """Equal streams give equal weights and buffers, to the bit; another stream gives others; torch's global one rests.
    The factory can be sent to another process."""
    before = torch.get_rng_state()
    _, make = factory(name, GREY, 10)

    a, b, other = make(stream(1)), pickle.loads(pickle.dumps(make))(stream(1)), make(stream(2))  # noqa: S301

    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))
    assert any(not torch.equal(p, q) for p, q in zip(a.parameters(), other.parameters(), strict=True))
    wide = make(stream(1), torch.float64)
    assert all(p.dtype == torch.float64 for p in wide.parameters())


@pytest.mark.parametrize("name", [n for n in IMAGES if n != "wrn16-8"])
def test_models_are_functions_of_their_weights(name: str) -> None:
    """Under `functional_call` with copies of weights and buffers, the module keeps its own as they were, the copies of
    the running statistics move, and the outputs are those of the module."""
    module = build(name, COLOUR, 10, "small", stream())
    weights = {k: v.detach().clone() for k, v in module.named_parameters()}
    buffers = {k: v.clone() for k, v in module.named_buffers()}
    own = {k: v.clone() for k, v in module.state_dict().items()}
    x = batch(COLOUR)

    torch.manual_seed(0)
    outputs = functional_call(module, {**weights, **buffers}, (x,))

    assert all(torch.equal(own[k], v) for k, v in module.state_dict().items())
    moved = {k for k, v in buffers.items() if not torch.equal(v, own[k])}
    assert moved == buffers.keys()
    torch.manual_seed(0)
    assert torch.equal(outputs, module(x))


@pytest.mark.parametrize("name", [n for n in IMAGES if n != "wrn16-8"])
def test_gradients_of_gradients(name: str) -> None:
    """A second derivative through each network exists and is finite: meta-learning needs it."""
    module = build(name, COLOUR, 10, "small", stream(), torch.float64)
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    value = (module(batch(COLOUR, 4, torch.float64)) * scale).square().mean()

    slopes = torch.autograd.grad(value, [*module.parameters()], create_graph=True)
    (second,) = torch.autograd.grad(sum(s.square().sum() for s in slopes), [scale])

    assert torch.isfinite(second) and second != 0


def test_first_weights_have_the_deviation_of_their_scheme() -> None:
    """Kaiming: variance 2 over fan-in; the residual networks: over fan-out; LeNet: Xavier's bound; biases 0."""
    vgg = build("vgg16", COLOUR, 10, "thesis", stream())
    conv = [m for m in vgg.modules() if isinstance(m, nn.Conv2d)][5]
    assert float(conv.weight.detach().std()) == pytest.approx((2 / (9 * conv.in_channels)) ** 0.5, rel=0.02)
    wide = build("preresnet", COLOUR, 10, "thesis", stream())
    conv = [m for m in wide.modules() if isinstance(m, nn.Conv2d)][-1]
    assert float(conv.weight.detach().std()) == pytest.approx((2 / (9 * conv.out_channels)) ** 0.5, rel=0.02)
    lenet = build("lenet5", GREY, 10, "thesis", stream())
    linear = next(m for m in lenet.modules() if isinstance(m, nn.Linear))
    bound = (6 / (linear.in_features + linear.out_features)) ** 0.5
    assert 0.99 * bound < float(linear.weight.detach().abs().max()) <= bound
    assert all(
        bool((m.bias == 0).all()) for m in (*lenet.modules(), *vgg.modules()) if getattr(m, "bias", None) is not None
    )


def test_flat_models_take_images() -> None:
    """`logistic` and `mlp` flatten images, and have no such layer where there are none: the names of weights stay."""
    label, make = factory("logistic", GREY, 10)
    assert label == "logistic 784-10" and make(stream())(batch(GREY)).shape == (4, 10)
    label, make = factory("logistic", (8,), 1)
    assert label == "linear 8-1" and [*dict(make(stream()).named_parameters())] == ["0.weight", "0.bias"]
    label, make = factory("mlp", (8,), 1, "thesis")
    assert label == "MLP 8-1000-1000-1"
    assert [*dict(mlp((8, 4, 1), stream()).named_parameters())] == ["0.weight", "0.bias", "2.weight", "2.bias"]


@pytest.mark.parametrize(
    ("name", "shape", "size"), [("lenet6", GREY, "small"), ("vgg16", (64,), "small"), ("mlp", (4,), "huge")]
)
def test_models_that_cannot_be(name: str, shape: tuple[int, ...], size: str) -> None:
    """An unknown name or size, and a network for images where there are none, end in L221."""
    with pytest.raises(UsageError) as caught:
        factory(name, shape, 10, size)
    assert caught.value.diagnostic.code == "L221" and caught.value.diagnostic.expected
