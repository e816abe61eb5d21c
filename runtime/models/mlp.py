"""Multi-layer perceptrons, and linear models as those without a hidden layer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from lossc.runtime.models.weights import XAVIER, made


def mlp(
    sizes: Sequence[int], stream: torch.Generator, dtype: torch.dtype = torch.float32, *, flatten: bool = False
) -> nn.Sequential:
    """A multi-layer perceptron with ReLU between its layers: x [n, sizes[0]] -> [n, sizes[-1]], no output activation.

    Weights are Xavier-uniform (Glorot and Bengio, 2010), biases 0, as in the MLPs of the thesis's code. Torch's global
    random stream is neither read nor moved. With `flatten`, x may be images.
    """

    def make() -> nn.Sequential:
        layers: list[nn.Module] = [nn.Flatten()] if flatten else []
        for wide, narrow in pairwise(sizes):
            layers += [nn.Linear(wide, narrow), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    return made(make, XAVIER, stream, dtype)
