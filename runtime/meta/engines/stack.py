"""Models that are a stack of linear layers and activations: their derivatives by hand, without a graph.

A layer is z = a Wᵀ + b; between layers stands an elementwise activation a = σ(z) whose derivatives follow from a. The
engines that know no more of a model than this need σ, σ' and σ'' only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lossc.runtime.meta.episode import Episode


@dataclass(frozen=True, slots=True)
class Activation:
    """An elementwise function a = σ(z), with its derivatives as functions of a, one operation of torch each.

    pull    g σ'(z) for g and a; g may have further dimensions before those of a
    curve   σ''(z) / σ'(z), or None where that is 0
    """

    value: Callable[[Tensor], Tensor]
    pull: Callable[[Tensor, Tensor], Tensor]
    curve: Callable[[Tensor], Tensor] | None


_ATEN = torch.ops.aten
IDENTITY = Activation(lambda z: z, lambda g, a: g, None)
_KINDS: dict[type[nn.Module], Activation] = {
    nn.Identity: IDENTITY,
    nn.ReLU: Activation(torch.relu, lambda g, a: _ATEN.threshold_backward.default(g, a, 0), None),
    nn.Tanh: Activation(torch.tanh, _ATEN.tanh_backward.default, lambda a: -2 * a),
    nn.Sigmoid: Activation(torch.sigmoid, _ATEN.sigmoid_backward.default, lambda a: 1 - 2 * a),
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
    """A forward pass: the input of every layer, and the outputs. What a derivative needs of σ follows from a."""

    inputs: list[Tensor]
    outputs: Tensor


def forward(layers: tuple[Layer, ...], params: dict[str, Tensor], x: Tensor) -> Trace:
    """The outputs of the stack for x [n, ...], and what its derivatives need."""
    inputs: list[Tensor] = []
    z = x.flatten(1)
    for layer in layers:
        inputs.append(z if layer.before is None else layer.before.value(z))
        z = affine(layer, params, inputs[-1])
    return Trace(inputs, z)


def affine(layer: Layer, params: dict[str, Tensor], a: Tensor, kept: float = 1.0) -> Tensor:
    """κ (a Wᵀ + b)."""
    w = params[layer.weight].t()
    if layer.bias:
        return torch.addmm(params[layer.bias], a, w, beta=kept, alpha=kept)
    return a @ w if kept == 1.0 else (a @ w).mul_(kept)


def backward(layers: tuple[Layer, ...], params: dict[str, Tensor], trace: Trace, last: Tensor) -> list[Tensor]:
    """The derivative with respect to every z, given that with respect to the outputs; layer by layer."""
    deltas = [last]
    for i in range(len(layers) - 1, 0, -1):
        before = layers[i].before
        assert before is not None
        deltas.append(before.pull(deltas[-1] @ params[layers[i].weight], trace.inputs[i]))
    return deltas[::-1]
