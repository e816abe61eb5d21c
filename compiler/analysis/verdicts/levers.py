"""The expressions at whose zeros a function may bend, jump or end; and the function with one side of each taken.

Between two such zeros every operator takes one side only: |x| is x or -x. With that side in its place the function is
analytic, and its derivatives are those of the loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import TypeAlias

from lossc.compiler import ops
from lossc.compiler.facts import Facts
from lossc.compiler.ir import LEAF_OPS, ONE, ZERO, Expr, F, const, postorder, rebuild
from lossc.compiler.ops import call
from lossc.compiler.passes.canonicalize import canonical_exprs
from lossc.compiler.passes.domain import conditions

JUMPING = frozenset({"sign", "heaviside", "where", "atan2"})
"""Operators that may jump where they have a value on both sides."""
Side: TypeAlias = "Callable[[Expr], int | None]"
"""The sign of a lever: -1, 0 or 1; None where it has no value."""
NOWHERE = call("log", -ONE)
"""An expression without a value."""


def levers(body: Expr, facts: Facts, leaf: Expr = F) -> list[Expr]:
    """All levers that `leaf` enters, canonical, the inner ones first."""
    found: dict[Expr, None] = {}
    live = {leaf}
    for here in postorder(body):
        if any(a in live for a in here.args):
            live.add(here)
            found.update(dict.fromkeys(_raw(here)))
    for condition in conditions(body, facts):
        found.update(dict.fromkeys(condition.operands))
    canonical = dict.fromkeys(canonical_exprs(found, facts))
    entered = [k for k in canonical if any(n is leaf for n in postorder(k))]
    return sorted(entered, key=lambda k: (k.tree_size, k.digest))


def _raw(here: Expr) -> Iterator[Expr]:
    """The levers of one operator, as they are written."""
    record = ops.record(here)
    yield from record.kinks(*here.args)
    yield from record.singular(*here.args)
    if here.op in _SIDES:
        yield from _SIDES[here.op][0](here.args)
    elif record.gives == ops.BOOL_KIND:
        yield here.args[0] - here.args[1]
    elif here.op == "tan":
        yield call("cos", here.args[0])


def is_smooth_operator(here: Expr) -> bool:
    """Whether the operator has no lever of its own: analytic wherever it has a value."""
    return here.op in LEAF_OPS or next(_raw(here), None) is None


def resolved(body: Expr, facts: Facts, side: Side) -> Expr:
    """The body with each operator that has sides replaced by the one that it takes; NOWHERE where it has none."""
    done: dict[Expr, Expr] = {}
    for here in postorder(body):
        args = [done[a] for a in here.args]
        if here.op != "where" and here.op not in _SIDES:
            done[here] = rebuild(here, args) if here.args else here
            continue
        test = here.args[0]
        raw = [test.args[0] - test.args[1]] if here.op == "where" else _SIDES[here.op][0](here.args)
        signs = [s for k in canonical_exprs(raw, facts) if (s := side(k)) is not None]
        if len(signs) < len(raw):
            done[here] = NOWHERE
        elif here.op == "where":
            done[here] = args[1] if _TRUTH[test.op](signs[0]) else args[2]
        else:
            done[here] = _SIDES[here.op][1](args, signs)
    return done[body]


def _with_sign(a: Expr, s: int) -> Expr:
    return a if s > 0 else -a if s < 0 else ZERO


def _shifted(a: Expr, s: int) -> Expr:
    return _with_sign(a, s) + call("eps")


def _floored(a: Expr, signs: Sequence[int]) -> Expr:
    """max(|a|, ε), from the signs of a and of |a| - ε."""
    return _with_sign(a, signs[0]) if signs[1] > 0 else call("eps")


def _clamped(args: Sequence[Expr], signs: Sequence[int]) -> Expr:
    """min(max(x, lo), hi), from the signs of x - lo, x - hi and lo - hi."""
    if signs[0] >= 0:
        return args[0] if signs[1] <= 0 else args[2]
    return args[1] if signs[2] <= 0 else args[2]


def _angle(args: Sequence[Expr], signs: Sequence[int]) -> Expr:
    """atan2(y, x), from the signs of y and x: the side of the cut along negative x is that of y."""
    y, x = args
    half = signs[0] * call("pi")
    if signs[1] == 0:
        return half / 2 if signs[0] else NOWHERE
    turn = (call("pi") if signs[0] == 0 else half) if signs[1] < 0 else ZERO
    return call("atan", y / x) + turn


def _own(args: Sequence[Expr]) -> list[Expr]:
    return [args[0]]


def _difference(args: Sequence[Expr]) -> list[Expr]:
    return [args[0] - args[1]]


def _to_epsilon(args: Sequence[Expr]) -> list[Expr]:
    return [args[0], call("abs", args[0]) - call("eps")]


_Levers: TypeAlias = Callable[[Sequence[Expr]], list[Expr]]
_Choice: TypeAlias = Callable[[Sequence[Expr], Sequence[int]], Expr]
_SIDES: dict[str, tuple[_Levers, _Choice]] = {
    "abs": (_own, lambda a, s: _with_sign(a[0], s[0])),
    "sign": (_own, lambda a, s: const(s[0])),
    "heaviside": (_own, lambda a, s: const(Fraction(1 + s[0], 2))),
    "relu": (_own, lambda a, s: a[0] if s[0] > 0 else ZERO),
    "max": (_difference, lambda a, s: a[0] if s[0] >= 0 else a[1]),
    "min": (_difference, lambda a, s: a[0] if s[0] <= 0 else a[1]),
    "clamp": (lambda a: [a[0] - a[1], a[0] - a[2], a[1] - a[2]], _clamped),
    "plog": (_own, lambda a, s: call("log", _shifted(a[0], s[0]))),
    "psqrt": (_own, lambda a, s: call("sqrt", _shifted(a[0], s[0]))),
    "atan2": (lambda a: [a[0], a[1]], _angle),
    "clog": (_to_epsilon, lambda a, s: call("log", _floored(a[0], s))),
    "csqrt": (_to_epsilon, lambda a, s: call("sqrt", _floored(a[0], s))),
}
"""For each operator with sides: its levers, and what it is where they have given signs."""

_TRUTH: dict[str, Callable[[int], bool]] = {
    "lt": lambda s: s < 0, "le": lambda s: s <= 0, "gt": lambda s: s > 0, "ge": lambda s: s >= 0,
    "eq": lambda s: s == 0, "ne": lambda s: s != 0,
}  # fmt: skip
