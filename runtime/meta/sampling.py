"""Episodes drawn from tasks: θ_0 and batches are functions of (seed, step), the same for every loss."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from lossc.compiler.errors import UsageError
from lossc.runtime.data import Part, Split, derive, generator
from lossc.runtime.meta.config import MetaConfig
from lossc.runtime.meta.episode import Batch, Episode, MetaLoss
from lossc.runtime.tasks import Task


def draw_batch(part: Part, size: int, seed: int, *names: str | int) -> Batch:
    """`size` rows of a part without repetition, or all of a smaller one."""
    if size >= len(part):
        return part.x, part.y
    stream = np.random.Generator(np.random.PCG64(derive(seed, *names)))
    rows = torch.from_numpy(stream.choice(len(part), size, replace=False, shuffle=False)).to(part.x.device)
    return part.x.index_select(0, rows), part.y.index_select(0, rows)


def nll_of_probabilities(outputs: Tensor, targets: Tensor) -> Tensor:
    """-p of the target class: `NLLLoss` on a softmax, as the public code of 2022 has it by mistake."""
    return -torch.softmax(outputs, dim=1).gather(1, targets[:, None]).mean()


@dataclass(eq=False)
class Sampler:
    """Episodes of one task, for a configuration; `index` tells the tasks of a set apart."""

    task: Task
    config: MetaConfig
    index: int = 0
    device: torch.device | str = "cpu"

    @cached_property
    def dtype(self) -> torch.dtype:
        return torch.float64 if self.config.dtype == "float64" else torch.float32

    @cached_property
    def split(self) -> Split:
        return self.task.split(self.config.seed, self.dtype)

    @cached_property
    def train(self) -> Part:
        return self.split.train.to(self.device)

    @cached_property
    def valid(self) -> Part:
        return self.split.val.to(self.device)

    @cached_property
    def model(self) -> nn.Module:
        """The structure of the base model, in training mode."""
        return self._fresh(0).train()

    @property
    def meta_loss(self) -> MetaLoss:
        if self.config.meta_loss == "nll-prob" and self.task.kind == "classification":
            return nll_of_probabilities
        return self.task.meta_loss

    def check(self) -> None:
        """One batch through the model. UsageError (L222) for outputs that do not suit the task, or an error inside."""
        x, y = self.batch("train", 0, 0)
        name = f"the model of {self.task.name} ({self.task.model})"
        try:
            with torch.no_grad():
                outputs = self._fresh(0).train()(x)
        except Exception as problem:
            first = (str(problem).strip() or type(problem).__name__).splitlines()[0]
            raise UsageError("L222", f"{name} fails on a batch {list(x.shape)}: {first}") from problem
        wanted = list(y.shape) if y.is_floating_point() else [len(y), self.task.data.outputs]
        shape = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        if shape != wanted:
            raise UsageError("L222", f"{name} gives {shape} for a batch", expected=f"a tensor of shape {wanted}")

    def _fresh(self, step: int) -> nn.Module:
        seed = derive(self.config.seed, "task", self.index, "meta", step)
        return self.task.fresh_model(seed, self.dtype).to(self.device)

    def weights(self, step: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """θ_0 and the buffers for a meta-step."""
        model = self._fresh(step if self.config.reset else 0)
        return (
            {k: v.detach() for k, v in model.named_parameters()},
            {k: v.detach() for k, v in model.named_buffers()},
        )

    def batch(self, which: str, step: int, place: int) -> Batch:
        """A batch of the training part ("train"), augmented as in training, or of the validation part ("valid")."""
        names = ("task", self.index, which, step, place)
        x, y = draw_batch(
            self.valid if which == "valid" else self.train, self.task.batch_size, self.config.seed, *names
        )
        if which == "train" and self.task.augment is not None:
            x = self.task.augment(x, generator(self.config.seed, *names, "augment"))
        return x, y

    def episode(self, step: int) -> Episode:
        """The episode of a meta-step: θ_0, the inner batches and the query."""
        params, buffers = self.weights(step)
        inner = tuple(self.batch("train", step, t) for t in range(self.config.inner_steps))
        query = (
            inner[-1] if self.config.query == "same" else self.batch(self.config.query, step, self.config.inner_steps)
        )
        seed = derive(self.config.seed, "task", self.index, "episode", step)
        return Episode(self.model, params, buffers, inner, query, self.task.sgd.at(0), self.meta_loss, seed=seed)
