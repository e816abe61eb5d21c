"""The way of every loss to code, one readable function: the passes in order, and every stage kept."""

from __future__ import annotations

from dataclasses import dataclass

from lossc.compiler.loss import Loss
from lossc.compiler.passes.canonicalize import canonicalize
from lossc.compiler.passes.guard import guard_report
from lossc.compiler.passes.link import link_report
from lossc.compiler.passes.rewrite import Applied
from lossc.compiler.passes.stabilize import stabilize_report
from lossc.compiler.targets.lowering import lower
from lossc.compiler.verify import verify


@dataclass(frozen=True, slots=True)
class Stages:
    """The loss after each pass on the way to code, and what the passes did: `lossc compile --show-passes` shows it."""

    written: Loss
    canonical: Loss
    linked: Loss
    stable: Loss
    lowered: Loss
    guarded: Loss
    applied: tuple[Applied, ...]


def prepare(loss: Loss) -> Stages:
    """Verify, then run the passes: canonical form, link, stable forms, cheap operations, and guards last."""
    verify(loss)
    canonical = canonicalize(loss)
    linked, fused = link_report(canonical)
    stable, fixed = stabilize_report(linked, canonical=linked is canonical)
    lowered = lower(stable)
    guarded, guards = guard_report(lowered)
    return Stages(loss, canonical, linked, stable, lowered, guarded, (*fused, *fixed, *guards))
