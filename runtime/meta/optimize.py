"""Offline loss learning: φ by Adam on meta-gradients, or by CMA-ES (thesis, algorithms 3 and 5; TaylorGLO).

    >>> result = lossc.optimize(lossc.parse("sqrt(abs(y - f))"), lossc.get_task("diabetes"), meta_steps=250)
    >>> print(result.loss)

The loop is a value: `init` makes a `MetaState`, `step` takes one and gives the next, and everything random is a
function of (seed, step). So a run can stop anywhere and go on from its state with the same numbers.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lossc.compiler.errors import UsageError
from lossc.runtime.data import derive
from lossc.runtime.inner import evaluate, train_steps
from lossc.runtime.inner import init as start_training
from lossc.runtime.meta.config import MetaConfig, make_config
from lossc.runtime.meta.engines.evolution import play
from lossc.runtime.meta.guarded import Event, float32_error, growth_of, guarded_meta_gradient
from lossc.runtime.meta.network import LossNetwork
from lossc.runtime.meta.representation import LossRepresentation
from lossc.runtime.meta.sampling import Sampler
from lossc.runtime.meta.symbolic import Symbolic
from lossc.runtime.plain import finite
from lossc.runtime.tasks import Task

if TYPE_CHECKING:
    from lossc.compiler.loss import Loss

BETAS, EPSILON = (0.9, 0.999), 1e-8
"""Adam's, as torch has them."""
MAX_SKIPS = 25
"""So many meta-steps in a row without a finite gradient end the run."""


@dataclass(frozen=True, slots=True, eq=False)
class MetaState:
    """The whole state of a run.

    phi         the coefficients; `mean` and `square` are Adam's moments
    best_phi, best_value   the best coefficients so far by validation, if the settings keep them
    skipped     meta-steps in a row without a finite gradient
    failure     why the run cannot go on, or ""
    """

    step: int
    phi: Tensor
    mean: Tensor
    square: Tensor
    best_phi: Tensor | None = None
    best_value: float = math.inf
    skipped: int = 0
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One meta-step: the meta-loss (mean over the tasks), the norm of the meta-gradient, and what was done about it.

    growth   the largest growth of the adjoint over the inner steps; `error` the relative error of float32, if checked
    kinks    the share of entries of the inner batch that sit on a kink, if checked
    """

    step: int
    value: float
    norm: float
    engine: str = ""
    growth: float = 1.0
    error: float | None = None
    kinks: float | None = None
    validation: float | None = None
    events: tuple[Event, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain data; a number that is not finite is None."""
        row: dict[str, Any] = {"step": self.step, "value": finite(self.value), "norm": finite(self.norm)}
        row |= {"engine": self.engine, "growth": finite(self.growth)}
        for name in ("error", "kinks", "validation"):
            if (given := getattr(self, name)) is not None:
                row[name] = finite(given)
        if self.events:
            row["events"] = [e.as_json() for e in self.events]
        return row


@dataclass(frozen=True, slots=True, eq=False)
class OptimizeResult:
    """What was learned.

    loss      the learned loss, φ folded back as numbers; None for a neural network
    network   the learned loss as a module
    history   a record for every meta-step of this call
    failure   why the run ended before its last step, or ""
    before, after   the mean meta-loss over 20 episodes that learning did not see, with the first φ and with the last
    """

    family: LossRepresentation
    phi: Tensor
    history: tuple[Record, ...]
    config: MetaConfig
    failure: str = ""
    seconds: float = 0.0
    before: float = math.nan
    after: float = math.nan

    @property
    def loss(self) -> Loss | None:
        """The learned loss as a formula with numbers, if it has one."""
        return self.family.fold(self.phi)

    def rounded(self, digits: int = 4) -> Loss | None:
        """The learned loss with its coefficients rounded, for reading; `simplify` merges them further."""
        return self.family.fold(torch.tensor([float(f"{v:.{digits}g}") for v in self.phi], dtype=torch.float64))

    @property
    def network(self) -> LossNetwork:
        """The learned loss as a module."""
        return LossNetwork(self.family, self.phi)

    @property
    def events(self) -> list[Event]:
        """Everything that was done about bad gradients."""
        return [e for r in self.history for e in r.events]


@dataclass(frozen=True, eq=False)
class Problem:
    """Tasks, representation and settings: what `init` and `step` need beside the state."""

    tasks: tuple[Task, ...]
    family: LossRepresentation
    config: MetaConfig
    device: str = "cpu"
    samplers: tuple[Sampler, ...] = field(init=False)

    def __post_init__(self) -> None:
        if not self.tasks:
            raise UsageError("L224", "meta-learning needs a task")
        made = tuple(Sampler(t, self.config, i, self.device) for i, t in enumerate(self.tasks))
        object.__setattr__(self, "samplers", made)


def init(problem: Problem) -> MetaState:
    """The state before the first meta-step."""
    return begin_at(problem.family.initial(problem.config.seed))


def begin_at(phi: Tensor) -> MetaState:
    """The state before the first meta-step from these coefficients: Adam's moments are 0."""
    return MetaState(0, phi, torch.zeros_like(phi), torch.zeros_like(phi))


def step(problem: Problem, state: MetaState) -> tuple[MetaState, Record]:
    """One meta-step: the sum of the tasks' meta-gradients, then Adam (thesis, eq. 3.8, algorithm 3 lines 3 to 11)."""
    config, here = problem.config, state.step
    total = torch.zeros_like(state.phi)
    values: list[float] = []
    events: list[Event] = []
    growth, error, kinks, engine, usable = 1.0, None, None, "", 0
    for sampler in problem.samplers:
        episode = sampler.episode(here)
        found, done = guarded_meta_gradient(
            episode, problem.family, state.phi, here, config.engine, truncate=config.truncate
        )
        events += done
        if found is None:
            continue
        usable += 1
        total += found.grad
        values.append(found.value)
        engine, growth = found.engine, max(growth, growth_of(found))
        if config.check_every and here % config.check_every == 0 and sampler is problem.samplers[0]:
            kinks = kink_share(problem.family, episode, state.phi)
            if config.dtype == "float32" and not done:
                error = float32_error(episode, problem.family, state.phi, found, truncate=config.truncate)
    mean_value = sum(values) / len(values) if values else math.nan
    if usable:
        new = adam(replace(state, skipped=0), total, config.meta_lr)
    else:
        new = replace(state, step=here + 1, skipped=state.skipped + 1)
        if new.skipped >= MAX_SKIPS:
            new = replace(new, failure=f"no finite meta-gradient in {MAX_SKIPS} meta-steps: {events[-1].why}")
    new, validation = _validated(problem, new)
    norm = float(total.norm()) if usable else math.nan
    return new, Record(here, mean_value, norm, engine, growth, error, kinks, validation, tuple(events))


def adam(state: MetaState, grad: Tensor, lr: float) -> MetaState:
    """Adam, step for step as `torch.optim.Adam` in float64."""
    n = state.step + 1
    mean = BETAS[0] * state.mean + (1 - BETAS[0]) * grad
    square = BETAS[1] * state.square + (1 - BETAS[1]) * grad * grad
    scale = square.sqrt() / math.sqrt(1 - BETAS[1] ** n) + EPSILON
    phi = state.phi - lr / (1 - BETAS[0] ** n) * mean / scale
    return replace(state, step=n, phi=phi, mean=mean, square=square)


def _validated(problem: Problem, state: MetaState) -> tuple[MetaState, float | None]:
    """Every tenth of the run, if the settings say so: a training with the loss as it is; the best is kept."""
    config = problem.config
    every = max(1, config.meta_steps // 10)
    if not config.keep_best or state.step % every:
        return state, None
    value = fitness(problem, state.phi)
    if value < state.best_value:
        state = replace(state, best_phi=state.phi, best_value=value)
    return state, value


def fitness(problem: Problem, phi: Tensor) -> float:
    """The tasks' mean metric on their validation parts after `fitness_steps` steps of training (thesis, algorithm 4).

    A run that diverges is judged by its last finite weights, unless there is nothing finite to judge.
    """
    config = problem.config
    network = LossNetwork(problem.family, phi).requires_grad_(False)
    values = []
    for sampler in problem.samplers:
        seed = derive(config.seed, "fitness", sampler.index)
        model, state = start_training(sampler.task, seed, device=problem.device, dtype=sampler.dtype)
        for after in train_steps(sampler.task, model, network, sampler.train, state, config.fitness_steps, seed):
            state = after
        values.append(evaluate(sampler.task, model, state, sampler.valid))
    mean = sum(values) / len(values)
    return mean if math.isfinite(mean) else math.inf


def measure(problem: Problem, phi: Tensor, episodes: int = 20) -> float:
    """The mean meta-loss over episodes that learning never sees, the same ones for every φ."""
    drawn = [sampler.episode(_UNSEEN + i) for i in range(episodes) for sampler in problem.samplers]
    values = [play(episode, problem.family, phi)[0] for episode in drawn]
    return sum(values) / len(values)


_UNSEEN = 10**9
"""Meta-steps from here on are for measuring."""


def kink_share(family: LossRepresentation, episode: Any, phi: Tensor) -> float | None:
    """The share of the first inner batch's entries that sit on a kink of a symbolic loss, to rounding."""
    if not isinstance(family, Symbolic):
        return None
    from lossc.runtime.meta.episode import run_model

    with torch.no_grad():
        x, y = episode.inner[0]
        outputs, _ = run_model(episode, episode.params, episode.buffers, x, 0)
        return family.kink_share(outputs, family.encode(y, outputs), phi)


Progress = Callable[[Record, MetaState], None]


def optimize(
    loss: Loss | LossNetwork | LossRepresentation,
    task: Task | Sequence[Task],
    *,
    preset: str = "thesis",
    progress: Progress | None = None,
    device: str = "cpu",
    run: str | Path | None = None,
    resume: bool = False,
    **settings: Any,
) -> OptimizeResult:
    """Learn the coefficients of a loss on one task or several (thesis, section 3.2.4).

    loss         a `Loss`, which is parameterised first; a network (its φ is where learning starts) or a representation
    run, resume  a folder to keep the run in, and whether to go on with one that is there
    settings     fields of `MetaConfig`: meta_steps, inner_steps, meta_lr, query, engine, truncate, seed, ...

    Raises UsageError: L222 for a loss that does not suit the task, L253 for an engine that cannot be used, L255 for
    settings that cannot be, L233, L234, L256 and L257 for the folder. A run that diverges is no error: the result says
    so, and has what was learned before.
    """
    from lossc.runtime.meta.driver import run_optimize
    from lossc.runtime.runs import RunFolder

    config = make_config(preset, **settings)
    tasks = (task,) if isinstance(task, Task) else tuple(task)
    family, start = as_family(loss, tasks, config)
    problem = Problem(tasks, family, config, device)
    if run is None:
        return run_optimize(problem, start, progress=progress)
    with RunFolder(run, describe_problem(problem, start), resume=resume) as folder:
        return run_optimize(problem, start, folder=folder, progress=progress)


def describe_problem(problem: Problem, start: Tensor | None = None) -> dict[str, Any]:
    """All that determines a run, as plain data: for its folder, and to tell one run from another."""
    return {
        "kind": "optimize",
        "tasks": [describe_task(t) for t in problem.tasks],
        "family": problem.family.settings(),
        "start": None if start is None else start.tolist(),
        "settings": problem.config.model_dump(),
        "device": problem.device,
    }


def describe_task(task: Task) -> dict[str, Any]:
    """What a task is, as plain data: a run is gone on with on the same one only."""
    data = task.data
    rows = slice(None, None, max(1, len(data.targets) // 1000))
    seen = hashlib.blake2b(digest_size=8)
    for part in (data.targets, data.inputs[rows]):
        seen.update(part.contiguous().numpy().tobytes())
    return {
        "name": task.name, "model": task.model, "sgd": asdict(task.sgd), "batch_size": task.batch_size,
        "steps": task.steps, "split": task.dealing, "target_scale": task.target_scale, "rows": len(data.targets),
        "data": seen.hexdigest(),
    }  # fmt: skip


def result_of(
    problem: Problem, state: MetaState, history: Sequence[Record], seconds: float, start: Tensor | None = None
) -> OptimizeResult:
    """The result of a run that ended in `state`."""
    phi = state.best_phi if state.best_phi is not None else state.phi
    first = problem.family.initial(problem.config.seed) if start is None else start
    failure = state.failure
    if history and not failure and not any(math.isfinite(r.norm) for r in history):
        failure = "no meta-step had a finite gradient"
    return OptimizeResult(
        problem.family, phi, tuple(history), problem.config, failure, seconds, measure(problem, first),
        measure(problem, phi),
    )  # fmt: skip


def as_family(loss: Any, tasks: Sequence[Task], config: MetaConfig) -> tuple[LossRepresentation, Tensor | None]:
    """The representation that a loss, a network or a representation stands for, and where φ starts, if it says so."""
    if isinstance(loss, LossNetwork):
        return loss.family, loss.phi.detach().clone()
    if isinstance(loss, LossRepresentation):
        return loss, None
    for t in tasks:
        t.check(loss)
    return Symbolic(loss, output=config.output), None
