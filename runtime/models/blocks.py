"""What the families of convolutional networks share."""

from __future__ import annotations

from torch import Tensor, nn

SIDE = 32
"""Images smaller than this are padded to it: all of these networks were made for images of 32x32 or more."""


class Mean(nn.Module):
    """The mean over all places: [n, C, H, W] -> [n, C]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


def padding(shape: tuple[int, ...]) -> list[nn.Module]:
    """The layer that pads images of `shape` (C, H, W) with zeros to 32x32, which 0 or more of the sides need."""
    rows, columns = (max(0, SIDE - side) for side in shape[1:])
    if not rows and not columns:
        return []
    return [nn.ZeroPad2d((columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))]


def padded(shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width behind that layer."""
    return max(SIDE, shape[1]), max(SIDE, shape[2])


def conv3(inside: int, outside: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution without bias, one before a normalisation or inside a residual block."""
    return nn.Conv2d(inside, outside, 3, stride, 1, bias=False)


def conv_norm_relu(inside: int, outside: int, size: int, stride: int = 1) -> list[nn.Module]:
    """A convolution (with bias, as in the public EvoMAL code), batch normalisation and ReLU."""
    return [nn.Conv2d(inside, outside, size, stride, size // 2), nn.BatchNorm2d(outside), nn.ReLU()]
