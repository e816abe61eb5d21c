"""Small data sets in the formats of the publishers, for tests that run without the real ones."""

from __future__ import annotations

import gzip
import pickle
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np

from lossc.runtime.data.idx import FILES

DOC = Path(__file__).parents[2] / "docs" / "tasks.md"
Bytes = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


def pixels(count: int, *shape: int, seed: int = 0) -> Bytes:
    """Random bytes [count, *shape]."""
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def labels(count: int, classes: int = 10) -> Bytes:
    """0, 1, ..., classes - 1, 0, 1, ..."""
    return (np.arange(count) % classes).astype(np.uint8)


def idx(values: Bytes) -> bytes:
    """The content of an idx file."""
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def write_mnist(folder: Path, train: int = 50, test: int = 20, *, packed: bool = True) -> tuple[Bytes, Bytes]:
    """The four idx files; the images of both parts."""
    folder.mkdir(parents=True, exist_ok=True)
    x, test_x = pixels(train, 28, 28), pixels(test, 28, 28, seed=1)
    for name, values in zip(FILES, (x, labels(train), test_x, labels(test)), strict=True):
        content = idx(values)
        path = folder / (name + ".gz" * packed)
        path.write_bytes(gzip.compress(content, mtime=0) if packed else content)
    return x, test_x


CIFAR10 = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")


def cifar_batches(classes: int, rows: int) -> dict[str, tuple[Bytes, list[int]]]:
    """By the names of the files: pixels [rows, 3072] and labels."""
    names = CIFAR10 if classes == 10 else ("train", "test")
    return {n: (pixels(rows, 3072, seed=i), labels(rows, classes).tolist()) for i, n in enumerate(names)}


def write_cifar_pickles(folder: Path, classes: int, rows: int = 20, protocol: int = 2) -> None:
    """The Python version, as Python 3 writes it: the arrays by numpy's names, the keys as bytes."""
    folder.mkdir(parents=True)
    for name, (x, y) in cifar_batches(classes, rows).items():
        batch: dict[bytes, Any] = {b"batch_label": b"one", b"data": x, b"filenames": [b"a.png"] * rows}
        batch |= {b"labels": y} if classes == 10 else {b"fine_labels": y, b"coarse_labels": [0] * rows}
        (folder / name).write_bytes(pickle.dumps(batch, protocol))


def python_2_pickle(x: Bytes, y: list[int]) -> bytes:
    """A batch as Python 2 with an old numpy wrote it (protocol 2): text is bytes of that time, `U` and `T`."""

    def text(value: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(value)) + value

    numbers = b"".join(b"K" + bytes([n]) for n in y)
    shape = b"M" + struct.pack("<H", len(y)) + b"M" + struct.pack("<H", x.shape[1]) + b"\x86"
    kind = b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R(K\x03" + text(b"|")
    kind += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\n" + b"cnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
    array += b"(K\x01" + shape + kind + b"\x89" + text(x.tobytes()) + b"tb"
    return b"\x80\x02}(" + text(b"data") + array + text(b"labels") + b"](" + numbers + b"eu."


def write_cifar_binary(folder: Path, classes: int, rows: int = 20) -> None:
    """The binary version: the label (for 100 classes the coarse one before it) and 3,072 bytes a row."""
    folder.mkdir(parents=True)
    for name, (x, y) in cifar_batches(classes, rows).items():
        head = (
            [np.array(y, np.uint8)[:, None]]
            if classes == 10
            else [labels(rows, 20)[:, None], np.array([y], np.uint8).T]
        )
        (folder / f"{name}.bin").write_bytes(np.concatenate([*head, x], axis=1).tobytes())


def write_mosaics(folder: Path, classes: int = 10) -> tuple[Bytes, Bytes]:
    """One mosaic of 1,000 images for each part, and their labels (more than there are images)."""
    from PIL import Image

    folder.mkdir(parents=True)
    parts = []
    for seed, part in enumerate(("train", "test")):
        images = pixels(1000, 32, 32, 3, seed=seed)
        mosaic = images.reshape(25, 40, 32, 32, 3).transpose(0, 2, 1, 3, 4).reshape(800, 1280, 3)
        Image.fromarray(mosaic).save(folder / f"{part}_00.webp", lossless=True, quality=0, method=0)
        parts.append(images.transpose(0, 3, 1, 2))
    np.savez(folder / "labels.npz", train=labels(1500, classes), test=labels(1000, classes))
    return parts[0], parts[1]


def write_svhn(folder: Path, train: int = 30, test: int = 12) -> tuple[Bytes, Bytes]:
    """The two Matlab files, with 10 for the digit 0; the images [n, 3, 32, 32] of both parts."""
    from scipy.io import savemat

    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for seed, (part, rows) in enumerate((("train", train), ("test", test))):
        images = pixels(rows, 3, 32, 32, seed=seed)
        y = np.where(labels(rows) == 0, 10, labels(rows))[:, None].astype(np.uint8)
        savemat(folder / f"{part}_32x32.mat", {"X": images.transpose(2, 3, 1, 0), "y": y}, do_compression=True)
        parts.append(images)
    return parts[0], parts[1]


def write_boston(folder: Path, rows: int = 40) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """`housing.data`: 14 columns, divided by blanks."""
    folder.mkdir(parents=True, exist_ok=True)
    table = np.random.default_rng(0).uniform(0, 400, (rows, 14)).round(4)
    lines = (" " + "  ".join(f"{v:8.4f}" for v in row) for row in table)
    (folder / "housing.data").write_text("\n".join(lines) + "\n\n")
    return table


def write_california(folder: Path, rows: int = 40) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """`cal_housing.data`: 9 columns, divided by commas."""
    folder.mkdir(parents=True, exist_ok=True)
    table = np.random.default_rng(0).uniform(1, 900, (rows, 9)).round(6)
    (folder / "cal_housing.data").write_text("".join(",".join(f"{v:.6f}" for v in row) + "\n" for row in table))
    return table


def write_crime(folder: Path, rows: int = 60) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """`communities.data`: 128 columns, 22 of them mostly `?`; the numbers behind the first five, NaN for `?`."""
    folder.mkdir(parents=True, exist_ok=True)
    table = np.random.default_rng(0).uniform(0, 1, (rows, 123)).round(2)
    police = [*range(96, 113), *range(116, 120), 121]
    table[np.arange(rows) % 6 > 0, np.array(police)[:, None]] = np.nan
    table[7, 25] = np.nan
    cells = [["8", "?", "?", f"Some{i}, city".replace(",", ""), "1", *map(_cell, row)] for i, row in enumerate(table)]
    (folder / "communities.data").write_text("".join(",".join(row) + "\n" for row in cells))
    return table


def _cell(value: float) -> str:
    return "?" if np.isnan(value) else f"{value:g}"


def example() -> str:
    """The Python block of docs/tasks.md."""
    (block,) = re.findall(r"```python\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)
    return str(block)


def write_table(folder: Path) -> None:
    """`mine.csv`: a line of names, three inputs and a target."""
    x = np.random.default_rng(1).normal(size=(200, 3))
    np.savetxt(folder / "mine.csv", np.c_[x, x[:, 0] - 2 * x[:, 1]], delimiter=",", header="a,b,c,y", comments="")
