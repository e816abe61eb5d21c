"""Curvature of a loss in the weights, without its Hessian: products with vectors, power iteration, Hutchinson's trace.

The Hessian is that of the mean loss over the rows of a sample, at the weights of a view (Yao et al., 2020, PyHessian).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lossc.runtime.data import Part
from lossc.runtime.experiments.view import View, chunks

Measure = Callable[[Tensor, Tensor], Tensor]
"""`(outputs, targets) -> mean over the rows`, a number: a loss module, or a function such as cross-entropy."""

PROBES, MOST_STEPS, TOLERANCE = 16, 60, 1e-3
"""Random vectors of a trace; steps of a power iteration, and the relative change that ends it."""


def hessian_product(measure: Measure, view: View, part: Part, vector: Tensor) -> Tensor:
    """H v for the Hessian H of the mean of `measure` over a part; v and the result are [number of weights].

    Reverse over reverse mode (Pearlmutter, 1994), some rows at a time. Zero where the measure is piecewise linear in
    the weights.
    """
    params = {k: v.detach().requires_grad_() for k, v in view.params.items()}
    leaves = list(params.values())
    total = torch.zeros_like(vector)
    for x, y in chunks(part, share=4):
        value = measure(view.outputs(x, params), y) * (len(x) / len(part))
        first = torch.autograd.grad(value, leaves, create_graph=True, allow_unused=True, materialize_grads=True)
        slope = torch.cat([s.flatten() for s in first])
        if slope.requires_grad:
            second = torch.autograd.grad(slope @ vector, leaves, allow_unused=True, materialize_grads=True)
            total += torch.cat([s.flatten() for s in second])
    return total


def top_eigenvalue(measure: Measure, view: View, part: Part, stream: torch.Generator) -> float:
    """The eigenvalue of the Hessian of largest magnitude, with its sign, by power iteration: at most `MOST_STEPS`, less
    if it changes by less than `TOLERANCE` of itself. NaN if the second derivative is not finite."""
    vector = _random(view, stream)
    vector /= vector.norm()
    value = math.nan
    for _ in range(MOST_STEPS):
        product = hessian_product(measure, view, part, vector)
        last, value = value, float(vector @ product)
        length = float(product.norm())
        if not math.isfinite(length):
            return math.nan
        if length == 0:
            return 0.0
        if abs(value - last) <= TOLERANCE * abs(value):
            break
        vector = product / length
    return value


def trace(measure: Measure, view: View, part: Part, stream: torch.Generator, probes: int = PROBES) -> float:
    """The trace of the Hessian, estimated as the mean of vᵀHv over random signs v (Hutchinson, 1990)."""
    found = []
    for _ in range(probes):
        signs = torch.sign(_random(view, stream))
        found.append(float(signs @ hessian_product(measure, view, part, signs)))
    return sum(found) / probes


def _random(view: View, stream: torch.Generator) -> Tensor:
    some = next(iter(view.params.values()))
    count = sum(p.numel() for p in view.params.values())
    return torch.randn(count, generator=stream, dtype=some.dtype).to(some.device)
