"""One inner step, a stack of linear layers, many losses at once: everything in low-rank form.

With a batch of B rows every gradient has rank B, so θ_1 never has to exist: W_1 = κ W_0 - s δᵀ a, and

    z_1 = v W_1ᵀ + b_1 = κ (v W_0ᵀ + b_0) - s (v aᵀ + 1) δ

for a validation input v. All that the losses share (the pass at θ_0, and where the outputs are few the Jacobians of the
outputs with respect to every layer) is computed once; what is left for each loss is one pass forward and one back
through the *same* W_0, and products with B rows or columns. Where there is one output even those have a factor that all
losses share, since δ is a Jacobian whose rows are scaled. The losses may be of any form and number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from lossc.runtime.meta.engines.outer import value_and_errors
from lossc.runtime.meta.engines.stack import Trace, affine, backward, forward, layers_of, why_not_a_stack
from lossc.runtime.meta.episode import End, Episode, MetaGradient, descend, first_step_scale
from lossc.runtime.meta.representation import LossRepresentation

CHUNK = 5
"""Losses that go through the layers together: enough for good matrix products, few enough for the cache."""


def why_not(episode: Episode) -> str:
    """Why this engine is not for the episode, or ""."""
    if episode.steps != 1:
        return f"it is for one inner step, and there are {episode.steps}"
    if episode.velocity:
        return "the inner optimiser is under way already (it has momentum)"
    return why_not_a_stack(episode)


def meta_gradient(episode: Episode, family: LossRepresentation, phi: Tensor) -> MetaGradient:
    """The exact meta-gradient of one loss."""
    return meta_gradients(episode, [family], [phi])[0]


def meta_gradients(
    episode: Episode, families: Sequence[LossRepresentation], phis: Sequence[Tensor], chunk: int = CHUNK
) -> list[MetaGradient]:
    """The exact meta-gradients of several losses on one episode."""
    with torch.no_grad():
        shared = _Shared(episode, len(families))
        out: list[MetaGradient] = []
        for i in range(0, len(families), chunk):
            out += shared.chunk(families[i : i + chunk], phis[i : i + chunk])
        return out


class _Shared:
    """What all losses have in common: the pass at θ_0, and perhaps the Jacobians of its outputs."""

    def __init__(self, episode: Episode, losses: int) -> None:
        self.episode = episode
        self.layers = layers_of(episode.model)
        self.params = {k: v.detach() for k, v in episode.params.items()}
        x, self.y = episode.inner[0]
        self.trace: Trace = forward(self.layers, self.params, x)
        self.scale = episode.sgd.lr * first_step_scale(episode.sgd)
        self.kept = 1.0 - self.scale * episode.sgd.weight_decay
        self.jacobians = self._jacobians() if self.trace.outputs.shape[1] <= 2 * losses else None
        self.query = episode.query[0].flatten(1)
        self.one = self.query.new_ones(1)
        self.first_gram = self.gram(0, self.query)
        self.first_out = affine(self.layers[0], self.params, self.query, self.kept)

    def gram(self, i: int, v: Tensor) -> Tensor:
        """v aᵀ, + 1 for the bias, in layer i."""
        a = self.trace.inputs[i].t()
        return torch.addmm(self.one, v, a) if self.layers[i].bias else v @ a

    def _jacobians(self) -> list[Tensor]:
        """For every layer ∂outputs/∂z, [C, B, width]."""
        rows, count = self.trace.outputs.shape
        eye = torch.eye(count, dtype=self.trace.outputs.dtype, device=self.trace.outputs.device)
        found = [eye[:, None, :].expand(count, rows, count)]
        for i in range(len(self.layers) - 1, 0, -1):
            w, before = self.params[self.layers[i].weight], self.layers[i].before
            assert before is not None
            back = w[:, None, :] if i == len(self.layers) - 1 else (found[-1].flatten(0, 1) @ w).view(count, rows, -1)
            found.append(before.pull(back.expand(-1, rows, -1), self.trace.inputs[i]))
        return found[::-1]

    def chunk(self, families: Sequence[LossRepresentation], phis: Sequence[Tensor]) -> list[MetaGradient]:
        """The meta-gradients of a few losses."""
        outputs = self.trace.outputs
        target = families[0].encode(self.y, outputs)
        parts = [f.linearize(outputs, target, p) for f, p in zip(families, phis, strict=True)]
        slopes = torch.stack([slope for slope, _ in parts])
        deltas: _Deltas = (
            _OneOutput(self, slopes) if self.jacobians and slopes.shape[2] == 1 else _Outputs(self, slopes)
        )
        grams, passes, answers = self._query_forward(deltas, len(parts))
        values, errors = value_and_errors(self.episode.meta_loss, answers, self.episode.query[1])
        self._query_backward(deltas, grams, passes, errors.flatten(0, 1))
        u = deltas.product()
        found = []
        for k, (_, mixed) in enumerate(parts):
            grad = mixed(u[k]).double().mul_(-self.scale)
            found.append(MetaGradient(values[k], grad, "lockstep", _LazyEnd(self, deltas, k)))  # type: ignore[arg-type]
        return found

    def _query_forward(self, deltas: _Deltas, losses: int) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Through θ_1 without making it: for each layer v aᵀ + 1 and its input v, the rows of one loss after those of
        another; the outputs [K, n, C]."""
        grams, passes = [self.first_gram[None]], [self.query]
        z = self.first_out.repeat(losses, 1)
        deltas.add_product(z, 0, grams[0], -self.scale)
        for i, layer in enumerate(self.layers[1:], 1):
            assert layer.before is not None
            v = layer.before.value(z)
            gram = self.gram(i, v).view(losses, -1, len(self.y))
            z = affine(layer, self.params, v, self.kept)
            deltas.add_product(z, i, gram, -self.scale)
            passes.append(v)
            grams.append(gram)
        return grams, passes, z.view(losses, -1, z.shape[1])

    def _query_backward(self, deltas: _Deltas, grams: list[Tensor], passes: list[Tensor], errors: Tensor) -> None:
        """Back through θ_1: each layer's part of J λ goes to `deltas`; λ, of rank n, never exists."""
        for i in range(len(self.layers) - 1, 0, -1):
            before = self.layers[i].before
            assert before is not None
            against = deltas.take(i, errors, grams[i])
            back = errors @ self.params[self.layers[i].weight]
            back.addmm_(against, self.trace.inputs[i], beta=self.kept, alpha=-self.scale)
            errors = before.pull(back, passes[i])
        deltas.take(0, errors, grams[0])


class _Deltas(Protocol):
    """∂loss/∂z of every layer for each of K losses, and what is made of it.

    Gram matrices are [K, n, B] or [1, n, B]; other matrices have the rows of all losses, K n.
    """

    def add_product(self, z: Tensor, i: int, gram: Tensor, alpha: float) -> None:
        """z += α gram δ_i, in place."""

    def take(self, i: int, errors: Tensor, gram: Tensor) -> Tensor:
        """E δ_iᵀ, [K n, B]; and note what layer i adds to J λ, which is J_i gramᵀ E."""

    def product(self) -> Tensor:
        """J λ, [K, B, C]."""

    def of(self, k: int) -> list[Tensor]:
        """Those of one loss."""


class _OneOutput:
    """One output: δ of a row is the Jacobian's row times the slope of the loss, so δ need not exist either."""

    def __init__(self, shared: _Shared, slopes: Tensor) -> None:
        assert shared.jacobians is not None
        self.jacobians = [j[0] for j in shared.jacobians]
        self.slopes = slopes.transpose(1, 2)
        self.found: Tensor | None = None

    def add_product(self, z: Tensor, i: int, gram: Tensor, alpha: float) -> None:
        z.addmm_((gram * self.slopes).flatten(0, 1), self.jacobians[i], alpha=alpha)

    def take(self, i: int, errors: Tensor, gram: Tensor) -> Tensor:
        against = (errors @ self.jacobians[i].t()).view(len(self.slopes), -1, gram.shape[2])
        part = (gram * against).sum(dim=1)
        self.found = part if self.found is None else self.found.add_(part)
        return against.mul_(self.slopes).flatten(0, 1)

    def product(self) -> Tensor:
        assert self.found is not None
        return self.found[:, :, None]

    def of(self, k: int) -> list[Tensor]:
        return [self.slopes[k].t() * j for j in self.jacobians]


class _Outputs:
    """Any number of outputs: by the Jacobians where they are there, else by a pass back and a pass forward at θ_0."""

    def __init__(self, shared: _Shared, slopes: Tensor) -> None:
        self.shared = shared
        self.losses, self.rows, self.count = slopes.shape
        if shared.jacobians is not None:
            by_row = slopes.transpose(0, 1)
            self.deltas = [(by_row @ j.transpose(0, 1)).transpose(0, 1) for j in shared.jacobians[:-1]] + [slopes]
        else:
            flat = Trace([a.repeat(self.losses, 1) for a in shared.trace.inputs], shared.trace.outputs)
            found = backward(shared.layers, shared.params, flat, slopes.flatten(0, 1))
            self.deltas = [d.view(self.losses, self.rows, -1) for d in found]
        self.pushes: list[Tensor] = []

    def add_product(self, z: Tensor, i: int, gram: Tensor, alpha: float) -> None:
        if self.losses == 1:
            z.addmm_(gram[0], self.deltas[i][0], alpha=alpha)
        else:
            z.view(self.losses, -1, z.shape[1]).baddbmm_(gram.expand(self.losses, -1, -1), self.deltas[i], alpha=alpha)

    def take(self, i: int, errors: Tensor, gram: Tensor) -> Tensor:
        if self.losses == 1:
            self.pushes.append((gram[0].t() @ errors)[None])
            return errors @ self.deltas[i][0].t()
        apart = errors.view(self.losses, -1, errors.shape[1])
        self.pushes.append(gram.transpose(1, 2) @ apart)
        return (apart @ self.deltas[i].transpose(1, 2)).flatten(0, 1)

    def product(self) -> Tensor:
        pushes = self.pushes[::-1]
        if self.shared.jacobians is None:
            return self._forward(pushes)
        total = pushes[-1]
        for jacobian, push in zip(self.shared.jacobians[:-1], pushes, strict=False):
            total = total + (push.transpose(0, 1) @ jacobian.permute(1, 2, 0)).transpose(0, 1)
        return total

    def _forward(self, pushes: list[Tensor]) -> Tensor:
        moving = pushes[0]
        for i, layer in enumerate(self.shared.layers[1:], 1):
            assert layer.before is not None
            inside = layer.before.pull(moving, self.shared.trace.inputs[i]).flatten(0, 1)
            w = self.shared.params[layer.weight].t()
            moving = torch.addmm(pushes[i].flatten(0, 1), inside, w).view(self.losses, self.rows, -1)
        return moving

    def of(self, k: int) -> list[Tensor]:
        return [d[k] for d in self.deltas]


class _LazyEnd:
    """The end of the episode, made when it is asked for: a meta-gradient that resets θ never needs it."""

    def __init__(self, shared: _Shared, deltas: _Deltas, place: int) -> None:
        self._shared, self._deltas, self._place = shared, deltas, place
        self._made: End | None = None

    def _end(self) -> End:
        if self._made is None:
            shared, slopes = self._shared, {}
            for layer, a, delta in zip(shared.layers, shared.trace.inputs, self._deltas.of(self._place), strict=True):
                slopes[layer.weight] = delta.t() @ a
                if layer.bias:
                    slopes[layer.bias] = delta.sum(dim=0)
            params, velocity = descend(shared.episode.sgd, shared.params, {}, slopes)
            self._made = End(params, velocity, dict(shared.episode.buffers))
        return self._made

    @property
    def params(self) -> dict[str, Tensor]:
        return self._end().params

    @property
    def velocity(self) -> dict[str, Tensor]:
        return self._end().velocity

    @property
    def buffers(self) -> dict[str, Tensor]:
        return self._end().buffers
