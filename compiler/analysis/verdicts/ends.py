"""What a piece tends to at the ends of the domain: limits by series, checked against numbers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lossc.compiler.analysis.asymptotics import EPSILON, Limit, limit
from lossc.compiler.analysis.verdicts.clock import left
from lossc.compiler.analysis.verdicts.pieces import Piece
from lossc.compiler.analysis.verdicts.settled import settled_value
from lossc.compiler.analysis.world import Domain, OutOfTime, Split, Unsolved, World, context, number
from lossc.compiler.errors import LosscError
from lossc.compiler.facts import Facts
from lossc.compiler.interval import INF, TINY, Interval
from lossc.compiler.ir import ONE, Expr, F, node, postorder, substitute
from lossc.compiler.ops import call
from lossc.compiler.passes.canonicalize import canonical_expr

SECONDS = 1.0
"""The most that one limit may take."""


@dataclass(frozen=True)
class End:
    """A limit: finite (`number`, with many digits), infinite (with its sign), or not known; `words` says where."""

    known: bool
    number: Any = 0.0
    words: str = ""

    @property
    def value(self) -> float:
        """The limit as a float."""
        return float(self.number)

    @property
    def finite(self) -> bool:
        return self.known and bool(context().isfinite(self.number))


class _EndFacts(Facts):
    def _compute(self, here: Expr) -> Interval:
        return Interval(TINY, 0.5) if here is EPSILON else super()._compute(here)


def at_end(piece: Piece, root: Expr, side: int) -> End:
    """The limit of an expression at the left (side -1) or right (1) end of the domain, where the piece has one."""
    place, words = _place(piece, side)
    moved = substitute(root, {F: place})
    world = World(Domain({}, _EndFacts(piece.loss), None, {}, time.monotonic() + min(SECONDS, left())))
    try:
        found = limit_of(canonical_expr(moved, world.domain.facts), world)
        if contradicted(found, moved, {}):
            return End(False, words=words)
    except (Split, Unsolved, OutOfTime, LosscError):
        return End(False, words=words)
    return _end(found, words)


def limit_of(moved: Expr, world: World) -> Limit:
    """The limit of an expression in ε; where an exponential grows, what is left after it is divided out decides.

    Raises Split, Unsolved, OutOfTime, LosscError.
    """
    try:
        return limit(moved, world)
    except Unsolved:
        for power in _growing(moved, world):
            scaled = canonical_expr(_times(moved, call("exp", -power), world.domain.facts), world.domain.facts)
            try:
                left_over = limit(scaled, world)
            except Unsolved:
                continue
            sign = left_over.sign if left_over.kind == "infinite" else world.sign(left_over.value)
            if left_over.kind in ("infinite", "finite") and sign:
                return Limit("infinite", sign=sign)
        raise


def _growing(moved: Expr, world: World) -> Iterator[Expr]:
    """Exponents that grow beyond all bounds."""
    for here in postorder(moved):
        if here.op == "exp" and any(n is EPSILON for n in postorder(here)):
            try:
                found = limit(here.args[0], world)
            except Unsolved:
                continue
            if found.kind == "infinite" and found.sign > 0:
                yield here.args[0]


def _times(root: Expr, factor: Expr, facts: Facts) -> Expr:
    """A sum times a factor, term by term."""
    if root.op in ("add", "sub"):
        return node(root.op, *(_times(a, factor, facts) for a in root.args))
    if root.op == "neg":
        return -_times(root.args[0], factor, facts)
    return canonical_expr(root * factor, facts)


def contradicted(found: Limit, root: Expr, values: Mapping[Expr, Any]) -> bool:
    """Whether numbers speak against a limit: whether they do not come closer to it as ε gets smaller."""
    ctx = context()
    first, last = (_at_epsilon(root, values, power) for power in _STEPS)
    if found.kind == "infinite":
        return not (last * found.sign > 0 and (ctx.isinf(last) or abs(last) > abs(first)))
    if found.kind != "finite" or not (ctx.isfinite(first) and ctx.isfinite(last)):
        return True
    target = number(found.value, values, 2, ctx)
    far, near = abs(first - target), abs(last - target)
    return not (near < far or near <= ctx.mpf(10) ** -20 * max(1, abs(target)))


_STEPS = (12, 40)


def _at_epsilon(root: Expr, values: Mapping[Expr, Any], power: int) -> Any:
    """The value where ε is about 10^-power (and 1/ε no whole number, of which exp is slow)."""
    ctx = context()
    digits = 2 * power + 60
    with ctx.workdps(digits):
        return number(root, {**values, EPSILON: ctx.mpf(10) ** -power / ctx.sqrt(2)}, 2, ctx, digits)


def _place(piece: Piece, side: int) -> tuple[Expr, str]:
    """f as an expression in ε at an end of the domain."""
    end = piece.box.hi if side > 0 else piece.box.lo
    if end == INF:
        return 1 / EPSILON, "f -> oo"
    if end == -INF:
        return -(1 / EPSILON), "f -> -oo"
    return (EPSILON, "f -> 0") if side < 0 else (ONE - EPSILON, "f -> 1")


def _end(found: Limit, words: str) -> End:
    ctx = context()
    if found.kind == "infinite":
        return End(True, ctx.inf if found.sign > 0 else -ctx.inf, words)
    if found.kind != "finite":
        return End(False, words=words)
    value = settled_value(found.value, {})
    return End(not ctx.isnan(value), value, words)
