"""What the figures of the experiments share beside the look of all figures (`lossc.runtime.plots.style`)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from lossc.runtime.plots.style import Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LONGEST = 40
"""Characters of a name in a legend."""


def colour(theme: Theme, place: int) -> str:
    """The colour of the loss at a place in a table, the baseline first."""
    return _lines(theme)[(place - 1) % len(_lines(theme))] if place else theme.ink


def marked(theme: Theme, place: int) -> dict[str, Any]:
    """Colour and marker at a place in a row of losses or classes: no two are the same until all pairs are used up."""
    around, at = divmod(place, len(_lines(theme)))
    return {"color": _lines(theme)[at], "marker": MARKERS[(at + around) % len(MARKERS)]}


def _lines(theme: Theme) -> tuple[str, ...]:
    """The colours of lines but the last, which is the text's: the baseline has that."""
    return theme.lines[:-1]


def ruled(axes: Axes, theme: Theme) -> None:
    """A grid behind what is drawn."""
    axes.grid(True, color=theme.rule, linewidth=0.6)
    axes.set_axisbelow(True)


def short(name: str) -> str:
    """A name that fits in a legend."""
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def legend_below(figure: Any, axes: Axes, columns: int = 4) -> None:
    """What the lines of a panel are, below all panels of the figure."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(columns, len(handles)))


def logarithmic(axes: Axes, which: str, values: Iterable[float], *, always: bool = False) -> None:
    """A logarithmic axis ("x" or "y") with plain numbers, if the positive values span more than a decade; 0 is at its
    foot."""
    finite = [v for v in values if math.isfinite(v)]
    shown = [v for v in finite if v > 0]
    if not shown or (max(shown) <= 10 * min(shown) and not always):
        return
    from matplotlib.ticker import FixedLocator, NullLocator

    low, high = min(shown), max(shown)
    scale, bound = (axes.set_xscale, axes.set_xlim) if which == "x" else (axes.set_yscale, axes.set_ylim)
    axis = axes.xaxis if which == "x" else axes.yaxis
    if min(finite) < low:
        scale("symlog", linthresh=low, linscale=0.3)
        bound(0)
    else:
        scale("log")
    ticks = _ticks(low, high)
    axis.set_major_locator(FixedLocator([0.0, *ticks] if min(finite) < low else ticks))
    axis.set_major_formatter(lambda v, _: f"{v:g}")
    axis.set_minor_locator(NullLocator())


def _ticks(low: float, high: float) -> list[float]:
    """Plain numbers from low to high, evenly in the logarithm: 1, 2, 5, 10, or powers of 10 if they are many."""
    steps = (1, 2, 5) if high <= 300 * low else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [s * 10.0**k for k in powers for s in steps if low / 1.5 <= s * 10.0**k <= 1.5 * high]
