"""Base models, built from a random stream of their own: the same stream gives the same weights, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn


def mlp(sizes: Sequence[int], stream: torch.Generator, dtype: torch.dtype = torch.float32) -> nn.Sequential:
    """A multi-layer perceptron with ReLU between its layers: x [n, sizes[0]] -> [n, sizes[-1]], no output activation.

    Weights are Xavier-uniform (Glorot and Bengio, 2010), biases 0, as in the MLPs of the thesis's code. Torch's global
    random stream is neither read nor moved.
    """
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(sizes):
        layer = nn.Linear(wide, narrow, device="meta", dtype=dtype).to_empty(device="cpu")
        nn.init.xavier_uniform_(layer.weight, generator=stream)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])
