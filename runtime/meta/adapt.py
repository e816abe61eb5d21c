"""Online loss learning: the loss adapts while the model trains (AdaLFL, thesis section 5.2, algorithms 5 and 6).

Offline, φ is learned from fresh models, one inner step at a time. Online, θ is never reset: each step of training is
followed by one step of φ, on the meta-gradient through that step. Meta-LR (algorithms 7 and 8), the control, learns the
learning rate by the same loop: its "loss" is the task's own times α.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from lossc.runtime.data import derive
from lossc.runtime.inner import TrainState, evaluate
from lossc.runtime.inner import init as start_training
from lossc.runtime.meta.config import MetaConfig, checked
from lossc.runtime.meta.episode import Episode, MetaGradient
from lossc.runtime.meta.guarded import Event, guarded_meta_gradient
from lossc.runtime.meta.optimize import MetaState, Problem, Record, adam, begin_at, describe_task, init, step
from lossc.runtime.meta.representation import LossRepresentation
from lossc.runtime.tasks import Task
from lossc.runtime.training import Point, marks, train

SHOTS = (0.0, 0.1, 0.25, 0.5, 1.0)
"""Where in training, as a share of it, the loss is kept for the figure."""


class AdaptConfig(BaseModel):
    """Settings of AdaLFL and Meta-LR (thesis, section 5.4.3).

    init_steps, init_lr   the offline part: S_init = 2500 meta-steps of Adam with η = 1e-3
    online_lr             η of the online part; 1e-5 in the thesis, since more makes the loss jitter. 0: the loss stays
                          as the offline part left it, which is ML3
    inner_steps           S_inner of the offline part
    query                 the meta-objective's batches: "valid" (generalisation) or "train" (Table 5.1)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["adalfl", "meta-lr", "ml3"] = "adalfl"
    init_steps: int = Field(default=2500, ge=0, le=10_000_000)
    init_lr: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
    online_lr: float = Field(default=1e-5, ge=0, allow_inf_nan=False)
    inner_steps: int = Field(default=1, ge=1, le=100_000)
    query: Literal["valid", "train"] = "valid"
    engine: str = "auto"
    dtype: Literal["float32", "float64"] = "float32"
    seed: int = Field(default=0, ge=0, le=2**31 - 1)

    def offline(self) -> MetaConfig:
        """The settings of the offline part."""
        return MetaConfig(
            preset="adalfl", meta_steps=max(self.init_steps, 1), meta_lr=self.init_lr, inner_steps=self.inner_steps,
            query=self.query, engine=self.engine if self.engine != "implicit" else "auto", dtype=self.dtype,
            check_every=0, seed=self.seed,
        )  # fmt: skip


def make_adapt_config(**changes: Any) -> AdaptConfig:
    """The thesis's settings, with changes. UsageError (L255) for a value that cannot be."""
    return checked(AdaptConfig, changes)


class LearningRate(LossRepresentation):
    """The task's own loss times α / lr: with the inner optimiser's rate lr, a step of size α (algorithms 7 and 8).

    Weight decay keeps the rate lr.
    """

    name, size = "learning-rate", 1

    def __init__(self, task: Task) -> None:
        self.task, self.rate = task, task.sgd.lr

    def initial(self, seed: int) -> Tensor:
        """The task's learning rate."""
        del seed
        return torch.tensor([self.rate], dtype=torch.float64)

    def encode(self, target: Tensor, outputs: Tensor) -> Tensor:
        """The target as it is: the loss is torch's own."""
        del outputs
        return target

    def plain(self, outputs: Tensor, target: Tensor, phi: Tensor) -> Tensor:
        """α / lr times the task's loss."""
        return (phi[0] / self.rate).to(outputs.dtype) * self.task.meta_loss(outputs, target)

    def describe(self, phi: Tensor) -> str:
        """The learning rate."""
        return f"learning rate {float(phi[0]):.4g}"

    def settings(self) -> dict[str, Any]:
        """Nothing but its name."""
        return {"representation": self.name}


@dataclass(frozen=True, slots=True, eq=False)
class AdaptState:
    """Offline until `online` is there: then θ (with momentum and buffers) and φ move together.

    shots   (training step, φ) as kept for the figure; `curve` the learning curve
    """

    meta: MetaState
    online: TrainState | None = None
    shots: tuple[tuple[int, Tensor], ...] = ()
    curve: tuple[Point, ...] = ()

    @property
    def failure(self) -> str:
        """Why the run cannot go on, or ""."""
        return self.meta.failure or (self.online.failure if self.online else "")


@dataclass(eq=False)
class Adaptation:
    """What stays the same during a run."""

    task: Task
    family: LossRepresentation
    config: AdaptConfig
    device: str = "cpu"
    problem: Problem = field(init=False)

    def __post_init__(self) -> None:
        self.problem = Problem((self.task,), self.family, self.config.offline(), self.device)
        self.sampler = self.problem.samplers[0]
        self.model, self.fresh = start_training(
            self.task, self.config.seed, device=self.device, dtype=self.sampler.dtype
        )
        self.model.train()

    @property
    def marks(self) -> set[int]:
        """The steps after which the validation metric is taken."""
        return marks(self.task.steps)

    @property
    def shot_steps(self) -> set[int]:
        """The steps at which the loss is kept."""
        return {round(share * self.task.steps) for share in SHOTS}


def begin(run: Adaptation) -> AdaptState:
    """The state before the first offline step."""
    return AdaptState(init(run.problem))


def is_over(run: Adaptation, state: AdaptState) -> bool:
    """Whether training is done, or has failed."""
    return bool(state.failure) or (state.online is not None and state.online.step >= run.task.steps)


def advance(run: Adaptation, state: AdaptState) -> tuple[AdaptState, Record]:
    """One step: offline as long as those last, then online."""
    if state.online is None and state.meta.step < run.config.init_steps:
        meta, record = step(run.problem, state.meta)
        return replace(state, meta=meta), record
    if state.online is None:
        state = _go_online(run, state)
    return _online_step(run, state)


def _go_online(run: Adaptation, state: AdaptState) -> AdaptState:
    """θ as every other method starts with for this seed; Adam's moments start anew (algorithm 6, line 1)."""
    phi = state.meta.phi
    first = Point(0, math.nan, evaluate(run.task, run.model, run.fresh, run.sampler.valid))
    return replace(state, meta=begin_at(phi), online=run.fresh, curve=(first,), shots=((0, phi),))


def _online_step(run: Adaptation, state: AdaptState) -> tuple[AdaptState, Record]:
    """Algorithm 6, lines 3 to 8."""
    assert state.online is not None
    here = state.online.step
    episode = _episode(run, state.online, here)
    found, events = guarded_meta_gradient(episode, run.family, state.meta.phi, here, run.config.engine)
    if found is None:
        why = events[-1].why if events else "no finite meta-gradient"
        failed = replace(state.online, failure=f"{why} at step {here + 1}")
        return replace(state, online=failed), Record(here, math.nan, math.nan, events=tuple(events))
    online = _moved(found, state.online, run.sampler.dtype, here)
    meta = adam(state.meta, found.grad, run.config.online_lr) if run.config.online_lr else state.meta
    state = replace(state, online=online, meta=meta)
    if not online.failure:
        state = _noted(run, state, found)
    return state, Record(here, found.value, float(found.grad.norm()), found.engine, events=tuple(events))


def _episode(run: Adaptation, online: TrainState, here: int) -> Episode:
    inner = run.sampler.batch("train", here, -1)
    query = run.sampler.batch(run.config.query, here, -2)
    seed = derive(run.config.seed, "online", here)
    velocity = online.velocity if here else {}
    return Episode(
        run.model,
        online.params,
        online.buffers,
        (inner,),
        query,
        run.task.sgd.at(here),
        run.task.meta_loss,
        velocity,
        seed,
    )


def _moved(found: MetaGradient, online: TrainState, dtype: torch.dtype, here: int) -> TrainState:
    def back(values: dict[str, Tensor]) -> dict[str, Tensor]:
        return {k: v.to(dtype) if v.is_floating_point() else v for k, v in values.items()}

    params = back(found.end.params)
    if not all(bool(torch.isfinite(v).all()) for v in params.values()):
        return replace(online, failure=f"the weights are not finite at step {here + 1}")
    return TrainState(here + 1, params, back(found.end.velocity), back(found.end.buffers), found.value)


def _noted(run: Adaptation, state: AdaptState, found: MetaGradient) -> AdaptState:
    assert state.online is not None
    here = state.online.step
    if here in run.marks:
        value = evaluate(run.task, run.model, state.online, run.sampler.valid)
        state = replace(state, curve=(*state.curve, Point(here, found.value, value)))
    if here in run.shot_steps:
        state = replace(state, shots=(*state.shots, (here, state.meta.phi)))
    return state


@dataclass(frozen=True, slots=True, eq=False)
class AdaptResult:
    """What a run came to: the metric of the trained model, the loss at the end, and the way there."""

    family: LossRepresentation
    phi: Tensor
    shots: tuple[tuple[int, Tensor], ...]
    curve: tuple[Point, ...]
    steps: int
    val: float
    test: float
    failure: str = ""
    seconds: float = 0.0
    events: tuple[Event, ...] = ()

    def describe(self) -> str:
        """What adapted, as it was at the end."""
        return self.family.describe(self.phi)


def train_baseline(task: Task, seed: int, *, device: str = "cpu", dtype: str = "float32") -> AdaptResult:
    """Training with the task's usual loss, as a result to compare with."""
    real = torch.float64 if dtype == "float64" else torch.float32
    found = train(task, task.baseline_loss(), seed, device=device, dtype=real)
    rate = LearningRate(task)
    return AdaptResult(
        rate, rate.initial(0), (), found.curve, found.steps, found.val, found.test, found.failure, found.seconds
    )


def conclude(run: Adaptation, state: AdaptState, seconds: float, events: tuple[Event, ...] = ()) -> AdaptResult:
    """The result of a run that is over; weights are the last finite ones."""
    online = state.online if state.online is not None else run.fresh
    test = run.sampler.split.test.to(run.device)
    return AdaptResult(
        run.family, state.meta.phi, state.shots, state.curve, online.step,
        evaluate(run.task, run.model, online, run.sampler.valid), evaluate(run.task, run.model, online, test),
        state.failure, seconds, events,
    )  # fmt: skip


Progress = Callable[[str, Record, AdaptState], None]


def adapt(
    family: LossRepresentation | None,
    task: Task,
    *,
    progress: Progress | None = None,
    device: str = "cpu",
    run: str | Path | None = None,
    resume: bool = False,
    **settings: Any,
) -> AdaptResult:
    """Train the task's model while its loss adapts (AdaLFL), or its learning rate (`method="meta-lr"`).

    family       the representation to adapt; None for what the method calls for: the network of section 5.2.2, or α
    run, resume  a folder to keep the run in, and whether to go on with one that is there
    settings     fields of `AdaptConfig`

    Raises UsageError (L253, L255, and L233, L234, L256, L257 for the folder). A run that diverges is no error: the
    result says so.
    """
    from lossc.runtime.meta.driver import run_adapt
    from lossc.runtime.runs import RunFolder

    config = make_adapt_config(**settings)
    made = Adaptation(task, family or default_family(task, config), _as_method(config), device)
    if run is None:
        return run_adapt(made, progress=progress)
    with RunFolder(run, describe_adaptation(made), resume=resume) as folder:
        return run_adapt(made, folder=folder, progress=progress)


def describe_adaptation(run: Adaptation) -> dict[str, Any]:
    """All that determines a run, as plain data."""
    return {
        "kind": "adapt",
        "task": describe_task(run.task),
        "family": run.family.settings(),
        "settings": run.config.model_dump(),
        "device": run.device,
    }


def _as_method(config: AdaptConfig) -> AdaptConfig:
    """ML3 is AdaLFL whose loss no longer moves."""
    return config.model_copy(update={"online_lr": 0.0}) if config.method == "ml3" else config


def default_family(task: Task, config: AdaptConfig) -> LossRepresentation:
    """The AdaLFL network for the kind of the task, or the learning rate."""
    from dataclasses import replace as with_

    from lossc.runtime.meta.mlp import ADALFL, ML3, NeuralLoss

    if config.method == "meta-lr":
        return LearningRate(task)
    inputs = "softmax" if task.kind == "classification" else "scores"
    shape = ML3 if config.method == "ml3" else ADALFL
    return NeuralLoss(with_(shape, inputs=inputs))
