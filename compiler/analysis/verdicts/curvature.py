"""Convex, concave or affine by composition: the rules of disciplined convex programming, on the operator records.

A node is looked at as a function of the prediction (of all predictions of a row), for any fixed target. What an
operator does is on its record (`curvature`, `monotone`); where it is one thing for positive operands and another for
negative ones, the range of the operand decides. Beside the curvature goes whether the node is log-convex (log of it is
convex): so log(1 + exp(-y*f)) is convex.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from lossc.compiler import ops
from lossc.compiler.analysis.verdicts.ranges import Pair, Ranges
from lossc.compiler.interval import Interval, hull
from lossc.compiler.ir import CONST, HALF, LEAF_OPS, Expr, F

CONSTANT, AFFINE, CONVEX, CONCAVE, NEITHER = "constant", "affine", "convex", "concave", ""
_UP = frozenset({CONSTANT, AFFINE, CONVEX})
_DOWN = frozenset({CONSTANT, AFFINE, CONCAVE})


@dataclass(frozen=True, slots=True)
class Shape:
    """The curvature of a node; whether its logarithm is convex; and what breaks the rules, if it is NEITHER."""

    curvature: str
    logconvex: bool = False
    fault: Expr | None = None

    @property
    def convex(self) -> bool:
        return self.curvature in _UP

    @property
    def concave(self) -> bool:
        return self.curvature in _DOWN


def shape(ranges: Ranges, boxes: tuple[dict[Expr, Interval], ...]) -> Shape:
    """The shape of `ranges.root` in F on the box (of the target, and of the other classes)."""
    return shapes(ranges, boxes)[ranges.root]


def shapes(ranges: Ranges, boxes: tuple[dict[Expr, Interval], ...]) -> dict[Expr, Shape]:
    """The shape of every node."""
    known = ranges.all(*boxes)
    done: dict[Expr, Shape] = {}
    for here, pair in zip(ranges.order, known, strict=True):
        done[here] = _shape(here, [done[a] for a in here.args], [known[ranges.place[a]] for a in here.args], pair)
    return done


def _shape(here: Expr, args: list[Shape], pairs: list[Pair], pair: Pair) -> Shape:
    if here is F:
        return Shape(AFFINE)
    if here.op in LEAF_OPS or all(a.curvature == CONSTANT for a in args):
        return Shape(CONSTANT, logconvex=hull(pair).lo > 0)
    bounds = [hull(p) for p in pairs]
    curvature = _curvature(here, args, bounds)
    log = _logconvex(here, args, bounds)
    if log and not curvature:
        curvature = CONVEX  # exp of a convex function
    fault = None if curvature else next((a.fault for a in args if a.fault is not None), here)
    return Shape(curvature, log and hull(pair).lo >= 0, fault)


def _curvature(here: Expr, args: list[Shape], bounds: list[Interval]) -> str:
    if here.op in ("mul", "div", "pow", "xlogy", "where", "log", "sqrt"):
        return _SPECIAL[here.op](here, args, bounds)
    record = ops.record(here)
    if here.op == "log_softmax":
        return CONCAVE if args[0].curvature == AFFINE else NEITHER
    convexity = record.curvature
    directions = record.monotone or (0,) * len(args)
    if record.parity == "even" and convexity == CONVEX and len(args) == 1:
        directions = (1 if bounds[0].lo >= 0 else -1 if bounds[0].hi <= 0 else 0,)
    if here.op == "abs" and directions[0] and args[0].curvature != NEITHER:
        return args[0].curvature if directions[0] > 0 else _flipped(args[0].curvature)
    if not convexity and here.op in _HALVES:
        convexity = _HALVES[here.op](bounds[0])
    return _composed(convexity, directions, args)


def _composed(convexity: str, directions: tuple[int, ...], args: list[Shape]) -> str:
    """Whether h(g_1, ...) is convex: h convex, and each g_i affine, or bent the way that h is monotone in it."""
    if not convexity:
        return NEITHER
    out = set()
    for side, wanted, other in ((CONVEX, "convex", "concave"), (CONCAVE, "concave", "convex")):
        if convexity in (side, AFFINE) and all(
            a.curvature in (CONSTANT, AFFINE) or (d > 0 and getattr(a, wanted)) or (d < 0 and getattr(a, other))
            for a, d in zip(args, directions, strict=True)
        ):
            out.add(side)
    return AFFINE if len(out) == 2 else out.pop() if out else NEITHER


def _flipped(curvature: str) -> str:
    return {CONVEX: CONCAVE, CONCAVE: CONVEX}.get(curvature, curvature)


def _scaled(curvature: str, by: Interval) -> str:
    if by.lo >= 0 or curvature in (CONSTANT, AFFINE):
        return curvature
    return _flipped(curvature) if by.hi <= 0 else NEITHER


def _product(here: Expr, args: list[Shape], bounds: list[Interval]) -> str:
    for mine, other in ((0, 1), (1, 0)):
        if args[other].curvature == CONSTANT:
            return _scaled(args[mine].curvature, bounds[other])
    if here.args[0] is here.args[1]:
        return _composed(CONVEX, (1 if bounds[0].lo >= 0 else -1 if bounds[0].hi <= 0 else 0,), args[:1])
    return NEITHER


def _quotient(here: Expr, args: list[Shape], bounds: list[Interval]) -> str:
    if args[1].curvature == CONSTANT:
        return _scaled(args[0].curvature, bounds[1]) if bounds[1].nonzero else NEITHER
    if args[0].curvature == CONSTANT and bounds[1].nonzero:
        inverse = _composed(CONVEX, (-1,), args[1:]) if bounds[1].lo > 0 else _composed(CONCAVE, (-1,), args[1:])
        return _scaled(inverse, bounds[0])
    return NEITHER


def _power(here: Expr, args: list[Shape], bounds: list[Interval]) -> str:
    base, exponent = here.args
    x = bounds[0]
    if exponent.op != CONST:
        if args[0].curvature == CONSTANT and x.lo > 0:  # p^g: exp(g log p)
            return _composed(CONVEX, (1 if x.lo >= 1 else -1 if x.hi <= 1 else 0,), args[1:])
        return NEITHER
    p = exponent.number
    if p == 1:
        return args[0].curvature
    if p.denominator == 1 and p > 0 and p % 2 == 0:
        return _composed(CONVEX, (1 if x.lo >= 0 else -1 if x.hi <= 0 else 0,), args[:1])
    if p == HALF.number and _is_norm(base, args[0]):
        return CONVEX
    if x.lo >= 0:
        return _positive_power(p, x, args)
    if p.denominator == 1 and p > 0 and x.hi <= 0:
        return _composed(CONCAVE, (1,), args[:1])
    return NEITHER


def _positive_power(p: Fraction, x: Interval, args: list[Shape]) -> str:
    if p < 0:
        return _composed(CONVEX, (-1,), args[:1]) if x.lo > 0 else NEITHER
    return _composed(CONVEX if p >= 1 else CONCAVE, (1,), args[:1])


def _root(here: Expr, args: list[Shape], bounds: list[Interval]) -> str:
    return CONVEX if _is_norm(here.args[0], args[0]) else _composed(CONCAVE, (1,), args)


def _is_norm(inner: Expr, of: Shape) -> bool:
    """Whether the root of `inner` is a Euclidean norm: of squares of affine functions, and positive numbers."""
    todo, squares = [inner], 0
    if of.curvature != CONVEX:
        return False
    while todo:
        here = todo.pop()
        if here.op == "add":
            todo += here.args
            continue
        core, weight = _square_of(here)
        if core is not None and (weight is None or weight > 0) and _affine(core):
            squares += 1
        elif not (here.op == CONST and here.number >= 0) and not _is_square_of_constant(here):
            return False
    return squares > 0


def _square_of(here: Expr) -> tuple[Expr | None, Fraction | None]:
    """(u, weight) if the node is weight*u^2."""
    if here.op == "square" or (here.op == "pow" and here.args[1].op == CONST and here.args[1].number == 2):
        return here.args[0], None
    if here.op == "mul" and here.args[0] is here.args[1]:
        return here.args[0], None
    if here.op in ("mul", "div"):
        for mine, other in ((0, 1), (1, 0)) if here.op == "mul" else ((0, 1),):
            if here.args[other].op == CONST:
                core, weight = _square_of(here.args[mine])
                if core is not None and weight is None:
                    return core, here.args[other].number
    return None, None


def _is_square_of_constant(here: Expr) -> bool:
    core, weight = _square_of(here)
    return core is not None and (weight is None or weight > 0) and core.op in ("const", "pi", "e", "eps")


def _affine(root: Expr) -> bool:
    """Whether the expression is a sum of multiples of y, f and numbers."""
    if root.op in LEAF_OPS:
        return True
    if root.op in ("add", "sub", "neg"):
        return all(_affine(a) for a in root.args)
    if root.op in ("mul", "div"):
        first, second = root.args
        return (second.op == CONST and _affine(first)) or (root.op == "mul" and first.op == CONST and _affine(second))
    return False


def _log(here: Expr, args: list[Shape], bounds: list[Interval]) -> str:
    if args[0].logconvex and args[0].curvature != CONSTANT:
        return CONVEX
    return _composed(CONCAVE, (1,), args)


def _xlogy(here: Expr, args: list[Shape], bounds: list[Interval]) -> str:
    """A constant x times log(y); or x*log(x), which is convex."""
    if args[0].curvature == CONSTANT:
        return _scaled(_composed(CONCAVE, (1,), args[1:]), bounds[0])
    return CONVEX if here.args[0] is here.args[1] and args[0].curvature == AFFINE else NEITHER


def _where(here: Expr, args: list[Shape], bounds: list[Interval]) -> str:
    """A choice that f does not enter, between two of a kind."""
    if args[0].curvature != CONSTANT:
        return NEITHER
    chosen = args[1:2] if bounds[0].lo >= 1 else args[2:] if bounds[0].hi <= 0 else args[1:]
    if all(a.curvature in (CONSTANT, AFFINE) for a in chosen):
        return AFFINE
    return CONVEX if all(a.convex for a in chosen) else CONCAVE if all(a.concave for a in chosen) else NEITHER


_SPECIAL = {
    "mul": _product, "div": _quotient, "pow": _power, "xlogy": _xlogy, "where": _where, "log": _log, "sqrt": _root,
}  # fmt: skip


def _by_sign(positive: str, negative: str) -> Callable[[Interval], str]:
    return lambda x: positive if x.lo >= 0 else negative if x.hi <= 0 else NEITHER


_HALVES = {
    "sigmoid": _by_sign(CONCAVE, CONVEX), "tanh": _by_sign(CONCAVE, CONVEX), "atan": _by_sign(CONCAVE, CONVEX),
    "erf": _by_sign(CONCAVE, CONVEX), "asinh": _by_sign(CONCAVE, CONVEX), "sinh": _by_sign(CONVEX, CONCAVE),
}  # fmt: skip
"""Operators that bend one way for positive operands and the other way for negative ones."""


def _logconvex(here: Expr, args: list[Shape], bounds: list[Interval]) -> bool:
    """Closed under sums, products, positive powers; exp of what is convex."""
    if here.op == "exp":
        return args[0].convex
    if here.op in ("add", "mul"):
        return all(a.logconvex for a in args)
    if here.op == "div":
        return args[0].logconvex and args[1].curvature == CONSTANT and bounds[1].lo > 0
    if here.op == "pow":
        p = here.args[1]
        return args[0].logconvex and p.op == CONST and p.number > 0
    if here.op == "sum_c":
        return args[0].logconvex
    return False
