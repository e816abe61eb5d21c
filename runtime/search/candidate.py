"""What happens to one loss of a search: filters, learning of its coefficients, fitness. Pure functions of plain data.

A job and its outcome are JSON, so that any engine can run them anywhere. What comes out depends on the loss, the
task and the settings alone, never on the worker, the slot or the time: an outcome that is looked up equals one that is
computed again. Every loss meets the same models, batches and probe (common random numbers).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from lossc.compiler.errors import LosscError
from lossc.compiler.loss import Loss
from lossc.runtime.data import derive
from lossc.runtime.meta.config import MetaConfig
from lossc.runtime.meta.driver import run_optimize
from lossc.runtime.meta.network import LossNetwork
from lossc.runtime.meta.optimize import Problem, fitness
from lossc.runtime.meta.symbolic import Symbolic
from lossc.runtime.plain import finite
from lossc.runtime.search.config import SearchConfig
from lossc.runtime.search.filters import Probe, Rejection, dead, gradient, make_probe, norms, rejected
from lossc.runtime.tasks import Task
from lossc.runtime.training import train

OK, REJECTED, FAILED = "ok", "rejected", "failed"
SIGNATURE = 64
"""Entries of a gradient that are kept to compare losses by."""


@dataclass(eq=False)
class Bench:
    """Where losses are judged: the task and the settings, and what is made once for all of them."""

    task: Task
    config: SearchConfig
    _probe: Probe | None = None

    def family(self, loss: str) -> Symbolic:
        """The loss network of a loss in JSON; unit coefficients but for the noise that tells edges apart."""
        return _network(loss, self.config.output)

    def probe(self, family: Symbolic) -> Probe:
        """The predictions that the filters look at."""
        if self._probe is None:
            self._probe = make_probe(self.task, family, self.config.seed, self.config.reject_rows)
        return self._probe

    @property
    def rejection(self) -> Rejection:
        return Rejection(self.config.reject_steps, self.config.reject_rate, self.config.reject_least)

    def meta(self) -> MetaConfig:
        """Settings of learning the coefficients."""
        c = self.config
        return MetaConfig(
            preset="search", meta_steps=max(c.meta_steps, 1), meta_lr=c.meta_lr, inner_steps=c.inner_steps,
            query=c.query, output=c.output, check_every=0, fitness_steps=c.fitness_steps, seed=c.seed,
        )  # fmt: skip

    @property
    def learns(self) -> bool:
        """Whether coefficients are learned."""
        return self.config.meta_steps > 0 and self.config.method != "gp-lfl"


@lru_cache(maxsize=256)
def _network(loss: str, output: str) -> Symbolic:
    """Every stage and every writing of the tables asks again; making one takes up to a tenth of a second."""
    return Symbolic(Loss.from_json(loss), output=output)


def run_job(bench: Bench, job: Mapping[str, Any]) -> dict[str, Any]:
    """The outcome of a job. What goes wrong inside a loss is an outcome too: `failed`, with the reason."""
    began = time.process_time()
    try:
        stage = _STAGES[job["stage"]]
        outcome = stage(bench, job)
    except LosscError as problem:
        outcome = {"status": FAILED, "why": f"{problem.diagnostic.code}: {problem.diagnostic.message}"}
    except (ArithmeticError, RuntimeError, ValueError, MemoryError) as problem:
        outcome = {"status": FAILED, "why": f"{type(problem).__name__}: {problem}"[:200]}
    return {**outcome, "seconds": round(time.process_time() - began, 4)}


def _filter(bench: Bench, job: Mapping[str, Any]) -> dict[str, Any]:
    """The gradient at unit coefficients, and unless the thesis's order is asked for the rejection protocol."""
    family = bench.family(job["loss"])
    phi = torch.ones(family.size, dtype=torch.float64)
    probe = bench.probe(family)
    found = gradient(family, phi, probe)
    why = dead(found)
    shown = norms(found, probe.outputs) if bench.config.equivalence == "norms" else found
    signature = [float(v) for v in shown[:SIGNATURE]] if not why else []
    if not why and bench.config.order == "first":
        why = rejected(family, phi, probe, bench.rejection)
    return {"status": REJECTED if why else OK, "why": why, "signature": signature}


def _train(bench: Bench, job: Mapping[str, Any]) -> dict[str, Any]:
    """Coefficients, the filters again, and the fitness."""
    family = bench.family(job["loss"])
    problem = Problem((bench.task,), family, bench.meta())
    phi = family.initial(bench.config.seed)
    if bench.learns:
        phi = run_optimize(problem, phi).phi
    why = rejected(family, phi, bench.probe(family), bench.rejection) if bench.learns or _late(bench) else ""
    if why and not job.get("audit"):
        return {"status": REJECTED, "why": f"{why} after learning", "phi": phi.tolist()}
    value = fitness(problem, phi)
    if not math.isfinite(value):
        return {"status": REJECTED, "why": "training has no finite end", "phi": phi.tolist()}
    return {"status": OK, "why": "", "phi": phi.tolist(), "fitness": value, "size": family.original.body.tree_size}


def _late(bench: Bench) -> bool:
    return bench.config.order == "thesis"


def _judge(bench: Bench, job: Mapping[str, Any]) -> dict[str, Any]:
    """Validation and test metric after a long training with one seed: for re-ranking, and for the table at the end."""
    task = bench.task.with_settings(steps=int(job["steps"]))
    phi = torch.tensor(job["phi"], dtype=torch.float64)
    found = train(
        task, LossNetwork(bench.family(job["loss"]), phi), derive(bench.config.seed, "judge", int(job["seed"]))
    )
    return {"status": OK, "why": found.failure, "val": finite(found.val), "test": finite(found.test)}


_STAGES = {"filter": _filter, "train": _train, "judge": _judge}
