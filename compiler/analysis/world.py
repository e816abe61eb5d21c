"""What is known of C and the hyper-parameters of a loss, and the signs that follow from it.

A sign is known from exact constants, from interval facts, from what a world assumes; else from all of several hundred
points of the domain, its ends included, where it must be the same: strong evidence, and no proof. Where it is none of
these, `Split` is raised, and `lossc.compiler.analysis.cases` asks again in worlds that assume one.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from lossc.compiler.analysis.places import Place, place_of
from lossc.compiler.analysis.rational import Tidier
from lossc.compiler.evaluate import evaluate
from lossc.compiler.facts import Facts
from lossc.compiler.ir import CONST, ZERO, Expr, postorder, substitute
from lossc.compiler.passes.simplex import CLASSES
from lossc.compiler.roles import Role

DIGITS = 40
TINY = Fraction(1, 10**25)
POINTS = 240
_CLASS_COUNTS = (2, 3, 4, 5, 10, 10, 100, 1000, 10**6)


class Split(Exception):
    """The sign of `of` is needed and not known."""

    def __init__(self, of: Expr) -> None:
        super().__init__()
        self.of = of


class OutOfTime(Exception):
    """The deadline passed."""


class Unsolved(Exception):
    """The answer is not found; `str()` says why."""


@dataclass(frozen=True)
class Domain:
    """The hyper-parameters with their roles, C (or None if it stays a symbol), and points to try."""

    roles: Mapping[Expr, Role]
    facts: Facts
    classes: int | None = None
    given: Mapping[Expr, Fraction] = field(default_factory=dict)
    deadline: float = float("inf")

    def points(self) -> list[tuple[int, dict[Expr, Fraction]]]:
        """The same points every time: the given values, the ends of every role, and many others."""
        rng = random.Random(20)
        counts = (self.classes,) if self.classes is not None else _CLASS_COUNTS
        out = [(c, {p: self.given.get(p, Fraction(1)) for p in self.roles}) for c in dict.fromkeys(counts)]
        drawn = range(POINTS if self.roles else 0)
        out += [(rng.choice(counts), {p: _drawn(role, rng) for p, role in self.roles.items()}) for _ in drawn]
        return out


def _drawn(role: Role, rng: random.Random) -> Fraction:
    low, high = role.range.lo, role.range.hi
    ends = [Fraction(x) for x in (0, 1) if low <= x <= high]
    kind = rng.random()
    if kind < 0.3:
        return rng.choice([*ends, *(ends if high <= 1 else [Fraction(2), Fraction(1, 2)])])
    if high <= 1:
        return Fraction(rng.randint(1, 9999), 10_000)
    size = Fraction(rng.randint(1000, 9999), 1000) * Fraction(10) ** rng.randint(-3, 2)
    if kind < 0.7:
        size = Fraction(rng.randint(1, 4999), 1000)
    return -size if low < 0 and rng.random() < 0.5 else size


class World:
    """A domain with what is assumed of it: values of names that an equation fixes, and signs of expressions."""

    def __init__(
        self,
        domain: Domain,
        tidy: Tidier | None = None,
        fixed: Sequence[tuple[Expr, Expr]] = (),
        signs: Sequence[tuple[Expr, int]] = (),
        points: Sequence[tuple[int, Mapping[Expr, Any]]] | None = None,
    ) -> None:
        self.domain, self.fixed, self.signs = domain, tuple(fixed), tuple(signs)
        self.tidy = tidy or Tidier(domain.facts)
        self.points = list(points if points is not None else domain.points())
        self._known: dict[Expr, int | None] = {}

    def __call__(self, root: Expr) -> Expr:
        """An expression with the fixed names replaced, tidy."""
        for name, value in self.fixed:
            root = substitute(root, {name: value})
        return self.tidy(root)

    def check_time(self) -> None:
        """Raise OutOfTime if the deadline has passed."""
        if time.monotonic() > self.domain.deadline:
            raise OutOfTime

    def sign(self, root: Expr) -> int:
        """-1, 0 or 1; raises Split if it is not known."""
        found = self.sign_if_known(root)
        if found is None:
            raise Split(self(root))
        return found

    def sign_if_known(self, root: Expr) -> int | None:
        """The sign, or None."""
        root = self(root)
        if root not in self._known:
            self.check_time()
            self._known[root] = self._sign(root)
        return self._known[root]

    def _sign(self, root: Expr) -> int | None:
        if root.op == CONST:
            return (root.number > 0) - (root.number < 0)
        bounds = self.domain.facts.range(root)
        if bounds.total and bounds.nonzero:
            return 1 if bounds.lo > 0 else -1
        for known, sign in self.signs:
            if self(known - root) is ZERO:
                return sign
            if self(known + root) is ZERO:
                return -sign
        found: int | None = None
        for classes, values in self.points:
            here = sign_at(root, values, classes)
            if here is not None and found not in (None, here):
                return None
            found = found if here is None else here
        return found

    def defined(self, root: Expr) -> bool:
        """Whether a constant expression has a finite value somewhere in this world."""
        ctx = context()
        return any(ctx.isfinite(number(root, values, classes, ctx)) for classes, values in self.points)

    def place(self, of: Expr) -> Place | None:
        """Where the sign of an expression changes, solved for a hyper-parameter or for C."""
        return place_of(self, self(of))

    def assume(self, of: Expr, sign: int, place: Place | None) -> World | None:
        """The world in which `of` has this sign; None if no point is left in it."""
        if sign == 0 and place is not None:
            fixed = (*self.fixed, (place.name, place.at))
            return self._narrowed([_moved(p, place, self.domain) for p in self.points], fixed, self.signs)
        some = sign == 0 and any(p in self.domain.roles for p in postorder(of))  # a curve that no point need be on
        kept = [p for p in self.points if some or sign_at(of, p[1], p[0]) == sign]
        return self._narrowed(kept, self.fixed, (*self.signs, (of, sign)))

    def _narrowed(
        self,
        points: Sequence[tuple[int, Mapping[Expr, Any]] | None],
        fixed: Sequence[tuple[Expr, Expr]],
        signs: Sequence[tuple[Expr, int]],
    ) -> World | None:
        kept = [p for p in points if p is not None and all(s in (0, sign_at(g, p[1], p[0])) for g, s in signs)]
        return World(self.domain, self.tidy, fixed, signs, kept) if kept else None


# -- numbers ----------------------------------------------------------------------------------------------------------

_contexts = threading.local()


def context() -> Any:
    """An mpmath context of this thread's own."""
    if not hasattr(_contexts, "ctx"):
        from mpmath.ctx_mp import MPContext

        _contexts.ctx = MPContext()
    return _contexts.ctx


def number(root: Expr, values: Mapping[Expr, Any], classes: int, ctx: Any, digits: int = DIGITS) -> Any:
    """The value of an expression in C, hyper-parameters and other leaves."""
    return evaluate(root, values, num_classes=classes, dps=digits, ctx=ctx)


def sign_at(root: Expr, values: Mapping[Expr, Any], classes: int) -> int | None:
    """The sign of an expression for numbers; None where it has no value."""
    ctx = context()
    value = number(root, values, classes, ctx)
    if ctx.isnan(value):
        return None
    return 0 if abs(value) <= ctx.mpf(TINY.numerator) / TINY.denominator else 1 if value > 0 else -1


def _moved(
    point: tuple[int, Mapping[Expr, Any]], place: Place, domain: Domain
) -> tuple[int, Mapping[Expr, Any]] | None:
    """The point with the solved name set to where the sign changes, if its role allows that."""
    classes, values = point
    ctx = context()
    value = number(place.at, values, classes, ctx)
    if place.name is CLASSES:
        whole = int(value) if ctx.isfinite(value) and value == int(value) and 2 <= value < 10**9 else None
        return None if whole is None else (whole, values)
    role = domain.roles[place.name]
    if not (ctx.isfinite(value) and role.range.lo <= value <= role.range.hi):
        return None
    return classes, {**values, place.name: value}
