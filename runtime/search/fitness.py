"""The fitness of a loss: the metric after a partial training (thesis, algorithm 4), paid for only as far as it pays.

The first rung gives up what is hopeless: after a part of the steps no better than an untrained model. What is left goes
on to the end of that same training. With several seeds a loss races against the best so far: both meet the same models
and batches, seed by seed, and one that stays behind by more than a margin is given no more seeds (common random
numbers; AutoML-Zero's and Lion's funnels).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from lossc.runtime.data import derive
from lossc.runtime.inner import evaluate, train_steps
from lossc.runtime.inner import init as start_training
from lossc.runtime.search.bench import Bench

HOPELESS, NO_END = "no better than untrained", "training has no finite end"


@dataclass(frozen=True, slots=True)
class Measured:
    """A fitness, and what it took.

    why       why there is none, or ""
    fitness   smaller is better. Of a loss that was not given all seeds: the incumbent's, and by how much it was behind
    values    the metric, seed by seed
    steps     of training, in all
    """

    why: str
    fitness: float | None
    values: list[float]
    steps: int


def measured(bench: Bench, loss: nn.Module, incumbent: Sequence[float] | None = None) -> Measured:
    """The fitness of a loss beside the values that the best so far had, seed by seed."""
    values: list[float] = []
    steps = 0
    for seed in range(bench.config.fitness_seeds):
        why, value, done = _training(bench, loss, seed, first=seed == 0)
        steps += done
        if why:
            return Measured(why, None, values, steps)
        values.append(value)
        if incumbent is not None and len(incumbent) == bench.config.fitness_seeds and len(values) < len(incumbent):
            behind = [v - w for v, w in zip(values, incumbent, strict=False)]
            if min(behind) > 0 and _mean(behind) > bench.config.race_margin * abs(_mean(incumbent)):
                return Measured("", _mean(incumbent) + _mean(behind), values, steps)
    return Measured("", _mean(values), values, steps)


def _training(bench: Bench, loss: nn.Module, index: int, *, first: bool) -> tuple[str, float, int]:
    """Why a partial training came to nothing or "", the metric on the fold for fitnesses, and the steps done."""
    c, task = bench.config, bench.task
    seed = derive(c.seed, "fitness", 0) if index == 0 else derive(c.seed, "fitness", 0, index)
    model, state = start_training(task, seed)
    rung = round(c.rung * c.fitness_steps) if first else 0
    if rung:
        untrained = evaluate(task, model, state, bench.selection)
        for after in train_steps(task, model, loss, bench.training, state, rung, seed):
            state = after
        value = evaluate(task, model, state, bench.selection)
        if not value < untrained:
            return HOPELESS, value, state.step
    for after in train_steps(task, model, loss, bench.training, state, c.fitness_steps, seed):
        state = after
    value = evaluate(task, model, state, bench.selection)
    return ("" if math.isfinite(value) else NO_END), value, state.step


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
