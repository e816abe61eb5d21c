"""How great a loss and its derivatives become: bounds, Lipschitz constants, growth, dead zones."""

from __future__ import annotations

import math
from typing import Any

from lossc.compiler.analysis.verdicts.ends import End, at_end
from lossc.compiler.analysis.verdicts.pieces import Piece
from lossc.compiler.analysis.verdicts.ranges import greatest
from lossc.compiler.analysis.verdicts.shape import by_slices, guarded
from lossc.compiler.analysis.verdicts.smooth import differentiable
from lossc.compiler.analysis.verdicts.study import (
    MINUS,
    NIL,
    PLUS,
    PLUS_ZERO,
    Study,
    comparable,
    grid,
    samples,
    sign_free,
    true,
    wedge,
)  # fmt: skip
from lossc.compiler.analysis.verdicts.verdict import (
    GRADIENT,
    HESSIAN,
    VALUE,
    Verdict,
    Witness,
    at,
    proved,
    refuted,
    unknown,
)  # fmt: skip
from lossc.compiler.analysis.world import context
from lossc.compiler.evaluate import evaluate
from lossc.compiler.interval import INF, Interval
from lossc.compiler.ir import ZERO, Expr, F, Y, substitute
from lossc.compiler.passes.canonicalize import canonical_expr

BIG = 1e6
"""What a derivative must exceed at a witness to count as unbounded, where no finite bound is known."""
_ZERO = 1e-40


# -- lower bounds -----------------------------------------------------------------------------------------------------


def lowest(study: Study) -> tuple[float, str] | None:
    """The infimum on the domain and where it is, if every piece is certainly monotone. Raises Unclear, LosscError."""
    if not study.continuous():
        return None
    found: list[tuple[float, str]] = []
    for piece in study.line:
        kind = study.sign(piece, 1).kind
        if kind not in (PLUS, MINUS, NIL):
            return None
        for side in (-1, 1) if kind == NIL else (-1,) if kind == PLUS else (1,):
            value = _value_at(piece, side)
            if value is None:
                return None
            found.append(value)
    return min(found, key=lambda v: v[0])


def _value_at(piece: Piece, side: int) -> tuple[float, str] | None:
    """The value where a piece ends: at a break, or in the limit."""
    b = piece.left if side < 0 else piece.right
    if b is not None:
        value = evaluate(piece.body, {F: b.at}, dps=60, ctx=context())
        ctx = context()
        if not ctx.isfinite(value):
            return None
        return (0.0 if abs(value) < _ZERO else float(value)), f"f = {b}"
    end = at_end(piece, piece.body, side)
    return (end.value, end.words) if end.known else None


@guarded
def bounded_below(study: Study) -> Verdict:
    """For every y, L(y, .) has a lower bound."""
    r = study.ranges(study.case.domain)
    if r.lo > -INF and study.total:
        return proved("by intervals", _bound(study, r.lo))
    if study.free:
        if _has_minimum_at_target(study):
            return proved("it falls until f = y and rises after it, for every y")
        return _bounded_by_slices(study)
    least = lowest(study)
    if least is None:
        low = _bound_by_ends(study)
        return low if low is not None else unknown("neither intervals nor the slopes bound it")
    if least[0] > -INF:
        return proved(f"it is monotone on each piece, and least at {least[1]}", f"{least[0]:.6g}")
    return _unbounded(study, least[1])


def _bound(study: Study, low: float) -> str:
    if study.free:
        return f"{low:.6g}"
    try:
        least = lowest(study)
    except Exception:
        least = None
    return f"{(low if least is None else least[0]):.6g}"


def _bound_by_ends(study: Study) -> Verdict | None:
    """A continuous function is bounded below if it is at both ends of its domain, and no piece diverges inside."""
    if not study.continuous():
        return None
    first, last = study.line[0], study.line[-1]
    for end in (at_end(first, first.body, -1), at_end(last, last.body, 1)):
        if not end.known:
            return None
        if end.value == -INF:
            return _unbounded(study, end.words)
    return proved("it is continuous, and bounded below at both ends of the domain")


def _unbounded(study: Study, words: str) -> Verdict:
    values = [(true(p.body, {F: x}), x) for p in study.line for x in [*samples(p.box), *_far(p)]]
    low, x = min(v for v in values if math.isfinite(v[0]))
    witness = Witness((study.case.here(x),), VALUE, (low,), "below", low / 2)
    return refuted(f"L -> -oo as {words}{study.case.clause}", witness)


def _far(piece: Piece) -> list[float]:
    """Points further out, and closer to ends at 0 and 1."""
    out = []
    if piece.box.hi == INF:
        out += [10.0**k for k in (8, 12, 20)]
    if piece.box.lo == -INF:
        out += [-(10.0**k) for k in (8, 12, 20)]
    for end in (piece.box.lo, piece.box.hi):
        if math.isfinite(end) and abs(end) < 1e-200:
            sign = 1 if end == piece.box.lo else -1
            out += [sign * 10.0**-k for k in (12, 16, 20, 30)]
    return [x for x in out if piece.box.lo < x < piece.box.hi]


def _bounded_by_slices(study: Study) -> Verdict:
    for one in study.slices:
        found = bounded_below(one)
        if found.status == "refuted":
            return found
    if _bounded_for_every_target(study):
        return proved("convex in f, and for every y it grows, or stays bounded, at both ends")
    return unknown("bounded at every y that was tried; not shown for all")


def _bounded_for_every_target(study: Study) -> bool:
    """L'' >= 0, and L' is at most 0 far down and at least 0 far up: shown on bands of f, for bounds in y."""
    low, high = study.case.domain[F].lo, study.case.domain[F].hi
    from lossc.compiler.analysis.verdicts.shape import convex

    if convex(study).status != "proved" or not math.isinf(high):
        return False
    return _turns(study, low, high)


def _turns(study: Study, low: float, high: float) -> bool:
    """For each y a place where L' <= 0 and one where L' >= 0, by series with y as a symbol."""
    from lossc.compiler.analysis.verdicts.ends_in_y import slope_signs

    left, right = slope_signs(study.case)
    return (left is not None and left <= 0) and (right is not None and right >= 0)


def _has_minimum_at_target(study: Study) -> bool:
    if not comparable(study.case.loss) or not study.total:
        return False
    at_target = canonical_expr(substitute(study.case.body, {F: Y}), study.case.facts)
    if not study.case.ranges(at_target)({Y: study.case.domain[Y], F: study.case.domain[F]}).lo > -INF:
        return False
    for side, wanted in ((1, ">="), (-1, "<=")):
        root, box = wedge(study.case, study.case.slope, side)
        if sign_free(study.case, root, box) != wanted:
            return False
    return True


@guarded
def nonnegative(study: Study) -> Verdict:
    """L >= 0 on the domain."""
    if study.ranges(study.case.domain).lo >= 0:
        return proved("by intervals")
    if study.free:
        if sign_free(study.case, study.case.body) == PLUS_ZERO:
            return proved("by intervals")
        for point in grid(study.case.domain):
            value = true(study.case.body, point)
            if value < -1e-9:
                witness = Witness((study.case.here(point[F], point[Y]),), VALUE, (value,), "negative", 1e-12)
                return refuted(f"L = {value:.4g} at y = {point[Y]:.4g}, f = {point[F]:.4g}", witness)
        if _has_minimum_at_target(study) and _zero_at_target(study):
            return proved("it is 0 at f = y, falls until there and rises after it")
        return by_slices(study, nonnegative, "touches 0 or comes close to it; no rule applies")
    for piece in study.line:
        sign = study.sign(piece, 0)
        if sign.negative is not None:
            low = min((true(piece.body, {F: x}), x) for x in sign.downs)
            if low[0] < -1e-12:
                witness = Witness((study.case.here(low[1]),), VALUE, (low[0],), "negative", 1e-13)
                return refuted(f"L = {low[0]:.4g} at f = {low[1]:.6g}{study.case.clause}", witness)
    if all(study.sign(p, 0).nonnegative for p in study.line):
        return proved("on each piece, by intervals")
    least = lowest(study)
    if least is not None and least[0] >= 0:
        return proved(f"it is monotone on each piece, and {least[0]:.4g} where it is least, at {least[1]}")
    return unknown("intervals leave the sign open, and the pieces are not all monotone")


def _zero_at_target(study: Study) -> bool:
    return canonical_expr(substitute(study.case.body, {F: Y}), study.case.facts) is ZERO


# -- constants --------------------------------------------------------------------------------------------------------


@guarded
def lipschitz(study: Study) -> Verdict:
    """The slope ∂L/∂f is bounded on the domain."""
    if study.free:
        top = _size_of(study.case.ranges(study.case.slope)(study.case.domain))
        if top < INF and study.total:
            return proved("by intervals", f"{top:.4g}")
        return _great_in_grid(study, study.case.slope, GRADIENT) or by_slices(study, lipschitz, "no bound was found")
    base = _continuous_or(study)
    return base if base is not None else _constant(study, 1, GRADIENT, "L'")


def _continuous_or(study: Study) -> Verdict | None:
    from lossc.compiler.analysis.verdicts.smooth import continuous

    found = continuous(study)
    return None if found.status == "proved" else found


@guarded
def smooth(study: Study) -> Verdict:
    """The slope is Lipschitz: C1, with a bounded second derivative."""
    if study.free:
        top = _size_of(study.case.ranges(study.case.curve)(study.case.domain))
        if top < INF and study.analytic:
            return proved("by intervals", f"{top:.4g}")
        rough = differentiable(study)
        if rough.status == "refuted":
            return rough
        return _great_in_grid(study, study.case.curve, HESSIAN) or by_slices(study, smooth, "no bound was found")
    base = differentiable(study)
    if base.status == "refuted":
        return refuted(base.because, base.witness, base.value, base.fault)
    if base.status == "unknown":
        return base
    return _constant(study, 2, HESSIAN, "L''")


def _size_of(r: Interval) -> float:
    return max(abs(r.lo), abs(r.hi))


def _great_in_grid(study: Study, root: Expr, quantity: str) -> Verdict | None:
    for point in grid(study.case.domain):
        value = true(root, point)
        if abs(value) > BIG and math.isfinite(value):
            here = study.case.here(point[F], point[Y])
            return refuted(f"{value:.3g} at {at(here)}", Witness((here,), quantity, (value,), "beyond", BIG))
    return None


def _constant(study: Study, order: int, quantity: str, word: str) -> Verdict:
    """The supremum of the size of a derivative: an upper bound by intervals; or a place where it explodes."""
    top = seen = 0.0
    where = 0.0
    for piece in study.line:
        root = piece.order(order)
        values = [(abs(true(root, {F: x})), x) for x in [*samples(piece.box), *_far(piece)]]
        best = max((v for v in values if math.isfinite(v[0])), default=(0.0, 0.0))
        if best[0] > seen:
            seen, where = best
        size = min(greatest(piece.ranges(r), {F: piece.box}, _size_of, best[0] * (1 + 1e-9), 150)
                   for r in _forms(piece, root))  # fmt: skip
        top = max(top, size)
    if top < INF:
        return proved(f"|{word}| is bounded, by intervals", f"{seen if top <= seen * (1 + 1e-6) else top:.4g}")
    if seen > BIG:
        value = next(true(p.order(order), {F: where}) for p in study.line if p.box.lo <= where <= p.box.hi)
        witness = Witness((study.case.here(where),), quantity, (value,), "beyond", BIG)
        return refuted(f"{word} = {value:.3g} at f = {where:.3g}{study.case.clause}", witness)
    return _by_end(study, order, word)


def _forms(piece: Piece, root: Expr) -> list[Expr]:
    from lossc.compiler.analysis.rational import Tidier
    from lossc.compiler.analysis.verdicts.study import alternatives

    return alternatives(root, Tidier(piece.facts))


def _by_end(study: Study, order: int, word: str) -> Verdict:
    """A continuous function whose limits at the ends are finite is bounded."""
    first, last = study.line[0], study.line[-1]
    for piece, side in ((first, -1), (last, 1)):
        found = at_end(piece, piece.order(order), side)
        if not found.finite:
            return unknown(f"whether {word} is bounded as {found.words} is open")
    for piece in study.line:
        inner = Interval(max(piece.box.lo, -1e3), min(piece.box.hi, 1e3))
        if not piece.ranges(piece.order(order))({F: inner}).total:
            return unknown(f"{word} may have no value where {piece}")
    return proved(f"|{word}| is continuous, with limits at both ends")


# -- growth -----------------------------------------------------------------------------------------------------------


def _end_slopes(study: Study) -> list[End]:
    """The limits of the slope at the infinite ends of the domain (a margin: at the wrong one)."""
    out = []
    for piece, side, end in ((study.line[0], -1, study.line[0].box.lo), (study.line[-1], 1, study.line[-1].box.hi)):
        wrong = study.case.target is None or study.case.every or (side < 0) == (study.case.target > 0)
        margin = study.case.loss.y == "sign"
        if math.isinf(end) and wrong and not (margin and side > 0 and study.case.target == 1):
            out.append(at_end(piece, piece.slope, side))
    return out


@guarded
def robust(study: Study) -> Verdict:
    """Far from the target the slope stays bounded: L grows linearly at most."""
    if study.free:
        return by_slices(study, robust, "how it grows for every y is open") if not _bounded_slope(study) else proved(
            "the slope is bounded for every y, by intervals")  # fmt: skip
    words = []
    for end in _end_slopes(study):
        if not end.known:
            return unknown(f"the limit of L' as {end.words} is not known")
        if not end.finite:
            return _steep(study, end)
        words.append(f"L' -> {end.value:.4g} as {end.words}")
    return proved("; ".join(words))


def _bounded_slope(study: Study) -> bool:
    return study.total and _size_of(study.case.ranges(study.case.slope)(study.case.domain)) < INF


def _steep(study: Study, end: End) -> Verdict:
    piece = study.line[0] if "-oo" in end.words else study.line[-1]
    values = [(true(piece.slope, {F: x}), x) for x in [*samples(piece.box), *_far(piece)]]
    value, x = max((v for v in values if math.isfinite(v[0])), key=lambda v: abs(v[0]))
    witness = Witness((study.case.here(x),), GRADIENT, (value,), "beyond", abs(value) / 2)
    return refuted(f"|L'| -> oo as {end.words}{study.case.clause}", witness)


@guarded
def redescending(study: Study) -> Verdict:
    """Far from the target the slope vanishes: gross outliers are ignored."""
    if study.free:
        return by_slices(study, redescending, "how it grows for every y is open")
    for end in _end_slopes(study):
        if not end.known:
            return unknown(f"the limit of L' as {end.words} is not known")
        if end.value != 0:
            piece = study.line[0] if "-oo" in end.words else study.line[-1]
            x = 1e7 if piece is study.line[-1] and "-oo" not in end.words else -1e7
            value = true(piece.slope, {F: x})
            if not math.isfinite(value):
                return refuted(f"L' does not vanish as {end.words}")
            witness = Witness((study.case.here(x),), GRADIENT, (value,), "beyond", min(abs(end.value) / 2, 1.0))
            return refuted(f"L' -> {end.value:.4g} as {end.words}{study.case.clause}", witness)
    return proved("L' -> 0 at both ends")


@guarded
def no_dead_zone(study: Study) -> Verdict:
    """No interval of predictions on which the slope is exactly 0."""
    if study.free:
        found = by_slices(study, no_dead_zone, "flat at no y that was tried; not shown for all")
        if found.status == "unknown" and study.analytic and _never_zero(study):
            return proved("analytic in f, with a slope that is not 0 throughout")
        return found
    for piece in study.line:
        sign = study.sign(piece, 1)
        if sign.kind == NIL:
            xs = samples(piece.box)[2:-2:3]
            witness = Witness(tuple(study.case.here(x) for x in xs), GRADIENT, (0.0,) * len(xs), "zero")
            return refuted(f"L' = 0 where {piece}{study.case.clause}", witness)
        if sign.positive is None and sign.negative is None:
            return unknown(f"whether L' is 0 where {piece} is open")
    return proved("on each analytic piece L' is not 0 throughout")


def _never_zero(study: Study) -> bool:
    """L'' has no zero on a band of f, for every y: then L' is 0 at one point at most there."""
    band: dict[Expr, Any] = {**study.case.domain, F: Interval(0.25, 0.5)}
    r = study.case.ranges(study.case.curve)(band)
    return r.nonzero and r.total
