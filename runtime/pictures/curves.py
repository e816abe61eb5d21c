"""Lines over the prediction: a row of panels for each quantity."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lossc.compiler.loss import Loss
from lossc.runtime.pictures.sample import GRAD, LOSS, QUANTITIES, Array, Line, Panel, View, view_of
from lossc.runtime.pictures.style import LIGHT, Palette, legend_above, picture

WIDE, NARROW, HIGH = 4.4, 3.5, 2.7
"""Inches of a panel: alone, beside another one; and its height."""


def figure(
    losses: Sequence[Loss], what: Sequence[str] = (LOSS, GRAD), *, labels: Sequence[str] | None = None,
    span: tuple[float, float] | None = None, targets: Sequence[float] | None = None, classes: int | None = None,
    palette: Palette = LIGHT, suffix: str = "png", title: str = "",
) -> bytes:  # fmt: skip
    """A picture of losses as the bytes of a file. Raises UsageError (L260) where it cannot be drawn."""
    view = view_of(losses, what, labels=labels, span=span, targets=targets, classes=classes)
    return picture(lambda fig: draw_view(fig, view, palette, title=title), size_of(view), palette, suffix)


def compare_figure(losses: Sequence[Loss], *, labels: Sequence[str] | None = None, palette: Palette = LIGHT,
                   suffix: str = "png") -> bytes:  # fmt: skip
    """Losses in one picture: values and gradients."""
    return figure(losses, (LOSS, GRAD), labels=labels, palette=palette, suffix=suffix)


def size_of(view: View) -> tuple[float, float]:
    """Inches of a picture: quantities beside each other if there is one panel, else below each other."""
    rows, columns = _grid(view)
    return columns * (WIDE if columns == 1 else NARROW) + 0.3, rows * HIGH + 0.25


def _grid(view: View) -> tuple[int, int]:
    if len(view.panels) == 1:
        return 1, len(view.what)
    return len(view.what), len(view.panels)


def draw_view(fig: Any, view: View, palette: Palette, *, title: str = "") -> None:
    """Draw a view into a Matplotlib figure."""
    rows, columns = _grid(view)
    axes = fig.subplots(rows, columns, squeeze=False)
    many = any(len(p.lines) > 1 for p in view.panels)
    for i, what in enumerate(view.what):
        every = limits(v for p in view.panels for line in p.lines for v in [line.values[what]])
        for j, panel in enumerate(view.panels):
            here = axes[0][i] if len(view.panels) == 1 else axes[i][j]
            _panel(here, panel, what, palette)
            here.set_ylim(*every)
            last = len(view.panels) == 1 or i == len(view.what) - 1
            here.set_xlabel(panel.axis if last else "")
            here.set_ylabel(QUANTITIES[what] if j == 0 else "")
            if panel.title and i == 0:
                here.set_title(panel.title)
    if many:
        _legend(fig, axes[0][0], rows * columns)
    if title:
        fig.suptitle(title, x=0.01, ha="left", fontsize=11.5)


def _legend(fig: Any, first: Any, panels: int) -> None:
    handles, labels = first.get_legend_handles_labels()
    if panels == 1:
        legend_above(first, min(3, len(labels)))
        return
    fig.legend(
        handles, labels, loc="outside upper left", ncols=min(4, len(labels)), handlelength=2.6, columnspacing=1.4
    )


def _panel(axes: Any, panel: Panel, what: str, palette: Palette) -> None:
    for place, line in enumerate(panel.lines):
        axes.plot(*cut(line, what), label=line.label or None, **palette.line(place))
        kinks = list(line.kinks)
        if kinks and what == LOSS:
            import numpy as np

            heights = np.interp(kinks, line.x, line.values[what])
            axes.plot(
                kinks, heights, linestyle="none", marker="o", markersize=4.2, markeredgewidth=1.3,
                markerfacecolor=palette.paper, markeredgecolor=palette.line(place)["color"],
            )  # fmt: skip
    low, high = min(float(line.x.min()) for line in panel.lines), max(float(line.x.max()) for line in panel.lines)
    if low < 0 < high:
        axes.axvline(0, color=palette.faint, linewidth=0.7, zorder=0.5)
    axes.axhline(0, color=palette.faint, linewidth=0.7, zorder=0.5)


def cut(line: Line, what: str) -> tuple[Array, Array]:
    """The points of a line, cut where it jumps: no vertical stroke across a kink of the slope, or a pole."""
    import numpy as np

    x, y = line.x, line.values[what]
    step = np.diff(x)
    tight = step < 1e-3 * np.median(step)
    change = np.abs(np.diff(y))
    typical = np.nanmedian(change) if np.isfinite(change).any() else 0.0
    jumps = np.flatnonzero((tight & (change > 20 * typical)) | _poles(y))
    return np.insert(x, jumps + 1, np.nan), np.insert(y, jumps + 1, np.nan)


def _poles(y: Array) -> Any:
    """Neighbours of opposite signs, both far out: the line goes through infinity between them."""
    import numpy as np

    far = np.abs(y) > 50 * (np.nanmedian(np.abs(y)) + 1e-300)
    return far[1:] & far[:-1] & (np.sign(y[1:]) != np.sign(y[:-1]))


def limits(values: Iterable[Array]) -> tuple[float, float]:
    """A range for the vertical axis: all of the numbers, or most of them where a few are far out."""
    import numpy as np

    every = np.concatenate([v[np.isfinite(v)] for v in values])
    if not len(every):
        return 0.0, 1.0
    low, high = float(every.min()), float(every.max())
    inner_low, inner_high = (float(v) for v in np.quantile(every, (0.03, 0.97)))
    room = max(inner_high - inner_low, 1e-9 * max(abs(inner_low), abs(inner_high), 1e-30))
    low, high = max(low, inner_low - 0.6 * room), min(high, inner_high + 0.6 * room)
    margin = 0.06 * (high - low) or 0.06 * max(abs(high), 1.0)
    return low - margin, high + margin
