"""What the best losses look like: value and slope over residuals, or over probabilities, beside the usual loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from lossc.compiler.loss import Loss
from lossc.runtime.meta.symbolic import Symbolic
from lossc.runtime.page.drawing import BLUE, FAINT, GREEN, INK, RED, drawn, legend, range_of
from lossc.runtime.page.markup import Markup
from lossc.runtime.search.bench import family_of
from lossc.runtime.search.folder import Run
from lossc.runtime.search.found import Found

POINTS, FEW = 241, 81
LARGE = 60
"""Nodes beyond which a loss is drawn with fewer points: each takes as long as the loss is large."""
_SAME = 1e-6
"""Two curves are one if they differ by less than this share of their range."""

Array = np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Values and slopes of a loss at some points, and what they are of."""

    at: Array
    value: Array
    slope: Array
    label: str


def classes(run: Run) -> bool:
    """Whether the losses are of probabilities."""
    return run.about.get("kind") == "classification"


def curves_of(run: Run, found: Found, *, small: bool = False) -> list[Curve]:
    """Of regression: over the residual, for three targets, or once if the loss depends on the residual alone. Of
    classification: over the probability of the target class, of two."""
    loss, points = _loss(run, found), FEW if small or found.size > LARGE else POINTS
    family, phi = family_of(loss.to_json(), run.config.output), torch.tensor(found.coefficients, dtype=torch.float64)
    if classes(run):
        p = np.linspace(0.01, 0.99, points)
        made = [_point(family, phi, [math.log(q), math.log1p(-q)], [1.0, 0.0]) for q in p.tolist()]
        return [Curve(p, *_columns(made), label="found")]
    residual = np.linspace(-_reach(run), _reach(run), points)
    middle, step = (0.5, 0.5) if _reach(run) == 1 else (0.0, 1.0)
    out = []
    for y in (middle, middle - step, middle + step):
        made = [_point(family, phi, [y + r], [y]) for r in residual.tolist()]
        out.append(Curve(residual, *_columns(made), label=f"y = {y:g}".replace("-", "−")))
    first = out[0]
    if all(_alike(c.value, first.value) and _alike(c.slope, first.slope) for c in out[1:]):
        return [replace(first, label="any y")]
    return out


def shares_of(run: Run, found: Found) -> list[Curve]:
    """Of a classification loss: what one class adds to it, over that class's probability, as target and as none."""
    loss = _loss(run, found)
    alone = replace(loss, y="real", f="real")
    family, phi = family_of(alone.to_json(), run.config.output), torch.tensor(found.coefficients, dtype=torch.float64)
    p = np.linspace(0.01, 0.99, FEW)
    return [
        Curve(p, *_columns([_point(family, phi, [q], [y]) for q in p.tolist()]), label=label)
        for y, label in ((1.0, "target class"), (0.0, "other class"))
    ]


def usual_of(run: Run, at: Array) -> Curve:
    """The loss that is usually trained, at the same points: squared error, or cross entropy."""
    if classes(run):
        return Curve(at, -np.log(at), at - 1, "cross entropy")
    return Curve(at, at**2, 2 * at, "squared error")


def _loss(run: Run, found: Found) -> Loss:
    return run.search.loss(run.search.individuals[found.ticket].expr)


def _reach(run: Run) -> float:
    """Residuals that are looked at: a few deviations of the targets, or their range."""
    return 1.0 if run.about.get("target_scale") == "minmax" else 3.0


def _point(family: Symbolic, phi: torch.Tensor, f: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """The loss of one prediction, and its derivative with respect to the first output."""
    outputs, target = (torch.tensor([list(v)], dtype=torch.float64) for v in (f, y))
    value, slope = family.value_and_slope(outputs, target, phi)
    return float(value), float(slope[0, 0])


def _columns(made: Sequence[tuple[float, float]]) -> tuple[Array, Array]:
    both = np.array(made, dtype=float)
    return both[:, 0], both[:, 1]


def _alike(a: Array, b: Array) -> bool:
    with np.errstate(all="ignore"):
        wide = float(np.nanmax(a) - np.nanmin(a)) if np.isfinite(a).any() else 0.0
        return bool(np.allclose(a, b, rtol=_SAME, atol=_SAME * wide, equal_nan=True))


# -- drawing ----------------------------------------------------------------------------------------------------------

_COLOURS, _STYLES = (BLUE, RED, GREEN), ("-", (0, (4, 1.5)), (0, (1, 1)))


def value_figure(run: Run, curves: Sequence[Curve], name: str) -> Markup:
    """The loss beside the usual one, which is scaled to the same range of values."""
    label = f"The found loss over the {_axis(run)[0]}, beside {usual_of(run, curves[0].at).label}."
    return drawn(name, label, (430, 270), lambda figure: _panel(run, figure.subplots(), curves, slope=False))


def slope_figure(run: Run, curves: Sequence[Curve], name: str) -> Markup:
    """Its derivative, beside that of the usual loss with the same scale."""
    usual = usual_of(run, curves[0].at).label
    label = f"The derivative of the found loss over the {_axis(run)[0]}, beside that of {usual}."
    return drawn(name, label, (430, 270), lambda figure: _panel(run, figure.subplots(), curves, slope=True))


def shares_figure(shares: Sequence[Curve], name: str) -> Markup:
    """What a class adds to the loss."""

    def draw(figure: Any) -> None:
        panel = figure.subplots()
        for curve, colour, style in zip(shares, (BLUE, RED), _STYLES, strict=False):
            _line(panel, curve.at, curve.value, colour, style, curve.label)
        panel.set_xlabel("probability of the class")
        panel.set_ylabel("its part of the loss")
        _limit(panel, [c.value for c in shares])
        legend(panel, columns=2)

    label = "What one class adds to the loss over its probability: as the target class, and as another one."
    return drawn(name, label, (430, 270), draw)


def small_figure(run: Run, curves: Sequence[Curve], name: str, label: str) -> Markup:
    """A loss in small, without words."""

    def draw(figure: Any) -> None:
        panel = figure.subplots()
        _panel(run, panel, curves, slope=False, words=False)
        panel.locator_params(nbins=4)
        panel.tick_params(labelsize=10)

    return drawn(name, label, (200, 140), draw)


def _axis(run: Run) -> tuple[str, str]:
    if classes(run):
        return "probability of the target class (of two)", "probability of the target class (of two)"
    return "residual", "residual f − y"


def _panel(run: Run, panel: Any, curves: Sequence[Curve], *, slope: bool, words: bool = True) -> None:
    usual = usual_of(run, curves[0].at)
    shown = [c.slope if slope else c.value for c in curves]
    scale, shift = scaling(curves[0].value, usual.value)
    beside = usual.slope * scale if slope else usual.value * scale + shift
    if slope:
        panel.axhline(0, color=FAINT, linewidth=0.5, alpha=0.6)
    for curve, values, colour, style in zip(curves, shown, _COLOURS, _STYLES, strict=False):
        _line(panel, curve.at, values, colour, style, curve.label)
    _line(panel, usual.at, beside, INK, (0, (5, 2, 1, 2)), f"{usual.label}, scaled", alpha=0.5, zorder=1)
    _limit(panel, [*shown, beside])
    if words:
        panel.set_xlabel(_axis(run)[1])
        panel.set_ylabel(("dL/d logit" if classes(run) else "dL/df") if slope else "loss L")
        legend(panel, columns=2)


def scaling(values: Array, usual: Array) -> tuple[float, float]:
    """Factor and shift that bring the usual loss to the range that the values have in the middle nine tenths."""
    seen = values[np.isfinite(values)]
    if not len(seen):
        return 1.0, 0.0
    low, high = np.min(seen), np.quantile(seen, 0.95)
    wide = np.quantile(usual, 0.95) - np.min(usual)
    scale = float((high - low) / wide) if high > low else 1.0
    return scale, float(low - scale * np.min(usual))


def _line(panel: Any, at: Array, values: Array, colour: str, style: Any, label: str, **look: Any) -> None:
    shown = np.where(np.isfinite(values), values, np.nan)
    panel.plot(at, shown, color=colour, linestyle=style, label=label, **look)


def _limit(panel: Any, series: Sequence[Array]) -> None:
    """The range of the axis: all of it, but for the steepest ends of what goes to infinity."""
    seen = np.concatenate([s[np.isfinite(s)] for s in series])
    if not len(seen):
        return
    low, high = range_of(seen.tolist(), 0.015, 0.985)
    panel.set_ylim(max(low, float(seen.min()) - (high - low) * 0.1), min(high, float(seen.max()) + (high - low) * 0.1))


def least(curves: Sequence[Curve]) -> dict[str, float]:
    """Where the loss is least, by curve."""
    seen = ((c, np.where(np.isfinite(c.value), c.value, np.nan)) for c in curves)
    return {c.label: float(c.at[int(np.nanargmin(v))]) for c, v in seen if not np.isnan(v).all()}
