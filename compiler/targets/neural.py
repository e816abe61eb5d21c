"""A learned loss network (ML3, AdaLFL) as a standalone PyTorch file: it has no formula, so its weights are the code.

The file needs torch alone, is the same to the byte for the same weights, and tests itself: `python file.py` compares
values that were computed in float64 by the plain definition, here, without torch.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from lossc._version import __version__
from lossc.compiler.passes.parameterize import LEAK, SHARPNESS

Layer = tuple[Sequence[Sequence[float]], Sequence[float]]

SOFT_SHARE = (1 - LEAK) / SHARPNESS
"""What softplus(SHARPNESS x) counts in the smooth leaky ReLU."""
_TORCH = {
    "identity": "{0}",
    "relu": "torch.relu({0})",
    "softplus": "-torch.nn.functional.logsigmoid(-{0})",
    "smooth-leaky-relu": (
        f"-torch.nn.functional.logsigmoid({-float(SHARPNESS)} * {{0}}) * {SOFT_SHARE} + {LEAK} * {{0}}"
    ),
}
_LINK = {"scores": "{0}", "softmax": "torch.softmax({0}, dim=1)", "sigmoid": "torch.sigmoid({0})"}


_TAKEN = frozenset({"entries", "golden", "biases", "weights", "nn", "torch", "loss", "self_test", "annotations"})
"""Names that the file uses itself."""


@dataclass(frozen=True, slots=True)
class NeuralSpec:
    """A loss network ℓ(y, f): layers of weights [out][in] and biases [out] (empty for none), and what stands around."""

    layers: Sequence[Layer]
    activation: str
    output: str
    inputs: str
    reduction: str


def emit_neural(spec: NeuralSpec, name: str = "learned", doc: str = "") -> str:
    """The source text of the file; `name` is an identifier."""
    if name in _TAKEN:
        name += "_loss"
    cls = "".join(part.capitalize() for part in name.split("_")) + "Loss"
    head = "from __future__ import annotations\n\nimport torch\nfrom torch import Tensor, nn"
    parts = [
        f'{_header(spec, name, doc)}\n\n{head}\n\n__all__ = ["{cls}", "Loss", "{name}"]',
        "# fmt: off\nWEIGHTS = [\n"
        + "".join(_matrix(w) for w, _ in spec.layers)
        + "]\nBIASES = [\n"
        + "".join(f"    [{_row(b)}],\n" for _, b in spec.layers)
        + "]\n# fmt: on",
        _function(spec, name),
        _module(name, cls),
        f"Loss = {cls}",
        _selftest(cls, _golden(spec)),
    ]
    return "\n\n\n".join(parts) + "\n"


def value(spec: NeuralSpec, y: float, f: float) -> float:
    """ℓ(y, f) in Python's floats: the oracle of the file's self-test."""
    h = [y, f]
    for i, (w, b) in enumerate(spec.layers):
        h = [math.fsum(a * x for a, x in zip(row, h, strict=True)) + (b[j] if b else 0.0) for j, row in enumerate(w)]
        h = [_activate(spec.activation if i < len(spec.layers) - 1 else spec.output, z) for z in h]
    return h[0]


def _activate(kind: str, z: float) -> float:
    if kind == "relu":
        return max(z, 0.0)
    if kind == "identity":
        return z
    sharp = float(SHARPNESS) if kind == "smooth-leaky-relu" else 1.0
    soft = max(sharp * z, 0.0) + math.log1p(math.exp(-abs(sharp * z)))
    return soft if kind == "softplus" else SOFT_SHARE * soft + LEAK * z


def _golden(spec: NeuralSpec) -> list[tuple[float, float, float]]:
    grid = (0.0, 0.1, 0.5, 0.9, 1.0) if spec.inputs != "scores" else (-2.0, -0.5, 0.0, 0.7, 1.5)
    return [(y, f, value(spec, y, f)) for y in (0.0, 1.0) for f in grid]


def _header(spec: NeuralSpec, name: str, doc: str) -> str:
    widths = "-".join(str(len(w[0])) for w, _ in spec.layers) + f"-{len(spec.layers[-1][0])}"
    said = " ".join(doc.replace("\\", " ").replace('"', "'").split())
    about = textwrap.fill(said, 110) + "\n\n" if said else ""
    link = "scores" if spec.inputs == "scores" else f"scores, of which the loss takes the {spec.inputs}"
    return (
        f'"""{name}: a learned loss network, emitted by lossc {__version__}.\n\n{about}'
        f"architecture  {widths}, {spec.activation}, output {spec.output}\n"
        f"target y      values of the input's shape, or class indices [n]\n"
        f"prediction f  [n, C] {link}\n"
        f"reduction     the {spec.reduction} over the outputs of a row, then as `reduction` says over the rows\n\n"
        f'Run this file to test it.\n"""'
    )


def _matrix(w: Sequence[Sequence[float]]) -> str:
    rows = "".join(f"        [{_row(r)}],\n" for r in w)
    return f"    [\n{rows}    ],\n"


def _row(values: Sequence[float]) -> str:
    return ", ".join(repr(float(v)) for v in values)


def _function(spec: NeuralSpec, name: str) -> str:
    over = "sum" if spec.reduction == "sum" else "mean"
    hidden, last = _TORCH[spec.activation].format("z"), _TORCH[spec.output].format("z")
    return f'''def entries(y: Tensor, f: Tensor, weights: list[Tensor], biases: list[Tensor]) -> Tensor:
    """The network at each pair of target and prediction, in their shape."""
    h = torch.stack((y.reshape(-1), f.reshape(-1)), dim=1)
    for i in range(len(weights)):
        z = nn.functional.linear(h, weights[i].to(h.dtype), biases[i].to(h.dtype) if len(biases[i]) else None)
        if i < len(weights) - 1:
            h = {hidden}
    return ({last}).view(f.shape)


def {name}(input: Tensor, target: Tensor, weights: list[Tensor], biases: list[Tensor]) -> Tensor:
    """The loss of each row, [n]."""
    if not target.is_floating_point():
        target = nn.functional.one_hot(target, input.shape[1])
    f = {_LINK[spec.inputs].format("input")}
    return entries(target.to(f.dtype), f, weights, biases).view(len(input), -1).{over}(dim=1)'''


def _module(name: str, cls: str) -> str:
    return f'''class {cls}(nn.Module):
    """The loss as a module; its weights are buffers, and do not train."""

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"reduction must be mean, sum or none, got {{reduction!r}}")
        self.reduction = reduction
        for i in range(len(WEIGHTS)):
            self.register_buffer(f"weight{{i}}", torch.tensor(WEIGHTS[i], dtype=torch.float64))
            self.register_buffer(f"bias{{i}}", torch.tensor(BIASES[i], dtype=torch.float64))

    def layers(self) -> tuple[list[Tensor], list[Tensor]]:
        """Weights [out, in] and biases [out] of the layers."""
        numbers = range(len(WEIGHTS))
        return [getattr(self, f"weight{{i}}") for i in numbers], [getattr(self, f"bias{{i}}") for i in numbers]

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of a batch: input [n, C] (or [n, 1]), target [n, C], or class indices [n]."""
        rows = {name}(input, target, *self.layers())
        return rows if self.reduction == "none" else rows.mean() if self.reduction == "mean" else rows.sum()'''


def _selftest(cls: str, checks: list[tuple[float, float, float]]) -> str:
    golden = "".join(f"    ({y!r}, {f!r}, {v!r}),\n" for y, f, v in checks)
    return f'''GOLDEN = [
{golden}]
"""(target, prediction, value of the network), computed in Python."""


def self_test() -> None:
    """Compare with the golden values; SystemExit if one differs."""
    loss = {cls}()
    weights, biases = loss.layers()
    for y, f, want in GOLDEN:
        pair = torch.tensor([y, f], dtype=torch.float64)
        got = float(entries(pair[0], pair[1], weights, biases))
        if not abs(got - want) <= 1e-9 * max(1.0, abs(want)):
            raise SystemExit(f"{cls} at ({{y}}, {{f}}) is {{got}}, and should be {{want}}")
    print(f"{cls}: {{len(GOLDEN)}} values agree")


if __name__ == "__main__":
    self_test()'''
