"""What happens to one loss of a search: filters, learning of its coefficients, fitness. Pure functions of plain data.

A job and its outcome are JSON, so that any engine can run them anywhere. What comes out depends on the job, the task
and the settings alone, never on the worker, the slot or the time: an outcome that is looked up equals one that is
computed again. Every loss meets the same models, batches and probe (common random numbers).

    filter   the gradient at unit coefficients; is there one, and does it lead anywhere?
    train    coefficients, the filters again, fitness
    tune     coefficients by CMA-ES (GLO's second phase)
    judge    one training, on the rows that no fitness has seen
    test     one training, on the test part; without a loss, that of the task's baseline
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from lossc.compiler.errors import LosscError
from lossc.runtime.data import derive
from lossc.runtime.meta.driver import run_optimize
from lossc.runtime.meta.network import LossNetwork
from lossc.runtime.meta.optimize import Problem, begin_at, step
from lossc.runtime.meta.symbolic import Symbolic
from lossc.runtime.plain import finite
from lossc.runtime.search.bench import Bench
from lossc.runtime.search.filters import dead, gradient, norms, rejected
from lossc.runtime.search.fitness import measured
from lossc.runtime.search.inherit import inherited
from lossc.runtime.training import train

OK, REJECTED, FAILED = "ok", "rejected", "failed"
SIGNATURE = 64
"""Entries of a gradient that are kept to compare losses by."""


def run_job(bench: Bench, job: Mapping[str, Any]) -> dict[str, Any]:
    """The outcome of a job. What goes wrong inside a loss is an outcome too: `failed`, with the reason."""
    began = time.process_time()
    try:
        outcome = _STAGES[job["stage"]](bench, job)
        json.dumps(outcome, allow_nan=False)  # what is not finite is no number of a journal: ValueError
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
        why = rejected(family, phi, probe, bench.rejection) or bench.checked_curve(family, phi)
    return {"status": REJECTED if why else OK, "why": why, "signature": signature}


def _train(bench: Bench, job: Mapping[str, Any]) -> dict[str, Any]:
    """Coefficients, the filters again, and the fitness.

    An audited loss, which the filters had rejected, is trained whatever they say the second time: `late` has that.
    """
    family = bench.family(job["loss"])
    phi = _start(bench, family, job)
    if bench.learns:
        phi = _learned(Problem((bench.task,), family, bench.meta()), phi)
    outcome: dict[str, Any] = {"phi": phi.tolist()}
    late = ""
    if bench.learns or bench.config.order == "thesis":
        late = rejected(family, phi, bench.probe(family), bench.rejection)
    if job.get("audited"):
        outcome |= {"audited": job["audited"], "late": late}
    elif late:
        return {"status": REJECTED, "why": f"{late} after learning", **outcome}
    found = measured(bench, _fixed(family, phi), job.get("incumbent"))
    return {"status": REJECTED if found.why else OK, **asdict(found), **outcome}


def _start(bench: Bench, family: Symbolic, job: Mapping[str, Any]) -> Tensor:
    """Where learning starts: around 1, and on edges that the parents have at what they learned."""
    phi = family.initial(bench.config.seed)
    parents = []
    for parent in job.get("parents", ()):
        other = bench.family(parent["loss"])
        values = [None if i is None else float(parent["phi"][i]) for i in other.edges]
        parents.append((other.original.body, values))
    for index, value in zip(family.edges, inherited(family.original.body, parents), strict=True):
        if index is not None and value is not None:
            phi[index] = value
    return phi


def _learned(problem: Problem, phi: Tensor) -> Tensor:
    """The coefficients after the meta-steps, or the last ones before meta-gradients stopped being finite."""
    state = begin_at(phi)
    while state.step < problem.config.meta_steps and not state.failure:
        state, _ = step(problem, state)
    return state.phi


def _tune(bench: Bench, job: Mapping[str, Any]) -> dict[str, Any]:
    """The coefficients that CMA-ES finds, by the metric itself, starting where the search has left them."""
    family = bench.family(job["loss"])
    problem = Problem((bench.task,), family, bench.tuning())
    found = run_optimize(problem, torch.tensor(job["phi"], dtype=torch.float64))
    return {"status": OK, "why": "", "phi": found.phi.tolist(), "fitness": finite(found.after)}


def _judge(bench: Bench, job: Mapping[str, Any]) -> dict[str, Any]:
    """The metric after a long training on rows that no fitness has seen: for ranking the best again."""
    task = bench.final.with_settings(steps=bench.config.rerank_steps or None)
    found = train(task, _module(bench, job), derive(bench.config.seed, "judge", int(job["seed"])))
    return {"status": OK, "why": found.failure, "val": finite(found.val), "steps": found.steps}


def _test(bench: Bench, job: Mapping[str, Any]) -> dict[str, Any]:
    """The metric on the test part after the task's own number of steps, and the way there."""
    found = train(bench.final, _module(bench, job), derive(bench.config.seed, "test", int(job["seed"])))
    curve = [[p.step, finite(p.val)] for p in found.curve]
    return {
        "status": OK, "why": found.failure, "test": finite(found.test), "val": finite(found.val), "steps": found.steps,
        "curve": curve,
    }  # fmt: skip


def _module(bench: Bench, job: Mapping[str, Any]) -> nn.Module:
    if job.get("loss") is None:
        return bench.task.baseline_loss()
    return _fixed(bench.family(job["loss"]), torch.tensor(job["phi"], dtype=torch.float64))


def _fixed(family: Symbolic, phi: Tensor) -> nn.Module:
    """The loss to train with as it is: no gradient in φ is asked for, and none is computed."""
    return LossNetwork(family, phi).requires_grad_(False)


_STAGES = {"filter": _filter, "train": _train, "tune": _tune, "judge": _judge, "test": _test}
