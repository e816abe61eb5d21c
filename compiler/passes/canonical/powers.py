"""Powers and roots: the rules that need to know what the base and the exponent are."""

from __future__ import annotations

import math
from fractions import Fraction

from lossc.compiler.facts import Facts
from lossc.compiler.ir import CONST, HALF, ONE, ZERO, Expr, const, node
from lossc.compiler.passes.canonical.products import MAX_POWER, Product, exponent_of, is_power
from lossc.compiler.passes.canonical.sums import fits, negate, scale, sign_normal, split_coefficient


def product(facts: Facts, *factors: tuple[Expr, int]) -> Expr:
    """The canonical product of canonical bases to whole powers (negative ones go below the bar)."""
    out = Product(facts)
    for base, n in factors:
        out.put(base, max(n, 0), max(-n, 0))
    return out.build()


def power(base: Expr, exponent: Expr, facts: Facts) -> Expr:
    """The canonical form of base^exponent, for canonical operands."""
    if exponent.op != CONST:
        return _symbolic_power(base, exponent, facts)
    p = exponent.number
    if p == 0:
        return ONE if facts.total(base) else node("pow", base, exponent)
    if p == 1:
        return base
    if p.denominator == 1 and abs(p) <= MAX_POWER:
        return whole_power(base, int(p), facts)
    if p == HALF.number:
        return root(base, facts)
    if p == -HALF.number:
        return product(facts, (root(base, facts), -1))
    return _fractional_power(base, exponent, facts)


def _symbolic_power(base: Expr, exponent: Expr, facts: Facts) -> Expr:
    if base is ONE and facts.total(exponent):
        return ONE
    if base is ZERO and facts.positive(exponent) and facts.total(exponent):
        return ZERO
    if (inner := exponent_of(base)) is not None:
        return _exponential(product(facts, (inner, 1), (exponent, 1)), facts)
    return node("pow", base, exponent)


def _exponential(x: Expr, facts: Facts) -> Expr:
    from lossc.compiler.passes.canonical.identities import apply

    return apply("exp", (x,), facts)


def whole_power(base: Expr, n: int, facts: Facts) -> Expr:
    """base^n for a whole n, |n| <= 64 and n not 0 or 1."""
    if base.op == CONST and base.number != 0:
        folded = base.number**n
        return const(folded) if fits(folded) else node("pow", base, const(n))
    return product(facts, (base, n))


def merged_power(base: Expr, n: int, facts: Facts) -> Expr | None:
    """base^n for n > 1 where the base is itself a root, a power or an absolute value that n resolves; else None."""
    if base.op == "abs" and n % 2 == 0:
        return power(base.args[0], const(n), facts)
    if base.op == "sqrt" and facts.nonnegative(base.args[0]):
        half = power(base.args[0], const(n // 2), facts)
        return half if n % 2 == 0 else product(facts, (half, 1), (base, 1))
    if base.op == "pow" and base.args[1].op == CONST:
        below, inner = base.args[0], base.args[1].number
        if facts.positive(below) and fits(inner * n):
            return power(below, const(inner * n), facts)
        if (inner * n).denominator != 1 and fits(inner * n):
            return node("pow", below, const(inner * n))
    return None


def _fractional_power(base: Expr, exponent: Expr, facts: Facts) -> Expr:
    p = exponent.number
    if base is ONE or (base is ZERO and p > 0):
        return base
    if (grown := exponent_of(base)) is not None:
        return _exponential(product(facts, (grown, 1), (exponent, 1)), facts)
    if base.op == "abs" and p.denominator == 1 and p % 2 == 0:
        return node("pow", base.args[0], exponent)
    if base.op == "pow" and base.args[1].op == CONST:
        inner, below = base.args[1].number, base.args[0]
        if facts.positive(below) and fits(inner * p):
            return power(below, const(inner * p), facts)
        if inner.denominator == 1 and inner % 2 == 0 and fits(inner * p) and (inner > 0 or facts.nonzero(below)):
            size = absolute(below, facts)
            return power(size, const(inner * p), facts) if inner * p != 1 else size
    return node("pow", base, exponent)


def root(x: Expr, facts: Facts) -> Expr:
    """The canonical form of sqrt(x): perfect squares leave the root, as absolute values."""
    if x is ZERO:
        return ZERO
    c, base = split_coefficient(x)
    outside, inside = _square_part(c)
    if base is ONE:
        return const(outside) if inside == 1 else node("sqrt", x)
    if (exponent := exponent_of(base)) is not None:
        grown = _exponential(product(facts, (exponent, 1), (HALF, 1)), facts)
        return product(facts, (const(outside), 1), (grown, 1)) if inside == 1 else node("sqrt", x)
    if inside == 1 and (size := _even_root(base, facts)) is not None:
        return product(facts, (const(outside), 1), (size, 1))
    if outside == 1:
        return node("sqrt", x)
    return product(facts, (const(outside), 1), (node("sqrt", scale(inside, base)), 1))


def _square_part(c: Fraction) -> tuple[Fraction, Fraction]:
    """`(a, b)` with c = a^2 * b, taking out a only where c is a perfect square."""
    if c <= 0:
        return Fraction(1), c
    top, bottom = math.isqrt(c.numerator), math.isqrt(c.denominator)
    if top * top == c.numerator and bottom * bottom == c.denominator:
        return Fraction(top, bottom), Fraction(1)
    return Fraction(1), c


def _even_root(base: Expr, facts: Facts) -> Expr | None:
    """The root of a product of even powers, or None."""
    if base.op == "pow" and base.args[1].op == CONST:
        n = base.args[1].number
        if n.denominator == 1 and n % 2 == 0 and n > 0:
            inner = base.args[0]
            size = inner if (n / 2) % 2 == 0 or facts.nonnegative(inner) else absolute(inner, facts)
            return power(size, const(n / 2), facts)
    if base.op == "div" and base.args[0] is ONE:
        below = _even_root(base.args[1], facts)
        return None if below is None else product(facts, (below, -1))
    if base.op in ("mul", "div"):
        left, right = _even_root(base.args[0], facts), _even_root(base.args[1], facts)
        if left is not None and right is not None:
            return product(facts, (left, 1), (right, 1 if base.op == "mul" else -1))
    return None


def absolute(x: Expr, facts: Facts) -> Expr:
    """The canonical form of |x|: signs, numbers and what is known to be positive leave the bars."""
    if facts.nonnegative(x):
        return x
    if facts.nonpositive(x):
        return negate(x, facts)
    _, x = sign_normal(x, facts)
    c, base = split_coefficient(x)
    if c != 1:
        return product(facts, (const(abs(c)), 1), (absolute(base, facts), 1))
    if x.op in ("mul", "div"):
        return _absolute_product(x, facts)
    if is_power(x) and x.args[1].number % 2 == 1:
        return product(facts, (absolute(x.args[0], facts), int(x.args[1].number)))
    return node("abs", x)


def _absolute_product(x: Expr, facts: Facts) -> Expr:
    """Factors of known sign leave the bars; the others stay under one pair."""
    inside, outside = Product(facts), Product(facts)
    stack = [(x, 1)]
    while stack:
        here, n = stack.pop()
        if here.op in ("mul", "div"):
            stack += [(here.args[0], n), (here.args[1], n if here.op == "mul" else -n)]
        elif facts.nonnegative(here):
            outside.put(here, max(n, 0), max(-n, 0))
        else:
            inside.put(here, max(n, 0), max(-n, 0))
    rest = split_coefficient(inside.build())[1]
    if rest is ONE:
        return outside.build()
    size = negate(rest, facts) if facts.nonpositive(rest) else node("abs", rest)
    return product(facts, (size, 1), (outside.build(), 1))
