"""Residual networks: ResNet-18, and those with activation first (PreResNet, WRN)."""

from __future__ import annotations

from torch import Tensor, nn

from lossc.compiler.errors import UsageError
from lossc.runtime.models.blocks import Mean, conv3, padding


class Basic(nn.Module):
    """Two 3x3 convolutions and a short cut, the activation last (He et al., 2016a)."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv3(inside, outside, stride), nn.BatchNorm2d(outside), nn.ReLU(),
            conv3(outside, outside), nn.BatchNorm2d(outside),
        )  # fmt: skip
        same = inside == outside and stride == 1
        across = [nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)]
        self.short = nn.Identity() if same else nn.Sequential(*across)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """x [n, inside, H, W] -> [n, outside, H / stride, W / stride]."""
        out: Tensor = self.relu(self.body(x) + self.short(x))
        return out


class Preactivated(nn.Module):
    """Two 3x3 convolutions, each behind normalisation and activation, and a short cut (He et al., 2016b).

    The short cut of a block that changes shape is a 1x1 convolution: of the block's input, or, where `shared`, of what
    the first convolution sees (Zagoruyko and Komodakis, 2016).
    """

    def __init__(self, inside: int, outside: int, stride: int, shared: bool) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.BatchNorm2d(inside), nn.ReLU())
        self.body = nn.Sequential(
            conv3(inside, outside, stride), nn.BatchNorm2d(outside), nn.ReLU(), conv3(outside, outside)
        )
        same = inside == outside and stride == 1
        self.short = nn.Identity() if same else nn.Conv2d(inside, outside, 1, stride, bias=False)
        self.shared = shared and not same

    def forward(self, x: Tensor) -> Tensor:
        """x [n, inside, H, W] -> [n, outside, H / stride, W / stride]."""
        seen = self.first(x)
        out: Tensor = self.body(seen) + self.short(seen if self.shared else x)
        return out


def resnet18(shape: tuple[int, ...], outputs: int, width: int = 64) -> nn.Sequential:
    """ResNet-18 (He et al., 2016a) for images of 32x32: a 3x3 stem and no pooling before the blocks.

    11.17 million weights for 10 classes. `width` is the number of channels of the first of its four stages.
    """
    layers: list[nn.Module] = [*padding(shape), conv3(shape[0], width), nn.BatchNorm2d(width), nn.ReLU()]
    inside = width
    for stage in range(4):
        for block in range(2):
            outside = width * 2**stage
            layers.append(Basic(inside, outside, 2 if stage and not block else 1))
            inside = outside
    return nn.Sequential(*layers, Mean(), nn.Linear(inside, outputs))


def _stages(
    shape: tuple[int, ...], outputs: int, blocks: int, channels: tuple[int, int, int], shared: bool
) -> nn.Sequential:
    layers: list[nn.Module] = [*padding(shape), conv3(shape[0], 16)]
    inside = 16
    for stage, outside in enumerate(channels):
        for block in range(blocks):
            layers.append(Preactivated(inside, outside, 2 if stage and not block else 1, shared))
            inside = outside
    return nn.Sequential(*layers, nn.BatchNorm2d(inside), nn.ReLU(), Mean(), nn.Linear(inside, outputs))


def preresnet(shape: tuple[int, ...], outputs: int, depth: int = 101) -> nn.Sequential:
    """PreResNet (He et al., 2016b) of 6n + 2 layers, n = (depth - 2) // 6, with channels 16, 32 and 64.

    Its blocks are of two 3x3 convolutions at every depth, as in the public EvoMAL code. So the thesis's "PreResNet-101"
    is not the bottleneck network of that name: it has 98 layers and 1.5 million weights. UsageError (L223) for a depth
    below 8.
    """
    if depth < 8:
        raise UsageError("L223", f"a PreResNet has 8 layers or more, got {depth}")
    return _stages(shape, outputs, (depth - 2) // 6, (16, 32, 64), shared=False)


def wrn(shape: tuple[int, ...], outputs: int, depth: int = 28, width: int = 10) -> nn.Sequential:
    """A wide residual network (Zagoruyko and Komodakis, 2016), WRN-depth-width, of 6n + 4 layers, without dropout.

    WRN-28-10 has 36.5 million weights for 10 classes, WRN-16-8 11.0. UsageError (L223) for another depth.
    """
    if depth < 10 or depth % 6 != 4:
        raise UsageError("L223", f"a WRN has 6n + 4 layers, got {depth}", expected="10, 16, 22, 28, ...")
    return _stages(shape, outputs, (depth - 4) // 6, (16 * width, 32 * width, 64 * width), shared=True)
