"""Base models by name, sized for a data set: `factory("lenet5", (1, 28, 28), 10)`.

A model comes from a random stream of its own: the same stream gives the same weights, bit for bit, on any device.
The size "thesis" is the published network; "small" is one of its family that trains on one core in a minute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from torch import nn

from lossc.compiler.errors import UsageError
from lossc.runtime.models.lenet import lenet5
from lossc.runtime.models.mlp import mlp
from lossc.runtime.models.plain import alexnet, allcnnc, vgg16
from lossc.runtime.models.pyramidnet import pyramidnet
from lossc.runtime.models.resnet import preresnet, resnet18, wrn
from lossc.runtime.models.squeezenet import squeezenet
from lossc.runtime.models.weights import FAN_OUT, KAIMING, XAVIER, made

__all__ = ["FLAT", "IMAGES", "MODELS", "Family", "build", "factory", "mlp"]

SMALL, THESIS = "small", "thesis"


@dataclass(frozen=True, slots=True)
class Family:
    """A convolutional network: how it is made, how its weights begin, and its sizes.

    make    `(shape, outputs, **settings) -> module`; `sizes` has, by name, the label for tables and the settings
    """

    make: Callable[..., nn.Module]
    scheme: str
    sizes: Mapping[str, tuple[str, Mapping[str, Any]]]


def _sizes(full: str, small: str, settings: Mapping[str, Any], given: Mapping[str, Any] | None = None) -> Any:
    return {THESIS: (full, given or {}), SMALL: (small, settings)}


MODELS: Mapping[str, Family] = {
    "lenet5": Family(lenet5, XAVIER, _sizes("LeNet-5", "LeNet-5", {})),
    "alexnet": Family(alexnet, KAIMING, _sizes("AlexNet", "AlexNet (width 1/8)", {"width": 1 / 8})),
    "vgg16": Family(vgg16, KAIMING, _sizes("VGG-16", "VGG-16 (width 1/8)", {"width": 1 / 8})),
    "allcnnc": Family(allcnnc, KAIMING, _sizes("AllCNN-C", "AllCNN-C (width 1/8)", {"width": 1 / 8, "dropout": 0.1})),
    "resnet18": Family(resnet18, KAIMING, _sizes("ResNet-18", "ResNet-18 (8 channels)", {"width": 8})),
    "preresnet": Family(preresnet, FAN_OUT, _sizes("PreResNet-101", "PreResNet-8", {"depth": 8}, {"depth": 101})),
    "wrn28-10": Family(wrn, FAN_OUT, _sizes("WRN-28-10", "WRN-10-1", {"depth": 10, "width": 1})),
    "wrn16-8": Family(
        wrn, FAN_OUT, _sizes("WRN-16-8", "WRN-10-1", {"depth": 10, "width": 1}, {"depth": 16, "width": 8})
    ),
    "squeezenet": Family(squeezenet, XAVIER, _sizes("SqueezeNet", "SqueezeNet (width 1/4)", {"width": 1 / 4})),
    "pyramidnet110": Family(
        pyramidnet, FAN_OUT, _sizes("PyramidNet-110 (alpha 48)", "PyramidNet-8 (alpha 12)", {"depth": 8, "alpha": 12})
    ),
}
FLAT = ("logistic", "mlp")
"""The models for rows of numbers, which take images too."""
IMAGES = tuple(MODELS)
"""The models for images alone."""

Factory = Callable[..., nn.Module]


def factory(name: str, shape: tuple[int, ...], outputs: int, size: str = SMALL) -> tuple[str, Factory]:
    """The label of a model for inputs [n, *shape], and `(stream, dtype) -> module` that builds it.

    Raises UsageError (L221) for an unknown name or size, or a model of images where there are none.
    """
    if name not in (*FLAT, *IMAGES):
        raise UsageError("L221", f"there is no model `{name}`", expected="one of: " + ", ".join((*FLAT, *IMAGES)))
    if size not in (SMALL, THESIS):
        raise UsageError("L221", f"{name} has no size `{size}`", expected=f"one of: {SMALL}, {THESIS}")
    if name in FLAT:
        hidden = () if name == "logistic" else _hidden(outputs, size)
        layers = (prod(shape), *hidden, outputs)
        kind = "MLP" if hidden else "linear" if outputs == 1 else "logistic"
        return f"{kind} " + "-".join(map(str, layers)), partial(mlp, layers, flatten=len(shape) > 1)
    if len(shape) != 3:
        raise UsageError("L221", f"{name} needs images, and there are rows of {prod(shape)} numbers",
                         expected="one of: " + ", ".join(FLAT))  # fmt: skip
    return MODELS[name].sizes[size][0], partial(build, name, shape, outputs, size)


def _hidden(outputs: int, size: str) -> tuple[int, ...]:
    """The hidden layers of an MLP: in the size of the thesis those of Baydin et al. (2018)."""
    if size == THESIS:
        return (1000, 1000)
    return (64, 64) if outputs == 1 else (64,)


def build(
    name: str,
    shape: tuple[int, ...],
    outputs: int,
    size: str,
    stream: torch.Generator,
    dtype: torch.dtype = torch.float32,
) -> nn.Module:
    """The network of MODELS of that name and size: x [n, *shape] -> [n, outputs], no output activation."""
    family = MODELS[name]
    return made(partial(family.make, shape, outputs, **family.sizes[size][1]), family.scheme, stream, dtype)
