"""Data sets, the honest split, and standardisation: everything between a file and the tensors of a task.

A loader gives a raw `Dataset`. `split` deals its rows into training, validation and test parts (60/20/20; by class for
classification) and standardises them with statistics of the training part alone, so that nothing about a held-out row,
not even a mean, is known in training. (The public EvoMAL code splits the wrong part again and trains on its test rows.)

A new data set is one function `() -> Dataset` and its line in `LOADERS`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lossc.compiler.errors import UsageError

REGRESSION, CLASSIFICATION = "regression", "classification"


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Rows as they were published. inputs [n, d] float64; targets [n] float64, or class indices [n] int64.

    `classes` is the number of classes, 0 for regression; `unit` says what a regression target is measured in.
    """

    name: str
    inputs: Tensor
    targets: Tensor
    classes: int = 0
    unit: str = ""
    source: str = ""

    @property
    def kind(self) -> str:
        """ "regression" or "classification"."""
        return CLASSIFICATION if self.classes else REGRESSION

    @property
    def features(self) -> int:
        """The number of input columns, d."""
        return int(self.inputs.shape[1])

    @property
    def outputs(self) -> int:
        """What a model must put out for a row: one number, or one logit a class."""
        return self.classes or 1


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The rows of one part: `rows` are their indices in the data set; x [n, d]; y [n, 1], or class indices [n]."""

    rows: Tensor
    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def to(self, device: torch.device | str) -> Part:
        """The same part with its tensors on `device`."""
        return Part(self.rows, self.x.to(device), self.y.to(device))


@dataclass(frozen=True, slots=True, eq=False)
class Scaler:
    """x -> (x - mean) / scale, a column at a time; constant columns have scale 1."""

    mean: Tensor
    scale: Tensor

    @staticmethod
    def fit(x: Tensor) -> Scaler:
        """The scaler that gives the columns of x [n, d] mean 0 and (population) standard deviation 1."""
        mean, scale = x.mean(dim=0), x.std(dim=0, correction=0)
        constant = scale <= 10 * torch.finfo(x.dtype).eps * x.abs().amax(dim=0)
        return Scaler(mean, torch.where(constant, torch.ones_like(scale), scale))

    def __call__(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.scale


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """A data set dealt into three parts and standardised on the first. `y_scaler` is None for classification."""

    train: Part
    val: Part
    test: Part
    x_scaler: Scaler
    y_scaler: Scaler | None


def derive(seed: int, *names: str | int) -> int:
    """An independent seed for one purpose: equal in every process, unrelated for unequal names."""
    text = repr((int(seed), *names)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest(), "big")


def generator(seed: int, *names: str | int) -> torch.Generator:
    """A CPU random stream of its own; nothing here or in the runtime touches torch's global one."""
    return torch.Generator().manual_seed(derive(seed, *names))


def deal(dataset: Dataset, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Row indices of the training (60 %), validation (20 %) and test (20 %) parts.

    The rows are shuffled, brought together by class if there are classes, and dealt round: every fifth to the test
    part, every fifth to validation. So each part has each class in proportion, to within one row.
    """
    order = torch.randperm(len(dataset.inputs), generator=generator(seed, "split"))
    if dataset.classes:
        order = order[torch.argsort(dataset.targets[order], stable=True)]
    place = torch.arange(len(order)) % 5
    return order[place > 1], order[place == 1], order[place == 0]


def split(dataset: Dataset, seed: int, dtype: torch.dtype = torch.float32) -> Split:
    """The three parts, inputs (and regression targets) standardised with the training part's mean and deviation."""
    rows = deal(dataset, seed)
    x_scaler = Scaler.fit(dataset.inputs[rows[0]])
    targets = dataset.targets if dataset.classes else dataset.targets[:, None]
    y_scaler = None if dataset.classes else Scaler.fit(targets[rows[0]])

    def part(index: Tensor) -> Part:
        y = targets[index] if y_scaler is None else y_scaler(targets[index]).to(dtype)
        return Part(index, x_scaler(dataset.inputs[index]).to(dtype), y)

    return Split(part(rows[0]), part(rows[1]), part(rows[2]), x_scaler, y_scaler)


def load(name: str) -> Dataset:
    """The data set of that name; UsageError (L220) with the known names if there is none."""
    if name not in LOADERS:
        raise UsageError("L220", f"there is no data set `{name}`", expected="one of: " + ", ".join(LOADERS))
    return LOADERS[name]()


def _diabetes() -> Dataset:
    from sklearn.datasets import load_diabetes

    inputs, targets = load_diabetes(return_X_y=True, scaled=False)
    return Dataset(
        "diabetes", _real(inputs), _real(targets), unit="disease progression after one year",
        source="Efron, Hastie, Johnstone and Tibshirani (2004), Least Angle Regression; 442 patients, 10 measurements",
    )  # fmt: skip


def _digits() -> Dataset:
    from sklearn.datasets import load_digits

    inputs, targets = load_digits(return_X_y=True)
    return Dataset(
        "digits", _real(inputs), torch.from_numpy(np.asarray(targets, dtype=np.int64)), classes=10,
        source="UCI optical recognition of handwritten digits, test part; 1,797 images of 8x8 pixels",
    )  # fmt: skip


def _real(values: object) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64))


LOADERS: Mapping[str, Callable[[], Dataset]] = {"diabetes": _diabetes, "digits": _digits}
