"""Who is bred from whom: the thesis's generations, regularised evolution, and random search, as functions of tickets.

A ticket is the number of a loss in the order of the search. What ticket t is bred from are the outcomes of tickets
before a bound, and the random stream of (seed, t); the bound follows from what was decided of earlier tickets. So it
does not matter which worker finishes when: the same search with any number of workers, and after any interruption.

The members of a population are the losses that are trained, and those that are kept. What the filters reject and what
was seen before costs next to nothing and takes nobody's place; in the thesis, and its code, it does (`fill`).
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
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
    bound      the tickets before this one are those that it may know of
    member     whether it is one of a population; None as long as that is not decided
    outcome    what came of it; None while it is in flight
    fitness    DEAP's, invalid for a loss that was rejected or failed: it never becomes a parent by merit
    """

    ticket: int
    expr: Expr
    operator: str
    parents: tuple[int, ...] = ()
    bound: int = 0
    same_as: int | None = None
    member: bool | None = None
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


@dataclass(eq=False)
class Past:
    """The losses that were bred, and where generations begin: one ends once it has all its members.

    size   members of a generation
    most   tickets after which one ends in any case, should nothing new be found
    lag    tickets that are bred before it is known whether a generation has all its members; they are of it too
    """

    size: int
    most: int
    lag: int = 0
    individuals: list[Individual] = field(default_factory=list)
    starts: list[int] = field(default_factory=lambda: [0])
    decided: int = 0
    members: int = 0

    def decide(self, member: bool) -> None:
        """What the first undecided ticket is."""
        self.individuals[self.decided].member = member
        if self.decided >= self.starts[-1]:
            self.members += member
        self.decided += 1
        if self.members == self.size or self.decided - self.starts[-1] == self.most:
            self.starts.append(self.decided + self.lag)
            self.members = 0

    @property
    def block(self) -> int:
        """The number of the generation that the next ticket is of, if that is certain."""
        return len(self.starts) - (1 if len(self.individuals) >= self.starts[-1] else 2)

    @property
    def certain(self) -> bool:
        """Whether that is so whatever comes of the tickets that are undecided."""
        ticket, start = len(self.individuals), self.starts[-1]
        ends = max(self.decided, start) + self.size - self.members + self.lag
        return ticket < start or ticket < min(ends, start + self.most + self.lag)

    def generation(self, number: int) -> list[Individual]:
        """The members of a generation that is complete."""
        return [i for i in self.individuals[self.starts[number] : self.starts[number + 1]] if i.member]

    def youngest(self, bound: int, count: int, *, valid: bool = False) -> list[Individual]:
        """The last so many members before a ticket, in order; with `valid`, only those with a fitness."""
        back = (self.individuals[i] for i in range(bound - 1, -1, -1))
        return list(islice((i for i in back if i.member and (i.fitness.valid or not valid)), count))[::-1]


class Strategy(ABC):
    """A way to breed the next ticket. Nothing may depend on outcomes of tickets that are not before `bound`."""

    def __init__(self, config: SearchConfig, seeds: Sequence[Expr] = ()) -> None:
        self.config, self.seeds = config, tuple(seeds)
        self.primitives = primitives_of(config)
        priors = Priors(soft_length=config.soft_length) if config.priors else NO_PRIORS
        limits = Limits(config.max_height, config.max_nodes)
        self.how = Variation(self.primitives, limits, priors, tries=20 if config.priors else 1)

    @abstractmethod
    def bound(self, past: Past) -> int | None:
        """How many tickets must be committed before the next one is bred; None: that is not known yet."""

    @abstractmethod
    def breed(self, past: Past, rng: Random) -> Individual:
        """The loss of the next ticket."""

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

    def bound(self, past: Past) -> int:
        """So far back that no worker waits, and there is a best to race against."""
        return max(0, len(past.individuals) - max(self.config.window, 2 * self.config.population))

    def breed(self, past: Past, rng: Random) -> Individual:
        """A random loss."""
        return self.initial(len(past.individuals), rng)


class Genetic(Strategy):
    """The thesis's genetic programming (algorithm 1), with elites that are really kept.

    A generation is bred from one before it, the pool. The schedules differ in which: the last one; with islands, the
    last of that island, generations being of each in turn; in the steady state, the last `population` members before a
    fixed lag, so that no worker ever waits for a generation to end.
    """

    def bound(self, past: Past) -> int | None:
        """The end of the pool."""
        if self.config.schedule == "steady":
            return max(0, len(past.individuals) - self.config.window + 1)
        here = self._pool(past)
        return None if not past.certain else 0 if here < 0 else past.starts[here + 1]

    def _pool(self, past: Past) -> int:
        """The number of the generation that the pool is."""
        return past.block - (self.config.islands if self.config.schedule == "islands" else 1)

    def breed(self, past: Past, rng: Random) -> Individual:
        """An elite, a migrant, or crossover, mutation or reproduction of tournament winners."""
        c, ticket = self.config, len(past.individuals)
        if c.schedule == "steady":
            pool = past.youngest(self.bound(past) or 0, c.population)
            pool, slot = pool if len(pool) == c.population else [], ticket % c.population
        else:
            pool = past.generation(self._pool(past)) if self._pool(past) >= 0 else []
            slot = ticket - past.starts[past.block]
        if not pool:
            return self.initial(ticket, rng)
        kept = [(i, "elite") for i in ranked(pool)[: round(c.elitism * c.population)]] + self._migrants(past)
        if slot < len(kept) and kept[slot][0].fitness.valid:
            return Individual(ticket, kept[slot][0].expr, kept[slot][1], (kept[slot][0].ticket,))
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

    def _migrants(self, past: Past) -> list[tuple[Individual, str]]:
        """Every few generations of an island, the best of the last generation of the island before it."""
        c, here = self.config, self._pool(past) - 1
        if (
            c.schedule != "islands"
            or c.islands < 2
            or here < 0
            or (len(past.starts) - 1) // c.islands % c.migrate_every
        ):
            return []
        return [(i, "migrant") for i in ranked(past.generation(here))[:1]]


def ranked(pool: Sequence[Individual]) -> list[Individual]:
    """Best first: by fitness, size, ticket."""
    return sorted(pool, key=lambda i: (i.value, len(i), i.ticket))


class Aged(Strategy):
    """Regularised evolution (Real et al. 2019): the oldest dies, the winner of a tournament is mutated by a mix.

    A ticket is bred from what is known of those before the last `window`, so that as many workers are kept busy.
    """

    def bound(self, past: Past) -> int:
        """All but the last `window` tickets."""
        return max(0, len(past.individuals) - self.config.window + 1)

    def breed(self, past: Past, rng: Random) -> Individual:
        """A mutation, or now and then a mild crossover, of a winner among the youngest."""
        c, ticket = self.config, len(past.individuals)
        alive = past.youngest(self.bound(past), c.population, valid=True)
        if len(alive) < min(c.population, max(2, ticket // 2)):
            return self.initial(ticket, rng)
        first = self.parent(alive, rng)
        if rng.random() < 0.2:
            second = self.parent(alive, rng)
            child = one_point(rng, first.expr, second.expr, self.how)
            return Individual(ticket, child, "crossover", (first.ticket, second.ticket))
        name, child = mixed(rng, first.expr, self.how)
        return Individual(ticket, child, name, (first.ticket,))


KEPT = frozenset({"elite", "migrant", "reproduction", "seed"})
"""Operators whose losses are members though they were seen: they are kept on purpose, and not drawn again."""

STRATEGIES: dict[str, type[Strategy]] = {
    "evomal": Genetic, "gp-lfl": Genetic, "glo": Genetic, "random": RandomSearch, "aged": Aged,
}  # fmt: skip
