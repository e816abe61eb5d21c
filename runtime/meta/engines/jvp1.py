"""One inner step, any model: the meta-gradient from one Jacobian-vector product of the model, and nothing else.

With θ_1 = θ_0 - α J(θ_0)ᵀ g(f, φ) and λ the gradient of the meta-loss at θ_1 (thesis, eq. 3.9),

    d L_meta / dφ = -α ∂/∂φ ⟨λ, Jᵀ g(f, φ)⟩ = -α ∂/∂φ ⟨J λ, g(f, φ)⟩.

J λ is one forward-mode pass of the model; the rest is the closed form of the loss. Nothing is differentiated twice.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad as fwd

from lossc.runtime.meta.episode import (
    End,
    Episode,
    MetaGradient,
    descend,
    first_step_scale,
    gradients,
    leaves,
    run_model,
)
from lossc.runtime.meta.representation import LossRepresentation


def why_not(episode: Episode) -> str:
    """Why this engine is not for the episode, or ""."""
    return "" if episode.steps == 1 else f"it is for one inner step, and there are {episode.steps}"


def meta_gradient(episode: Episode, family: LossRepresentation, phi: Tensor) -> MetaGradient:
    """The exact meta-gradient of an episode of one step."""
    (x, y), sgd = episode.inner[0], episode.sgd
    start = leaves(episode.params)
    outputs, buffers = run_model(episode, start, episode.buffers, x, 0)
    target = family.encode(y, outputs)
    slope, mixed = family.linearize(outputs.detach(), target, phi)
    found = gradients(outputs, start, slope)
    with torch.no_grad():
        params, velocity = descend(sgd, episode.params, episode.velocity, found)
    del outputs
    moved = {k: v.requires_grad_() for k, v in params.items()}
    answers, left = run_model(episode, moved, buffers, episode.query[0], 1)
    value = episode.meta_loss(answers, episode.query[1])
    direction = gradients(value, moved)
    u = _product(episode, direction, x)
    grad = -sgd.lr * first_step_scale(sgd) * mixed(u).double()
    end = End({k: v.detach() for k, v in moved.items()}, velocity, left)
    return MetaGradient(float(value.detach()), grad, "jvp1", end)


def _product(episode: Episode, direction: dict[str, Tensor], x: Tensor) -> Tensor:
    """J λ at θ_0, the model as in its first pass."""
    with torch.no_grad(), fwd.dual_level():
        dual = {k: fwd.make_dual(v.detach(), direction[k]) for k, v in episode.params.items()}  # type: ignore[no-untyped-call]
        outputs, _ = run_model(episode, dual, episode.buffers, x, 0)
        tangent = fwd.unpack_dual(outputs).tangent  # type: ignore[no-untyped-call]
        return torch.zeros_like(outputs) if tangent is None else tangent.clone()
