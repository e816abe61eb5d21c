"""The implicit learning rate of a loss (thesis, section 4.3.2): the scale of its gradient, split from its shape.

For a loss L and a reference R with gradients at the same point, least squares gives

    ∇L = s ∇R + r,    s = <∇L, ∇R> / <∇R, ∇R>,    r orthogonal to ∇R

A step of SGD on L at the rate α is one on R at the rate s α, and a step along r that no rate of R takes. So s is the
*scale*, an implicit learning rate in units of R's. How much of the gradient is not scale, the *cosine* between the two
says: |r|² / |∇L|² = 1 - cos². k R has scale k and cosine 1, wherever it is measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lossc.runtime.data import Part
from lossc.runtime.experiments.view import View, chunks, sample
from lossc.runtime.inner import init, train_steps
from lossc.runtime.plain import finite
from lossc.runtime.tasks import Task
from lossc.runtime.training import Progress

CHECKPOINTS = 5
"""The scale is measured so often, from the first weights to the last ones."""
ROWS = 500


@dataclass(frozen=True, slots=True)
class Scale:
    """How the gradient of a loss lies to that of a reference; NaN where one of the two is 0 or not finite.

    scale    least-squares factor s of the reference's gradient; below 0, the loss points the other way
    cosine   of the angle between the two: 1 is the same shape
    ratio    of the lengths, |∇L| / |∇R| = |s / cosine|
    """

    scale: float
    cosine: float
    ratio: float

    @staticmethod
    def between(gradient: Tensor, reference: Tensor) -> Scale:
        """The scale of a gradient to a reference's, both of one shape, computed in float64."""
        a, b = gradient.double().flatten(), reference.double().flatten()
        inner, lengths = float(a @ b), (float(a.norm()), float(b.norm()))
        if not all(math.isfinite(n) and n > 0 for n in lengths):
            return Scale(math.nan, math.nan, math.nan)
        cosine = max(-1.0, min(1.0, inner / lengths[0] / lengths[1]))
        return Scale(inner / lengths[1] ** 2, cosine, lengths[0] / lengths[1])

    def as_json(self) -> dict[str, float | None]:
        """Plain data; a number that is not finite is None."""
        return {"scale": finite(self.scale), "cosine": finite(self.cosine), "ratio": finite(self.ratio)}


@dataclass(frozen=True, slots=True)
class Measured:
    """Both scales at one state: over the gradients in the model's outputs, row by row, and over the gradient in the
    weights, which is what SGD follows."""

    step: int
    outputs: Scale
    weights: Scale

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"step": self.step, "outputs": self.outputs.as_json(), "weights": self.weights.as_json()}


def of_outputs(loss: nn.Module, reference: nn.Module, outputs: Tensor, targets: Tensor) -> Scale:
    """The scale over predictions, typical ones or a grid: outputs [n, ...] and targets as the losses take them."""
    return Scale.between(_slope(loss, outputs, targets), _slope(reference, outputs, targets))


def _slope(loss: nn.Module, outputs: Tensor, targets: Tensor) -> Tensor:
    at = outputs.detach().requires_grad_()
    (slope,) = torch.autograd.grad(loss(at, targets), at)
    return slope


def of_weights(loss: nn.Module, reference: nn.Module, view: View, part: Part) -> Scale:
    """The scale of the gradients of the mean losses over a part in all weights."""
    return Scale.between(gradient(loss, view, part), gradient(reference, view, part))


def gradient(loss: nn.Module, view: View, part: Part) -> Tensor:
    """The gradient of the mean loss over a part in all weights, as one vector."""
    total = None
    params = {k: v.detach().requires_grad_() for k, v in view.params.items()}
    for x, y in chunks(part, share=4):
        value = loss(view.outputs(x, params), y) * (len(x) / len(part))
        slopes = torch.autograd.grad(value, list(params.values()), allow_unused=True, materialize_grads=True)
        flat = torch.cat([s.flatten() for s in slopes])
        total = flat if total is None else total + flat
    assert total is not None
    return total


def implicit_rate(
    task: Task,
    loss: nn.Module,
    seed: int,
    *,
    reference: nn.Module | None = None,
    rows: int = ROWS,
    checkpoints: int = CHECKPOINTS,
    progress: Progress | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> tuple[Measured, ...]:
    """The scale of a loss while the task's model is trained with it: before the first step, after the last, and evenly
    between, on a fixed sample of `rows` training rows. By default the reference is the task's baseline.

    A run that diverges is measured up to there. Raises what `lossc.runtime.inner.step` raises.
    """
    against = (task.baseline_loss() if reference is None else reference).to(device)
    loss = loss.to(device)
    data = task.split(seed, dtype).train.to(device)
    part = sample(data, rows, seed)
    model, state = init(task, seed, device=device, dtype=dtype)

    def measure() -> Measured:
        view = View.of(task, seed, state)
        outputs = of_outputs(loss, against, view.all_outputs(part), part.y)
        return Measured(state.step, outputs, of_weights(loss, against, view, part))

    at = _spaced(task.steps, checkpoints)
    found = [measure()]
    for after in train_steps(task, model, loss, data, state, task.steps, seed):
        state = after
        if state.step in at and not state.failure:
            found.append(measure())
        if progress is not None:
            progress(task.steps if state.failure else state.step, task.steps)
    return tuple(found)


def _spaced(steps: int, count: int) -> set[int]:
    return {round(k * steps / (count - 1)) for k in range(1, count)} if count > 1 else set()


def over_seeds(found: Sequence[Sequence[Measured]]) -> tuple[Measured, ...]:
    """The means over the seeds, at the steps that any of them has; NaN where one that has the step has no scale."""
    steps = sorted({m.step for one in found for m in one})
    here = [[m for one in found for m in one if m.step == step] for step in steps]
    return tuple(
        Measured(step, _mean([m.outputs for m in some]), _mean([m.weights for m in some]))
        for step, some in zip(steps, here, strict=True)
    )


def _mean(scales: Sequence[Scale]) -> Scale:
    return Scale(*(sum(getattr(s, k) for s in scales) / len(scales) for k in ("scale", "cosine", "ratio")))
