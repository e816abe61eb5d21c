"""Engines: ways to compute one and the same meta-gradient.

unroll       any model, any number of steps: reverse mode over reverse mode, with the loss as one node
jvp1         one step, any model: a forward-mode product of the model alone, the loss in closed form
lockstep     one step, stacks of linear layers: many losses on the same weights and batches, in low-rank form
reversible   stacks of linear layers, several steps: weights are rebuilt backwards instead of stored
implicit     long inner runs: the implicit function theorem at the last weights (an approximation; only when asked for)
evolution    finite differences in random directions, for what has no useful gradient (only when asked for)

All but the last two are exact and agree to 1e-10 in float64 (tests/runtime/test_engines.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from lossc.compiler.errors import UsageError
from lossc.runtime.meta.engines import evolution, implicit, jvp1, lockstep, reversible, unroll
from lossc.runtime.meta.episode import Episode, MetaGradient
from lossc.runtime.meta.representation import LossRepresentation

Engine = Callable[[Episode, LossRepresentation, Tensor], MetaGradient]

ENGINES: Mapping[str, Engine] = {
    "unroll": unroll.meta_gradient,
    "jvp1": jvp1.meta_gradient,
    "lockstep": lockstep.meta_gradient,
    "reversible": reversible.meta_gradient,
    "implicit": implicit.meta_gradient,
    "evolution": evolution.meta_gradient,
}
WHY_NOT: Mapping[str, Callable[[Episode], str]] = {
    "jvp1": jvp1.why_not,
    "lockstep": lockstep.why_not,
    "reversible": reversible.why_not,
}
"""For engines that are not for every episode: why one is not for this one, or ""."""


def choose(episode: Episode) -> str:
    """The fastest exact engine for an episode."""
    for name in ("lockstep", "jvp1", "reversible"):
        if not WHY_NOT[name](episode):
            return name
    return "unroll"


def meta_gradient(
    episode: Episode, family: LossRepresentation, phi: Tensor, engine: str = "auto", *, truncate: int = 0
) -> MetaGradient:
    """The meta-gradient of an episode with the given engine, or the fastest applicable one.

    truncate   back-propagate through the last `truncate` inner steps only (0: through all); `unroll` alone can

    Raises UsageError (L253) for an engine that does not exist, or is not for this episode.
    """
    if truncate and truncate < episode.steps:
        if engine not in ("auto", "unroll"):
            raise UsageError("L253", f"the engine `{engine}` does not truncate", hint="--engine unroll")
        return unroll.meta_gradient(episode, family, phi, truncate=truncate)
    if engine == "auto":
        try:
            return ENGINES[choose(episode)](episode, family, phi)
        except NotImplementedError:  # torch has no forward mode for some layers: an LSTM on the CPU, weight norm
            return unroll.meta_gradient(episode, family, phi)
    if engine not in ENGINES:
        raise UsageError(
            "L253", f"there is no engine `{engine[:40]}`", expected="auto, or one of: " + ", ".join(ENGINES)
        )
    if engine in WHY_NOT and (reason := WHY_NOT[engine](episode)):
        raise UsageError("L253", f"the engine `{engine}` cannot be used here: {reason}", hint="--engine auto")
    return ENGINES[engine](episode, family, phi)


def meta_gradients(
    episode: Episode, families: Sequence[LossRepresentation], phis: Sequence[Tensor], engine: str = "auto"
) -> list[MetaGradient]:
    """The meta-gradients of several losses on one episode: together where `lockstep` is applicable, else in turn."""
    if engine in ("auto", "lockstep") and not lockstep.why_not(episode):
        return lockstep.meta_gradients(episode, families, phis)
    return [meta_gradient(episode, f, p, engine) for f, p in zip(families, phis, strict=True)]
