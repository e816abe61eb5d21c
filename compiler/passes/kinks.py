"""One-sided slopes at kinks, by choice (docs/numerics.md, G10).

Near a kink an operator is `base + s*k`, where k is 0 at the kink and s is one number below it and another above: for
|x| it is -1 and 1 with k = x and base 0, for max(x, y) it is 0 and 1 with k = x - y and base y. The records choose
one number between the two. Another choice is the operator less a term that is 0 everywhere and has a slope at the kink:

    |x| - where(x == 0, -x, 0)                        the slope from above
    max(x, y) - where(x - y == 0, -0.5*(x - y), 0)    the same

so that values stay as they are, and infinities and NaN go where they went (less, not plus: -0.0 + 0.0 is 0.0).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

from lossc.compiler import ops
from lossc.compiler.errors import LossTypeError
from lossc.compiler.ir import CONST, HALF, LEAF_OPS, ONE, ZERO, Expr, F, const, postorder, rebuild
from lossc.compiler.loss import Loss
from lossc.compiler.ops import call
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.passes.differentiate import derivative
from lossc.compiler.passes.guard import GuardFacts
from lossc.compiler.passes.rewrite import Applied

LARGEST = 200
"""Operands and derivatives that are larger, as trees, are not used to tell left from right."""


@dataclass(frozen=True, slots=True)
class Kink:
    """Where `at` is 0, the operator is base + s*lever, with s = `below` for lever < 0, `above` for lever > 0.

    `chosen` is the s of the record's subgradient; `unit` divides the lever (the ε of a protected operator).
    """

    at: Expr
    lever: Expr
    below: Fraction
    above: Fraction
    chosen: Fraction
    base: Expr = ZERO
    unit: Expr = field(default=ONE)


def _kink(at: Expr, below: int, above: int, chosen: int | Fraction, base: Expr = ZERO, unit: Expr = ONE) -> Kink:
    return Kink(at, at, Fraction(below), Fraction(above), Fraction(chosen), base, unit)


_ROOT_UNIT = 2 * call("sqrt", call("eps"))


def _extreme(x: Expr, y: Expr, below: int, above: int) -> tuple[Kink, ...]:
    """Of max and min: base + s*(other - base), the base being the side that f does not enter, if there is one."""
    base, other = (y, x) if F in postorder(x) else (x, y)
    return (_kink(other - base, below, above, Fraction(1, 2), base),)


def _floor(x: Expr) -> Expr:
    return call("abs", x) - call("eps")


def _hypotenuse(x: Expr, y: Expr) -> tuple[Kink, ...]:
    """Along the one operand that f enters, the slope is that of its absolute value; along two there is no one lever."""
    at = call("max", call("abs", x), call("abs", y))
    live = [a for a in (x, y) if F in postorder(a)]
    return (Kink(at, live[0], Fraction(-1), Fraction(1), Fraction(0)),) if len(live) == 1 else ()


KINKS: dict[str, Callable[..., tuple[Kink, ...]]] = {
    "abs": lambda x: (_kink(x, -1, 1, 0),),
    "relu": lambda x: (_kink(x, 0, 1, 0),),
    "max": lambda x, y: _extreme(x, y, 0, 1),
    "min": lambda x, y: _extreme(x, y, 1, 0),
    "clamp": lambda x, lo, hi: (_kink(x - lo, 0, 1, 1, lo), _kink(x - hi, 1, 0, 1, hi)),
    "hypot": _hypotenuse,
    "plog": lambda x: (_kink(x, -1, 1, 0, unit=call("eps")),),
    "psqrt": lambda x: (_kink(x, -1, 1, 0, unit=_ROOT_UNIT),),
    "clog": lambda x: (_kink(_floor(x), 0, 1, 1, unit=call("eps")),),
    "csqrt": lambda x: (_kink(_floor(x), 0, 1, 1, unit=_ROOT_UNIT),),
    "sign": lambda x: (),
    "heaviside": lambda x: (),
}
"""Every operator whose record has kinks. Those without a `Kink` jump and are flat on both sides: nothing to choose."""


def with_slopes(loss: Loss, policy: str) -> tuple[Loss, list[Applied]]:
    """The loss with the slopes of `policy` ("zero", "left", "right" or "mid") at every kink that f can reach."""
    chooser = _Chooser(loss, policy)
    done: dict[Expr, Expr] = {}
    live: set[Expr] = set()
    applied: list[Applied] = []
    for here in postorder(loss.body):
        if ops.kind_of(here) == ops.BOOL_KIND:  # no slope goes through a condition
            done[here] = here
            continue
        made = rebuild(here, (done[a] for a in here.args))
        if here is F or any(a in live for a in here.args):
            live.add(here)
            if here.op in KINKS:
                turned = chooser.apply(here, made)
                applied += [Applied("G10", here)] if turned is not made else []
                made = turned
        done[here] = made
    return loss.with_body(done[loss.body]), applied


class _Chooser:
    def __init__(self, loss: Loss, policy: str) -> None:
        self.policy = policy
        self.facts = GuardFacts(loss)

    def apply(self, written: Expr, made: Expr) -> Expr:
        """The operation `made`, with another slope at its kinks; `written` is the same before its operands changed."""
        terms = zip(KINKS[written.op](*written.args), KINKS[written.op](*made.args), strict=True)
        term = ZERO
        for old, new in reversed(list(terms)):  # of two kinks at one point (clamp with lo = hi) the first counts
            c = self._correction(old)
            if c is ZERO:
                continue
            lever = new.lever if new.unit is ONE else new.lever / new.unit
            term = call("where", call("eq", new.at, ZERO), _times(c, lever), term)
        return made if term is ZERO else made - term

    def _correction(self, kink: Kink) -> Expr:
        """What to take from the chosen s, as an expression; 0 where nothing is to be changed."""
        steepness = self._slope(kink.lever)
        if steepness is ZERO:
            return ZERO
        if self.policy == "mid":
            wanted: Expr | None = const((kink.below + kink.above) / 2)
        elif self.policy == "zero":
            wanted = self._nearest_to_zero(kink, steepness)
        else:
            wanted = self._one_sided(kink, steepness)
        return ZERO if wanted is None else canonical_expr(const(kink.chosen) - wanted, self.facts)

    def _one_sided(self, kink: Kink, steepness: Expr | None) -> Expr:
        """The s on the side from which f comes: seen from f, not from the lever, wherever that can be said."""
        first, second = (kink.below, kink.above) if self.policy == "left" else (kink.above, kink.below)
        if steepness is None or self.facts.nonnegative(steepness):
            return const(first)
        if self.facts.nonpositive(steepness):
            return const(second)
        return call("where", call("lt", steepness, ZERO), const(second), const(first))

    def _nearest_to_zero(self, kink: Kink, steepness: Expr | None) -> Expr | None:
        """The s between both for which base' + s*lever' is nearest to 0; None (as it is) where that cannot be said."""
        low, high = sorted((kink.below, kink.above))
        drift = self._slope(kink.base)
        if drift is ZERO:
            return ZERO
        if drift is None or steepness is None:
            return None
        if self.facts.nonzero(steepness):
            return call("clamp", -drift / steepness, const(low), const(high))
        flat = call("eq", steepness, ZERO)
        ratio = -drift / call("where", flat, ONE, steepness)
        return call("where", flat, const(kink.chosen), call("clamp", ratio, const(low), const(high)))

    def _slope(self, x: Expr) -> Expr | None:
        """dx/df, canonical; None where it is not elementwise, has no closed form, or is large."""
        inside = postorder(x)
        if F not in inside:
            return ZERO
        if x.tree_size > LARGEST or any(n.op not in LEAF_OPS and ops.record(n).axis for n in inside):
            return None
        try:
            found = derivative(x, F)
        except LossTypeError:
            return None
        return canonical_expr(found, self.facts) if found.tree_size <= 2 * LARGEST else None


def _times(c: Expr, x: Expr) -> Expr:
    if c is ONE:
        return x
    if c.op == CONST and c.number == -1:
        return -x
    return x / 2 if c is HALF else c * x
