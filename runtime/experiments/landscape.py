"""Loss landscapes of trained models, and figures of their flatness (thesis, section 4.3.1, Fig. 4.2).

What is looked at is L(θ + a d) along filter-normalised directions d, the model in evaluation mode, on fixed samples of
the training and the test part. Losses have scales of their own, so besides each loss itself there are two measures in
which they compare: the task's meta-loss (cross-entropy, or squared error) and its metric (error rate).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lossc.compiler.errors import UsageError
from lossc.runtime.data import Part, generator
from lossc.runtime.experiments.curvature import Measure
from lossc.runtime.experiments.directions import along, direction, on_plane
from lossc.runtime.experiments.flatness import MEANING, Flatness, flatness
from lossc.runtime.experiments.plain import plain
from lossc.runtime.experiments.view import View, sample
from lossc.runtime.plain import finite
from lossc.runtime.tasks import Task
from lossc.runtime.training import Spread, TrainResult, compare

LOSS, COMMON, METRIC = "loss", "common", "metric"
"""The measures: the loss that was trained with, the task's meta-loss, the task's metric."""
TRAIN, TEST = "train", "test"


@dataclass(frozen=True, slots=True)
class Window:
    """How a landscape is looked at. UsageError (L223) for a number out of range.

    radius      directions are followed from -radius to radius, at `points` points
    within      how far the rises of `lossc.runtime.experiments.flatness` go
    directions  random directions a seed, which are averaged; `rows` of each part are looked at
    side        points a side of the plane of the first seed's first two directions; 0: no plane
    """

    radius: float = 1.0
    points: int = 41
    within: float = 0.25
    directions: int = 3
    rows: int = 500
    side: int = 0

    def __post_init__(self) -> None:
        for name in ("radius", "within"):
            if not 0 < getattr(self, name) < float("inf"):
                raise UsageError("L223", f"`{name}` must be a positive number, got {getattr(self, name)}")
        ranges = {"points": (3, 1001), "directions": (1, 1000), "rows": (1, 1_000_000), "side": (3, 201)}
        for name, (least, most) in ranges.items():
            if not (least <= getattr(self, name) <= most or (name == "side" and not self.side)):
                raise UsageError("L223", f"`{name}` must be between {least} and {most:,}, got {getattr(self, name)}")

    def line(self) -> tuple[float, ...]:
        """The places along a direction."""
        return _spaced(self.radius, self.points)

    def edge(self) -> tuple[float, ...]:
        """The places along a side of the plane."""
        return _spaced(self.radius, self.side) if self.side else ()


def _spaced(radius: float, points: int) -> tuple[float, ...]:
    return tuple(radius * (2 * k - points + 1) / (points - 1) for k in range(points))


Lines = Mapping[str, Mapping[str, tuple[float, ...]]]
"""By part (TRAIN, TEST) and measure (LOSS, COMMON, METRIC), values along the line."""


@dataclass(frozen=True, slots=True, eq=False)
class Landscape:
    """That of one loss, over the seeds whose runs did not diverge.

    test       the task's metric on the whole test part, over all seeds
    lines      means over directions and seeds; empty if all runs diverged
    plane      of the common measure in training, for the first seed: a row for each place along the second direction
    flatness   figures of flatness, over the seeds
    """

    name: str
    test: Spread
    lines: Lines
    plane: tuple[tuple[float, ...], ...]
    flatness: Mapping[Flatness, Spread]
    diverged: int

    def as_json(self) -> dict[str, Any]:
        """Plain data; a number that is not finite is None."""
        return {
            "name": self.name,
            "test": plain(self.test),
            "diverged": self.diverged,
            "flatness": {k.value: plain(v) for k, v in self.flatness.items()},
            "lines": {p: {k: [finite(v) for v in line] for k, line in of.items()} for p, of in self.lines.items()},
            "plane": [[finite(v) for v in row] for row in self.plane],
        }


@dataclass(frozen=True, slots=True, eq=False)
class Landscapes:
    """The landscapes of several losses on one task, the baseline first."""

    task: Task
    seeds: tuple[int, ...]
    window: Window
    found: tuple[Landscape, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain data, with what the names in it mean."""
        task, window = self.task, self.window
        return {
            "task": task.name, "model": task.model, "steps": task.steps, "seeds": list(self.seeds),
            "measures": {LOSS: "the loss itself", COMMON: task.baseline, METRIC: task.metric.name},
            "flatness": {k.value: meaning for k, meaning in MEANING.items()}, "within": window.within,
            "directions": window.directions, "rows": window.rows,
            "places": list(window.line()), "plane_places": list(window.edge()),
            "losses": [one.as_json() for one in self.found],
        }  # fmt: skip


def landscapes(
    task: Task,
    losses: Mapping[str, nn.Module],
    seeds: Sequence[int],
    window: Window | None = None,
    *,
    progress: Callable[[str, int, int, int], None] | None = None,
    looking: Callable[[str, int], None] | None = None,
    device: torch.device | str = "cpu",
) -> Landscapes:
    """Train with each loss and with the task's baseline, once a seed, and look around.

    All losses see the same rows, and directions from the same random numbers. `progress` is as in
    `lossc.runtime.training.compare`; `looking(name, seed)` is called before each look. Raises what `compare` raises.
    """
    chosen = window or Window()
    trained = compare(task, losses, seeds, progress=progress, device=device)
    modules = [task.baseline_loss(), *losses.values()]
    found = []
    for row, loss in zip(trained.rows, modules, strict=True):
        kept = [run for run in row.runs if not run.diverged]
        looks = []
        for run in kept:
            if looking is not None:
                looking(row.name, run.seed)
            looks.append(_look(task, loss, run, chosen, plane=bool(chosen.side) and run is kept[0]))
        found.append(_together(row.name, row.test, looks, len(row.runs)))
    return Landscapes(task, tuple(seeds), chosen, tuple(found))


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """One trained model: means over its directions."""

    lines: Lines
    plane: tuple[tuple[float, ...], ...]
    flatness: Mapping[Flatness, float]


def _look(task: Task, loss: nn.Module, run: TrainResult, window: Window, plane: bool) -> _Look:
    view = View.of(task, run.seed, run.state)
    parts = _parts(task, run, window.rows)
    towards = [
        direction(view.params, generator(run.seed, "direction", k)) for k in range(max(window.directions, 2 * plane))
    ]
    measures: dict[str, Measure] = {LOSS: loss, COMMON: task.meta_loss, METRIC: task.metric.measure}
    few = towards[: window.directions]
    lines = {
        which: _means([along(view, d, window.line(), measures, part) for d in few]) for which, part in parts.items()
    }
    figures = flatness(view, loss, task.meta_loss, parts[TRAIN], parts[TEST], few, window.within, run.seed)
    surface = on_plane(view, towards, window.edge(), task.meta_loss, parts[TRAIN]) if plane else []
    return _Look(lines, tuple(map(tuple, surface)), figures)


def _parts(task: Task, run: TrainResult, rows: int) -> dict[str, Part]:
    some = next(iter(run.state.params.values()))
    split = task.split(run.seed, some.dtype)
    return {w: sample(p, rows, run.seed).to(some.device) for w, p in ((TRAIN, split.train), (TEST, split.test))}


def _means(lines: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, tuple[float, ...]]:
    """The mean of several lines, place by place, for each measure."""
    return {
        k: tuple(sum(values) / len(lines) for values in zip(*(line[k] for line in lines), strict=True))
        for k in lines[0]
    }


def _together(name: str, test: Spread, looks: Sequence[_Look], runs: int) -> Landscape:
    if not looks:
        return Landscape(name, test, {}, (), {}, runs)
    lines = {part: _means([look.lines[part] for look in looks]) for part in looks[0].lines}
    figures = {k: Spread.of(look.flatness[k] for look in looks) for k in Flatness}
    return Landscape(name, test, lines, looks[0].plane, figures, runs - len(looks))
