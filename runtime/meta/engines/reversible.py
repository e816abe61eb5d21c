"""A stack of linear layers, several inner steps, little memory: θ_t is rebuilt by undoing its updates.

A step changes every weight by a product of two thin matrices (the inputs of the layer and the deltas, B rows each) and
by the weight decay. Keeping the thin ones is enough to walk back from θ_T to θ_0, and to differentiate each step by
hand on the way (Maclaurin et al. 2015, for exact arithmetic; here nothing is quantised, so momentum and weight decay
cost some rounding: ten times the last place over 20 steps).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from lossc.runtime.meta.engines.outer import value_and_errors
from lossc.runtime.meta.engines.stack import Layer, Trace, affine, backward, forward, layers_of, why_not_a_stack
from lossc.runtime.meta.episode import End, Episode, MetaGradient, growth, norm
from lossc.runtime.meta.representation import LossRepresentation
from lossc.runtime.tasks import SGD

MIN_MOMENTUM = 0.5
"""Undoing a step divides the velocity by the momentum; below this, rounding would grow too fast."""


def why_not(episode: Episode) -> str:
    """Why this engine is not for the episode, or ""."""
    if 0 < episode.sgd.momentum < MIN_MOMENTUM and episode.steps > 1:
        return f"a momentum of {episode.sgd.momentum} loses too many digits when steps are undone"
    return why_not_a_stack(episode)


CHEAP = 8
"""A layer this many times wider than the next one has deltas that are made again, not kept."""


@dataclass(frozen=True, slots=True, eq=False)
class _Along:
    """The adjoint of the gradient of a step, rate * direction; without momentum the direction is the adjoint of the
    weights itself, and `kept` the share of it that goes past the gradient."""

    direction: dict[str, Tensor]
    rate: float
    kept: float


@dataclass(slots=True, eq=False)
class _Step:
    """What is kept of a step: the inputs of the layers, the deltas, the outputs.

    A delta that is cheap to make again from the one after it is not kept.
    """

    inputs: list[Tensor]
    deltas: list[Tensor | None]
    outputs: Tensor


def meta_gradient(episode: Episode, family: LossRepresentation, phi: Tensor) -> MetaGradient:
    """The exact meta-gradient, and the norms of the adjoints on the way back."""
    with torch.no_grad():
        return _Reversible(episode, family, phi).run()


class _Reversible:
    def __init__(self, episode: Episode, family: LossRepresentation, phi: Tensor) -> None:
        self.episode, self.family, self.phi = episode, family, phi.detach()
        self.sgd: SGD = episode.sgd
        self.layers: tuple[Layer, ...] = layers_of(episode.model)
        self.params = {k: v.detach().clone() for k, v in episode.params.items()}
        self.velocity = {k: v.detach().clone() for k, v in episode.velocity.items()}
        self.fresh = not self.velocity

    def run(self) -> MetaGradient:
        steps = [self._step(x, y) for x, y in self.episode.inner]
        end = End(
            {k: v.clone() for k, v in self.params.items()},
            {k: v.clone() for k, v in self.velocity.items()},
            dict(self.episode.buffers),
        )
        value, bar = self._meta()
        moving = {k: torch.zeros_like(v) for k, v in bar.items()} if self.sgd.momentum else {}
        total = torch.zeros(self.family.size, dtype=torch.float64)
        norms = [norm(bar.values())]
        while steps:
            step, y = steps.pop(), self.episode.inner[len(steps)][1]
            along, moving = self._pull(bar, moving)
            if steps:
                self._undo(step)
            else:
                self.params = {k: v.detach() for k, v in self.episode.params.items()}
            inside, u = self._forward(step, along)
            hessian, mixed = self.family.second(step.outputs, self.family.encode(y, step.outputs), u, self.phi)
            total += mixed
            if steps:
                self._backward(step, along, inside, hessian, bar)
                norms.append(norm(bar.values()))
        return MetaGradient(value, total, "reversible", end, growth(norms))

    # -- forward ------------------------------------------------------------------------------------------------------

    def _step(self, x: Tensor, y: Tensor) -> _Step:
        trace = forward(self.layers, self.params, x)
        target = self.family.encode(y, trace.outputs)
        slope = self.family.value_and_slope(trace.outputs, target, self.phi)[1]
        kept = self._kept(trace, slope)
        first = self.fresh and not self.velocity
        for name, left, right in self._slopes(kept):
            self._descend(name, left, right, first)
        widths = [*(a.shape[1] for a in kept.inputs[1:]), trace.outputs.shape[1]]
        for i, (wide, narrow) in enumerate(pairwise(widths)):
            if wide >= CHEAP * narrow:
                kept.deltas[i] = None
        return kept

    def _kept(self, trace: Trace, slope: Tensor) -> _Step:
        return _Step(trace.inputs, list(backward(self.layers, self.params, trace, slope)), trace.outputs)

    def _slopes(self, step: _Step) -> Iterator[tuple[str, Tensor, Tensor | None]]:
        """The gradient of each weight as factors (δ, a), that of each bias as (δ, None); the last layer first.

        A delta that was not kept is made when it is asked for, from the weights of the layer after it.
        """
        for i in range(len(self.layers) - 1, -1, -1):
            layer, delta = self.layers[i], step.deltas[i]
            if delta is None:
                after, known = self.layers[i + 1], step.deltas[i + 1]
                assert after.before is not None and known is not None
                delta = after.before.pull(known @ self.params[after.weight], step.inputs[i + 1])
                step.deltas[i] = delta
            yield layer.weight, delta, step.inputs[i]
            if layer.bias:
                yield layer.bias, delta, None

    def _descend(self, name: str, delta: Tensor, a: Tensor | None, first: bool) -> None:
        """w and v after a step, in place: v = μ v + g + ω w, w -= α (g + ω w + μ v) or α v."""
        sgd, w = self.sgd, self.params[name]
        if not sgd.momentum:
            if sgd.weight_decay:
                w.mul_(1.0 - sgd.lr * sgd.weight_decay)
            _add_product(w, delta, a, -sgd.lr)
            return
        if first:
            v = self.velocity[name] = sgd.weight_decay * w
        else:
            v = self.velocity[name].mul_(sgd.momentum)
            if sgd.weight_decay:
                v.add_(w, alpha=sgd.weight_decay)
        _add_product(v, delta, a, 1.0)
        if sgd.nesterov:
            w.mul_(1.0 - sgd.lr * sgd.weight_decay).add_(v, alpha=-sgd.lr * sgd.momentum)
            _add_product(w, delta, a, -sgd.lr)
        else:
            w.add_(v, alpha=-sgd.lr)

    # -- backward -----------------------------------------------------------------------------------------------------

    def _meta(self) -> tuple[float, dict[str, Tensor]]:
        """The meta-loss at θ_T, and its gradient there."""
        x, y = self.episode.query
        trace = forward(self.layers, self.params, x)
        values, errors = value_and_errors(self.episode.meta_loss, trace.outputs[None], y)
        return values[0], {n: _product(d, a) for n, d, a in self._slopes(self._kept(trace, errors[0]))}

    def _pull(self, bar: dict[str, Tensor], moving: dict[str, Tensor]) -> tuple[_Along, dict[str, Tensor]]:
        """The adjoints of the gradient and of the velocity before a step, given those of w and v after it.

        With s = g + ω w, v' = μ v + s and w' = w - α (s + μ v') or w - α v'. `bar` gets what reaches w past g.
        """
        sgd = self.sgd
        if not sgd.momentum:
            return _Along(bar, -sgd.lr, 1.0 - sgd.lr * sgd.weight_decay), {}
        slope_bar, before = {}, {}
        for name, b in bar.items():
            after = moving[name].add_(b, alpha=-sgd.lr * (sgd.momentum if sgd.nesterov else 1.0))
            slope_bar[name] = torch.add(after, b, alpha=-sgd.lr) if sgd.nesterov else after.clone()
            before[name] = after.mul_(sgd.momentum)
            if sgd.weight_decay:
                b.add_(slope_bar[name], alpha=sgd.weight_decay)
        return _Along(slope_bar, 1.0, 1.0), before

    def _undo(self, step: _Step) -> None:
        """w and v before the step, from those after it."""
        sgd = self.sgd
        for name, delta, a in self._slopes(step):
            w = self.params[name]
            if not sgd.momentum:
                _add_product(w, delta, a, sgd.lr)
                if sgd.weight_decay:
                    w.div_(1.0 - sgd.lr * sgd.weight_decay)
                continue
            v = self.velocity[name]
            if sgd.nesterov:
                _add_product(w, delta, a, sgd.lr)
                w.add_(v, alpha=sgd.lr * sgd.momentum).div_(1.0 - sgd.lr * sgd.weight_decay)
            else:
                w.add_(v, alpha=sgd.lr)
            _add_product(v, delta, a, -1.0)
            v.add_(w, alpha=-sgd.weight_decay).div_(sgd.momentum)

    def _forward(self, step: _Step, along: _Along) -> tuple[list[tuple[Tensor, Tensor] | None], Tensor]:
        """J times the direction: of every layer's inputs, before and after the activation; and of the outputs."""
        inside: list[tuple[Tensor, Tensor] | None] = []
        moved = torch.zeros(())
        for layer, a in zip(self.layers, step.inputs, strict=True):
            inside.append(None if layer.before is None else (moved, layer.before.pull(moved, a)))
            v = along.direction
            moved = affine(layer, v, a, along.rate)
            if (pair := inside[-1]) is not None:
                moved.addmm_(pair[1], self.params[layer.weight].t())
        return inside, moved

    def _backward(
        self,
        step: _Step,
        along: _Along,
        inside: list[tuple[Tensor, Tensor] | None],
        bent: Tensor,
        bar: dict[str, Tensor],
    ) -> None:
        """Add ∂⟨direction, g⟩/∂w to `bar`, in place: Pearlmutter's R-operator by hand, the last layer first."""
        for i in range(len(self.layers) - 1, -1, -1):
            layer, a, delta, pair = self.layers[i], step.inputs[i], step.deltas[i], inside[i]
            assert delta is not None
            back = None
            if pair is not None and layer.before is not None:
                back = (bent @ self.params[layer.weight]).addmm_(delta, along.direction[layer.weight], alpha=along.rate)
                back = layer.before.pull(back, a)
                if layer.before.curve is not None:
                    before = step.deltas[i - 1]
                    assert before is not None
                    back.add_(layer.before.curve(a).mul_(before).mul_(pair[0]))
            bar[layer.weight].addmm_(bent.t(), a, beta=along.kept)
            if layer.bias:
                bar[layer.bias].mul_(along.kept).add_(bent.sum(dim=0))
            if pair is None or back is None:
                break
            bar[layer.weight].addmm_(delta.t(), pair[1])
            bent = back


def _product(delta: Tensor, a: Tensor | None) -> Tensor:
    return delta.sum(dim=0) if a is None else delta.t() @ a


def _add_product(to: Tensor, delta: Tensor, a: Tensor | None, alpha: float) -> None:
    if a is None:
        to.add_(delta.sum(dim=0), alpha=alpha)
    else:
        to.addmm_(delta.t(), a, alpha=alpha)
