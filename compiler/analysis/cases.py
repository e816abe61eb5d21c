"""Answers that depend on hyper-parameters, as a table of cases.

A question is a function of a `World`: what is known of C and the hyper-parameters. Where it needs a sign that nobody
knows (is log(phi1) positive?) it raises `Split`, and is asked again in three worlds: below, at and above the point
where the sign changes, written for one name where that can be solved (`phi1 < 1`). Branches with equal answers are one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from lossc.compiler.analysis.world import Split, World, sign_at
from lossc.compiler.ir import ZERO, Expr

T = TypeVar("T")

MAX_CASES = 24
"""Cases beyond which a table is given up: no one reads it."""
_RELATIONS = {(-1,): "<", (0,): "=", (1,): ">", (-1, 0): "<=", (0, 1): ">="}
_SIGNS = {relation: signs for signs, relation in _RELATIONS.items()}


class TooManyCases(Exception):
    """The table of cases is too long to be of use."""


@dataclass(frozen=True, slots=True)
class Condition:
    """left RELATION right, where the relation is one of < <= = >= >."""

    left: Expr
    relation: str
    right: Expr

    def holds(self, values: Mapping[Expr, Any], classes: int) -> bool:
        """Whether it holds for values of C and the hyper-parameters."""
        return sign_at(self.left - self.right, values, classes) in _SIGNS[self.relation]


@dataclass(frozen=True, slots=True)
class Case(Generic[T]):
    """An answer, and the conditions under which it is the one."""

    conditions: tuple[Condition, ...]
    answer: T

    def holds(self, values: Mapping[Expr, Any], classes: int) -> bool:
        """Whether it is the case for values of C and the hyper-parameters."""
        return all(k.holds(values, classes) for k in self.conditions)


def decide(ask: Callable[[World], T], world: World, same: Callable[[World, T, T], bool]) -> list[Case[T]]:
    """The answers to a question in every case. `same` compares two answers in a world, where names may be fixed.

    Raises TooManyCases, OutOfTime, and Unsolved as the question does.
    """
    budget = [MAX_CASES]
    return _decide(ask, world, same, budget)


def _decide(
    ask: Callable[[World], T], world: World, same: Callable[[World, T, T], bool], budget: list[int]
) -> list[Case[T]]:
    world.check_time()
    try:
        return [Case((), ask(world))]
    except Split as split:
        of = split.of
    budget[0] -= 1
    if budget[0] < 0:
        raise TooManyCases
    place = world.place(of)
    sense = place.sense if place is not None else 1
    worlds = {sign: world.assume(of, sign * sense, place) for sign in (-1, 0, 1)}
    branches = {sign: _decide(ask, w, same, budget) for sign, w in worlds.items() if w is not None}
    left, right = (place.name, place.at) if place is not None else (of, ZERO)
    return _joined(branches, {s: w for s, w in worlds.items() if w is not None}, left, right, same)


def _joined(
    branches: dict[int, list[Case[T]]],
    worlds: dict[int, World],
    left: Expr,
    right: Expr,
    same: Callable[[World, T, T], bool],
) -> list[Case[T]]:
    """The branches below, at and above as one table; neighbours with the same answers are one branch."""
    groups: list[tuple[tuple[int, ...], list[Case[T]]]] = []
    for sign in sorted(branches):
        table = branches[sign]
        if groups and _same_tables(groups[-1], (sign, table), worlds, same):
            signs, old = groups.pop()
            groups.append(((*signs, sign), table if signs == (0,) else old))
        else:
            groups.append(((sign,), table))
    if len(groups) == 1:
        return groups[0][1]
    out = []
    for signs, table in groups:
        relation = _RELATIONS[signs]
        out += [Case((Condition(left, relation, right), *case.conditions), case.answer) for case in table]
    return out


def _same_tables(
    group: tuple[tuple[int, ...], list[Case[T]]],
    branch: tuple[int, list[Case[T]]],
    worlds: dict[int, World],
    same: Callable[[World, T, T], bool],
) -> bool:
    """Whether two neighbouring branches say the same; at the point itself if one of them is that point."""
    (signs, mine), (sign, other) = group, branch
    world = worlds[0] if sign == 0 or signs == (0,) else worlds[sign]
    return len(mine) == len(other) and all(
        a.conditions == b.conditions and same(world, a.answer, b.answer) for a, b in zip(mine, other, strict=True)
    )
