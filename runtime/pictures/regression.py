"""The lower half of figure 1.3: what the same small network learns with different losses, and how fast.

A univariate regression task, a sine with a tenth of the targets far off; a network of two hidden layers of 32, full
batches, Adam with a rate of 0.01, the same weights at the start for every loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lossc.compiler.loss import Loss
from lossc.runtime.compiled import to_torch
from lossc.runtime.pictures.style import Palette

POINTS, WIDTH, STEPS, RATE, SEED = 60, 32, 400, 0.01, 7
OUTLIERS = 6


@dataclass(frozen=True)
class Learned:
    """Predictions on a grid, and the squared error on clean targets at every step."""

    x: list[float]
    predicted: list[float]
    errors: list[float]


def data() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Inputs, targets with noise and outliers, and the true curve there: [n, 1] each."""
    generator = torch.Generator().manual_seed(SEED)
    x = torch.linspace(-3, 3, POINTS).unsqueeze(1)
    clean = torch.sin(1.5 * x)
    y = clean + 0.1 * torch.randn(POINTS, 1, generator=generator)
    where = torch.randperm(POINTS, generator=generator)[:OUTLIERS]
    y[where] += 3.0
    return x, y, clean


def learn(loss: Loss, steps: int = STEPS) -> Learned:
    """Train a network with a loss."""
    x, y, clean = data()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = nn.Sequential(nn.Linear(1, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1))
    module = to_torch(loss)
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    errors = []
    for _ in range(steps):
        optimizer.zero_grad()
        out = model(x)
        module(out, y).backward()
        optimizer.step()
        errors.append(float((out.detach() - clean).square().mean()))
    grid = torch.linspace(-3, 3, 200).unsqueeze(1)
    with torch.no_grad():
        return Learned(grid[:, 0].tolist(), model(grid)[:, 0].tolist(), errors)


def draw_models(fig: Any, losses: Sequence[Loss], labels: Sequence[str], palette: Palette) -> None:
    """The learned models beside their learning curves."""
    from matplotlib.ticker import FuncFormatter

    x, y, clean = data()
    models, curves = fig.subplots(1, 2)
    models.plot(x[:, 0], y[:, 0], linestyle="none", marker="o", markersize=2.5, color=palette.faint)
    models.plot(x[:, 0], clean[:, 0], color=palette.faint, linewidth=1)
    for place, (loss, label) in enumerate(zip(losses, labels, strict=True)):
        found = learn(loss)
        models.plot(found.x, found.predicted, label=label, **palette.line(place))
        curves.plot(found.errors, **palette.line(place))
    models.set(xlabel="input x", ylabel="learned model")
    curves.set(xlabel="step", ylabel="squared error, clean targets", yscale="log")
    curves.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
