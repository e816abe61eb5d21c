"""Sums: flatten, collect like terms, rebuild in order.

A sum is a map {base: coefficient} and a constant. Coefficients are exact; a term that cancels is dropped only where its
base is certainly defined, else it stays as `0*base`, so that no domain is silently enlarged.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from lossc.compiler.facts import Facts
from lossc.compiler.ir import CONST, MAX_DIGITS, ONE, ZERO, Expr, const, is_writable, node
from lossc.compiler.passes.canonical.order import sort_key

Terms = dict[Expr, Fraction]
_LIMIT = 10**MAX_DIGITS
_UNIT, _NOTHING = Fraction(1), Fraction(0)


def fits(number: Fraction) -> bool:
    """Whether exact folding may produce this number (it must stay a writable literal)."""
    return (abs(number.numerator) < _LIMIT and number.denominator < _LIMIT) or is_writable(number)


def split_coefficient(x: Expr) -> tuple[Fraction, Expr]:
    """`(c, base)` with x = c*base, for a canonical x; base is ONE for a constant."""
    if x.op == CONST:
        return x.number, ONE
    if x.op == "neg":
        c, base = split_coefficient(x.args[0])
        return -c, base
    if x.op == "mul" and x.args[0].op == CONST and x.args[1].op != CONST:
        return x.args[0].number, x.args[1]
    if x.op == "div":
        top, bottom = x.args
        c, base = split_coefficient(top)
        if bottom.op == CONST and bottom.number != 0 and fits(c / bottom.number):
            return c / bottom.number, base
        return c, x if c == 1 else node("div", base, bottom)
    return _UNIT, x


def scale(c: Fraction, base: Expr) -> Expr:
    """The canonical form of c*base, for a canonical base with coefficient 1 (inverse of `split_coefficient`)."""
    if base is ONE:
        return const(c)
    if c == 1 or (base.op == "div" and base.args[1] is ZERO):
        return base
    if c == -1:
        return node("neg", base)
    if base.op == "div":
        return node("div", _scale_top(c, base.args[0]), base.args[1])
    if _terminates(c) or c.denominator >= 2**53:
        return node("mul", const(c), base)
    top = (
        base if c.numerator == 1 else node("neg", base) if c.numerator == -1 else node("mul", const(c.numerator), base)
    )
    return node("div", top, const(c.denominator))


def _scale_top(c: Fraction, top: Expr) -> Expr:
    return const(c) if top is ONE else node("neg", top) if c == -1 else node("mul", const(c), top)


def _terminates(c: Fraction) -> bool:
    d = c.denominator
    for p in (2, 5):
        while d % p == 0:
            d //= p
    return d == 1


def collect(items: Mapping[Expr, int], facts: Facts) -> Expr:
    """The canonical form of Σ n*x over canonical x (sums among them are opened where n is ±1, never multiplied out).

    Where collecting would make a number too long to write, the terms are only put in order.
    """
    opened: dict[Expr, int] = {}
    for x, n in items.items():
        for part, sign in signed_parts(x) if abs(n) == 1 else [_as_one_term(x, facts)]:
            opened[part] = opened.get(part, 0) + sign * n
    terms: Terms = {}
    constant = Fraction(0)
    try:
        for x, n in opened.items():
            constant = _checked(constant + add_term(terms, x, Fraction(n)))
        return build_sum(terms, constant, facts)
    except TooLong:
        return _only_ordered(opened, facts)


def _as_one_term(x: Expr, facts: Facts) -> tuple[Expr, int]:
    sign, normal = sign_normal(x, facts) if is_sum(x) else (1, x)
    return normal, sign


class TooLong(ArithmeticError):
    """An exact number has outgrown what a literal can hold."""


def _checked(number: Fraction) -> Fraction:
    if not fits(number):
        raise TooLong
    return number


def _only_ordered(items: Mapping[Expr, int], facts: Facts) -> Expr:
    """The sum with its terms in order, like terms not collected."""
    pieces = []
    for x, n in items.items():
        if x.op == CONST and fits(x.number * n):
            pieces.append(const(x.number * n))
        elif n:
            pieces.append(x if n == 1 else node("neg", x) if n == -1 else _multiple(n, x, facts))
    try:
        terms: Terms = {}
        constant = Fraction(0)
        for x in pieces:
            constant = _checked(constant + add_term(terms, x, Fraction(1)))
        return build_sum(terms, constant, facts)
    except TooLong:
        pieces.sort(key=sort_key)
    out = pieces[0] if pieces else ZERO
    for piece in pieces[1:]:
        out = node("add", out, piece)
    return out


def signed_parts(x: Expr) -> list[tuple[Expr, int]]:
    """The signed terms of a canonical sum."""
    out: list[tuple[Expr, int]] = []
    stack = [(x, 1)]
    while stack:
        here, sign = stack.pop()
        if is_sum(here):
            stack.append((here.args[0], sign))
            stack.append((here.args[1], sign if here.op == "add" else -sign))
        elif here.op == "neg":
            stack.append((here.args[0], -sign))
        else:
            out.append((here, sign))
    return out


def add_term(terms: Terms, x: Expr, times: Fraction) -> Fraction:
    """Add times*x to the terms; returns what it adds to the constant."""
    c, base = split_coefficient(x)
    if base is ONE:
        return c * times
    if base in terms or c is not _UNIT:
        terms[base] = _checked(terms.get(base, _NOTHING) + c * times)
    else:
        terms[base] = _checked(times)
    return _NOTHING


def build_sum(terms: Terms, constant: Fraction, facts: Facts) -> Expr:
    """The canonical expression of Σ c*base + constant."""
    terms, constant = _unfold(terms, constant)
    kept = {b: c for b, c in terms.items() if c != 0}
    for b, c in terms.items():
        if c == 0 and not facts.total(b):
            rest = _multiple(0, b, facts)
            if rest is not ZERO:
                kept[rest] = Fraction(1)
    if not kept:
        return const(constant)
    if len(kept) == 1 and constant == 0:
        ((base, c),) = kept.items()
        return scale(c, base)
    content = _common_size(kept, constant)
    if content != 1:
        kept = {b: c / content for b, c in kept.items()}
        sign, normal = sign_normal(_chain(kept, constant / content), facts)
        return node("mul", const(sign * content), normal)
    return _chain(kept, constant)


def _multiple(n: int, x: Expr, facts: Facts) -> Expr:
    """The canonical form of n*x; for n = 0, as little of x as keeps its domain."""
    from lossc.compiler.passes.canonical.powers import product

    return product(facts, (const(_checked(Fraction(n))), 1), (x, 1))


def _unfold(terms: Terms, constant: Fraction) -> tuple[Terms, Fraction]:
    """Terms like 1*(y - f), left by 3*(y - f) - 2*(y - f), opened up."""
    if not any(abs(c) == 1 and is_sum(b) for b, c in terms.items()):
        return terms, constant
    out: Terms = {}
    for base, c in terms.items():
        inner, plain = sum_terms(base) if abs(c) == 1 else ({base: Fraction(1)}, Fraction(0))
        constant = _checked(constant + c * plain)
        for b, k in inner.items():
            out[b] = _checked(out.get(b, Fraction(0)) + c * k)
    return _unfold(out, constant)


def _common_size(terms: Terms, constant: Fraction) -> Fraction:
    """The size that all coefficients share, so that 2*y - 2*f is 2*(y - f); 1 if they differ."""
    sizes = {abs(c) for c in terms.values()} | ({abs(constant)} if constant else set())
    if len(sizes) != 1:
        return Fraction(1)
    (size,) = sizes
    return size if size != 0 and _terminates(size) else Fraction(1)


def _chain(terms: Terms, constant: Fraction) -> Expr:
    """Positive terms first, constants last unless only a constant is positive: `y - f`, `x + 1`, `1 - f`."""
    ordered = sorted(terms.items(), key=lambda item: sort_key(item[0]))
    plus: list[tuple[Expr, Fraction]] = [t for t in ordered if t[1] > 0]
    minus = [t for t in ordered if t[1] < 0]
    pieces: list[tuple[int, Expr]] = [(1, scale(c, b)) for b, c in plus]
    if constant > 0 and (plus or not minus):
        tail: list[tuple[int, Expr]] = [(1, const(constant))]
    elif constant > 0:
        pieces.append((1, const(constant)))
        tail = []
    else:
        tail = [(-1, const(-constant))] if constant else []
    pieces += [(-1, scale(-c, b)) for b, c in minus] + tail
    sign, out = pieces[0]
    if sign < 0:
        out = const(-out.number) if out.op == CONST else _negated(out)
    for sign, piece in pieces[1:]:
        out = node("add" if sign > 0 else "sub", out, piece)
    return out


def _negated(x: Expr) -> Expr:
    c, base = split_coefficient(x)
    return scale(-c, base)


def sum_terms(x: Expr) -> tuple[Terms, Fraction]:
    """The terms and the constant of a canonical expression."""
    terms: Terms = {}
    constant = Fraction(0)
    for part, sign in signed_parts(x):
        constant = _checked(constant + add_term(terms, part, Fraction(sign)))
    return terms, constant


def is_sum(x: Expr) -> bool:
    """Whether the outermost operation adds or subtracts."""
    return x.op in ("add", "sub")


def negate(x: Expr, facts: Facts) -> Expr:
    """The canonical form of -x, for a canonical x."""
    if is_sum(x):
        try:
            terms, constant = sum_terms(x)
        except TooLong:
            return _only_ordered({part: -sign for part, sign in signed_parts(x)}, facts)
        return build_sum({b: -c for b, c in terms.items()}, -constant, facts)
    return _negated(x)


def sign_normal(x: Expr, facts: Facts) -> tuple[int, Expr]:
    """`(s, n)` with x = s*n, where n is the chosen one of x and -x: fewer negative terms, else a positive first one."""
    if not is_sum(x):
        c, base = split_coefficient(x)
        return (-1, scale(-c, base)) if c < 0 else (1, x)
    try:
        terms, constant = sum_terms(x)
    except TooLong:
        return (-1, negate(x, facts)) if _mostly_negative(x) else (1, x)
    signs = [(-1, c) for c in ([constant] if constant else [])]
    signs += [(0, c) for _, c in sorted(terms.items(), key=lambda item: sort_key(item[0])) if c]
    negative = sum(c < 0 for _, c in signs)
    if signs and (2 * negative > len(signs) or (2 * negative == len(signs) and signs[0][1] < 0)):
        return -1, negate(x, facts)
    return 1, x


def _mostly_negative(x: Expr) -> bool:
    """For a sum that cannot be collected: most terms are negative, or half of them and the first one by size is."""
    split = [(sign * c, base) for part, sign in signed_parts(x) for c, base in [split_coefficient(part)]]
    below = sum(c < 0 for c, _ in split)
    first = min(split, key=lambda term: (sort_key(term[1]), abs(term[0])))
    return 2 * below > len(split) or (2 * below == len(split) and first[0] < 0)
