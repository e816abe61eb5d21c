"""Models that are a stack of linear layers and activations: their derivatives by hand, without a graph.

A layer is z = a Wᵀ + b; between layers stands an elementwise activation a = σ(z). The engines that know no more of a
model than this need σ, σ' and σ'' only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lossc.runtime.meta.episode import Episode


@dataclass(frozen=True, slots=True)
class Activation:
    """An elementwise function with its derivatives: `slope(z, a)` is σ'(z) and `curve(z, a)` σ''(z), with a = σ(z)."""

    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor, Tensor], Tensor]
    curve: Callable[[Tensor, Tensor], Tensor] | None


IDENTITY = Activation(lambda z: z, lambda z, a: torch.ones_like(z), None)
_KINDS: dict[type[nn.Module], Activation] = {
    nn.Identity: IDENTITY,
    nn.ReLU: Activation(torch.relu, lambda z, a: (a > 0).to(z.dtype), None),
    nn.Tanh: Activation(torch.tanh, lambda z, a: 1 - a * a, lambda z, a: -2 * a * (1 - a * a)),
    nn.Sigmoid: Activation(torch.sigmoid, lambda z, a: a * (1 - a), lambda z, a: a * (1 - a) * (1 - 2 * a)),
}


@dataclass(frozen=True, slots=True)
class Layer:
    """The names of a layer's weights in the model ("" for no bias), and the activation before it; None: its inputs."""

    weight: str
    bias: str
    before: Activation | None


def layers_of(model: nn.Module) -> tuple[Layer, ...]:
    """The layers of a model that is such a stack; none if it is anything else."""
    found: list[Layer] = []
    pending: Activation | None = None
    for name, module in _flat(model, ""):
        kind = type(module)
        if kind is nn.Linear:
            linear_bias = name + ".bias" if module.bias is not None else ""
            found.append(Layer((name + ".weight").lstrip("."), linear_bias.lstrip("."), pending if found else None))
            if len(found) > 1 and pending is None:
                found[-1] = Layer(found[-1].weight, found[-1].bias, IDENTITY)
            pending = None
        elif kind is nn.Flatten and not found and module.start_dim == 1 and module.end_dim == -1:
            continue
        elif kind in _KINDS and found and pending is None:
            pending = _KINDS[kind]
        elif not (kind is nn.Dropout and module.p == 0) and kind is not nn.Identity:
            return ()
    return tuple(found) if pending is None or pending is IDENTITY else ()


def _flat(model: nn.Module, prefix: str) -> list[tuple[str, nn.Module]]:
    if type(model) is nn.Sequential:
        return [pair for name, child in model.named_children() for pair in _flat(child, f"{prefix}.{name}".lstrip("."))]
    return [(prefix, model)]


def why_not_a_stack(episode: Episode) -> str:
    """Why an episode's model is no stack that can be treated by hand, or ""."""
    layers = layers_of(episode.model)
    if not layers:
        return "the model is not a stack of linear layers and ReLU, tanh or sigmoid"
    names = {n for layer in layers for n in (layer.weight, layer.bias) if n}
    if names != set(episode.params) or len({id(p) for p in episode.params.values()}) != len(names):
        return "its weights are shared, or not those of its layers"
    if any(p._forward_hooks or p._forward_pre_hooks for p in episode.model.modules()):
        return "the model has hooks"
    return ""


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """A forward pass: the input of every layer, σ' there (None for the first), σ'' where there is one, the outputs."""

    inputs: list[Tensor]
    slopes: list[Tensor | None]
    curves: list[Tensor | None]
    outputs: Tensor


def forward(layers: tuple[Layer, ...], params: dict[str, Tensor], x: Tensor, *, curves: bool = False) -> Trace:
    """The outputs of the stack for x [n, ...], and what its derivatives need."""
    a = x.flatten(1)
    inputs: list[Tensor] = []
    slopes: list[Tensor | None] = []
    bends: list[Tensor | None] = []
    z = a
    for layer in layers:
        if layer.before is not None:
            a = layer.before.value(z)
            slopes.append(layer.before.slope(z, a))
            bends.append(layer.before.curve(z, a) if curves and layer.before.curve else None)
        else:
            slopes.append(None)
            bends.append(None)
        inputs.append(a)
        w = params[layer.weight]
        z = torch.addmm(params[layer.bias], a, w.t()) if layer.bias else a @ w.t()
    return Trace(inputs, slopes, bends, z)


def backward(layers: tuple[Layer, ...], params: dict[str, Tensor], trace: Trace, last: Tensor) -> list[Tensor]:
    """The derivative with respect to every z, given that with respect to the outputs; layer by layer."""
    deltas = [last]
    for i in range(len(layers) - 1, 0, -1):
        slope = trace.slopes[i]
        assert slope is not None
        deltas.append((deltas[-1] @ params[layers[i].weight]).mul_(slope))
    return deltas[::-1]
