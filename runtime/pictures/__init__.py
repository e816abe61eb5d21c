"""Pictures of losses: value, gradient and second derivative over the prediction, families, surfaces over (y, f).

>>> open("huber.png", "wb").write(figure([named("huber")]))

`sample` computes numbers, `curves` and `surface` draw them into a Matplotlib figure, `style` says how all look.
"""

from __future__ import annotations

from lossc.runtime.pictures.curves import compare_figure, draw_view, figure
from lossc.runtime.pictures.family import family
from lossc.runtime.pictures.sample import QUANTITIES, View, view_of
from lossc.runtime.pictures.style import DARK, LIGHT, THEMES, Palette, picture, suffix_of
from lossc.runtime.pictures.surface import surface_figure

__all__ = [
    "DARK", "LIGHT", "QUANTITIES", "THEMES", "Palette", "View", "compare_figure", "draw_view", "family", "figure",
    "picture", "suffix_of", "surface_figure", "view_of",
]  # fmt: skip
