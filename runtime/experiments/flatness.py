"""How flat a trained model's surroundings are, in a few numbers: the smaller, the flatter.

The rises are along filter-normalised directions, and so the same for models that differ only in the scale of a layer
which the next one undoes. The curvatures are not (Dinh et al., 2017): they are what SGD meets at these weights.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from enum import StrEnum

from torch import nn

from lossc.runtime.data import Part, generator
from lossc.runtime.experiments.curvature import Measure, top_eigenvalue, trace
from lossc.runtime.experiments.directions import Direction, along
from lossc.runtime.experiments.view import View


class Flatness(StrEnum):
    """The figures, by their names in JSON."""

    rise = "rise"
    test_rise = "test_rise"
    top = "top_eigenvalue"
    trace = "trace"
    own_top = "own_top_eigenvalue"


MEANING: Mapping[Flatness, str] = {
    Flatness.rise: "of the common measure in training: the mean at `within` along a direction, both ways, less it here",
    Flatness.test_rise: "the same of the test part",
    Flatness.top: "the eigenvalue of largest magnitude of the Hessian of the common measure in training",
    Flatness.trace: "of that Hessian, estimated with random signs",
    Flatness.own_top: "the eigenvalue of largest magnitude of the Hessian of the loss itself in training",
}


def flatness(
    view: View,
    loss: nn.Module,
    common: Measure,
    train: Part,
    test: Part,
    towards: Sequence[Direction],
    within: float,
    seed: int,
) -> dict[Flatness, float]:
    """The figures of one trained model, on samples of the training and the test part.

    The random vectors of the curvatures are a function of the seed: the same for every loss.
    """
    return {
        Flatness.rise: rise(view, common, train, towards, within),
        Flatness.test_rise: rise(view, common, test, towards, within),
        Flatness.top: top_eigenvalue(common, view, train, generator(seed, "curvature")),
        Flatness.trace: trace(common, view, train, generator(seed, "trace")),
        Flatness.own_top: top_eigenvalue(loss, view, train, generator(seed, "curvature")),
    }


def rise(view: View, measure: Measure, part: Part, towards: Sequence[Direction], within: float) -> float:
    """The mean of L(θ ± within d) over the directions d and both signs, less L(θ)."""
    values = [along(view, d, (-within, 0.0, within), {"": measure}, part)[""] for d in towards]
    return statistics.fmean((before + after) / 2 - here for before, here, after in values)
