r"""Arithmetic of expansions in a small positive ε, with symbols in coefficients and exponents.

A `Series` is a sum of terms coefficient·ε^a·L^b·M^c, where L = log(1/ε) and M = log L, and of orders of magnitude of
what is left out. Coefficients and exponents are expressions in C and the hyper-parameters; which of two terms is the
greater is a question of signs, which a `World` answers or branches on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeAlias

from lossc.compiler.analysis.world import Split, Unsolved, World
from lossc.compiler.ir import CONST, ONE, ZERO, Expr, const, param
from lossc.compiler.ops import call

Powers: TypeAlias = tuple[Expr, Expr, Expr]

LEVEL: Powers = (ZERO, ZERO, ZERO)
FLAT: Powers = (param("?flat"), ZERO, ZERO)
"""What vanishes faster than every power of ε, such as exp(-1/ε)."""
LOG: Powers = (ZERO, ONE, ZERO)
LOG_LOG: Powers = (ZERO, ZERO, ONE)
MAX_TERMS = 40


class Cancelled(Exception):
    """Everything that was kept has cancelled: more terms are needed."""


class Undefined(Exception):
    """There is no value near ε = 0."""


@dataclass(frozen=True)
class Series:
    """Terms, and the orders of what is left out (none: the series is the whole function)."""

    terms: dict[Powers, Expr] = field(default_factory=dict)
    rest: frozenset[Powers] = frozenset()

    @property
    def constant(self) -> Expr | None:
        """The value, if it is certainly the same for every ε."""
        if self.rest or any(p != LEVEL for p in self.terms):
            return None
        return self.terms.get(LEVEL, ZERO)


@dataclass(frozen=True, slots=True)
class Term:
    """A leading term, with its sign."""

    coefficient: Expr
    powers: Powers
    sign: int


class Arithmetic:
    """Operations on series in one world, keeping `order` powers of what is small."""

    def __init__(self, world: World, order: int) -> None:
        self.world, self.order = world, order

    # -- sizes --------------------------------------------------------------------------------------------------------

    def compare(self, p: Powers, q: Powers) -> int | None:
        """1 if ε^p is greater than ε^q for small ε, -1 if it is smaller, 0 if they are the same; None: not known."""
        if p == q:
            return 0
        if FLAT in (p, q):
            return 1 if q == FLAT else -1
        for a, b, sense in zip(p, q, (-1, 1, 1), strict=True):
            sign = self.world.sign_if_known(a - b)
            if sign != 0:
                return None if sign is None else sense * sign
        return 0

    def is_greater(self, p: Powers, q: Powers) -> bool:
        """Whether ε^p is of another order than ε^q, and greater. Raises Split."""
        found = self.compare(p, q)
        if found is None:
            raise self.open_question(p, q)
        return found > 0

    def open_question(self, p: Powers, q: Powers) -> Split:
        """The first difference of exponents whose sign is not known."""
        for a, b in zip(p, q, strict=True):
            if self.world.sign_if_known(a - b) is None:
                return Split(self.world(a - b))
        raise AssertionError("nothing is open")

    def leading(self, x: Series) -> Term | None:
        """The greatest term, or None for an exact 0. Raises Cancelled, Split."""
        terms = dict(x.terms)
        while terms:
            top = self._greatest(list(terms))
            sign = self.world.sign(terms[top])
            if sign == 0:
                del terms[top]
                continue
            if any(not self.is_greater(top, r) for r in x.rest):
                raise Cancelled
            return Term(terms[top], top, sign)
        if x.rest:
            raise Cancelled
        return None

    def _greatest(self, powers: Sequence[Powers]) -> Powers:
        """The one that no other is known to exceed; where two compete, the world must branch."""
        alive = [p for p in powers if not any(self.compare(q, p) == 1 for q in powers)]
        first, *others = alive
        for other in others:
            if self.compare(first, other) is None:
                raise self.open_question(first, other)
        return first

    def vanishes(self, x: Series) -> bool:
        """Whether every part of the series goes to 0."""
        return all(self.is_greater(LEVEL, p) for p in (*x.terms, *x.rest))

    # -- making series ------------------------------------------------------------------------------------------------

    def constant(self, value: Expr) -> Series:
        """A number."""
        value = self.world(value)
        return Series({} if value is ZERO else {LEVEL: value})

    def collect(self, items: Iterable[tuple[Powers, Expr]], rest: Iterable[Powers]) -> Series:
        """Terms of equal powers added up, and without those that are certainly smaller than what is left out."""
        sums: dict[Powers, Expr] = {}
        for powers, x in items:
            powers = self._same_as_known(powers, sums)
            sums[powers] = sums[powers] + x if powers in sums else x
        left_out = frozenset(rest)
        terms = {}
        for powers, x in sums.items():
            value = self.world(x)
            if value is not ZERO and not any(self.compare(r, powers) in (0, 1) for r in left_out):
                terms[powers] = value
        if len(terms) > MAX_TERMS:
            raise Unsolved("the expansion has too many terms")
        kept = {r for r in left_out if not any(self.compare(q, r) == 1 for q in left_out)}
        return Series(terms, frozenset(kept))

    def _same_as_known(self, powers: Powers, known: Iterable[Powers]) -> Powers:
        if powers in known:
            return powers
        return next((k for k in known if FLAT not in (k, powers) and self.compare(k, powers) == 0), powers)

    def joined(self, p: Powers, q: Powers) -> Powers:
        """The powers of a product."""
        if FLAT in (p, q):
            return FLAT
        a, b, c = (self.world(x + y) for x, y in zip(p, q, strict=True))
        return a, b, c

    def raised(self, p: Powers, exponent: Expr) -> Powers:
        """The powers of a power."""
        if p == FLAT:
            return FLAT
        a, b, c = (self.world(x * exponent) for x in p)
        return a, b, c

    # -- arithmetic ---------------------------------------------------------------------------------------------------

    def add(self, x: Series, y: Series) -> Series:
        """x + y."""
        return self.collect([*x.terms.items(), *y.terms.items()], x.rest | y.rest)

    def scale(self, x: Series, factor: Expr, powers: Powers = LEVEL) -> Series:
        """factor·ε^powers·x."""
        return self.collect(
            [(self.joined(p, powers), c * factor) for p, c in x.terms.items()], [self.joined(p, powers) for p in x.rest]
        )

    def multiply(self, x: Series, y: Series) -> Series:
        """x*y."""
        self.world.check_time()
        items = [(self.joined(p, q), a * b) for p, a in x.terms.items() for q, b in y.terms.items()]
        rest = [self.joined(p, q) for p in x.rest for q in (*y.terms, *y.rest)]
        rest += [self.joined(p, q) for p in x.terms for q in y.rest]
        return self.collect(items, rest)

    def around(self, small: Series, coefficients: Sequence[Expr]) -> Series:
        """Σ_k coefficients[k]·small^k, plus what is of the next order unless `small` is exactly 0."""
        out, power = self.constant(coefficients[0]), self.constant(ONE)
        if not small.terms and not small.rest:
            return out
        for c in coefficients[1:]:
            power = self.multiply(power, small)
            out = self.add(out, self.scale(power, c))
        following = self.multiply(power, small)
        return self.add(out, Series({}, frozenset((*following.terms, *following.rest))))

    def relative(self, x: Series, top: Term) -> Series:
        """x over its leading term, less 1: what goes to 0."""
        inverse = (ZERO - top.powers[0], ZERO - top.powers[1], ZERO - top.powers[2])
        back = self.raised(inverse, ONE)
        others = {p: c for p, c in x.terms.items() if p != top.powers and self.world.sign_if_known(c) != 0}
        return self.scale(Series(others, x.rest), 1 / top.coefficient, back)

    def power(self, x: Series, exponent: Expr) -> Series:
        """x^p for an exponent without ε; 0^0 is 1, as everywhere in lossc."""
        exponent = self.world(exponent)
        whole = exponent.op == CONST and exponent.number.denominator == 1
        if not x.terms and x.rest and whole and exponent.number > 0:
            return Series({}, frozenset(self.raised(r, exponent) for r in x.rest))
        top = self.leading(x)
        if top is None:
            sign = self.world.sign(exponent)
            if sign < 0:
                raise Undefined
            return self.constant(ZERO if sign else ONE)
        if top.sign < 0 and not whole:
            raise Undefined
        coefficients, c = [ONE], ONE
        for k in range(1, self.order + 1):
            c = self.world(c * (exponent - (k - 1)) / k)
            coefficients.append(c)
        if whole and 0 <= exponent.number <= self.order:
            coefficients = coefficients[: int(exponent.number) + 1]
            series = self._exact_power(self.relative(x, top), coefficients)
        else:
            series = self.around(self.relative(x, top), coefficients)
        return self.scale(series, call("pow", top.coefficient, exponent), self.raised(top.powers, exponent))

    def _exact_power(self, small: Series, coefficients: Sequence[Expr]) -> Series:
        out, power = self.constant(coefficients[0]), self.constant(ONE)
        for c in coefficients[1:]:
            power = self.multiply(power, small)
            out = self.add(out, self.scale(power, c))
        return out

    def log(self, x: Series) -> Series:
        """log(x) for x > 0."""
        top = self.leading(x)
        if top is None or top.sign < 0:
            raise Undefined
        a, b, c = top.powers
        if c is not ZERO:
            raise Unsolved("a logarithm of a logarithm of a logarithm")
        whole = self.collect([(LEVEL, call("log", top.coefficient)), (LOG, ZERO - a), (LOG_LOG, b)], ())
        signs = [const(Fraction((-1) ** (k + 1), k)) for k in range(1, self.order + 1)]
        return self.add(whole, self.around(self.relative(x, top), [ZERO, *signs]))

    def exp(self, x: Series) -> Series:
        """exp(x)."""
        fixed, small, left = ZERO, {}, {}
        out: Powers = LEVEL
        for powers, c in x.terms.items():
            if powers == LEVEL:
                fixed = c
            elif powers == LOG:
                out = self.joined(out, (ZERO - c, ZERO, ZERO))
            elif powers == LOG_LOG:
                out = self.joined(out, (ZERO, c, ZERO))
            elif self.is_greater(LEVEL, powers):
                small[powers] = c
            else:
                left[powers] = c
        if left:
            top = self.leading(x)
            if top is not None and top.powers in left:
                if top.sign < 0:
                    return Series({}, frozenset({FLAT}))
                raise Unsolved("it grows faster than every power")
        if any(not self.is_greater(LEVEL, r) for r in x.rest):
            raise Cancelled
        factorials = [ONE]
        for k in range(1, self.order + 1):
            factorials.append(const(factorials[-1].number / k))
        series = self.around(Series(small, x.rest), factorials)
        return self.scale(series, call("exp", fixed), self.raised(out, ONE))
