"""What the figures of the experiments share: colours that colour-blind readers tell apart, a canvas, a file."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from lossc.runtime.accuracy.figure import check

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BASE = "#000000"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
"""Okabe and Ito (2008); black is the baseline's."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
WIDTH = 8.0
LONGEST = 40
"""Characters of a name in a legend."""


def look(place: int) -> dict[str, Any]:
    """Colour and marker of the loss at a place in a table, the baseline first."""
    if place == 0:
        return {"color": BASE, "marker": "x"}
    return {
        "color": COLOURS[(place - 1) % len(COLOURS)],
        "marker": MARKERS[((place - 1) // len(COLOURS) + place - 1) % len(MARKERS)],
    }


def short(name: str) -> str:
    """A name that fits in a legend."""
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def logarithmic(axes: Axes, values: Iterable[float], *, always: bool = False) -> None:
    """A logarithmic y axis with plain numbers, if the positive values span more than a decade; 0 is at its foot."""
    finite = [v for v in values if math.isfinite(v)]
    shown = [v for v in finite if v > 0]
    if not shown or (max(shown) <= 10 * min(shown) and not always):
        return
    from matplotlib.ticker import FixedLocator, NullLocator

    low, high = min(shown), max(shown)
    if min(finite) < low:
        axes.set_yscale("symlog", linthresh=low, linscale=0.3)
        axes.set_ylim(bottom=0)
    else:
        axes.set_yscale("log")
    steps = (1, 2, 5) if high <= 300 * low else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [s * 10.0**k for k in powers for s in steps if low / 1.5 <= s * 10.0**k <= 1.5 * high]
    ticks = [0.0, *ticks] if min(finite) < low else ticks
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(lambda v, _: f"{v:g}")
    axes.yaxis.set_minor_locator(NullLocator())


def drawn(suffix: str, height: float, draw: Callable[[Figure], None], width: float = WIDTH) -> bytes:
    """The bytes of a PNG, SVG or PDF file: a canvas of so many inches, drawn on; the same for the same drawing.

    Raises UsageError (L260) where matplotlib is not installed or the format is unknown.
    """
    check(f"figure.{suffix}")
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "lossc", "svg.fonttype": "none", "axes.grid": True,
                                "grid.linewidth": 0.3, "font.size": 9.0, "legend.frameon": False}):  # fmt: skip
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        out = io.BytesIO()
        date = {"svg": "Date", "pdf": "CreationDate"}.get(suffix)
        figure.savefig(out, format=suffix, dpi=120, metadata={date: None} if date else None)
    return out.getvalue()
