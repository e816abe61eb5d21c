"""What a piece tends to at the ends of the domain: exact limits by series, checked against numbers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from lossc.compiler.analysis.asymptotics import EPSILON, Limit, limit
from lossc.compiler.analysis.numbers import contradicts
from lossc.compiler.analysis.verdicts.pieces import Piece
from lossc.compiler.analysis.world import Domain, OutOfTime, Split, Unsolved, World, context
from lossc.compiler.errors import LosscError
from lossc.compiler.evaluate import evaluate
from lossc.compiler.facts import Facts
from lossc.compiler.interval import INF, TINY, Interval
from lossc.compiler.ir import ONE, Expr, F, substitute

SECONDS = 1.0


@dataclass(frozen=True)
class End:
    """A limit: finite (with its value), infinite (with its sign), or not known."""

    known: bool
    value: float = 0.0
    words: str = ""

    @property
    def finite(self) -> bool:
        return self.known and abs(self.value) != INF


class _EndFacts(Facts):
    def _compute(self, here: Expr) -> Interval:
        return Interval(TINY, 0.5) if here is EPSILON else super()._compute(here)


def at_end(piece: Piece, root: Expr, side: int) -> End:
    """The limit of an expression at the left (side -1) or right (1) end of the domain, where the piece has one."""
    place, words = _place(piece, side)
    moved = substitute(root, {F: place})
    world = World(Domain({}, _EndFacts(piece.loss), None, {}, time.monotonic() + SECONDS))
    try:
        found = limit(moved, world)
        if contradicts(found, moved, {}, 2):
            return End(False, words=words)
    except (Split, Unsolved, OutOfTime, LosscError):
        return End(False, words=words)
    return _end(found, words)


def _place(piece: Piece, side: int) -> tuple[Expr, str]:
    """f as an expression in ε at an end of the domain."""
    end = piece.box.hi if side > 0 else piece.box.lo
    if end == INF:
        return 1 / EPSILON, "f -> oo"
    if end == -INF:
        return -(1 / EPSILON), "f -> -oo"
    if side < 0:
        return EPSILON, "f -> 0"
    return ONE - EPSILON, "f -> 1"


def _end(found: Limit, words: str) -> End:
    if found.kind == "infinite":
        return End(True, INF if found.sign > 0 else -INF, words)
    if found.kind == "finite":
        value: Any = evaluate(found.value, {}, num_classes=2, dps=40, ctx=context())
        return End(True, float(value), words)
    return End(False, words=words)
