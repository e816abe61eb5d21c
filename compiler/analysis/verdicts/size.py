"""How great the derivatives of a loss become: Lipschitz constants, growth, dead zones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from lossc.compiler.analysis.rational import Tidier
from lossc.compiler.analysis.verdicts.ends import End, at_end
from lossc.compiler.analysis.verdicts.ends_in_y import stays_finite, tends_to_zero
from lossc.compiler.analysis.verdicts.pieces import Piece
from lossc.compiler.analysis.verdicts.ranges import greatest
from lossc.compiler.analysis.verdicts.shape import by_slices, guarded
from lossc.compiler.analysis.verdicts.signs import alternatives, far_out, is_nil, samples, true
from lossc.compiler.analysis.verdicts.smooth import continuous, differentiable
from lossc.compiler.analysis.verdicts.study import Study, hidden, uses
from lossc.compiler.analysis.verdicts.subject import REGRESSION, kind_of
from lossc.compiler.analysis.verdicts.verdict import (
    GRADIENT,
    HESSIAN,
    VALUE,
    Verdict,
    Witness,
    at_most,
    proved,
    unknown,
)
from lossc.compiler.interval import INF, Interval
from lossc.compiler.ir import Expr, F, Y
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.passes.differentiate import derivative

BIG = 1e6
"""What a derivative must exceed, and by far what it is elsewhere, to count as unbounded where no bound is known."""
_SHARP = 150
"""Boxes that the sharpening of a constant may take."""


@guarded
def lipschitz(study: Study) -> Verdict:
    """L is continuous, and the slope ∂L/∂f bounded on the domain."""
    base = continuous(study)
    if base.status == "refuted" or (base.status == "unknown" and not study.free):
        return base
    if study.free:
        top = _top(study, study.case.slope)
        if top < INF and study.continuous:
            return proved("by intervals", at_most(top))
        return _great(study, study.case.slope, GRADIENT) or by_slices(study, lipschitz, "no bound was found")
    return _constant(study, 1, GRADIENT, "L'")


@guarded
def smooth(study: Study) -> Verdict:
    """The slope is Lipschitz: C1, with a bounded second derivative."""
    base = differentiable(study)
    if base.status == "refuted" or (base.status == "unknown" and not study.free):
        return base
    if study.free:
        top = _top(study, study.case.curve)
        if top < INF and study.analytic:
            return proved("by intervals", at_most(top))
        return _great(study, study.case.curve, HESSIAN) or by_slices(study, smooth, "no bound was found")
    return _constant(study, 2, HESSIAN, "L''")


def _top(study: Study, root: Expr) -> float:
    """An upper bound of the size of an expression in y and f."""
    domain = study.case.domain
    return min(_size(study.case.ranges(form)(domain)) for form in alternatives(root, Tidier(study.case.facts)))


def _size(r: Interval) -> float:
    return max(abs(r.lo), abs(r.hi))


def _great(study: Study, root: Expr, quantity: str) -> Verdict | None:
    """A point of the grid where a derivative is great, and far greater than where y and f are of order 1."""
    sizes = [(abs(true(root, p)), p) for p in study.grid]
    known = [s for s in sizes if math.isfinite(s[0])]
    usual = max((v for v, p in known if all(0.05 < abs(x) < 5 for x in p.values())), default=0.0)
    greatest_first = sorted((s for s in known if s[0] > BIG * (1 + usual)), key=lambda s: -s[0])
    return study.refuted(
        f"{'L' + chr(39) * (1 if quantity == GRADIENT else 2)} is beyond {BIG:g} at {{at}}",
        (study.by_slope(p[F], root, quantity, "beyond", BIG, p[Y]) for _, p in greatest_first),
    )


def _constant(study: Study, order: int, quantity: str, word: str) -> Verdict:
    """The supremum of the size of a derivative: an upper bound by intervals, or by limits; or where it explodes."""
    top = seen = 0.0
    for piece in study.line:
        root = piece.order(order)
        best = max(_sizes(piece, root, [*samples(piece.box), *far_out(piece.box)]), default=(0.0, 0.0))[0]
        forms = alternatives(root, Tidier(piece.facts))
        size = min(greatest(piece.ranges(r), {F: piece.box}, _size, best * (1 + 1e-9), _SHARP) for r in forms)
        top, seen = max(top, size), max(seen, best)
    if top < INF:
        return proved(f"|{word}| is bounded, by intervals", at_most(seen if top <= seen * (1 + 1e-6) else top))
    return _by_limits(study, order, quantity, word)


def _sizes(piece: Piece, root: Expr, xs: Iterable[float]) -> list[tuple[float, float]]:
    found = ((abs(true(root, {F: x})), x) for x in xs)
    return [s for s in found if math.isfinite(s[0])]


def _by_limits(study: Study, order: int, quantity: str, word: str) -> Verdict:
    """A function that is continuous on each piece, with finite limits at their ends, is bounded."""
    explosions: list[tuple[Piece, str]] = []
    first, last = study.line[0], study.line[-1]
    for piece, side in ((first, -1), (last, 1)):
        end = at_end(piece, piece.order(order), side)
        if not end.known:
            found = _explodes(study, [first, last], order, quantity, f"{word} is beyond {BIG:g} as {end.words}")
            return found or unknown(f"whether {word} is bounded as {end.words} is open")
        if not end.finite:
            explosions.append((piece, end.words))
    for before, after, j in study.jumps(order):
        if not j.finite:
            explosions += [(before, f"f -> {before.right}"), (after, f"f -> {before.right}")]
    if explosions:
        where = explosions[0][1]
        found = _explodes(study, [p for p, _ in explosions], order, quantity, f"|{word}| -> oo as {where}")
        return found or hidden(f"{word} is unbounded as {where}")
    for piece in study.line:
        inner = Interval(max(piece.box.lo, -1e300), min(piece.box.hi, 1e300))
        if not piece.ranges(piece.order(order))({F: inner}).total:
            return unknown(f"{word} may have no value where {piece}")
    return proved(f"|{word}| is continuous on each piece, with limits at its ends")


def _explodes(study: Study, where: Sequence[Piece], order: int, quantity: str, because: str) -> Verdict | None:
    """Points at which a derivative is great, and far greater than well inside."""
    inner = [s for p in study.line for s in _sizes(p, p.order(order), [x for x in samples(p.box) if 0.05 < abs(x) < 5])]
    usual = max(inner, default=(0.0, 0.0))[0]

    def candidates() -> Iterator[Witness]:
        for piece in where:
            root = piece.order(order)
            sizes = _sizes(piece, root, [*samples(piece.box), *far_out(piece.box)])
            for size, x in sorted(sizes, reverse=True):
                if size > BIG * (1 + usual):
                    yield study.by_slope(x, root, quantity, "beyond", BIG)

    return study.refuted(f"{because}{study.case.clause}", candidates())


# -- growth -----------------------------------------------------------------------------------------------------------


def _end_slopes(study: Study) -> list[tuple[Piece, int, End]]:
    """The limits of the slope at the infinite ends of the domain (of a label or a margin: at the wrong one)."""
    out = []
    for piece, side, end in ((study.line[0], -1, study.line[0].box.lo), (study.line[-1], 1, study.line[-1].box.hi)):
        target = study.case.target or 0.0
        wrong = kind_of(study.case.loss) == REGRESSION or (side < 0) == (target > 0)
        if math.isinf(end) and wrong:
            out.append((piece, side, at_end(piece, piece.slope, side)))
    return out


@guarded
def robust(study: Study) -> Verdict:
    """Far from the target the slope stays bounded: L grows linearly at most."""
    if study.free:
        if study.continuous and _top(study, study.case.slope) < INF:
            return proved("the slope is bounded for every y, by intervals")
        found = by_slices(study, robust, "how it grows for every y is open")
        if found.status == "unknown" and stays_finite(study.case, study.case.slope):
            return proved("for every y the slope has a limit far down and far up")
        return found
    words = []
    for piece, side, end in _end_slopes(study):
        if not end.known:
            return unknown(f"the limit of L' as {end.words} is not known")
        if not end.finite:
            return _steep(study, piece, side, end)
        words.append(f"L' -> {end.value:.4g} as {end.words}")
    return proved("; ".join(words))


def _outwards(piece: Piece, side: int) -> list[float]:
    """Points of a piece from far out inwards."""
    xs = [*samples(piece.box), *far_out(piece.box)]
    return sorted((x for x in xs if x * side > 0), key=lambda x: -abs(x))


def _steep(study: Study, piece: Piece, side: int, end: End) -> Verdict:
    def candidates() -> Iterator[Witness]:
        for x in _outwards(piece, side):
            value = true(piece.slope, {F: x})
            if math.isfinite(value) and abs(value) > 10:
                yield Witness(study.points((x,)), GRADIENT, (value,), "beyond", abs(value) / 2)

    because = f"|L'| -> oo as {end.words}{study.case.clause}"
    return study.refuted(because, candidates()) or hidden(because)


@guarded
def redescending(study: Study) -> Verdict:
    """Far from the target the slope vanishes: gross outliers are ignored."""
    if study.free:
        found = by_slices(study, redescending, "how it grows for every y is open")
        if found.status == "unknown" and tends_to_zero(study.case, study.case.slope):
            return proved("for every y, L' -> 0 far down and far up")
        return found
    for piece, side, end in _end_slopes(study):
        if not end.known:
            return unknown(f"the limit of L' as {end.words} is not known")
        if end.number != 0:
            limit = min(abs(end.value) / 2, 1.0)
            because = f"L' -> {end.value:.4g} as {end.words}{study.case.clause}"
            places = _outwards(piece, side)
            far = (study.by_slope(x, piece.slope, GRADIENT, "beyond", limit) for x in places)
            return study.refuted(because, far) or hidden(because)
    return proved("L' -> 0 at both ends")


# -- dead zones -------------------------------------------------------------------------------------------------------


@guarded
def no_dead_zone(study: Study) -> Verdict:
    """No interval of predictions on which the slope is exactly 0."""
    if study.free:
        found = by_slices(study, no_dead_zone, "flat at no y that was tried; not shown for all")
        if found.status != "unknown":
            return found
        if study.analytic and _bent_somewhere(study):
            return proved("analytic in f, with a slope that is not 0 throughout")
        if study.total and _never_flat(study, study.case.slope):
            return proved("no factor of L' is 0 on an interval")
        return found
    for piece in study.line:
        nil = is_nil(piece, piece.slope)
        if nil:
            because = f"L' = 0 where {piece}{study.case.clause}"
            return study.refuted(because, _flat(study, piece)) or hidden(because)
        if nil is None:
            return unknown(f"whether L' is 0 where {piece} is open")
    return proved("on each analytic piece L' is not 0 throughout")


def _flat(study: Study, piece: Piece) -> Iterator[Witness]:
    """Points without a slope; where autograd has none to give, points of one value."""
    inside = samples(piece.box)
    xs = tuple(inside[2:-2:3])
    yield Witness(study.points(xs), GRADIENT, (0.0,) * len(xs), "zero")
    xs = tuple(x for x in inside if 1e-3 < abs(x) < 1e3)
    yield Witness(study.points(xs), VALUE, tuple(study.value(x) for x in xs), "equal")


def _bent_somewhere(study: Study) -> bool:
    """L'' has no zero on a band of f, for every y: then L' is 0 at one point at most there."""
    r = study.case.ranges(study.case.curve)({**study.case.domain, F: Interval(0.25, 0.5)})
    return r.nonzero and r.total


def _never_flat(study: Study, slope: Expr) -> bool:
    """Whether no factor of the slope is 0 on an interval of f: a sign is 0 only where what it is of is, at points."""
    todo = [slope]
    while todo:
        here = todo.pop()
        if here.op in ("mul", "div", "neg"):
            todo += here.args[:1] if here.op == "div" else here.args
            continue
        if here.op == "sign":
            here = derivative(here.args[0], F)
        r = study.case.ranges(canonical_expr(here, study.case.facts))(study.case.domain)
        if not (r.nonzero and (r.total or not uses(here, F))):
            return False
    return True
