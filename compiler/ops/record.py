"""The form of an operator record, and the small builders that its rows are written with.

One record knows everything about one operator: what it is called, what it means (mpmath), where it is defined, its
partial derivatives, its interval rule, its shape (sign, monotone, curvature, kinks), how every target writes it, how
SymPy calls it, what it costs. Adding an operator is adding one record; the parser, the documentation, the derivative
and interval tests and every target's test read it from here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from lossc.compiler.interval import Interval
from lossc.compiler.ir import Expr, Operand, as_expr, node

REAL_KIND, BOOL_KIND = "real", "bool"
REDUCE, MAP, SIZE = "reduce", "map", "size"


def call(name: str, *args: Operand) -> Expr:
    """The node `name(*args)`, numbers allowed: how records write their derivatives."""
    return node(name, *(as_expr(a) for a in args))


def _everywhere(*_: Any) -> bool:
    return True


def _no_kinks(*_: Expr) -> tuple[Expr, ...]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OpRecord:
    """One operator.

    name, args      canonical name and the names of its arguments (their number is the arity)
    doc             what it computes, in one line
    meaning         `(ctx, *values) -> value` in an mpmath context; class-axis operators take and give the list over
                    the classes
    partials        `(*args) -> (∂/∂arg, ...)` as expressions; None where no closed form is offered. A `map` operator on
                    the class axis has a second one, with respect to its hidden reduction `centre(x)`
    defined         `(*values) -> bool`: where the real function has a finite value
    interval        `(*Interval) -> Interval`, outward rounded
    lower           target -> template over `{0}`, `{1}`, ...; "math" is for Python floats (hyper-parameters, constants),
                    "fused" for torch where only the value counts (a form that no gradient is taken of)
    infix           the sign of an infix or prefix operator; `precedence` orders them (higher binds tighter)
    takes, gives    kinds of the arguments and of the value: "real" or "bool"
    axis            "" for an elementwise operator, "reduce" or "map" for one that works along the class axis, "size"
                    for the length of that axis
    weight          for a `reduce` operator: `(x, r) -> ∂r/∂x_k` at every class k
    centre          for a `map` operator: the reduction that it hides
    parity          "even", "odd" or ""
    monotone        +1 / -1 / 0 for each argument
    curvature       "convex", "concave", "affine" or ""
    exact           arguments at which the value is rational: folding uses these only, never a rounded value
    kinks           `(*args) -> expressions` whose zeros are where a partial jumps; the partials state the chosen
                    subgradient (conventions in docs/language.md; torch's wherever torch has one)
    singular        `(*args) -> expressions` whose zeros are where the value is finite but a first or second derivative
                    is not (rules G1, G4)
    sympy           the name in SymPy; "" means opaque to it
    cost            relative cost of one evaluation (an addition is 1)
    sample          where tests and reports draw each argument
    """

    name: str
    args: tuple[str, ...]
    doc: str
    meaning: Callable[..., Any]
    partials: Callable[..., tuple[Expr | None, ...]] | None
    interval: Callable[..., Interval]
    lower: Mapping[str, str]
    defined: Callable[..., bool] = _everywhere
    aliases: tuple[str, ...] = ()
    infix: str = ""
    precedence: int = 0
    takes: tuple[str, ...] = ()
    gives: str = REAL_KIND
    axis: str = ""
    weight: Callable[[Expr, Expr], Expr] | None = None
    centre: Callable[[Expr], Expr] | None = None
    commutative: bool = False
    associative: bool = False
    idempotent: bool = False
    parity: str = ""
    monotone: tuple[int, ...] = ()
    curvature: str = ""
    exact: Mapping[Fraction, Fraction] = field(default_factory=dict)
    kinks: Callable[..., tuple[Expr, ...]] = _no_kinks
    singular: Callable[..., tuple[Expr, ...]] = _no_kinks
    sympy: str = ""
    cost: int = 1
    sample: tuple[tuple[float, float], ...] = ()

    @property
    def arity(self) -> int:
        return len(self.args)

    @property
    def signature(self) -> str:
        """How the operator is written as a call: `clamp(x, lo, hi)`."""
        return f"{self.name}({', '.join(self.args)})" if self.args else self.name

    def kind_of(self, index: int) -> str:
        """The kind ("real" or "bool") that argument `index` must have."""
        return self.takes[index] if self.takes else REAL_KIND

    def sample_of(self, index: int) -> tuple[float, float]:
        """Where tests draw argument `index`."""
        return self.sample[index] if self.sample else (-3.0, 3.0)


def table(*pairs: tuple[int, int]) -> dict[Fraction, Fraction]:
    """Exact values, written as integer pairs."""
    return {Fraction(a): Fraction(b) for a, b in pairs}
