"""Data sets, the honest split, and scaling: everything between a file and the tensors of a task.

A loader gives a raw `Dataset`. `split` deals its rows into training, validation and test parts and scales them with
statistics of the training part alone, so that nothing about a held-out row, not even a mean, is known in training.

Rows without a published test part are dealt 60/20/20 (by class for classification). A published test part stays the
test part, and a tenth of the rest, by class, becomes validation (thesis, section 3.4.2). The split that the public
EvoMAL code makes by mistake, where the test part is the training and validation part, exists by name: `AS_PUBLISHED`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from lossc.compiler.errors import UsageError

REGRESSION, CLASSIFICATION = "regression", "classification"
HONEST, AS_PUBLISHED = "honest", "as-published"
SPLITS = (HONEST, AS_PUBLISHED)
"""How rows are dealt: every row in one part, or as the public EvoMAL code deals its tabular sets."""
STANDARD, MINMAX, RAW = "standard", "minmax", "raw"
TARGET_SCALES = (STANDARD, MINMAX, RAW)
"""How regression targets are scaled: to mean 0 and deviation 1, to 0..1, or not at all."""


@dataclass(frozen=True, slots=True, eq=False)
class Scaler:
    """x -> (x - mean) / scale, a column (or a channel) at a time; constant columns have scale 1."""

    mean: Tensor
    scale: Tensor

    @staticmethod
    def fit(x: Tensor) -> Scaler:
        """The scaler that gives the columns of x [n, d] mean 0 and (population) standard deviation 1."""
        mean, scale = x.mean(dim=0), x.std(dim=0, correction=0)
        constant = scale <= 10 * torch.finfo(x.dtype).eps * x.abs().amax(dim=0)
        return Scaler(mean, torch.where(constant, torch.ones_like(scale), scale))

    @staticmethod
    def fit_range(x: Tensor) -> Scaler:
        """The scaler that takes the columns of x [n, d] to 0..1."""
        low, high = x.amin(dim=0), x.amax(dim=0)
        return Scaler(low, torch.where(high > low, high - low, torch.ones_like(low)))

    @staticmethod
    def channels(mean: tuple[float, ...], std: tuple[float, ...]) -> Scaler:
        """For pixels 0..255 of [n, C, H, W]: the published mean and deviation of each channel, in units of 0..1."""
        wide = [torch.tensor(v, dtype=torch.float64)[:, None, None] * 255.0 for v in (mean, std)]
        return Scaler(*wide)

    def __call__(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.scale

    def scaled(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """x scaled, in `dtype`; pixels are converted first and scaled in place, for the sake of memory."""
        if x.is_floating_point():
            return self(x).to(dtype)
        return x.to(dtype).sub_(self.mean.to(dtype)).div_(self.scale.to(dtype))


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Rows as they were published: inputs [n, d] float64, or images [n, C, H, W] uint8; targets [n] float64, or class
    indices [n] int64. A missing input is NaN; the mean of the training part takes its place.

    classes      the number of classes, 0 for regression; `unit` says what a regression target is measured in
    scaler       how inputs are scaled, where that is known beforehand; None: standardised on the training part
    held         the last so many rows are the published test part; 0: there is none
    validation   the share of the other rows that becomes validation, where there is one
    """

    name: str
    inputs: Tensor
    targets: Tensor
    classes: int = 0
    unit: str = ""
    source: str = ""
    scaler: Scaler | None = None
    held: int = 0
    validation: float = 0.1

    @property
    def kind(self) -> str:
        """ "regression" or "classification"."""
        return CLASSIFICATION if self.classes else REGRESSION

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row: (d,), or (C, H, W)."""
        return tuple(self.inputs.shape[1:])

    @property
    def features(self) -> int:
        """The number of input columns, d, or of numbers in an image."""
        return prod(self.shape)

    @property
    def outputs(self) -> int:
        """What a model must put out for a row: one number, or one logit a class."""
        return self.classes or 1


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The rows of one part: `rows` are their indices in the data set; x [n, d], or [n, C, H, W]; y [n, 1], or class
    indices [n]."""

    rows: Tensor
    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def first(self, count: int) -> Part:
        """Its first `count` rows: any of them, since rows are shuffled before they are dealt."""
        return Part(self.rows[:count], self.x[:count], self.y[:count])

    def to(self, device: torch.device | str) -> Part:
        """The same part with its tensors on `device`."""
        return Part(self.rows, self.x.to(device), self.y.to(device))


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """A data set dealt into three parts and scaled on the first. `y_scaler` is None for classification."""

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


def deal(dataset: Dataset, seed: int, how: str = HONEST) -> tuple[Tensor, Tensor, Tensor]:
    """Row indices of the training, validation and test parts.

    The rows are shuffled, brought together by class if there are classes, and dealt round: every fifth to the test
    part, every fifth to validation. So each part has each class in proportion, to within one row. A published test
    part is left as it is, and every tenth of the others goes to validation.
    """
    if how == AS_PUBLISHED:
        return _deal_as_published(len(dataset.inputs))
    free = len(dataset.inputs) - dataset.held
    order = torch.randperm(free, generator=generator(seed, "split"))
    if dataset.classes:
        order = order[torch.argsort(dataset.targets[order], stable=True)]
    if not dataset.held:
        place = torch.arange(len(order)) % 5
        return order[place > 1], order[place == 1], order[place == 0]
    val = torch.zeros(free, dtype=torch.bool)
    val[:: max(1, round(1 / dataset.validation))] = True
    mixed = order[val][torch.randperm(int(val.sum()), generator=generator(seed, "split", "validation"))]
    return order[~val], mixed, torch.arange(free, len(dataset.inputs))


def _deal_as_published(rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """The split of the public EvoMAL code, for every seed: its 40 % for testing, split again into training and
    validation, is also what it tests on. The other 60 % are never used."""
    from sklearn.model_selection import train_test_split

    _, test = train_test_split(range(rows), test_size=0.4, random_state=0)
    train, val = train_test_split(test, test_size=0.5, random_state=0)
    return torch.tensor(train), torch.tensor(val), torch.tensor(test)


def split(
    dataset: Dataset,
    seed: int,
    dtype: torch.dtype = torch.float32,
    *,
    how: str = HONEST,
    target_scale: str = STANDARD,
) -> Split:
    """The three parts, inputs (and regression targets) scaled by what is known of the training part.

    UsageError (L221) for a `how` that is none of SPLITS or a `target_scale` that is none of TARGET_SCALES.
    """
    for name, value, known in (("split", how, SPLITS), ("scale of targets", target_scale, TARGET_SCALES)):
        if value not in known:
            raise UsageError("L221", f"there is no {name} `{value}`", expected="one of: " + ", ".join(known))
    rows = deal(dataset, seed, how)
    inputs = _imputed(dataset.inputs, rows[0])
    x_scaler = dataset.scaler or Scaler.fit(inputs[rows[0]])
    targets = dataset.targets if dataset.classes else dataset.targets[:, None]
    y_scaler = None if dataset.classes else _target_scaler(targets[rows[0]], target_scale)

    def part(index: Tensor) -> Part:
        y = targets[index] if y_scaler is None else y_scaler(targets[index]).to(dtype)
        return Part(index, x_scaler.scaled(inputs[index], dtype), y)

    return Split(part(rows[0]), part(rows[1]), part(rows[2]), x_scaler, y_scaler)


def _imputed(inputs: Tensor, train: Tensor) -> Tensor:
    """The inputs with the training part's mean of its column in the place of each NaN (0 where it has none)."""
    if not inputs.is_floating_point() or not bool(inputs.isnan().any()):
        return inputs
    return torch.where(inputs.isnan(), inputs[train].nanmean(dim=0).nan_to_num(0.0), inputs)


def _target_scaler(targets: Tensor, how: str) -> Scaler:
    if how == RAW:
        return Scaler(torch.zeros_like(targets[0]), torch.ones_like(targets[0]))
    return Scaler.fit(targets) if how == STANDARD else Scaler.fit_range(targets)
