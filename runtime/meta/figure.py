"""The figure of an adapting loss: its shape at moments of training, and the curves (as thesis, Fig. 5.1, 5.7)."""

from __future__ import annotations

import io

import numpy as np
import torch
from torch import Tensor

from lossc.runtime.meta.adapt import AdaptResult
from lossc.runtime.meta.mlp import NeuralLoss
from lossc.runtime.meta.representation import LossRepresentation
from lossc.runtime.tasks import Task


def shape_of(family: LossRepresentation, phi: Tensor, y: float, f: Tensor, *, classes: bool) -> np.ndarray:
    """The loss of one output with target y over predictions f [n]: probabilities for a classification loss.

    A loss of two classes whose other output has the opposite target and probability, less that other's share, where the
    representation has no value for one output alone.
    """
    if isinstance(family, NeuralLoss):
        with torch.no_grad():
            return family.entries(torch.full_like(f, y), f, phi).numpy()
    values = []
    for p in f.tolist():
        outputs = torch.tensor([[p]]).double() if not classes else torch.tensor([[np.log(p), np.log1p(-p)]]).double()
        target = torch.tensor([[y]]).double() if not classes else torch.tensor([[y, 1 - y]]).double()
        values.append(float(family.value_and_slope(outputs, target, phi)[0]))
    return np.array(values)


def draw(task: Task, results: dict[str, AdaptResult], which: str) -> bytes:
    """The figure as a file of the format `which`: one row of panels a method that adapts, the curves of all beside.

    Lines go from light (the start of training) to dark (its end).
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    classes = task.kind == "classification"
    shown = {k: r for k, r in results.items() if r.shots and r.family.name != "learning-rate"}
    targets = (1.0, 0.0) if classes else (0.0,)
    rows = max(len(shown), 1)
    figure = Figure(figsize=(4 * (len(targets) + 1), 3.2 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, len(targets) + 1, squeeze=False)
    f = torch.linspace(0.01, 0.99, 197).double() if classes else torch.linspace(-3, 3, 241).double()
    for row, (name, result) in zip(axes, shown.items(), strict=False):
        for panel, y in zip(row, targets, strict=False):
            shots = _distinct(result.shots)
            for i, (step, phi) in enumerate(shots):
                colour = colormaps["viridis_r"](0.1 + 0.85 * i / max(len(shots) - 1, 1))
                panel.plot(
                    f,
                    shape_of(result.family, phi, y, f, classes=classes),
                    color=colour,
                    label=f"step {step:,}" if len(shots) > 1 else "all steps",
                )
            panel.set_xlabel("probability of the class" if classes else "prediction f (target y = 0)")
            panel.set_ylabel("learned loss")
            panel.set_title(f"{name}: {'target' if y else 'non-target'} class" if classes else name)
            panel.legend(fontsize="small", frameon=False)
    _curves(axes[0][-1], task, results)
    for row in axes[1:]:
        row[-1].set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format=which, dpi=150, metadata={"Date": None} if which == "svg" else None)
    return buffer.getvalue()


def _distinct(shots: tuple[tuple[int, Tensor], ...]) -> tuple[tuple[int, Tensor], ...]:
    """The shots, or the last one alone where the loss did not change."""
    return shots[-1:] if all(torch.equal(phi, shots[0][1]) for _, phi in shots) else shots


def _curves(panel: object, task: Task, results: dict[str, AdaptResult]) -> None:
    for (name, result), style in zip(results.items(), ("-", "--", ":", "-."), strict=False):
        points = [(p.step, p.val) for p in result.curve]
        panel.plot([s for s, _ in points], [v for _, v in points], style, label=name)  # type: ignore[attr-defined]
    seen = [v for r in results.values() for v in (p.val for p in r.curve) if v > 0]
    if seen and max(seen) > 10 * min(seen):
        panel.set_yscale("log")  # type: ignore[attr-defined]
    panel.set_xlabel("training step")  # type: ignore[attr-defined]
    panel.set_ylabel(f"validation {task.metric.name}")  # type: ignore[attr-defined]
    panel.set_title(f"{task.name}, {task.model}")  # type: ignore[attr-defined]
    panel.legend(fontsize="small", frameon=False)  # type: ignore[attr-defined]
