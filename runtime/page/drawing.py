"""Figures as SVG inside a page: drawn by Matplotlib, coloured by the page's style sheet, the same bytes every time."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from lossc.runtime.page.markup import NOT_TEXT, Markup, escaped, tag

INK, FAINT, PAPER = "#010203", "#010204", "#010205"
BLUE, ORANGE, GREEN, RED, PURPLE = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7"
"""The palette of Okabe and Ito. In the page each is a variable, so that it suits light and dark."""
_VARIABLES = {
    INK: "ink", FAINT: "faint", PAPER: "paper", BLUE: "blue", ORANGE: "orange", GREEN: "green", RED: "red",
    PURPLE: "purple",
}  # fmt: skip
_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "lossc", "font.size": 11, "font.family": ["DejaVu Sans"],
    "axes.edgecolor": FAINT, "axes.labelcolor": INK, "axes.titlecolor": INK, "text.color": INK, "xtick.color": FAINT,
    "ytick.color": FAINT, "xtick.labelcolor": INK, "ytick.labelcolor": INK, "axes.spines.top": False,
    "axes.spines.right": False, "axes.linewidth": 0.8, "axes.titlesize": 11, "axes.titlelocation": "left",
    "axes.labelsize": 11, "legend.fontsize": 10.5, "legend.frameon": False, "lines.linewidth": 1.8,
    "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none", "text.parse_math": False,
    "axes.xmargin": 0.02,
}  # fmt: skip
_LONG = re.compile(r"(\.\d\d)\d+")
MATH_SIZE = 15
_MATH = {"svg.fonttype": "path", "mathtext.fontset": "cm", "text.parse_math": True}
_FORMULA_GLYPHS = 700
"""A formula that is longer is read more easily as text."""


def drawn(name: str, label: str, size: tuple[float, float], draw: Callable[[Any], None]) -> Markup:
    """A figure of a size in pixels. `draw` gets a Matplotlib figure; `label` says what it shows, for who cannot see it.

    `name` is that of no other figure of the page: its ids begin with it.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that Matplotlib's font lacks: the page has its own fonts
        matplotlib.rcdefaults()
        settings: Any = matplotlib.rcParams
        settings.update(_SETTINGS)
        figure = Figure(figsize=(size[0] / 72, size[1] / 72), layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        return inline(_svg(figure), name, label)


def _svg(figure: Any) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def inline(svg: str, name: str, label: str, class_: str = "drawing") -> Markup:
    """An SVG file as an element of a page: ids of its own, colours of the page, no fonts, no style that leaks."""
    begin = svg.index("<svg")
    view = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    width, height = view.groups() if view else ("100", "100")
    body = svg[svg.index(">", begin) + 1 : svg.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->|<defs>\s*</defs>", "", body, flags=re.DOTALL)
    body = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", body)
    body = re.sub(r"\bfont: ([\d.]+px)[^;\"]*", r"font-size: \1", body)
    body = re.sub(r"font-family: [^;\"]*;?", "", body)
    body = re.sub(r'\b(d|x|y)="[^"]*"', lambda m: _LONG.sub(r"\1", m.group()), body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var(--{variable})")
    body = NOT_TEXT.sub("\ufffd", re.sub(r"\n\s*", "\n", body))
    return Markup(
        f'<svg class="{class_}" role="img" aria-label="{escaped(label)}" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" xmlns="http://www.w3.org/2000/svg" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink">{body}</svg>'
    )


def formula(latex: str, name: str, text: str) -> Markup | None:
    """A formula as it is typeset; None if it is too long, or Matplotlib cannot parse it."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.mathtext import MathTextParser

    if len(latex) > _FORMULA_GLYPHS or "$" in latex:
        return None
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        settings: Any = matplotlib.rcParams
        settings.update({**_SETTINGS, **_MATH})
        try:
            width, height, depth, *_ = MathTextParser("path").parse(f"${latex}$", dpi=72)
        except (ValueError, RuntimeError):
            return None
        scale = MATH_SIZE / _SETTINGS["font.size"]
        figure = Figure(figsize=((width * scale + 8) / 72, (height * scale + 8) / 72))
        FigureCanvasAgg(figure)
        low = (depth * scale + 4) / (height * scale + 8)
        figure.text(4 / (width * scale + 8), low, f"${latex}$", fontsize=MATH_SIZE, color=INK, va="baseline")
        return inline(_svg(figure), name, text, "formula")


def figure(content: Markup, caption: str) -> Markup:
    """A drawing with what is to be read below it; a wide one scrolls where the page is narrow."""
    return tag("figure", tag("div", content, class_="pan"), tag("figcaption", caption))


def legend(panel: Any, columns: int = 3) -> None:
    """What the lines are, above the panel, where nothing is covered."""
    handles, labels = panel.get_legend_handles_labels()
    panel.legend(
        handles, labels, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=columns, borderaxespad=0.2,
        handlelength=2.2, columnspacing=1.4,
    )  # fmt: skip


def scaled(axis: Any, values: Sequence[float]) -> tuple[float, float]:
    """Give a y axis its scale, logarithmic if the values differ much, and return its range: all but outliers.

    On a linear axis these are above the median by more than three times what the best is below it.
    """
    import numpy as np
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, middle, top = float(min(values)), float(np.median(values)), float(np.quantile(values, 0.95))
    set_scale = axis.axes.set_yscale
    if low > 0 and top > 6 * low:
        set_scale("log")
        axis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0), numticks=12))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
        return low / (top / low) ** 0.05, min(max(values), top * (top / low) ** 0.5) * (top / low) ** 0.05
    reach = middle + 3 * (middle - low)
    return range_of([v for v in values if v <= reach] or list(values))


def range_of(values: Sequence[float], low: float = 0.0, high: float = 1.0, margin: float = 0.06) -> tuple[float, float]:
    """A range for an axis: between two quantiles of the values, with a margin; around a single value, a little."""
    import numpy as np

    bottom, top = (float(v) for v in np.quantile(np.asarray(values, dtype=float), (low, high)))
    wide = (top - bottom) * margin or max(abs(top), 1.0) * margin
    return bottom - wide, top + wide
