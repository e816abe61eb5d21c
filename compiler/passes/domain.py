"""The conditions under which an expression has a value: what sampling cannot see.

`(f - 0.3)^2/(f - 0.3)` has no value at one point only, which no sampler hits. So the accept test also compares the
conditions that the operators put on their operands, taken apart as far as that is exact (a product is not zero if no
factor is), without those that the roles guarantee, and in canonical form: a rewrite that loses or gains one is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lossc.compiler.facts import Facts
from lossc.compiler.ir import CONST, ONE, Expr, fold
from lossc.compiler.passes.canonicalize import canonical_expr

NONZERO, POSITIVE, NONNEGATIVE = "!= 0", "> 0", ">= 0"
THROUGH_ZERO = frozenset({"sinh", "tanh", "asinh", "atan", "expm1", "log1p", "erf", "asin", "atanh"})
"""Strictly increasing functions with value 0 at 0: they have the sign of their argument."""


@dataclass(frozen=True)
class Condition:
    """`operands[0]` is nonzero / positive / nonnegative, or the operator named by `kind` is defined at `operands`.

    With `guards`, only where each of these conditions of a `where` holds (True) or does not (False).
    """

    kind: str
    operands: tuple[Expr, ...]
    guards: frozenset[tuple[Expr, bool]] = frozenset()

    def __str__(self) -> str:
        from lossc.compiler.printing import to_text

        if self.kind in (NONZERO, POSITIVE, NONNEGATIVE):
            return f"{to_text(self.operands[0])} {self.kind}"
        return f"{self.kind}({', '.join(to_text(o) for o in self.operands)}) has a value"


Conditions = frozenset[Condition]


def conditions(root: Expr, facts: Facts) -> Conditions:
    """All conditions under which `root` has a value, beside those that certainly hold under `facts`."""
    return _Domain(facts).of(root)


def unimplied(wanted: Conditions, given: Conditions) -> list[Condition]:
    """The conditions among `wanted` that do not follow from one of `given`, in a stable order."""
    missing = [c for c in wanted if not any(_follows(c, g) for g in given)]
    return sorted(missing, key=lambda c: (c.kind, [o.digest for o in c.operands]))


def _follows(wanted: Condition, given: Condition) -> bool:
    if not given.guards <= wanted.guards or given.operands != wanted.operands:
        return False
    return wanted.kind == given.kind or (given.kind == POSITIVE and wanted.kind in (NONZERO, NONNEGATIVE))


class _Domain:
    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    def of(self, root: Expr) -> Conditions:
        return fold(root, self._visit)

    def _visit(self, here: Expr, below: list[Conditions]) -> Conditions:
        if here.op == "where":
            condition, then, otherwise = below
            test = self._canonical(here.args[0])
            return condition | _guarded(then, test, True) | _guarded(otherwise, test, False)
        return frozenset(self._own(here)).union(*below)

    def _own(self, here: Expr) -> Iterable[Condition]:
        if here.op in _RULES:
            return _RULES[here.op](self, *here.args)
        return ()

    # -- the atoms, taken apart -------------------------------------------------------------------------------------

    def nonzero(self, x: Expr) -> set[Condition]:
        """What it takes for x, which has a value, not to be 0."""
        out: set[Condition] = set()
        todo = [x]
        while todo:
            here = todo.pop()
            if self.facts.nonzero(here):
                continue
            if here.op == "mul":
                todo += here.args
            elif here.op in ("div", "neg", "abs", "square", "sqrt") or here.op in THROUGH_ZERO:
                todo.append(here.args[0])
            elif here.op == "pow" and here.args[1].op == CONST:
                todo += [here.args[0]] if here.args[1].number > 0 else []
            elif here.op == "relu":
                out |= self.positive(here.args[0])
            else:
                either = (self._scaled(here), self._scaled(-here))
                out.add(Condition(NONZERO, (min(either, key=lambda e: (e.tree_size, e.digest)),)))
        return out

    def positive(self, x: Expr) -> set[Condition]:
        """What it takes for x, which has a value, to be greater than 0."""
        if self.facts.positive(x):
            return set()
        if self.facts.nonnegative(x):
            return self.nonzero(x)
        if x.op in ("mul", "div"):
            a, b = x.args
            if self.facts.nonnegative(a):
                return self.nonzero(a) | self.positive(b)
            if self.facts.nonnegative(b):
                return self.nonzero(b) | self.positive(a)
        inner = _through_zero(x)
        if inner is not None:
            return self.positive(inner)
        return {Condition(POSITIVE, (self._scaled(x),))}

    def nonnegative(self, x: Expr) -> set[Condition]:
        """What it takes for x, which has a value, not to be negative."""
        if self.facts.nonnegative(x):
            return set()
        if x.op in ("mul", "div"):
            a, b = x.args
            if self.facts.positive(a) and (x.op == "mul" or self.facts.nonzero(b)):
                return self.nonnegative(b)
            if self.facts.positive(b):
                return self.nonnegative(a)
        inner = _through_zero(x)
        if inner is not None:
            return self.nonnegative(inner)
        return {Condition(NONNEGATIVE, (self._scaled(x),))}

    def power(self, x: Expr, p: Expr) -> set[Condition]:
        """Whole exponents need x != 0 if negative; others need x >= 0, or x > 0 if negative."""
        p = self._canonical(p)
        if p.op == CONST and p.number.denominator == 1:
            return self.nonzero(x) if p.number < 0 else set()
        if p.op == CONST:
            return self.nonnegative(x) if p.number > 0 else self.positive(x)
        if self.facts.positive(x):
            return set()
        return {Condition("pow", (self._canonical(x), p))}

    def together(self, kind: str, *operands: Expr) -> set[Condition]:
        """A condition that is not taken apart."""
        return {Condition(kind, tuple(self._canonical(o) for o in operands))}

    def _canonical(self, x: Expr) -> Expr:
        return canonical_expr(x, self.facts)

    def _scaled(self, x: Expr) -> Expr:
        """The canonical form without a positive factor in front."""
        made = self._canonical(x)
        while made.op in ("mul", "div"):
            a, b = made.args
            if made.op == "mul" and self.facts.positive(a):
                made = b
            elif self.facts.positive(b):
                made = a
            else:
                break
        return made


def _through_zero(x: Expr) -> Expr | None:
    """An expression with the sign of x, if x is a function that has the sign of its argument (or minus one)."""
    if x.op in THROUGH_ZERO:
        return x.args[0]
    if x.op == "neg" and x.args[0].op in THROUGH_ZERO:
        return -x.args[0].args[0]
    return None


def _guarded(inner: Conditions, test: Expr, holds: bool) -> Conditions:
    return frozenset(Condition(c.kind, c.operands, c.guards | {(test, holds)}) for c in inner)


Rule = Callable[..., Iterable[Condition]]

_RULES: dict[str, Rule] = {
    "div": lambda d, a, b: d.nonzero(b),
    "pow": _Domain.power,
    "sqrt": _Domain.nonnegative,
    **dict.fromkeys(("log", "log2", "log10", "lgamma", "digamma", "trigamma"), _Domain.positive),
    "log1p": lambda d, x: d.positive(ONE + x),
    **dict.fromkeys(("asin", "acos"), lambda d, x: d.nonnegative(ONE - x) | d.nonnegative(ONE + x)),
    "atanh": lambda d, x: d.positive(ONE - x) | d.positive(ONE + x),
    "acosh": lambda d, x: d.nonnegative(x - 1),
    "log1mexp": lambda d, x: d.positive(-x),
    "hypotm": lambda d, x, c: d.positive(c),
    "logratio": lambda d, x, y: [*d.positive(x), *d.positive(y)],
    "xlogy": lambda d, x, y: set() if d.facts.positive(y) else d.together("xlogy", x, y),
    "over_hypot": lambda d, x, y: set() if d.facts.nonzero(x) or d.facts.nonzero(y) else d.together("over_hypot", x, y),
    "atan2": lambda d, y, x: set() if d.facts.nonzero(y) or d.facts.nonzero(x) else d.together("atan2", y, x),
}
"""What each partial operator asks of its operands (the `defined` of its record, as conditions)."""


def rules() -> frozenset[str]:
    """The operators that have conditions."""
    return frozenset(_RULES)
