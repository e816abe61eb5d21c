"""Where losses are judged: the task and the settings, and what is made once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor

from lossc.compiler.loss import Loss
from lossc.runtime.data import Part, Split
from lossc.runtime.meta.config import MetaConfig
from lossc.runtime.meta.symbolic import Symbolic
from lossc.runtime.search.config import SearchConfig
from lossc.runtime.search.filters import Probe, Rejection, curve_check, make_probe
from lossc.runtime.tasks import Task, TaskSpec


@dataclass(eq=False)
class Bench:
    """A task and the settings of a search.

    The parts of the data are dealt once, by the seed of the search, for every loss and every training: what is in the
    test part is never seen before the end. With `folds` the rows of the validation part are dealt round to two folds,
    one for fitnesses and one for judging the best again.
    """

    whole: Task
    config: SearchConfig
    _probe: Probe | None = None

    @cached_property
    def task(self) -> Task:
        """The task that coefficients are learned and fitnesses found on; its test part is the fold for the end."""
        return replace(self.whole, dealt=lambda dtype: self._dealt(dtype)[0])

    @cached_property
    def final(self) -> Task:
        """The task of the end: validated on the fold that no fitness has seen, tested on the test part."""
        return replace(self.whole, dealt=lambda dtype: self._dealt(dtype)[1])

    def _dealt(self, dtype: torch.dtype) -> tuple[Split, Split]:
        if dtype not in self._splits:
            found = self.whole.split(self.config.seed, dtype)
            first, second = (_every_other(found.val, i) for i in (0, 1)) if self.config.folds else (found.val,) * 2
            self._splits[dtype] = replace(found, val=first, test=second), replace(found, val=second)
        return self._splits[dtype]

    @cached_property
    def _splits(self) -> dict[torch.dtype, tuple[Split, Split]]:
        return {}

    @cached_property
    def training(self) -> Part:
        """The rows that models are trained on."""
        return self.task.split(0).train

    @cached_property
    def selection(self) -> Part:
        """The rows that fitnesses are found on."""
        return self.task.split(0).val

    def family(self, loss: str) -> Symbolic:
        """The loss network of a loss in JSON; unit coefficients but for the noise that tells edges apart."""
        return family_of(loss, self.config.output)

    def probe(self, family: Symbolic) -> Probe:
        """The predictions that the filters look at."""
        if self._probe is None:
            self._probe = make_probe(self.task, family, self.config.seed, self.config.reject_rows)
        return self._probe

    @property
    def rejection(self) -> Rejection:
        """Settings of the rejection protocol."""
        return Rejection(self.config.reject_steps, self.config.reject_rate, self.config.reject_least)

    def checked_curve(self, family: Symbolic, phi: Tensor) -> str:
        """Why the curve of the loss is that of no classification loss, or ""."""
        return curve_check(family, phi) if self.config.curves and self.whole.kind == "classification" else ""

    def meta(self) -> MetaConfig:
        """Settings of learning the coefficients."""
        c = self.config
        return MetaConfig(
            preset="search", meta_steps=max(c.meta_steps, 1), meta_lr=c.meta_lr, inner_steps=c.inner_steps,
            query=c.query, output=c.output, check_every=0, fitness_steps=c.fitness_steps, seed=c.seed,
        )  # fmt: skip

    def tuning(self) -> MetaConfig:
        """Settings of CMA-ES on the coefficients."""
        c = self.config
        return self.meta().model_copy(update={
            "meta_optimizer": "cma", "meta_steps": c.tune_steps, "population": c.tune_population, "sigma": c.tune_sigma,
        })  # fmt: skip

    @property
    def learns(self) -> bool:
        """Whether coefficients are learned while searching."""
        return self.config.meta_steps > 0 and self.config.method not in ("gp-lfl", "glo")


@lru_cache(maxsize=512)
def family_of(loss: str, output: str) -> Symbolic:
    """The loss network of a loss in JSON, made once: that takes up to a tenth of a second."""
    return Symbolic(Loss.from_json(loss), output=output)


def _every_other(part: Part, first: int) -> Part:
    return Part(part.rows[first::2], part.x[first::2], part.y[first::2])


def make_run(given: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """For an evaluator: the function from jobs to outcomes, for a task and settings as plain data."""
    from lossc.compiler.errors import Warnings
    from lossc.runtime.search.candidate import run_job

    bench = Bench(TaskSpec.from_json(given["task"]).load(Warnings()), SearchConfig(**given["settings"]))
    return lambda job: run_job(bench, job)
