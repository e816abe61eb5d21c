"""How every figure of a loss looks: themes, lines that differ in colour and in grey, and a file of the same bytes.

Matplotlib's global state is neither read nor changed: settings hold inside `saved` alone.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from lossc.compiler.errors import UsageError
from lossc.runtime.page.drawing import BLUE, FAINT, GREEN, INK, ORANGE, PAPER, PURPLE, RED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = ("png", "svg", "pdf")
DPI = 150
"""Pixels an inch of a PNG."""
COLOURS = 128
"""Of a PNG: lines in seven colours, and their edges."""


@dataclass(frozen=True)
class Theme:
    """The colours of a figure: paper, text, axes, grid, and the lines in the order in which they are used.

    `maps` are the colour maps of values and of slopes over a plane: both are read in grey and by the colour-blind.
    `grid` is how opaque the grid is.
    """

    name: str
    paper: str
    ink: str
    faint: str
    rule: str
    lines: tuple[str, ...]
    maps: tuple[str, str] = ("cividis", "PuOr")
    grid: float = 1.0


LIGHT = Theme(
    "light", "#ffffff", "#1d2129", "#6b727e", "#dfe2e7",
    ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"),
)  # fmt: skip
DARK = Theme(
    "dark", "#14171c", "#e4e7ec", "#9aa2ae", "#333943",
    ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00", "#e4e7ec"),
)  # fmt: skip
"""The palette of Okabe and Ito (2008): those first that are furthest from the paper."""
PAGE = Theme("page", PAPER, INK, FAINT, FAINT, (BLUE, RED, GREEN, PURPLE, ORANGE, INK), grid=0.3)
"""For figures inside a page of `lossc.runtime.page`, whose style sheet gives the colours."""
THEMES = {theme.name: theme for theme in (LIGHT, DARK)}

_DASHES: tuple[Any, ...] = (
    "-", (0, (5, 1.6)), (0, (1.2, 1.4)), (0, (5, 1.4, 1.2, 1.4)), (0, (9, 2)), (0, (3, 1.2, 1.2, 1.2, 1.2, 1.2)),
    (0, (2.4, 1)),
)  # fmt: skip


def look(place: int, theme: Theme) -> dict[str, Any]:
    """Colour and dashes of the line at a place: after the last colour they come again with other dashes."""
    colours = theme.lines
    return {
        "color": colours[place % len(colours)],
        "linestyle": _DASHES[(place + place // len(colours)) % len(_DASHES)],
    }


def settings(theme: Theme) -> dict[str, Any]:
    """The settings of Matplotlib for a theme."""
    return {
        "svg.hashsalt": "lossc", "svg.fonttype": "none", "pdf.fonttype": 42, "font.family": ["DejaVu Sans"],
        "font.size": 9.0, "axes.labelsize": 9.0, "axes.titlesize": 9.5, "legend.fontsize": 8.5, "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5, "text.parse_math": False, "figure.facecolor": theme.paper,
        "savefig.facecolor": theme.paper, "axes.facecolor": theme.paper, "text.color": theme.ink,
        "axes.labelcolor": theme.ink, "axes.titlecolor": theme.ink, "axes.edgecolor": theme.faint,
        "xtick.color": theme.faint, "ytick.color": theme.faint, "xtick.labelcolor": theme.ink,
        "ytick.labelcolor": theme.ink, "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8,
        "legend.frameon": False, "lines.linewidth": 1.7, "lines.solid_capstyle": "butt", "hatch.linewidth": 0.6,
        "hatch.color": theme.rule, "axes.unicode_minus": True,
    }  # fmt: skip


def check(path: str) -> str:
    """The format that a file name asks for, before any work is done for it.

    Raises UsageError (L260) if it is none that can be drawn, or if matplotlib is not installed.
    """
    suffix = path.rpartition(".")[2].lower() if "." in path else ""
    if suffix not in SUFFIXES:
        raise UsageError("L260", f"{path!r} is no name of a figure", expected="a name that ends in .png, .svg or .pdf")
    if find_spec("matplotlib") is None:
        raise UsageError("L260", "a figure needs matplotlib, which is not installed", hint="pip install matplotlib")
    return suffix


def theme_of(name: str) -> Theme:
    """The theme of that name. Raises UsageError (L260)."""
    if name not in THEMES:
        raise UsageError("L260", f"there is no theme `{name[:40]}`", expected="one of: " + ", ".join(THEMES))
    return THEMES[name]


def saved(
    size: tuple[float, float], draw: Callable[[Figure], None], suffix: str = "png", theme: Theme = LIGHT
) -> bytes:
    """The bytes of a PNG, SVG or PDF file, of a size in inches: the same for the same drawing.

    Raises UsageError (L260) where matplotlib is not installed or the format is unknown.
    """
    check(f"figure.{suffix}")
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        chosen: Any = matplotlib.rcParams
        chosen.update(settings(theme))
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        out = io.BytesIO()
        date = {"svg": "Date", "pdf": "CreationDate"}.get(suffix)
        figure.savefig(out, format=suffix, dpi=DPI, metadata={date: None} if date else None)
    return _small(out.getvalue()) if suffix == "png" else out.getvalue()


def _small(png: bytes) -> bytes:
    """The picture with a palette of its own: a third of the bytes, and nothing that an eye can tell."""
    from PIL import Image

    out = io.BytesIO()
    with Image.open(io.BytesIO(png)) as whole:
        few = whole.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        few.save(out, "png", optimize=True, dpi=(DPI, DPI))
    return out.getvalue()
