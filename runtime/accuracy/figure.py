"""The error of a loss as a figure: bits of error of value and gradient along one line, before and after.

It looks as all figures do (`lossc.runtime.plots.style`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from lossc.compiler.formats import FORMATS
from lossc.compiler.loss import Loss
from lossc.compiler.printing import to_text
from lossc.runtime.accuracy.measure import both, compare
from lossc.runtime.accuracy.points import sweep
from lossc.runtime.accuracy.report import AFTER, BEFORE, GRADIENT, RIGHT, VALUE
from lossc.runtime.accuracy.truth import Oracle
from lossc.runtime.plots.style import LIGHT, saved
from lossc.runtime.plots.style import check as check  # handed on

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOOKS: dict[str, dict[str, Any]] = {
    BEFORE: {"color": LIGHT.lines[1], "marker": "x", "label": "as written"},
    AFTER: {"color": LIGHT.lines[0], "marker": ".", "label": "compiled"},
}
"""Two colours that colour-blind readers tell apart, and two shapes for those who print in grey."""
LEAST, MOST, EACH_SIDE = -4.0, 2.7, 70
"""The line goes from -10^2.7 to 10^2.7, evenly in the logarithm on each side of 10^-4."""
TICKS = (-100.0, -10.0, -1.0, -0.1, 0.0, 0.1, 1.0, 10.0, 100.0)
LONGEST = 60
"""Characters of a formula in the title."""


def figure(loss: Loss, dtype: str = "float32", *, suffix: str = "png") -> bytes:
    """The figure as the bytes of a PNG, SVG or PDF file; the same for the same loss.

    Raises UsageError (L260) where matplotlib is not installed or the format is unknown.
    """
    return saved((8.0, 6.0), lambda drawn: _draw(drawn, loss, dtype), suffix)


def _draw(drawn: Figure, loss: Loss, dtype: str) -> None:
    sizes = [10 ** (LEAST + (MOST - LEAST) * k / (EACH_SIDE - 1)) for k in range(EACH_SIDE)]
    line = [*(-s for s in reversed(sizes)), 0.0, *sizes]
    batch, what = sweep(loss, dtype, line)
    oracle = Oracle(loss)
    truths = oracle.truths(batch)
    found = {name: compare(oracle, module, batch, truths) for name, module in both(loss).items()}
    panels = drawn.subplots(2, 1, sharex=True)
    for axes, of in zip(panels, (VALUE, GRADIENT), strict=True):
        for program, look in LOOKS.items():
            results = [r for r in found[program][of] if r.entry == 0]
            good = [r for r in results if math.isfinite(r.got)]
            _marks(axes, [line[r.index] for r in good], [r.bits for r in good], **look)
            wrong = [line[r.index] for r in results if not math.isfinite(r.got)]
            label = f"{look['label']}: NaN or infinite"
            if wrong:
                top = FORMATS[dtype].width
                axes.plot(wrong, [top] * len(wrong), linestyle="none", marker="^", color=look["color"], label=label)
        _frame(axes, of, dtype)
    formula = to_text(loss.body) if loss.name == "loss" else loss.name
    panels[0].set_title(f"{formula if len(formula) <= LONGEST else loss.name}: error against mpmath in {dtype}")
    panels[1].set_xlabel(f"{what} (logarithmic beyond ±0.01)")
    marks = {label: mark for axes in panels for mark, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    drawn.legend(list(marks.values()), list(marks), loc="outside lower center", ncols=3)


def _marks(axes: Axes, x: list[float], y: list[float], **look: Any) -> None:
    axes.plot(x, y, linestyle="none", markersize=5, **look)


def _frame(axes: Axes, of: str, dtype: str) -> None:
    form = FORMATS[dtype]
    axes.set_xscale("symlog", linthresh=1e-2, linscale=0.5)
    axes.set_xticks(TICKS, [f"{tick:g}".replace("-", "\N{MINUS SIGN}") for tick in TICKS])
    axes.set_ylim(-0.03 * form.width, 1.05 * form.width)
    axes.set_ylabel(f"error of the {of} (bits)")
    axes.axhline(RIGHT, color="0.5", linewidth=0.8, linestyle="--", label="correctly rounded")
    axes.axhline(form.digits, color="0.5", linewidth=0.8, linestyle=":", label="no digit right")
    axes.grid(True, color=LIGHT.rule, linewidth=0.5)
    axes.set_axisbelow(True)
