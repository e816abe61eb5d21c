"""A loss as a surface over target and prediction: filled contours with lines that are labelled, so that it can be read.

>>> made = surfaces(named("poisson"), what=("loss", "grad"))
>>> made.sheets[0].heights["loss"]    # [y, f]
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from lossc.compiler.analysis.verdicts.study import comparable
from lossc.compiler.errors import UsageError
from lossc.compiler.float32 import evaluate_in
from lossc.compiler.formats import FLOAT64
from lossc.compiler.ir import F, Y
from lossc.compiler.roles import ROLES, Role
from lossc.compiler.sampling import Points
from lossc.runtime.plots.family import Losses, Member, Number, members, title_of
from lossc.runtime.plots.limits import Range, padded, span, union
from lossc.runtime.plots.panels import label_of
from lossc.runtime.plots.picture import CLASSES, View, view_of
from lossc.runtime.plots.style import Theme
from lossc.runtime.plots.tracks import QUANTITIES, VALUE, Track, Ways

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[np.float64]"

SIDE = 161
LEVELS = 12
MOST = 6
"""Losses side by side."""
WIDTH, HEIGHT = 3.7, 3.0
"""Inches of a panel with its bar of colours."""
EVERY_OTHER = 2
"""So many levels apart are the lines that carry a number."""
_BELOW = 1e-9
"""How far the ends of [0, 1] are left out: a softmax never gives them."""
_SHOWN: Mapping[str, Range] = {"prob": (0.0, 1.0), "positive": (0.0, 5.0), "count": (0.0, 5.0), "real": (-4.0, 4.0),
                               "logit": (-4.0, 4.0), "binary": (0.0, 1.0), "onehot": (0.0, 1.0)}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Sheet:
    """One loss on a grid: predictions [m], targets [n], and heights [n, m] of each quantity, NaN where there is none.

    `alike` says whether y and f are numbers of one kind, so that f = y means something.
    """

    label: str
    notes: tuple[str, ...]
    f: Array
    y: Array
    heights: Mapping[str, Array]
    alike: bool


@dataclass(frozen=True, eq=False)
class Surfaces:
    """A column for each loss, a row for each quantity."""

    title: str
    what: tuple[str, ...]
    sheets: tuple[Sheet, ...]
    limits: Mapping[str, Range]

    def data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "title": self.title, "over": "target and prediction", "what": list(self.what),
            "panels": [
                {"title": s.label, "notes": list(s.notes), "f": s.f.tolist(), "y": s.y.tolist(),
                 **{q: [[_known(v) for v in row] for row in s.heights[q].tolist()] for q in self.what}}
                for s in self.sheets
            ],
        }  # fmt: skip


def _known(value: float) -> float | None:
    return float(f"{value:.9g}") if math.isfinite(value) else None


def surfaces(
    losses: Losses, *, what: Sequence[str] = (VALUE,), params: Mapping[str, Sequence[Number]] | None = None,
    classes: int = CLASSES, ranges: Mapping[str, Range] | None = None,
) -> Surfaces:  # fmt: skip
    """Losses over y and f; the arguments are those of `picture`, `ranges` of "f", "y" and of the quantities.

    Of classes it is what one class adds, for targets between 0 and 1 too. Raises UsageError (L260) for a loss whose
    classes depend on each other, or whose target is a sign, and what `picture` raises.
    """
    view = view_of(what, (), classes, ranges or {})
    family = members(losses, params or {})
    if len(family) > MOST:
        raise UsageError("L260", f"more than {MOST} surfaces are too many", hint="draw fewer losses or values")
    names = len({m.name for m in family}) > 1
    made = tuple(_sheet(m, names, view) for m in family)
    return Surfaces("" if names else title_of(family), view.what, made,
                    {k: v for k, v in view.ranges.items() if k in QUANTITIES})  # fmt: skip


def _sheet(member: Member, names: bool, view: View) -> Sheet:
    import numpy as np

    ways = Ways(member.loss, view.classes)
    loss = ways.subject.loss
    if ways.row is not None or loss.y == "sign":
        why = "its target is a sign" if loss.y == "sign" else "its classes depend on each other"
        raise UsageError("L260", f"`{member.name}` is no surface over a target and a prediction: {why}",
                         hint="leave --surface out")  # fmt: skip
    f, y = _side(ROLES[loss.f], view.ranges.get("f")), _side(ROLES[loss.y], view.ranges.get("y"))
    grid_f, grid_y = np.meshgrid(f, y)
    points = Points({F: tuple(grid_f.ravel().tolist()), Y: tuple(grid_y.ravel().tolist())}, ("",) * grid_f.size)
    track = Track("", loss.body, loss)
    names_of = dict.fromkeys((VALUE, *view.what))
    found = dict(zip(names_of, evaluate_in(FLOAT64, [track.expression(q) for q in names_of], points), strict=True))
    there = np.isfinite(found[VALUE])  # a formula of the slope may go on where the loss has ended
    heights = {q: np.where(there & np.isfinite(found[q]), found[q], math.nan).reshape(grid_f.shape) for q in view.what}
    if not any(np.isfinite(h).any() for h in heights.values()):
        raise UsageError("L260", f"`{member.name}` has no finite value there", hint="another --range")
    notes = (f"C = {view.classes:,}",) if ways.counted else ()
    return Sheet(member.label(names), notes, f, y, heights, comparable(loss) or (loss.f == "prob"))


def _side(role: Role, asked: Range | None) -> Array:
    """Evenly spaced values of an argument, inside what its role allows. Raises UsageError (L260)."""
    import numpy as np

    low, high = asked or _SHOWN[role.name]
    bottom, top = role.range.lo, role.range.hi
    if role.range.lo == 0 or role.name == "positive":
        bottom = _BELOW
    if role.name == "prob":
        top = 1 - _BELOW
    low, high = max(low, bottom), min(high, top)
    if not low < high:
        raise UsageError("L260", "nothing of the surface lies in that range", expected=f"numbers that are {role.doc}")
    return np.linspace(low, high, SIDE)


# -- drawing ----------------------------------------------------------------------------------------------------------


def _grid(made: Surfaces) -> tuple[int, int]:
    """Rows and columns: a row a quantity; one loss's quantities stand side by side."""
    rows, columns = len(made.what), len(made.sheets)
    return (1, rows) if columns == 1 else (rows, columns)


def size_of_surfaces(made: Surfaces) -> tuple[float, float]:
    """The size of the figure in inches."""
    rows, columns = _grid(made)
    return max(columns * WIDTH, 4.2), rows * HEIGHT + (0.3 if made.title else 0.0)


def draw_surfaces(figure: Any, made: Surfaces, theme: Theme) -> None:
    """Draw surfaces into a figure, in the colours of a theme."""
    rows, columns = _grid(made)
    axes = figure.subplots(rows, columns, squeeze=False)
    for r, q in enumerate(made.what):
        for c, sheet in enumerate(made.sheets):
            here = axes[r][c] if len(made.sheets) > 1 else axes[0][r]
            _contours(figure, here, sheet, q, made, theme)
            if r == 0 and sheet.label:
                here.set_title(sheet.label)
            if r == rows - 1 or rows == 1:
                here.set_xlabel("prediction f" + (f"  ({', '.join(sheet.notes)})" if sheet.notes else ""))
            if c == 0 and (r == 0 or rows > 1):
                here.set_ylabel("target y")
    if made.title:
        figure.suptitle(made.title, fontsize="medium")


def _contours(figure: Any, axes: Any, sheet: Sheet, quantity: str, made: Surfaces, theme: Theme) -> None:
    import numpy as np

    heights = sheet.heights[quantity]
    signed = quantity != VALUE and bool(np.nanmin(heights, initial=0.0) < 0 < np.nanmax(heights, initial=0.0))
    levels = _levels(made.limits.get(quantity) or union([span(heights.ravel())]), signed)
    colours = theme.maps[1] if signed else theme.maps[0]
    axes.set_facecolor(theme.paper)
    axes.fill_between([sheet.f[0], sheet.f[-1]], sheet.y[0], sheet.y[-1], facecolor="none", edgecolor=theme.faint,
                      hatch="////", linewidth=0, zorder=0.5)  # fmt: skip
    shown = axes.contourf(sheet.f, sheet.y, heights, levels=levels, cmap=colours, extend=_beyond(heights, levels),
                          zorder=1)  # fmt: skip
    lines = axes.contour(sheet.f, sheet.y, heights, levels=levels[::EVERY_OTHER], colors=_LINE[signed], linewidths=0.6,
                         linestyles="solid", zorder=2)  # fmt: skip
    axes.clabel(lines, fontsize=7.5, fmt=lambda v: f"{v:g}".replace("-", "−"), inline_spacing=3)
    axes.set_xlim(sheet.f[0], sheet.f[-1])
    axes.set_ylim(sheet.y[0], sheet.y[-1])
    if sheet.alike and sheet.f[0] < sheet.y[-1] and sheet.y[0] < sheet.f[-1]:
        _diagonal(axes, max(sheet.f[0], sheet.y[0]), min(sheet.f[-1], sheet.y[-1]), _LINE[signed])
    bar = figure.colorbar(shown, ax=axes, pad=0.02, aspect=24)
    bar.set_label(label_of(quantity, ""))
    bar.outline.set_visible(False)
    bar.set_ticks(levels[::EVERY_OTHER])


def _diagonal(axes: Any, low: float, high: float, colour: str) -> None:
    """Where the prediction is the target."""
    axes.plot([low, high], [low, high], color=colour, linewidth=1.1, linestyle=(0, (5, 3)), zorder=3)
    at = low + 0.56 * (high - low)
    axes.annotate("f = y", (at, at), xytext=(4, -4), textcoords="offset points", ha="left", va="top", fontsize=8,
                  color=colour, zorder=4)  # fmt: skip


def _beyond(heights: Array, levels: Array) -> str:
    """On which sides there are heights beyond the levels."""
    import numpy as np

    below, above = bool(np.nanmin(heights) < levels[0]), bool(np.nanmax(heights) > levels[-1])
    return {(True, True): "both", (True, False): "min", (False, True): "max"}.get((below, above), "neither")


_LINE = {False: "#ffffff", True: "#1d2129"}
"""Lines on either map of colours, which are the same on light and on dark paper."""


def _levels(seen: Range | None, signed: bool) -> Array:
    """Round numbers between the ends of the range; even on both sides of 0 where the sign matters."""
    import numpy as np
    from matplotlib.ticker import MaxNLocator

    low, high = seen or (0.0, 1.0)
    if signed:
        far = max(abs(low), abs(high))
        low, high = -far, far
    if not low < high:
        low, high = padded((low, high))
    return np.asarray(MaxNLocator(LEVELS, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high), dtype=float)
