"""The identities of the other operators: general ones from the records (parity, exact values), then special ones.

Each special rule keeps the domain: it fires only where the right side is defined exactly where the left side is.
"""

from __future__ import annotations

from collections.abc import Callable

from lossc.compiler import ops
from lossc.compiler.facts import Facts
from lossc.compiler.interval import Interval
from lossc.compiler.ir import CONST, HALF, ONE, ZERO, Expr, const, node
from lossc.compiler.loss import varies
from lossc.compiler.passes.canonical.order import sort_key
from lossc.compiler.passes.canonical.powers import absolute, power, product, root
from lossc.compiler.passes.canonical.sums import collect, negate, sign_normal, split_coefficient

Rule = Callable[[tuple[Expr, ...], Facts], Expr | None]


def total_sum(facts: Facts, *parts: tuple[Expr, int]) -> Expr:
    """The canonical sum of canonical parts with whole multiplicities."""
    items: dict[Expr, int] = {}
    for x, n in parts:
        items[x] = items.get(x, 0) + n
    return collect(items, facts)


def apply(op: str, args: tuple[Expr, ...], facts: Facts) -> Expr:
    """The canonical form of op(*args), for canonical arguments and an op that is not arithmetic."""
    special = SPECIAL.get(op)
    if special is not None:
        found = special(args, facts)
        if found is not None:
            return found
    record = ops.OPS[op]
    if record.arity == 1 and not record.axis:
        return _unary(record, args[0], facts)
    if record.arity == 2 and record.commutative:
        args = tuple(sorted(args, key=sort_key))
    return node(op, *args)


def _unary(record: ops.OpRecord, x: Expr, facts: Facts) -> Expr:
    if x.op == CONST and x.number in record.exact:
        return const(record.exact[x.number])
    if record.idempotent and x.op == record.name:
        return x
    if record.parity:
        sign, x = sign_normal(x, facts)
        made = node(record.name, x)
        return negate(made, facts) if sign < 0 and record.parity == "odd" else made
    return node(record.name, x)


# -- one argument -----------------------------------------------------------------------------------------------------


def _sign(args: tuple[Expr, ...], facts: Facts) -> Expr | None:
    (x,) = args
    known = facts.range(x)
    if known.total and (known.lo > 0 or known.hi < 0 or known.lo == known.hi == 0):
        return const(int(known.lo > 0) - int(known.hi < 0))
    c, base = split_coefficient(x)
    if c not in (0, 1) and base is not ONE:
        sign = apply("sign", (base,), facts)
        return negate(sign, facts) if c < 0 else sign
    return x if x.op == "sign" else None


def _heaviside(args: tuple[Expr, ...], facts: Facts) -> Expr | None:
    known = facts.range(args[0])
    if known.total and (known.lo > 0 or known.hi < 0):
        return ONE if known.lo > 0 else ZERO
    return HALF if args[0] is ZERO else None


def _relu(args: tuple[Expr, ...], facts: Facts) -> Expr | None:
    known = facts.range(args[0])
    if known.lo >= 0:
        return args[0]
    return ZERO if known.total and known.hi <= 0 else None


def _exp(args: tuple[Expr, ...], facts: Facts) -> Expr | None:
    (x,) = args
    if x is ONE:
        return node("e")
    c, base = split_coefficient(x)
    if base.op == "log" and facts.positive(base.args[0]) and c.denominator == 1 and abs(c) <= 64:
        return power(base.args[0], const(c), facts)
    return None


def _log(args: tuple[Expr, ...], facts: Facts) -> Expr | None:
    (x,) = args
    if x.op == "e":
        return ONE
    if x.op == "exp":
        return x.args[0]
    if x.op == "sqrt":
        return product(facts, (HALF, 1), (apply("log", (x.args[0],), facts), 1))
    if x.op == "pow" and x.args[1].op == CONST and x.args[1].number != 0:
        base, n = x.args[0], x.args[1]
        even = n.number.denominator == 1 and n.number % 2 == 0
        inner = absolute(base, facts) if even else base
        return product(facts, (n, 1), (apply("log", (inner,), facts), 1))
    if x.op == "div" and x.args[0] is ONE and x.args[1] is not ZERO:
        return negate(apply("log", (x.args[1],), facts), facts)
    if x.op == "mul" and any(a.op == "exp" for a in x.args):
        grown, rest = x.args if x.args[0].op == "exp" else reversed(x.args)
        return total_sum(facts, (grown.args[0], 1), (apply("log", (rest,), facts), 1))
    return None


def _inverse(outer: str, inner: str) -> Rule:
    def rule(args: tuple[Expr, ...], facts: Facts) -> Expr | None:
        sign, x = sign_normal(args[0], facts) if ops.OPS[outer].parity == "odd" else (1, args[0])
        if x.op != inner or not (facts.total(x) or outer in _TOTAL_ON_RANGE):
            return None
        return x.args[0] if sign > 0 else negate(x.args[0], facts)

    return rule


_TOTAL_ON_RANGE = frozenset({"log1p", "asinh"})
"""Outer functions whose pair is everywhere defined: log1p(expm1(x)), asinh(sinh(x))."""


# -- several arguments ------------------------------------------------------------------------------------------------


def _extreme(op: str) -> Rule:
    keep_first = (lambda a, b: a.lo >= b.hi) if op == "max" else (lambda a, b: a.hi <= b.lo)

    def rule(args: tuple[Expr, ...], facts: Facts) -> Expr | None:
        items: list[Expr] = []
        stack = list(args)
        while stack:
            x = stack.pop()
            if x.op == op:
                stack += x.args
            elif x not in items:
                items.append(x)
        numbers = [x.number for x in items if x.op == CONST]
        if len(numbers) > 1:
            best = const((max if op == "max" else min)(numbers))
            items = [x for x in items if x.op != CONST] + [best]
        items.sort(key=sort_key)
        items = _without_dominated(items, keep_first, facts)
        out = items[0]
        for x in items[1:]:
            out = node(op, out, x)
        return out

    return rule


def _without_dominated(items: list[Expr], wins: Callable[[Interval, Interval], bool], facts: Facts) -> list[Expr]:
    ranges = {x: facts.range(x) for x in items}
    kept = list(items)
    for x in items:
        if ranges[x].total and any(y is not x and wins(ranges[y], ranges[x]) for y in kept):
            kept.remove(x)
    return kept


def _clamp(args: tuple[Expr, ...], facts: Facts) -> Expr | None:
    x, lo, hi = args
    if x.op == lo.op == hi.op == CONST:
        return const(min(max(x.number, lo.number), hi.number))
    inside, low, high = facts.range(x), facts.range(lo), facts.range(hi)
    if low.total and high.total and inside.lo >= low.hi and inside.hi <= high.lo:
        return x
    return None


def _where(args: tuple[Expr, ...], facts: Facts) -> Expr | None:
    condition, then, otherwise = args
    known = facts.range(condition)
    if known.total and known.is_point:
        return then if known.lo >= 1 else otherwise
    return then if then is otherwise and known.total else None


def _flipped(op: str, other: str) -> Rule:
    def rule(args: tuple[Expr, ...], facts: Facts) -> Expr | None:
        return node(other, args[1], args[0])

    return rule


def _hypot(args: tuple[Expr, ...], facts: Facts) -> Expr | None:
    x, y = (sign_normal(a, facts)[1] for a in args)
    if ZERO in (x, y):
        return absolute(y if x is ZERO else x, facts)
    return node("hypot", *sorted((x, y), key=sort_key))


def _aq(args: tuple[Expr, ...], facts: Facts) -> Expr | None:
    x, y = args
    y = sign_normal(y, facts)[1]
    if y is ZERO:
        return x
    if x is ZERO and facts.total(y):
        return ZERO
    sign, x = sign_normal(x, facts)
    made = node("aq", x, y)
    return negate(made, facts) if sign < 0 else made


def _logaddexp(args: tuple[Expr, ...], facts: Facts) -> Expr | None:
    x, y = args
    return total_sum(facts, (x, 1), (node("log", const(2)), 1)) if x is y else None


# -- along the class axis ---------------------------------------------------------------------------------------------


def _sum_c(args: tuple[Expr, ...], facts: Facts) -> Expr | None:
    (x,) = args
    if not varies(x):
        return product(facts, (x, 1), (node("num_classes"), 1))
    if facts.sums_to_one(x) and facts.total(x):
        return ONE
    shared, own = _split_shared(x, facts)
    return None if shared is ONE else product(facts, (shared, 1), (apply("sum_c", (own,), facts), 1))


def _mean_c(args: tuple[Expr, ...], facts: Facts) -> Expr | None:
    (x,) = args
    if not varies(x):
        return x
    shared, own = _split_shared(x, facts)
    return None if shared is ONE else product(facts, (shared, 1), (apply("mean_c", (own,), facts), 1))


def _split_shared(x: Expr, facts: Facts) -> tuple[Expr, Expr]:
    """x = shared * own, where shared is the same at every class."""
    shared: list[tuple[Expr, int]] = []
    own: list[tuple[Expr, int]] = []
    stack = [(x, 1)]
    while stack:
        here, n = stack.pop()
        if here.op in ("mul", "div"):
            stack += [(here.args[0], n), (here.args[1], n if here.op == "mul" else -n)]
        elif here.op == "neg":
            shared.append((const(-1), 1))
            stack.append((here.args[0], n))
        else:
            (own if varies(here) else shared).append((here, n))
    return product(facts, *shared), product(facts, *own)


def _if_shared(result: Callable[[Expr, Facts], Expr], forgets_x: bool = False) -> Rule:
    def rule(args: tuple[Expr, ...], facts: Facts) -> Expr | None:
        (x,) = args
        return None if varies(x) or (forgets_x and not facts.total(x)) else result(x, facts)

    return rule


def _log_count(facts: Facts) -> Expr:
    return node("log", node("num_classes"))


def _inverse_count(facts: Facts) -> Expr:
    return product(facts, (node("num_classes"), -1))


def _log_of_other_classes(x: Expr, facts: Facts) -> Expr:
    """log(1 - 1/C)"""
    return apply("log", (total_sum(facts, (ONE, 1), (_inverse_count(facts), -1)),), facts)


SPECIAL: dict[str, Rule] = {
    "abs": lambda args, facts: absolute(args[0], facts),
    "sqrt": lambda args, facts: root(args[0], facts),
    "sign": _sign,
    "heaviside": _heaviside,
    "relu": _relu,
    "exp": _exp,
    "log": _log,
    "log1p": _inverse("log1p", "expm1"),
    "expm1": _inverse("expm1", "log1p"),
    "asinh": _inverse("asinh", "sinh"),
    "sinh": _inverse("sinh", "asinh"),
    "tan": _inverse("tan", "atan"),
    "max": _extreme("max"),
    "min": _extreme("min"),
    "clamp": _clamp,
    "where": _where,
    "gt": _flipped("gt", "lt"),
    "ge": _flipped("ge", "le"),
    "hypot": _hypot,
    "aq": _aq,
    "logaddexp": _logaddexp,
    "sum_c": _sum_c,
    "mean_c": _mean_c,
    "max_c": _if_shared(lambda x, facts: x),
    "logsumexp_c": _if_shared(lambda x, facts: total_sum(facts, (x, 1), (_log_count(facts), 1))),
    "softmax": _if_shared(lambda x, facts: product(facts, (node("num_classes"), -1)), True),
    "log_softmax": _if_shared(lambda x, facts: negate(_log_count(facts), facts), True),
    "cosoftmax": _if_shared(lambda x, facts: total_sum(facts, (ONE, 1), (_inverse_count(facts), -1)), True),
    "log_cosoftmax": _if_shared(_log_of_other_classes, True),
}
