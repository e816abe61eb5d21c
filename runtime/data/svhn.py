"""SVHN (Netzer et al., 2011): house numbers, cropped to 32x32 digits, in two Matlab files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from lossc.runtime.data.base import Dataset, Scaler
from lossc.runtime.data.files import Folder, Layout, damaged, located, opened, reading

FILES = ("train_32x32.mat", "test_32x32.mat")


def _read(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Images [n, 3, 32, 32] uint8 and labels [n], from `X` [32, 32, 3, n] and `y` [n, 1] with 10 for the digit 0."""
    from scipy.io import loadmat

    with reading(path), opened(path) as file:
        found = loadmat(file, variable_names=("X", "y"))
        x, y = found.get("X"), found.get("y")
        if x is None or y is None or x.dtype != np.uint8 or x.shape != (32, 32, 3, y.size) or not y.size:
            raise damaged(path, "images and labels do not fit together", "`X` of 32x32x3xn bytes, `y` of n labels")
        labels = y.ravel().astype(np.int64) % 10
        if y.min() < 0 or y.max() > 10:
            raise damaged(path, f"labels from {y.min()} to {y.max()}", "labels from 1 to 10")
        return torch.from_numpy(np.ascontiguousarray(x.transpose(3, 2, 0, 1))), torch.from_numpy(labels)


def svhn(data: Folder = None) -> Dataset:
    """99,289 colour images of digits, 32x32; the last 26,032 are the test part. The `extra` part is not used."""
    layouts = [Layout("mat", place, FILES) for place in ("svhn", "SVHN", ".")]
    _, paths = located(
        "svhn", data, layouts, "the two .mat files come from the publisher or from torchvision's data sets"
    )
    (x, y), (test_x, test_y) = map(_read, paths)
    return Dataset(
        "svhn", torch.cat([x, test_x]), torch.cat([y, test_y]), classes=10,
        source="Netzer, Wang, Coates, Bissacco, Wu and Ng (2011), Reading digits in natural images",
        scaler=Scaler.channels((0.4380, 0.4440, 0.4730), (0.1751, 0.1771, 0.1744)), held=len(test_y),
    )  # fmt: skip
