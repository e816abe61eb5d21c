"""The cells of the thesis's tables: a task and a base model, a method, and the figure that is printed there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from lossc.runtime.tasks import SGD


@dataclass(frozen=True, slots=True)
class Figure:
    """Mean and standard deviation as printed, and where: over 5 executions in chapter 3, over 10 in chapter 5."""

    mean: float
    std: float
    table: str

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.std:.4f}"


@dataclass(frozen=True, slots=True)
class Setup:
    """A task and base model as a chapter of the thesis sets it up.

    key        "3/diabetes": the chapter, and a name
    sgd        the inner optimiser, if it is not that of the recipe; `lr` its learning rate alone
    published  whether the leaky split of the public code exists for it
    figures    the printed figures, by method; others are ours alone
    to_range   the metric of standardised targets is put into units of their range in training, as "minmax" has it
    """

    key: str
    title: str
    task: str
    model: str
    figures: Mapping[str, Figure] = field(default_factory=dict)
    published: bool = False
    target_scale: str = "standard"
    sgd: SGD | None = None
    lr: float | None = None
    to_range: bool = False

    @property
    def chapter(self) -> int:
        """3 or 5."""
        return int(self.key[0])

    @property
    def methods(self) -> tuple[str, ...]:
        """What is compared, the baseline first."""
        return METHODS[self.chapter]


METHODS = {3: ("baseline", "ml3", "taylor", "symbolic", "taylorglo"), 5: ("baseline", "ml3", "adalfl", "meta-lr")}
LABELS = {
    "baseline": "baseline",
    "ml3": "ML3",
    "taylor": "Taylor, cubic, by gradients (there: TaylorGLO)",
    "symbolic": "symbolic, φ by gradients (there: EvoMAL)",
    "taylorglo": "TaylorGLO (CMA-ES)",
    "adalfl": "AdaLFL",
    "meta-lr": "Meta-LR",
}
FORMULAS = {"regression": "evomal_j", "classification": "evomal_a"}
"""The formula whose coefficients "symbolic" learns: the simplest of Table 4.1 for each kind, chosen beforehand."""


_PLAIN = SGD(lr=0.001)
"""Section 5.4.3: regression models with α = 0.001; momentum and weight decay for images in colour only."""


def _figures(table: str, *values: float) -> dict[str, Figure]:
    """Means and deviations in turn, as a row of Table 3.2 or 3.3 has them: baseline, ML3, TaylorGLO, EvoMAL."""
    pairs = zip(values[::2], values[1::2], strict=True)
    baseline, ml3, taylor, evomal = (Figure(m, s, table) for m, s in pairs)
    return {"baseline": baseline, "ml3": ml3, "taylor": taylor, "symbolic": evomal, "taylorglo": taylor}


def _online(*values: float) -> dict[str, Figure]:
    """Baseline, ML3 and AdaLFL of Table 5.2, and Meta-LR of Table 5.4."""
    pairs = zip(values[::2], values[1::2], strict=True)
    tables = ("5.2", "5.2", "5.2", "5.4")
    return {k: Figure(m, s, t) for k, (m, s), t in zip(METHODS[5], pairs, tables, strict=True)}


def _tabular(name: str, task: str, title: str, figures: dict[str, Figure], lr: float | None = None) -> Setup:
    """A regression task of chapter 3."""
    return Setup(f"3/{name}", f"{title}, MLP", task, "mlp", figures, published=True, lr=lr)


def _tabular_online(task: str, title: str, figures: dict[str, Figure]) -> tuple[Setup, Setup]:
    """A regression task of chapter 5, whose figures look like those of targets in 0..1: trained on such ones, and
    trained on standardised ones with the error put into the same units."""
    whole = Setup(f"5/{task}", f"{title}, MLP", task, "mlp", figures, task != "crime", "minmax", _PLAIN)
    name = f"{title}, MLP, standardised targets"
    return whole, replace(whole, key=f"5/{task}-standard", title=name, target_scale="standard", to_range=True)


def _mnist(chapter: int, model: str, title: str, figures: dict[str, Figure]) -> Setup:
    return Setup(f"{chapter}/mnist-{model}", f"MNIST, {title}", "mnist", model, figures)


_CALIFORNIA = _figures("3.3", 0.2326, 0.0019, 0.2438, 0.0189, 0.1794, 0.0156, 0.1723, 0.0048)
_SETUPS = (
    _tabular("diabetes", "diabetes", "Diabetes",
             _figures("3.3", 0.3829, 0.0065, 0.4278, 0.1080, 0.3620, 0.0096, 0.3573, 0.0198)),
    _tabular("boston", "boston", "Boston",
             _figures("3.3", 0.1304, 0.0057, 0.2474, 0.0526, 0.1349, 0.0074, 0.1314, 0.0131)),
    _tabular("california", "california", "California", _CALIFORNIA),
    _tabular("california-half", "california", "California at half the learning rate", _CALIFORNIA, lr=0.005),
    _mnist(3, "logistic", "logistic", _figures("3.2", 0.0787, 0.0009, 0.0768, 0.0061, 0.0725, 0.0013, 0.0721, 0.0017)),
    _mnist(3, "mlp", "MLP", _figures("3.2", 0.0247, 0.0005, 0.0201, 0.0081, 0.0151, 0.0013, 0.0152, 0.0012)),
    _mnist(3, "lenet5", "LeNet-5", _figures("3.2", 0.0203, 0.0025, 0.0135, 0.0039, 0.0137, 0.0038, 0.0100, 0.0010)),
    *_tabular_online("crime", "Crime", _online(0.0274, 0.0017, 0.0270, 0.0025, 0.0263, 0.0023, 0.0274, 0.0018)),
    *_tabular_online("diabetes", "Diabetes", _online(0.0432, 0.0013, 0.0430, 0.0012, 0.0420, 0.0014, 0.0463, 0.0013)),
    *_tabular_online("california", "California",
                    _online(0.0157, 0.0001, 0.0276, 0.0058, 0.0151, 0.0007, 0.0154, 0.0004)),
    _mnist(5, "logistic", "logistic", _online(0.0766, 0.0009, 0.0710, 0.0010, 0.0697, 0.0010, 0.0756, 0.0008)),
    _mnist(5, "mlp", "MLP", _online(0.0203, 0.0006, 0.0185, 0.0004, 0.0184, 0.0006, 0.0192, 0.0007)),
    _mnist(5, "lenet5", "LeNet-5", _online(0.0125, 0.0007, 0.0094, 0.0005, 0.0091, 0.0004, 0.0097, 0.0013)),
)  # fmt: skip
SETUPS: Mapping[str, Setup] = {s.key: s for s in _SETUPS}
