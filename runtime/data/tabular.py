"""Tables: what comes with scikit-learn, and Boston, California and Communities and Crime from their files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lossc.runtime.data.base import Dataset
from lossc.runtime.data.files import Folder, Layout, damaged, located, whole

MOST = 1 << 26
"""Bytes of a file: the largest of these has two million."""
MISSING = ("", "?", "na", "nan")
UCI = "the UCI machine learning repository has it"


def diabetes(data: Folder = None) -> Dataset:
    """442 x 10; comes with scikit-learn, so that a data folder is not looked into."""
    from sklearn.datasets import load_diabetes

    inputs, targets = load_diabetes(return_X_y=True, scaled=False)
    return Dataset(
        "diabetes", _real(inputs), _real(targets), unit="disease progression after one year",
        source="Efron, Hastie, Johnstone and Tibshirani (2004), Least Angle Regression; 442 patients, 10 measurements",
    )  # fmt: skip


def digits(data: Folder = None) -> Dataset:
    """1,797 x 64; comes with scikit-learn, so that a data folder is not looked into."""
    from sklearn.datasets import load_digits

    inputs, targets = load_digits(return_X_y=True)
    return Dataset(
        "digits", _real(inputs), torch.from_numpy(np.asarray(targets, dtype=np.int64)), classes=10,
        source="UCI optical recognition of handwritten digits, test part; 1,797 images of 8x8 pixels",
    )  # fmt: skip


def boston(data: Folder = None) -> Dataset:
    """506 x 13: the last of 14 columns is the target. One of the inputs measures race; it is a historical benchmark."""
    places = (("boston", "housing.data"), ("boston", "housing.csv"), ("boston", "boston.csv"), (".", "housing.data"))
    table = _found("boston", data, places, UCI, 14)
    return Dataset(
        "boston", table[:, :13], table[:, 13], unit="median value of a home in 1,000 dollars",
        source="Harrison and Rubinfeld (1978), Hedonic housing prices and the demand for clean air; 506 tracts",
    )  # fmt: skip


def california(data: Folder = None) -> Dataset:
    """20,640 x 8, with the columns of scikit-learn: the rooms, bedrooms and people of a block are taken per household.

    The file has longitude, latitude, age, rooms, bedrooms, population, households, income and value.
    """
    places = tuple(
        (at, "cal_housing.data") for at in ("california", "california/CaliforniaHousing", "CaliforniaHousing")
    )
    table = _found("california", data, places, "StatLib has it as houses.zip, and so have copies for scikit-learn", 9)
    longitude, latitude, age, rooms, bedrooms, people, households, income, value = table.unbind(dim=1)
    columns = (income, age, rooms / households, bedrooms / households, people, people / households, latitude, longitude)
    return Dataset(
        "california", torch.stack(columns, dim=1), value / 1e5, unit="median value of a home in 100,000 dollars",
        source="Pace and Barry (1997), Sparse spatial autoregressions; 20,640 blocks of California, census of 1990",
    )  # fmt: skip


def crime(data: Folder = None) -> Dataset:
    """1,994 x 100: Communities and Crime without what cannot or should not predict.

    The file has 128 columns. The first five (state, county, community, its name, fold) are not predictive, as its
    publisher says, and the last is the target. 22 more, about the police, are missing in 84 % of the rows: columns of
    which more than half is missing are dropped. One value stays missing, and is NaN here (`Dataset`).
    """
    places = (("communities_crime", "communities.data"), ("crime", "communities.data"), (".", "communities.data"))
    table = _found("crime", data, places, UCI + " as Communities and Crime", 128, skip=5)
    inputs, targets = table[:, :-1], table[:, -1]
    return Dataset(
        "crime", inputs[:, inputs.isnan().double().mean(dim=0) <= 0.5], targets,
        unit="violent crimes per person, scaled to 0..1 by the publisher",
        source="Redmond and Baveja (2002), A data-driven software tool for cooperative information sharing",
    )  # fmt: skip


def _found(
    name: str, data: Folder, places: Sequence[tuple[str, str]], advice: str, columns: int, *, skip: int = 0
) -> Tensor:
    _, (path,) = located(name, data, [Layout("table", folder, (file,)) for folder, file in places], advice)
    table = read_table(path, columns, skip=skip)
    if bool(table[:, -1].isnan().any()):
        raise damaged(path, "the target is missing in some rows")
    return table


def read_table(path: Path, columns: int, *, skip: int = 0) -> Tensor:
    """The numbers of a text file, [rows, columns - skip] float64: cells divided by commas or blanks, missing ones NaN.

    The first `skip` cells of a row are not read, and a first line of names is passed over. Raises UsageError (L227)
    for a row with other than `columns` cells, and for a cell that is no finite number.
    """
    try:
        lines = whole(path, MOST).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise damaged(path, "it is not text", "numbers, divided by commas or blanks") from None
    rows = []
    for number, line in enumerate(lines, 1):
        cells = [c.strip().strip('"') for c in line.split(",")] if "," in line else line.split()
        if not cells or (number == 1 and _is_head(cells)):
            continue
        if len(cells) != columns:
            raise damaged(path, f"line {number} has {len(cells)} columns", f"{columns} columns")
        values = [_number(cell) for cell in cells[skip:]]
        if None in values:
            raise damaged(path, f"line {number} has {cells[skip + values.index(None)]!r}", "a number")
        rows.append(values)
    if not rows:
        raise damaged(path, "there are no rows in it")
    return _real(rows)


def _is_head(cells: Sequence[str]) -> bool:
    return all(_number(cell) is None for cell in cells)


def _number(cell: str) -> float | None:
    """The value of a cell, NaN for a missing one, None for one that is no finite number."""
    if cell.lower() in MISSING:
        return float("nan")
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def _real(values: object) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64))
