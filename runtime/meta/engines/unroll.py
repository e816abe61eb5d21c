"""Unrolled differentiation through any model and any number of steps (thesis, section 3.2.4, eq. 3.4 to 3.9).

Reverse mode over reverse mode: at each step the model's own vector-Jacobian product is recorded, with the slope of the
loss as its cotangent. The loss is one node whose derivatives are in closed form, so the graph holds the model and
nothing else. Reverse over *forward* mode is never used: torch 2.13 computes it wrongly through normalisation layers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lossc.runtime.meta.episode import (
    End,
    Episode,
    MetaGradient,
    descend,
    gradients,
    growth,
    leaves,
    run_model,
    size_of,
)
from lossc.runtime.meta.representation import LossRepresentation


def meta_gradient(episode: Episode, family: LossRepresentation, phi: Tensor, *, truncate: int = 0) -> MetaGradient:
    """The exact meta-gradient; with `truncate` = K, that of the last K steps, the weights before them held fixed."""
    leaf = phi.detach().requires_grad_()
    params = {k: v.detach() for k, v in episode.params.items()}
    velocity = dict(episode.velocity)
    buffers = dict(episode.buffers)
    first = episode.steps - truncate if truncate else 0
    norms: list[Tensor] = []
    for t, (x, y) in enumerate(episode.inner):
        recorded = t >= first
        if not recorded or t == first:
            params = leaves(params)
            velocity = {k: v.detach() for k, v in velocity.items()}
        outputs, buffers = run_model(episode, params, buffers, x, t)
        target = family.encode(y, outputs)
        slope = family.slope(outputs, target, leaf if recorded else leaf.detach())
        found = gradients(outputs, params, slope, create_graph=recorded)
        if recorded and episode.steps > 1:
            _watch(params, norms)  # not before: the gradient of the step itself would be noted
        params, velocity = descend(episode.sgd, params, velocity, found)
    if episode.steps > 1:
        _watch(params, norms)
    outputs, buffers = run_model(episode, params, buffers, episode.query[0], episode.steps)
    value = episode.meta_loss(outputs, episode.query[1])
    (grad,) = torch.autograd.grad(value, leaf, allow_unused=True, materialize_grads=True)
    end = End(*({k: v.detach() for k, v in d.items()} for d in (params, velocity, buffers)))
    return MetaGradient(float(value.detach()), grad.double(), "unroll", end, growth(map(float, norms)))


def _watch(params: dict[str, Tensor], norms: list[Tensor]) -> None:
    """Note the norm of the adjoint of these weights when it is known; later steps come first."""
    sizes: list[Tensor] = []
    tracked = [v for v in params.values() if v.requires_grad]

    def note(grad: Tensor) -> None:
        sizes.append(size_of(grad.detach()))
        if len(sizes) == len(tracked):
            norms.append(torch.linalg.vector_norm(torch.stack(sizes)))

    for v in tracked:
        v.register_hook(note)  # type: ignore[no-untyped-call]
