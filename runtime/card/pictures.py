"""The pictures of a card: loss, gradient and second derivative over the prediction, and families."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from lossc.compiler.analysis.analyze import Analysis
from lossc.compiler.errors import LosscError
from lossc.compiler.literals import write_number
from lossc.compiler.loss import Loss, Parameter
from lossc.compiler.roles import ROLES
from lossc.runtime.page.drawing import BLUE, FAINT, GREEN, INK, ORANGE, PURPLE, RED, drawn, figure
from lossc.runtime.page.markup import Markup, joined, tag
from lossc.runtime.pictures.curves import draw_view, size_of
from lossc.runtime.pictures.family import family
from lossc.runtime.pictures.sample import GRAD, HESS, LOSS, View, view_of
from lossc.runtime.pictures.style import Palette

PAGE = Palette(INK, FAINT, "none", (BLUE, RED, GREEN, PURPLE, ORANGE))
"""The colours of the page, by which its style sheet makes them suit light and dark."""
DOTS = 72


def section(found: Analysis) -> Markup | None:
    """What can be drawn of the loss."""
    parts = [_curves(found.loss, found.verdicts.classes)]
    parts += [_family(found.loss, p, found.verdicts.classes) for p in found.loss.params if p.default is not None]
    shown = [p for p in parts if p is not None]
    return joined(shown) if shown else tag("p", "There is nothing to draw.", class_="note")


def _curves(loss: Loss, classes: int) -> Markup | None:
    return _picture("curves", [loss], [loss.name], (LOSS, GRAD, HESS), classes,
                    "Loss, gradient and second derivative. Circles are kinks.")  # fmt: skip


def _family(loss: Loss, p: Parameter, classes: int) -> Markup | None:
    """The loss at a few values of a hyper-parameter around its default."""
    values = [write_number(v) for v in spread(p)]
    try:
        losses, labels = family(loss, {p.name: values})
    except LosscError:
        return None
    return _picture(f"family-{p.name}", losses, labels, (LOSS, GRAD), classes, f"The same at values of {p.name}.")


def spread(p: Parameter) -> list[Fraction]:
    """A few values of a hyper-parameter, the default among them, as its role allows."""
    default = p.default if p.default is not None else Fraction(1)
    bounds = ROLES[p.role].range
    if bounds.hi == 1.0:
        found = [Fraction(0), Fraction(1, 10), Fraction(3, 10), Fraction(1, 2), Fraction(9, 10), default]
    elif default == 0:
        found = [default, Fraction(1, 2), Fraction(1), Fraction(2)]
    else:
        found = [default / 4, default / 2, default, default * 2]
    return sorted({v for v in found if bounds.lo <= v <= bounds.hi})


def _picture(name: str, losses: Sequence[Loss], labels: Sequence[str], what: Sequence[str], classes: int,
             caption: str) -> Markup | None:  # fmt: skip
    try:
        view = view_of(losses, what, labels=labels, classes=classes)
    except LosscError:
        return None
    width, height = size_of(view)
    made = drawn(name, caption, (width * DOTS, height * DOTS), lambda fig: draw_view(fig, view, PAGE))
    return figure(made, f"{caption} {_axes(view)}")


def _axes(view: View) -> str:
    titles = [p.title for p in view.panels if p.title]
    return f"Panels: {', '.join(titles)}." if titles else ""
