r"""How an expression behaves as a small positive number ε goes to 0: exactly, with symbols in it.

Every operator is either carried out on series (`lossc.compiler.analysis.expansion`), or written by such operators where
its operand grows without bound, or expanded by Taylor's formula from the derivatives of its record. So the limit of
`xi/C/ε` is +∞ where xi > 0 and 0 where xi = 0; of `gamma*ε^(gamma - 1)` it is 0, 1 or +∞.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias, TypeVar

from lossc.compiler import ops
from lossc.compiler.analysis.expansion import FLAT, LEVEL, Arithmetic, Cancelled, Series, Term, Undefined
from lossc.compiler.analysis.world import Unsolved, World
from lossc.compiler.errors import LossTypeError
from lossc.compiler.ir import HALF, LEAF_OPS, ONE, ZERO, Expr, const, node, param, postorder, substitute
from lossc.compiler.ops import call
from lossc.compiler.passes.differentiate import derivative

T = TypeVar("T")

EPSILON = param("?epsilon")
"""The small number ε of thesis eq. 4.12. No hyper-parameter can have this name."""
MAX_ORDER = 5


@dataclass(frozen=True, slots=True)
class Broken:
    """No series: because there is no value (`undefined`), or because none is known to us."""

    undefined: bool
    why: str = ""


Value: TypeAlias = "Series | bool | Broken"


@dataclass(frozen=True, slots=True)
class Limit:
    """What an expression tends to: `kind` is "finite" (`value`), "infinite" (of this `sign`), "undefined" or "unknown".

    `numeric` marks what was seen in numbers, for given C and hyper-parameters, and not derived.
    """

    kind: str
    value: Expr = ZERO
    sign: int = 0
    numeric: bool = False


@dataclass(frozen=True, slots=True)
class Lead:
    """The leading term: its sign (0 if the expression is 0 for every small ε) and an expression in `EPSILON`.

    `grows` is 1, 0 or -1: it is unbounded, tends to a number other than 0, or vanishes.
    """

    sign: int
    term: Expr = ZERO
    grows: int = -1


def limit(root: Expr, world: World) -> Limit:
    """The limit of an expression in `EPSILON`, C and hyper-parameters. Raises Split, Unsolved and OutOfTime."""
    return _with_enough_terms(root, world, _limit_of, Limit("undefined"))


def lead(root: Expr, world: World) -> Lead | None:
    """The leading term; None where the expression has no value. Raises Split, Unsolved and OutOfTime."""
    return _with_enough_terms(root, world, _lead_of, None)


def _with_enough_terms(root: Expr, world: World, read: Callable[[Expansion, Series], T], undefined: T) -> T:
    root = world(root)
    for order in range(1, MAX_ORDER + 1):
        expansion = Expansion(world, order)
        try:
            value = expansion.run(root)
            if isinstance(value, Series):
                return read(expansion, value)
            assert isinstance(value, Broken)
            if value.undefined:
                return undefined
            raise Unsolved(value.why)
        except Cancelled:
            continue
    raise Unsolved("too many terms cancel")


def _limit_of(expansion: Expansion, x: Series) -> Limit:
    """A coefficient that the value does not depend on may have any sign."""
    growing = [p for p in x.terms if p != LEVEL and not expansion.is_greater(LEVEL, p)]
    if growing:
        top = expansion.leading(x)
        if top is not None and top.powers in growing:
            return Limit("infinite", sign=top.sign)
    if any(not expansion.is_greater(LEVEL, r) for r in x.rest):
        raise Cancelled
    value = x.terms.get(LEVEL, ZERO)
    return Limit("finite", value) if expansion.world.defined(value) else Limit("undefined")


def _lead_of(expansion: Expansion, x: Series) -> Lead:
    if not x.terms and x.rest == {FLAT}:
        raise Unsolved("it vanishes faster than every power of ε")
    top = expansion.leading(x)
    if top is None:
        return Lead(0)
    grows = expansion.compare(top.powers, LEVEL)
    if grows is None:
        raise expansion.open_question(top.powers, LEVEL)
    return Lead(top.sign, term_of(top, expansion.world), grows)


def term_of(top: Term, world: World) -> Expr:
    """coefficient·ε^a·L^b·M^c as an expression in `EPSILON`."""
    log = call("log", 1 / EPSILON)
    out = top.coefficient
    for scale, power in zip((EPSILON, log, call("log", log)), top.powers, strict=True):
        if power is not ZERO:
            out = out * (scale if power is ONE else scale**power)
    return world.tidy(out)


class Expansion(Arithmetic):
    """The series of every node of an expression."""

    def run(self, root: Expr, known: Mapping[Expr, Series] | None = None) -> Value:
        """The series of an expression in `EPSILON` and in leaves whose series are known."""
        values: dict[Expr, Value] = {EPSILON: Series({(ONE, ZERO, ZERO): ONE}), **(known or {})}
        for here in postorder(root):
            if here not in values:
                values[here] = self._node(here, [values[a] for a in here.args])
        return values[root]

    def _node(self, here: Expr, args: list[Value]) -> Value:
        if here.op in LEAF_OPS or not here.args:
            return self.constant(here)
        if here.op == "where":
            condition, then, otherwise = args
            return condition if isinstance(condition, Broken) else then if condition else otherwise
        broken = next((a for a in args if isinstance(a, Broken)), None)
        if broken is not None:
            return broken
        try:
            return self._apply(here, [a for a in args if isinstance(a, Series)])
        except Undefined:
            return Broken(True)
        except (Unsolved, LossTypeError) as problem:
            return Broken(False, str(problem))

    def _apply(self, here: Expr, args: list[Series]) -> Value:
        if here.op in _ARITHMETIC:
            return _ARITHMETIC[here.op](self, *args)
        if here.op in _COMPARISONS:
            return self.sign_of_difference(*args) in _COMPARISONS[here.op]
        if here.op in _REWRITTEN:
            return self._rewritten(_REWRITTEN[here.op], args)
        return self._smooth(here, args)

    def _rewritten(self, form: Callable[..., Expr], args: list[Series]) -> Value:
        places = [param(f"?{i}") for i in range(len(args))]
        return self.run(form(*places), dict(zip(places, args, strict=True)))

    def _smooth(self, here: Expr, args: list[Series]) -> Value:
        """By Taylor's formula around the limit of the operand; by another form where that is infinite."""
        fixed = [a.constant for a in args]
        if all(c is not None for c in fixed):
            if here.op in _AT_NUMBERS:
                return self._rewritten(_AT_NUMBERS[here.op], args)
            made = self.world(node(here.op, *(c for c in fixed if c is not None)))
            if not self.world.defined(made):
                raise Undefined
            return self.constant(made)
        if len(args) != 1:
            raise Unsolved(f"no expansion of `{here.op}` is known")
        (x,) = args
        growing = [p for p in x.terms if p != LEVEL and not self.is_greater(LEVEL, p)]
        top = self.leading(x) if growing else None
        if top is not None and top.powers in growing:
            if here.op not in _AT_INFINITY:
                raise Unsolved(f"the behaviour of `{here.op}` at infinity is not known")
            return self._rewritten(lambda place: _AT_INFINITY[here.op](place, top.sign), [x])
        if any(not self.is_greater(LEVEL, r) for r in x.rest):
            raise Cancelled
        return self._taylor(here, x)

    def _taylor(self, here: Expr, x: Series) -> Series:
        record, start, place = ops.record(here), x.terms.get(LEVEL, ZERO), param("?0")
        edges = [*record.kinks(start), *record.singular(start)]
        if any(self.world.sign(e) == 0 for e in edges) or record.partials is None:
            raise Unsolved(f"`{here.op}` is not smooth there")
        slope, coefficients, factorial = node(here.op, place), list[Expr](), 1
        for k in range(self.order + 1):
            factorial *= max(k, 1)
            made = self.world(substitute(slope, {place: start}) / factorial)
            if not self.world.defined(made):
                raise Unsolved(f"`{here.op}` has no derivative there")
            coefficients.append(made)
            slope = self.world.tidy(derivative(slope, place))
        small = {p: c for p, c in x.terms.items() if p != LEVEL}
        return self.around(Series(small, x.rest), coefficients)

    # -- operators ----------------------------------------------------------------------------------------------------

    def divide(self, x: Series, y: Series) -> Series:
        """x/y; without a value where y is 0."""
        if not y.terms and not y.rest:
            raise Undefined
        return self.multiply(x, self.power(y, const(-1)))

    def general_power(self, x: Series, p: Series) -> Series:
        """x^p; exp(p*log(x)) where the exponent is not a number."""
        exponent = p.constant
        if exponent is not None:
            return self.power(x, exponent)
        return self.exp(self.multiply(p, self.log(x)))

    def sign_of(self, x: Series) -> int:
        """The sign for small ε."""
        top = self.leading(x)
        return 0 if top is None else top.sign

    def sign_of_difference(self, x: Series, y: Series) -> int:
        """The sign of x - y; of the same series it is 0, even where something is left out of it."""
        return 0 if x is y else self.sign_of(self.add(x, self.scale(y, const(-1))))

    def greater(self, x: Series, y: Series, sense: int) -> Series:
        """max(x, y) for sense 1, min(x, y) for sense -1."""
        return x if self.sign_of_difference(x, y) * sense >= 0 else y


def _heaviside(e: Expansion, x: Series) -> Series:
    return e.constant(const(Fraction(1 + e.sign_of(x), 2)))


_ARITHMETIC: dict[str, Callable[..., Series]] = {
    "add": Expansion.add,
    "sub": lambda e, x, y: e.add(x, e.scale(y, const(-1))),
    "neg": lambda e, x: e.scale(x, const(-1)),
    "mul": Expansion.multiply,
    "div": Expansion.divide,
    "square": lambda e, x: e.multiply(x, x),
    "pow": Expansion.general_power,
    "sqrt": lambda e, x: e.power(x, HALF),
    "exp": Expansion.exp,
    "log": Expansion.log,
    "abs": lambda e, x: e.scale(x, const(e.sign_of(x))),
    "sign": lambda e, x: e.constant(const(e.sign_of(x))),
    "heaviside": _heaviside,
    "max": lambda e, x, y: e.greater(x, y, 1),
    "min": lambda e, x, y: e.greater(x, y, -1),
}

_COMPARISONS = {"lt": (-1,), "le": (-1, 0), "gt": (1,), "ge": (0, 1), "eq": (0,), "ne": (-1, 1)}

_REWRITTEN: dict[str, Callable[..., Expr]] = {
    "relu": lambda x: call("max", x, 0),
    "clamp": lambda x, lo, hi: call("min", call("max", x, lo), hi),
    "log1p": lambda x: call("log", 1 + x),
    "expm1": lambda x: call("exp", x) - 1,
    "log2": lambda x: call("log", x) / call("log", 2),
    "log10": lambda x: call("log", x) / call("log", 10),
    "log1mexp": lambda x: call("log", 1 - call("exp", x)),
    "xlogy": lambda x, y: call("where", call("eq", x, 0), 0, x * call("log", y)),
    "hypot": lambda x, y: call("sqrt", x**2 + y**2),
    "logaddexp": lambda x, y: call("log", call("exp", x) + call("exp", y)),
    "log1psq": lambda x: call("log", 1 + x**2),
    "div1psq": lambda x: x / (1 + x**2),
    "sqdiv1psq": lambda x: x**2 / (1 + x**2),
    "hypotm": lambda x, c: call("sqrt", x**2 + c**2) - c,
    "over_hypot": lambda x, y: x / call("sqrt", x**2 + y**2),
    "logratio": lambda x, y: call("log", x / y),
    "aq": lambda x, y: x / call("sqrt", 1 + y**2),
    "plog": lambda x: call("log", call("abs", x) + call("eps")),
    "psqrt": lambda x: call("sqrt", call("abs", x) + call("eps")),
    "clog": lambda x: call("log", call("max", call("abs", x), call("eps"))),
    "csqrt": lambda x: call("sqrt", call("max", call("abs", x), call("eps"))),
}
"""Operators that are others put together, whatever the operands."""


_AT_NUMBERS: dict[str, Callable[..., Expr]] = {
    "softplus": lambda x: call("log", 1 + call("exp", x)),
    "logsigmoid": lambda x: -call("log", 1 + call("exp", -x)),
}
"""How the value at a number is written: softplus(0) is log(2)."""


def _falling(x: Expr, sign: int) -> Expr:
    """exp(-|x|) for x of this sign."""
    return call("exp", -x if sign > 0 else x)


_AT_INFINITY: dict[str, Callable[[Expr, int], Expr]] = {
    "sigmoid": lambda x, s: 1 / (1 + _falling(x, s)) if s > 0 else _falling(x, s) / (1 + _falling(x, s)),
    "logsigmoid": lambda x, s: (ZERO if s > 0 else x) - call("log", 1 + _falling(x, s)),
    "softplus": lambda x, s: (x if s > 0 else ZERO) + call("log", 1 + _falling(x, s)),
    "logcosh": lambda x, s: s * x + call("log", 1 + _falling(x, s) ** 2) - call("log", 2),
    "tanh": lambda x, s: s * (1 - _falling(x, s) ** 2) / (1 + _falling(x, s) ** 2),
    "sinh": lambda x, s: s * (1 - _falling(x, s) ** 2) / (2 * _falling(x, s)),
    "cosh": lambda x, s: (1 + _falling(x, s) ** 2) / (2 * _falling(x, s)),
    "asinh": lambda x, s: s * call("log", s * x + call("sqrt", x**2 + 1)),
    "acosh": lambda x, s: call("log", x + call("sqrt", x**2 - 1)),
    "atan": lambda x, s: s * node("pi") / 2 - call("atan", 1 / x),
}
"""Operators of one argument that grows without bound, with this sign."""
