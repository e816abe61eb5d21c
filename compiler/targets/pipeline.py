"""The way of every loss to code, one readable function: the passes in order, and every stage kept."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lossc.compiler.ir import F, substitute
from lossc.compiler.loss import IDENTITY, Loss
from lossc.compiler.ops import call
from lossc.compiler.passes.canonicalize import canonicalize
from lossc.compiler.passes.guard import guard_report
from lossc.compiler.passes.link import link_report
from lossc.compiler.passes.policies import apply_policies
from lossc.compiler.passes.rewrite import Applied
from lossc.compiler.passes.stabilize import stabilize_report
from lossc.compiler.targets.lowering import lower
from lossc.compiler.targets.options import DEFAULT, Options
from lossc.compiler.targets.target_form import opened
from lossc.compiler.verify import verify


@dataclass(frozen=True, slots=True)
class Stages:
    """The loss after each pass on the way to code, and what the passes did: `lossc compile --show-passes` shows it."""

    written: Loss
    canonical: Loss
    linked: Loss
    stable: Loss
    protected: Loss
    lowered: Loss
    guarded: Loss
    applied: tuple[Applied, ...]


def prepare(loss: Loss, options: Options = DEFAULT) -> Stages:
    """Verify, then run the passes: canonical form, link, stable forms, policies, cheap operations, and guards last."""
    verify(loss)
    given = loss if options.from_logits else of_probabilities(loss)
    if options.literal:
        return _literal(given)
    canonical = canonicalize(given)
    linked, fused = link_report(opened(canonical))
    stable, fixed = stabilize_report(linked, canonical=linked is canonical)
    protected, changed = apply_policies(stable, options.eps, options.kinks)
    lowered = lower(protected)
    guarded, guards = guard_report(lowered)
    return Stages(given, canonical, linked, stable, protected, lowered, guarded, (*fused, *fixed, *changed, *guards))


def of_probabilities(loss: Loss) -> Loss:
    """The same loss for models that give probabilities: nothing is applied to f."""
    return loss if loss.link == IDENTITY else replace(loss, f="unit")


def _literal(loss: Loss) -> Stages:
    """The formula as it stands, after its link: no pass touches it."""
    linked = loss
    if loss.link != IDENTITY:
        linked = replace(loss, body=substitute(loss.body, {F: call(loss.link, F)}), f="logit")
    return Stages(loss, loss, linked, linked, linked, linked, linked, ())
