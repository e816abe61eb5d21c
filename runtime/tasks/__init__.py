"""The tasks that come with lossc: `get_task("diabetes")`, `get_task("mnist", "thesis", model="lenet5", data="data")`.

`TASKS` is the registry, one recipe a data set; `make_task` makes one of a user's own (docs/tasks.md).
"""

from __future__ import annotations

import warnings as python_warnings
from dataclasses import replace

from lossc.compiler.errors import UsageError, Warnings
from lossc.runtime.data import AS_PUBLISHED, HONEST, SPLITS, STANDARD, Folder, Scaler, load
from lossc.runtime.models import factory
from lossc.runtime.tasks.augment import CropFlip
from lossc.runtime.tasks.base import (
    ERROR_RATE,
    MSE,
    MSE_RANGE,
    MSE_RAW,
    SGD,
    Augment,
    Metric,
    ModelFactory,
    Task,
    error_rate,
)
from lossc.runtime.tasks.own import load_task, make_task, task_file, task_of
from lossc.runtime.tasks.recipes import TASKS, Recipe, Size
from lossc.runtime.tasks.sine import TRAINING, Sines, TaskFamily, sine
from lossc.runtime.tasks.spec import TaskSpec

__all__ = [
    "ERROR_RATE", "MSE", "MSE_RANGE", "MSE_RAW", "SGD", "TASKS", "Augment", "CropFlip", "Metric", "ModelFactory",
    "Recipe", "Sines", "Size", "Task", "TaskFamily", "TaskSpec", "error_rate", "get_task", "get_tasks", "load_task",
    "make_task", "task_file",
]  # fmt: skip

SINE = "sine"
NAMES = (*TASKS, SINE)


def get_task(
    name: str,
    size: str = "small",
    *,
    steps: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    model: str | None = None,
    split: str = HONEST,
    data: Folder = None,
    target_scale: str = STANDARD,
    warnings: Warnings | None = None,
) -> Task:
    """The task of that name, its data loaded.

    model          one of the task's models (docs/tasks.md); None: the usual one
    split          "honest", or for diabetes, boston and california "as-published": the split of the public EvoMAL code,
                   whose test rows are also trained on. A warning (L225) goes to `warnings`, or else to Python's
    data           the folder with the data sets; None: the one that LOSSC_DATA names. scikit-learn's need none
    target_scale   of regression targets: "standard", or "minmax" as in chapter 5 of the thesis

    Raises UsageError: L221, L223 for an unknown name or a setting, L226 without the files, L227 if one is damaged.
    """
    if name not in NAMES:
        raise UsageError("L221", f"there is no task `{name}`", expected="one of: " + ", ".join(NAMES),
                         hint="mytask.py:task is a task of your own (docs/tasks.md)")  # fmt: skip
    if name == SINE:
        return _sine(size, model, split, target_scale).with_settings(steps=steps, batch_size=batch_size, lr=lr)
    recipe = TASKS[name]
    if size not in recipe.sizes:
        raise UsageError("L221", f"{name} has no size `{size}`", expected="one of: " + ", ".join(recipe.sizes))
    if model is not None and model not in recipe.models:
        raise UsageError("L221", f"{name} has no model `{model}`", expected="one of: " + ", ".join(recipe.models))
    _check_split(recipe, name, split, warnings)
    chosen, raw = recipe.sizes[size], load(recipe.data, data)
    task = task_of(
        raw,
        factory(model or recipe.models[0], raw.shape, raw.outputs, size),
        chosen.sgd,
        chosen.batch_size,
        chosen.steps,
        dealing=split,
        target_scale=target_scale,
        augment=None if recipe.augment is None else _black(recipe.augment, raw.scaler),
        curve_rows=chosen.curve_rows,
    )
    return task.with_settings(steps=steps, batch_size=batch_size, lr=lr)


def _check_split(recipe: Recipe, name: str, split: str, warnings: Warnings | None) -> None:
    known = SPLITS if recipe.published_split else (HONEST,)
    if split not in known:
        raise UsageError("L221", f"{name} has no split `{split}`", expected="one of: " + ", ".join(known))
    if split != AS_PUBLISHED:
        return
    message = f"the as-published split of {name} tests on the rows that it trains and validates on"
    hint = "its errors say nothing about new rows; compare them with published ones only"
    if warnings is None:
        python_warnings.warn(f"L225: {message}; {hint}", stacklevel=3)
    else:
        warnings.add("L225", message, hint=hint)


def _black(augment: CropFlip, scaler: Scaler | None) -> CropFlip:
    """The augmentation that pads with black, as the scaled pixels have it."""
    if scaler is None:
        return augment
    return replace(augment, fill=tuple((-scaler.mean / scaler.scale).flatten().tolist()))


def _sine(size: str, model: str | None, split: str, target_scale: str) -> Task:
    if (model or "mlp", split, target_scale) != ("mlp", HONEST, STANDARD):
        raise UsageError(
            "L221", "sine has one model (mlp), one split and raw targets", expected="none of these options"
        )
    return sine(TRAINING, size=size)


def get_tasks(name: str, count: int, seed: int = 0, *, size: str = "small", sines: Sines | None = None) -> TaskFamily:
    """So many tasks of a family: "sine", by default those that ML3 tests on. UsageError (L221, L223)."""
    if name != SINE:
        raise UsageError("L221", f"there is no family of tasks `{name}`", expected=f"one of: {SINE}")
    if count < 1:
        raise UsageError("L223", f"a family has one task or more, got {count}")
    return TaskFamily(count, seed, sines or Sines(), size)
