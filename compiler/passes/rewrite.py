"""Rewrite rules as data, and the one engine that applies them.

A rule is a pair of patterns, written as expressions over the wildcards A and B (`Rule("V4", before=log(sigmoid(A)),
after=logsigmoid(A), ...)`). A wildcard stands for any expression, the same one wherever it occurs; the arguments of
commutative operators match in either order. What no pattern can say (a sum of any number of exponentials, a square with
any factors) a rule says by a function; its patterns are then the simplest case. Rules cite reference numbers (V1-V34)
and say what makes them safe; those after V34 are our own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lossc.compiler import ops
from lossc.compiler.facts import Facts
from lossc.compiler.ir import LEAF_OPS, Expr, param, postorder, rebuild, substitute

A, B = param("?a"), param("?b")
_WILD = frozenset({A, B})
"""The wildcards. No hyper-parameter can have these names."""

Given = Callable[[Facts, "Bindings"], bool]
"""What must certainly hold of the wildcards under the facts of the loss for a rule to apply."""

Bindings = dict[Expr, Expr]

Family = Callable[[Expr, Facts], Expr | None]
"""What becomes of a node; None if the rule is not about it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """`before` becomes `after` for all wildcards that `given` admits; `why` says what that gains.

    With `family` the rule is that function, at nodes of the operators `heads`, and the patterns show its simplest case.
    """

    id: str
    before: Expr
    after: Expr
    why: str = ""
    given: Given | None = None
    family: Family | None = None
    heads: tuple[str, ...] = ()

    @property
    def conditional(self) -> bool:
        """Whether it needs more than its pattern."""
        return self.given is not None or self.family is not None


@dataclass(frozen=True, slots=True)
class Applied:
    """One thing that a pass did: the id of the rule, and the expression that it changed."""

    rule: str
    where: Expr


def match(pattern: Expr, here: Expr) -> Bindings | None:
    """What the wildcards must stand for so that `pattern` is `here`; None if it cannot be."""
    return _match([(pattern, here)], {})


def _match(todo: list[tuple[Expr, Expr]], bound: Bindings) -> Bindings | None:
    """Match all pairs; recursion is only over the two orders of a commutative node of the (small) pattern."""
    todo, bound = list(todo), dict(bound)
    while todo:
        pattern, here = todo.pop()
        if pattern is here:
            continue
        if pattern in _WILD:
            if bound.setdefault(pattern, here) is not here:
                return None
            continue
        if pattern.op != here.op or pattern.op in LEAF_OPS or len(pattern.args) != len(here.args):
            return None
        if ops.OPS[pattern.op].commutative:
            first, second = here.args
            for pair in ((first, second), (second, first)):
                found = _match([*todo, *zip(pattern.args, pair, strict=True)], bound)
                if found is not None:
                    return found
            return None
        todo += zip(pattern.args, here.args, strict=True)
    return bound


STEPS = 32
"""No node is rewritten more often than this in one pass: rules that undo each other must not hang a compiler."""

Index = dict[str, list[Rule]]
"""Rules by the operators that they are about."""


def rewrite(root: Expr, rules: Sequence[Rule] | Index, facts: Facts | None = None) -> tuple[Expr, list[Applied]]:
    """Apply the rules bottom-up, the first that matches at each node, until none does; and say what was applied.

    Rules with a condition apply only where `facts` are given and settle it. Rules that are used often come by operator
    (`by_operator`).
    """
    index = rules if isinstance(rules, dict) else by_operator(rules)
    done: dict[Expr, Expr] = {}
    applied: list[Applied] = []
    for here in postorder(root):
        made = rebuild(here, (done[a] for a in here.args))
        for _ in range(STEPS):
            found = _step(made, index, facts)
            if found is None:
                break
            rule, after = found
            applied.append(Applied(rule.id, made))
            made = after
        done[here] = made
    return done[root], applied


def _step(here: Expr, index: Index, facts: Facts | None) -> tuple[Rule, Expr] | None:
    for rule in index.get(here.op, ()):
        if rule.family is not None:
            made = None if facts is None else rule.family(here, facts)
            if made is not None and made is not here:
                return rule, made
            continue
        if not _plausible(rule.before, here):
            continue
        bound = match(rule.before, here)
        if bound is not None and (rule.given is None or (facts is not None and rule.given(facts, bound))):
            return rule, substitute(rule.after, bound)
    return None


def _plausible(pattern: Expr, here: Expr) -> bool:
    """A quick look at the operators of the arguments, which most patterns do not survive."""
    if ops.OPS[pattern.op].commutative:
        wanted = {p.op for p in pattern.args if p not in _WILD}
        return wanted <= {a.op for a in here.args}
    return all(p in _WILD or p.op == a.op for p, a in zip(pattern.args, here.args, strict=True))


def by_operator(rules: Iterable[Rule]) -> Index:
    """The rules by the operators at whose nodes they can apply, in order."""
    index: Index = {}
    for rule in rules:
        for head in rule.heads or (rule.before.op,):
            index.setdefault(head, []).append(rule)
    return index
