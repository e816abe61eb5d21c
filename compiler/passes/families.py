"""Rewrites that no single pattern can say: squares with any factors, sums of any number of exponentials, and the like.

Each function takes a node in canonical form and the facts, and gives what it becomes, or None. Each is equal on the
reals wherever the node is defined; `lossc.compiler.passes.stable_rules` names them with their simplest case.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache

from lossc.compiler.facts import Facts
from lossc.compiler.ir import CONST, ONE, ZERO, Expr, const, is_live, is_writable, postorder
from lossc.compiler.loss import varies
from lossc.compiler.ops import call
from lossc.compiler.passes.canonical.sums import is_sum, signed_parts
from lossc.compiler.passes.canonicalize import canonical_expr, canonical_exprs

LIKELY = const(Fraction(3, 5))
"""A probability above this is that of one class at most, however it is rounded."""

MOST, MOST_ROOTS = 24, 3
"""Sums with more terms are left alone; hypot of hypot of more than three costs more than it is worth."""

Factors = dict[Expr, int]
"""Bases to whole powers."""


@lru_cache(maxsize=512)
def factors(x: Expr) -> tuple[Fraction, Factors]:
    """`(c, {base: n})` with x = c Π base^n, for a canonical x. Not to be changed: several rules ask for the same."""
    coefficient = Fraction(1)
    found: Factors = {}
    stack = [(x, 1)]
    while stack:
        here, n = stack.pop()
        if here.op == CONST and here.number != 0:
            grown = coefficient * (here.number if n > 0 else 1 / here.number)
            if is_writable(grown):
                coefficient = grown
            else:
                found[here] = found.get(here, 0) + n
        elif here.op == "neg":
            coefficient = -coefficient
            stack.append((here.args[0], n))
        elif here.op in ("mul", "div"):
            stack += [(here.args[0], n), (here.args[1], n if here.op == "mul" else -n)]
        elif here.op == "pow" and here.args[1].op == CONST and here.args[1].number.denominator == 1:
            found[here.args[0]] = found.get(here.args[0], 0) + n * int(here.args[1].number)
        else:
            found[here] = found.get(here, 0) + n
    return coefficient, found


def multiplied(coefficient: Fraction, found: Factors) -> Expr:
    """The product of what `factors` took apart."""
    top = [b if n == 1 else b ** const(n) for b, n in found.items() if n > 0]
    bottom = [b if n == -1 else b ** const(-n) for b, n in found.items() if n < 0]
    out = const(coefficient)
    for x in top:
        out = x if out is ONE else out * x
    for x in bottom:
        out = out / x
    return out


def added(parts: Iterable[tuple[Expr, int]]) -> Expr:
    """The sum of signed terms."""
    out: Expr | None = None
    for x, sign in parts:
        out = (x if sign > 0 else -x) if out is None else out + x if sign > 0 else out - x
    return ZERO if out is None else out


# -- squares: V19, V21, V22, V32 --------------------------------------------------------------------------------------


def square_root(x: Expr, facts: Facts) -> Expr | None:
    """r with x = r^2, if x is a product with an even power of y or f in it, and other factors that are not negative."""
    coefficient, found = factors(x)
    if coefficient <= 0 or not any(n % 2 == 0 and n > 0 and is_live(b) for b, n in found.items()):
        return None
    root: Factors = {}
    rest: Factors = {}
    for base, n in found.items():
        if n % 2 == 0:
            root[base] = n // 2
        elif facts.positive(base) or (n > 0 and facts.nonnegative(base)):
            rest[base] = n
        else:
            return None
    under = multiplied(coefficient, rest)
    return multiplied(Fraction(1), root) if under is ONE else call("sqrt", under) * multiplied(Fraction(1), root)


def is_short(total: Expr, most: int = MOST) -> bool:
    """Whether a sum has at most so many terms; looks at no more of it than that."""
    stack, count = [total], 0
    while stack and count <= most:
        here = stack.pop()
        if is_sum(here):
            stack += here.args
        else:
            count += 1
    return count <= most


def _square_and_rest(x: Expr, facts: Facts) -> tuple[Expr, Expr, Expr] | None:
    """`(r, r^2, rest)` with x = r^2 + rest for a sum x, where the rest cannot be negative."""
    if x.op != "add" or not is_short(x):
        return None
    parts = signed_parts(x)
    for i, (part, sign) in enumerate(parts):
        root = square_root(part, facts) if sign > 0 else None
        if root is not None:
            rest = added(p for j, p in enumerate(parts) if j != i)
            return (root, part, rest) if facts.nonnegative(rest) else None
    return None


def log_of_square(here: Expr, facts: Facts) -> Expr | None:
    """log(1 + r^2), log1p(r^2) and log(c + r^2) for c > 0, without squaring a large r."""
    (x,) = here.args
    if here.op == "log1p":
        root = square_root(x, facts)
        return None if root is None else call("log1psq", root)
    found = _square_and_rest(x, facts)
    if found is None:
        return None
    root, _, rest = found
    if rest is ONE:
        return call("log1psq", root)
    return 2 * call("log", call("hypot", root, call("sqrt", rest))) if facts.positive(rest) else None


def root_of_square(here: Expr, facts: Facts) -> Expr | None:
    """sqrt(r^2 + s) is hypot(r, sqrt(s)), and sqrt(r^2) is |r|, for a square r^2 that has other factors too."""
    (x,) = here.args
    found = _square_and_rest(x, facts) if is_short(x, MOST_ROOTS) else None
    if found is not None:
        rest = found[2]
        other = rest if rest is ONE else square_root(rest, facts)
        return call("hypot", found[0], call("sqrt", rest) if other is None else other)
    root = square_root(x, facts)
    return None if root is None else call("abs", root)


def quotient_of_square(here: Expr, facts: Facts) -> Expr | None:
    """b^2/(c + k b^2), and b/(c + k b^2), for c > 0, without squaring a large b."""
    coefficient, found = factors(here)
    for total in [b for b, n in found.items() if n == -1 and is_sum(b)]:
        split = _square_and_rest(total, facts)
        if split is None or not facts.positive(split[2]):
            continue
        root = square_root(canonical_expr(split[1] / split[2], facts), facts)
        if root is None:
            continue
        ratio = canonical_expr(root, facts)  # r, with c + k b^2 = c (1 + r^2)
        c, inner = factors(ratio)
        for base in [b for b, n in inner.items() if n == 1 and is_live(b)]:
            if found.get(base, 0) not in (1, 2) or any(is_live(b) for b in inner if b is not base):
                continue
            n = found[base]
            others = {b: k for b, k in found.items() if b is not base and b is not total}
            scale = multiplied(c, {b: k for b, k in inner.items() if b is not base}) ** const(n) * split[2]
            core = call("div1psq" if n == 1 else "sqdiv1psq", ratio)
            return core * multiplied(coefficient, others) / scale
    return None


# -- exponentials: V12, V14 -------------------------------------------------------------------------------------------


def _exponent(part: Expr, facts: Facts) -> Expr | None:
    """log of a term that is a positive multiple of an exponential, or a positive constant."""
    coefficient, found = factors(part)
    if coefficient <= 0:
        return None
    grown = [b for b, n in found.items() if b.op == "exp" and n == 1]
    if len(grown) > 1 or any(not facts.positive(b) for b in found):
        return None
    rest = multiplied(coefficient, {b: n for b, n in found.items() if b not in grown})
    if not grown:
        return None if is_live(rest) else call("log", rest)
    return grown[0].args[0] if rest is ONE else grown[0].args[0] + call("log", rest)


def log_of_exponentials(here: Expr, facts: Facts) -> Expr | None:
    """log, or log1p, of a sum of positive multiples of exponentials, and of a positive constant, by logaddexp."""
    (x,) = here.args
    if not is_short(x):
        return None
    parts = signed_parts(x) + ([(ONE, 1)] if here.op == "log1p" else [])
    if len(parts) < 2 or not any(n.op == "exp" for n in postorder(x)):
        return None
    exponents: list[Expr] = []
    for part, sign in parts:
        exponent = _exponent(part, facts) if sign > 0 else None
        if exponent is None:
            return None
        exponents.append(exponent)
    out = exponents[0]
    for exponent in exponents[1:]:
        out = call("logaddexp", out, exponent)
    return out


# -- products: V7, V26 ------------------------------------------------------------------------------------------------


def exponential_times_sigmoid(here: Expr, facts: Facts) -> Expr | None:
    """exp(a)*sigmoid(-a) is sigmoid(a), sigmoid(a)/sigmoid(-a) is exp(a), also among other factors."""
    coefficient, found = factors(here)
    squashed = [b for b in found if b.op == "sigmoid"]
    others = [b for b in found if b.op in ("exp", "sigmoid")]
    if not squashed or len(others) < 2:
        return None
    inside = [*(-s.args[0] for s in squashed), *(b.args[0] for b in others)]
    forms = canonical_exprs(inside, facts)  # all at once: a product of many sigmoids has many pairs
    turned, plain = forms[: len(squashed)], forms[len(squashed) :]
    for s, opposite in zip(squashed, turned, strict=True):
        for other, form in zip(others, plain, strict=True):
            if other is s or form is not opposite:
                continue
            n, m = found[s], found[other]
            if other.op == "exp" and m == 1 and n > 0:
                rest = {**found, s: n - 1}
                made = call("sigmoid", other.args[0])
            elif other.op == "sigmoid" and n < 0 < m:
                rest = {**found, s: n + 1}
                made = call("exp", other.args[0])
            else:
                continue
            rest[other] = m - 1
            rest = {b: k for b, k in rest.items() if k}
            return made * multiplied(coefficient, rest)
    return None


def entropy(here: Expr, facts: Facts) -> Expr | None:
    """y*log(y/b), y*log(y) and y*(log(y) - b) have the value 0 at y = 0: xlogy says so.

    For y in [0, 1], y*log(y/b) becomes xlogy(y, y) - xlogy(y, b), which has that value at b = 0 too; for a greater y
    these might overflow.
    """
    coefficient, found = factors(here)
    for base in [b for b, n in found.items() if n == 1]:
        taken = _split_logarithm(base, found, facts)
        if taken is None:
            continue
        x, split = taken
        rest = multiplied(coefficient, {**{b: n for b, n in found.items() if b not in (base, x)}, x: found[x] - 1})
        return rest * added(split)
    return None


def _split_logarithm(base: Expr, found: Factors, facts: Facts) -> tuple[Expr, list[tuple[Expr, int]]] | None:
    """`(x, terms)` with x*base = Σ terms for a factor x >= 0 whose logarithm is a term of `base`."""
    candidates = [x for x, n in found.items() if n >= 1 and facts.nonnegative(x) and not facts.positive(x)]
    for x in candidates:
        if _is_log_of(base, x, facts):
            return x, [(call("xlogy", x, x), 1)]
        if base.op == "log" and base.args[0].op == "div" and base.args[0].args[0] is x:
            below = base.args[0].args[1]
            if facts.range(x).hi > 1:
                return x, [(call("xlogy", x, base.args[0]), 1)]
            return x, [(call("xlogy", x, x), 1), (call("xlogy", x, below), -1)]
        parts = signed_parts(base) if is_sum(base) else []
        own = [(p, s) for p, s in parts if _is_log_of(p, x, facts)]
        if own:
            others = [(x * p, s) for p, s in parts if (p, s) not in own]
            return x, [*((call("xlogy", x, x), s) for _, s in own), *others]
    return None


def _is_log_of(here: Expr, x: Expr, facts: Facts) -> bool:
    if here.op == "log1p":
        return is_sum(x) and canonical_expr(1 + here.args[0], facts) is canonical_expr(x, facts)
    return here.op == "log" and here.args[0] is x


def over_root(here: Expr, facts: Facts) -> Expr | None:
    """u/sqrt(u) is sqrt(u), also where the factors of u are apart."""
    coefficient, found = factors(here)
    for root in [b for b, n in found.items() if b.op == "sqrt" and n == -1]:
        c, under = factors(root.args[0])
        if c == 1 and all(n > 0 and found.get(b, 0) >= n for b, n in under.items()):
            rest = {b: n - under.get(b, 0) for b, n in found.items() if b is not root}
            return root * multiplied(coefficient, {b: n for b, n in rest.items() if n})
    return None


# -- the slope of a softmax -------------------------------------------------------------------------------------------


def softmax_slope(here: Expr, facts: Facts) -> Expr | None:
    """t - p*sum_c(t) for p = softmax(x): the slope through a softmax, which cancels where p is near 1.

    It is t*(1 - p) less p times the sum of the others' t; where p > 0.6 (at one class at most) that sum is taken
    without the class itself.
    """
    if not is_short(here):
        return None
    parts = signed_parts(here)
    for i, (part, sign) in enumerate(parts):
        found = factors(part)
        p, total = _softmax_and_sum(found[1])
        if p is None or total is None:
            continue
        shared = multiplied(found[0], {b: n for b, n in found[1].items() if b not in (p, total)})
        t = total.args[0]
        left = added(q for j, q in enumerate(parts) if j != i)
        rest = terms(left + shared * t if sign > 0 else left - shared * t, facts)
        if len(parts) - 1 - len(rest) != len(signed_parts(t)):
            continue
        likely = call("gt", p, LIKELY)
        others = call("where", likely, call("sum_c", call("where", likely, 0, t)), total - t)
        slope = shared * (t * call("cosoftmax", *p.args) - p * others)
        return added([*rest, (slope, -sign)])
    return None


def _softmax_and_sum(found: Factors) -> tuple[Expr | None, Expr | None]:
    """The softmax and the sum of a product that has one of each and nothing else that varies over the classes."""
    probabilities = [b for b, n in found.items() if b.op == "softmax" and n == 1]
    totals = [b for b, n in found.items() if b.op == "sum_c" and n == 1]
    if len(probabilities) != 1 or len(totals) != 1:
        return None, None
    if any(varies(b) for b in found if b is not probabilities[0]):
        return None, None
    return probabilities[0], totals[0]


def terms(total: Expr, facts: Facts) -> list[tuple[Expr, int]]:
    """The signed terms of the canonical form, without those that are 0 wherever they are defined."""
    parts = signed_parts(canonical_expr(total, facts))
    return [(x, s) for x, s in parts if x is not ZERO and not (x.op == "mul" and x.args[0] is ZERO)]


__all__ = [
    "entropy", "exponential_times_sigmoid", "log_of_exponentials", "log_of_square", "over_root", "quotient_of_square",
    "root_of_square", "softmax_slope",
]  # fmt: skip
