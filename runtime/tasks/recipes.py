"""How the tasks are made of the data sets: models, sizes and the settings of the inner optimiser.

A recipe's "small" size trains on one core in seconds, or for images in up to a minute. "thesis" is the published model
with the settings of the thesis's public code (meta-testing): one set of settings a data set, whatever the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lossc.runtime.models import FLAT, IMAGES
from lossc.runtime.tasks.augment import CropFlip
from lossc.runtime.tasks.base import SGD

ALL = (*FLAT, *IMAGES)


@dataclass(frozen=True, slots=True)
class Size:
    """How a model is trained; `curve_rows` as in `Task`."""

    sgd: SGD
    batch_size: int
    steps: int
    curve_rows: int = 0


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a task is made of a data set: a line of documentation, its models (the first is the usual one), and its sizes
    by name. `augment` is what is done to training batches; `published_split` says that the leaky split was used."""

    data: str
    doc: str
    sizes: Mapping[str, Size]
    models: tuple[str, ...] = ("mlp", "logistic")
    augment: CropFlip | None = None
    published_split: bool = False


_EVOMAL = SGD(lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
"""The base optimiser of the thesis's chapter 3, as its public code sets it, but for MNIST."""
_SCHEDULE = SGD(lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4, milestones=(100_000, 135_000))
_TABLE = {"small": Size(SGD(lr=0.01), 32, 500), "thesis": Size(_EVOMAL, 128, 10_000)}
_MNIST = {
    "small": Size(SGD(lr=0.05, momentum=0.9), 64, 500, 1000),
    "thesis": Size(SGD(lr=0.01), 128, 10_000),
}
_IMAGES = {
    "small": Size(SGD(lr=0.02, momentum=0.9, nesterov=True, weight_decay=5e-4), 64, 300, 250),
    "thesis": Size(_SCHEDULE, 128, 150_000),
}
_SHIFT = CropFlip(flip=False)


def _usual(first: str) -> tuple[str, ...]:
    return (first, *(name for name in ALL if name != first))


TASKS: Mapping[str, Recipe] = {
    "diabetes": Recipe(
        "diabetes",
        "regression: disease progression of 442 patients from 10 measurements",
        _TABLE,
        published_split=True,
    ),
    "boston": Recipe(
        "boston", "regression: home values in 506 tracts from 13 measurements", _TABLE, published_split=True
    ),
    "california": Recipe(
        "california",
        "regression: home values in 20,640 blocks from 8 measurements",
        {**_TABLE, "small": Size(SGD(lr=0.01), 64, 1000)},
        published_split=True,
    ),
    "crime": Recipe(
        "crime",
        "regression: violent crimes in 1,994 communities from 100 measurements",
        {**_TABLE, "thesis": Size(SGD(lr=0.001), 128, 10_000)},
    ),
    "digits": Recipe(
        "digits",
        "classification: 1,797 images of 8x8 pixels in 10 classes",
        {"small": Size(SGD(lr=0.05, momentum=0.9), 64, 500), "thesis": _TABLE["thesis"]},
    ),
    "mnist": Recipe("mnist", "classification: 70,000 handwritten digits, 28x28", _MNIST, _usual("lenet5")),
    "fashion-mnist": Recipe("fashion-mnist", "classification: 70,000 clothes, 28x28", _MNIST, _usual("lenet5")),
    "cifar10": Recipe(
        "cifar10", "classification: 60,000 colour images, 32x32, in 10 classes", _IMAGES, _usual("resnet18"), CropFlip()
    ),
    "cifar100": Recipe(
        "cifar100", "classification: 60,000 colour images, 32x32, in 100 classes", _IMAGES, _usual("wrn28-10"),
        CropFlip(),
    ),
    "svhn": Recipe(
        "svhn", "classification: 99,289 house numbers in colour, 32x32", _IMAGES, _usual("wrn16-8"), _SHIFT
    ),
}  # fmt: skip
