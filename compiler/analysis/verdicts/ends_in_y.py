"""What a loss and its slope tend to at the ends of f for every target: limits with y as a symbol."""

from __future__ import annotations

import time
from collections.abc import Iterator

from lossc.compiler.analysis.asymptotics import EPSILON, Limit
from lossc.compiler.analysis.verdicts.clock import left
from lossc.compiler.analysis.verdicts.ends import SECONDS, contradicted, limit_of
from lossc.compiler.analysis.verdicts.subject import Case
from lossc.compiler.analysis.world import Domain, OutOfTime, Split, Unsolved, World
from lossc.compiler.errors import LosscError
from lossc.compiler.facts import Facts
from lossc.compiler.interval import INF, POSITIVE, TINY, Interval
from lossc.compiler.ir import CONST, ONE, ZERO, Expr, F, Y, param, substitute
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.roles import ROLES

TARGET = param("?y")
_CHECKED = (0.3, 7.0, -0.3, -7.0)
"""Targets at which a limit is compared with numbers, where the role allows them."""


class _Facts(Facts):
    def __init__(self, case: Case, target: Interval) -> None:
        super().__init__(case.loss)
        self._done[EPSILON], self._done[TARGET] = Interval(TINY, 0.5), target


class _Sure(World):
    """A world in which only what intervals prove counts as known."""

    def _sign(self, root: Expr) -> int | None:
        if root.op == CONST:
            return (root.number > 0) - (root.number < 0)
        bounds = self.domain.facts.range(root)
        return (1 if bounds.lo > 0 else -1) if bounds.total and bounds.nonzero else None


def limits(case: Case, root: Expr, side: int) -> Iterator[tuple[Limit, int | None]]:
    """The limits at an end of f for all targets (those of several kinds apart), with their signs.

    It ends where one is not known. The sign of a finite limit is None where it depends on the target.
    """
    for target, where in _targets(case):
        moved = substitute(root, {F: _place(case.domain[F], side), Y: target})
        facts = _Facts(case, where)
        roles = {TARGET: ROLES["positive" if where.lo > 0 else "real"]}
        world = _Sure(Domain(roles, facts, None, {}, time.monotonic() + min(SECONDS, left())))
        try:
            found = limit_of(canonical_expr(moved, facts), world)
            if any(contradicted(found, moved, {TARGET: y}) for y in _CHECKED if where.lo < y < where.hi):
                yield Limit("unknown"), None
                return
            yield found, found.sign if found.kind == "infinite" else world.sign_if_known(found.value)
        except (Split, Unsolved, OutOfTime, LosscError):
            yield Limit("unknown"), None
            return


def _targets(case: Case) -> list[tuple[Expr, Interval]]:
    """The target as a symbol with its range; 0 by itself, where much may vanish."""
    if case.loss.y == "real":
        return [(TARGET, POSITIVE), (ZERO, POSITIVE), (TARGET, Interval(-INF, -TINY))]
    if case.loss.y == "prob":
        return [(TARGET, case.domain[Y])]
    return [(TARGET, POSITIVE), *([(ZERO, POSITIVE)] if case.loss.y == "count" else [])]


def _place(domain: Interval, side: int) -> Expr:
    """f in ε, close to an end of its domain."""
    if side > 0:
        return 1 / EPSILON if domain.hi == INF else ONE - EPSILON
    return -(1 / EPSILON) if domain.lo == -INF else EPSILON


def bounded_ends(case: Case, convex: bool) -> bool:
    """Whether for every y a continuous L is bounded below at both ends of f; a convex one is if it rises there."""
    return all(_bounded_end(case, side, convex) for side in (-1, 1))


def _bounded_end(case: Case, side: int, convex: bool) -> bool:
    if convex and all(sign == side for _, sign in limits(case, case.slope, side)):
        return True
    return all(
        found.kind == "finite" or (found.kind == "infinite" and found.sign > 0)
        for found, _ in limits(case, case.body, side)
    )


def tends_to_zero(case: Case, root: Expr) -> bool:
    """Whether for every y an expression vanishes at both infinite ends of f."""
    return all(found.kind == "finite" and found.value is ZERO
               for side in (-1, 1) for found, _ in limits(case, root, side))  # fmt: skip


def stays_finite(case: Case, root: Expr) -> bool:
    """Whether for every y an expression has a finite limit at both ends of f."""
    return all(found.kind == "finite" for side in (-1, 1) for found, _ in limits(case, root, side))
