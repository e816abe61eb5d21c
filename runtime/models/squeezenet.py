"""SqueezeNet (Iandola et al., 2016) for images of 32x32, as in the public EvoMAL code: with short cuts and batch
normalisation, and a 3x3 stem."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lossc.runtime.models.blocks import Mean, conv_norm_relu, padding

POOL = None
FIRES: tuple[tuple[int, int] | None, ...] = (
    (128, 16), (128, 16), (256, 32), POOL, (256, 32), (384, 48), (384, 48), (512, 64), POOL, (512, 64),
)  # fmt: skip
"""Channels out of a fire module, and inside it. Modules 3, 5, 7 and 9 could have short cuts; as in the public code, 3,
5 and 7 have."""


class Fire(nn.Module):
    """A 1x1 convolution that squeezes, then 1x1 and 3x3 convolutions side by side; x is added where `short`."""

    def __init__(self, inside: int, outside: int, squeezed: int, short: bool) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(*conv_norm_relu(inside, squeezed, 1))
        self.one = nn.Sequential(*conv_norm_relu(squeezed, outside // 2, 1))
        self.three = nn.Sequential(*conv_norm_relu(squeezed, outside // 2, 3))
        self.short = short

    def forward(self, x: Tensor) -> Tensor:
        """x [n, inside, H, W] -> [n, outside, H, W]."""
        squeezed = self.squeeze(x)
        out = torch.cat([self.one(squeezed), self.three(squeezed)], dim=1)
        return out + x if self.short else out


def squeezenet(shape: tuple[int, ...], outputs: int, width: float = 1.0) -> nn.Sequential:
    """x [n, C, H, W] -> [n, outputs]; 0.74 million weights for 10 classes. `width` scales all channels."""
    inside = max(8, round(96 * width))
    layers: list[nn.Module] = [*padding(shape), *conv_norm_relu(shape[0], inside, 3), nn.MaxPool2d(2)]
    for place, fire in enumerate(FIRES):
        if fire is None:
            layers.append(nn.MaxPool2d(2))
            continue
        outside, squeezed = (max(2, round(n * width / 2) * 2) for n in fire)
        last = place == len(FIRES) - 1
        layers.append(Fire(inside, outside, squeezed, short=inside == outside and not last))
        inside = outside
    return nn.Sequential(*layers, nn.Conv2d(inside, outputs, 1), Mean())
