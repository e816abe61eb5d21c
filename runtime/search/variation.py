"""Variation operators on expressions: DEAP's two, and the mix of regularised evolution. Pure functions of a stream.

DEAP's own `cxOnePoint` gives different results in different processes for one seed (it iterates over a set of types);
these depend on the stream alone. A child beyond the limits is drawn again, and is its first parent if none fits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from lossc.compiler import ops
from lossc.compiler.ir import LEAF_OPS, Expr, node
from lossc.runtime.search.generate import Priors, half_and_half, with_both
from lossc.runtime.search.primitives import THESIS, Primitives
from lossc.runtime.search.trees import height, indices, replaced, subtree


@dataclass(frozen=True)
class Limits:
    """How large a child may be: height in edges (10 in the public code), nodes of the tree."""

    height: int = 10
    nodes: int = 100

    def allow(self, tree: Expr) -> bool:
        """Whether the tree keeps both."""
        return height(tree) <= self.height and tree.tree_size <= self.nodes


@dataclass(frozen=True)
class Variation:
    """What every operator needs: primitives, limits and priors, and how often a child is drawn again."""

    primitives: Primitives = THESIS
    limits: Limits = field(default_factory=Limits)
    priors: Priors = field(default_factory=Priors)
    tries: int = 20

    def fits(self, child: Expr, rng: Random) -> bool:
        """Whether a child may go on."""
        return self.limits.allow(child) and self.priors.allow(child, rng)

    def first_fit(self, rng: Random, parent: Expr, draw: Callable[[], Expr]) -> Expr:
        """The first child that fits; else one with both arguments if that is within the limits; else the parent."""
        child = parent
        for _ in range(self.tries):
            child = draw()
            if self.fits(child, rng):
                return child
        if self.priors.needs_both:
            child = with_both(child, rng, self.primitives)
        return child if self.limits.allow(child) else parent


def one_point(rng: Random, first: Expr, second: Expr, how: Variation) -> Expr:
    """One-point crossover: a subtree of the first is replaced by one of the second, neither being a root.

    A parent that is a single leaf has nothing to exchange: the child is the first.
    """
    if first.tree_size < 2 or second.tree_size < 2:
        return first

    def draw() -> Expr:
        here = rng.randrange(1, first.tree_size)
        return replaced(first, here, subtree(second, rng.randrange(1, second.tree_size)))

    return how.first_fit(rng, first, draw)


def uniform(rng: Random, parent: Expr, how: Variation, low: int = 0, high: int = 2) -> Expr:
    """Uniform mutation: a random subtree is replaced by a new one of height `low` to `high`."""

    def draw() -> Expr:
        return replaced(parent, rng.randrange(parent.tree_size), half_and_half(rng, how.primitives, low, high))

    return how.first_fit(rng, parent, draw)


def point(rng: Random, parent: Expr, how: Variation) -> Expr:
    """One node becomes another of its arity; its operands stay."""

    def draw() -> Expr:
        index = rng.randrange(parent.tree_size)
        here = subtree(parent, index)
        if here.op in LEAF_OPS:
            return replaced(parent, index, how.primitives.draw_terminal(rng))
        names = how.primitives.of_arity(ops.OPS[here.op].arity)
        return replaced(parent, index, node(rng.choice(names), *here.args)) if names else parent

    return how.first_fit(rng, parent, draw)


def insert(rng: Random, parent: Expr, how: Variation) -> Expr:
    """A new function is put on an edge, the subtree below it being one of its operands."""

    def draw() -> Expr:
        index = rng.randrange(parent.tree_size)
        name = how.primitives.draw_function(rng)
        args = [how.primitives.draw_terminal(rng) for _ in range(ops.OPS[name].arity)]
        args[rng.randrange(len(args))] = subtree(parent, index)
        return replaced(parent, index, node(name, *args))

    return how.first_fit(rng, parent, draw)


def hoist(rng: Random, parent: Expr, how: Variation) -> Expr:
    """A subtree becomes the whole tree."""
    inner = indices(parent, leaves=False)[1:]
    return how.first_fit(rng, parent, lambda: subtree(parent, rng.choice(inner))) if inner else parent


def shrink(rng: Random, parent: Expr, how: Variation) -> Expr:
    """An operation is replaced by one of its operands."""
    inner = indices(parent, leaves=False)

    def draw() -> Expr:
        index = rng.choice(inner)
        return replaced(parent, index, rng.choice(subtree(parent, index).args))

    return how.first_fit(rng, parent, draw) if inner else parent


Mutation = Callable[[Random, Expr, Variation], Expr]
MUTATIONS: Mapping[str, Mutation] = {
    "uniform": uniform, "point": point, "insert": insert, "hoist": hoist, "shrink": shrink,
}  # fmt: skip
MIX: Mapping[str, float] = {"uniform": 0.3, "point": 0.3, "insert": 0.2, "hoist": 0.1, "shrink": 0.1}
"""The mutation mix of regularised evolution."""


def mixed(rng: Random, parent: Expr, how: Variation, weights: Mapping[str, float] = MIX) -> tuple[str, Expr]:
    """A mutation drawn by weight, and its name."""
    names = list(weights)
    name = rng.choices(names, [weights[n] for n in names])[0]
    return name, MUTATIONS[name](rng, parent, how)
