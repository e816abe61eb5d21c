"""A sweep over learning rates: a loss beside the baseline, and beside itself at the baseline's scale (Fig. 4.3).

A loss may do better than the baseline at one learning rate only because its gradient is longer or shorter: an implicit
learning rate. So each loss trains twice at every rate α of the grid: as it is, and *matched*, which is divided by its
scale s before training (`lossc.runtime.experiments.learning_rate`): the same loss at the rate α / s, with the weight
decay of α. What is left between that and the baseline is shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from lossc.compiler.errors import UsageError
from lossc.runtime.experiments.plain import plain
from lossc.runtime.plain import finite
from lossc.runtime.tasks import Task
from lossc.runtime.training import Spread, train

FACTORS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""The default grid: the task's own learning rate times these."""
SAME = 0.02
"""A loss whose scale is nearer to 1 than this is matched as it is."""


class Divided(nn.Module):
    """A loss divided by a number: `loss(input, target) / by`."""

    def __init__(self, loss: nn.Module, by: float) -> None:
        super().__init__()
        self.loss, self.by = loss, by

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What the loss gives, divided."""
        found: Tensor = self.loss(outputs, targets) / self.by
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """What is trained at every rate: a name, a loss, and its scale in units of the baseline's.

    `matched`: the loss is divided by its scale; what is left is 1.
    """

    name: str
    loss: nn.Module
    scale: float = 1.0
    matched: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """One training: metrics after the last step, or at the last finite weights where `failure` says why it ended."""

    series: str
    rate: float
    seed: int
    val: float
    test: float
    failure: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One series at one rate, over the seeds."""

    rate: float
    val: Spread
    test: Spread
    diverged: int


@dataclass(frozen=True, slots=True)
class Line:
    """One series over all rates.

    best   the cell of the best mean validation metric; its test metric is then no choice of ours
    gain   the baseline's test metric at its best rate less this one's at its own, seed by seed; None for the baseline
    """

    name: str
    scale: float
    matched: bool
    cells: tuple[Cell, ...]
    best: Cell
    gain: Spread | None

    def as_json(self) -> dict[str, Any]:
        """Plain data; a number that is not finite is None."""
        gain = None if self.gain is None else plain(self.gain)
        return {
            "name": self.name, "scale": finite(self.scale), "matched": self.matched,
            "best_rate": self.best.rate, "gain": gain,
            "rates": [
                {"rate": c.rate, "val": plain(c.val), "test": plain(c.test), "diverged": c.diverged}
                for c in self.cells
            ],
        }  # fmt: skip


def series_of(task: Task, losses: Mapping[str, nn.Module], scales: Mapping[str, float]) -> tuple[Series, ...]:
    """The baseline, then each loss as it is and matched; not matched where its scale is 1, not positive or unknown."""
    found = [Series(task.baseline, task.baseline_loss())]
    for name, loss in losses.items():
        scale = scales[name]
        found.append(Series(f"{name} (given)" if name == task.baseline else name, loss, scale))
        if 0 < scale < float("inf") and abs(scale - 1) > SAME:
            found.append(Series(f"{name} / {scale:.3g}", Divided(loss, scale), matched=True))
    return tuple(found)


def grid(task: Task, rates: Sequence[float] | None = None) -> tuple[float, ...]:
    """The rates in order: those given, or the default ones. UsageError (L223) for one that is not positive."""
    chosen = [float(f"{task.sgd.lr * f:.3g}") for f in FACTORS] if rates is None else list(rates)
    for rate in chosen:
        if not 0 < rate < float("inf"):
            raise UsageError("L223", f"a learning rate must be a positive number, got {rate}")
    return tuple(sorted(set(chosen)))


def sweep_runs(
    task: Task,
    series: Sequence[Series],
    rates: Sequence[float],
    seeds: Sequence[int],
    *,
    progress: Callable[[str, int, int, int], None] | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[Run]:
    """Train every series at every rate, one seed after the other, so that what is done so far can be compared.

    `progress(name, seed, step, steps)` is called after every step. Raises what `lossc.runtime.training.train` raises.
    """
    for seed, rate, one in product(seeds, rates, series):
        name = f"{one.name}, rate {rate:g}"
        told = None if progress is None else _told(progress, name, seed)
        found = train(task.with_settings(lr=rate), one.loss, seed, progress=told, device=device)
        yield Run(one.name, rate, seed, found.val, found.test, found.failure)


def _told(progress: Callable[[str, int, int, int], None], name: str, seed: int) -> Callable[[int, int], None]:
    return lambda done, steps: progress(name, seed, done, steps)


def lines(series: Sequence[Series], runs: Sequence[Run], rates: int) -> tuple[Line, ...]:
    """The runs at so many rates as a table, the baseline first; of a seed that is not done, nothing is kept."""
    seeds = {r.seed for r in runs}
    done = {seed for seed in seeds if sum(r.seed == seed for r in runs) == len(series) * rates}
    whole = [r for r in runs if r.seed in done]
    found: list[Line] = []
    for one in series if whole else ():
        cells = _cells([r for r in whole if r.series == one.name])
        best = min(cells, key=lambda c: c.val.mean if math.isfinite(c.val.mean) else math.inf)
        gain = None
        if found:
            base = _tests(whole, found[0].name, found[0].best.rate)
            mine = _tests(whole, one.name, best.rate)
            gain = Spread.of(base[seed] - mine[seed] for seed in base)
        found.append(Line(one.name, one.scale, one.matched, cells, best, gain))
    return tuple(found)


def _cells(runs: Sequence[Run]) -> tuple[Cell, ...]:
    cells = []
    for rate in sorted({r.rate for r in runs}):
        here = [r for r in runs if r.rate == rate]
        diverged = sum(bool(r.failure) for r in here)
        cells.append(Cell(rate, Spread.of(r.val for r in here), Spread.of(r.test for r in here), diverged))
    return tuple(cells)


def _tests(runs: Sequence[Run], name: str, rate: float) -> dict[int, float]:
    return {r.seed: r.test for r in runs if (r.series, r.rate) == (name, rate)}
