"""Training curves of several losses: the metric and a common loss while a model is trained, over seeds (Fig. 4.11).

Training losses of different scale do not compare. So a curve shows the task's metric on a fixed sample of the training
part and on the validation part, and the task's meta-loss (cross-entropy, or squared error) on the training sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lossc.compiler.errors import UsageError
from lossc.runtime.data import Part
from lossc.runtime.experiments.plain import plain
from lossc.runtime.experiments.view import View, sample
from lossc.runtime.inner import TrainState, init, train_steps
from lossc.runtime.plain import finite
from lossc.runtime.tasks import Task
from lossc.runtime.training import Spread

POINTS, ROWS = 50, 1000
REACHED = 0.9
"""A run has *reached* the baseline when its validation metric has come so far from the baseline's first value to the
baseline's last."""
MEASURES = ("train", "val", "common")


@dataclass(frozen=True, slots=True)
class Seen:
    """The model after so many steps: the task's metric in training and validation, its meta-loss in training."""

    step: int
    train: float
    val: float
    common: float


@dataclass(frozen=True, slots=True)
class Run:
    """One training: what was seen on its way, and why it ended before its last step, or ""."""

    name: str
    seed: int
    seen: tuple[Seen, ...]
    failure: str


@dataclass(frozen=True, slots=True)
class Curve:
    """The curves of one loss over the seeds; a run that diverged stays where it ended.

    steps      where it was looked at; `means` and `stds` (None for one seed) by measure: "train", "val", "common"
    last       what the measures come to in the end
    reached    the first step at which a run had reached the baseline, of the runs that did; None if none did
    diverged   how many runs ended before their last step
    """

    name: str
    steps: tuple[int, ...]
    means: Mapping[str, tuple[float, ...]]
    stds: Mapping[str, tuple[float, ...]] | None
    last: Mapping[str, Spread]
    reached: Spread | None
    diverged: int

    def as_json(self) -> dict[str, Any]:
        """Plain data; a number that is not finite is None."""
        stds = self.stds or {}
        return {
            "name": self.name, "steps": list(self.steps), "diverged": self.diverged,
            "reached": None if self.reached is None else plain(self.reached),
            "last": {k: plain(v) for k, v in self.last.items()},
            "mean": {k: [finite(x) for x in v] for k, v in self.means.items()},
            "std": {k: [finite(x) for x in v] for k, v in stds.items()},
        }  # fmt: skip


def curve_runs(
    task: Task,
    losses: Mapping[str, nn.Module],
    seeds: Sequence[int],
    *,
    points: int = POINTS,
    rows: int = ROWS,
    progress: Callable[[str, int, int, int], None] | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[Run]:
    """Train with the task's baseline and with each loss, and look at it `points` times, one seed after the other.

    The weights and batches are those of `lossc.runtime.training.compare`, and so is `progress`. UsageError (L223) for
    fewer than one point; raises what `lossc.runtime.inner.step` raises.
    """
    if points < 1:
        raise UsageError("L223", f"a curve has one point or more, got {points}")
    entries = [(task.baseline, task.baseline_loss())]
    entries += [(f"{name} (given)" if name == task.baseline else name, loss) for name, loss in losses.items()]
    for seed in seeds:
        split = task.split(seed)
        data = split.train.to(device)
        parts = (sample(data, rows, seed), sample(split.val.to(device), rows, seed))
        for name, loss in entries:
            yield _run(task, name, loss.to(device), seed, data, parts, points, progress)


def _run(
    task: Task,
    name: str,
    loss: nn.Module,
    seed: int,
    data: Part,
    parts: tuple[Part, Part],
    points: int,
    progress: Callable[[str, int, int, int], None] | None,
) -> Run:
    model, state = init(task, seed, device=data.x.device)
    at = {round(k * task.steps / points) for k in range(1, points + 1)}
    seen = [_seen(task, seed, state, parts)]
    for after in train_steps(task, model, loss, data, state, task.steps, seed):
        state = after
        if state.step in at and not state.failure:
            seen.append(_seen(task, seed, state, parts))
        if progress is not None:
            progress(name, seed, task.steps if state.failure else state.step, task.steps)
    return Run(name, seed, tuple(seen), state.failure)


def _seen(task: Task, seed: int, state: TrainState, parts: tuple[Part, Part]) -> Seen:
    train, val = parts
    view = View.of(task, seed, state)
    outputs = view.all_outputs(train)
    with torch.no_grad():
        here = float(task.metric.measure(outputs, train.y))
        there = float(task.metric.measure(view.all_outputs(val), val.y))
        return Seen(state.step, here, there, float(task.meta_loss(outputs, train.y)))


def curves(runs: Sequence[Run], losses: int) -> tuple[Curve, ...]:
    """The runs of so many losses as curves, the baseline first; of a seed that is not done, nothing is kept."""
    names = list(dict.fromkeys(run.name for run in runs))
    done = {seed for seed in {r.seed for r in runs} if sum(r.seed == seed for r in runs) == losses}
    whole = [r for r in runs if r.seed in done]
    base = {r.seed: r for r in whole if r.name == names[0]}
    return tuple(_curve(name, [r for r in whole if r.name == name], base) for name in (names if whole else ()))


def _curve(name: str, runs: Sequence[Run], base: Mapping[int, Run]) -> Curve:
    steps = tuple(s.step for s in max((r.seen for r in (*runs, *base.values())), key=len))
    values = {
        k: [[getattr(r.seen[min(i, len(r.seen) - 1)], k) for r in runs] for i in range(len(steps))] for k in MEASURES
    }
    spreads = {k: [Spread.of(v) for v in column] for k, column in values.items()}
    means = {k: tuple(s.mean for s in column) for k, column in spreads.items()}
    stds = {k: tuple(math.nan if s.std is None else s.std for s in column) for k, column in spreads.items()}
    reached = [step for r in runs for step in [_reached(r, base[r.seed])] if step is not None]
    return Curve(
        name, steps, means, stds if len(runs) > 1 else None, {k: column[-1] for k, column in spreads.items()},
        Spread.of(reached) if reached else None, sum(bool(r.failure) for r in runs),
    )  # fmt: skip


def _reached(run: Run, base: Run) -> int | None:
    first, last = base.seen[0].val, base.seen[-1].val
    goal = first - REACHED * (first - last)
    return next((s.step for s in run.seen if s.val <= goal), None)
