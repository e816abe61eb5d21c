"""A user's own data set and model as a `Task`, and tasks from a user's Python file.

>>> task = make_task("mine", inputs, targets, model, lr=0.01, steps=300)     # in mytask.py
$ lossc train pseudo_huber --task mytask.py:task
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lossc.compiler.errors import UsageError
from lossc.runtime.compiled import run_file
from lossc.runtime.data import MINMAX, RAW, STANDARD, TARGET_SCALES, Dataset
from lossc.runtime.models import factory
from lossc.runtime.tasks.base import ERROR_RATE, MSE, MSE_RANGE, MSE_RAW, SGD, Augment, Metric, ModelFactory, Task

METRICS = {STANDARD: MSE, MINMAX: MSE_RANGE, RAW: MSE_RAW}


def task_of(data: Dataset, model: tuple[str, ModelFactory], sgd: SGD, batch_size: int, steps: int, **more: Any) -> Task:
    """A task over a data set, with the metric, the baseline and the meta-loss that its kind and its scale have."""
    classes, scale = bool(data.classes), more.get("target_scale", STANDARD)
    if scale not in TARGET_SCALES:
        known = ", ".join(TARGET_SCALES)
        raise UsageError("L221", f"there is no scale of targets `{scale}`", expected=f"one of: {known}")
    settings: dict[str, Any] = {
        "name": data.name,
        "metric": ERROR_RATE if classes else METRICS[scale],
        "baseline": "cross_entropy" if classes else "mse",
        "meta_loss": functional.cross_entropy if classes else functional.mse_loss,
    }
    label, build = model
    task = Task(model=label, data=data, build=build, sgd=sgd, batch_size=batch_size, steps=steps, **(settings | more))
    return task.with_settings(steps=steps, batch_size=batch_size, lr=sgd.lr)


def make_task(
    name: str,
    inputs: object,
    targets: object,
    model: str | Callable[[], nn.Module] = "mlp",
    *,
    classes: int = 0,
    lr: float = 0.01,
    momentum: float = 0.0,
    steps: int = 500,
    batch_size: int = 32,
    held: int = 0,
    target_scale: str = STANDARD,
    metric: Metric | None = None,
    augment: Augment | None = None,
) -> Task:
    """A task from arrays of a user's own.

    inputs    rows [n, d] of numbers, or images [n, C, H, W]; NaN: missing. Standardised on the training part
    targets   [n] numbers, or, with `classes`, [n] whole numbers below it
    model     a function without arguments that gives an nn.Module, from inputs [n, d] to [n, 1], or to [n, classes]; it
              is called with torch's global stream seeded for the run, and the stream is put back. Or a name: "mlp"
    held      the last so many rows are the test part, and a tenth of the others validation; 0: dealt 60/20/20
    metric    what counts in the end; by default MSE, or the error rate

    Raises UsageError (L222) for arrays that do not fit, L221 for an unknown model or scale, L223 for a setting.
    """
    x, y = _tensor(inputs, "inputs"), _tensor(targets, "targets")
    if x.ndim < 2 or y.ndim != 1 or len(x) != len(y) or not 0 <= held < len(x) - 4:
        shapes = f"{list(x.shape)} and {list(y.shape)}, {held} rows held"
        raise UsageError("L222", f"{name} has inputs and targets of {shapes}",
                         expected="[n, d] or [n, C, H, W], [n], and 5 rows or more that are not held")  # fmt: skip
    if classes and (bool((y != y.round()).any()) or not 0 <= float(y.min()) <= float(y.max()) < classes):
        raise UsageError("L222", f"{name} has targets from {float(y.min()):g} to {float(y.max()):g}",
                         expected=f"classes: whole numbers from 0 to {classes - 1}")  # fmt: skip
    if not bool(torch.isfinite(y).all()) or bool(x.isinf().any()):
        raise UsageError(
            "L222", f"{name} has numbers that are not finite", expected="finite numbers; inputs may be NaN"
        )
    data = Dataset(name, x.flatten(1) if x.ndim == 2 else x, y.long() if classes else y, classes=classes, held=held)
    built = factory(model, data.shape, data.outputs) if isinstance(model, str) else (_label(model), Seeded(model))
    more = {"target_scale": target_scale, "augment": augment} | ({"metric": metric} if metric else {})
    return task_of(data, built, SGD(lr=lr, momentum=momentum), batch_size, steps, **more)


def _tensor(values: object, what: str) -> Tensor:
    try:
        found = values if isinstance(values, Tensor) else torch.from_numpy(np.array(values, dtype=np.float64))
    except (TypeError, ValueError) as problem:
        raise UsageError("L222", f"the {what} are not numbers: {problem}") from None
    return found.detach().cpu().double()


def _label(model: Callable[[], nn.Module]) -> str:
    return str(getattr(model, "__name__", type(model).__name__))


@dataclass(frozen=True, slots=True)
class Seeded:
    """A model factory that takes no stream, as one that does: torch's global stream is seeded from it and put back."""

    make: Callable[[], nn.Module]

    def __call__(self, stream: torch.Generator, dtype: torch.dtype = torch.float32) -> nn.Module:
        seed = int(torch.randint(1 << 62, (), generator=stream))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.make().to(dtype)


def task_file(text: str) -> tuple[str, str] | None:
    """`(file, name)` if the name of a task is that of one in a Python file: `mytask.py:task`, or `mytask.py`."""
    head, _, name = text.rpartition(":")
    if text.endswith(".py"):
        return text, "task"
    return (head, name) if head.endswith(".py") else None


def load_task(file: str, name: str = "task") -> Task:
    """The task of that name in a Python file, or what a function of that name gives.

    The file is run as the user's own code, like any import. Raises UsageError (L243) if it cannot be read or run, or
    holds no such task.
    """
    found = getattr(run_file(file), name, None)
    if callable(found) and not isinstance(found, Task):
        try:
            found = found()
        except UsageError:
            raise
        except Exception as problem:
            raise UsageError("L243", f"`{name}` of `{file}` fails: {type(problem).__name__}: {problem}") from problem
    if not isinstance(found, Task):
        raise UsageError("L243", f"`{file}` has no task `{name}`",
                         expected=f"`{name} = make_task(...)` (lossc.runtime.tasks), or a function that gives one",
                         hint="docs/tasks.md has an example in ten lines")  # fmt: skip
    return found
