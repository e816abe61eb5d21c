"""Random expressions: DEAP's grow, full and ramped half-and-half on the IR, with priors that hold by construction.

Everything random comes from the `Random` that is passed: equal streams, equal trees, in any process. What is never
worth evaluating is not generated rather than repaired: an operation undone by the next one, an operation on numbers
alone, an operand combined with itself. The same generator feeds the property tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from lossc.compiler import ops
from lossc.compiler.ir import CONST, LEAF_OPS, Expr, F, Y, node, postorder
from lossc.runtime.search.primitives import THESIS, Primitives
from lossc.runtime.search.trees import indices, replaced

TRIES = 200
"""Draws before a prior is given up for one tree: a set of functions may leave no way to fulfil it."""

_UNDOES: dict[str, frozenset[str]] = {
    "abs": frozenset({"abs", "square", "psqrt", "csqrt", "softplus", "exp", "relu"}),
    "sign": frozenset({"sign", "abs", "square", "psqrt", "csqrt", "tanh", "softplus", "exp"}),
    "square": frozenset({"sign", "psqrt", "csqrt", "abs"}),
    "psqrt": frozenset({"square", "abs", "sign"}),
    "csqrt": frozenset({"square", "abs", "sign"}),
    "plog": frozenset({"abs", "exp", "sign"}),
    "clog": frozenset({"abs", "exp", "sign"}),
    "tanh": frozenset({"sign", "tanh"}),
    "exp": frozenset({"plog", "clog", "log"}),
    "neg": frozenset({"neg"}),
}
"""Outer function -> inner ones that it makes pointless: the pair is a simpler function, a constant, or nearly so."""
_IDEMPOTENT_PAIRS = frozenset({"sub", "min", "max", "add", "aq"})
"""Binary functions that are simpler (or constant) when both operands are the same."""


@dataclass(frozen=True, slots=True)
class Priors:
    """What a generated loss must satisfy; the thesis's own generator has none (`Priors(False, False, False)`).

    needs_both   y and f occur
    plain        no pair of functions that undo each other, no operation on numbers alone, no x - x
    soft_length  trees longer than this are kept with a probability that falls with their length (0: all are)
    pair         how often a new tree gets a binary node of y and f for one of its leaves: most losses compare the two,
                 and a tree that never does is seldom one
    """

    needs_both: bool = True
    plain: bool = True
    soft_length: int = 0
    pair: float = 0.5

    def allow(self, tree: Expr, rng: Random) -> bool:
        """Whether the tree is worth evaluating by these priors."""
        if self.needs_both and not has_both(tree):
            return False
        if self.plain and not is_plain(tree):
            return False
        extra = tree.tree_size - self.soft_length
        return not (self.soft_length and extra > 0) or rng.random() < 0.8**extra


NO_PRIORS = Priors(needs_both=False, plain=False, pair=0.0)


def has_both(tree: Expr) -> bool:
    """Whether y and f both occur (thesis, section 3.2.2, constraint 1)."""
    found = set(postorder(tree))
    return Y in found and F in found


def is_plain(tree: Expr) -> bool:
    """Whether no operation of the tree is pointless where it stands."""
    for here in postorder(tree):
        if here.op in LEAF_OPS:
            continue
        if all(a.op == CONST for a in here.args):
            return False
        inner = here.args[0]
        if len(here.args) == 1 and inner.op in _UNDOES.get(here.op, ()):
            return False
        if here.op in _IDEMPOTENT_PAIRS and inner is here.args[-1] and len(here.args) == 2:
            return False
    return True


def full_or_grow(rng: Random, primitives: Primitives, low: int, high: int, *, full: bool) -> Expr:
    """One tree of height between `low` and `high` (Koza 1992): all leaves at one depth if `full`, else as it falls."""
    limit = rng.randint(low, high)
    stack: list[tuple[str, int]] = []
    done: list[Expr] = []
    pending: list[int] = [0]
    while pending:
        depth = pending.pop()
        leaf = depth >= limit if full else depth >= limit or (depth >= low and rng.random() < primitives.terminal_share)
        if not leaf:
            name = primitives.draw_function(rng)
            arity = ops.OPS[name].arity
            stack.append((name, arity))
            pending += [depth + 1] * arity
            done.append(_HOLE)
            continue
        done.append(primitives.draw_terminal(rng))
    return _assembled(done, stack)


_HOLE = node("num_classes")  # stands for an operation whose operands follow


def _assembled(prefix: list[Expr], functions: list[tuple[str, int]]) -> Expr:
    """The tree of a prefix list, holes standing for the functions in order."""
    names = list(functions)
    stack: list[Expr] = []
    for item in reversed(prefix):
        if item is _HOLE:
            name, arity = names.pop()
            args = [stack.pop() for _ in range(arity)]
            stack.append(node(name, *args))
        else:
            stack.append(item)
    return stack[0]


def half_and_half(rng: Random, primitives: Primitives = THESIS, low: int = 2, high: int = 4) -> Expr:
    """Ramped half-and-half: a full tree or a grown one, with even chances."""
    return full_or_grow(rng, primitives, low, high, full=rng.random() < 0.5)


def random_loss(
    rng: Random,
    primitives: Primitives = THESIS,
    *,
    low: int = 2,
    high: int = 4,
    max_nodes: int = 60,
    priors: Priors | None = None,
) -> Expr:
    """A random loss that the priors allow: drawn until one is, and repaired if none is (`with_both`)."""
    priors = priors or Priors()
    tree = half_and_half(rng, primitives, low, high)
    for _ in range(TRIES):
        if rng.random() < priors.pair:
            tree = with_pair(tree, rng, primitives)
        if tree.tree_size <= max_nodes and priors.allow(tree, rng):
            return tree
        tree = half_and_half(rng, primitives, low, high)
    return with_both(tree, rng, primitives)


def with_both(tree: Expr, rng: Random, primitives: Primitives = THESIS, names: tuple[str, ...] | None = None) -> Expr:
    """The required-argument repair of Fig. 3.2 (b): a random leaf becomes a random binary node of y and f.

    `names` are the binary functions to choose from; the public code takes the first four only. Trees that have both
    arguments stay as they are.
    """
    return tree if has_both(tree) else with_pair(tree, rng, primitives, names)


def with_pair(tree: Expr, rng: Random, primitives: Primitives = THESIS, names: tuple[str, ...] | None = None) -> Expr:
    """A random leaf becomes a random binary node of y and f, in random order."""
    index = rng.choice(indices(tree, leaves=True))
    pair = [Y, F] if rng.random() < 0.5 else [F, Y]
    return replaced(tree, index, node(rng.choice(names or primitives.of_arity(2)), *pair))
