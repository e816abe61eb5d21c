"""Truncated power series with exact coefficients: what a formula is near the point where a part of it is 0.

    >>> series(call("sin", F), F)[:4]
    [Fraction(0, 1), Fraction(1, 1), Fraction(0, 1), Fraction(-1, 6)]

A series is the list of its first TERMS coefficients in one variable u. Only what is analytic at u = 0 with rational
coefficients has one; everything else has none, and no guard is built on it (G12, `lossc.compiler.passes.removable`).
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import cache

from lossc.compiler.ir import CONST, ONE, Expr, node, postorder
from lossc.compiler.ops import call
from lossc.compiler.ops.arithmetic import EPSILON

TERMS = 26
"""Coefficients that are computed; a guard uses fewer, and what is left says how good it is."""

Series = list[Fraction]


class Expansion:
    """Power series in one variable, a sub-expression of what is expanded; each part is expanded once.

    `work` counts the parts: all of them together may take long for a hostile formula, so that callers set a limit.
    """

    def __init__(self, variable: Expr) -> None:
        self._done: dict[Expr, Series | None] = {variable: _monomial(1)}
        if variable.op == "sub":
            self._done[node("sub", *variable.args[::-1])] = _monomial(-1)
        self.work = 0

    def of(self, root: Expr) -> Series | None:
        """The series of `root`; None unless all in it but the variable is a rational constant, and it is analytic."""
        for here in postorder(root):
            if here not in self._done:
                self.work += 1
                parts = [self._done[a] for a in here.args]
                known = [p for p in parts if p is not None]
                self._done[here] = _operation(here, known) if len(known) == len(parts) else None
        return self._done[root]

    def of_factor(self, factor: Expr) -> tuple[Series, Expr] | None:
        """The series of a factor, with the irrational number that it is to be multiplied by (1 for most)."""
        if factor.op in SCALED:
            inner = self.of(factor.args[0])
            found = None if inner is None else _composed(_known(factor.op), inner)
            return None if found is None else (found, SCALED[factor.op])
        found = self.of(factor)
        return None if found is None else (found, ONE)


def series(root: Expr, variable: Expr) -> Series | None:
    """The power series of `root` in `variable`, if it has one with rational coefficients."""
    return Expansion(variable).of(root)


def order(found: Series) -> int:
    """How many leading coefficients are 0: the multiplicity of the zero at u = 0."""
    return next((i for i, c in enumerate(found) if c), TERMS)


def divided(above: Series, below: Series) -> Series:
    """above/below, for a denominator that vanishes at u = 0 no faster than the numerator; shorter by that much."""
    n = order(below)
    return _divide(above[n:], below[n:])


def product(a: Series, b: Series) -> Series:
    """The series of a product."""
    n = min(len(a), len(b))
    out = [Fraction(0)] * n
    for i, x in enumerate(a[:n]):
        if x:
            for j in range(n - i):
                out[i + j] += x * b[j]
    return out


def _monomial(coefficient: int) -> Series:
    return [Fraction(0), Fraction(coefficient), *([Fraction(0)] * (TERMS - 2))]


def _constant(value: Fraction) -> Series:
    return [value, *([Fraction(0)] * (TERMS - 1))]


def _divide(a: Series, b: Series) -> Series:
    """a/b with b[0] != 0, by long division."""
    out: Series = []
    for i in range(min(len(a), len(b))):
        out.append((a[i] - sum((out[j] * b[i - j] for j in range(i)), Fraction(0))) / b[0])
    return out


def _operation(here: Expr, args: list[Series]) -> Series | None:
    if here.op == CONST:
        return _constant(here.number)
    if here.op == "eps":
        return _constant(EPSILON)
    if here.op in _ARITHMETIC:
        return _ARITHMETIC[here.op](*args)
    if here.op == "div":
        return _quotient(*args)
    if here.op == "pow" and here.args[1].op == CONST:
        return _power(args[0], here.args[1].number)
    if here.op in ANALYTIC and here.op not in SCALED:
        return _composed(_known(here.op), args[0])
    if here.op in _AT_ONE:
        return _AT_ONE[here.op](args[0])
    if here.op in _HYPOTENUSES and here.args[1].op == CONST and here.args[1].number > 0:
        return _HYPOTENUSES[here.op](args[0], here.args[1].number)
    return None


_ARITHMETIC: dict[str, Callable[..., Series]] = {
    "add": lambda a, b: [x + y for x, y in zip(a, b, strict=True)],
    "sub": lambda a, b: [x - y for x, y in zip(a, b, strict=True)],
    "mul": product,
    "neg": lambda a: [-x for x in a],
    "square": lambda a: product(a, a),
}


def _quotient(a: Series, b: Series) -> Series | None:
    """Only where nothing vanishes below: holes inside a quotient are not this function's business."""
    return _divide(a, b) if b[0] else None


def _power(x: Series, p: Fraction) -> Series | None:
    """x^p for a small whole p, or for x = 1 + ..., where the coefficients stay rational."""
    if p.denominator == 1 and 0 <= p <= 8:
        out = _constant(Fraction(1))
        for _ in range(int(p)):
            out = product(out, x)
        return out
    if x[0] != 1:
        return None
    out = [Fraction(1)]
    for n in range(1, len(x)):  # from p x' w = x w' for w = x^p
        total = sum((((p + 1) * k / n - 1) * x[k] * out[n - k] for k in range(1, n + 1)), Fraction(0))
        out.append(total)
    return out


def _composed(outer: Series, inner: Series) -> Series | None:
    """outer(inner), for an inner series without a constant term (Horner's rule)."""
    if inner[0]:
        return None
    if not any(inner[2:]):
        return [c * inner[1] ** n for n, c in enumerate(outer)]
    out: Series = []
    for n in range(TERMS - 1, -1, -1):  # what is multiplied by inner n times more needs n terms less
        out = product([*out, Fraction(0)], inner[: TERMS - n])
        out[0] += outer[n]
    return out


# -- the series of the operators, from their differential equations ---------------------------------------------------


def _integral(a: Series) -> Series:
    return [Fraction(0), *(c / (i + 1) for i, c in enumerate(a[: TERMS - 1]))]


def _exponential() -> Series:
    out = [Fraction(1)]
    for n in range(1, TERMS):
        out.append(out[-1] / n)
    return out


def _part(parity: int, alternating: bool) -> Series:
    """The even or odd part of exp, with alternating signs for the circular functions."""
    return [
        c * (-1 if alternating and n // 2 % 2 else 1) if n % 2 == parity else Fraction(0)
        for n, c in enumerate(_exponential())
    ]


def _binomial(sign: int, p: Fraction) -> Series:
    """(1 + sign*u^2)^p."""
    base = _constant(Fraction(1))
    base[2] = Fraction(sign)
    found = _power(base, p)
    assert found is not None
    return found


def _geometric(sign: int, step: int) -> Series:
    """1/(1 - sign*u^step)."""
    return [Fraction(sign) ** (n // step) if n % step == 0 else Fraction(0) for n in range(TERMS)]


def _shifted(a: Series) -> Series:
    """x times the series."""
    return [Fraction(0), *a[:-1]]


def _without_constant(a: Series) -> Series:
    return [Fraction(0), *a[1:]]


def _logistic() -> Series:
    bottom = [c * (-1) ** n for n, c in enumerate(_exponential())]
    bottom[0] += 1
    return _divide(_constant(Fraction(1)), bottom)


def _gaussian() -> Series:
    inner = _constant(Fraction(0))
    inner[2] = Fraction(-1)
    found = _composed(_exponential(), inner)
    assert found is not None
    return found


def _tangent(circular: bool) -> Series:
    return _divide(_part(1, circular), _part(0, circular))


ANALYTIC: dict[str, Callable[[], Series]] = {
    "exp": _exponential,
    "expm1": lambda: _without_constant(_exponential()),
    "log1p": lambda: _integral(_geometric(-1, 1)),
    "sin": lambda: _part(1, True),
    "cos": lambda: _part(0, True),
    "tan": lambda: _tangent(True),
    "asin": lambda: _integral(_binomial(-1, Fraction(-1, 2))),
    "atan": lambda: _integral(_geometric(-1, 2)),
    "sinh": lambda: _part(1, False),
    "cosh": lambda: _part(0, False),
    "tanh": lambda: _tangent(False),
    "asinh": lambda: _integral(_binomial(1, Fraction(-1, 2))),
    "atanh": lambda: _integral(_geometric(1, 2)),
    "logcosh": lambda: _integral(_tangent(False)),
    "div1psq": lambda: _shifted(_geometric(-1, 2)),
    "sqdiv1psq": lambda: _shifted(_shifted(_geometric(-1, 2))),
    "log1psq": lambda: _integral([2 * c for c in _shifted(_geometric(-1, 2))]),
    "sigmoid": _logistic,
    "erf": lambda: _integral(_gaussian()),
}
"""Operators with a rational power series at 0 (of erf: without its factor 2/sqrt(pi), see `SCALED`)."""

SCALED: dict[str, Expr] = {"erf": 2 / call("sqrt", call("pi"))}
"""Operators whose series is that in ANALYTIC times an irrational number: they have one as a factor only."""


def _log(x: Series) -> Series | None:
    rest = [x[0] - 1, *x[1:]]
    return _composed(_known("log1p"), rest)


_AT_ONE: dict[str, Callable[[Series], Series | None]] = {
    "log": _log,
    "sqrt": lambda x: _power(x, Fraction(1, 2)),
}
"""Operators that are analytic at 1: log(1 + u), sqrt(1 + u)."""


def _hypotenuse(x: Series, c: Fraction) -> Series | None:
    """hypot(x, c) = c sqrt(1 + (x/c)^2) for c > 0, where x vanishes at u = 0: else the root would be irrational."""
    if x[0]:
        return None
    square = product(x, x)
    root = _power([Fraction(1), *(a / c**2 for a in square[1:])], Fraction(1, 2))
    return None if root is None else [c * a for a in root]


def _over_hypotenuse(x: Series, c: Fraction) -> Series | None:
    below = _hypotenuse(x, c)
    return None if below is None else _divide(x, below)


def _less_its_leg(x: Series, c: Fraction) -> Series | None:
    found = _hypotenuse(x, c)
    return None if found is None else _without_constant(found)


_HYPOTENUSES: dict[str, Callable[[Series, Fraction], Series | None]] = {
    "hypot": _hypotenuse,
    "hypotm": _less_its_leg,
    "over_hypot": _over_hypotenuse,
}
"""Operators of u and a positive number."""


@cache
def _known(op: str) -> Series:
    return ANALYTIC[op]()
