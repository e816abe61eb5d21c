"""A stack of linear layers, several inner steps, little memory: θ_t is rebuilt by undoing its updates.

A step changes every weight by a product of two thin matrices (the inputs of the layer and the deltas, B rows each) and
by the weight decay. Keeping the thin ones is enough to walk back from θ_T to θ_0, and to differentiate each step by
hand on the way (Maclaurin et al. 2015, for exact arithmetic; here nothing is quantised, so momentum and weight decay
cost some rounding: ten times the last place over 20 steps).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from lossc.runtime.meta.engines.stack import Layer, Trace, backward, forward, layers_of, why_not_a_stack
from lossc.runtime.meta.episode import End, Episode, MetaGradient
from lossc.runtime.meta.representation import LossRepresentation
from lossc.runtime.tasks import SGD

MIN_MOMENTUM = 0.5
"""Undoing a step divides the velocity by the momentum; below this, rounding would grow too fast."""


def why_not(episode: Episode) -> str:
    """Why this engine is not for the episode, or ""."""
    if 0 < episode.sgd.momentum < MIN_MOMENTUM and episode.steps > 1:
        return f"a momentum of {episode.sgd.momentum} loses too many digits when steps are undone"
    return why_not_a_stack(episode)


@dataclass(slots=True, eq=False)
class _Step:
    """What is kept of a step: the inputs of the layers, the deltas, the outputs."""

    inputs: list[Tensor]
    deltas: list[Tensor]
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
        norms = [_norm(bar)]
        for t in range(len(steps) - 1, -1, -1):
            slope_bar, moving = self._pull(bar, moving)
            self._undo(steps[t], first=t == 0 and self.fresh)
            total += self._differentiate(steps[t], self.episode.inner[t][1], slope_bar, bar)
            steps.pop()
            if t:
                norms.append(_norm(bar))
        growth = tuple(b / a if a else 0.0 for a, b in pairwise(norms))[::-1]
        return MetaGradient(value, total, "reversible", end, growth)

    # -- forward ------------------------------------------------------------------------------------------------------

    def _step(self, x: Tensor, y: Tensor) -> _Step:
        trace = forward(self.layers, self.params, x)
        target = self.family.encode(y, trace.outputs)
        slope = self.family.value_and_slope(trace.outputs, target, self.phi)[1]
        kept = _Step(trace.inputs, backward(self.layers, self.params, trace, slope), trace.outputs)
        first = self.fresh and not self.velocity
        for name, left, right in self._slopes(kept):
            self._descend(name, left, right, first)
        return kept

    def _slopes(self, step: _Step) -> list[tuple[str, Tensor, Tensor | None]]:
        """The gradient of each weight as factors (δ, a), that of each bias as (δ, None)."""
        out: list[tuple[str, Tensor, Tensor | None]] = []
        for layer, a, delta in zip(self.layers, step.inputs, step.deltas, strict=True):
            out.append((layer.weight, delta, a))
            if layer.bias:
                out.append((layer.bias, delta, None))
        return out

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
        with torch.enable_grad():
            leaf = trace.outputs.detach().requires_grad_()
            value = self.episode.meta_loss(leaf, y)
            (slope,) = torch.autograd.grad(value, leaf)
        step = _Step(trace.inputs, backward(self.layers, self.params, trace, slope), trace.outputs)
        return float(value.detach()), {n: _product(d, a) for n, d, a in self._slopes(step)}

    def _pull(self, bar: dict[str, Tensor], moving: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The adjoints of the gradient and of the velocity before a step, given those of w and v after it.

        With s = g + ω w, v' = μ v + s and w' = w - α (s + μ v') or w - α v'.
        """
        sgd = self.sgd
        if not sgd.momentum:
            return {k: -sgd.lr * b for k, b in bar.items()}, {}
        slope_bar, before = {}, {}
        for name, b in bar.items():
            after = moving[name].add_(b, alpha=-sgd.lr * (sgd.momentum if sgd.nesterov else 1.0))
            slope_bar[name] = torch.add(after, b, alpha=-sgd.lr) if sgd.nesterov else after.clone()
            before[name] = after.mul_(sgd.momentum)
        return slope_bar, before

    def _undo(self, step: _Step, *, first: bool) -> None:
        """w and v before the step, from those after it."""
        sgd = self.sgd
        for name, delta, a in self._slopes(step):
            w = self.params[name]
            if sgd.momentum and not sgd.nesterov:
                w.add_(self.velocity[name], alpha=sgd.lr)
            elif sgd.momentum:
                _add_product(w, delta, a, sgd.lr)
                w.add_(self.velocity[name], alpha=sgd.lr * sgd.momentum).div_(1.0 - sgd.lr * sgd.weight_decay)
            else:
                _add_product(w, delta, a, sgd.lr)
                if sgd.weight_decay:
                    w.div_(1.0 - sgd.lr * sgd.weight_decay)
            if sgd.momentum and not first:
                v = self.velocity[name]
                _add_product(v, delta, a, -1.0)
                v.add_(w, alpha=-sgd.weight_decay).div_(sgd.momentum)

    def _differentiate(self, step: _Step, y: Tensor, slope_bar: dict[str, Tensor], bar: dict[str, Tensor]) -> Tensor:
        """Add ∂⟨slope_bar, g⟩/∂w to `bar`, in place, and return that in φ: Pearlmutter's R-operator by hand."""
        trace = self._trace_again(step)
        pushed: list[Tensor | None] = []
        moved = torch.zeros(())
        for i, layer in enumerate(self.layers):
            slope = trace.slopes[i]
            a_dot = None if slope is None else moved * slope
            pushed.append(None if slope is None else moved)
            moved = step.inputs[i] @ slope_bar[layer.weight].t()
            if layer.bias:
                moved = moved + slope_bar[layer.bias]
            if a_dot is not None:
                moved = torch.addmm(moved, a_dot, self.params[layer.weight].t())
        target = self.family.encode(y, step.outputs)
        hessian, mixed = self.family.second(step.outputs, target, moved, self.phi)
        if self.sgd.weight_decay:
            for name, b in bar.items():
                b.add_(slope_bar[name], alpha=self.sgd.weight_decay)
        bent = hessian
        for i in range(len(self.layers) - 1, -1, -1):
            layer, a, delta = self.layers[i], step.inputs[i], step.deltas[i]
            bar[layer.weight].addmm_(bent.t(), a)
            if layer.bias:
                bar[layer.bias].add_(bent.sum(dim=0))
            slope, z_dot = trace.slopes[i], pushed[i]
            if slope is None or z_dot is None:
                break
            bar[layer.weight].addmm_(delta.t(), z_dot * slope)
            w = self.params[layer.weight]
            back = torch.addmm(delta @ slope_bar[layer.weight], bent, w) * slope
            curve = trace.curves[i]
            bent = back if curve is None else back + (delta @ w) * curve * z_dot
        return mixed.double()

    def _trace_again(self, step: _Step) -> Trace:
        """σ' and σ'' of the step: from the inputs where that is enough, as for ReLU, tanh and sigmoid."""
        slopes: list[Tensor | None] = []
        curves: list[Tensor | None] = []
        for layer, a in zip(self.layers, step.inputs, strict=True):
            before = layer.before
            slopes.append(None if before is None else before.slope(a, a))
            curves.append(None if before is None or before.curve is None else before.curve(a, a))
        return Trace(step.inputs, slopes, curves, step.outputs)


def _product(delta: Tensor, a: Tensor | None) -> Tensor:
    return delta.sum(dim=0) if a is None else delta.t() @ a


def _add_product(to: Tensor, delta: Tensor, a: Tensor | None, alpha: float) -> None:
    if a is None:
        to.add_(delta.sum(dim=0), alpha=alpha)
    else:
        to.addmm_(delta.t(), a, alpha=alpha)


def _norm(values: dict[str, Tensor]) -> float:
    return float(torch.stack([v.double().square().sum() for v in values.values()]).sum().sqrt())
