"""The pictures of a card: loss, gradient and second derivative over the prediction, and families."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from lossc.compiler.analysis.analyze import Analysis
from lossc.compiler.errors import LosscError
from lossc.compiler.loss import Loss, Parameter
from lossc.compiler.roles import ROLES
from lossc.runtime.page.drawing import figure
from lossc.runtime.page.markup import Markup, joined, tag
from lossc.runtime.plots import embedded, picture


def section(found: Analysis) -> Markup | None:
    """What can be drawn of the loss: its curves, and a family for each hyper-parameter."""
    loss, classes = found.loss, found.verdicts.classes
    families = [
        _picture(f"family-{p.name}", loss, ("loss", "grad"), {p.name: spread(p)}, classes)
        for p in loss.params if p.default is not None
    ]  # fmt: skip
    parts = [_picture("curves", loss, ("loss", "grad", "hess"), {}, classes), *families]
    shown = [p for p in parts if p is not None]
    return joined(shown) if shown else tag("p", "There is nothing to draw.", class_="note")


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


def _picture(
    name: str, loss: Loss, what: Sequence[str], params: Mapping[str, Sequence[Fraction]], classes: int
) -> Markup | None:
    try:
        made = picture(loss, what=what, params=params, classes=classes)
    except LosscError:
        return None
    return figure(embedded(made, name), made.describe())
