"""The idx files of MNIST (LeCun, Bottou, Bengio and Haffner, 1998) and Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017).

Two zero bytes, the type (8: bytes), the number of dimensions, each dimension as four bytes with the highest first, and
the values.
"""

from __future__ import annotations

import struct
from math import prod
from pathlib import Path

import numpy as np
import torch

from lossc.runtime.data.base import Dataset, Scaler
from lossc.runtime.data.files import Folder, Layout, damaged, located, opened, reading

BYTES = 8
MOST = 1 << 30
"""Bytes that a file may say it holds."""
FILES = tuple(f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))


def read_idx(path: Path, dimensions: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The bytes of an idx file with so many dimensions; UsageError (L227) if it is none, or is cut short."""
    with reading(path), opened(path) as file:
        head = file.read(4)
        if head != bytes((0, 0, BYTES, dimensions)):
            raise damaged(path, f"it starts with {head.hex() or 'nothing'}", f"an idx file of bytes, {dimensions}-d")
        shape = struct.unpack(f">{dimensions}I", file.read(4 * dimensions))
        if prod(shape) > MOST:
            raise damaged(path, f"it says that it holds {prod(shape):,} bytes")
        content = file.read(prod(shape) + 1)
        if len(content) != prod(shape):
            raise damaged(path, f"it says that it holds {prod(shape):,} bytes, and holds {len(content):,}")
        return np.frombuffer(bytearray(content), np.uint8).reshape(shape)


def _loaded(name: str, folder: str, data: Folder, scaler: Scaler, source: str) -> Dataset:
    layouts = [Layout("idx", place, FILES) for place in (name, f"{folder}/raw", folder)]
    advice = "the four idx files, packed or not, come from the publisher or from torchvision's data sets"
    _, paths = located(name, data, layouts, advice)
    images, labels = [read_idx(p, 3) for p in paths[::2]], [read_idx(p, 1) for p in paths[1::2]]
    for path, x, y in zip(paths[::2], images, labels, strict=True):
        if len(x) != len(y) or not len(x):
            raise damaged(path, f"it holds {len(x):,} images, and there are {len(y):,} labels")
        if x.shape[1:] != images[0].shape[1:] or y.max() > 9:
            raise damaged(path, f"images of {x.shape[1:]}, labels up to {y.max()}", "images of one size, labels 0 to 9")
    return Dataset(
        name, torch.from_numpy(np.concatenate(images)[:, None]),
        torch.from_numpy(np.concatenate(labels).astype(np.int64)), classes=10, source=source, scaler=scaler,
        held=len(images[1]),
    )  # fmt: skip


def mnist(data: Folder = None) -> Dataset:
    """70,000 images of handwritten digits, 28x28; the last 10,000 are the test part."""
    source = "LeCun, Bottou, Bengio and Haffner (1998), Gradient-based learning applied to document recognition"
    return _loaded("mnist", "MNIST", data, Scaler.channels((0.1307,), (0.3081,)), source)


def fashion_mnist(data: Folder = None) -> Dataset:
    """70,000 images of clothes, 28x28; the last 10,000 are the test part."""
    source = "Xiao, Rasul and Vollgraf (2017), Fashion-MNIST: a novel image dataset for benchmarking"
    return _loaded("fashion-mnist", "FashionMNIST", data, Scaler.channels((0.2860,), (0.3530,)), source)
