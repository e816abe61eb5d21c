"""A meta-gradient that is looked at before it is used, and what is done when it is no good.

float32 through a long unroll of a loss with kinks and logarithms may have no correct digit, or none at all. In this
order: a gradient that is not finite, or whose adjoint grew beyond what float32 can carry, is computed again in float64;
if that is no better the horizon is halved, down to one step; if that is not finite either the step is left out. Each
intervention is an `Event`, and the run records it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from lossc.runtime.meta.engines import meta_gradient
from lossc.runtime.meta.episode import Episode, MetaGradient
from lossc.runtime.meta.representation import LossRepresentation

MAX_GROWTH = {torch.float32: 1e4, torch.float64: 1e10}
"""How much the adjoint may grow over the inner steps: beyond, half of the digits of the format are lost."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that was done about a gradient: at which meta-step, what, and why."""

    step: int
    action: str
    why: str

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def growth_of(found: MetaGradient) -> float:
    """The factor by which the adjoint grew over the inner steps; 1 where an engine does not see it."""
    total = 1.0
    for ratio in found.growth:
        total *= ratio if math.isfinite(ratio) else math.inf
    return total


def trouble(found: MetaGradient, dtype: torch.dtype) -> str:
    """What is wrong with a meta-gradient, or ""."""
    if not found.finite:
        bad = int((~torch.isfinite(found.grad)).sum())
        return f"{bad} of {found.grad.numel()} entries are not finite" if bad else f"the meta-loss is {found.value}"
    grown = growth_of(found)
    return f"the adjoint grew {grown:.1e} times" if grown > MAX_GROWTH.get(dtype, 1e4) else ""


def guarded_meta_gradient(
    episode: Episode, family: LossRepresentation, phi: Tensor, step: int, engine: str = "auto", *, truncate: int = 0
) -> tuple[MetaGradient | None, list[Event]]:
    """The meta-gradient, or None if there is no finite one; and what was done to get it.

    Engines that estimate ("implicit", "evolution") are not helped beyond float64.
    """
    events: list[Event] = []
    dtype = next((p.dtype for p in episode.params.values()), torch.float32)
    found = meta_gradient(episode, family, phi, engine, truncate=truncate)
    why = trouble(found, dtype)
    if why and dtype == torch.float32:
        events.append(Event(step, "float64", why))
        episode, dtype = episode.to(torch.float64), torch.float64
        found = meta_gradient(episode, family, phi, engine, truncate=truncate)
        why = trouble(found, dtype)
    horizon = truncate or episode.steps
    while why and horizon > 1 and engine in ("auto", "unroll", "reversible"):
        horizon //= 2
        events.append(Event(step, f"truncate {horizon}", why))
        found = meta_gradient(episode, family, phi, truncate=horizon)
        why = trouble(found, dtype)
    if found.finite:
        return found, events
    events.append(Event(step, "skip", why or "the meta-gradient is not finite"))
    return None, events


def float32_error(
    episode: Episode, family: LossRepresentation, phi: Tensor, found: MetaGradient, *, truncate: int = 0
) -> float:
    """The relative error of a float32 meta-gradient, by the same episode, engine and horizon in float64.

    A model of one's own that draws random numbers draws others in float64: they count as error here.
    """
    exact = meta_gradient(episode.to(torch.float64), family, phi, found.engine, truncate=truncate)
    size = float(exact.grad.norm())
    return float((found.grad - exact.grad).norm()) / size if size > 0 else 0.0
