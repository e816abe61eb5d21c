"""Numeric policies: what a loss does at the edges of its operators and at its kinks, by name.

    --eps    none    the formula means what it says (the default)
             add     log(u + eps), sqrt(u + eps), a/(b + eps), ...: shifted, never dead, biased by eps
             clamp   log(max(u, eps)), ...: exact above eps, a slope of exactly 0 below
    --kinks  torch   the subgradients of the operator records (the default): those of torch
             left    the slope as f comes from below
             right   the slope as f comes from above
             mid     the mean of both
             zero    0 if it lies between them, else the one nearer to 0

A policy is the last word on how a protection is written. With `add` and `clamp` a protection in the formula takes the
form of the policy: plog and log(u + eps) become clamped under `clamp`, clog and log(max(u, eps)) shifted under `add`.
With `none` both stay as they are written.
"""

from __future__ import annotations

from lossc.compiler.errors import UsageError
from lossc.compiler.loss import Loss
from lossc.compiler.passes.rewrite import Applied

EPS_POLICIES = ("none", "add", "clamp")
KINK_POLICIES = ("torch", "zero", "left", "right", "mid")


def apply_policies(loss: Loss, eps: str = "none", kinks: str = "torch") -> tuple[Loss, list[Applied]]:
    """The loss under both policies, and what they changed (rules G8, G9, G10); the very same loss for the defaults.

    To be run on the stable form of a loss, whose log-space rewrites need no ε, and before lowering and guards. Raises
    UsageError (L205) for a policy that does not exist.
    """
    _check("eps", eps, EPS_POLICIES)
    _check("kinks", kinks, KINK_POLICIES)
    applied: list[Applied] = []
    if eps != "none":
        from lossc.compiler.passes.protect import protected

        loss, applied = protected(loss, eps)
    if kinks != "torch":
        from lossc.compiler.passes.kinks import with_slopes

        loss, turned = with_slopes(loss, kinks)
        applied = [*applied, *turned]
    return loss, applied


def _check(option: str, given: str, offered: tuple[str, ...]) -> None:
    if given not in offered:
        raise UsageError("L205", f"`{given}` is not a policy for `{option}`", expected="one of: " + ", ".join(offered))
