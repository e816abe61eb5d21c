"""Cross-entropies written as a difference, whose two terms are nearly equal where the model is right (V10).

    softplus(a) - b*a             is  b*softplus(-a) + (1 - b)*softplus(a)
    logsumexp_c(a) - sum_c(b*a)   is  -sum_c(b*log_softmax(a)),  where b sums to 1 over the classes

For b in [0, 1] the right sides add numbers of one sign: at a = 20 and b = 1 they are 2e-9, and the left side is 0 in
float32.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossc.compiler.facts import Facts
from lossc.compiler.ir import CONST, ONE, Expr
from lossc.compiler.loss import varies
from lossc.compiler.ops import call
from lossc.compiler.passes.canonical.sums import is_sum, signed_parts
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.passes.families import added, factors, is_short, multiplied, terms

Part = tuple[Expr, int]
"""A term of a sum, and its sign."""


def two_classes(here: Expr, facts: Facts) -> Expr | None:
    """softplus(a) - b*a for b in [0, 1], with any common factor and among other terms; -logsigmoid(-a) is softplus(a).

    With b = 1 it is softplus(-a).
    """
    for k, a, rest in _terms_with(here, ("softplus", "logsigmoid")):
        for b in _weights(rest, facts):
            weight = k if b is ONE else k * b
            left = _without(rest, weight * a, facts)
            if left is None and is_sum(a):
                left = _without(rest, added((weight * t, s) for t, s in signed_parts(a)), facts)
            if left is not None:
                right, wrong = call("softplus", -a), call("softplus", a)
                made = right if b is ONE else b * right + (1 - b) * wrong
                return added([(k * made, 1), *left])
    return None


def many_classes(here: Expr, facts: Facts) -> Expr | None:
    """logsumexp_c(a) - sum_c(b*a) for b that sums to 1, with any common factor and among other terms."""
    for k, a, rest in _terms_with(here, ("logsumexp_c",)):
        if varies(k):
            continue
        for b in _distributions(rest, facts):
            left = _without(rest, k * call("sum_c", b * a), facts)
            if left is not None:
                return added([(k * call("sum_c", b * call("log_softmax", a)), -1), *left])
    return None


def _terms_with(here: Expr, wanted: tuple[str, ...]) -> Iterator[tuple[Expr, Expr, list[Part]]]:
    """`(k, a, rest)` with here = k*op(a) + rest, for each term with one of the operators; logsigmoid as -softplus."""
    if not is_short(here):
        return
    parts = signed_parts(here)
    for i, (part, sign) in enumerate(parts):
        coefficient, found = factors(part)
        for base in [b for b, n in found.items() if b.op in wanted and n == 1]:
            turned = base.op == "logsigmoid"
            k = multiplied(coefficient * (-sign if turned else sign), {b: n for b, n in found.items() if b is not base})
            yield k, -base.args[0] if turned else base.args[0], [p for j, p in enumerate(parts) if j != i]


def _weights(rest: list[Part], facts: Facts) -> list[Expr]:
    """1, and the factors of the terms that lie between 0 and 1: labels, probabilities, and what they leave of 1."""
    bases = [b for part, _ in rest for b, n in factors(part)[1].items() if n >= 1 and b.op != CONST]
    return [ONE, *dict.fromkeys(b for b in bases if facts.range(b).lo >= 0 and facts.range(b).hi <= 1)]


def _distributions(rest: list[Part], facts: Facts) -> list[Expr]:
    """What the terms are averages by: the factors, inside their sums over the classes, that sum to 1."""
    sums = [b for part, _ in rest for b, n in factors(part)[1].items() if b.op == "sum_c" and n == 1]
    inside = [(b, n) for total in sums for b, n in factors(total.args[0])[1].items()]
    return list(dict.fromkeys(b for b, n in inside if n == 1 and facts.sums_to_one(b)))


def _without(rest: list[Part], gone: Expr, facts: Facts) -> list[Part] | None:
    """The terms of rest + gone, if `gone` takes as many of them away as it has itself."""
    left = terms(added(rest) + gone, facts)
    return left if len(rest) - len(left) == len(signed_parts(canonical_expr(gone, facts))) else None
