"""250 meta-steps of the local search of EvoMAL on Diabetes: `lossc.optimize`, and the same as the public code does it.

The public code's loop, written from its description: a base model of its own for every step, a batch by
`next(iter(DataLoader(shuffle=True)))` for the inner step and another for the meta-loss, `higher`,
`task_loss.backward()`, and Adam on one parameter a node.
"""

from __future__ import annotations

import time
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import lossc
from benchmarks.meta_methods import REGRESSION, TorchNetwork, symbolic
from lossc.runtime.data import Part
from lossc.runtime.tasks import Task

FORMULA = "sqrt(abs(y - f)) + tanh(square(y - f))"
SIZES = (10, 1000, 1000, 1)


def ours(steps: int) -> float:
    """CPU seconds of `lossc.optimize` with the settings of the public code of 2023."""
    task = lossc.get_task("diabetes", size="thesis")
    loss = lossc.parse(FORMULA, dialect="public")
    began = time.process_time()
    lossc.optimize(loss, task, preset="public-2023", meta_steps=steps, check_every=0)
    return time.process_time() - began


def theirs(steps: int) -> float:
    """CPU seconds of the same with `higher`, as the public code calls it."""
    import higher

    task = lossc.get_task("diabetes", size="thesis")
    split = task.split(0)
    family = symbolic(REGRESSION, FORMULA)
    network = TorchNetwork(family, family.initial(0), REGRESSION, torch.float32)
    adam = torch.optim.Adam(network.parameters(), lr=1e-3)
    loaders = [_loader(part, task) for part in (split.train, split.val)]
    began = time.process_time()
    for _ in range(steps):
        model = _model()
        sgd = torch.optim.SGD(model.parameters(), task.sgd.lr, task.sgd.momentum, nesterov=task.sgd.nesterov,
                              weight_decay=task.sgd.weight_decay)  # fmt: skip
        adam.zero_grad()
        with higher.innerloop_ctx(model, sgd, copy_initial_weights=False) as (fmodel, diffopt):
            x, y = _batch(loaders[0])
            diffopt.step(network(fmodel(x), y))
            x, y = _batch(loaders[1])
            functional.mse_loss(fmodel(x), y).backward()  # type: ignore[no-untyped-call]
        adam.step()
    return time.process_time() - began


def _loader(part: Part, task: Task) -> DataLoader[tuple[Tensor, ...]]:
    return DataLoader(TensorDataset(part.x, part.y), batch_size=task.batch_size, shuffle=True)


def _batch(loader: DataLoader[tuple[Tensor, ...]]) -> tuple[Tensor, Tensor]:
    x, y = next(iter(loader))
    return x, y


def _model() -> nn.Sequential:
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(SIZES):
        linear = nn.Linear(wide, narrow)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])
