"""The sign of the slope far down and far up, for every target: limits with y as a symbol."""

from __future__ import annotations

import time

from lossc.compiler.analysis.asymptotics import EPSILON, limit
from lossc.compiler.analysis.verdicts.subject import Case
from lossc.compiler.analysis.world import Domain, OutOfTime, Split, Unsolved, World
from lossc.compiler.errors import LosscError
from lossc.compiler.facts import Facts
from lossc.compiler.interval import INF, TINY, Interval
from lossc.compiler.ir import ZERO, Expr, F, Y, param, substitute
from lossc.compiler.roles import ROLES

TARGET = param("?y")


class _Facts(Facts):
    def _compute(self, here: Expr) -> Interval:
        if here is EPSILON:
            return Interval(TINY, 0.5)
        return ROLES[self._roles["y"]].range if here is TARGET else super()._compute(here)


def slope_signs(case: Case) -> tuple[int | None, int | None]:
    """The sign of the limit of L' at the lower and the upper end of f, if it is one for every y; else None.

    A limit of 0 counts as 0. For y = 0 of a count the limits are taken apart.
    """
    domain = case.domain[F]
    low = EPSILON if domain.lo > -INF else -(1 / EPSILON)
    return _sign(case, low), _sign(case, 1 / EPSILON)


def _sign(case: Case, place: Expr) -> int | None:
    found = set()
    targets = [TARGET] if case.loss.y != "count" else [TARGET, ZERO]
    for target in targets:
        role = ROLES["positive" if case.loss.y == "count" else case.loss.y]
        moved = substitute(case.slope, {F: place, Y: target})
        world = World(Domain({TARGET: role}, _Facts(case.loss), None, {}, time.monotonic() + 1.0))
        try:
            end = limit(moved, world)
            if end.kind == "infinite":
                found.add(end.sign)
            elif end.kind == "finite":
                found.add(world.sign(end.value))
            else:
                return None
        except (Split, Unsolved, OutOfTime, LosscError):
            return None
    found.discard(0)
    return found.pop() if len(found) == 1 else 0 if not found else None
