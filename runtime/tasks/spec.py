"""What task is meant, as plain data: for a worker in another process or on another machine, and for a run's folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from lossc.compiler.errors import UsageError, Warnings
from lossc.runtime.tasks.base import Task
from lossc.runtime.tasks.own import load_task, task_file


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A task by name, with the settings that differ from its own; None: not given.

    name   as `get_task` takes it, or `mytask.py:task` for one of a user's own, which has the settings below only
    """

    name: str
    size: str | None = None
    model: str | None = None
    split: str | None = None
    data: str | None = None
    target_scale: str | None = None
    steps: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    momentum: float | None = None

    def load(self, warnings: Warnings | None = None) -> Task:
        """The task, its data loaded; warnings go to `warnings`, or else to Python's.

        Raises UsageError: what `get_task` and `load_task` raise, and L235 for settings that an own task cannot have.
        """
        from lossc.runtime.tasks import get_task

        own = task_file(self.name)
        if own is None:
            given = {k: v for k, v in self.recipe().items() if v is not None}
            made = get_task(
                self.name, steps=self.steps, batch_size=self.batch_size, lr=self.lr, warnings=warnings, **given
            )
            return made.with_settings(momentum=self.momentum)
        wrong = next((k for k, v in self.recipe().items() if v is not None), None)
        if wrong is not None:
            option = wrong.replace("_", "-")
            raise UsageError("L235", f"`--{option}` is for tasks that come with lossc, and {self.name} is your own",
                             hint="say it in your file; --steps, --batch-size and --lr apply")  # fmt: skip
        return load_task(*own).with_settings(
            steps=self.steps, batch_size=self.batch_size, lr=self.lr, momentum=self.momentum
        )

    def recipe(self) -> dict[str, Any]:
        """The settings that a task of one's own has no use for."""
        return {
            "size": self.size, "model": self.model, "split": self.split, "data": self.data,
            "target_scale": self.target_scale,
        }  # fmt: skip

    def anchored(self) -> TaskSpec:
        """The same from any folder: paths are absolute."""
        own = task_file(self.name)
        name = self.name if own is None else f"{os.path.abspath(own[0])}:{own[1]}"
        return replace(self, name=name, data=None if self.data is None else os.path.abspath(self.data))

    def as_json(self) -> dict[str, Any]:
        """What is given, as plain data."""
        return {k: v for k, v in asdict(self).items() if v is not None}

    @staticmethod
    def from_json(given: Mapping[str, Any]) -> TaskSpec:
        """What `as_json` gave. UsageError (L255) for anything else."""
        known = {f.name for f in fields(TaskSpec)}
        if "name" not in given or not set(given) <= known:
            raise UsageError("L255", f"this is no task: {sorted(map(str, given))[:4]}")
        kinds: dict[str, type | tuple[type, ...]] = {
            "steps": int,
            "batch_size": int,
            "lr": (int, float),
            "momentum": (int, float),
        }
        for name, value in given.items():
            if not isinstance(value, kinds.get(name, str)) or isinstance(value, bool):
                raise UsageError("L255", f"`{name}` of a task is {str(value)[:40]!r}")
        return TaskSpec(**given)
