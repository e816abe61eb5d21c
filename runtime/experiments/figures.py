"""The figures of the experiments, each from a result to the bytes of a PNG, SVG or PDF file.

All raise UsageError (L260) where matplotlib is not installed or the format is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lossc.runtime.data import CLASSIFICATION
from lossc.runtime.experiments.curves import Curve
from lossc.runtime.experiments.drawing import colour, legend_below, logarithmic, marked, ruled, short
from lossc.runtime.experiments.landscape import COMMON, LOSS, METRIC, TEST, TRAIN, Landscape, Landscapes
from lossc.runtime.experiments.representations import Representation
from lossc.runtime.experiments.runtime import BARE, GRADIENT, SOFTMAX, VALUE, Timing
from lossc.runtime.experiments.sweep import Line
from lossc.runtime.plots.style import LIGHT, Theme, saved
from lossc.runtime.tasks import Task

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE, HIGH, PANEL = 9.5, 3.4, 3.1
"""Inches: of a row of panels, of one such row, and of a square panel."""
LEVELS, NAMED, ACROSS = 12, 20, 3
"""Levels of a plane; so many classes are named in a scatter plot; panels of scatter plots beside each other."""


def landscape_figure(found: Landscapes, theme: Theme = LIGHT, suffix: str = "png") -> bytes:
    """The lines of all losses in each measure, training solid and test dashed; below, the planes, if there are any."""
    planes = [one for one in found.found if one.plane]

    def draw(figure: Figure) -> None:
        if not planes:
            return _lines(figure, found, theme)
        above, below = figure.subfigures(2, 1, squeeze=False)[:, 0]
        _lines(above, found, theme)
        return _planes(below, found, planes, theme)

    return saved((WIDE, HIGH * (1 + bool(planes))), draw, suffix, theme)


def _lines(figure: Any, found: Landscapes, theme: Theme) -> None:
    task, places = found.task, found.window.line()
    titles = {LOSS: "each loss itself, less its least", COMMON: task.baseline}
    if task.kind == CLASSIFICATION:
        titles[METRIC] = task.metric.name
    panels = figure.subplots(1, len(titles))
    for axes, (measure, title) in zip(panels, titles.items(), strict=True):
        for k, one in enumerate(found.found):
            least = _least(one) if measure == LOSS else 0.0
            for part, style in ((TRAIN, "-"), (TEST, "--")) if one.lines else ():
                values = [v - least for v in one.lines[part][measure]]
                label = short(one.name) if part == TRAIN else None
                axes.plot(places, values, style, color=colour(theme, k), label=label)
        axes.set_title(title)
        ruled(axes, theme)
    panels[(len(titles) - 1) // 2].set_xlabel("filter norms along a random direction; training solid, test dashed")
    legend_below(figure, panels[0])


def _least(one: Landscape) -> float:
    return min((v for of in one.lines.values() for v in of[LOSS] if math.isfinite(v)), default=0.0)


def _planes(figure: Any, found: Landscapes, planes: Sequence[Landscape], theme: Theme) -> None:
    from matplotlib.colors import LogNorm

    places = found.window.edge()
    seen = [v for one in planes for row in one.plane for v in row if math.isfinite(v) and v > 0]
    low, high = (min(seen), max(seen)) if seen else (0.1, 1.0)
    high = max(high, 1.001 * low)
    levels = [low * (high / low) ** (k / LEVELS) for k in range(LEVELS + 1)]
    panels = figure.subplots(1, len(planes), squeeze=False, sharey=True)[0]
    how = {"levels": levels, "norm": LogNorm(low, high), "cmap": theme.maps[0], "extend": "both"}
    for axes, one in zip(panels, planes, strict=True):
        filled = axes.contourf(places, places, one.plane, **how)
        axes.plot(0, 0, "+", color="white")
        axes.set_title(short(one.name))
        axes.set_aspect("equal")
    bar = figure.colorbar(filled, ax=list(panels), label=f"{found.task.baseline} in training")
    bar.set_ticks(levels[::3], labels=[f"{v:.2g}" for v in levels[::3]])
    bar.ax.minorticks_off()


def sweep_figure(task: Task, found: Sequence[Line], theme: Theme = LIGHT, suffix: str = "png") -> bytes:
    """The test metric over the learning rate: mean and deviation over the seeds, and where runs diverged."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for k, line in enumerate(found):
            cells = [c for c in line.cells if math.isfinite(c.test.mean)]
            look: dict[str, Any] = {"color": colour(theme, k), "marker": "xos^DvP"[k % 7]}
            look["linestyle"] = ":" if line.matched else "-"
            axes.errorbar(
                [c.rate for c in cells], [c.test.mean for c in cells], [c.test.std or 0.0 for c in cells],
                label=short(line.name), markersize=5, capsize=2, elinewidth=0.8, **look,
            )  # fmt: skip
            failed = [c for c in cells if c.diverged]
            look |= {"linestyle": "none", "marker": "o", "fillstyle": "none", "markersize": 12}
            axes.plot([c.rate for c in failed], [c.test.mean for c in failed], **look)
        logarithmic(axes, "x", [c.rate for line in found for c in line.cells], always=True)
        logarithmic(axes, "y", [c.test.mean for line in found for c in line.cells])
        failures = "; circled: some runs diverged" if any(c.diverged for line in found for c in line.cells) else ""
        axes.set_xlabel(f"learning rate{'; dotted: divided by its scale' if _matched(found) else ''}{failures}")
        axes.set_ylabel(f"test {task.metric.name}")
        ruled(axes, theme)
        axes.set_title(f"{task.name}, {task.model}, {task.steps} steps")
        legend_below(figure, axes, 3)

    return saved((7.5, 4.2), draw, suffix, theme)


def _matched(found: Sequence[Line]) -> bool:
    return any(line.matched for line in found)


def representations_figure(
    task: Task, found: Sequence[Representation], theme: Theme = LIGHT, suffix: str = "png"
) -> bytes:
    """A panel a loss: t-SNE of the test sample of the first seed, a colour and a name a class."""
    shown = [one for one in found if one.picture is not None]
    columns = 2 if len(shown) == 4 else max(1, min(len(shown), ACROSS))
    rows = max(1, math.ceil(len(shown) / columns))

    def draw(figure: Figure) -> None:
        panels = figure.subplots(rows, columns, squeeze=False).flatten()
        for axes, one in zip(panels, shown, strict=False):
            _scatter(axes, one, theme)
        for axes in panels[len(shown) :]:
            axes.set_axis_off()
        figure.suptitle(f"{task.name}, {task.model}: before the last layer, t-SNE of the test part", fontsize=10.5)

    return saved((PANEL * columns, (PANEL + 0.3) * rows + 0.2), draw, suffix, theme)


def _scatter(axes: Axes, one: Representation, theme: Theme) -> None:
    assert one.picture is not None and one.classes is not None
    names = sorted(set(one.classes.tolist()))
    for place, c in enumerate(names):
        points = one.picture[one.classes == c]
        axes.scatter(points[:, 0], points[:, 1], s=8, alpha=0.8, linewidths=0, **marked(theme, place))
        if len(names) <= NAMED:
            x, y = (sorted(points[:, k])[len(points) // 2] for k in (0, 1))
            box = {"boxstyle": "circle,pad=0.12", "facecolor": theme.paper, "edgecolor": "none", "alpha": 0.75}
            axes.annotate(str(c), (x, y), ha="center", va="center", fontweight="bold", bbox=box)
    axes.set_title(f"{short(one.name)}\ntightness {one.figures['test']['tightness'].mean:.2f}")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    axes.spines[:].set_visible(True)


def curves_figure(task: Task, found: Sequence[Curve], theme: Theme = LIGHT, suffix: str = "png") -> bytes:
    """Metric in training and in validation and the usual loss in training: means, and bands of one deviation."""
    name = task.metric.name
    titles = {"train": f"{name} in training", "val": f"{name} in validation"}
    if task.kind == CLASSIFICATION:
        titles["common"] = f"{task.baseline} in training"

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(titles))
        for axes, (measure, title) in zip(panels, titles.items(), strict=True):
            for k, one in enumerate(found):
                _curve(axes, one, measure, colour(theme, k))
            logarithmic(axes, "y", [v for one in found for v in one.means[measure]])
            axes.set_title(title)
            ruled(axes, theme)
        panels[(len(titles) - 1) // 2].set_xlabel("training step")
        legend_below(figure, panels[0])

    return saved((WIDE, HIGH), draw, suffix, theme)


def _curve(axes: Axes, one: Curve, measure: str, ink: str) -> None:
    means = one.means[measure]
    axes.plot(one.steps, means, color=ink, label=short(one.name))
    if one.stds is not None:
        low = [m - s for m, s in zip(means, one.stds[measure], strict=True)]
        high = [m + s for m, s in zip(means, one.stds[measure], strict=True)]
        axes.fill_between(one.steps, low, high, color=ink, alpha=0.15, linewidth=0)


def runtime_figure(found: Sequence[Timing], rows: int, theme: Theme = LIGHT, suffix: str = "png") -> bytes:
    """Time over the number of classes, with the softmax and without it: value solid, value and gradient dashed."""
    names = list(dict.fromkeys(t.name for t in found))
    forms = [form for form in (SOFTMAX, BARE) if any(t.form == form for t in found)]

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(forms), squeeze=False, sharey=True)[0]
        for axes, form in zip(panels, forms, strict=True):
            for place, name in enumerate(names):
                for of, style in ((VALUE, "-"), (GRADIENT, "--")):
                    mine = [t for t in found if (t.name, t.form, t.of) == (name, form, of)]
                    look = {**marked(theme, place), "linestyle": style, "markersize": 5}
                    times = [t.seconds * 1e3 for t in mine]
                    axes.plot([t.classes for t in mine], times, label=f"{short(name)}, {of}", **look)
            logarithmic(axes, "x", [t.classes for t in found], always=True)
            axes.set_xlabel("classes")
            ruled(axes, theme)
            axes.set_title("given scores: with the softmax" if form == SOFTMAX else "given probabilities: without it")
        logarithmic(panels[0], "y", [t.seconds * 1e3 for t in found], always=True)
        panels[0].set_ylabel(f"milliseconds a batch of {rows}")
        legend_below(figure, panels[0], 2)

    return saved((8.0, 3.8 + 0.2 * len(names)), draw, suffix, theme)
