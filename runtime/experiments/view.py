"""What an experiment looks at: a model with given weights, in evaluation mode, on a fixed sample of rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lossc.runtime.data import Part, generator
from lossc.runtime.inner import CHUNK, TrainState
from lossc.runtime.tasks import Task


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A model in evaluation mode (normalisation by its running statistics, nothing dropped), with weights by name."""

    model: nn.Module
    params: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]

    @staticmethod
    def of(task: Task, seed: int, state: TrainState) -> View:
        """The task's model with the weights of a state."""
        params = {k: v.detach() for k, v in state.params.items()}
        some = next(iter(params.values()))
        model = task.fresh_model(seed, some.dtype).to(some.device).eval()
        return View(model, params, state.buffers)

    def outputs(self, x: Tensor, params: Mapping[str, Tensor] | None = None) -> Tensor:
        """The model's outputs on x [n, ...], with other weights where they are given."""
        given = self.params if params is None else params
        found: Tensor = functional_call(self.model, {**given, **self.buffers}, (x,))
        return found

    def all_outputs(self, part: Part, params: Mapping[str, Tensor] | None = None) -> Tensor:
        """The outputs on all rows of a part, without a graph, some rows at a time."""
        with torch.no_grad():
            return torch.cat([self.outputs(x, params) for x, _ in chunks(part)])


def sample(part: Part, rows: int, seed: int) -> Part:
    """So many rows of a part, drawn without replacement: the same for every loss. All of them, if there are fewer."""
    if rows >= len(part):
        return part
    chosen = torch.randperm(len(part), generator=generator(seed, "experiment", "rows"))[:rows].to(part.x.device)
    return Part(part.rows[chosen.cpu()], part.x[chosen], part.y[chosen])


def chunks(part: Part, share: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
    """Its rows in pieces that fit in memory: of about a million numbers, divided by `share`."""
    size = min(4096, max(16, CHUNK // (share * max(1, part.x[0].numel()))))
    for start in range(0, len(part), size):
        yield part.x[start : start + size], part.y[start : start + size]
