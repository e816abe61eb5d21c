"""How all pictures look: colours that colour-blind readers tell apart (Okabe & Ito), dashes for print in grey.

Matplotlib is imported when a picture is drawn, and its global settings are never touched.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from lossc.compiler.errors import UsageError

SUFFIXES = ("png", "svg", "pdf")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (7, 2, 1.5, 2)), (0, (3, 1.5)), (0, (9, 3)))
WIDTH = 1.8
PIXELS = 160
"""Dots an inch of a PNG."""


@dataclass(frozen=True)
class Palette:
    """The colours of a picture: of text, of axes, of the background, and of lines in their order."""

    ink: str
    faint: str
    paper: str
    lines: tuple[str, ...]

    def line(self, place: int) -> dict[str, Any]:
        """Colour and dashes of the line at a place in the order."""
        return {
            "color": self.lines[place % len(self.lines)], "linestyle": DASHES[place % len(DASHES)], "linewidth": WIDTH,
        }  # fmt: skip


LIGHT = Palette("#1d2129", "#8b929e", "#ffffff", ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"))
DARK = Palette("#e4e7ec", "#828a97", "#14171c", ("#56b4e9", "#ee7d33", "#2fbf95", "#d98fb8", "#e69f00", "#f0e442"))
THEMES = {"light": LIGHT, "dark": DARK}


def settings(palette: Palette) -> dict[str, Any]:
    """Matplotlib's settings for a palette."""
    return {
        "svg.fonttype": "none", "svg.hashsalt": "lossc", "font.size": 10.5, "font.family": ["DejaVu Sans"],
        "axes.edgecolor": palette.faint, "axes.labelcolor": palette.ink, "axes.titlecolor": palette.ink,
        "text.color": palette.ink, "xtick.color": palette.faint, "ytick.color": palette.faint,
        "xtick.labelcolor": palette.ink, "ytick.labelcolor": palette.ink, "axes.spines.top": False,
        "axes.spines.right": False, "axes.linewidth": 0.8, "axes.titlesize": 10.5, "axes.titlelocation": "left",
        "axes.labelsize": 10.5, "legend.fontsize": 9.5, "legend.frameon": False, "lines.linewidth": WIDTH,
        "figure.facecolor": palette.paper, "axes.facecolor": palette.paper, "savefig.facecolor": palette.paper,
        "text.parse_math": False, "axes.xmargin": 0.01, "axes.grid": True, "grid.color": palette.faint,
        "grid.alpha": 0.22, "grid.linewidth": 0.6, "axes.axisbelow": True,
    }  # fmt: skip


def suffix_of(path: str) -> str:
    """The format that a file name asks for, before any work is done for it.

    Raises UsageError (L260) if it is none that can be drawn, or if Matplotlib is not installed.
    """
    suffix = path.rpartition(".")[2].lower() if "." in path else ""
    if suffix not in SUFFIXES:
        raise UsageError("L260", f"{path!r} is no name of a figure", expected="a name that ends in .png, .svg or .pdf")
    if find_spec("matplotlib") is None:
        raise UsageError("L260", "a figure needs matplotlib, which is not installed", hint="pip install matplotlib")
    return suffix


def picture(
    draw: Callable[[Any], None], size: tuple[float, float], palette: Palette = LIGHT, suffix: str = "png"
) -> bytes:
    """A picture of a size in inches as the bytes of a PNG, SVG or PDF file: the same for the same drawing.

    `draw` gets the Matplotlib figure. Raises UsageError (L260) as `suffix_of` does.
    """
    suffix_of(f"picture.{suffix}")
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    buffer = io.BytesIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that the font lacks
        matplotlib.rcdefaults()
        chosen: Any = matplotlib.rcParams
        chosen.update(settings(palette))
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        nothing: dict[str, Any] = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
        figure.savefig(buffer, format=suffix, dpi=PIXELS, metadata=nothing[suffix])
    return buffer.getvalue()


def legend_above(axes: Any, columns: int) -> None:
    """What the lines are, above the panel, where nothing is covered."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(handles, labels, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=columns, borderaxespad=0.2,
                    handlelength=2.4, columnspacing=1.3)  # fmt: skip
