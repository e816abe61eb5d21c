"""Drawing a picture of curves into a Matplotlib figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lossc.runtime.plots.curves import EDGE, JUMP, KINK, POLE, Series
from lossc.runtime.plots.family import LONGEST
from lossc.runtime.plots.limits import Range, padded, shared, union
from lossc.runtime.plots.picture import Panel, Picture
from lossc.runtime.plots.style import Theme, look
from lossc.runtime.plots.tracks import GRADIENT, HESSIAN, MARGINS, VALUE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 3.3, 2.3
"""Inches of a panel."""
TITLE, LEGEND = 0.3, 0.22
"""Inches of the title, and of a row of the legend."""
ACROSS = 5
"""Panels in a row."""
_ROOM, _HANDLE = 94, 8
"""Characters of a legend's row, in a figure of two panels; and those that the sample of a line takes."""


def grid(picture: Picture) -> tuple[int, int]:
    """Rows and columns of a picture: a row a quantity; one panel's quantities stand side by side."""
    panels, quantities = len(picture.panels), len(picture.what)
    if panels == 1:
        return 1, quantities
    if quantities == 1:
        return math.ceil(panels / ACROSS), min(panels, ACROSS)
    return quantities, panels


def size_of(picture: Picture) -> tuple[float, float]:
    """The size of the figure in inches."""
    rows, columns = grid(picture)
    narrow = WIDTH if columns < 3 else 2.9 if columns == 3 else 2.3
    high = HEIGHT if columns < 4 else 2.0
    width = max(columns * narrow, 4.2)
    lines = _legend_rows([*_labels(picture), *_marks(picture)], width)
    return width, rows * high + (TITLE if picture.title else 0.0) + lines * LEGEND + 0.15


def draw(figure: Any, picture: Picture, theme: Theme) -> None:
    """Draw a picture into a figure (or subfigure), in the colours of a theme."""
    rows, columns = grid(picture)
    axes = figure.subplots(rows, columns, squeeze=False)
    if len(picture.panels) == 1:
        cells = {(0, k): (picture.panels[0], q) for k, q in enumerate(picture.what)}
    elif len(picture.what) == 1:
        cells = {divmod(k, columns): (p, picture.what[0]) for k, p in enumerate(picture.panels)}
    else:
        cells = {(r, c): (p, q) for r, q in enumerate(picture.what) for c, p in enumerate(picture.panels)}
    ranges = _ranges(picture, cells)
    for r in range(rows):
        for c in range(columns):
            if (r, c) in cells:
                panel, quantity = cells[r, c]
                _panel(axes[r][c], panel, quantity, ranges[r, c], theme)
                _words(axes[r][c], picture, panel, quantity, (r, c), cells, ranges)
            else:
                axes[r][c].set_axis_off()
    figure.align_ylabels()
    if picture.title:
        figure.suptitle(picture.title, fontsize="medium")
    _legend(figure, picture, theme)


Cells = Mapping[tuple[int, int], tuple[Panel, str]]


def _ranges(picture: Picture, cells: Cells) -> dict[tuple[int, int], Range]:
    """The vertical range of every cell: what was asked for, or one for all panels of a quantity that are alike."""
    out: dict[tuple[int, int], Range] = {}
    for q in picture.what:
        mine = [place for place, (_, quantity) in cells.items() if quantity == q]
        spans = [union([line.series[q].shown for line in cells[place][0].lines]) for place in mine]
        common = shared(spans) if picture.way else spans
        for place, found in zip(mine, common, strict=True):
            out[place] = picture.limits.get(q) or padded(found)
    return out


# -- one panel --------------------------------------------------------------------------------------------------------


def _panel(axes: Axes, panel: Panel, quantity: str, shown: Range, theme: Theme) -> None:
    axes.grid(True, color=theme.rule, linewidth=0.5, alpha=theme.grid)
    axes.set_axisbelow(True)
    low, high = panel.shown
    if quantity != VALUE and shown[0] < 0 < shown[1]:
        axes.axhline(0, color=theme.faint, linewidth=0.7, zorder=1.5)
    if low < 0 < high:
        axes.axvline(0, color=theme.faint, linewidth=0.7, zorder=1.5)
    for line in panel.lines:
        style = look(line.colour, theme)
        series = line.series[quantity]
        axes.plot(series.x, series.values, zorder=2.5, **style)
        _breaks(axes, series, style["color"], theme)
    _missing(axes, panel, quantity, shown, theme)
    margin = 0.015 * (high - low)
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(*shown)
    axes.locator_params(nbins=6)
    axes.tick_params(length=3)


def _rings(series: Series) -> list[tuple[float, float]]:
    """The ends of the parts that are not joined, where they are numbers."""
    return [(b.at, v) for b in series.breaks if b.kind in (JUMP, EDGE) for v in (b.left, b.right) if math.isfinite(v)]


def _breaks(axes: Axes, series: Series, colour: str, theme: Theme) -> None:
    """Kinks as dots, ends as rings, poles as dotted lines."""
    kinks = [(b.at, (b.left + b.right) / 2) for b in series.breaks if b.kind == KINK]
    for points, face in ((kinks, colour), (_rings(series), theme.paper)):
        if points:
            axes.plot(*zip(*points, strict=True), "o", color=colour, markerfacecolor=face, markersize=4.2,
                      markeredgewidth=1.1, zorder=3)  # fmt: skip
    for b in series.breaks:
        if b.kind == POLE:
            axes.axvline(b.at, zorder=1.6, **_pole(theme))


def _missing(axes: Axes, panel: Panel, quantity: str, shown: Range, theme: Theme) -> None:
    """Where a line has no finite value: a bar at the foot in its colour, and a shade where no line has one."""
    for place, line in enumerate(panel.lines):
        style = look(line.colour, theme)
        height = 0.012 + 0.028 * place
        for begin, end in line.series[quantity].gaps:
            axes.plot([begin, end], [height] * 2, transform=axes.get_xaxis_transform(), color=style["color"],
                      linewidth=3.2, alpha=0.75, solid_capstyle="butt", zorder=2)  # fmt: skip
    for begin, end in _everywhere([line.series[quantity].gaps for line in panel.lines]):
        axes.axvspan(begin, end, facecolor="none", edgecolor=theme.rule, hatch="////", linewidth=0, zorder=1)


def _everywhere(gaps: Sequence[Sequence[Range]]) -> list[Range]:
    """The stretches that all of them have."""
    if not gaps or not all(gaps):
        return []
    common = list(gaps[0])
    for other in gaps[1:]:
        pairs = [(max(a, c), min(b, d)) for a, b in common for c, d in other]
        common = [(a, b) for a, b in pairs if a < b]
    return common


# -- words ------------------------------------------------------------------------------------------------------------


def label_of(quantity: str, way: str) -> str:
    """The words of a vertical axis."""
    by = "(y·f)" if way == MARGINS else "f"
    return {VALUE: "loss L", GRADIENT: f"gradient ∂L/∂{by}", HESSIAN: f"Hessian ∂²L/∂{by}²"}[quantity]


def _words(axes: Axes, picture: Picture, panel: Panel, quantity: str, place: tuple[int, int], cells: Cells,
           ranges: Mapping[tuple[int, int], Range]) -> None:  # fmt: skip
    r, c = place
    below, left = cells.get((r + 1, c)), cells.get((r, c - 1))
    if below is None or below[0].axis.label != panel.axis.label:
        notes = f"  ({', '.join(panel.notes)})" if panel.notes else ""
        axes.set_xlabel(panel.axis.label + notes)
    elif len(picture.what) > 1:
        axes.tick_params(labelbottom=False)
    if left is None or left[1] != quantity:
        axes.set_ylabel(label_of(quantity, picture.way))
    elif ranges[r, c - 1] == ranges[place]:
        axes.tick_params(labelleft=False)
    if panel.title and (r == 0 or len(picture.what) == 1):
        axes.set_title(panel.title)


def _labels(picture: Picture) -> dict[str, int]:
    """The lines of the legend: label and look."""
    out: dict[str, int] = {}
    for panel in picture.panels:
        for line in panel.lines:
            if line.label:
                out.setdefault(
                    line.label if len(line.label) <= LONGEST else line.label[: LONGEST - 1] + "…", line.colour
                )
    return out


def _marks(picture: Picture) -> list[str]:
    """The marks of the legend."""
    every = [line.series[q] for q in picture.what for panel in picture.panels for line in panel.lines]
    kinds = {b.kind for series in every for b in series.breaks}
    found = {
        DOT: KINK in kinds, RING: any(_rings(series) for series in every), DOTTED: POLE in kinds,
        BAR: any(series.gaps for series in every),
    }  # fmt: skip
    return [name for name, there in found.items() if there]


DOT, RING, DOTTED, BAR = "kink", "jump or end", "pole", "no finite value"


def _legend_rows(entries: Sequence[str], width: float) -> int:
    return math.ceil(len(entries) / _columns(entries, width)) if entries else 0


def _columns(entries: Sequence[str], width: float) -> int:
    """How many entries fit side by side."""
    lengths, room = [len(entry) + _HANDLE for entry in entries], int(_ROOM * width / (2 * WIDTH))
    if sum(lengths) <= room:
        return max(1, len(lengths))
    return max(1, min(len(lengths), room // max(lengths)))


def _legend(figure: Any, picture: Picture, theme: Theme) -> None:
    """What the lines are, and what their marks mean, below the panels."""
    from matplotlib.lines import Line2D

    dot: dict[str, Any] = {
        "color": theme.faint,
        "markersize": 4.2,
        "markeredgewidth": 1.1,
        "marker": "o",
        "linestyle": "none",
    }
    looks: dict[str, dict[str, Any]] = {
        DOT: dot, RING: {**dot, "markerfacecolor": theme.paper}, DOTTED: _pole(theme),
        BAR: {"color": theme.faint, "linewidth": 3.2, "alpha": 0.75},
    }  # fmt: skip
    entries = {label: Line2D([], [], **look(k, theme)) for label, k in _labels(picture).items()}
    entries |= {name: Line2D([], [], **looks[name]) for name in _marks(picture)}
    if entries:
        columns = _columns(list(entries), size_of(picture)[0])
        figure.legend(
            list(entries.values()), list(entries), loc="outside lower center", ncols=columns, handlelength=2.6,
            columnspacing=1.6,
        )  # fmt: skip


def _pole(theme: Theme) -> dict[str, Any]:
    return {"color": theme.faint, "linewidth": 0.9, "linestyle": (0, (1, 2))}
