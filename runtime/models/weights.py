"""Making a module and its first weights from one random stream, layer by layer, in the order of its layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

XAVIER, KAIMING, FAN_OUT = "xavier", "kaiming", "fan-out"
"""How weights begin: uniform (Glorot and Bengio, 2010), normal (He et al., 2015), or as the code of residual
networks has it: convolutions normal with variance 2 over k·k·(channels out), linear layers Xavier-uniform."""


Module = TypeVar("Module", bound=nn.Module)


def made(make: Callable[[], Module], scheme: str, stream: torch.Generator, dtype: torch.dtype) -> Module:
    """The module that `make` builds, on the CPU in `dtype`, its weights drawn from the stream alone; biases are 0.

    `make` runs on torch's meta device, where no memory is taken and no random number drawn; torch's global stream is
    neither read nor moved. ValueError for a layer with weights that is neither linear, convolution nor normalisation.
    """
    with torch.device("meta"):
        module = make()
    module = module.to(dtype=dtype).to_empty(device="cpu")
    with torch.no_grad():
        for name, layer in module.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                _draw(layer, scheme, stream)
            elif isinstance(layer, _BatchNorm):
                layer.reset_running_stats()
                nn.init.ones_(layer.weight)
                nn.init.zeros_(layer.bias)
            elif [*layer.parameters(recurse=False), *layer.buffers(recurse=False)]:
                raise ValueError(f"no first weights are known for {name}, {type(layer).__name__}")
    return module


def _draw(layer: nn.Conv2d | nn.Linear, scheme: str, stream: torch.Generator) -> None:
    if scheme == KAIMING:
        nn.init.kaiming_normal_(layer.weight, generator=stream)
    elif scheme == FAN_OUT and isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", generator=stream)
    else:
        nn.init.xavier_uniform_(layer.weight, generator=stream)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
