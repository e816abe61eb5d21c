"""Quasi-convex by composition: which way nodes run in the prediction, and what a monotone operator keeps.

A monotone function of a quasi-convex one is quasi-convex (disciplined quasiconvex programming); |u| and u^2 of a u that
is monotone in f are, since they fall to the place where u is 0, if any, and rise after it.
"""

from __future__ import annotations

from lossc.compiler import ops
from lossc.compiler.analysis.verdicts.curvature import CONSTANT, Shape, shapes
from lossc.compiler.analysis.verdicts.ranges import Ranges
from lossc.compiler.interval import Interval, hull
from lossc.compiler.ir import CONST, LEAF_OPS, Expr, F

UP, DOWN, STILL, UNCLEAR = 1, -1, 0, None


def quasi(ranges: Ranges, box: dict[Expr, Interval]) -> bool:
    """Whether `ranges.root` is certainly quasi-convex in F on the box."""
    bounds = {n: hull(p) for n, p in zip(ranges.order, ranges.all(box), strict=True)}
    bent = shapes(ranges, (box,))
    trends = dict.fromkeys(ranges.order)
    for here in ranges.order:
        trends[here] = _trend(here, trends, bounds)
    return _Quasi(bounds, bent, trends).holds(ranges.root, 1)


def _trend(here: Expr, trends: dict[Expr, int | None], bounds: dict[Expr, Interval]) -> int | None:
    """Which way a node runs as f grows."""
    if here is F:
        return UP
    if here.op in LEAF_OPS:
        return STILL
    inner = [trends[a] for a in here.args]
    if all(t == STILL for t in inner):
        return STILL
    ways = _ways(here, [bounds[a] for a in here.args])
    moves = {None if t is None or w is None else t * w for t, w in zip(inner, ways, strict=True) if t != STILL}
    return moves.pop() if len(moves) == 1 else UNCLEAR


def _ways(here: Expr, bounds: list[Interval]) -> list[int | None]:
    """The sign of each partial derivative."""
    record = ops.record(here)
    if here.op == "mul":
        return [_side(bounds[1]), _side(bounds[0])]
    if here.op == "div":
        below = _side(bounds[1]) if bounds[1].nonzero else None
        above = _side(bounds[0])
        return [below, None if above is None or not bounds[1].nonzero else -above]
    if here.op == "pow" and here.args[1].op == CONST:
        p = here.args[1].number
        whole_odd = p.denominator == 1 and p.numerator % 2 == 1 and p > 0
        if whole_odd or (bounds[0].lo >= 0 and p > 0):
            return [1, 0]
        return [-1, 0] if bounds[0].lo > 0 else [None, 0]
    if record.parity == "even" and record.curvature == "convex" and record.arity == 1:
        return [_side(bounds[0])]
    if not record.monotone:
        return [None] * len(here.args)
    return [m or None for m in record.monotone]


def _side(x: Interval) -> int | None:
    return 1 if x.lo >= 0 else -1 if x.hi <= 0 else None


class _Quasi:
    def __init__(self, bounds: dict[Expr, Interval], bent: dict[Expr, Shape], trends: dict[Expr, int | None]) -> None:
        self.bounds, self.bent, self.trends = bounds, bent, trends

    def holds(self, here: Expr, sense: int) -> bool:
        """Whether a node is quasi-convex (sense 1) or quasi-concave (-1). Follows one operand, so it is a loop."""
        while True:
            bent = self.bent[here]
            if self.trends[here] is not None or (bent.convex if sense > 0 else bent.concave):
                return True
            if here.op in LEAF_OPS:
                return False
            moving = [i for i, a in enumerate(here.args) if self.bent[a].curvature != CONSTANT]
            record = ops.record(here)
            if len(moving) != 1:
                return False
            inner = here.args[moving[0]]
            if (
                sense > 0
                and record.parity == "even"
                and record.curvature == "convex"
                and self.trends[inner] is not None
            ):
                return True
            if sense > 0 and _is_even_power(here) and self.trends[inner] is not None:
                return True
            way = _ways(here, [self.bounds[a] for a in here.args])[moving[0]]
            if way is None:
                return False
            here, sense = inner, sense * way


def _is_even_power(here: Expr) -> bool:
    if here.op != "pow" or here.args[1].op != CONST:
        return False
    p = here.args[1].number
    return p.denominator == 1 and p > 0 and p.numerator % 2 == 0
