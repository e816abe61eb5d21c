"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009): the Python pickles, the binary files, or mosaics of a subset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lossc.compiler.errors import UsageError
from lossc.runtime.data.base import Dataset, Scaler
from lossc.runtime.data.files import Folder, Layout, damaged, located, reading, whole
from lossc.runtime.data.unpickle import MOST, read_batch

Bytes = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
Labels = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Reader = Callable[[Sequence[Path], int], tuple[Bytes, Labels, int]]
"""(files, classes) -> images [n, 3, 32, 32], labels [n], and how many of the last are the test part."""

SIDE, ROWS, COLUMNS = 32, 25, 40
PIXELS = 3 * SIDE * SIDE
SOURCE = "Krizhevsky (2009), Learning multiple layers of features from tiny images"
ADVICE = "the Python or the binary version comes from the publisher or from torchvision's data sets: unpack the archive"


def _layouts(name: str, python: str, binary: str, batches: tuple[str, ...]) -> list[Layout]:
    """The publisher's folders, in the data folder or in one of the data set's name; its files there; the mosaics."""
    forms = (("python", python, batches), ("binary", binary, tuple(batch + ".bin" for batch in batches)))
    found = [Layout(form, place, files) for form, own, files in forms for place in (own, f"{name}/{own}", name)]
    return [*found, Layout("mosaic", f"{name}_subset", ("labels.npz",))]


def from_pickles(paths: Sequence[Path], classes: int) -> tuple[Bytes, Labels, int]:
    """The dictionaries of the Python version: `data` [n, 3072], and `labels` or `fine_labels`."""
    images, labels = [], []
    for path in paths:
        batch = read_batch(path)
        with reading(path):
            x, y = batch[b"data"], _whole_numbers(batch[b"labels" if classes == 10 else b"fine_labels"])
            if not isinstance(x, np.ndarray) or x.shape != (len(y), PIXELS) or not len(y):
                raise damaged(path, "images and labels do not fit together", f"`data` of n x {PIXELS}, n labels")
        images.append(x)
        labels.append(y)
    return np.concatenate(images).reshape(-1, 3, SIDE, SIDE), np.concatenate(labels), len(labels[-1])


def _whole_numbers(values: Any) -> Labels:
    if not isinstance(values, list) or not all(type(v) is int and 0 <= v < 1000 for v in values):
        raise ValueError("its labels are not a list of whole numbers")
    return np.array(values, np.int64)


def from_binary(paths: Sequence[Path], classes: int) -> tuple[Bytes, Labels, int]:
    """The binary version: a row is the label (for CIFAR-100 the coarse one before it) and 3,072 bytes."""
    before = 1 if classes == 10 else 2
    parts = []
    for path in paths:
        content = whole(path, MOST)
        if not content or len(content) % (before + PIXELS):
            raise damaged(path, f"it holds {len(content):,} bytes", f"a multiple of {before + PIXELS:,}")
        parts.append(np.frombuffer(content, np.uint8).reshape(-1, before + PIXELS))
    rows = np.concatenate(parts)
    images = np.ascontiguousarray(rows[:, before:]).reshape(-1, 3, SIDE, SIDE)
    return images, rows[:, before - 1].astype(np.int64), len(parts[-1])


def from_mosaics(paths: Sequence[Path], classes: int) -> tuple[Bytes, Labels, int]:
    """A subset: `train_00.webp`, ... of 1,000 images each (25 rows of 40), and `labels.npz` with `train` and `test`."""
    (path,) = paths
    with reading(path), np.load(path, allow_pickle=False) as file:
        labels = [np.asarray(file[name]).astype(np.int64).ravel() for name in ("train", "test")]
    parts = []
    for part, known in zip(("train", "test"), labels, strict=True):
        pictures = [_mosaic(p) for p in sorted(path.parent.glob(f"{part}_[0-9]*.webp"))]
        count = sum(map(len, pictures))
        if not count or count > len(known):
            raise damaged(path, f"it holds {len(known):,} labels for the {count:,} images of {part}_*.webp")
        parts.append((np.concatenate(pictures), known[:count]))
    (x, y), (test_x, test_y) = parts
    return np.concatenate([x, test_x]), np.concatenate([y, test_y]), len(test_y)


def _mosaic(path: Path) -> Bytes:
    try:
        from PIL import Image
    except ImportError:
        raise UsageError("L227", f"{str(path)!r} cannot be read: Pillow is not installed") from None
    with reading(path), Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(ROWS, SIDE, COLUMNS, SIDE, 3)
        return np.ascontiguousarray(pixels.transpose(0, 2, 4, 1, 3)).reshape(-1, 3, SIDE, SIDE)


READERS: dict[str, Reader] = {"python": from_pickles, "binary": from_binary, "mosaic": from_mosaics}


def _loaded(name: str, data: Folder, layouts: list[Layout], classes: int, scaler: Scaler) -> Dataset:
    form, paths = located(name, data, layouts, ADVICE)
    images, labels, held = READERS[form](paths, classes)
    if len(labels) and (labels.min() < 0 or labels.max() >= classes):
        raise damaged(paths[0], f"labels from {labels.min()} to {labels.max()}", f"labels from 0 to {classes - 1}")
    shown = name if form != "mosaic" else f"{name}_subset"
    return Dataset(
        shown, torch.from_numpy(images), torch.from_numpy(labels), classes=classes, source=SOURCE, scaler=scaler,
        held=held,
    )  # fmt: skip


def cifar10(data: Folder = None) -> Dataset:
    """60,000 colour images, 32x32, of 10 classes; the last 10,000 are the test part."""
    batches = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
    scaler = Scaler.channels((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
    layouts = _layouts("cifar10", "cifar-10-batches-py", "cifar-10-batches-bin", batches)
    return _loaded("cifar10", data, layouts, 10, scaler)


def cifar100(data: Folder = None) -> Dataset:
    """60,000 colour images, 32x32, of 100 classes (the fine labels); the last 10,000 are the test part."""
    scaler = Scaler.channels((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))
    layouts = _layouts("cifar100", "cifar-100-python", "cifar-100-binary", ("train", "test"))
    return _loaded("cifar100", data, layouts, 100, scaler)
