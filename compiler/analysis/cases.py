"""Answers that depend on hyper-parameters, as a table of cases: signs are decided, or the table branches on them.

A question is a function of a `World`: what is known of C and the hyper-parameters. Where it needs a sign that nobody
knows (is log(phi1) positive?) it raises `Split`, and is asked again in three worlds: below, at and above the point
where the sign changes, written for one name where that can be solved (`phi1 < 1`). Branches with equal answers are one.

A sign is known from exact constants, from interval facts, from what a world assumes; else from all of several hundred
points of the domain, its ends included, where it must be the same: strong evidence, and no proof.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Generic, TypeVar

from lossc.compiler.analysis.rational import Tidier
from lossc.compiler.evaluate import evaluate
from lossc.compiler.facts import Facts
from lossc.compiler.ir import CONST, ONE, PARAM, ZERO, Expr, const, param, postorder, substitute
from lossc.compiler.ops import call
from lossc.compiler.passes.simplex import CLASSES
from lossc.compiler.roles import ROLES, Role

T = TypeVar("T")

MAX_CASES = 24
"""Cases beyond which a table is given up: no one reads it."""
DIGITS = 40
_TINY = Fraction(1, 10**25)
POINTS = 240
_CLASS_COUNTS = (2, 3, 4, 5, 10, 10, 100, 1000, 10**6)


class Split(Exception):
    """The sign of `of` is needed and not known."""

    def __init__(self, of: Expr) -> None:
        super().__init__()
        self.of = of


class OutOfTime(Exception):
    """The deadline passed."""


class TooManyCases(Exception):
    """The table of cases is too long to be of use."""


class Unsolved(Exception):
    """The answer is not found; `str()` says why."""


@dataclass(frozen=True, slots=True)
class Condition:
    """left RELATION right, where the relation is one of < <= = >= >."""

    left: Expr
    relation: str
    right: Expr

    def holds(self, values: Mapping[Expr, Any], classes: int, ctx: Any) -> bool:
        """Whether it holds for values of C and the hyper-parameters."""
        gap = number(self.left - self.right, values, classes, ctx)
        sign = 0 if abs(gap) <= _tiny(ctx) else 1 if gap > 0 else -1
        return sign in {"<": (-1,), "<=": (-1, 0), "=": (0,), ">=": (0, 1), ">": (1,)}[self.relation]


@dataclass(frozen=True, slots=True)
class Case(Generic[T]):
    """An answer, and the conditions under which it is the one."""

    conditions: tuple[Condition, ...]
    answer: T


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sign changes: `of` is positive where name > at (sense 1) or name < at (sense -1)."""

    name: Expr
    at: Expr
    sense: int


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
        for _ in range(POINTS if self.roles else 0):
            out.append((rng.choice(counts), {p: _drawn(role, rng) for p, role in self.roles.items()}))
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
        found = {_sign_at(root, values, classes) for classes, values in self.points}
        found.discard(None)
        return found.pop() if len(found) == 1 else None

    def defined(self, root: Expr) -> bool:
        """Whether a constant expression has a finite value at every point of this world."""
        ctx = context()
        return all(ctx.isfinite(number(root, values, classes, ctx)) for classes, values in self.points)

    def place(self, of: Expr) -> Place | None:
        """Where the sign of an expression changes, solved for a hyper-parameter or for C."""
        return _solve(self, self(of), 0)

    def assume(self, of: Expr, sign: int, place: Place | None) -> World | None:
        """The world in which `of` has this sign; None if no point is left in it."""
        if sign == 0 and place is not None:
            fixed = (*self.fixed, (place.name, place.at))
            return self._narrowed([_moved(p, place, self.domain) for p in self.points], fixed, self.signs)
        kept = [p for p in self.points if sign == 0 or _sign_at(of, p[1], p[0]) == sign]
        return self._narrowed(kept, self.fixed, (*self.signs, (of, sign)))

    def _narrowed(
        self,
        points: Sequence[tuple[int, Mapping[Expr, Any]] | None],
        fixed: Sequence[tuple[Expr, Expr]],
        signs: Sequence[tuple[Expr, int]],
    ) -> World | None:
        kept = [p for p in points if p is not None and all(s in (0, _sign_at(g, p[1], p[0])) for g, s in signs)]
        return World(self.domain, self.tidy, fixed, signs, kept) if kept else None


# -- numbers ----------------------------------------------------------------------------------------------------------

_CONTEXT: list[Any] = []


def context() -> Any:
    """An mpmath context of our own."""
    if not _CONTEXT:
        from mpmath.ctx_mp import MPContext

        _CONTEXT.append(MPContext())
    return _CONTEXT[0]


def _tiny(ctx: Any) -> Any:
    return ctx.mpf(_TINY.numerator) / _TINY.denominator


def number(root: Expr, values: Mapping[Expr, Any], classes: int, ctx: Any, digits: int = DIGITS) -> Any:
    """The value of an expression in C, hyper-parameters and other leaves."""
    return evaluate(root, values, num_classes=classes, dps=digits, ctx=ctx)


def _sign_at(root: Expr, values: Mapping[Expr, Any], classes: int) -> int | None:
    ctx = context()
    value = number(root, values, classes, ctx)
    if ctx.isnan(value):
        return None
    return 0 if abs(value) <= _tiny(ctx) else 1 if value > 0 else -1


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


# -- where a sign changes ---------------------------------------------------------------------------------------------


def _solve(world: World, of: Expr, depth: int) -> Place | None:
    """Where the numerator is 0, if it is straight in a name, or in a logarithm of something that can be solved."""
    found = world.tidy.quotient(of)
    if found is None or depth > 4:
        return None
    sense = 1
    for factor in found.below:
        sign = world.sign_if_known(world.tidy.expression(factor))
        if not sign:
            return None
        sense *= sign
    above = world.tidy.expression(found.above)
    atoms = sorted({a for m in found.above for a, _ in m}, key=lambda a: (a is CLASSES, a.op != PARAM, a.digest))
    for atom in atoms:
        if not (atom.op in (PARAM, "log") or atom is CLASSES) or (atom is CLASSES and world.domain.classes is not None):
            continue
        place = _solved_for(world, above, atom, sense, depth)
        if place is not None:
            return place
    return _one_factor(world, above, atoms, sense, depth)


def _solved_for(world: World, above: Expr, atom: Expr, sense: int, depth: int) -> Place | None:
    """above = slope*atom + start, with a slope of known sign that the atom does not enter."""
    unknown = param("?solve")
    straight = substitute(above, {atom: unknown})
    start = world(substitute(straight, {unknown: ZERO}))
    slope = world(substitute(straight, {unknown: ONE}) - start)
    rest = world(straight - slope * unknown - start)
    inside = postorder(start, slope)
    if rest is not ZERO or (atom.op == PARAM or atom is CLASSES) and atom in inside:
        return None
    sign = world.sign_if_known(slope)
    if not sign:
        return None
    at = world(-start / slope)
    if atom.op == "log":
        return _solve(world, world(sense * sign * (atom.args[0] - call("exp", at))), depth + 1)
    return Place(atom, at, sense * sign)


def _one_factor(world: World, above: Expr, atoms: Sequence[Expr], sense: int, depth: int) -> Place | None:
    """Of a product whose factors all have known signs but one, that one."""
    found = world.tidy.quotient(above)
    if found is None or len(found.above) != 1:
        return None
    ((powers, factor),) = found.above.items()
    open_atoms = [(a, k) for a, k in powers if not world.sign_if_known(a)]
    if len(open_atoms) != 1 or open_atoms[0][1] % 2 == 0 or len(powers) == len(open_atoms) == len(atoms) == 1:
        return None
    sense *= 1 if factor > 0 else -1
    for a, k in powers:
        if a is not open_atoms[0][0] and k % 2:
            sense *= world.sign(a)
    return _solve(world, world(const(sense) * open_atoms[0][0]), depth + 1)


# -- tables -----------------------------------------------------------------------------------------------------------


def decide(ask: Callable[[World], T], world: World, same: Callable[[World, T, T], bool]) -> list[Case[T]]:
    """The answers to a question in every case. `same` compares two answers in a world, where names may be fixed.

    Raises TooManyCases, OutOfTime, and Unsolved as the question does.
    """
    budget = [MAX_CASES]
    return _decide(ask, world, same, budget)


def _decide(
    ask: Callable[[World], T], world: World, same: Callable[[World, T, T], bool], budget: list[int]
) -> list[Case[T]]:
    world.check_time()
    try:
        return [Case((), ask(world))]
    except Split as split:
        of = split.of
    budget[0] -= 1
    if budget[0] < 0:
        raise TooManyCases
    place = world.place(of)
    sense = place.sense if place is not None else 1
    worlds = {sign: world.assume(of, sign * sense, place) for sign in (-1, 0, 1)}
    branches = {sign: _decide(ask, w, same, budget) for sign, w in worlds.items() if w is not None}
    left, right = (place.name, place.at) if place is not None else (of, ZERO)
    return _joined(branches, {s: w for s, w in worlds.items() if w is not None}, left, right, same)


def _joined(
    branches: dict[int, list[Case[T]]],
    worlds: dict[int, World],
    left: Expr,
    right: Expr,
    same: Callable[[World, T, T], bool],
) -> list[Case[T]]:
    """The branches below, at and above as one table; neighbours with the same answers are one branch."""
    groups: list[tuple[tuple[int, ...], list[Case[T]]]] = []
    for sign in sorted(branches):
        table = branches[sign]
        if groups and _same_tables(groups[-1], (sign, table), worlds, same):
            signs, old = groups.pop()
            groups.append(((*signs, sign), table if signs == (0,) else old))
        else:
            groups.append(((sign,), table))
    if len(groups) == 1:
        return groups[0][1]
    out = []
    for signs, table in groups:
        relation = _RELATIONS[signs]
        out += [Case((Condition(left, relation, right), *case.conditions), case.answer) for case in table]
    return out


_RELATIONS = {(-1,): "<", (0,): "=", (1,): ">", (-1, 0): "<=", (0, 1): ">="}


def _same_tables(
    group: tuple[tuple[int, ...], list[Case[T]]],
    branch: tuple[int, list[Case[T]]],
    worlds: dict[int, World],
    same: Callable[[World, T, T], bool],
) -> bool:
    """Whether two neighbouring branches say the same; at the point itself if one of them is that point."""
    (signs, mine), (sign, other) = group, branch
    world = worlds[0] if sign == 0 or signs == (0,) else worlds[sign]
    return len(mine) == len(other) and all(
        a.conditions == b.conditions and same(world, a.answer, b.answer) for a, b in zip(mine, other, strict=True)
    )
