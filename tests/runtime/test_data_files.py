"""The loaders: every usual format gives the rows that were written, and what is not there is said."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from lossc.compiler.errors import UsageError
from lossc.runtime.data import LOADERS, load, split
from lossc.runtime.data.tabular import read_table
from tests.runtime import datasets

REAL = os.environ.get("LOSSC_DATA", "")


@pytest.fixture(autouse=True)
def no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable of the user who runs the tests does not reach them."""
    monkeypatch.delenv("LOSSC_DATA", raising=False)


@pytest.mark.parametrize("packed", [True, False], ids=["gz", "plain"])
@pytest.mark.parametrize(
    ("name", "folder"), [("mnist", "mnist"), ("mnist", "MNIST/raw"), ("fashion-mnist", "FashionMNIST/raw")]
)
def test_idx_files(tmp_path: Path, name: str, folder: str, packed: bool) -> None:
    """Packed or not, in either folder: images and labels in order, bytes as they were, the test part last."""
    x, test_x = datasets.write_mnist(tmp_path / folder, packed=packed)

    data = load(name, tmp_path)

    assert data.name == name and data.classes == 10 and data.held == 20 and data.shape == (1, 28, 28)
    assert data.inputs.dtype == torch.uint8 and data.targets.dtype == torch.int64
    assert torch.equal(data.inputs[:, 0], torch.from_numpy(np.concatenate([x, test_x])))
    assert data.targets[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("classes", [10, 100])
def test_cifar_pickles(tmp_path: Path, classes: int, protocol: int) -> None:
    """The Python version, of several protocols: the batches in order, the fine labels, the test batch last."""
    folder = {10: "cifar-10-batches-py", 100: "cifar100/cifar-100-python"}[classes]
    datasets.write_cifar_pickles(tmp_path / folder, classes, protocol=protocol)

    check_cifar(tmp_path, classes)


@pytest.mark.parametrize("classes", [10, 100])
def test_cifar_binary(tmp_path: Path, classes: int) -> None:
    """The binary version gives the same rows as the pickles."""
    folder = {10: "cifar10/cifar-10-batches-bin", 100: "cifar-100-binary"}[classes]
    datasets.write_cifar_binary(tmp_path / folder, classes)

    check_cifar(tmp_path, classes)


def check_cifar(folder: Path, classes: int) -> None:
    """The data set of the folder is what the writers wrote."""
    data = load(f"cifar{classes}", folder)
    batches = datasets.cifar_batches(classes, 20).values()
    assert torch.equal(data.inputs.flatten(1), torch.from_numpy(np.concatenate([x for x, _ in batches])))
    assert data.targets.tolist() == [label for _, y in batches for label in y]
    assert (data.name, data.held, data.shape) == (f"cifar{classes}", 20, (3, 32, 32))


def test_cifar_pickles_of_python_2(tmp_path: Path) -> None:
    """The bytes that the publisher's own files consist of, written by Python 2, are read too."""
    datasets.write_cifar_pickles(tmp_path / "cifar10", 10)
    batches = datasets.cifar_batches(10, 20)
    for name, (x, y) in batches.items():
        (tmp_path / "cifar10" / name).write_bytes(datasets.python_2_pickle(x, y))

    check_cifar(tmp_path, 10)


def test_mosaics(tmp_path: Path) -> None:
    """A subset as mosaics: the images in reading order, as many labels as images, and its own name."""
    pytest.importorskip("PIL")
    x, test_x = datasets.write_mosaics(tmp_path / "cifar10_subset")

    data = load("cifar10", tmp_path)

    assert data.name == "cifar10_subset" and data.held == 1000
    assert torch.equal(data.inputs, torch.from_numpy(np.concatenate([x, test_x])))
    assert torch.equal(data.targets, torch.arange(2000) % 1000 % 10)


@pytest.mark.parametrize("folder", ["svhn", "."])
def test_svhn(tmp_path: Path, folder: str) -> None:
    """The Matlab files: images first dimension first, channels before rows, and the label 10 means the digit 0."""
    x, test_x = datasets.write_svhn(tmp_path / folder)

    data = load("svhn", tmp_path)

    assert torch.equal(data.inputs, torch.from_numpy(np.concatenate([x, test_x])))
    assert data.targets.tolist() == [i % 10 for i in range(30)] + [i % 10 for i in range(12)]
    assert data.held == 12


def test_boston(tmp_path: Path) -> None:
    """Blanks or commas, a line of names or none: 13 inputs and the target."""
    table = datasets.write_boston(tmp_path / "boston")
    data = load("boston", tmp_path)
    np.testing.assert_array_equal(data.inputs.numpy(), table[:, :13])
    np.testing.assert_array_equal(data.targets.numpy(), table[:, 13])

    (tmp_path / "boston" / "housing.data").unlink()
    lines = [",".join(f'"c{i}"' for i in range(14)), *(",".join(map(str, row)) for row in table)]
    (tmp_path / "boston" / "boston.csv").write_text("\n".join(lines))
    assert torch.equal(load("boston", tmp_path).inputs, data.inputs)


def test_california(tmp_path: Path) -> None:
    """The columns are scikit-learn's: income, age, three averages per household and people between, latitude and
    longitude; the target in 100,000 dollars."""
    t = datasets.write_california(tmp_path / "california").T
    expected = np.stack([t[7], t[2], t[3] / t[6], t[4] / t[6], t[5], t[5] / t[6], t[1], t[0]], axis=1)

    data = load("california", tmp_path)

    np.testing.assert_allclose(data.inputs.numpy(), expected, rtol=1e-15)
    np.testing.assert_allclose(data.targets.numpy(), t[8] / 1e5, rtol=1e-15)


def test_crime(tmp_path: Path) -> None:
    """Five columns that do not predict and those that are mostly missing are gone; one value is left missing."""
    table = datasets.write_crime(tmp_path / "communities_crime")
    kept = table[:, :-1][:, np.isnan(table[:, :-1]).mean(axis=0) <= 0.5]

    data = load("crime", tmp_path)

    assert data.shape == (100,)
    np.testing.assert_array_equal(data.inputs.numpy(), kept)
    assert int(data.inputs.isnan().sum()) == 1


NEED_FILES = sorted(LOADERS.keys() - {"diabetes", "digits"})


@pytest.mark.parametrize("name", NEED_FILES)
def test_missing_files_are_explained(tmp_path: Path, name: str) -> None:
    """Without a folder, with one that is not there, and with an empty one: what is looked for, and where it is got."""
    for folder in (None, tmp_path / "nowhere", tmp_path):
        with pytest.raises(UsageError) as caught:
            load(name, folder)
        told = caught.value.diagnostic
        assert told.code == "L226"
        assert folder is None or str(folder) in told.message
        assert told.expected and "LOSSC_DATA" in told.hint and "--data" in told.hint and "http" not in str(told)


def test_one_file_of_several_missing(tmp_path: Path) -> None:
    """Three of four files are not the data set."""
    datasets.write_mnist(tmp_path / "mnist")
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UsageError) as caught:
        load("mnist", tmp_path)
    assert caught.value.diagnostic.code == "L226"
    assert "t10k-labels-idx1-ubyte" in caught.value.diagnostic.expected


def test_the_variable_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LOSSC_DATA is the folder, unless one is given."""
    datasets.write_mnist(tmp_path / "a" / "mnist", 50)
    datasets.write_mnist(tmp_path / "b" / "mnist", 60)
    monkeypatch.setenv("LOSSC_DATA", str(tmp_path / "a"))
    assert len(load("mnist").inputs) == 70
    assert len(load("mnist", tmp_path / "b").inputs) == 80


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 2 3\n1 2\n", "line 2 has 2 columns"),
        ("1 2 3\n1 x 3\n", "line 2 has 'x'"),
        ("1,2,3\n1,inf,3\n", "line 2 has 'inf'"),
        ("a b c\n", "no rows"),
        ("", "no rows"),
        ("\xff\xfe\x00", "not text"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, text: str, said: str) -> None:
    """A bad row is named by its line."""
    (tmp_path / "t.data").write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError) as caught:
        read_table(tmp_path / "t.data", 3)
    assert caught.value.diagnostic.code == "L227"
    assert said in caught.value.diagnostic.message


def test_missing_cells(tmp_path: Path) -> None:
    """`?`, NA and nothing between commas are missing; the first columns are passed over, and files may be packed."""
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"\xef\xbb\xbfname,a,b\nx y,?,1\nz,NA,2\nw,,3e0\n"))
    table = read_table(tmp_path / "t.csv.gz", 3, skip=1)
    assert bool(table[:, 0].isnan().all()) and table[:, 1].tolist() == [1.0, 2.0, 3.0]


# -- the real data sets, where LOSSC_DATA names them -----------------------------------------------------------------

SHAPES = {
    "boston": (506, (13,), 0),
    "california": (20640, (8,), 0),
    "crime": (1994, (100,), 0),
    "mnist": (70000, (1, 28, 28), 10000),
    "fashion-mnist": (70000, (1, 28, 28), 10000),
    "cifar10": (60000, (3, 32, 32), 10000),
    "cifar100": (60000, (3, 32, 32), 10000),
    "svhn": (99289, (3, 32, 32), 26032),
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_real_files(name: str) -> None:
    """Rows, columns and the test part are those that the publisher states, and pixels are standardised by the usual
    constants: each channel's mean is within 0.03 of 0 and its deviation within 0.03 of 1 on the training part."""
    if not REAL:
        pytest.skip("LOSSC_DATA names no folder")
    try:
        data = load(name, REAL)
    except UsageError as missing:
        assert missing.diagnostic.code == "L226"
        pytest.skip(f"{name} is not in LOSSC_DATA")
    rows, shape, held = SHAPES[name]
    if not data.name.endswith("_subset"):
        assert (len(data.inputs), data.held) == (rows, held)
    assert data.shape == shape and data.source
    if not held:
        return
    parts = split(data, 0)
    assert parts.train.x.mean(dim=(0, 2, 3)).abs().max() < 0.03
    assert (parts.train.x.std(dim=(0, 2, 3)) - 1).abs().max() < 0.03
    counts = torch.bincount(parts.val.y) * 10 - torch.bincount(data.targets[: len(data.targets) - data.held])
    assert counts.abs().max() <= 10
