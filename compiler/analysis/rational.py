"""Expressions as quotients of polynomials: an exact test for zero, and tidy forms of results.

The canonical form never expands a product, since that loses accuracy where numbers are computed. A result that is read
(`1 - 1/C` over `C - 1` is `1/C`) needs it. What is neither a sum, a product nor a whole power is an unknown of the
polynomials, its operands made tidy first. Equal quotients have the same value wherever the expression has one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from lossc.compiler.cost import cost
from lossc.compiler.facts import Facts
from lossc.compiler.ir import CONST, LEAF_OPS, ONE, ZERO, Expr, const, is_writable, postorder, rebuild
from lossc.compiler.passes.canonicalize import canonical_expr

Monomial: TypeAlias = "tuple[tuple[Expr, int], ...]"
Polynomial: TypeAlias = "dict[Monomial, Fraction]"

MAX_TERMS = 120
"""Terms of a polynomial beyond which a formula is left as it is."""
MAX_POWER = 8
_UNIT: Monomial = ()
_ARITHMETIC = frozenset({CONST, "add", "sub", "neg", "mul", "div", "square"})


class _TooLarge(Exception):
    """The polynomials outgrow what is worth reading."""


@dataclass(frozen=True)
class Quotient:
    """above / (the product of `below`), each factor below with the leading coefficient 1."""

    above: Polynomial
    below: tuple[Polynomial, ...] = ()

    @property
    def is_zero(self) -> bool:
        return not self.above


class Tidier:
    """Tidy forms under the facts of a loss, remembered."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self._done: dict[Expr, Expr] = {}
        self._quotients: dict[Expr, Quotient] = {}

    def __call__(self, root: Expr) -> Expr:
        """The cheapest of the canonical form and a few quotients of polynomials, equal wherever `root` has a value."""
        if root not in self._done:
            self._done[root] = self._tidy(root)
        return self._done[root]

    def quotient(self, root: Expr) -> Quotient | None:
        """The expression as a quotient of polynomials; None if they would be too large."""
        try:
            return self._quotient(root)
        except _TooLarge:
            return None

    def expression(self, poly: Polynomial) -> Expr:
        """A polynomial as a canonical expression."""
        return canonical_expr(_sum_of(poly), self.facts)

    def _tidy(self, root: Expr) -> Expr:
        plain = canonical_expr(root, self.facts)
        if plain.op in LEAF_OPS:
            return plain
        found = self.quotient(plain)
        if found is None:
            return plain
        if found.is_zero:
            return ZERO
        forms = [canonical_expr(form, self.facts) for form in _forms(found)]
        return min([*forms, plain], key=lambda e: (e.tree_size, cost(e)))

    def _quotient(self, root: Expr) -> Quotient:
        for here in postorder(root):
            if here not in self._quotients:
                self._quotients[here] = self._one(here)
        return self._quotients[root]

    def _one(self, here: Expr) -> Quotient:
        below = [self._quotients[a] for a in here.args]
        if here.op == CONST:
            return Quotient({_UNIT: here.number} if here.number else {})
        if here.op in ("add", "sub"):
            return _add(below[0], below[1] if here.op == "add" else _scaled(below[1], Fraction(-1)))
        if here.op == "neg":
            return _scaled(below[0], Fraction(-1))
        if here.op == "mul":
            return _multiply(below[0], below[1])
        if here.op == "div" and not below[1].is_zero:
            return _multiply(below[0], _inverse(below[1]))
        power = 2 if here.op == "square" else _whole_power(here)
        if power is not None and not (power < 0 and below[0].is_zero):
            return _raised(below[0], power)
        return self._unknown(here)

    def _unknown(self, here: Expr) -> Quotient:
        """Any other operation or leaf: an unknown, with tidy operands; log(1/x) is -log(x)."""
        made = here
        if here.args and here.op not in LEAF_OPS:
            made = canonical_expr(rebuild(here, (self(a) for a in here.args)), self.facts)
        if made.op == "log" and made.args[0].op == "div" and made.args[0].args[0] is ONE:
            return Quotient({((rebuild(made, (made.args[0].args[1],)), 1),): Fraction(-1)})
        if made.op != here.op and made.op in _ARITHMETIC:
            return self._quotient(made)
        return Quotient({((made, 1),): Fraction(1)})


def _whole_power(here: Expr) -> int | None:
    if here.op != "pow" or here.args[1].op != CONST:
        return None
    power = here.args[1].number
    return int(power) if power.denominator == 1 and abs(power) <= MAX_POWER else None


# -- arithmetic -------------------------------------------------------------------------------------------------------


def _times(a: Polynomial, b: Polynomial) -> Polynomial:
    if len(a) * len(b) > MAX_TERMS**2:
        raise _TooLarge
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
        raise _TooLarge
    return out


def _plus(a: Polynomial, b: Polynomial) -> Polynomial:
    out = dict(a)
    for m, x in b.items():
        out[m] = out.get(m, Fraction(0)) + x
    return _checked(out)


def _scaled(q: Quotient, factor: Fraction) -> Quotient:
    return Quotient({m: x * factor for m, x in q.above.items()}, q.below)


def _add(p: Quotient, q: Quotient) -> Quotient:
    """Over the least product of factors that both denominators divide."""
    missing_p, missing_q = list(q.below), []
    for factor in p.below:
        if factor in missing_p:
            missing_p.remove(factor)
        else:
            missing_q.append(factor)
    above = _plus(_product([p.above, *missing_p]), _product([q.above, *missing_q]))
    return _reduced(above, [*p.below, *missing_p])


def _multiply(p: Quotient, q: Quotient) -> Quotient:
    return _reduced(_times(p.above, q.above), [*p.below, *q.below])


def _product(polys: Iterable[Polynomial]) -> Polynomial:
    out: Polynomial = {_UNIT: Fraction(1)}
    for poly in polys:
        out = _times(out, poly)
    return out


def _inverse(q: Quotient) -> Quotient:
    """1/q: its numerator comes below as unknowns times a rest, each with the leading coefficient 1."""
    shared = _common(q.above)
    rest = {_over(m, shared): x for m, x in q.above.items()}
    lead = rest[_lead(rest)]
    factors: list[Polynomial] = [{((atom, 1),): Fraction(1)} for atom, k in shared for _ in range(k)]
    monic = {m: x / lead for m, x in rest.items()}
    if monic != {_UNIT: Fraction(1)}:
        factors.append(monic)
    return _reduced({m: x / lead for m, x in _product(q.below).items()}, factors)


def _raised(q: Quotient, power: int) -> Quotient:
    out = Quotient({_UNIT: Fraction(1)})
    base = _inverse(q) if power < 0 else q
    for _ in range(abs(power)):
        out = _multiply(out, base)
    return out


def _reduced(above: Polynomial, below: list[Polynomial]) -> Quotient:
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
    return max(poly, key=_order)


def _order(m: Monomial) -> tuple[int, tuple[tuple[bytes, int], ...]]:
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
        step = _over(lead, top)
        x = rest[lead] / factor[top]
        out[step] = x
        for m, y in factor.items():
            key = _joined(m, step)
            rest[key] = rest.get(key, Fraction(0)) - x * y
            if not rest[key]:
                del rest[key]
    return None


def _over(m: Monomial, n: Monomial) -> Monomial:
    return _joined(m, tuple((a, -k) for a, k in n))


def _common(poly: Polynomial) -> Monomial:
    """The greatest monomial that divides every term."""
    first, *others = poly
    powers = dict(first)
    for m in others:
        here = dict(m)
        powers = {a: min(k, here.get(a, 0)) for a, k in powers.items() if here.get(a, 0)}
    return tuple(sorted(powers.items(), key=lambda item: item[0].digest))


# -- as expressions ---------------------------------------------------------------------------------------------------


def _forms(q: Quotient) -> list[Expr]:
    """A quotient as expressions: expanded, with a common factor taken out, and term by term."""
    below = _product_of([_sum_of(f) for f in q.below])
    shared = _common(q.above)
    rest = {_over(m, shared): x for m, x in q.above.items()}
    forms = [_sum_of(q.above), _product_of([_monomial(shared, Fraction(1)), _sum_of(rest)])]
    out = [form if below is ONE else form / below for form in forms]
    if q.below and len(q.above) > 1:
        terms = [_reduced({m: x}, list(q.below)) for m, x in q.above.items()]
        out.append(_added([_sum_of(t.above) / _product_of([_sum_of(f) for f in t.below]) for t in terms]))
    return out


def _sum_of(poly: Polynomial) -> Expr:
    return _added([_monomial(m, x) for m, x in sorted(poly.items(), key=lambda item: _order(item[0]), reverse=True)])


def _added(terms: list[Expr]) -> Expr:
    if not terms:
        return ZERO
    out, *others = terms
    for term in others:
        out = out + term
    return out


def _monomial(m: Monomial, x: Fraction) -> Expr:
    return _product_of([const(x), *(atom if k == 1 else atom**k for atom, k in m)])


def _product_of(factors: list[Expr]) -> Expr:
    kept = [f for f in factors if f is not ONE]
    if not kept:
        return ONE
    out, *others = kept
    for factor in others:
        out = out * factor
    return out
