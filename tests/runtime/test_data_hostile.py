"""Data files that are cut short, damaged or forged: a complaint with a code, never a traceback, and nothing runs."""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossc.compiler.errors import UsageError
from lossc.runtime.data import load
from lossc.runtime.data.unpickle import read_batch
from tests.runtime import datasets


def refused(path: Path, content: bytes) -> str:
    """What is said of a pickle of this content, which is refused."""
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_batch(path)
    assert caught.value.diagnostic.code == "L227"
    return caught.value.diagnostic.message


class Runs:
    """Pickles as a call of `os.system`."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_runs_a_command_runs_nothing(tmp_path: Path, protocol: int) -> None:
    """`os.system` in a pickle, alone or in the place of the images, is refused, and the command is not run."""
    mark = tmp_path / "ran"
    for forged in (Runs(f"touch {mark}"), {b"data": Runs(f"touch {mark}"), b"labels": [0]}):
        said = refused(tmp_path / "batch", pickle.dumps(forged, protocol))
        assert "system" in said
        assert not mark.exists()
    pickle.loads(pickle.dumps(Runs(f"touch {mark}"), protocol))  # noqa: S301  the command works: this is what is refused
    assert mark.exists()


def test_a_forged_data_set_is_refused(tmp_path: Path) -> None:
    """The same through the front door: CIFAR-10 with one forged batch."""
    folder = tmp_path / "cifar-10-batches-py"
    datasets.write_cifar_pickles(folder, 10)
    (folder / "data_batch_3").write_bytes(pickle.dumps(Runs(f"touch {tmp_path / 'ran'}")))
    with pytest.raises(UsageError) as caught:
        load("cifar10", tmp_path)
    assert caught.value.diagnostic.code == "L227" and "data_batch_3" in caught.value.diagnostic.message
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cbuiltins\neval\n(S'1/0'\ntR.",
        b"cnumpy\nload\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x12ndarray.__class__.x\x93.",
        b"cnumpy.core.multiarray\nscalar\n.",
        b"ccopyreg\n_reconstructor\n.",
        b"Pid\n.",
        b"K\x01Q.",
        b"\x82\x01.",
        b"cnumpy.core.multiarray\n_reconstruct\n}S'__defaults__'\nK\x01sb.",
        b"cnumpy\nndarray\n}S'shape'\nK\x01sb.",
        b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00zipltR.",
        b"(K\x01K\x02i__main__\nX\n.",
        b"\x80\x63.",
    ],
    ids=[
        "eval", "numpy.load", "dotted name", "scalar", "copyreg", "persistent id", "binary persistent id", "extension",
        "changes a function", "changes a class", "another codec", "old instance", "unknown protocol",
    ],
)  # fmt: skip
def test_names_that_no_cifar_file_has(tmp_path: Path, content: bytes) -> None:
    """Whatever else a pickle can name is refused."""
    refused(tmp_path / "batch", content)


@pytest.mark.parametrize(
    "content",
    [
        b"K\x01r\xff\xff\xff\x7f0.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"B\xff\xff\xff\x7f.",
        b"\x8b\xff\xff\xff\x7f.",
        b"(" * 100_000 + b".",
    ],
    ids=["memo", "bytes8", "bytes", "long", "marks"],
)
def test_numbers_in_a_pickle_take_no_memory(tmp_path: Path, content: bytes) -> None:
    """A number that promises gigabytes does not make the reader take them: it ends in a complaint."""
    refused(tmp_path / "batch", content)


def array(values: object, **changes: object) -> bytes:
    """A batch with this array in the place of the images."""
    return pickle.dumps({b"data": values, b"labels": [0], **changes}, 2)


@pytest.mark.parametrize(
    "content",
    [
        array(np.zeros((1, 3072), np.float32)),
        array(np.array([[{}]], dtype=object)),
        array(np.asfortranarray(np.zeros((2, 3072), np.uint8))),
        pickle.dumps({b"data": np.asfortranarray(np.zeros((2, 3072), np.uint8))}, 5),
        array(np.zeros((1, 3072), np.uint8)).replace(struct.pack("<H", 3072), struct.pack("<H", 3073)),
        pickle.dumps([1, 2]),
        pickle.dumps(None),
        b"",
        b"\x89PNG\r\n",
    ],
    ids=["floats", "objects", "by column", "by column, 5", "wrong shape", "a list", "nothing", "empty", "a picture"],
)
def test_what_is_no_batch(tmp_path: Path, content: bytes) -> None:
    """Arrays of other types and sizes, and pickles of other things, are refused."""
    refused(tmp_path / "batch", content)


@pytest.mark.parametrize(
    "batch",
    [
        {b"data": np.zeros((2, 3072), np.uint8), b"labels": [0]},
        {b"data": np.zeros((1, 3071), np.uint8), b"labels": [0]},
        {b"data": np.zeros((1, 3072), np.uint8), b"labels": [10]},
        {b"data": np.zeros((1, 3072), np.uint8), b"labels": [-1]},
        {b"data": np.zeros((1, 3072), np.uint8), b"labels": ["0"]},
        {b"data": np.zeros((1, 3072), np.uint8), b"labels": 0},
        {b"data": b"", b"labels": []},
        {b"data": np.zeros((1, 3072), np.uint8)},
    ],
)
def test_batches_that_do_not_fit(tmp_path: Path, batch: dict[bytes, object]) -> None:
    """Images and labels of different numbers, labels out of range or missing: the file is named and refused."""
    datasets.write_cifar_pickles(tmp_path / "cifar10", 10)
    (tmp_path / "cifar10" / "data_batch_1").write_bytes(pickle.dumps(batch, 2))
    with pytest.raises(UsageError) as caught:
        load("cifar10", tmp_path)
    assert caught.value.diagnostic.code == "L227" and "data_batch_1" in caught.value.diagnostic.message


WRITERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "gz": ("mnist", lambda folder: datasets.write_mnist(folder / "mnist", 12, 10)),
    "idx": ("mnist", lambda folder: datasets.write_mnist(folder / "mnist", 12, 10, packed=False)),
    "pickle": ("cifar100", lambda folder: datasets.write_cifar_pickles(folder / "cifar100", 100, 2)),
    "binary": ("cifar100", lambda folder: datasets.write_cifar_binary(folder / "cifar100", 100, 1)),
    "mat": ("svhn", lambda folder: datasets.write_svhn(folder / "svhn", 4, 3)),
}


@pytest.mark.parametrize("form", WRITERS)
def test_files_cut_short(tmp_path: Path, form: str) -> None:
    """Each file cut at many places, to nothing included, is refused by name."""
    name, write = WRITERS[form]
    write(tmp_path)
    load(name, tmp_path)
    for path in sorted(p for p in tmp_path.rglob("*") if p.is_file()):
        content = path.read_bytes()
        for k in range(12):
            path.write_bytes(content[: len(content) * k // 12])
            with pytest.raises(UsageError) as caught:
                load(name, tmp_path)
            assert caught.value.diagnostic.code == "L227" and path.name in caught.value.diagnostic.message
        path.write_bytes(content)
    load(name, tmp_path)


@pytest.mark.parametrize("form", WRITERS)
def test_damaged_files(tmp_path: Path, form: str) -> None:
    """Bytes changed at random places are read as other pixels or refused, and never end in another error."""
    name, write = WRITERS[form]
    write(tmp_path)
    draw = np.random.default_rng(0)
    paths = sorted(p for p in tmp_path.rglob("*") if p.is_file())
    for _ in range(60):
        path = paths[int(draw.integers(len(paths)))]
        content = path.read_bytes()
        broken = bytearray(content)
        for place in draw.integers(0, min(len(broken), 400), 3):
            broken[place] = int(draw.integers(256))
        path.write_bytes(bytes(broken))
        try:
            load(name, tmp_path)
        except UsageError as problem:
            assert problem.diagnostic.code == "L227"
        path.write_bytes(content)


def test_a_mosaic_that_is_none(tmp_path: Path) -> None:
    """A picture of another size, a text, and labels that are an array of objects."""
    pytest.importorskip("PIL")
    folder = tmp_path / "cifar10_subset"
    datasets.write_mosaics(folder)
    for content in (b"RIFF....", b""):
        (folder / "test_00.webp").write_bytes(content)
        with pytest.raises(UsageError) as caught:
            load("cifar10", tmp_path)
        assert caught.value.diagnostic.code == "L227"
    np.savez(folder / "labels.npz", train=np.array([{}], dtype=object), test=np.zeros(1))
    with pytest.raises(UsageError) as caught:
        load("cifar10", tmp_path)
    assert caught.value.diagnostic.code == "L227"


def test_an_idx_file_that_promises_much(tmp_path: Path) -> None:
    """A header of many images is believed up to a limit, and the file must hold what it says, no less and no more."""
    datasets.write_mnist(tmp_path / "mnist", packed=False)
    path = tmp_path / "mnist" / "train-images-idx3-ubyte"
    content = path.read_bytes()
    head = bytes((0, 0, 8, 3))
    for forged in (head + b"\xff" * 12, head + struct.pack(">3I", 51, 28, 28) + content[16:], content + b"\0"):
        path.write_bytes(forged)
        with pytest.raises(UsageError) as caught:
            load("mnist", tmp_path)
        assert caught.value.diagnostic.code == "L227"
