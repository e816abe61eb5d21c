"""One run as a function of its job: the loss learned, the model trained with it, the metric on the test part."""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from benchmarks.fidelity.cells import FORMULAS, SETUPS, Setup
from benchmarks.fidelity.plan import Job
from lossc.grammar.library import named
from lossc.runtime.meta.adapt import adapt
from lossc.runtime.meta.mlp import ML3, NeuralLoss
from lossc.runtime.meta.optimize import optimize
from lossc.runtime.meta.representation import LossRepresentation
from lossc.runtime.meta.symbolic import Symbolic
from lossc.runtime.meta.taylor import taylor
from lossc.runtime.tasks import Task, get_task
from lossc.runtime.training import Point, train

POPULATION = 25
"""Losses in a generation of TaylorGLO (section 3.4.1)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to.

    test, val  the metric after the last step; NaN where it is not finite
    best_val, best_step   the least validation metric of the learning curve, and where: what early stopping would keep
    failure    why training or learning ended before its last step, or ""
    learned    the learned loss, shortened
    """

    test: float
    val: float
    best_val: float
    best_step: int
    failure: str
    learned: str
    seconds: float


def run(job: Job) -> Outcome:
    """The run that a job describes. Raises UsageError (L226) if its data is missing."""
    began = time.perf_counter()
    setup = SETUPS[job.setup]
    task = task_of(setup, job)
    found = _online(job, task) if setup.chapter == 5 and job.method != "baseline" else _offline(job, task)
    if setup.to_range:
        found = in_range_units(found, task, job.seed)
    return replace(found, seconds=time.perf_counter() - began)


def task_of(setup: Setup, job: Job) -> Task:
    """The task as the chapter has it, on the job's split."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="L225")
        task = get_task(
            setup.task, job.size, model=setup.model, split=job.split, target_scale=setup.target_scale, lr=setup.lr,
            steps=job.steps,
        )  # fmt: skip
    return task if setup.sgd is None else replace(task, sgd=setup.sgd)


def in_range_units(found: Outcome, task: Task, seed: int) -> Outcome:
    """Squared errors of standardised targets in units of the targets' range in training."""
    standard, ranged = task.split(seed).y_scaler, replace(task, target_scale="minmax").split(seed).y_scaler
    assert standard is not None and ranged is not None
    factor = float(standard.scale / ranged.scale) ** 2
    return replace(found, test=found.test * factor, val=found.val * factor, best_val=found.best_val * factor)


def family_of(method: str, task: Task) -> LossRepresentation:
    """What a method of chapter 3 learns."""
    classes = task.kind == "classification"
    if method == "ml3":
        return NeuralLoss(replace(ML3, inputs="softmax" if classes else "scores"))
    if method == "symbolic":
        return Symbolic(named(FORMULAS[task.kind]), output="softplus")
    y, f = ("onehot", "prob") if classes else ("real", "real")
    return taylor("taylor3", y=y, f=f, start="zero" if method == "taylorglo" else "squared")


def _offline(job: Job, task: Task) -> Outcome:
    """The loss learned first, if the method learns one, and then the training with it."""
    loss: nn.Module = task.baseline_loss()
    learned = failure = ""
    if job.method != "baseline":
        by_cma: dict[str, Any] = (
            {"meta_optimizer": "cma", "population": POPULATION} if job.method == "taylorglo" else {}
        )
        found = optimize(
            family_of(job.method, task), task, meta_steps=job.learning, check_every=0, seed=job.seed, **by_cma
        )
        loss, learned, failure = found.network, found.family.describe(found.phi), found.failure
    trained = train(task, loss, job.seed)
    return _outcome(trained.test, trained.val, trained.curve, trained.failure or failure, learned)


def _online(job: Job, task: Task) -> Outcome:
    """Chapter 5: the loss (or the learning rate) moves while the model trains; ML3's stays."""
    found = adapt(
        None, task, method=job.method, init_steps=job.learning, online_lr=job.online_lr, seed=job.seed
    )  # fmt: skip
    return _outcome(found.test, found.val, found.curve, found.failure, found.describe())


def _outcome(test: float, val: float, curve: tuple[Point, ...], failure: str, learned: str) -> Outcome:
    seen = [p for p in curve if math.isfinite(p.val)]
    best = min(seen, key=lambda p: p.val, default=Point(0, math.nan, math.nan))
    return Outcome(_number(test), _number(val), best.val, best.step, failure, learned[:300], 0.0)


def _number(value: float) -> float:
    return value if math.isfinite(value) else math.nan
