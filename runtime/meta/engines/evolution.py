"""Evolution strategies: the meta-gradient of a smoothed meta-loss, from its values alone.

For episodes whose gradient is useless (an exploding unroll, a loss full of plateaus) the meta-loss is blurred with a
Gaussian of width σ, whose gradient is an expectation: antithetic pairs, with ranks shaped out of it (Salimans et al.
2017). It needs nothing of the loss but numbers. CMA-ES, which learns σ and the metric too, is an optimiser of its own:
`lossc optimize --optimizer cma`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lossc.runtime.data import generator
from lossc.runtime.meta.episode import End, Episode, MetaGradient, descend, run_model
from lossc.runtime.meta.representation import LossRepresentation

PAIRS, WIDTH = 8, 0.02


def play(episode: Episode, family: LossRepresentation, phi: Tensor) -> tuple[float, End]:
    """The meta-loss after the inner steps, and the state there; no derivative with respect to φ is taken."""
    params, velocity, buffers = dict(episode.params), dict(episode.velocity), dict(episode.buffers)
    for t, (x, y) in enumerate(episode.inner):
        start = {k: v.detach().requires_grad_() for k, v in params.items()}
        outputs, buffers = run_model(episode, start, buffers, x, t)
        fixed = outputs.detach()
        slope = family.value_and_slope(fixed, family.encode(y, fixed), phi)[1]
        found = torch.autograd.grad(outputs, list(start.values()), slope, allow_unused=True, materialize_grads=True)
        with torch.no_grad():
            params, velocity = descend(episode.sgd, params, velocity, dict(zip(start, found, strict=True)))
    with torch.no_grad():
        answers, left = run_model(episode, params, buffers, episode.query[0], episode.steps)
        value = float(episode.meta_loss(answers, episode.query[1]))
    return value, End({k: v.detach() for k, v in params.items()}, velocity, left)


def meta_gradient(
    episode: Episode, family: LossRepresentation, phi: Tensor, *, pairs: int = PAIRS, width: float = WIDTH
) -> MetaGradient:
    """An estimate of the gradient of E[L_meta(φ + σ ε)], from antithetic pairs of directions that the seed fixes.

    A pair of which a member is not finite counts as flat.
    """
    value, end = play(episode, family, phi)
    stream = generator(episode.seed, "evolution")
    total = torch.zeros(family.size, dtype=torch.float64)
    used = 0
    for _ in range(pairs):
        direction = torch.randn(family.size, generator=stream, dtype=torch.float64)
        up = play(episode, family, phi + width * direction)[0]
        down = play(episode, family, phi - width * direction)[0]
        if up - up == 0.0 and down - down == 0.0:
            total += (up - down) / (2 * width) * direction
            used += 1
    return MetaGradient(value, total / max(used, 1), "evolution", end)
