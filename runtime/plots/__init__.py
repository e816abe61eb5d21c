"""Pictures of losses: value, gradient and Hessian over the prediction, families of hyper-parameters, surfaces.

    >>> from lossc.runtime.plots import figure
    >>> data = figure(named("label_smoothing"), what=("loss", "grad"), params={"xi": (0, 0.1, 0.2)}, suffix="svg")

`picture` makes the data (panels of curves), `draw` draws them into a figure of Matplotlib, `figure` does both.
"""

from __future__ import annotations

from lossc.runtime.plots.figure import compare_figure, embedded, figure
from lossc.runtime.plots.panels import draw, size_of
from lossc.runtime.plots.picture import Picture, picture
from lossc.runtime.plots.style import DARK, LIGHT, PAGE, Theme

__all__ = [
    "DARK", "LIGHT", "PAGE", "Picture", "Theme", "compare_figure", "draw", "embedded", "figure", "picture", "size_of",
]  # fmt: skip
