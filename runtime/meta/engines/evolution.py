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
from lossc.runtime.meta.episode import End, Episode, MetaGradient, play_inner, run_model
from lossc.runtime.meta.representation import LossRepresentation

PAIRS, WIDTH = 8, 0.02


def play(episode: Episode, family: LossRepresentation, phi: Tensor) -> tuple[float, End]:
    """The meta-loss after the inner steps, and the state there; no derivative with respect to φ is taken."""
    end = play_inner(episode, family, phi)
    with torch.no_grad():
        answers, left = run_model(episode, end.params, end.buffers, episode.query[0], episode.steps)
        value = float(episode.meta_loss(answers, episode.query[1]))
    return value, End({k: v.detach() for k, v in end.params.items()}, end.velocity, left)


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
