"""Tidy forms of results, and an exact test for zero: expressions as quotients of polynomials.

The canonical form never expands a product, since that loses accuracy where numbers are computed. A result that is read
(`1 - 1/C` over `C - 1` is `1/C`) needs it. What is neither a sum, a product nor a whole power is an unknown of the
polynomials, its operands made tidy first. Equal quotients have the same value wherever the expression has one.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from lossc.compiler.analysis.polynomials import (
    UNIT,
    Monomial,
    Polynomial,
    Quotient,
    TooLarge,
    add,
    content,
    inverse,
    is_negative,
    lead_name,
    multiply,
    order,
    raised,
    reduced,
    scaled,
    scaled_by,
    taken_apart,
)
from lossc.compiler.facts import Facts
from lossc.compiler.ir import CONST, LEAF_OPS, ONE, ZERO, Expr, const, postorder, preorder, rebuild
from lossc.compiler.passes.canonicalize import canonical_expr

MAX_POWER = 8
_ARITHMETIC = frozenset({CONST, "add", "sub", "neg", "mul", "div", "square", "pow"})


class Tidier:
    """Tidy forms under the facts of a loss, remembered."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self._done: dict[Expr, Expr] = {}
        self._quotients: dict[Expr, Quotient] = {}

    def __call__(self, root: Expr) -> Expr:
        """The shortest of the canonical form and a few quotients of polynomials, equal wherever `root` has a value."""
        if root not in self._done:
            plain = canonical_expr(root, self.facts)
            for here in postorder(plain):  # operands of unknowns first, so that no depth is recursion
                if here.op not in _ARITHMETIC:
                    for a in here.args:
                        if a not in self._done:
                            self._done[a] = self._tidy(a)
            self._done[root] = self._tidy(plain)
        return self._done[root]

    def quotient(self, root: Expr) -> Quotient | None:
        """The expression as a quotient of polynomials; None if they would be too large."""
        try:
            return self._quotient(root)
        except TooLarge:
            return None

    def expression(self, poly: Polynomial) -> Expr:
        """A polynomial as a canonical expression."""
        return canonical_expr(_sum_of(poly), self.facts)

    def _tidy(self, plain: Expr) -> Expr:
        """The tidy form of an expression in canonical form."""
        if plain.op in LEAF_OPS:
            return plain
        found = self.quotient(plain)
        if found is None:
            return plain
        if found.is_zero:
            return ZERO
        try:
            return min([*_forms(found), plain], key=_length)
        except TooLarge:  # numbers that cannot be written
            return plain

    def _quotient(self, root: Expr) -> Quotient:
        for here in postorder(root):
            if here not in self._quotients:
                self._quotients[here] = self._one(here)
        return self._quotients[root]

    def _one(self, here: Expr) -> Quotient:
        below = [self._quotients[a] for a in here.args]
        if here.op == CONST:
            return Quotient({UNIT: here.number} if here.number else {})
        if here.op in ("add", "sub"):
            return add(below[0], below[1] if here.op == "add" else scaled(below[1], Fraction(-1)))
        if here.op == "neg":
            return scaled(below[0], Fraction(-1))
        if here.op == "mul":
            return multiply(below[0], below[1])
        if here.op == "div" and not below[1].is_zero:
            return multiply(below[0], inverse(below[1]))
        power = 2 if here.op == "square" else _whole_power(here)
        if power is not None and not (power < 0 and below[0].is_zero):
            return raised(below[0], power)
        if here.op == "pow" and power is None and self.facts.positive(here.args[0]):
            return self._symbolic_power(here, below[0], below[1])
        return self._unknown(here)

    def _symbolic_power(self, here: Expr, base: Quotient, exponent: Quotient) -> Quotient:
        """x^(p + 2) as x^p*x^2 and (1/x)^p as 1/x^p, for x > 0, so that equal powers meet."""
        if here.args[0].op == "div" and here.args[0].args[0] is ONE:
            return inverse(self._quotient(here.args[0].args[1] ** here.args[1]))
        whole = exponent.above.get(UNIT, Fraction(0))
        if exponent.below or not whole or whole.denominator != 1 or abs(whole) > MAX_POWER or len(exponent.above) == 1:
            return self._unknown(here)
        rest = self.expression({m: x for m, x in exponent.above.items() if m != UNIT})
        return multiply(self._quotient(here.args[0] ** rest), raised(base, int(whole)))

    def _unknown(self, here: Expr) -> Quotient:
        """Any other operation or leaf: an unknown, with tidy operands; log(1/x) is -log(x), sqrt(1/x) is 1/sqrt(x)."""
        made = here
        if here.args and here.op not in LEAF_OPS:
            made = canonical_expr(rebuild(here, (self(a) for a in here.args)), self.facts)
        if made.op in ("log", "sqrt") and made.args[0].op == "div" and made.args[0].args[0] is ONE:
            other: Monomial = ((rebuild(made, (made.args[0].args[1],)), 1),)
            return Quotient({other: Fraction(-1)}) if made.op == "log" else inverse(Quotient({other: Fraction(1)}))
        if made.op != here.op and made.op in _ARITHMETIC:
            return self._quotient(made)
        return Quotient({((made, 1),): Fraction(1)})


def _whole_power(here: Expr) -> int | None:
    if here.op != "pow" or here.args[1].op != CONST:
        return None
    power = here.args[1].number
    return int(power) if power.denominator == 1 and abs(power) <= MAX_POWER else None


# -- as expressions ----------------------------------------------------------------------------------------------------


def _length(root: Expr) -> int:
    """The length of a form, where a minus sign costs nothing."""
    return root.tree_size - sum(here.op == "neg" for here in preorder(root))


# -- as expressions ----------------------------------------------------------------------------------------------------


def _forms(q: Quotient) -> list[Expr]:
    """A quotient as expressions: with a common factor taken out, expanded, and term by term."""
    out = [_over_product(form, q.below) for form in (_factored(q.above), _sum_of(q.above))]
    if q.below and len(q.above) > 1:
        terms = [reduced({m: x}, list(q.below)) for m, x in _written(q.above)]
        out.append(_added([(_sum_of(_size(t.above)), t.below, is_negative(t.above)) for t in terms]))
    return out


def _factored(poly: Polynomial) -> Expr:
    """A product: what every term has in common, factors C - 1 and 1 - x of other unknowns x, and the rest."""
    shared, linear, rest = taken_apart(poly)
    number = content(rest)
    rest = {m: x / number for m, x in rest.items()}
    if sum(times for factor, times in linear if lead_name(factor) != "num_classes") % 2:
        number = -number
    factors = list[Expr]()
    for factor, times in linear:
        base = _sum_of(factor if lead_name(factor) == "num_classes" else scaled_by(factor, -1))
        factors.append(base**times if times > 1 else base)
    negative = is_negative(rest)
    number = -number if negative else number
    parts = [_monomial(shared, abs(number)), *factors, _sum_of(scaled_by(rest, -1) if negative else rest)]
    out = _product_of(parts)
    return _negated(out) if number < 0 else out


def _negated(x: Expr) -> Expr:
    """-x, with the sign at the first factor."""
    path = []
    while x.op in ("mul", "div"):
        path.append(x)
        x = x.args[0]
    out = const(-x.number) if x.op == CONST else -x
    for parent in reversed(path):
        out = rebuild(parent, (out, parent.args[1]))
    return out


def _size(poly: Polynomial) -> Polynomial:
    return scaled_by(poly, -1) if is_negative(poly) else poly


def _over_product(above: Expr, below: Iterable[Polynomial]) -> Expr:
    counts: list[tuple[Polynomial, int]] = []
    for factor in below:
        known = next((i for i, (f, _) in enumerate(counts) if f == factor), None)
        if known is None:
            counts.append((factor, 1))
        else:
            counts[known] = (factor, counts[known][1] + 1)
    product = _product_of([_sum_of(f) if k == 1 else _sum_of(f) ** k for f, k in counts])
    return above if product is ONE else above / product


def _written(poly: Polynomial) -> list[tuple[Monomial, Fraction]]:
    """The terms as one writes them: those of a high degree first, but a positive one before all."""
    terms = sorted(poly.items(), key=lambda item: order(item[0]), reverse=True)
    return [*(t for t in terms if t[1] > 0), *(t for t in terms if t[1] < 0)]


def _sum_of(poly: Polynomial) -> Expr:
    return _added([(_monomial(m, abs(x)), (), x < 0) for m, x in _written(poly)])


def _added(terms: Iterable[tuple[Expr, tuple[Polynomial, ...], bool]]) -> Expr:
    """Terms over their denominators, added or (if the last entry is true) subtracted."""
    out: Expr | None = None
    for size, below, negative in terms:
        term = _over_product(size, below)
        if out is None:
            out = _negated(term) if negative else term
            continue
        out = out - term if negative else out + term
    return ZERO if out is None else out


def _monomial(m: Monomial, x: Fraction) -> Expr:
    if not m:
        return const(x)
    powers = sorted(m, key=lambda item: (item[0].tree_size, item[0].op, str(item[0].value), item[0].digest))
    return _product_of([const(x), *(atom if k == 1 else atom**k for atom, k in powers)])


def _product_of(factors: list[Expr]) -> Expr:
    kept = [f for f in factors if f is not ONE]
    if not kept:
        return ONE
    out, *others = kept
    for factor in others:
        out = out * factor
    return out
