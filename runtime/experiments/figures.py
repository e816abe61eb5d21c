"""The figures of the experiments, each from a result to the bytes of a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lossc.runtime.experiments.curves import Curve
from lossc.runtime.experiments.drawing import drawn, logarithmic, look, short
from lossc.runtime.experiments.landscape import COMMON, LOSS, METRIC, TEST, TRAIN, Landscape, Landscapes
from lossc.runtime.experiments.representations import Representation
from lossc.runtime.experiments.runtime import BARE, GRADIENT, SOFTMAX, VALUE, Timing
from lossc.runtime.experiments.sweep import Line
from lossc.runtime.tasks import Task

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEVELS = 12
NAMED = 20
"""So many classes are named in a scatter plot."""


def landscape_figure(found: Landscapes, suffix: str = "png") -> bytes:
    """The lines of all losses in three measures, training solid and test dashed; below, the planes, if there are any.

    Raises UsageError (L260).
    """
    planes = [one for one in found.found if one.plane]
    kept = [(k, one) for k, one in enumerate(found.found) if one.lines]

    def draw(figure: Figure) -> None:
        if not planes:
            return _lines(figure, found, kept)
        above, below = figure.subfigures(2, 1, squeeze=False)[:, 0]
        _lines(above, found, kept)
        return _planes(below, found, planes)

    return drawn(suffix, 3.4 + 3.2 * bool(planes), draw, width=10.0)


def _lines(figure: Any, found: Landscapes, kept: Sequence[tuple[int, Landscape]]) -> None:
    task, places = found.task, found.window.line()
    panels = figure.subplots(1, 3)
    titles = {LOSS: "each loss itself, less its least", COMMON: task.baseline, METRIC: task.metric.name}
    for axes, (measure, title) in zip(panels, titles.items(), strict=True):
        for k, one in kept:
            least = min(v for part in (TRAIN, TEST) for v in one.lines[part][measure]) if measure == LOSS else 0.0
            for part, style in ((TRAIN, "-"), (TEST, "--")):
                values = [v - least for v in one.lines[part][measure]]
                label = short(one.name) if part == TRAIN else None
                axes.plot(places, values, style, color=look(k)["color"], label=label, linewidth=1.3)
        axes.set_title(title)
    panels[1].set_xlabel("filter norms along a random direction; training solid, test dashed")
    handles, labels = panels[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(handles)))


def _planes(figure: Any, found: Landscapes, planes: Sequence[Landscape]) -> None:
    from matplotlib.colors import LogNorm

    places = found.window.edge()
    seen = [v for one in planes for row in one.plane for v in row if math.isfinite(v) and v > 0]
    low, high = (min(seen), max(seen)) if seen else (0.1, 1.0)
    high = max(high, 1.001 * low)
    levels = [low * (high / low) ** (k / LEVELS) for k in range(LEVELS + 1)]
    panels = figure.subplots(1, len(planes), squeeze=False, sharey=True)[0]
    for axes, one in zip(panels, planes, strict=True):
        filled = axes.contourf(
            places, places, one.plane, levels, norm=LogNorm(low, high), cmap="cividis", extend="both"
        )
        axes.plot(0, 0, "+", color="white")
        axes.set_title(short(one.name))
        axes.set_aspect("equal")
        axes.grid(False)
    bar = figure.colorbar(filled, ax=list(panels), label=f"{found.task.baseline} in training")
    bar.set_ticks(levels[::3], labels=[f"{v:.2g}" for v in levels[::3]])
    bar.ax.minorticks_off()


def sweep_figure(task: Task, found: Sequence[Line], suffix: str = "png") -> bytes:
    """The test metric over the learning rate: mean and deviation over the seeds, and where runs diverged."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for k, line in enumerate(found):
            cells = [c for c in line.cells if math.isfinite(c.test.mean)]
            style = {**look(k), "linestyle": ":" if line.matched else "-"}
            axes.errorbar(
                [c.rate for c in cells], [c.test.mean for c in cells], [c.test.std or 0.0 for c in cells],
                label=short(line.name), linewidth=1.3, markersize=5, capsize=2, elinewidth=0.8, **style,
            )  # fmt: skip
            failed = [c for c in line.cells if c.diverged]
            height = [c.test.mean if math.isfinite(c.test.mean) else math.nan for c in failed]
            axes.plot([c.rate for c in failed], height, "o", markersize=11, fillstyle="none", color=look(k)["color"])
        axes.set_xscale("log")
        logarithmic(axes, [c.test.mean for line in found for c in line.cells])
        failures = "; circled: some runs diverged" if any(c.diverged for line in found for c in line.cells) else ""
        axes.set_xlabel(f"learning rate; dotted: divided by its scale{failures}")
        axes.set_ylabel(f"test {task.metric.name}")
        axes.set_title(f"{task.name}, {task.model}, {task.steps} steps")
        figure.legend(loc="outside lower center", ncols=3)

    return drawn(suffix, 4.6, draw)


def representations_figure(task: Task, found: Sequence[Representation], suffix: str = "png") -> bytes:
    """A panel a loss: t-SNE of the test sample of the first seed, a colour and a name a class."""
    shown = [one for one in found if one.picture is not None]

    def draw(figure: Figure) -> None:
        columns = min(len(shown), 3) or 1
        panels = figure.subplots(math.ceil(len(shown) / columns) or 1, columns, squeeze=False).flatten()
        for axes, one in zip(panels, shown, strict=False):
            _scatter(axes, one)
        for axes in panels[len(shown) :]:
            axes.set_axis_off()
        figure.suptitle(f"{task.name}, {task.model}: before the last layer, by t-SNE; colours and names are classes")

    height = 3.2 * (math.ceil(len(shown) / 3) or 1) + 0.3
    return drawn(suffix, height, draw, width=3.1 * min(max(len(shown), 1), 3))


def _scatter(axes: Axes, one: Representation) -> None:
    assert one.picture is not None and one.classes is not None
    names = sorted(set(one.classes.tolist()))
    for c in names:
        points = one.picture[one.classes == c]
        axes.scatter(points[:, 0], points[:, 1], s=7, alpha=0.75, linewidths=0, **look(c + 1))
        if len(names) <= NAMED:
            x, y = (sorted(points[:, k])[len(points) // 2] for k in (0, 1))
            axes.annotate(
                str(c), (x, y), ha="center", va="center", fontweight="bold",
                bbox={"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
            )  # fmt: skip
    tight = one.figures["test"]["tightness"].mean
    axes.set_title(f"{short(one.name)}\ntightness {tight:.2f}")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")


def curves_figure(task: Task, found: Sequence[Curve], suffix: str = "png") -> bytes:
    """Metric in training and in validation and the usual loss in training: means, and bands of one deviation."""

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, 3)
        name = task.metric.name
        titles = {
            "train": f"{name} in training",
            "val": f"{name} in validation",
            "common": f"{task.baseline} in training",
        }
        for axes, (measure, title) in zip(panels, titles.items(), strict=True):
            for k, one in enumerate(found):
                _curve(axes, one, measure, look(k)["color"])
            logarithmic(axes, [v for one in found for v in one.means[measure]])
            axes.set_title(title)
        panels[1].set_xlabel("training step")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(4, max(1, len(handles))))

    return drawn(suffix, 3.4, draw, width=10.0)


def _curve(axes: Axes, one: Curve, measure: str, colour: str) -> None:
    means = one.means[measure]
    axes.plot(one.steps, means, color=colour, label=short(one.name), linewidth=1.3)
    if one.stds is not None:
        low = [m - s for m, s in zip(means, one.stds[measure], strict=True)]
        high = [m + s for m, s in zip(means, one.stds[measure], strict=True)]
        axes.fill_between(one.steps, low, high, color=colour, alpha=0.15, linewidth=0)


def runtime_figure(found: Sequence[Timing], rows: int, suffix: str = "png") -> bytes:
    """Time over the number of classes, with the softmax and without it: value solid, value and gradient dashed."""
    names = list(dict.fromkeys(t.name for t in found))
    forms = [form for form in (SOFTMAX, BARE) if any(t.form == form for t in found)]

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(forms), squeeze=False, sharey=True)[0]
        for axes, form in zip(panels, forms, strict=True):
            for k, name in enumerate(names):
                for of, style in ((VALUE, "-"), (GRADIENT, "--")):
                    mine = [t for t in found if (t.name, t.form, t.of) == (name, form, of)]
                    shape = {**look(k + 1), "linestyle": style, "markersize": 4, "linewidth": 1.3}
                    label = f"{short(name)}, {of}"
                    axes.plot([t.classes for t in mine], [t.seconds * 1e3 for t in mine], label=label, **shape)
            axes.set_xscale("log")
            axes.set_xlabel("classes")
            axes.set_title("given scores: with the softmax" if form == SOFTMAX else "given probabilities: without it")
        logarithmic(panels[0], [t.seconds * 1e3 for t in found], always=True)
        panels[0].set_ylabel(f"milliseconds a batch of {rows}")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)

    return drawn(suffix, 4.0 + 0.18 * len(names), draw)
