"""Products and quotients with a limit where they have no value: holes that are filled (docs/numerics.md, G7, G8, G12).

G12   sin(u)/u, log1p(u^2)/u, u/tanh(u), (1 - cos(u))/u^2, ...: numerator and denominator are power series in u, and the
      numerator vanishes at least as fast. Near u = 0 the quotient of the series is used, which has the right value,
      slope and second derivative there (the quotient of the functions loses them to cancellation long before u is 0);
      elsewhere the quotient as it stands, and each side sees a harmless u on the other's ground (double-where).
G8    u/|u| and |u|/u are the sign of u, 0 at 0; u^2/|u| is |u|.
G7    u*log(u) is 0 at u = 0, with the chosen slope 0.

A whole product or quotient is looked at, as factors above and below the bar, so that `y*sin(f)*exp(f)/f` is seen too.
G8 and G12 are about slopes: a hole in y alone stays one. G7 fills it, since y*log(y) is 0 at y = 0 by convention.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import reduce

from lossc.compiler import ops
from lossc.compiler.ir import CONST, ONE, ZERO, Expr, F, const, is_live, is_writable, node, postorder, substitute
from lossc.compiler.ops import call
from lossc.compiler.passes.series import Expansion, Series, divided, order, product

Nonzero = Callable[[Expr], bool]
Found = tuple[str, Expr]
"""A rule id, and the expression in the new form."""

_LARGEST = 80
"""Factors larger than this, as trees, are not expanded."""
_MOST_WORK = 1_000
"""Operations that are expanded in one loss, some milliseconds each at worst."""
_NEAR = tuple(Fraction(1, 2**k) for k in range(2, 41))
_LONGEST, _SEEN = 20, 4
"""Coefficients of a polynomial at most, and how many more must be known to judge it."""
_LEFT_OUT = Fraction(1, 2**56)


class Filler:
    """Fills the holes of one loss; `nonzero` says what certainly does not vanish.

    The work on power series is limited for the whole loss: what is not looked at any more stays as it is.
    """

    def __init__(self, nonzero: Nonzero) -> None:
        self.nonzero = nonzero
        self._expansions: dict[Expr, Expansion] = {}

    def filled(self, here: Expr) -> list[Found]:
        """The forms that `here`, a whole product or quotient, takes on one after the other; empty if it has no hole."""
        found: list[Found] = []
        for rule, step in (("G8", _signs), ("G12", self._quotients), ("G7", _logarithm)):
            made = step(found[-1][1] if found else here, self.nonzero)
            if made is not None:
                found.append((rule, made))
        return found

    def _quotients(self, here: Expr, nonzero: Nonzero) -> Expr | None:
        above, below = factors(here)
        made: list[Expr] = []
        for bottom in dict.fromkeys(below):
            if bottom not in below or bottom.tree_size > _LARGEST or F not in postorder(bottom) or nonzero(bottom):
                continue
            for u in _variables(bottom, nonzero):
                cured = self._quotient(above, below, bottom, u)
                if cured is not None:
                    made.append(cured)
                    break
        return _joined([*made, *above], below) if made else None

    def _quotient(self, above: list[Expr], below: list[Expr], cause: Expr, u: Expr) -> Expr | None:
        """The factors that vanish with u, as one guarded quotient, if it has a limit; they leave the lists."""
        if not self._vanishing([cause], u):
            return None
        top, bottom = self._vanishing(above, u), self._vanishing(below, u)
        if not top or not bottom or any(scale is not ONE for _, _, scale in bottom):
            return None
        upper, lower = (reduce(product, (found for _, found, _ in side)) for side in (top, bottom))
        near = _truncated(divided(upper, lower)) if order(upper) >= order(lower) else None
        if near is None:
            return None
        for side, among in ((top, above), (bottom, below)):
            for x, _, _ in side:
                among.remove(x)
        scale = reduce(lambda a, b: b if a is ONE else a if b is ONE else a * b, (s for _, _, s in top))
        return _guarded([x for x, _, _ in top], [x for x, _, _ in bottom], u, near, scale)

    def _vanishing(self, among: list[Expr], u: Expr) -> list[tuple[Expr, Series, Expr]]:
        """The factors that are power series in u without a constant term: with the series, and a number before it."""
        expansion = self._expansions.setdefault(u, Expansion(u))
        out = []
        for x in among:
            if sum(e.work for e in self._expansions.values()) > _MOST_WORK or x.tree_size > _LARGEST:
                break
            found = expansion.of_factor(x) if is_live(x) else None
            if found is not None and 0 < order(found[0]) < len(found[0]):
                out.append((x, *found))
        return out


def is_filled(here: Expr) -> bool:
    """Whether `here` is what G7 makes of a product: where(at, 0, ... log(where(at, ...)) ...)."""
    at, value, kept = here.args
    logs = (x for x in factors(kept)[0] if x.op in _LOGS) if value is ZERO else ()
    return any(y.op == "where" and y.args[0] is at for x in logs for side in factors(x.args[0]) for y in side)


# -- factors above and below the bar ----------------------------------------------------------------------------------


def factors(here: Expr) -> tuple[list[Expr], list[Expr]]:
    """The factors of a product or quotient, above and below the bar; minus signs become the factor -1."""
    above: list[Expr] = []
    below: list[Expr] = []
    stack = [(here, True)]
    while stack:
        x, up = stack.pop()
        if x.op in ("mul", "div"):
            stack += [(x.args[1], up is (x.op == "mul")), (x.args[0], up)]
        elif x.op == "neg":
            above.append(const(-1))
            stack.append((x.args[0], up))
        else:
            (above if up else below).append(x)
    return above, below


def _joined(above: list[Expr], below: list[Expr]) -> Expr:
    above = [x for x in above if x is not ONE]
    sign = -1 if sum(x.op == CONST and x.number == -1 for x in above) % 2 else 1
    above = [x for x in above if not (x.op == CONST and x.number == -1)]
    top = reduce(lambda a, b: a * b, above) if above else ONE
    out = top / reduce(lambda a, b: a * b, below) if below else top
    return out if sign > 0 else -out


# -- G8: signs ---------------------------------------------------------------------------------------------------------


def _signs(here: Expr, nonzero: Nonzero) -> Expr | None:
    """u against |u|, above and below the bar."""
    above, below = factors(here)
    for size in [x for x in (*above, *below) if x.op == "abs" and F in postorder(x) and not nonzero(x)]:
        (u,) = size.args
        for up, down in ((above, below), (below, above)):
            if size not in down or not (u in up or _square_of(u, up)):
                continue
            down.remove(size)
            if u in up:
                up.remove(u)
                above.append(call("sign", u) + 0 * u)
            else:
                up.remove(_square_of(u, up) or u)
                up.append(size)
            return _signs(_joined(above, below), nonzero) or _joined(above, below)
    return None


def _square_of(u: Expr, among: list[Expr]) -> Expr | None:
    forms = (node("square", u), u**2)
    return next((x for x in among if x in forms), None)


# -- G12: quotients of power series ------------------------------------------------------------------------------------


def _variables(bottom: Expr, nonzero: Nonzero) -> list[Expr]:
    """Sub-expressions that may be 0 and that `bottom` could be a power series in, inner ones first."""
    live: set[Expr] = {F}
    for here in postorder(bottom):
        if any(a in live for a in here.args):
            live.add(here)
    reals = (n for n in postorder(bottom) if n in live and ops.kind_of(n) == ops.REAL_KIND and n.op != "neg")
    return [n for n in reals if not nonzero(n)]


def _guarded(top: list[Expr], bottom: list[Expr], u: Expr, near: tuple[Fraction, Series], scale: Expr) -> Expr:
    """The quotient of two products: the polynomial near u = 0, itself elsewhere, each away from the other's ground."""
    inside, coefficients = near
    close = call("lt", call("abs", u), const(inside))
    here, there = call("where", close, u, 0), call("where", close, const(inside), u)
    value = _horner(coefficients, here)
    far = _joined([_replaced(x, u, there) for x in top], [_replaced(x, u, there) for x in bottom])
    return call("where", close, value if scale is ONE else scale * value, far)


def _replaced(x: Expr, u: Expr, by: Expr) -> Expr:
    mapping = {u: by}
    if u.op == "sub":
        mapping[node("sub", *u.args[::-1])] = -by
    return substitute(x, mapping)


def _truncated(found: Series) -> tuple[Fraction, Series] | None:
    """Where and how many coefficients of the series are as good as float64 for two derivatives; None if nowhere."""
    longest = min(_LONGEST, len(found) - _SEEN)
    for inside in _NEAR:
        weights = [abs(c) * max(k, 1) ** 2 * inside ** max(k - 2, 0) for k, c in enumerate(found)]
        bound = _LEFT_OUT * max(weights[order(found) : order(found) + 3], default=Fraction(0))
        length = next((n for n in range(1, longest) if all(w <= bound for w in weights[n:])), None)
        if length is not None:
            return inside, found[:length]
    return None


def _horner(coefficients: Series, x: Expr) -> Expr:
    """The polynomial, in x^2 where it is even or odd."""
    if len(coefficients) > 2 and not any(coefficients[1::2]):
        return _horner(coefficients[::2], x * x)
    if len(coefficients) > 2 and not any(coefficients[::2]):
        return x * _horner(coefficients[1::2], x * x)
    out = _number(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        out = out * x if c == 0 else out * x + _number(c)
    return out


def _number(value: Fraction) -> Expr:
    return const(value if is_writable(value) else float(value))


# -- G7: u log u -------------------------------------------------------------------------------------------------------

_LOGS = ("log", "log2", "log10", "log1p")


def _logarithm(here: Expr, nonzero: Nonzero) -> Expr | None:
    """A factor that vanishes, times a logarithm that grows there: the product is 0."""
    above, below = factors(here)
    if any(is_live(x) and not nonzero(x) for x in below):
        return None
    for x in above:
        if x.op not in _LOGS or not is_live(x):
            continue
        for u in _inside(x):
            if nonzero(u) or not any(_vanishes_with(y, u) for y in above if y is not x):
                continue
            at = call("eq", u, ZERO)
            safe = _harmless_logarithm(x, at)
            return call("where", at, ZERO, _joined([safe if y is x else y for y in above], below))
    return None


def _harmless_logarithm(logarithm: Expr, at: Expr) -> Expr:
    """The logarithm, with an argument of 1 at the point: factor by factor, so that y/f is harmless at y = f = 0."""
    (x,) = logarithm.args
    if logarithm.op == "log1p":
        return node("log1p", call("where", at, ZERO, x))
    above, below = factors(x)
    above, below = ([call("where", at, ONE, y) if is_live(y) else y for y in side] for side in (above, below))
    return node(logarithm.op, _joined(above, below))


def _inside(logarithm: Expr) -> list[Expr]:
    """What makes the argument of a logarithm 0: its factors, freed from absolute values and powers."""
    (x,) = logarithm.args
    if logarithm.op == "log1p":
        return [ONE - x.args[0]] if x.op == "neg" else [x + 1, ONE + x]
    above, _ = factors(x)
    return [_base(y) for y in above if is_live(y)]


def _base(x: Expr) -> Expr:
    """The x of |x|, x^2, sqrt(x) and x^p with p > 0."""
    while x.op in ("abs", "square", "sqrt") or (x.op == "pow" and x.args[1].op == CONST and x.args[1].number > 0):
        x = x.args[0]
    return x


def _vanishes_with(factor: Expr, u: Expr) -> bool:
    return _base(factor) is u or (u.op == "sub" and _base(factor) is node("sub", *u.args[::-1]))
