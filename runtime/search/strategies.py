"""Who is bred from whom: the thesis's generations, regularised evolution, and random search, as functions of tickets.

A ticket is the number of a loss in the order of the search. What ticket t is bred from are the outcomes of tickets
before a bound that t alone determines, and the random stream of (seed, t). So it does not matter which worker finishes
when: the same search with any number of workers, and after any interruption.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from deap import base, tools

from lossc.compiler.ir import Expr
from lossc.runtime.data import derive
from lossc.runtime.search.config import SearchConfig
from lossc.runtime.search.generate import NO_PRIORS, Priors, half_and_half, random_loss, with_both
from lossc.runtime.search.primitives import PUBLIC, THESIS, Primitives, chosen
from lossc.runtime.search.variation import Limits, Variation, mixed, one_point, uniform


class Fitness(base.Fitness):  # type: ignore[misc]
    """Fitness and size, both to be small; DEAP's class, declared once and for all."""

    weights = (-1.0, -1.0)


@dataclass(eq=False)
class Individual:
    """A loss of the search.

    ticket     its number; `parents` are the tickets that it was bred from, by `operator`
    outcome    what came of it; None while it is in flight
    fitness    DEAP's, invalid for a loss that was rejected or failed: it never becomes a parent by merit
    """

    ticket: int
    expr: Expr
    operator: str
    parents: tuple[int, ...] = ()
    same_as: int | None = None
    outcome: dict[str, Any] | None = None
    fitness: Fitness = field(default_factory=Fitness)

    def __len__(self) -> int:
        return self.expr.tree_size

    @property
    def value(self) -> float:
        """The fitness, or infinity."""
        return float(self.fitness.values[0]) if self.fitness.valid else float("inf")


def primitives_of(config: SearchConfig) -> Primitives:
    """The functions that the settings name. UsageError (L270)."""
    if config.functions == "thesis":
        return THESIS
    return PUBLIC if config.functions == "public" else chosen(config.functions)


class Strategy(ABC):
    """A way to breed. `known` are the individuals of all tickets before this one, in order; those before `bound` have
    outcomes, and nothing may depend on the outcomes of the others."""

    def __init__(self, config: SearchConfig, seeds: Sequence[Expr] = ()) -> None:
        self.config, self.seeds = config, tuple(seeds)
        self.primitives = primitives_of(config)
        priors = Priors(soft_length=config.soft_length) if config.priors else NO_PRIORS
        limits = Limits(config.max_height, config.max_nodes)
        self.how = Variation(self.primitives, limits, priors, tries=20 if config.priors else 1)

    @abstractmethod
    def bound(self, ticket: int) -> int:
        """How many tickets must have outcomes before this one is bred."""

    @abstractmethod
    def breed(self, ticket: int, known: Sequence[Individual], rng: Random) -> Individual:
        """The loss of a ticket."""

    def stream(self, ticket: int, attempt: int = 0) -> Random:
        """The random stream of a ticket: by address, so that nothing is consumed in the order of completion."""
        return Random(derive(self.config.seed, "breed", ticket, attempt))

    def initial(self, ticket: int, rng: Random) -> Individual:
        """A seed formula while there are some, else a random loss."""
        if ticket < len(self.seeds):
            return Individual(ticket, self.seeds[ticket], "seed")
        c = self.config
        if c.priors:
            tree = random_loss(
                rng, self.primitives, low=c.low, high=c.high, max_nodes=c.max_nodes, priors=self.how.priors
            )
        else:
            tree = self.repaired(half_and_half(rng, self.primitives, c.low, c.high), rng)
        return Individual(ticket, tree, "random")

    def repaired(self, tree: Expr, rng: Random) -> Expr:
        """With both arguments (Fig. 3.2); the public code draws from its first four binary functions only."""
        names = self.primitives.of_arity(2)[:4] if self.config.functions == "public" else None
        return with_both(tree, rng, self.primitives, names)

    def parent(self, pool: Sequence[Individual], rng: Random) -> Individual:
        """The winner of a tournament by DEAP's own operators; ties go to the smaller loss."""
        c = self.config
        with deap_randomness(rng):
            if c.parsimony > 1:
                found = tools.selDoubleTournament(list(pool), 1, c.tournament, c.parsimony, fitness_first=True)
            else:
                found = tools.selTournament(list(pool), 1, c.tournament)
        winner: Individual = found[0]
        return winner


@contextmanager
def deap_randomness(rng: Random) -> Iterator[None]:
    """DEAP draws from Python's global stream: here it is seeded from a stream of ours, and put back."""
    before = random.getstate()
    random.seed(rng.getrandbits(64))
    try:
        yield
    finally:
        random.setstate(before)


class RandomSearch(Strategy):
    """Every loss is new: the control that every search has to beat at the same budget."""

    def bound(self, ticket: int) -> int:
        """Nothing is waited for."""
        return 0

    def breed(self, ticket: int, known: Sequence[Individual], rng: Random) -> Individual:
        """A random loss."""
        return self.initial(ticket, rng)


class Generational(Strategy):
    """The thesis's genetic programming (algorithm 1), with elites that are really kept."""

    def bound(self, ticket: int) -> int:
        """The whole generation before."""
        return ticket // self.config.population * self.config.population

    def breed(self, ticket: int, known: Sequence[Individual], rng: Random) -> Individual:
        """An elite, or crossover, mutation or reproduction of tournament winners."""
        c, size = self.config, self.config.population
        generation, slot = divmod(ticket, size)
        if generation == 0:
            return self.initial(ticket, rng)
        pool = known[(generation - 1) * size : generation * size]
        elites = sorted(pool, key=lambda i: (i.value, len(i), i.ticket))[: round(c.elitism * size)]
        if slot < len(elites) and elites[slot].fitness.valid:
            return Individual(ticket, elites[slot].expr, "elite", (elites[slot].ticket,))
        first = self.parent(pool, rng)
        draw = rng.random()
        if draw < c.crossover:
            second = rng.choice(pool) if c.preset.startswith("public") else self.parent(pool, rng)
            child = one_point(rng, first.expr, second.expr, self.how)
            return Individual(ticket, self.repaired(child, rng), "crossover", (first.ticket, second.ticket))
        if draw < c.crossover + c.mutation:
            child = uniform(rng, first.expr, self.how)
            return Individual(ticket, self.repaired(child, rng), "mutation", (first.ticket,))
        return Individual(ticket, first.expr, "reproduction", (first.ticket,))


class Aged(Strategy):
    """Regularised evolution (Real et al. 2019): the oldest dies, the winner of a tournament is mutated by a mix.

    Ticket t is bred from what is known of the tickets up to t - window, so that as many workers are kept busy.
    """

    def bound(self, ticket: int) -> int:
        """All but the last `window` tickets."""
        return 0 if ticket < self.config.population else ticket - self.config.window + 1

    def breed(self, ticket: int, known: Sequence[Individual], rng: Random) -> Individual:
        """A mutation, or now and then a mild crossover, of a winner among the youngest."""
        c = self.config
        if ticket < c.population:
            return self.initial(ticket, rng)
        alive = [i for i in known[: self.bound(ticket)] if i.fitness.valid][-c.population :]
        if not alive:
            return self.initial(ticket, rng)
        first = self.parent(alive, rng)
        if rng.random() < 0.2:
            second = self.parent(alive, rng)
            child = one_point(rng, first.expr, second.expr, self.how)
            return Individual(ticket, child, "crossover", (first.ticket, second.ticket))
        name, child = mixed(rng, first.expr, self.how)
        return Individual(ticket, child, name, (first.ticket,))


STRATEGIES: dict[str, type[Strategy]] = {
    "evomal": Generational, "gp-lfl": Generational, "random": RandomSearch, "aged": Aged,
}  # fmt: skip
