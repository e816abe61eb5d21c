"""The figures of the thesis that show loss functions, each as a function of nothing.

Figures 1.3, 4.1, 4.4, 4.5, 4.6, 4.8, 4.12 and 4.13 of *Meta-Learning Loss Functions for Deep Neural Networks*.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lossc.compiler.errors import UsageError
from lossc.compiler.loss import Loss
from lossc.grammar.library import named
from lossc.runtime.pictures.curves import HIGH, draw_view, limits
from lossc.runtime.pictures.family import family
from lossc.runtime.pictures.regression import draw_models
from lossc.runtime.pictures.sample import GRAD, LOSS, View, view_of
from lossc.runtime.pictures.style import LIGHT, Palette, picture

CLASSIFICATION = ("evomal_a", "evomal_b", "evomal_c", "evomal_d", "evomal_e")
REGRESSION = ("evomal_f", "evomal_g", "evomal_h", "evomal_i", "evomal_j")
TABLE_1_1 = ("mse", "pseudo_huber", "cauchy", "geman_mcclure", "welsch")


@dataclass(frozen=True)
class Figure:
    """A figure: its number in the thesis, what it shows, and how it is drawn."""

    number: str
    caption: str
    size: tuple[float, float]
    draw: Callable[[Any, Palette], None]


def _curves(losses: Sequence[Loss], labels: Sequence[str], what: Sequence[str] = (LOSS,), **more: Any) -> View:
    return view_of(losses, what, labels=labels, **more)


def _family(name: str, values: Mapping[str, Sequence[str]]) -> Callable[[Any, Palette], None]:
    def draw(fig: Any, palette: Palette) -> None:
        losses, labels = family(named(name), values)
        draw_view(fig, _curves(losses, labels, classes=10), palette)

    return draw


def _two(first: str, second: str) -> Callable[[Any, Palette], None]:
    """Fig. 4.4: two losses beside each other, target and non-target."""

    def draw(fig: Any, palette: Palette) -> None:
        left, right = fig.subfigures(1, 2)
        for part, name, words in ((left, first, "cross-entropy"), (right, second, "absolute cross-entropy")):
            draw_view(part, _curves([named(name)], [name]), palette, title=words)

    return draw


def _learned(fig: Any, palette: Palette) -> None:
    """Fig. 4.1: the meta-learned losses of Table 4.1; classification above, regression below."""
    above, below = fig.subfigures(2, 1)
    for part, names, span in ((above, CLASSIFICATION, (0.02, 1.0)), (below, REGRESSION, (-3.0, 3.0))):
        rows = 2 if names is CLASSIFICATION else 1
        axes = part.subplots(rows, 5, squeeze=False)
        for column, name in enumerate(names):
            view = _curves([named(name)], [name], span=span, targets=(1.0,))
            for row, panel in enumerate(view.panels[:rows]):
                here, line = axes[row][column], panel.lines[0]
                here.plot(line.x, line.values[LOSS], **palette.line(row))
                here.set_ylim(*limits([line.values[LOSS]]))
                here.ticklabel_format(useOffset=False)
                here.set_title(f"({name[-1]}) {panel.title or 'y = 1'}", fontsize=9)
                here.tick_params(labelsize=8)


def _table(fig: Any, palette: Palette) -> None:
    """Fig. 1.3: losses and their derivatives above, what small networks learn with them below."""
    above, below = fig.subfigures(2, 1)
    losses = [named(n) for n in TABLE_1_1]
    draw_view(above, view_of(losses, (LOSS, GRAD), labels=list(TABLE_1_1), span=(-4.0, 4.0)), palette)
    draw_models(below, losses, list(TABLE_1_1), palette)


_XI = {"xi": ("0", "0.1", "0.2", "0.4")}
FIGURES: dict[str, Figure] = {
    f.number: f
    for f in (
        Figure("1.3", "The losses of Table 1.1 and their derivatives; below, the models that small networks learn with "
               "them on a regression task with outliers, and their learning curves.", (7.6, 2 * HIGH + 0.6), _table),
        Figure("4.1", "The losses that EvoMAL meta-learned (Table 4.1): a to e for classification, f to j for "
               "regression at the target y = 1.", (9.6, 5.4), _learned),
        Figure("4.4", "Cross-entropy and the absolute cross-entropy are the same where 0 < f < 1.", (9.6, HIGH + 0.3),
               _two("cross_entropy", "ace")),
        Figure("4.5", "Absolute cross-entropy: with φ1 > 1 it is least below f = 1.", (7.3, HIGH + 0.3),
               _family("ace_phi", {"phi1": ("1", "1.1", "1.25", "1.5")})),
        Figure("4.6", "Label smoothing with ten classes: the non-target loses too.", (7.3, HIGH + 0.3),
               _family("label_smoothing", _XI)),
        Figure("4.8", "Sparse label smoothing with ten classes: the target only.", (7.3, HIGH + 0.3),
               _family("sparse_lsr", _XI)),
        Figure("4.12", "Focal loss: well classified examples count less.", (7.3, HIGH + 0.3),
               _family("focal", {"gamma": ("0", "1", "2", "4")})),
        Figure("4.13", "Focal loss with sparse label smoothing, ξ = 0.2.", (7.3, HIGH + 0.3),
               _family("focal_sparse_lsr", {"gamma": ("0", "1", "2", "4"), "xi": ("0.2",)})),
    )
}  # fmt: skip
"""By number."""


def thesis_figure(number: str, palette: Palette = LIGHT, suffix: str = "png") -> bytes:
    """A figure of the thesis, drawn anew. Raises UsageError (L260) for a number that is none of them."""
    found = FIGURES.get(number)
    if found is None:
        raise UsageError(
            "L260", f"figure {number[:20]} shows no loss functions", expected="one of: " + ", ".join(FIGURES)
        )
    return picture(lambda fig: found.draw(fig, palette), found.size, palette, suffix)
