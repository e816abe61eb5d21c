"""PyramidNet (Han, Kim and Kim, 2017): channels grow a little in every block, and short cuts have no weights."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import pad

from lossc.runtime.models.blocks import Mean, conv3, padding


class Growing(nn.Module):
    """Two 3x3 convolutions between three normalisations and one activation; zeros fill the short cut's channels."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(inside), conv3(inside, outside, stride),
            nn.BatchNorm2d(outside), nn.ReLU(), conv3(outside, outside),
            nn.BatchNorm2d(outside),
        )  # fmt: skip
        self.short = nn.AvgPool2d(2, ceil_mode=True) if stride == 2 else nn.Identity()
        self.more = outside - inside

    def forward(self, x: Tensor) -> Tensor:
        """x [n, inside, H, W] -> [n, outside, H / stride, W / stride]."""
        out: Tensor = self.body(x) + pad(self.short(x), (0, 0, 0, 0, 0, self.more))
        return out


def pyramidnet(shape: tuple[int, ...], outputs: int, depth: int = 110, alpha: float = 48.0) -> nn.Sequential:
    """PyramidNet of 6n + 2 layers, n = (depth - 2) // 6, from 16 to 16 + alpha channels.

    x [n, C, H, W] -> [n, outputs]. Depth 110 and alpha 48 make 1.7 million weights for 10 classes.
    """
    blocks = (depth - 2) // 6
    layers: list[nn.Module] = [*padding(shape), conv3(shape[0], 16), nn.BatchNorm2d(16)]
    inside = 16
    for block in range(3 * blocks):
        outside = round(16 + alpha * (block + 1) / (3 * blocks))
        layers.append(Growing(inside, outside, 2 if block in (blocks, 2 * blocks) else 1))
        inside = outside
    return nn.Sequential(*layers, nn.BatchNorm2d(inside), nn.ReLU(), Mean(), nn.Linear(inside, outputs))
