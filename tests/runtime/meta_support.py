"""Episodes and losses for the tests of meta-learning: small, in float64, everything from one seed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

import lossc
from lossc.compiler.loss import Loss
from lossc.runtime.meta.episode import Episode
from lossc.runtime.tasks import SGD

REGRESSION = {
    "smooth": "log(1 + (y - f)^2)*tanh(y)^2 + aq(square(y - f), f)",
    "kinked": "sqrt(abs(y - f) + 0.01) + aq(y, f)*log(abs(f) + 1)",
    "protected": "plog(y - f)*square(f) + psqrt(y*f) + max(y, f)*min(1, f)",
}
CLASSES = {
    "evomal": "abs(log(y*f + eps))",
    "reduced": "-sum_c(y*log(f)) + mean_c(f^2)",
    "brier": "(y - f)^2",
}


def loss_of(name: str) -> Loss:
    """One of the losses above."""
    if name in CLASSES:
        return lossc.parse(CLASSES[name], y="onehot", f="prob")
    return lossc.parse(REGRESSION[name])


def episode(
    build: Callable[[], nn.Module],
    steps: int,
    sgd: SGD,
    *,
    classes: int = 0,
    shape: tuple[int, ...] = (5,),
    rows: int = 12,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Episode:
    """An episode of random data; the weights are those that `build` makes after seeding torch's stream."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build().to(dtype)
        params = {k: v.detach() for k, v in model.named_parameters()}
        buffers = {k: v.detach() for k, v in model.named_buffers()}

        def batch() -> tuple[torch.Tensor, torch.Tensor]:
            x = torch.randn(rows, *shape, dtype=dtype)
            return x, (torch.randint(classes, (rows,)) if classes else torch.randn(rows, 1, dtype=dtype))

        inner = tuple(batch() for _ in range(steps))
        meta_loss = functional.cross_entropy if classes else functional.mse_loss
        return Episode(model, params, buffers, inner, batch(), sgd, meta_loss, seed=seed)


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The norm of the difference over that of what is expected."""
    return float((found - expected).norm() / expected.norm().clamp_min(1e-300))


def naive_meta_gradient(here: Episode, plain: Callable[..., torch.Tensor], phi: torch.Tensor) -> torch.Tensor:
    """The oracle: torch's own autograd through every step, the loss in plain operations, no code of the engines."""
    from torch.func import functional_call

    leaf = phi.detach().clone().requires_grad_()
    params = {k: v.detach().clone().requires_grad_() for k, v in here.params.items()}
    velocity = dict(here.velocity)
    buffers = {k: v.clone() for k, v in here.buffers.items()}
    for x, y in here.inner:
        outputs = functional_call(here.model, {**params, **buffers}, (x,))
        target = y if y.is_floating_point() else functional.one_hot(y, outputs.shape[1]).to(outputs.dtype)
        slopes = torch.autograd.grad(plain(outputs, target, leaf), list(params.values()), create_graph=True)
        new = {}
        for (name, w), g in zip(params.items(), slopes, strict=True):
            g = g + here.sgd.weight_decay * w
            if here.sgd.momentum:
                velocity[name] = here.sgd.momentum * velocity[name] + g if name in velocity else g
                g = g + here.sgd.momentum * velocity[name] if here.sgd.nesterov else velocity[name]
            new[name] = w - here.sgd.lr * g
        params = new
    outputs = functional_call(here.model, {**params, **buffers}, (here.query[0],))
    return torch.autograd.grad(here.meta_loss(outputs, here.query[1]), leaf)[0]
