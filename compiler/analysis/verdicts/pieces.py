"""A function of one variable as analytic pieces between the points where an operator bends, jumps or ends.

Every such point is a root of an expression that some operator's record names (`kinks`, `singular`), or of a condition.
The roots are isolated with intervals, so that none is missed. Between two of them each operator takes one side only,
so it can be replaced by that side; what is left is analytic, and its derivatives are those of the loss.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from lossc.compiler import ops
from lossc.compiler.analysis.verdicts.ranges import Ranges, split
from lossc.compiler.analysis.world import context
from lossc.compiler.errors import LosscError
from lossc.compiler.evaluate import evaluate
from lossc.compiler.facts import Facts
from lossc.compiler.interval import INF, TINY, Interval
from lossc.compiler.ir import LEAF_OPS, ONE, ZERO, Expr, F, const, is_writable, postorder, rebuild, substitute
from lossc.compiler.loss import Loss
from lossc.compiler.ops import call
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.passes.differentiate import derivative

DIGITS = 60
MOST_ROOTS = 24
ROOT_BUDGET = 300
_CLOSE = 40
"""Digits to which the two sides of a break must agree to be called equal."""


class Unclear(Exception):
    """The breaks of the function could not be isolated; `str()` says why."""


@dataclass(frozen=True)
class Break:
    """Where pieces meet: the number with 60 digits, and exactly if it is rational."""

    at: Any
    exact: Fraction | None

    def __str__(self) -> str:
        if self.exact is not None:
            return str(self.exact) if self.exact.denominator < 1000 else f"{float(self.exact):.6g}"
        return f"{float(self.at):.6g}"


class PieceFacts(Facts):
    """`Facts` of a loss where f lies in an interval; a probability is below 1."""

    def __init__(self, loss: Loss, f: Interval, inside: bool) -> None:
        super().__init__(loss)
        self._done[F] = f
        if inside:
            self._done[ONE - F] = Interval(TINY, 1.0)


@dataclass(frozen=True)
class Piece:
    """An analytic part of the function: an expression in f, valid from `left` to `right` (None: the domain's end)."""

    body: Expr
    box: Interval
    left: Break | None
    right: Break | None
    loss: Loss
    inside: frozenset[Expr]

    @cached_property
    def facts(self) -> Facts:
        return PieceFacts(self.loss, self.box, F in self.inside)

    @cached_property
    def slope(self) -> Expr:
        """∂L/∂f."""
        return canonical_expr(derivative(self.body, F), self.facts)

    @cached_property
    def curve(self) -> Expr:
        """∂²L/∂f²."""
        return canonical_expr(derivative(self.slope, F), self.facts)

    @cached_property
    def bend(self) -> Expr:
        """∂³L/∂f³."""
        return canonical_expr(derivative(self.curve, F), self.facts)

    def order(self, k: int) -> Expr:
        """The derivative of order k: 0, 1, 2 or 3."""
        return (lambda: self.body, lambda: self.slope, lambda: self.curve, lambda: self.bend)[k]()

    def ranges(self, root: Expr) -> Ranges:
        """An expression as a program on intervals."""
        return Ranges(root, None, self.inside)

    def range(self, root: Expr) -> Interval:
        """Where an expression lies on the piece."""
        return self.ranges(root)({F: self.box})

    @property
    def total(self) -> bool:
        """Whether the function certainly has a value on the whole piece."""
        return self.range(self.body).total

    def __str__(self) -> str:
        low = (
            "-oo" if self.box.lo == -INF else "0" if self.box.lo < 1e-300 and self.box.lo > 0 else f"{self.box.lo:.6g}"
        )
        high = "oo" if self.box.hi == INF else f"{self.box.hi:.6g}"
        return f"{low} < f < {high}"


def pieces(
    body: Expr, loss: Loss, domain: Interval, inside: frozenset[Expr], extra: tuple[Fraction, ...] = ()
) -> list[Piece]:
    """The pieces of a function of F on its domain, in order. Raises Unclear, LosscError.

    `extra` are points to cut at besides (0, where signs change).
    """
    found: dict[str, Break] = {}
    for k in levers(body, loss):
        for b in _roots(k, domain, inside):
            found.setdefault(context().nstr(b.at, 30), b)
    for cut in extra:
        if domain.lo < cut < domain.hi:
            b = Break(_mpf(cut), cut)
            found.setdefault(context().nstr(b.at, 30), b)
    breaks = sorted(found.values(), key=lambda b: b.at)
    if len(breaks) > MOST_ROOTS:
        raise Unclear(f"it has more than {MOST_ROOTS} kinks")
    ends: list[Break | None] = [None, *breaks, None]
    out = []
    for left, right in itertools.pairwise(ends):
        box = Interval(domain.lo if left is None else _below(left), domain.hi if right is None else _above(right))
        there = _between(box)
        out.append(
            Piece(
                canonical_expr(_resolved(body, there), PieceFacts(loss, box, F in inside)),
                box,
                left,
                right,
                loss,
                inside,
            )
        )
    return out


def _mpf(x: Fraction) -> Any:
    ctx = context()
    with ctx.workdps(DIGITS):
        return ctx.mpf(x.numerator) / x.denominator


def _below(b: Break) -> float:
    near = float(b.at)
    return near if b.exact is not None and Fraction(near) == b.exact else _next(near, -INF)


def _above(b: Break) -> float:
    near = float(b.at)
    return near if b.exact is not None and Fraction(near) == b.exact else _next(near, INF)


def _next(x: float, to: float) -> float:
    import math

    return math.nextafter(x, to)


def _between(box: Interval) -> Any:
    """A number inside."""
    low, high = box.lo, box.hi
    if low == -INF and high == INF:
        return 0.4142
    if low == -INF:
        return high - max(1.0, abs(high)) * 0.7321
    if high == INF:
        return low + max(1.0, abs(low)) * 0.7321
    return low + (high - low) * 0.4142


# -- breaks -----------------------------------------------------------------------------------------------------------


def levers(body: Expr, loss: Loss) -> list[Expr]:
    """Expressions at whose zeros the function may fail to be analytic, canonical."""
    out: dict[Expr, None] = {}
    facts = Facts(loss)
    live = {F}
    for here in postorder(body):
        if not any(a in live for a in here.args):
            continue
        live.add(here)
        record = ops.record(here)
        found = [*record.kinks(*here.args), *record.singular(*here.args)]
        if record.gives == ops.BOOL_KIND:
            found.append(here.args[0] - here.args[1])
        if here.op in ("clog", "csqrt"):
            found.append(here.args[0])
        for k in found:
            k = canonical_expr(k, facts)
            if any(n is F for n in postorder(k)):
                out[k] = None
    return list(out)


def _roots(k: Expr, domain: Interval, inside: frozenset[Expr]) -> list[Break]:
    """All zeros of k on the domain. Raises Unclear if they cannot be isolated."""
    if k.op in ("mul", "neg", "abs", "square"):  # each factor for itself
        return [b for a in k.args if F in postorder(a) for b in _roots(a, domain, inside)]
    if k.op in ("div", "pow"):
        return _roots(k.args[0], domain, inside) if F in postorder(k.args[0]) else []
    if k.op in ("sqrt", "hypot") and k.args[0] is F:
        k = F
    value = Ranges(k, None, inside)
    try:
        slope = Ranges(derivative(k, F), None, inside)
    except LosscError as problem:
        raise Unclear(str(problem)) from None
    out: list[Break] = []
    todo: list[Interval] = [domain]
    seen = 0
    while todo:
        box = todo.pop()
        seen += 1
        r = value({F: box})
        if not r.hi >= 0 or not r.lo <= 0:
            continue
        if slope({F: box}).nonzero:
            root = _single(k, box, domain)
            out += [root] if root is not None else []
            continue
        halves = split({F: box})
        if halves is None or seen > ROOT_BUDGET:
            raise Unclear("its kinks could not be isolated")
        todo += [h[F] for h in halves]
    return out


def _single(k: Expr, box: Interval, domain: Interval) -> Break | None:
    """The one zero of a monotone k in the box, if there is one."""
    ctx = context()
    with ctx.workdps(DIGITS):
        low, high = _finite(k, box)
        first, last = _sign(k, low), _sign(k, high)
        if first * last > 0:
            return None
        for _ in range(260):
            if first == 0 or last == 0:
                break
            middle = (low + high) / 2
            here = _sign(k, middle)
            if here == first:
                low = middle
            else:
                high, last = middle, here
            if here == 0:
                break
        at = low if first == 0 else high
        exact = _rational(k, at)
        if exact is not None:
            at = _mpf(exact)
        if not domain.lo < at < domain.hi:
            return None
        return Break(+at, exact)


def _finite(k: Expr, box: Interval) -> tuple[Any, Any]:
    """Ends of a bounded box that holds the zero if any does: an infinite end is moved in."""
    ctx = context()
    low = ctx.mpf(-(10**30)) if box.lo == -INF else ctx.mpf(box.lo)
    high = ctx.mpf(10**30) if box.hi == INF else ctx.mpf(box.hi)
    return low, high


def _sign(k: Expr, x: Any) -> int:
    value = evaluate(k, {F: x}, dps=DIGITS, ctx=context())
    if context().isnan(value):
        raise Unclear("a kink has no value next to it")
    return int(value > 0) - int(value < 0)


def _rational(k: Expr, x: Any) -> Fraction | None:
    """The simple rational number at which k is 0, if the zero is one."""
    for most in (1, 1000, 10**6):
        near = Fraction(str(context().nstr(x, 50))).limit_denominator(most) if abs(x) < 10**20 else Fraction(0)
        if is_writable(near) and _sign(k, _mpf(near)) == 0:
            return near
    return None


# -- one side of every operator ---------------------------------------------------------------------------------------


def _resolved(body: Expr, x: float) -> Expr:
    """The body with each operator that has sides replaced by the side that it takes at x."""
    done: dict[Expr, Expr] = {}
    at: Mapping[Expr, Any] = {F: x}
    for here in postorder(body):
        if here.op in LEAF_OPS:
            done[here] = here
            continue
        args = [done[a] for a in here.args]
        side = _SIDES.get(here.op)
        done[here] = rebuild(here, args) if side is None else side(args, [_at(a, at) for a in here.args])
    return done[body]


def _at(root: Expr, at: Mapping[Expr, Any]) -> Any:
    value = evaluate(root, at, dps=DIGITS, ctx=context())
    if not isinstance(value, bool) and context().isnan(value):
        return context().zero
    return value


def _abs(a: Expr, v: Any) -> Expr:
    return a if v > 0 else -a


_SIDES: dict[str, Any] = {
    "abs": lambda a, v: _abs(a[0], v[0]),
    "sign": lambda a, v: const(1 if v[0] > 0 else -1),
    "heaviside": lambda a, v: ONE if v[0] > 0 else ZERO,
    "relu": lambda a, v: a[0] if v[0] > 0 else ZERO,
    "max": lambda a, v: a[0] if v[0] >= v[1] else a[1],
    "min": lambda a, v: a[0] if v[0] <= v[1] else a[1],
    "clamp": lambda a, v: a[2] if v[0] > v[2] else a[1] if v[0] < v[1] else a[0],
    "where": lambda a, v: a[1] if v[0] else a[2],
    "plog": lambda a, v: call("log", _abs(a[0], v[0]) + call("eps")),
    "psqrt": lambda a, v: call("sqrt", _abs(a[0], v[0]) + call("eps")),
    "clog": lambda a, v: call("log", _abs(a[0], v[0]) if abs(v[0]) > 1e-7 else call("eps")),
    "csqrt": lambda a, v: call("sqrt", _abs(a[0], v[0]) if abs(v[0]) > 1e-7 else call("eps")),
}


# -- the two sides of a break -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Jump:
    """A derivative on both sides of a break: numbers with 60 digits, infinite or NaN where there is none."""

    left: Any
    right: Any

    @property
    def none(self) -> bool:
        """Whether the two sides are equal."""
        ctx = context()
        if not (ctx.isfinite(self.left) and ctx.isfinite(self.right)):
            return False
        return bool(abs(self.left - self.right) <= ctx.mpf(10) ** -_CLOSE * max(1, abs(self.left), abs(self.right)))

    @property
    def finite(self) -> bool:
        return bool(context().isfinite(self.left) and context().isfinite(self.right))


def jump(before: Piece, after: Piece, order: int) -> Jump:
    """The derivative of an order to the left and to the right of where two pieces meet. Raises LosscError."""
    b = before.right
    assert b is not None
    return Jump(_limit(before, b, order, -1), _limit(after, b, order, 1))


def _limit(piece: Piece, b: Break, order: int, side: int) -> Any:
    """The value at the break; where the expression has none there, what it tends to, from very close by."""
    ctx = context()
    root = piece.order(order)
    with ctx.workdps(DIGITS):
        if b.exact is not None:
            fixed = canonical_expr(substitute(root, {F: const(b.exact)}), piece.facts)
            value = evaluate(fixed, {}, dps=DIGITS, ctx=ctx) if F not in postorder(fixed) else ctx.nan
        else:
            value = evaluate(root, {F: b.at}, dps=DIGITS, ctx=ctx)
        if ctx.isfinite(value):
            return value
        near = [evaluate(root, {F: b.at + side * ctx.mpf(10) ** -k}, dps=4 * DIGITS, ctx=ctx) for k in (30, 60, 120)]
        if ctx.isfinite(near[-1]) and abs(near[2] - near[1]) <= ctx.mpf(10) ** -20 * max(1, abs(near[1])):
            return near[-1]
        if abs(near[2]) > 2 * abs(near[1]) > 4 * abs(near[0]) or ctx.isinf(near[-1]):
            return ctx.inf if near[2] > 0 else -ctx.inf
        return ctx.nan
