"""Tests that a loss must pass before it is worth training with (thesis, section 3.2.5).

They look at the loss alone, on the predictions of an untrained model: no base model is trained. In the order of their
cost: is there a gradient at all, has a loss with the same gradient been seen, and does minimising the loss over the
predictions themselves improve the metric (the rejection protocol of Li et al. 2022, eq. 3.11 and 3.12).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.func import functional_call

from lossc.runtime.data import derive
from lossc.runtime.meta.representation import LossRepresentation
from lossc.runtime.meta.sampling import draw_batch
from lossc.runtime.tasks import Task

DEAD, NOT_FINITE, UNPROMISING, FLAT = "dead gradient", "not finite", "unpromising", "flat"


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """Predictions of an untrained model and their targets: what the filters look at.

    outputs   [B, 1] or [B, C]; `target` in that shape (one-hot for classes), `raw` as the metric takes it
    """

    task: Task
    outputs: Tensor
    target: Tensor
    raw: Tensor

    def metric(self, outputs: Tensor) -> float:
        """The task's metric of some outputs; smaller is better."""
        return float(self.task.metric.measure(outputs, self.raw))


def make_probe(task: Task, family: LossRepresentation, seed: int, rows: int = 100) -> Probe:
    """`rows` training rows through a fresh model, float64, fixed by the seed: the same for every loss."""
    part = task.split(seed, torch.float64).train
    x, y = draw_batch(part, rows, seed, "probe")
    model = task.fresh_model(derive(seed, "probe"), torch.float64).eval()
    with torch.no_grad():
        outputs = functional_call(model, dict(model.named_parameters()), (x,))
    return Probe(task, outputs, family.encode(y, outputs), y)


def gradient(family: LossRepresentation, phi: Tensor, probe: Probe) -> Tensor:
    """The signed derivative of the loss with respect to every prediction, flat."""
    return family.value_and_slope(probe.outputs, probe.target, phi)[1].reshape(-1)


def dead(found: Tensor) -> str:
    """Why a gradient is of no use, or "": not finite somewhere, or zero everywhere."""
    if not bool(torch.isfinite(found).all()):
        return NOT_FINITE
    return DEAD if not bool((found != 0).any()) else ""


def norms(found: Tensor, outputs: Tensor) -> Tensor:
    """The gradient's norm for each sample (thesis, eq. 3.13): losses that differ in direction alone look the same."""
    size: Tensor = torch.linalg.vector_norm(found.view_as(outputs).reshape(len(outputs), -1), dim=1)
    return size


TOLERANCE = 0.05
"""Half a unit in the second significant digit: relative to the larger of two numbers."""


def equivalent(first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether two gradients agree to two significant digits in every entry.

    Compared with a tolerance rather than rounded to a key: an entry next to the edge between two roundings would
    otherwise tell equal losses apart, and do so differently on different machines.
    """
    if len(first) != len(second):
        return False
    return all(math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-12) for a, b in zip(first, second, strict=True))


@dataclass(frozen=True, slots=True)
class Rejection:
    """Settings of the rejection protocol: Adam on the predictions; a gain of `least` or less is rejected.

    Thesis: a gain of 0 or less. Public code of 2023: Adam 0.01, 1,000 steps (100 on MNIST); of 2022: 0.6 or less.
    """

    steps: int = 1000
    rate: float = 0.01
    least: float = 0.0


def promise(family: LossRepresentation, phi: Tensor, probe: Probe, how: Rejection) -> float:
    """g of eq. 3.11: the metric of the predictions, less that of the predictions that minimise the loss.

    Positive is good. NaN if the loss or its gradient stops being finite on the way: NaN is a rejection.
    """
    outputs = probe.outputs.clone()
    mean, square = torch.zeros_like(outputs), torch.zeros_like(outputs)
    for step in range(1, how.steps + 1):
        value, slope = family.value_and_slope(outputs, probe.target, phi)
        if not (bool(torch.isfinite(value)) and bool(torch.isfinite(slope).all())):
            return math.nan
        slope = slope * len(outputs)  # of the sum: Adam does not mind, and tiny batches' shares do not vanish in its ε
        mean.mul_(0.9).add_(slope, alpha=0.1)
        square.mul_(0.999).addcmul_(slope, slope, value=0.001)
        scale = (square / (1 - 0.999**step)).sqrt_().add_(1e-8)
        outputs = outputs - (how.rate / (1 - 0.9**step)) * mean / scale
    before, after = probe.metric(probe.outputs), probe.metric(outputs)
    return before - after


def rejected(family: LossRepresentation, phi: Tensor, probe: Probe, how: Rejection) -> str:
    """Why the protocol rejects the loss, or ""."""
    gain = promise(family, phi, probe, how)
    if math.isnan(gain):
        return NOT_FINITE
    return "" if gain > how.least else UNPROMISING


def turns(family: LossRepresentation, phi: Tensor, points: int = 200) -> tuple[float, int, float]:
    """The curve of a loss of probabilities for the target class: where its minimum is, its turns, its flat share.

    NLFS rejects a loss whose minimum is near 1/2, that turns more than twice, or is flat over a tenth of its range.
    """
    p = torch.linspace(0.005, 0.995, points, dtype=torch.float64)
    outputs = torch.stack((p.log(), (-p).log1p()), dim=1)
    target = torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(points, 2).contiguous()
    values = [float(family.value_and_slope(outputs[i : i + 1], target[i : i + 1], phi)[0]) for i in range(points)]
    steps = [b - a for a, b in pairwise(values)]
    signs = [s > 0 for s in steps if s != 0]
    lowest = float(p[min(range(points), key=values.__getitem__)])
    flat = sum(s == 0 for s in steps) / len(steps)
    return lowest, sum(a != b for a, b in pairwise(signs)), flat


def curve_check(family: LossRepresentation, phi: Tensor) -> str:
    """Why the curve of a classification loss is that of no loss, or ""."""
    lowest, turned, flat = turns(family, phi)
    if flat > 0.1:
        return FLAT
    return UNPROMISING if abs(lowest - 0.5) < 0.01 or turned > 2 else ""
