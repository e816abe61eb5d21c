"""One inner step, a stack of linear layers, many losses at once: everything in low-rank form.

With a batch of B rows every gradient has rank B, so θ_1 never has to exist: W_1 = κ W_0 - s δᵀ a, and

    z_1 = v W_1ᵀ + b_1 = κ (v W_0ᵀ + b_0) - s (v aᵀ + 1) δ

for a validation input v. All that the losses share (the pass at θ_0, and where the outputs are few the Jacobians of the
outputs with respect to every layer) is computed once; what is left for each loss is one pass forward and one back
through the *same* W_0, and products of B by B matrices. The losses may be of any form and number.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lossc.runtime.meta.engines.stack import Layer, Trace, backward, forward, layers_of, why_not_a_stack
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
        self.query = episode.query[0].flatten(1)
        self.scale = episode.sgd.lr * first_step_scale(episode.sgd)
        self.kept = 1.0 - self.scale * episode.sgd.weight_decay
        self.jacobians = self._jacobians() if self.trace.outputs.shape[1] <= 2 * losses else None
        first = self.layers[0]
        self.first_gram = self.query @ self.trace.inputs[0].t()
        self.first_out = self.kept * _affine(self.query, self.params, first)

    def _jacobians(self) -> list[Tensor]:
        """For every layer ∂outputs/∂z, [B, C, width]."""
        rows, count = self.trace.outputs.shape
        eye = torch.eye(count, dtype=self.query.dtype, device=self.query.device)
        found = [eye.expand(rows, count, count)]
        for i in range(len(self.layers) - 1, 0, -1):
            slope = self.trace.slopes[i]
            assert slope is not None
            w = self.params[self.layers[i].weight]
            if i == len(self.layers) - 1:
                found.append(w * slope[:, None, :])
            else:
                found.append((found[-1].reshape(rows * count, -1) @ w).view(rows, count, -1) * slope[:, None, :])
        return found[::-1]

    def chunk(self, families: Sequence[LossRepresentation], phis: Sequence[Tensor]) -> list[MetaGradient]:
        """The meta-gradients of a few losses."""
        outputs = self.trace.outputs
        target = families[0].encode(self.y, outputs)
        slopes = [f.value_and_slope(outputs, target, p)[1] for f, p in zip(families, phis, strict=True)]
        deltas = self._deltas(torch.stack(slopes))
        grams, passes, answers = self._query_forward(deltas)
        values, errors = self._meta(answers)
        u = self._query_backward(deltas, grams, passes, errors)
        found = []
        for k, (family, phi) in enumerate(zip(families, phis, strict=True)):
            mixed = family.second(outputs, target, u[k], phi)[1]
            end = _LazyEnd(self, [d[k] for d in deltas])
            found.append(MetaGradient(values[k], -self.scale * mixed.double(), "lockstep", end))  # type: ignore[arg-type]
        return found

    def _deltas(self, slopes: Tensor) -> list[Tensor]:
        """∂loss/∂z of every layer for each loss, [K, B, width]."""
        if self.jacobians is not None:
            if slopes.shape[2] == 1:
                return [slopes * j[:, 0, :] for j in self.jacobians]
            turned = slopes.transpose(0, 1)
            return [(turned @ j).transpose(0, 1) for j in self.jacobians[:-1]] + [slopes]
        losses, rows, _ = slopes.shape
        flat = _repeated(self.trace, losses)
        found = backward(self.layers, self.params, flat, slopes.reshape(losses * rows, -1))
        return [d.view(losses, rows, -1) for d in found]

    def _query_forward(self, deltas: list[Tensor]) -> tuple[list[Tensor], list[tuple[Tensor, Tensor | None]], Tensor]:
        """Through θ_1 without making it: for each layer v aᵀ + 1, the layer's input and σ' there; the outputs."""
        losses = deltas[0].shape[0]
        grams: list[Tensor] = []
        passes: list[tuple[Tensor, Tensor | None]] = []
        z = self.first_out
        for i, layer in enumerate(self.layers):
            if layer.before is None:
                gram = (self.first_gram + 1.0 if layer.bias else self.first_gram).expand(losses, -1, -1)
                base = self.first_out.expand(losses, -1, -1)
                passes.append((self.query, None))
            else:
                v = layer.before.value(z)
                passes.append((v, layer.before.slope(z, v)))
                flat = v.reshape(-1, v.shape[2])
                gram = (flat @ self.trace.inputs[i].t()).view(losses, v.shape[1], -1)
                gram = gram.add_(1.0) if layer.bias else gram
                base = (self.kept * _affine(flat, self.params, layer)).view(losses, v.shape[1], -1)
            grams.append(gram)
            z = torch.baddbmm(base, gram, deltas[i], alpha=-self.scale)
        return grams, passes, z

    def _meta(self, answers: Tensor) -> tuple[list[float], Tensor]:
        """The meta-loss of each loss's outputs [K, n, C], and its derivatives."""
        with torch.enable_grad():
            leaf = answers.detach().requires_grad_()
            values = torch.stack([self.episode.meta_loss(leaf[k], self.episode.query[1]) for k in range(len(leaf))])
            (errors,) = torch.autograd.grad(values.sum(), leaf)
        return values.tolist(), errors

    def _query_backward(
        self,
        deltas: list[Tensor],
        grams: list[Tensor],
        passes: list[tuple[Tensor, Tensor | None]],
        errors: Tensor,
    ) -> Tensor:
        """J λ on the inner batch, [K, B, C]: λ is δᵀ-free, of rank n, and goes into J as (v aᵀ + 1)ᵀ E."""
        losses = errors.shape[0]
        pushes: list[Tensor] = []
        for i in range(len(self.layers) - 1, -1, -1):
            pushes.append(grams[i].transpose(1, 2) @ errors)
            if i == 0:
                break
            w = self.params[self.layers[i].weight]
            back = (errors.reshape(-1, errors.shape[2]) @ w).view(losses, errors.shape[1], -1)
            back = torch.baddbmm(
                back, errors @ deltas[i].transpose(1, 2), self.trace.inputs[i].expand(losses, -1, -1),
                beta=self.kept, alpha=-self.scale,
            )  # fmt: skip
            slope = passes[i][1]
            assert slope is not None
            errors = back.mul_(slope)
        pushes.reverse()
        if self.jacobians is not None:
            total = pushes[-1].clone()
            for jacobian, push in zip(self.jacobians[:-1], pushes, strict=False):
                if jacobian.shape[1] == 1:
                    total += (jacobian[:, 0, :] * push).sum(dim=2, keepdim=True)
                else:
                    total += (push.transpose(0, 1) @ jacobian.transpose(1, 2)).transpose(0, 1)
            return total
        moving = pushes[0]
        for i in range(1, len(self.layers)):
            slope = self.trace.slopes[i]
            assert slope is not None
            flat = (moving * slope).reshape(-1, slope.shape[1])
            moving = pushes[i] + (flat @ self.params[self.layers[i].weight].t()).view(losses, slope.shape[0], -1)
        return moving


def _affine(v: Tensor, params: dict[str, Tensor], layer: Layer) -> Tensor:
    w = params[layer.weight]
    return torch.addmm(params[layer.bias], v, w.t()) if layer.bias else v @ w.t()


def _repeated(trace: Trace, losses: int) -> Trace:
    """σ' for the rows of every loss."""
    if losses == 1:
        return trace
    slopes = [None if s is None else s.repeat(losses, 1) for s in trace.slopes]
    return Trace(trace.inputs, slopes, trace.curves, trace.outputs)


class _LazyEnd:
    """The end of the episode, made when it is asked for: a meta-gradient that resets θ never needs it."""

    def __init__(self, shared: _Shared, deltas: list[Tensor]) -> None:
        self._shared, self._deltas = shared, deltas
        self._made: End | None = None

    def _end(self) -> End:
        if self._made is None:
            shared, slopes = self._shared, {}
            for layer, a, delta in zip(shared.layers, shared.trace.inputs, self._deltas, strict=True):
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
