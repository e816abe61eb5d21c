"""Filter-normalised random directions in the space of the weights, and values along them (Li et al., 2018).

A direction d has one random vector for each filter, scaled to the length of the filter's weights: |d_ij| = |θ_ij|. A
filter is a slice of a weight along its first axis: an output channel of a convolution, or the row of a neuron. Weights
of one axis (biases, normalisation) do not move, as with Li et al. So landscapes of models can be compared whose weights
differ in scale, where scale means nothing to the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lossc.runtime.data import Part
from lossc.runtime.experiments.curvature import Measure
from lossc.runtime.experiments.view import View

Direction = Mapping[str, Tensor]
"""By the names of the weights, and of their shapes."""


def direction(params: Mapping[str, Tensor], stream: torch.Generator) -> dict[str, Tensor]:
    """A filter-normalised random direction: for each slice of a weight along its first axis, a normal random vector of
    the slice's length; zeros for weights of one axis."""
    return {name: _normalised(weight, stream) for name, weight in params.items()}


def _normalised(weight: Tensor, stream: torch.Generator) -> Tensor:
    if weight.ndim < 2 or not weight.numel():
        return torch.zeros_like(weight)
    drawn = torch.randn(weight.shape, generator=stream, dtype=weight.dtype).to(weight.device).flatten(1)
    lengths = weight.flatten(1).norm(dim=1, keepdim=True)
    scaled: Tensor = drawn / drawn.norm(dim=1, keepdim=True) * lengths
    return scaled.view_as(weight)


def moved(params: Mapping[str, Tensor], toward: Direction, by: float) -> dict[str, Tensor]:
    """θ + by d."""
    return {name: weight + by * toward[name] for name, weight in params.items()}


def along(
    view: View, toward: Direction, places: Sequence[float], measures: Mapping[str, Measure], part: Part
) -> dict[str, list[float]]:
    """The values of each measure on a part at θ + a d, for each of the places a."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    for a in places:
        outputs = view.all_outputs(part, moved(view.params, toward, a))
        with torch.no_grad():
            for name, measure in measures.items():
                found[name].append(float(measure(outputs, part.y)))
    return found


def on_plane(
    view: View, towards: Sequence[Direction], places: Sequence[float], measure: Measure, part: Part
) -> list[list[float]]:
    """The values of a measure on a part at θ + a d_0 + b d_1: a row for each b, a place in it for each a."""
    rows = []
    for b in places:
        there = View(view.model, moved(view.params, towards[1], b), view.buffers)
        rows.append(along(there, towards[0], places, {"": measure}, part)[""])
    return rows
