"""The tasks that come with lossc: `get_task("diabetes")`, `get_task("digits", size="thesis")`.

`TASKS` is the registry, one recipe a data set. A recipe's "small" size trains in a second or two on one core; "thesis"
is the MLP with two hidden layers of 1,000 that the thesis trains on tabular data (chapter 3, experimental settings),
with which 500 steps of MSE over-fit the 264 training rows of diabetes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from torch.nn import functional

from lossc.compiler.errors import UsageError
from lossc.runtime.data import CLASSIFICATION, load
from lossc.runtime.models import mlp
from lossc.runtime.tasks.base import ERROR_RATE, MSE, SGD, Metric, Task, error_rate

__all__ = ["ERROR_RATE", "MSE", "SGD", "TASKS", "Metric", "Recipe", "Size", "Task", "error_rate", "get_task"]


@dataclass(frozen=True, slots=True)
class Size:
    """How large a model, and how it is trained."""

    hidden: tuple[int, ...]
    sgd: SGD
    batch_size: int
    steps: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a task is made of a data set: one line of documentation, and its sizes by name."""

    data: str
    doc: str
    sizes: Mapping[str, Size]


_EVOMAL = SGD(lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
"""The base optimiser of the thesis's chapter 3, as its public code sets it; 500 steps are its S_testing."""

TASKS: Mapping[str, Recipe] = {
    "diabetes": Recipe(
        "diabetes",
        "regression: disease progression of 442 patients from 10 measurements",
        {
            "small": Size((64, 64), SGD(lr=0.01), batch_size=32, steps=500),
            "thesis": Size((1000, 1000), _EVOMAL, batch_size=128, steps=500),
        },
    ),
    "digits": Recipe(
        "digits",
        "classification: 1,797 images of 8x8 pixels in 10 classes",
        {
            "small": Size((64,), SGD(lr=0.05, momentum=0.9), batch_size=64, steps=500),
            "thesis": Size((1000, 1000), _EVOMAL, batch_size=128, steps=500),
        },
    ),
}


def get_task(
    name: str,
    size: str = "small",
    *,
    steps: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
) -> Task:
    """The task of that name, its data loaded; UsageError (L221, L223) for an unknown name, size or setting."""
    if name not in TASKS:
        raise UsageError("L221", f"there is no task `{name}`", expected="one of: " + ", ".join(TASKS))
    recipe = TASKS[name]
    if size not in recipe.sizes:
        raise UsageError("L221", f"{name} has no size `{size}`", expected="one of: " + ", ".join(recipe.sizes))
    chosen, data = recipe.sizes[size], load(recipe.data)
    classes = data.kind == CLASSIFICATION
    layers = (data.features, *chosen.hidden, data.outputs)
    task = Task(
        name=name,
        model="MLP " + "-".join(map(str, layers)),
        data=data,
        build=partial(mlp, layers),
        sgd=chosen.sgd,
        batch_size=chosen.batch_size,
        steps=chosen.steps,
        metric=ERROR_RATE if classes else MSE,
        baseline="cross_entropy" if classes else "mse",
        meta_loss=functional.cross_entropy if classes else functional.mse_loss,
    )
    return task.with_settings(steps=steps, batch_size=batch_size, lr=lr)
