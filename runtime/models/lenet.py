"""LeNet-5 (LeCun, Bottou, Bengio and Haffner, 1998)."""

from __future__ import annotations

from torch import nn

from lossc.runtime.models.blocks import padded, padding


def lenet5(shape: tuple[int, ...], outputs: int) -> nn.Sequential:
    """Tanh and average pooling: x [n, C, H, W] -> [n, outputs].

    Images of 28x28 are padded to 32x32, as in the paper: 61,706 weights for one channel and 10 classes. (The public
    EvoMAL code does not pad, and has 44,426.)
    """
    height, width = ((side - 12) // 4 for side in padded(shape))
    layers = [
        *padding(shape),
        nn.Conv2d(shape[0], 6, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * height * width, 120), nn.Tanh(),
        nn.Linear(120, 84), nn.Tanh(),
        nn.Linear(84, outputs),
    ]  # fmt: skip
    return nn.Sequential(*layers)
