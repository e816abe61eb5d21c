"""Figures of losses as the bytes of a file, and as elements of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from lossc.runtime.page.drawing import drawn
from lossc.runtime.page.markup import Markup
from lossc.runtime.plots.family import Losses, Number
from lossc.runtime.plots.limits import Range
from lossc.runtime.plots.panels import draw, size_of
from lossc.runtime.plots.picture import BY_TARGET, CLASSES, Picture, picture
from lossc.runtime.plots.style import PAGE, Theme, saved, theme_of
from lossc.runtime.plots.surfaces import Surfaces, draw_surfaces, size_of_surfaces
from lossc.runtime.plots.tracks import QUANTITIES

if TYPE_CHECKING:
    from lossc.runtime.plots.fits import Fits

Drawable: TypeAlias = Picture | Surfaces

DOTS = 100
"""Pixels of a page in an inch."""


def figure(
    losses: Losses, *, what: Sequence[str] = QUANTITIES, params: Mapping[str, Sequence[Number]] | None = None,
    theme: str = "light", suffix: str = "png", targets: Sequence[float] = (), classes: int = CLASSES,
    ranges: Mapping[str, Range] | None = None, panels: str = BY_TARGET,
) -> bytes:  # fmt: skip
    """One or more losses as a PNG, SVG or PDF file: the same bytes for the same losses.

    The other arguments and the errors are those of `picture`; UsageError (L260) too for an unknown theme or format.
    """
    theme_of(theme)
    made = picture(losses, what=what, params=params, targets=targets, classes=classes, ranges=ranges, panels=panels)
    return as_file(made, theme, suffix)


def compare_figure(losses: Losses, what: Sequence[str] = QUANTITIES[:2], **how: Any) -> bytes:
    """Several losses over one axis, a line each: `figure` of their values and gradients."""
    return figure(losses, what=what, **how)


def as_file(made: Drawable, theme: str = "light", suffix: str = "png", fits: Fits | None = None) -> bytes:
    """A picture or surfaces as a file; with what was learned with the losses below, if that is given."""
    colours = theme_of(theme)
    width, height = size(made)
    if fits is None:
        return saved((width, height), lambda canvas: drawn_into(canvas, made, colours), suffix, colours)
    from lossc.runtime.plots.fits import HEIGHT, draw_fits

    def both(canvas: Any) -> None:
        above, below = canvas.subfigures(2, 1, height_ratios=(height, HEIGHT), hspace=0.03)
        drawn_into(above, made, colours)
        draw_fits(below, fits, colours)

    return saved((width, height + HEIGHT), both, suffix, colours)


def size(made: Drawable) -> tuple[float, float]:
    """The size of a figure in inches."""
    return size_of(made) if isinstance(made, Picture) else size_of_surfaces(made)


def drawn_into(canvas: Any, made: Drawable, theme: Theme) -> None:
    """Draw a picture, or surfaces, into a figure of Matplotlib."""
    if isinstance(made, Picture):
        draw(canvas, made, theme)
    else:
        draw_surfaces(canvas, made, theme)


def embedded(made: Picture, name: str) -> Markup:
    """A picture as an element of a page, in the colours of its style sheet, without its title.

    `name` is that of no other figure of the page; what can be seen is said for who cannot see it (`Picture.describe`).
    """
    bare = replace(made, title="")
    width, height = size_of(bare)
    return drawn(name, made.describe(), (width * DOTS, height * DOTS), lambda canvas: draw(canvas, bare, PAGE))
