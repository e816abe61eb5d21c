"""Polynomials in any expressions as unknowns, with rational coefficients, and quotients of them: exact, and bounded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm
from typing import TypeAlias

from lossc.compiler.ir import Expr, is_writable

Monomial: TypeAlias = "tuple[tuple[Expr, int], ...]"
"""Unknowns with their powers, in the order of their digests."""
Polynomial: TypeAlias = "dict[Monomial, Fraction]"

MAX_TERMS = 120
UNIT: Monomial = ()


class TooLarge(Exception):
    """A polynomial outgrows what is worth reading."""


@dataclass(frozen=True)
class Quotient:
    """above / (the product of `below`), each factor below with the leading coefficient 1."""

    above: Polynomial
    below: tuple[Polynomial, ...] = ()

    @property
    def is_zero(self) -> bool:
        return not self.above


def _times(a: Polynomial, b: Polynomial) -> Polynomial:
    if len(a) * len(b) > MAX_TERMS**2:
        raise TooLarge
    out: Polynomial = {}
    for m, x in a.items():
        for n, y in b.items():
            key = _joined(m, n)
            out[key] = out.get(key, Fraction(0)) + x * y
    return _checked(out)


def _joined(m: Monomial, n: Monomial) -> Monomial:
    powers = dict(m)
    for atom, k in n:
        powers[atom] = powers.get(atom, 0) + k
    return tuple(sorted(((a, k) for a, k in powers.items() if k), key=lambda item: item[0].digest))


def _checked(poly: Polynomial) -> Polynomial:
    out = {m: x for m, x in poly.items() if x}
    if len(out) > MAX_TERMS or any(not is_writable(x) for x in out.values()):
        raise TooLarge
    return out


def _plus(a: Polynomial, b: Polynomial) -> Polynomial:
    out = dict(a)
    for m, x in b.items():
        out[m] = out.get(m, Fraction(0)) + x
    return _checked(out)


def scaled(q: Quotient, factor: Fraction) -> Quotient:
    """q times a number."""
    return Quotient({m: x * factor for m, x in q.above.items()}, q.below)


def add(p: Quotient, q: Quotient) -> Quotient:
    """Over the least product of factors that both denominators divide."""
    missing_p, missing_q = list(q.below), []
    for factor in p.below:
        if factor in missing_p:
            missing_p.remove(factor)
        else:
            missing_q.append(factor)
    above = _plus(_product([p.above, *missing_p]), _product([q.above, *missing_q]))
    return reduced(above, [*p.below, *missing_p])


def multiply(p: Quotient, q: Quotient) -> Quotient:
    """p*q."""
    return reduced(_times(p.above, q.above), [*p.below, *q.below])


def _product(polys: Iterable[Polynomial]) -> Polynomial:
    out: Polynomial = {UNIT: Fraction(1)}
    for poly in polys:
        out = _times(out, poly)
    return out


def inverse(q: Quotient) -> Quotient:
    """1/q: its numerator comes below as unknowns times a rest, each with the leading coefficient 1."""
    shared, linear, rest = taken_apart(q.above)
    lead = rest[_lead(rest)]
    factors: list[Polynomial] = [{((atom, 1),): Fraction(1)} for atom, k in shared for _ in range(k)]
    factors += [factor for factor, times in linear for _ in range(times)]
    monic = {m: x / lead for m, x in rest.items()}
    if monic != {UNIT: Fraction(1)}:
        factors.append(monic)
    return reduced({m: x / lead for m, x in _product(q.below).items()}, factors)


def raised(q: Quotient, power: int) -> Quotient:
    """q to a whole power."""
    out = Quotient({UNIT: Fraction(1)})
    base = inverse(q) if power < 0 else q
    for _ in range(abs(power)):
        out = multiply(out, base)
    return out


def reduced(above: Polynomial, below: list[Polynomial]) -> Quotient:
    """Without the factors below that divide what is above."""
    if not above:
        return Quotient({})
    left = []
    for factor in below:
        divided = _divided(above, factor)
        if divided is None:
            left.append(factor)
        else:
            above = divided
    return Quotient(above, tuple(left))


def _lead(poly: Polynomial) -> Monomial:
    return max(poly, key=order)


def order(m: Monomial) -> tuple[int, tuple[tuple[bytes, int], ...]]:
    """By degree, then lexicographically: an order that products keep."""
    return sum(k for _, k in m), tuple((a.digest, k) for a, k in m)


def _divided(above: Polynomial, factor: Polynomial) -> Polynomial | None:
    """above / factor, if that leaves no rest."""
    atoms = sorted({a for m in (*above, *factor) for a, _ in m}, key=lambda a: a.digest)

    def place(m: Monomial) -> tuple[int, ...]:
        powers = dict(m)
        return tuple(powers.get(a, 0) for a in atoms)

    rest, out, top = dict(above), dict[Monomial, Fraction](), max(factor, key=place)
    for _ in range(4 * MAX_TERMS):
        if not rest:
            return _checked(out)
        lead = max(rest, key=place)
        if any(k < n for k, n in zip(place(lead), place(top), strict=True)):
            return None
        step = over(lead, top)
        x = rest[lead] / factor[top]
        out[step] = x
        for m, y in factor.items():
            key = _joined(m, step)
            rest[key] = rest.get(key, Fraction(0)) - x * y
            if not rest[key]:
                del rest[key]
    return None


def over(m: Monomial, n: Monomial) -> Monomial:
    """m/n, where n divides m."""
    return _joined(m, tuple((a, -k) for a, k in n))


def _common(poly: Polynomial) -> Monomial:
    """The greatest monomial that divides every term."""
    first, *others = poly
    powers = dict(first)
    for m in others:
        here = dict(m)
        powers = {a: min(k, here.get(a, 0)) for a, k in powers.items() if here.get(a, 0)}
    return tuple(sorted(powers.items(), key=lambda item: item[0].digest))


def taken_apart(poly: Polynomial) -> tuple[Monomial, list[tuple[Polynomial, int]], Polynomial]:
    """What every term has in common, how often x - 1 divides it for each unknown x, and the rest."""
    shared = _common(poly)
    rest = {over(m, shared): x for m, x in poly.items()}
    linear = []
    for atom in sorted({a for m in rest for a, _ in m}, key=lambda a: a.digest):
        less_one = {((atom, 1),): Fraction(1), UNIT: Fraction(-1)}
        times, made = 0, _divided(rest, less_one)
        while made is not None and len(rest) > 1:
            rest, times, made = made, times + 1, _divided(made, less_one)
        if times:
            linear.append((less_one, times))
    return shared, linear, rest


def lead_name(factor: Polynomial) -> str:
    """The operator of the unknown x of a factor x - 1."""
    ((atom, _),) = _lead(factor)
    return atom.op


def content(poly: Polynomial) -> Fraction:
    """The greatest number that leaves whole coefficients."""
    below = lcm(*(x.denominator for x in poly.values()))
    return Fraction(gcd(*(int(x * below) for x in poly.values())), below)


def is_negative(poly: Polynomial) -> bool:
    """Whether every coefficient is negative."""
    return all(x < 0 for x in poly.values())


def scaled_by(poly: Polynomial, factor: int) -> Polynomial:
    """Every coefficient times a number."""
    return {m: x * factor for m, x in poly.items()}
