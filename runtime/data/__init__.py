"""Data sets by name: `load("mnist", data="data")`; how rows are dealt and scaled is in `base`.

A new data set is one function `(folder) -> Dataset` and its line in `LOADERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lossc.compiler.errors import UsageError
from lossc.runtime.data.base import (
    AS_PUBLISHED,
    CLASSIFICATION,
    HONEST,
    MINMAX,
    RAW,
    REGRESSION,
    SPLITS,
    STANDARD,
    TARGET_SCALES,
    Dataset,
    Part,
    Scaler,
    Split,
    deal,
    derive,
    generator,
    split,
)
from lossc.runtime.data.cifar import cifar10, cifar100
from lossc.runtime.data.files import Folder
from lossc.runtime.data.idx import fashion_mnist, mnist
from lossc.runtime.data.svhn import svhn
from lossc.runtime.data.tabular import boston, california, crime, diabetes, digits

__all__ = [
    "AS_PUBLISHED", "CLASSIFICATION", "HONEST", "LOADERS", "MINMAX", "RAW", "REGRESSION", "SPLITS", "STANDARD",
    "TARGET_SCALES", "Dataset", "Folder", "Part", "Scaler", "Split", "deal", "derive", "generator", "load", "split",
]  # fmt: skip

LOADERS: Mapping[str, Callable[[Folder], Dataset]] = {
    "diabetes": diabetes,
    "digits": digits,
    "boston": boston,
    "california": california,
    "crime": crime,
    "mnist": mnist,
    "fashion-mnist": fashion_mnist,
    "cifar10": cifar10,
    "cifar100": cifar100,
    "svhn": svhn,
}


def load(name: str, data: Folder = None) -> Dataset:
    """The data set of that name, from its files in the folder `data` (or the one that LOSSC_DATA names).

    UsageError (L220) with the known names if there is none, L226 without its files, L227 if one is damaged.
    """
    if name not in LOADERS:
        raise UsageError("L220", f"there is no data set `{name}`", expected="one of: " + ", ".join(LOADERS))
    return LOADERS[name](data)
