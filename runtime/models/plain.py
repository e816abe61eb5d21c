"""Convolutional networks without short cuts: AlexNet, VGG-16 and All-CNN-C, in their forms for small images."""

from __future__ import annotations

from torch import nn

from lossc.runtime.models.blocks import Mean, conv_norm_relu, padded, padding


def alexnet(shape: tuple[int, ...], outputs: int, width: float = 1.0) -> nn.Sequential:
    """AlexNet (Krizhevsky, Sutskever and Hinton, 2012) for images of 32x32, as in the public EvoMAL code.

    The first convolution is 3x3 with stride 2, and nothing is dropped. `width` scales all channels.
    """
    a, b, c, d, hidden = (max(8, round(n * width)) for n in (64, 192, 384, 256, 4096))
    height, across = ((side + 1) // 2 // 8 for side in padded(shape))
    layers = [
        *padding(shape),
        nn.Conv2d(shape[0], a, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(b, c, 3, padding=1), nn.ReLU(),
        nn.Conv2d(c, d, 3, padding=1), nn.ReLU(),
        nn.Conv2d(d, d, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(d * height * across, hidden), nn.ReLU(),
        nn.Linear(hidden, hidden), nn.ReLU(),
        nn.Linear(hidden, outputs),
    ]  # fmt: skip
    return nn.Sequential(*layers)


VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
"""Channels of the convolutions; 0 is a pooling."""


def vgg16(shape: tuple[int, ...], outputs: int, width: float = 1.0) -> nn.Sequential:
    """VGG-16 (Simonyan and Zisserman, 2015) with batch normalisation and one linear layer, as usual on CIFAR.

    14.7 million weights for 10 classes. `width` scales all channels.
    """
    layers, inside = padding(shape), shape[0]
    for channels in VGG16:
        if channels:
            outside = max(8, round(channels * width))
            layers += conv_norm_relu(inside, outside, 3)
            inside = outside
        else:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, Mean(), nn.Linear(inside, outputs))


def allcnnc(shape: tuple[int, ...], outputs: int, width: float = 1.0, dropout: float = 0.5) -> nn.Sequential:
    """All-CNN-C (Springenberg, Dosovitskiy, Brox and Riedmiller, 2015), 1.37 million weights for 10 classes.

    Each convolution is followed by a ReLU, as in the paper, and between the two by batch normalisation, as in the
    public EvoMAL code, which also drops half of each of the first two blocks. `width` scales all channels.
    """
    a, b = (max(8, round(n * width)) for n in (96, 192))
    layers = [
        *padding(shape),
        *conv_norm_relu(shape[0], a, 3), *conv_norm_relu(a, a, 3), *conv_norm_relu(a, a, 3, 2), nn.Dropout(dropout),
        *conv_norm_relu(a, b, 3), *conv_norm_relu(b, b, 3), *conv_norm_relu(b, b, 3, 2), nn.Dropout(dropout),
        *conv_norm_relu(b, b, 3), *conv_norm_relu(b, b, 1), nn.Conv2d(b, outputs, 1), nn.BatchNorm2d(outputs), Mean(),
    ]  # fmt: skip
    return nn.Sequential(*layers)
