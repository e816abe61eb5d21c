"""Training a task's base model with any loss, and comparing losses beside the task's baseline.

A comparison uses common random numbers: for one seed every loss gets the same split, initial weights and batches, so
the difference to the baseline is taken seed by seed and its spread is that of the losses, not of the data.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from lossc.compiler.errors import UsageError
from lossc.runtime.inner import TrainState, evaluate, init, train_steps
from lossc.runtime.plain import finite_values
from lossc.runtime.tasks import Task

__all__ = [
    "Comparison", "Point", "Progress", "Row", "Spread", "TrainResult", "TrainState", "compare", "evaluate", "train",
]  # fmt: skip

Progress = Callable[[int, int], None]
"""Called after every step with the number of steps done and to do; a run that diverges jumps to its end."""

MARKS = 20
"""A learning curve has this many points, evenly spaced, and one before the first step: `marks`."""
EARLY = 0.1
"""The early metric is taken after this part of the steps: how fast a loss learns, where the end says how well."""


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a learning curve: the last batch's training loss and the metric on the validation part.

    A task of many rows may measure it on some of them (`Task.curve_rows`), but for the last.
    """

    step: int
    loss: float
    val: float


@dataclass(frozen=True, slots=True, eq=False)
class TrainResult:
    """What a run came to: the task's metric after the last step (with the last finite weights, if it diverged).

    early   validation metric after a tenth of the steps
    curve   the learning curve; `failure` says why the run ended before its last step, or is ""
    """

    task: str
    seed: int
    steps: int
    early: float
    val: float
    test: float
    curve: tuple[Point, ...]
    failure: str
    seconds: float
    state: TrainState

    @property
    def diverged(self) -> bool:
        """Whether loss or weights stopped being finite."""
        return bool(self.failure)


def marks(steps: int) -> set[int]:
    """The steps after which a learning curve has a point."""
    return {round(k * steps / MARKS) for k in range(1, MARKS + 1)}


def train(
    task: Task,
    loss: nn.Module,
    seed: int,
    *,
    progress: Progress | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> TrainResult:
    """Train the task's model with `loss(input, target)` for the task's steps, everything random fixed by `seed`.

    A run whose loss or weights stop being finite ends there and says so in the result; what `step` raises, it raises.
    Equal arguments give equal results, to the bit, on one machine with one number of threads.
    """
    began = time.perf_counter()
    parts = task.split(seed, dtype)
    data, val, test = parts.train.to(device), parts.val.to(device), parts.test.to(device)
    loss = loss.to(device)
    model, state = init(task, seed, device=device, dtype=dtype)
    early = max(1, round(EARLY * task.steps))
    seen_after = marks(task.steps) | {early}
    some = val if not task.curve_rows else val.first(task.curve_rows)
    curve = [Point(0, math.nan, evaluate(task, model, state, some))]
    for after in train_steps(task, model, loss, data, state, task.steps, seed):
        state = after
        if state.step in seen_after and not state.failure:
            seen = val if state.step == task.steps else some
            curve.append(Point(state.step, state.loss, evaluate(task, model, state, seen)))
        if progress is not None:
            progress(task.steps if state.failure else state.step, task.steps)
    last = evaluate(task, model, state, val)
    return TrainResult(
        task=task.name,
        seed=seed,
        steps=state.step,
        early=next((p.val for p in curve if p.step == early), last),
        val=last,
        test=evaluate(task, model, state, test),
        curve=tuple(curve),
        failure=state.failure,
        seconds=time.perf_counter() - began,
        state=state,
    )


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and standard deviation (of a sample: n - 1) over seeds; one seed has no deviation."""

    mean: float
    std: float | None
    n: int

    @staticmethod
    def of(values: Iterable[float]) -> Spread:
        """The spread of one or more values; not finite if one of them is not."""
        kept = list(values)
        if not all(map(math.isfinite, kept)):
            return Spread(sum(kept), math.nan if len(kept) > 1 else None, len(kept))
        return Spread(statistics.fmean(kept), statistics.stdev(kept) if len(kept) > 1 else None, len(kept))

    def __str__(self) -> str:
        if not math.isfinite(self.mean):
            return "not finite"
        return f"{self.mean:.4f}" if self.std is None else f"{self.mean:.4f} ± {self.std:.4f}"


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One loss in a comparison: its metrics over the seeds, diverged runs included as they ended.

    gain   test metric of the baseline less this one's, seed by seed: above 0 is better; None for the baseline itself
    """

    name: str
    test: Spread
    val: Spread
    early: Spread
    gain: Spread | None
    diverged: int
    seconds: float
    runs: tuple[TrainResult, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Losses on one task, the baseline first."""

    task: str
    model: str
    metric: str
    steps: int
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]

    def as_json(self) -> dict[str, Any]:
        """The table as plain data; a number that is not finite is None."""
        rows = [
            {
                "name": row.name,
                **{
                    k: finite_values(asdict(s)) for k, s in (("test", row.test), ("val", row.val), ("early", row.early))
                },
                "gain": None if row.gain is None else finite_values(asdict(row.gain)),
                "diverged": row.diverged,
                "seconds": row.seconds,
                "failures": [{"seed": r.seed, "steps": r.steps, "reason": r.failure} for r in row.runs if r.diverged],
            }
            for row in self.rows
        ]
        facts = {"task": self.task, "model": self.model, "metric": self.metric, "steps": self.steps}
        return {**facts, "seeds": list(self.seeds), "rows": rows}


def compare(
    task: Task,
    losses: Mapping[str, nn.Module],
    seeds: Sequence[int],
    *,
    progress: Callable[[str, int, int, int], None] | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Comparison:
    """Train with each loss and with the task's baseline, once a seed, and tabulate.

    The baseline's row is first and bears its name; a given loss of the same name is listed as `name (given)`.
    `progress(name, seed, step, steps)` is called after every step. UsageError (L224) for no seeds or repeated ones.
    """
    if not seeds or len(set(seeds)) != len(seeds):
        raise UsageError("L224", "a comparison needs one or more seeds, each once")
    entries = [(task.baseline, task.baseline_loss())]
    entries += [(f"{name} (given)" if name == task.baseline else name, loss) for name, loss in losses.items()]
    rows: list[Row] = []
    for name, loss in entries:
        runs = tuple(
            train(task, loss, seed, progress=_told(progress, name, seed), device=device, dtype=dtype) for seed in seeds
        )
        rows.append(_row(name, runs, rows[0].runs if rows else None))
    return Comparison(task.name, task.model, task.metric.name, task.steps, tuple(seeds), tuple(rows))


def _told(progress: Callable[[str, int, int, int], None] | None, name: str, seed: int) -> Progress | None:
    return None if progress is None else lambda done, steps: progress(name, seed, done, steps)


def _row(name: str, runs: tuple[TrainResult, ...], baseline: tuple[TrainResult, ...] | None) -> Row:
    gain = None
    if baseline is not None:
        gain = Spread.of(b.test - r.test for b, r in zip(baseline, runs, strict=True))
    return Row(
        name=name,
        test=Spread.of(r.test for r in runs),
        val=Spread.of(r.val for r in runs),
        early=Spread.of(r.early for r in runs),
        gain=gain,
        diverged=sum(r.diverged for r in runs),
        seconds=statistics.fmean(r.seconds for r in runs),
        runs=runs,
    )
