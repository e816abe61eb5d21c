"""What small networks make of losses: the models that they learn on noisy points of a curve, and how fast (fig. 1.3).

Every network has the same weights at the start and sees the same points, a tenth of which are far off, as data of the
real world are: that is where losses of residuals differ. What is learned is judged on the curve itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lossc.compiler.errors import UsageError
from lossc.compiler.loss import Loss
from lossc.runtime.compiled import to_torch
from lossc.runtime.data import generator
from lossc.runtime.models.weights import XAVIER, made
from lossc.runtime.plots.style import Theme, look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS, FAR, NOISE = 100, 10, 0.15
"""Points of the curve, how many of them are far off, and the deviation of the noise."""
OFF = 3.0
"""How far off."""
WIDTH = 32
"""Neurons of the two hidden layers, with tanh."""
STEPS, RATE = 600, 0.01
MARKS = 75
"""Points of a learning curve."""
GRID = 301
HEIGHT = 2.5
"""Inches of a panel."""

Progress = Callable[[str, int, int], None]


def curve(x: Tensor) -> Tensor:
    """The curve that is to be learned, for x in [-3, 3]."""
    return torch.sin(1.5 * x) + 0.3 * x


@dataclass(frozen=True, eq=False)
class Fit:
    """What one loss came to: predictions on `Fits.grid`, and the mean squared distance from the curve after `steps`."""

    name: str
    model: tuple[float, ...]
    steps: tuple[int, ...]
    errors: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Fits:
    """The points, the curve, and what was learned with each loss."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    grid: tuple[float, ...]
    truth: tuple[float, ...]
    found: tuple[Fit, ...]

    def data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "points": {"x": list(self.x), "y": list(self.y)}, "curve": {"x": list(self.grid), "y": list(self.truth)},
            "losses": [
                {"name": f.name, "model": list(f.model), "steps": list(f.steps),
                 "error": [e if math.isfinite(e) else None for e in f.errors]}
                for f in self.found
            ],
        }  # fmt: skip


def points(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Inputs and targets [n, 1]: evenly spaced, with noise, and some far above the curve."""
    stream = generator(seed, "points of a curve")
    x = torch.linspace(-3, 3, POINTS, dtype=torch.float64)[:, None]
    y = curve(x) + NOISE * torch.randn(POINTS, 1, generator=stream, dtype=torch.float64)
    y[torch.randperm(POINTS, generator=stream)[:FAR]] += OFF
    return x, y


def network(seed: int = 0) -> nn.Module:
    """The untrained network of a seed: x [n, 1] -> [n, 1]."""

    def make() -> nn.Sequential:
        layers = (nn.Linear(1, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1))
        return nn.Sequential(*layers)

    return made(make, XAVIER, generator(seed, "init"), torch.float64)


def fits(losses: Mapping[str, Loss], *, seed: int = 0, steps: int = STEPS, progress: Progress | None = None) -> Fits:
    """Train a network with each loss: all points at every step, by Adam with the settings of torch.

    Raises UsageError (L260) for a loss that is not one of real numbers, and what `to_torch` raises.
    """
    for name, loss in losses.items():
        if (loss.y, loss.f, loss.layout) != ("real", "real", "elementwise"):
            raise UsageError("L260", f"`{name}` cannot be fitted with: its y is `{loss.y}` and its f is `{loss.f}`",
                             expected="a loss of real numbers")  # fmt: skip
    x, y = points(seed)
    grid = torch.linspace(-3, 3, GRID, dtype=torch.float64)[:, None]
    found = tuple(_fit(name, loss, x, y, grid, seed, steps, progress) for name, loss in losses.items())
    xs, ys, at, truth = (tuple(t[:, 0].tolist()) for t in (x, y, grid, curve(grid)))
    return Fits(xs, ys, at, truth, found)


def _fit(name: str, loss: Loss, x: Tensor, y: Tensor, grid: Tensor, seed: int, steps: int,
         progress: Progress | None) -> Fit:  # fmt: skip
    model = network(seed)
    module, descent = to_torch(loss), torch.optim.Adam(model.parameters(), RATE)
    marks = sorted({round(steps * k / MARKS) for k in range(MARKS + 1)})
    errors = []
    for step in range(steps + 1):
        if step in marks:
            with torch.no_grad():
                errors.append(float((model(grid) - curve(grid)).square().mean()))
        if step < steps:
            descent.zero_grad()
            module(model(x), y).backward()
            descent.step()
        if progress is not None:
            progress(name, step, steps)
    with torch.no_grad():
        return Fit(name, tuple(model(grid)[:, 0].tolist()), tuple(marks), tuple(errors))


def draw_fits(figure: Any, made: Fits, theme: Theme) -> None:
    """The learned models, and beside them their learning curves."""
    models, curves = figure.subplots(1, 2)
    for axes in (models, curves):
        axes.grid(True, color=theme.rule, linewidth=0.5)
        axes.set_axisbelow(True)
        axes.tick_params(length=3)
    models.plot(made.x, made.y, "o", color=theme.faint, markersize=3, markeredgewidth=0, alpha=0.7)
    models.plot(made.grid, made.truth, color=theme.faint, linewidth=3.5, alpha=0.35)
    for place, fit in enumerate(made.found):
        models.plot(made.grid, fit.model, **look(place, theme))
        curves.plot(fit.steps, [e if math.isfinite(e) else math.nan for e in fit.errors], **look(place, theme))
    models.set_xlabel("input x (pale: data and curve)")
    models.set_ylabel("learned model")
    curves.set_xlabel("training step")
    curves.set_ylabel("squared error to the curve")
    _logarithmic(curves, [e for fit in made.found for e in fit.errors])


def _logarithmic(axes: Axes, values: list[float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if all(v > 0 for v in values if math.isfinite(v)):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0), numticks=12))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
