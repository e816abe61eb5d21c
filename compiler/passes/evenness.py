"""Absolute values that an even function makes needless (docs/numerics.md, G2).

cos(|u|), tanh(|u|)^2 and min(|u|/c, 1)^2 are smooth at u = 0, but reverse mode multiplies by the slope of |u| there,
which is 0: the gradient is right, and the second derivative is 0 whatever it should be. An even function of |u| is the
same function of u, so |u| becomes u inside it. Squares are first taken inside min and max of nonnegative numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import or_

from lossc.compiler import ops
from lossc.compiler.facts import Facts
from lossc.compiler.ir import (
    CONST,
    LEAF_OPS,
    Expr,
    const,
    fold,
    is_writable,
    live_nodes,
    node,
    postorder,
    rebuild,
    substitute,
)
from lossc.compiler.passes.rewrite import Applied


def without_needless_abs(root: Expr, facts: Facts) -> tuple[Expr, list[Applied]]:
    """The expression without the absolute values that stand inside an even function of them."""
    if not any(n.op == "abs" for n in postorder(root)):
        return root, []
    root = _squares_inside(root, facts)
    order = postorder(root)
    live = live_nodes(root)
    sizes = [n for n in order if n.op == "abs" and n in live]
    bits = {size: 1 << i for i, size in enumerate(sizes)}
    parity: dict[Expr, _Parity] = {}
    done: dict[Expr, Expr] = {}
    dropped: dict[Expr, None] = {}
    for here in order:
        inner = [parity[a] for a in here.args]
        parity[here] = found = _parity(here, inner, bits.get(here, 0))
        needless = found.even & _any(p.odd for p in inner)
        if needless:
            mapping = {size: size.args[0] for size in sizes if bits[size] & needless}
            dropped.update(dict.fromkeys(mapping))
            done[here] = substitute(here, mapping)
        else:
            done[here] = rebuild(here, (done[a] for a in here.args))
    return done[root], [Applied("G2", size) for size in dropped]


# -- parity, for all absolute values at once: a bit each --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Parity:
    """For which |u| the value is even or odd when |u| becomes -|u|, and for which it is neither."""

    even: int = 0
    odd: int = 0
    neither: int = 0


def _any(masks: Iterable[int]) -> int:
    return reduce(or_, masks, 0)


def _parity(here: Expr, inner: list[_Parity], own: int) -> _Parity:
    """The parity of an operation from that of its operands; `own` is the bit of an absolute value."""
    if here.op in LEAF_OPS or not inner:
        return _Parity()
    neither, some_odd = _any(p.neither for p in inner), _any(p.odd for p in inner)
    all_of_them = neither | some_odd | _any(p.even for p in inner)
    odd, even = _odd(here, inner), 0
    even = (all_of_them if _is_even(here, inner) else all_of_them & ~some_odd | _cancelled(here, inner)) & ~odd
    return _Parity(even & ~neither & ~own, odd & ~neither & ~own | own, all_of_them & ~(odd | even) | neither & ~own)


def _odd(here: Expr, inner: list[_Parity]) -> int:
    """For which |u| the operation changes its sign."""
    if here.op in ("mul", "div"):
        return inner[0].odd ^ inner[1].odd
    if here.op in ("add", "sub", "where"):
        return inner[-2].odd & inner[-1].odd & ~(inner[0].odd if here.op == "where" else 0)
    if here.op == "pow":
        return inner[0].odd & ~inner[1].odd if _whole(here) % 2 else 0
    if here.op == "aq":
        return inner[0].odd
    return inner[0].odd if _shape(here) == "odd" or here.op == "neg" else 0


def _cancelled(here: Expr, inner: list[_Parity]) -> int:
    """For which |u| two odd factors make an even product."""
    if here.op in ("mul", "div"):
        return inner[0].odd & inner[1].odd
    return inner[1].odd & ~inner[0].odd if here.op == "aq" else 0


def _is_even(here: Expr, inner: list[_Parity]) -> bool:
    """Whether the operation is even in each operand alone and in all together."""
    whole = _whole(here) if here.op == "pow" else 1
    return here.op in ("square", "hypot") or _shape(here) == "even" or (whole != 0 and whole % 2 == 0)


def _shape(here: Expr) -> str:
    record = ops.record(here)
    return record.parity if record.arity == 1 and not record.axis else ""


def _whole(here: Expr) -> int:
    """The exponent of a power, if it is a whole number other than 0; else 0."""
    p = here.args[1]
    return p.number.numerator if p.op == CONST and p.number.denominator == 1 else 0


# -- squares ----------------------------------------------------------------------------------------------------------


def _squares_inside(root: Expr, facts: Facts) -> Expr:
    """min(a, b)^2 as min(a^2, b^2), and max, for nonnegative a and b, one with an absolute value as a factor."""

    def visit(here: Expr, args: list[Expr]) -> Expr:
        made = rebuild(here, args)
        return _square_of(made.args[0], facts) or made if made.op == "square" else made

    return fold(root, visit)


def _square_of(x: Expr, facts: Facts) -> Expr | None:
    """x^2 with the square taken inside a min or max, also one that is a factor of x; None if there is none."""
    if x.op in ("mul", "div"):
        found = [_square_of(a, facts) for a in x.args] if x.depth < _DEEP else [None]
        if not any(found):
            return None
        return node(x.op, *(made or _squared(a) for made, a in zip(found, x.args, strict=True)))
    if x.op not in ("min", "max") or not all(facts.nonnegative(a) for a in x.args):
        return None
    return node(x.op, *map(_squared, x.args)) if any(_has_abs_factor(a) for a in x.args) else None


_DEEP = 50
"""A product that is nested deeper than this is not searched."""


def _has_abs_factor(x: Expr) -> bool:
    stack = [x]
    while stack:
        here = stack.pop()
        if here.op == "abs":
            return True
        stack += here.args if here.op in ("mul", "div") else ()
    return False


def _squared(x: Expr) -> Expr:
    exact = x.number**2 if x.op == CONST else None
    return const(exact) if exact is not None and is_writable(exact) else node("square", x)
