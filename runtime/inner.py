"""The inner loop as a value: `init` makes a `TrainState`, `step` takes one and gives the next.

A state holds all there is (weights, momentum, the number of the step); batches are a function of (seed, step). So a run
can stop anywhere and go on from its state, and for one seed every loss sees the same split, weights and batches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lossc.compiler.errors import LossTypeError, UsageError
from lossc.runtime.data import Part, derive, generator
from lossc.runtime.tasks import SGD, Task


@dataclass(frozen=True, slots=True, eq=False)
class TrainState:
    """The whole state of a run: nothing else changes from step to step.

    params, velocity   by name, as in the model; buffers likewise (running statistics, if the model keeps any)
    loss               the training loss of the last batch, before its step; NaN at the start
    failure            why the run cannot go on, or ""; weights are then the last finite ones
    """

    step: int
    params: dict[str, Tensor]
    velocity: dict[str, Tensor]
    buffers: dict[str, Tensor]
    loss: float = math.nan
    failure: str = ""


def init(
    task: Task, seed: int, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> tuple[nn.Module, TrainState]:
    """The model, whose own weights are never used again, and the state before the first step."""
    model = task.fresh_model(seed, dtype).to(device)
    params = {k: v.detach() for k, v in model.named_parameters()}
    buffers = {k: v.detach() for k, v in model.named_buffers()}
    velocity = {k: torch.zeros_like(v) for k, v in params.items()} if task.sgd.momentum else {}
    return model, TrainState(0, params, velocity, buffers)


def batches(seed: int, rows: int, size: int, start: int = 0) -> Iterator[Tensor]:
    """Indices of the batches from step `start` on, without end: a new shuffle every epoch, only whole batches.

    A set of fewer rows than a batch is one batch.
    """
    size = min(size, rows)
    epoch, place = divmod(start, rows // size)
    while True:
        order = torch.randperm(rows, generator=generator(seed, "epoch", epoch))
        yield from order[: rows // size * size].view(-1, size)[place:]
        epoch, place = epoch + 1, 0


@contextmanager
def randomness(model: nn.Module, seed: int, step: int) -> Iterator[None]:
    """Torch's global stream seeded for one step of training, and put back: dropout is a function of (seed, step)."""
    if not any(isinstance(m, _DROPOUT) or not type(m).__module__.startswith(_KNOWN) for m in model.modules()):
        yield
        return
    cuda = {p.device for p in model.parameters() if p.is_cuda}
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(derive(seed, "inside", step))
        yield


_DROPOUT = (
    nn.modules.dropout._DropoutNd, nn.RReLU, nn.FractionalMaxPool2d, nn.FractionalMaxPool3d, nn.RNNBase,
    nn.MultiheadAttention,
)  # fmt: skip
_KNOWN = ("torch.", "lossc.")
"""What draws random numbers, and whose modules draw none otherwise; a user's own may."""


def step(model: nn.Module, loss: nn.Module, sgd: SGD, state: TrainState, x: Tensor, y: Tensor) -> TrainState:
    """The state after one gradient step on a batch; the one that is given stays as it was.

    A loss or a step that is not finite leaves the weights and sets `failure`. Raises UsageError (L222) if the loss
    cannot take the batch or gives no single number, LossTypeError (L320) if it does not depend on the prediction.
    """
    params = {k: v.detach().requires_grad_() for k, v in state.params.items()}
    buffers = {k: v.clone() for k, v in state.buffers.items()}
    value = _loss_value(loss, functional_call(model, {**params, **buffers}, (x,)), y)
    number = float(value.detach())
    if not math.isfinite(number):
        return replace(state, loss=number, failure=f"the training loss is {number} at step {state.step + 1}")
    slopes = torch.autograd.grad(value, list(params.values()), allow_unused=True, materialize_grads=True)
    new, velocity = _descend(sgd, state, dict(zip(params, slopes, strict=True)))
    if not all(map(_finite, new.values())):
        return replace(state, loss=number, failure=f"the gradient is not finite at step {state.step + 1}")
    return TrainState(state.step + 1, new, velocity, buffers, number)


def train_steps(
    task: Task, model: nn.Module, loss: nn.Module, data: Part, state: TrainState, steps: int, seed: int
) -> Iterator[TrainState]:
    """The state after each step of training on `data`, until step number `steps` or a failure.

    Batches, augmentation and dropout are functions of (seed, step). Raises what `step` raises.
    """
    stream = batches(seed, len(data), task.batch_size, state.step)
    while state.step < steps and not state.failure:
        rows = next(stream).to(data.x.device)
        x = task.augmented(data.x[rows], seed, state.step)
        with randomness(model, seed, state.step):
            state = step(model, loss, task.sgd, state, x, data.y[rows])
        yield state


def _loss_value(loss: nn.Module, outputs: Tensor, y: Tensor) -> Tensor:
    try:
        value = loss(outputs, y)
    except (ValueError, TypeError, RuntimeError, IndexError) as problem:
        first = (str(problem).strip() or type(problem).__name__).splitlines()[0]
        raise UsageError("L222", f"the loss cannot be used here: {first}") from problem
    if not isinstance(value, Tensor) or value.numel() != 1:
        shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise UsageError("L222", f"a loss to train with must give one number, got {shape}", hint='reduction="mean"')
    if not value.requires_grad:
        raise LossTypeError("L320", "the loss does not depend on the prediction: there is nothing to learn from it")
    return value.reshape(())


def _descend(sgd: SGD, state: TrainState, slopes: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights and velocity after the update of `torch.optim.SGD`."""
    new, velocity = {}, {}
    rate = sgd.at(state.step).lr
    for name, slope in slopes.items():
        weight = state.params[name]
        if sgd.weight_decay:
            slope = (weight * sgd.weight_decay).add_(slope)
        if sgd.momentum:
            velocity[name] = moving = (state.velocity[name] * sgd.momentum).add_(slope)
            slope = (moving * sgd.momentum).add_(slope) if sgd.nesterov else moving
        moved = slope * rate
        new[name] = torch.sub(weight, moved, out=moved)
    return new, velocity


def _finite(values: Tensor) -> bool:
    """Whether all entries are finite numbers: the smallest and the largest are (NaN is both), found in one pass."""
    return values.numel() == 0 or all(math.isfinite(float(v)) for v in torch.aminmax(values))


CHUNK = 1 << 20
"""Numbers that are evaluated at once: 341 colour images of 32x32."""


@torch.no_grad()
def evaluate(task: Task, model: nn.Module, state: TrainState, part: Part, *, chunk: int = 0) -> float:
    """The task's metric on a part, the model in evaluation mode, `chunk` rows at a time (0: a number that suits)."""
    training = model.training
    model.eval()
    total = 0.0
    chunk = chunk or min(4096, max(64, CHUNK // task.data.features))
    for start in range(0, len(part), chunk):
        x, y = part.x[start : start + chunk], part.y[start : start + chunk]
        total += float(task.metric.measure(functional_call(model, {**state.params, **state.buffers}, (x,)), y)) * len(x)
    model.train(training)
    return total / len(part)
