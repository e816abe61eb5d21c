"""One episode of meta-learning: from weights θ_0, T steps with a learned loss, then the meta-loss of the weights there.

The meta-gradient is the derivative of that last number with respect to φ (thesis, eq. 3.9 and 5.20). An `Episode` holds
everything it depends on besides the loss, as values, so that each engine computes the same function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lossc.runtime.inner import randomness
from lossc.runtime.tasks import SGD

if TYPE_CHECKING:
    from lossc.runtime.meta.representation import LossRepresentation

MetaLoss = Callable[[Tensor, Tensor], Tensor]
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Episode:
    """What a meta-gradient is taken of, φ aside.

    model      the base model; its own weights are never read
    params     θ_0 by name, detached; `buffers` likewise (running statistics)
    velocity   the momentum at θ_0, by name; empty for none yet
    inner      the batches (inputs, targets) of the T inner steps
    query      the batch of the meta-loss
    sgd        the inner optimiser, with the meaning of `torch.optim.SGD`
    meta_loss  `(outputs, targets) -> number`, differentiable
    seed       of what is random inside the model (dropout): step t sees the same numbers in every engine

    The model is in training mode throughout. Each step starts from the buffers that the one before left, and no
    gradient goes through them, as in ordinary training.
    """

    model: nn.Module
    params: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]
    inner: tuple[Batch, ...]
    query: Batch
    sgd: SGD
    meta_loss: MetaLoss
    velocity: Mapping[str, Tensor] = field(default_factory=dict)
    seed: int = 0

    @property
    def steps(self) -> int:
        """T, the number of inner steps."""
        return len(self.inner)

    def to(self, dtype: torch.dtype) -> Episode:
        """The same episode in another precision; inputs and targets that are not real numbers stay as they are."""

        def cast(t: Tensor) -> Tensor:
            return t.to(dtype) if t.is_floating_point() else t

        return Episode(
            self.model,
            {k: cast(v) for k, v in self.params.items()},
            {k: cast(v) for k, v in self.buffers.items()},
            tuple((cast(x), cast(y)) for x, y in self.inner),
            (cast(self.query[0]), cast(self.query[1])),
            self.sgd,
            self.meta_loss,
            {k: cast(v) for k, v in self.velocity.items()},
            self.seed,
        )


@dataclass(frozen=True, slots=True, eq=False)
class End:
    """Where an episode ends: weights, momentum and buffers after the last inner step, detached."""

    params: dict[str, Tensor]
    velocity: dict[str, Tensor]
    buffers: dict[str, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class MetaGradient:
    """A meta-gradient and what is known about it.

    value    the meta-loss after the inner steps
    grad     its derivative with respect to φ, float64 [size]
    engine   which engine computed it
    growth   for each inner step, the norm of the adjoint of its weights over that of the step after it; empty where an
             engine does not see it (one step)
    end      the state after the last inner step
    """

    value: float
    grad: Tensor
    engine: str
    end: End
    growth: tuple[float, ...] = ()

    @property
    def finite(self) -> bool:
        """Whether value and gradient are finite numbers."""
        return bool(torch.isfinite(self.grad).all()) and self.value - self.value == 0.0


def size_of(value: Tensor) -> Tensor:
    """|value| in float64: in the precision of the value where that is safe, since a copy costs ten times the norm."""
    found: Tensor = torch.linalg.vector_norm(value)
    if value.dtype == torch.float64 or 1e-15 < float(found) < 1e15:
        return found.double()
    exact: Tensor = torch.linalg.vector_norm(value, dtype=torch.float64)
    return exact


def norm(values: Iterable[Tensor]) -> float:
    """The norm of many tensors together."""
    return float(torch.linalg.vector_norm(torch.stack([size_of(v) for v in values])))


def growth(norms: Iterable[float]) -> tuple[float, ...]:
    """|λ_t| / |λ_{t+1}| for each inner step, first step first, from the norms in the order of the way back."""
    return tuple(early / late if late else 0.0 for late, early in pairwise(norms))[::-1]


def differentiable_attention(model: nn.Module) -> AbstractContextManager[None]:
    """Attention in plain operations, where the model may hold some: torch's fast kernels have no second derivative."""
    if all(type(m).__module__ in _WITHOUT_ATTENTION for m in model.modules()):
        return nullcontext()
    from torch.nn.attention import SDPBackend, sdpa_kernel

    found: AbstractContextManager[None] = sdpa_kernel(SDPBackend.MATH)
    return found


_WITHOUT_ATTENTION = frozenset(
    f"torch.nn.modules.{n}"
    for n in ("linear", "container", "conv", "batchnorm", "normalization", "pooling", "dropout", "flatten", "padding")
) | {"lossc.runtime.models.resnet", "lossc.runtime.models.blocks"}


def run_model(
    episode: Episode, params: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Tensor, step: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """The outputs at inner step `step` (the query is step T), and the buffers that the model leaves behind."""
    own = {k: v.clone() for k, v in buffers.items()}
    with randomness(episode.model, episode.seed, step), differentiable_attention(episode.model):
        outputs = functional_call(episode.model, {**params, **own}, (x,))
    return outputs, {k: v.detach() for k, v in own.items()}


def descend(
    sgd: SGD, params: Mapping[str, Tensor], velocity: Mapping[str, Tensor], slopes: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights and momentum after an update of `torch.optim.SGD`, out of place, differentiable in all it is given."""
    new, moving = {}, {}
    for name, weight in params.items():
        slope = slopes[name]
        if sgd.weight_decay:
            slope = torch.add(slope, weight, alpha=sgd.weight_decay)
        if sgd.momentum:
            before = velocity.get(name)
            moving[name] = slope if before is None else torch.add(slope, before, alpha=sgd.momentum)
            slope = torch.add(slope, moving[name], alpha=sgd.momentum) if sgd.nesterov else moving[name]
        new[name] = torch.add(weight, slope, alpha=-sgd.lr)
    return new, moving


def first_step_scale(sgd: SGD) -> float:
    """How much the first gradient moves the weights, over the learning rate: 1 + μ for Nesterov, else 1."""
    return 1.0 + sgd.momentum if sgd.momentum and sgd.nesterov else 1.0


def gradients(
    value: Tensor,
    params: Mapping[str, Tensor],
    cotangent: Tensor | None = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> dict[str, Tensor]:
    """The gradient of a number, or of ⟨cotangent, value⟩, in each of the weights; 0 where it does not depend on one."""
    found = torch.autograd.grad(
        value,
        list(params.values()),
        cotangent,
        retain_graph=retain_graph,
        create_graph=create_graph,
        allow_unused=True,
        materialize_grads=True,
    )
    return dict(zip(params, found, strict=True))


def leaves(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same numbers, to be differentiated from here on."""
    return {k: v.detach().requires_grad_() for k, v in values.items()}


def play_inner(episode: Episode, family: LossRepresentation, phi: Tensor) -> End:
    """The T inner steps as ordinary training: no derivative with respect to φ can be taken."""
    params, velocity, buffers = dict(episode.params), dict(episode.velocity), dict(episode.buffers)
    for t, (x, y) in enumerate(episode.inner):
        start = leaves(params)
        outputs, buffers = run_model(episode, start, buffers, x, t)
        fixed = outputs.detach()
        slope = family.value_and_slope(fixed, family.encode(y, fixed), phi)[1]
        found = gradients(outputs, start, slope)
        with torch.no_grad():
            params, velocity = descend(episode.sgd, params, velocity, found)
    return End(params, velocity, buffers)
