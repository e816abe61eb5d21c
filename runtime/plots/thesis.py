"""The figures of the thesis that show losses, each as the arguments of `lossc plot` that draw it anew.

J. Raymond, *Meta-Learning Loss Functions for Deep Neural Networks*: figures 1.3, 4.1, 4.4, 4.5, 4.6, 4.8, 4.12, 4.13.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lossc.compiler.errors import UsageError
from lossc.compiler.loss import Loss
from lossc.grammar.library import named
from lossc.runtime.plots.picture import BY_LOSS, BY_TARGET
from lossc.runtime.plots.tracks import GRADIENT, VALUE


@dataclass(frozen=True)
class ThesisFigure:
    """A figure by its number: what it shows, of which named losses, and how."""

    number: str
    caption: str
    names: tuple[str, ...]
    what: tuple[str, ...] = (VALUE,)
    params: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)
    panels: str = BY_TARGET
    fit: bool = False

    @property
    def losses(self) -> dict[str, Loss]:
        """The losses, with the hyper-parameters that are fixed."""
        return {name: named(name).with_defaults(**self.fixed) for name in self.names}

    @property
    def command(self) -> str:
        """The command that draws it without knowing the thesis."""
        words = ["lossc plot", *self.names, "--what", ",".join(self.what)]
        words += [f"--params {name}={','.join(values)}" for name, values in self.params.items()]
        words += [f"--set {name}={value}" for name, value in self.fixed.items()]
        words += [f"--panels {self.panels}"] if self.panels != BY_TARGET else []
        return " ".join([*words, "--fit"] if self.fit else words)


_XI = {"xi": ("0", "0.05", "0.1", "0.2", "0.4")}
_GAMMA = {"gamma": ("0", "0.5", "1", "2", "5")}
FIGURES: dict[str, ThesisFigure] = {
    figure.number: figure
    for figure in (
        ThesisFigure(
            "1.3", "The losses of Table 1.1 and their derivatives; below, what small networks learn with them, and how "
            "fast.", ("mse", "pseudo_huber", "cauchy", "geman_mcclure", "welsch"), (VALUE, GRADIENT), fit=True,
        ),
        ThesisFigure(
            "4.1", "The losses of Table 4.1, found by EvoMAL: of classification above, of regression below.",
            tuple(f"evomal_{letter}" for letter in "abcdefghij"), panels=BY_LOSS,
        ),
        ThesisFigure("4.4", "Cross-entropy, and absolute cross-entropy.", ("cross_entropy", "ace"), panels=BY_LOSS),
        ThesisFigure("4.5", "Absolute cross-entropy, by φ₁.", ("ace_phi",), params={
            "phi1": ("1", "1.1", "1.25", "1.5", "2"),
        }),
        ThesisFigure("4.6", "Label smoothing, by ξ.", ("label_smoothing",), params=_XI),
        ThesisFigure("4.8", "Sparse label smoothing, by ξ.", ("sparse_lsr",), params=_XI),
        ThesisFigure("4.12", "Focal loss, by γ.", ("focal",), params=_GAMMA),
        ThesisFigure("4.13", "Focal loss with sparse label smoothing, by γ.", ("focal_sparse_lsr",), params=_GAMMA,
                     fixed={"xi": "0.2"}),
    )
}  # fmt: skip
"""By number."""


def thesis_figure(number: str) -> ThesisFigure:
    """The figure of that number. Raises UsageError (L260) if it shows no losses."""
    if number not in FIGURES:
        raise UsageError(
            "L260", f"figure {number[:20]} of the thesis shows no losses", expected="one of: " + ", ".join(FIGURES)
        )
    return FIGURES[number]
