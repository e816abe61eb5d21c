"""Value rewrites: the same real function, in a form that floating point keeps accurate and finite (numerics.md, V).

The rules are data over the canonical form (`stable_rules.py`); each is equal on the reals wherever its left side is
defined, and no less accurate in any format (the test suite proves both). Applied once the link is pulled in, and again
on derivatives, until nothing changes.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

from lossc.compiler.facts import Facts
from lossc.compiler.ir import Expr, postorder, rebuild
from lossc.compiler.loss import Loss
from lossc.compiler.ops import call
from lossc.compiler.passes.canonical.sums import is_sum, signed_parts, split_coefficient
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.passes.link import LINK_RULES
from lossc.compiler.passes.rewrite import Applied, Rule, by_operator, rewrite
from lossc.compiler.passes.stable_rules import STABLE_RULES


def _heads(a: Expr, b: Expr) -> frozenset[str]:
    """The operators of two terms, their coefficients aside ("const" for a number)."""
    return frozenset(base.op for base in (split_coefficient(a)[1], split_coefficient(b)[1]))


def _with_mirrors(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """The rules, and for a - b -> c the rule b - a -> -c where nothing is said of b - a."""
    known = {r.before for r in rules}
    pairs = [(r, call("sub", *reversed(r.before.args))) for r in rules if r.before.op == "sub" and r.family is None]
    return (*rules, *(replace(r, before=turned, after=-r.after) for r, turned in pairs if turned not in known))


RULES: tuple[Rule, ...] = _with_mirrors((*LINK_RULES, *STABLE_RULES))
SUM_RULES: tuple[Rule, ...] = tuple(r for r in RULES if r.before.op in ("add", "sub") and r.family is None)
_ALL, _SUMS = by_operator(RULES), by_operator(SUM_RULES)
ROUNDS = 8
PAIRS = frozenset(_heads(*r.before.args) for r in SUM_RULES)
"""Which two kinds of terms some rule is about: no other pair is tried."""
MAX_TERMS = 24
"""Sums longer than this are not searched for pairs."""


def stabilize(loss: Loss) -> Loss:
    """The same loss in a form that floating point keeps accurate: the V rules, to their fixed point, canonical."""
    return stabilize_report(loss)[0]


def stabilize_report(loss: Loss, *, canonical: bool = False) -> tuple[Loss, list[Applied]]:
    """`stabilize`, with the list of the rules that fired; `canonical` says that the loss is in canonical form."""
    facts = Facts(loss)
    body, applied = stable_expr(loss.body if canonical else canonical_expr(loss.body, facts), facts)
    made = replace(loss, body=body)
    same = (made.layout, made.reduces_itself) == (loss.layout, loss.reduces_itself)
    return (made, applied) if same else (loss, [])


def stable_expr(root: Expr, facts: Facts) -> tuple[Expr, list[Applied]]:
    """The rules applied to a canonical expression until none fires, canonical between rounds."""
    everything: list[Applied] = []
    here = root
    for _ in range(ROUNDS):
        made, applied = rewrite(here, _ALL, facts)
        made, paired = _rewrite_pairs(made, facts)
        applied += paired
        if not applied:
            break
        everything += applied
        made = canonical_expr(made, facts)
        if made is here:
            break
        here = made
    return here, everything


def _rewrite_pairs(root: Expr, facts: Facts) -> tuple[Expr, list[Applied]]:
    """Apply the rules to pairs of terms inside longer sums: the sqrt(u + 1) - 1 in sqrt(u + 1) + v - 1."""
    applied: list[Applied] = []
    done: dict[Expr, Expr] = {}
    order = postorder(root)
    inner = {a for n in order if is_sum(n) for a in n.args if is_sum(a)}
    for here in order:
        made = rebuild(here, (done[a] for a in here.args))
        if is_sum(here) and here not in inner:
            made = _one_pair(made, facts, applied)
        done[here] = made
    return done[root], applied


def _one_pair(total: Expr, facts: Facts, applied: list[Applied]) -> Expr:
    parts = signed_parts(total)
    if not 2 < len(parts) <= MAX_TERMS:
        return total
    for i, j in combinations(range(len(parts)), 2):
        if _heads(parts[i][0], parts[j][0]) not in PAIRS:
            continue
        for sign in (1, -1):
            pair = canonical_expr(_added([(parts[k][0], sign * parts[k][1]) for k in (i, j)]), facts)
            made, fired = rewrite(pair, _SUMS, facts)
            if fired:
                applied += fired
                return _added([*(p for k, p in enumerate(parts) if k not in (i, j)), (made, sign)])
    return total


def _added(parts: list[tuple[Expr, int]]) -> Expr:
    out = parts[0][0] if parts[0][1] > 0 else -parts[0][0]
    for x, sign in parts[1:]:
        out = out + x if sign > 0 else out - x
    return out
