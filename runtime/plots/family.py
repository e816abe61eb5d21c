"""Which losses a figure is of: one or several, each with values of its hyper-parameters."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from lossc.compiler.errors import UsageError
from lossc.compiler.loss import Loss
from lossc.compiler.printing import to_text
from lossc.runtime.plots.names import number, symbol

Number: TypeAlias = "float | Fraction"
Losses: TypeAlias = "Loss | Sequence[Loss] | Mapping[str, Loss]"

MOST_LINES = 24
LONGEST = 60
"""Characters of a formula in a title, or of a name in a legend."""


@dataclass(frozen=True)
class Member:
    """One loss of the figure: its own name, the values that tell it from its family, and the program."""

    name: str
    values: str
    loss: Loss

    def label(self, names: bool) -> str:
        """With its name, where there are others."""
        return ", ".join(p for p in (self.name if names else "", self.values) if p)


def by_name(losses: Losses) -> dict[str, Loss]:
    """The losses by the names that they go by; a formula without a name by its text."""
    if isinstance(losses, Mapping):
        return dict(losses)
    out: dict[str, Loss] = {}
    for loss in [losses] if isinstance(losses, Loss) else losses:
        name = loss.name if loss.name != "loss" else to_text(loss.body)
        name = name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
        out[name if name not in out else f"{name} ({len(out) + 1})"] = loss
    return out


def members(losses: Losses, params: Mapping[str, Sequence[Number]]) -> list[Member]:
    """Every loss with every combination of those values whose hyper-parameters it has.

    Raises UsageError: L201 for a hyper-parameter that no loss has, L202 for a value that does not suit its role, L260
    for too many.
    """
    known = by_name(losses)
    if not known:
        raise UsageError("L260", "there is no loss to draw")
    for name, values in params.items():
        if not any(name in (p.name for p in loss.params) for loss in known.values()):
            next(iter(known.values())).parameter(name)  # says which there are
        if not values:
            raise UsageError("L260", f"`{name}` has no values to draw")
    out: list[Member] = []
    for name, loss in known.items():
        family = {k: v for k, v in params.items() if k in {p.name for p in loss.params}}
        if math.prod(map(len, family.values())) + len(out) > MOST_LINES:
            raise UsageError(
                "L260", f"more than {MOST_LINES} lines cannot be told apart", hint="fewer losses or values"
            )
        for values in itertools.product(*family.values()):
            chosen = dict(zip(family, values, strict=True))
            shown = ", ".join(f"{symbol(k)} = {number(float(v))}" for k, v in chosen.items() if len(family[k]) > 1)
            out.append(Member(name, shown, loss.with_defaults(**chosen)))
    return out


def title_of(family: Sequence[Member]) -> str:
    """The name of the one loss, its formula if that is short, and hyper-parameters that all lines have in common."""
    loss = family[0].loss
    formula = to_text(loss.body)
    name = family[0].name if family[0].name == formula or len(formula) > LONGEST else f"{family[0].name}: {formula}"
    same = [p for p in loss.params if all(m.loss.parameter(p.name).default == p.default for m in family)]
    values = [f"{symbol(p.name)} = {number(float(p.default))}" for p in same if p.default is not None]
    return f"{name},  {', '.join(values)}" if values else name
