"""Long inner runs: the meta-gradient by the implicit function theorem, as if the run had converged.

Where the inner loss (with its weight decay) is stationary at θ_T, dθ/dφ = -H⁻¹ ∂g/∂φ whatever the path, so that

    d L_meta / dφ = -∂/∂φ ⟨q, ∂M_φ/∂θ⟩   with   (H + ρ I) q = ∂L_meta/∂θ,

solved by conjugate gradients with Hessian-vector products (thesis, section 5.2.4; Rajeswaran et al. 2019). An
approximation: exact only at a minimum of the inner loss, with the Hessian of the last batch. Memory does not grow
with T.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lossc.runtime.meta.episode import End, Episode, MetaGradient, gradients, leaves, play_inner, run_model
from lossc.runtime.meta.representation import LossRepresentation

ITERATIONS = 20
DAMPING = 1e-2
"""ρ, which keeps the system positive where the loss of a network is not convex."""


def meta_gradient(
    episode: Episode,
    family: LossRepresentation,
    phi: Tensor,
    *,
    iterations: int = ITERATIONS,
    damping: float = DAMPING,
) -> MetaGradient:
    """The implicit meta-gradient at the end of the inner run."""
    leaf = phi.detach().requires_grad_()
    reached = play_inner(episode, family, phi)
    last = leaves(reached.params)
    x, y = episode.inner[-1]
    outputs, _ = run_model(episode, last, reached.buffers, x, episode.steps - 1)
    slope = family.slope(outputs, family.encode(y, outputs), leaf)
    inner = list(gradients(outputs, last, slope, create_graph=True).values())
    answers, left = run_model(episode, last, reached.buffers, episode.query[0], episode.steps)
    value = episode.meta_loss(answers, episode.query[1])
    outer = list(gradients(value, last, retain_graph=True).values())

    def product(v: list[Tensor]) -> list[Tensor]:
        found = torch.autograd.grad(
            inner, list(last.values()), v, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        return [h + (damping + episode.sgd.weight_decay) * p for h, p in zip(found, v, strict=True)]

    q = _conjugate_gradients(product, [o.detach() for o in outer], iterations)
    if q is None:  # no minimum anywhere near: what one step of plain descent would make of it
        q = [episode.sgd.lr * o.detach() for o in outer]
    (grad,) = torch.autograd.grad(inner, leaf, q, allow_unused=True, materialize_grads=True)
    end = End({k: v.detach() for k, v in last.items()}, reached.velocity, left)
    return MetaGradient(float(value.detach()), -grad.double(), "implicit", end)


def _conjugate_gradients(
    product: Callable[[list[Tensor]], list[Tensor]], right: list[Tensor], iterations: int
) -> list[Tensor] | None:
    """The solution of product(q) = right, or what `iterations` steps make of it; stops at negative curvature.

    None if the curvature is negative along the right side itself.
    """
    q = [torch.zeros_like(r) for r in right]
    rest = [r.clone() for r in right]
    along = [r.clone() for r in right]
    size = _dot(rest, rest)
    goal = 1e-20 * size
    for i in range(iterations):
        image = product(along)
        bend = _dot(along, image)
        if i == 0 and size > 0 and not bend > 0:
            return None
        if not bend > 0 or not size > goal:
            break
        step = size / bend
        q = [a + step * b for a, b in zip(q, along, strict=True)]
        rest = [a - step * b for a, b in zip(rest, image, strict=True)]
        new = _dot(rest, rest)
        along = [a + (new / size) * b for a, b in zip(rest, along, strict=True)]
        size = new
    return q


def _dot(a: list[Tensor], b: list[Tensor]) -> float:
    return float(sum((x.double() * y.double()).sum() for x, y in zip(a, b, strict=True)))
