"""A small neural network as a loss: ML3 (Bechtle et al. 2021) and AdaLFL (thesis, section 5.2.2).

The network sees one output at a time, ℓ_φ(y_i, f_i), so it does not depend on how many there are; a loss is the sum
over the outputs (public EvoMAL code) or their mean (thesis, eq. 5.3), and the mean over the rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lossc.compiler.errors import UsageError
from lossc.compiler.passes.parameterize import LEAK, SHARPNESS
from lossc.compiler.targets.neural import NeuralSpec, emit_neural
from lossc.runtime.data import generator
from lossc.runtime.meta.representation import LossRepresentation


def smooth_leaky_relu(x: Tensor) -> Tensor:
    """log(exp(βx) + 1)(1 - γ)/β + γx with γ = 0.01, β = 10 (thesis, eq. 5.7)."""
    return -functional.logsigmoid(-SHARPNESS * x) * ((1 - LEAK) / SHARPNESS) + LEAK * x


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,
    "relu": torch.relu,
    "softplus": lambda x: -functional.logsigmoid(-x),
    "smooth-leaky-relu": smooth_leaky_relu,
}


@dataclass(frozen=True, slots=True)
class Shape:
    """How the network is built; the defaults are the ML3 network of the thesis's code: 2-50-50-1 without biases.

    inputs      what f is to the network: the model's "scores", or "softmax" or "sigmoid" of them
    reduction   over the outputs of a row: "sum" or "mean"
    """

    hidden: tuple[int, ...] = (50, 50)
    activation: str = "relu"
    output: str = "softplus"
    bias: bool = False
    inputs: str = "scores"
    reduction: str = "sum"


ML3 = Shape()
ADALFL = Shape(hidden=(40, 40), activation="smooth-leaky-relu", output="smooth-leaky-relu", reduction="mean")
"""2-40-40-1, smooth leaky ReLU throughout, mean over the outputs (thesis, sections 5.2.2 and 5.2.3, eq. 5.3). The
thesis does not say whether there are biases; its code's nearest relative has none."""


class NeuralLoss(LossRepresentation):
    """A feed-forward loss network ℓ_φ: R² -> R."""

    name = "mlp"

    def __init__(self, shape: Shape = ML3) -> None:
        known = {"activation": ACTIVATIONS, "output": ACTIVATIONS, "inputs": _LINKS, "reduction": ("sum", "mean")}
        for key, allowed in known.items():
            if getattr(shape, key) not in allowed:
                raise UsageError("L250", f"`{getattr(shape, key)}` is not a choice for the network's {key}",
                                 expected="one of: " + ", ".join(allowed))  # fmt: skip
        self.shape = shape
        self.widths = (2, *shape.hidden, 1)
        self.size = sum(a * b + (b if shape.bias else 0) for a, b in zip(self.widths, self.widths[1:], strict=False))

    def initial(self, seed: int) -> Tensor:
        """Weights N(0, 2/fan_in) (He et al. 2015), biases 0."""
        stream = generator(seed, "phi")
        parts: list[Tensor] = []
        for wide, narrow in zip(self.widths, self.widths[1:], strict=False):
            scale = math.sqrt(2.0 / wide)
            parts.append(scale * torch.randn(narrow * wide, generator=stream, dtype=torch.float64))
            if self.shape.bias:
                parts.append(torch.zeros(narrow, dtype=torch.float64))
        return torch.cat(parts)

    def layers(self, phi: Tensor) -> list[tuple[Tensor, Tensor | None]]:
        """The weights [out, in] and biases [out] that the vector holds."""
        out: list[tuple[Tensor, Tensor | None]] = []
        place = 0
        for wide, narrow in zip(self.widths, self.widths[1:], strict=False):
            w = phi[place : place + wide * narrow].view(narrow, wide)
            place += wide * narrow
            b = phi[place : place + narrow] if self.shape.bias else None
            place += narrow if self.shape.bias else 0
            out.append((w, b))
        return out

    def entries(self, y: Tensor, f: Tensor, phi: Tensor) -> Tensor:
        """ℓ_φ(y, f), entry by entry, of targets and (linked) predictions of one shape."""
        h = torch.stack((y.reshape(-1), f.reshape(-1)), dim=1)
        layers = self.layers(phi.to(f.dtype))
        for i, (w, b) in enumerate(layers):
            h = functional.linear(h, w, b)
            h = ACTIVATIONS[self.shape.activation if i < len(layers) - 1 else self.shape.output](h)
        return h.view(f.shape)

    def plain(self, outputs: Tensor, target: Tensor, phi: Tensor) -> Tensor:
        """The mean over the rows."""
        value = self.entries(target, _LINKS[self.shape.inputs](outputs), phi)
        return value.mean() * (outputs.shape[1] if self.shape.reduction == "sum" else 1)

    def describe(self, phi: Tensor) -> str:
        """The architecture; a network has no formula."""
        del phi
        widths = "-".join(map(str, self.widths))
        return f"network {widths}, {self.shape.activation}, output {self.shape.output}, {self.size:,} weights"

    def emit(self, phi: Tensor, name: str, doc: str = "") -> str:
        """A standalone PyTorch file with these weights."""
        layers = [(w.tolist(), [] if b is None else b.tolist()) for w, b in self.layers(phi.detach().double())]
        spec = NeuralSpec(layers, self.shape.activation, self.shape.output, self.shape.inputs, self.shape.reduction)
        return emit_neural(spec, name, doc)

    def settings(self) -> dict[str, Any]:
        """The shape."""
        return {"representation": self.name, **asdict(self.shape), "hidden": list(self.shape.hidden)}


_LINKS: dict[str, Callable[[Tensor], Tensor]] = {
    "scores": lambda f: f,
    "softmax": lambda f: torch.softmax(f, dim=1),
    "sigmoid": torch.sigmoid,
}
