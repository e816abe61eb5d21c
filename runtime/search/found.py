"""The best losses of a search, as losses: with their learned coefficients as numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from lossc.compiler.loss import Loss
from lossc.runtime.plain import finite_values
from lossc.runtime.search.bench import family_of
from lossc.runtime.search.finals import Finals
from lossc.runtime.search.journal import SEARCH
from lossc.runtime.search.loop import Search
from lossc.runtime.search.strategies import Individual

KEPT = 20
"""Losses that are kept in the tables, beside the front."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """One of the best losses.

    loss      with its learned coefficients as numbers; `formula` is that, rounded; `structure` the form without them
    fitness   of the search; `again` the mean metric with other seeds, more steps and other rows, infinite if a training
              came to nothing, None if it was not judged again
    """

    ticket: int
    loss: Loss
    formula: str
    structure: str
    fitness: float
    size: int
    again: float | None
    coefficients: tuple[float, ...]
    operator: str
    parents: tuple[int, ...]

    def as_json(self) -> dict[str, Any]:
        """As plain data, the loss in its JSON form."""
        return finite_values({
            "ticket": self.ticket, "fitness": self.fitness, "again": self.again, "size": self.size,
            "operator": self.operator, "parents": list(self.parents), "structure": self.structure,
            "formula": self.formula, "coefficients": list(self.coefficients), "loss": json.loads(self.loss.to_json()),
        })  # fmt: skip


def found_loss(search: Search, here: Individual, phi: Sequence[float] | None = None) -> Found:
    """A loss of the search with the coefficients that it learned, or with others."""
    assert here.outcome is not None
    family = family_of(search.loss(here.expr).to_json(), search.config.output)
    values = tuple(phi if phi is not None else here.outcome["phi"])
    vector = torch.tensor(values, dtype=torch.float64)
    return Found(
        here.ticket, family.fold(vector), family.describe(vector), str(search.loss(here.expr)), here.value, len(here),
        None, values, here.operator, here.parents,
    )  # fmt: skip


def found_losses(search: Search, finals: Finals | None) -> tuple[Found, ...]:
    """The best losses: first those that were judged again, in that order, then the others by fitness."""
    out: list[Found] = []
    for finalist in finals.finalists[SEARCH] if finals is not None else ():
        made = found_loss(search, finalist.individual, finalist.phi)
        out.append(replace(made, fitness=finalist.fitness, again=finalist.mean if finalist.again else None))
    there = {f.ticket for f in out}
    return (*out, *(found_loss(search, i) for i in search.best[:KEPT] if i.ticket not in there))


def front_losses(search: Search) -> tuple[Found, ...]:
    """The Pareto front, as losses."""
    return tuple(found_loss(search, i) for i in front(search))


def front(search: Search) -> list[Individual]:
    """The Pareto front over fitness and size, best first: no other loss is as good in both and better in one."""
    out: list[Individual] = []
    for here in search.best:
        if all(len(here) < len(other) for other in out):
            out.append(here)
    return out
