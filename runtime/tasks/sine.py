"""The sine family of ML3 (Bechtle et al., 2021, section 4.1): tasks y = A sin(x - p), from a few points each.

A loss is learned on one sine and judged on others, of other amplitudes and phases and on a wider range of x. Each is a
normal `Task` over data that is made when it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from math import pi
from typing import overload

import torch
from torch.nn import functional

from lossc.compiler.errors import UsageError
from lossc.runtime.data import RAW, Dataset, Scaler, generator
from lossc.runtime.models import mlp
from lossc.runtime.tasks.base import MSE_RAW, SGD, Task

POINTS = 100
"""Training points of a task, which are one batch; so many again for validation, and twice as many for the test part."""
LAYERS = (1, 100, 10, 1)
SIZES = {"small": (SGD(lr=0.01), 500), "thesis": (SGD(lr=0.001), 100)}
"""Learning rate and steps; those of ML3's public code are called "thesis" as elsewhere."""


@dataclass(frozen=True, slots=True)
class Sines:
    """Which sines: amplitude, phase and x are uniform in these ranges."""

    amplitude: tuple[float, float] = (0.2, 5.0)
    phase: tuple[float, float] = (-pi, pi)
    inputs: tuple[float, float] = (-5.0, 5.0)


TRAINING = Sines((1.0, 1.0), (pi, pi), (-2.0, 2.0))
"""The one sine that ML3 learns its loss on; `Sines()` are those that it tests on."""


@dataclass(frozen=True, slots=True, eq=False)
class TaskFamily(Sequence[Task]):
    """So many tasks of a kind, each made when asked for: `family[3]` is the same task for the same seed."""

    n: int
    seed: int = 0
    sines: Sines = field(default_factory=Sines)
    size: str = "small"

    def __len__(self) -> int:
        return self.n

    @overload
    def __getitem__(self, index: int) -> Task: ...
    @overload
    def __getitem__(self, index: slice) -> list[Task]: ...
    def __getitem__(self, index: int | slice) -> Task | list[Task]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self.n))]
        place = index + self.n if index < 0 else index
        if not 0 <= place < self.n:
            raise IndexError(f"there are {self.n} tasks, and none at {index}")
        return sine(self.sines, self.seed, place, self.size, name=f"sine[{place}]")


def sine(sines: Sines = TRAINING, seed: int = 0, place: int = 0, size: str = "small", *, name: str = "sine") -> Task:
    """One task: its amplitude, phase and points are a function of the ranges, the seed and its place in the family.

    Inputs and targets stay as they are: a scaled sine would be the same task again. UsageError (L221) for another size.
    """
    if size not in SIZES:
        raise UsageError("L221", f"sine has no size `{size}`", expected="one of: " + ", ".join(SIZES))
    stream = generator(seed, "sine", place)
    draw = torch.rand(2 + 4 * POINTS, generator=stream, dtype=torch.float64)
    amplitude, phase = (low + (high - low) * draw[i] for i, (low, high) in enumerate((sines.amplitude, sines.phase)))
    x = sines.inputs[0] + (sines.inputs[1] - sines.inputs[0]) * draw[2:]
    data = Dataset(
        name, x[:, None], amplitude * torch.sin(x - phase),
        source=f"Bechtle et al. (2021), Meta learning via learned loss; {amplitude:.4g} sin(x - {phase:.4g})",
        scaler=Scaler(torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)),
        held=2 * POINTS, validation=0.5,
    )  # fmt: skip
    sgd, steps = SIZES[size]
    return Task(
        name=name,
        model="MLP " + "-".join(map(str, LAYERS)),
        data=data,
        build=partial(mlp, LAYERS),
        sgd=sgd,
        batch_size=POINTS,
        steps=steps,
        metric=MSE_RAW,
        baseline="mse",
        meta_loss=functional.mse_loss,
        target_scale=RAW,
    )
