"""The search: tickets are bred in order, judged in any order, and committed in order. Its journal is the truth.

A ticket has up to two jobs. `filter` looks at its gradient; then, in ticket order, it is decided whether the loss is
new: not the same formula as an earlier ticket, and not of the same gradient. Only then `train` learns its coefficients
and finds its fitness. All decisions depend on outcomes of earlier tickets alone, so the population and the archive are
the same with any number of workers and after any interruption: a search that is resumed takes the births and outcomes
that the journal has, and goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lossc.compiler.ir import Expr
from lossc.compiler.loss import Loss
from lossc.compiler.passes.canonicalize import canonicalize
from lossc.compiler.serialize import to_mapping
from lossc.runtime.data import derive
from lossc.runtime.search.candidate import OK, REJECTED
from lossc.runtime.search.config import SearchConfig
from lossc.runtime.search.journal import BIRTH, CONTROL, SEARCH
from lossc.runtime.search.seen import Seen
from lossc.runtime.search.strategies import KEPT, STRATEGIES, Fitness, Individual, Past, Strategy

SAME_FORMULA, SAME_GRADIENT = "same formula", "same gradient"
Commit = Callable[["Search", Individual], None]
Write = Callable[[Mapping[str, Any]], None]
MANY = 20
"""Losses that are bred for one that is trained, at most: then a generation, and in the end a search, is over."""


@dataclass(eq=False)
class Search:
    """A search under way: everything in it follows from the settings, the seeds and the outcomes of jobs.

    roles     the roles of y and f in the losses
    name      "search", or "control" for the random search beside it
    births, known   from a journal: losses by ticket, and outcomes by (ticket, stage)
    limit     trainings after which it is over; None: as the settings say
    """

    config: SearchConfig
    roles: tuple[str, str]
    seeds: tuple[Expr, ...] = ()
    name: str = SEARCH
    births: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    known: Mapping[tuple[int, str], dict[str, Any]] = field(default_factory=dict)
    limit: int | None = None
    committed: int = 0

    def __post_init__(self) -> None:
        self.strategy: Strategy = STRATEGIES[self.config.method](self.config, self.seeds)
        self.limit = self.limit if self.limit is not None else self.config.trainings or None
        size, lag = self.config.population, self.config.window if self.config.schedule == "islands" else 0
        self.past = Past(size, MANY * size if self.config.fill else size, lag)
        self.keys: list[str] = []
        self.first_of: dict[str, int] = {}
        self.seen = Seen()
        self.filtered: dict[int, dict[str, Any]] = {}
        self.trained: dict[int, dict[str, Any]] = {}
        self.members = 0
        self.trainings = 0
        self.begun = 0
        self.leaders: list[Individual] = []
        self.improved = 0
        self.counts: dict[str, int] = {}

    def loss(self, expr: Expr) -> Loss:
        """The loss of an expression."""
        return Loss(expr, "found", *self.roles)

    def key(self, expr: Expr) -> str:
        """The canonical form's fingerprint: equal for all the ways to write a formula."""
        return canonicalize(self.loss(expr)).body.digest.hex()

    @property
    def individuals(self) -> list[Individual]:
        """Every loss that was bred, by ticket."""
        return self.past.individuals

    @property
    def decided(self) -> int:
        """Tickets of which it is decided whether they are trained."""
        return self.past.decided

    @property
    def generation(self) -> int:
        """The number of the generation that is being bred, from 0 on."""
        return self.past.block

    @property
    def over(self) -> bool:
        """Whether all members are committed, as many trainings were as are allowed, or patience is at its end.

        A control goes on until it has trained as often as the search beside it.
        """
        if self.limit is not None and self.trainings >= self.limit:
            return True
        if self.config.patience and self.committed - self.improved > self.config.patience:
            return True
        done = self.members >= self.config.budget and self.name != CONTROL
        return done or self.committed >= MANY * self.config.budget

    @property
    def may_breed(self) -> bool:
        """Whether the next ticket can be bred from what is committed."""
        if self.over or len(self.individuals) >= MANY * self.config.budget:
            return False
        if self.limit is not None and self.begun >= self.limit:
            return False
        bound = self.strategy.bound(self.past)
        return bound is not None and self.committed >= bound

    def breed(self, write: Write | None = None) -> Individual:
        """The next ticket's loss; what an earlier ticket had is drawn again, a few times."""
        ticket = len(self.individuals)
        bound = self.strategy.bound(self.past)
        born = self.births.get(ticket)
        made, key = self._born(ticket, born) if born is not None else self._bred(ticket)
        made.bound = bound or 0
        first = self.first_of.setdefault(key, ticket)
        made.same_as = None if first == ticket else first
        self.keys.append(key)
        self.individuals.append(made)
        if born is None and write is not None:
            write({
                "is": BIRTH, "of": self.name, "ticket": ticket, "key": key, "operator": made.operator,
                "parents": list(made.parents), "size": len(made), "loss": to_mapping(self.loss(made.expr)),
            })  # fmt: skip
        return made

    def _born(self, ticket: int, born: Mapping[str, Any]) -> tuple[Individual, str]:
        expr = Loss.from_json(born["loss"]).body
        return Individual(ticket, expr, str(born["operator"]), tuple(born["parents"])), str(born["key"])

    def _bred(self, ticket: int) -> tuple[Individual, str]:
        made = self.strategy.breed(self.past, self.strategy.stream(ticket))
        key = self.key(made.expr)
        for attempt in range(1, self.config.redraw + 1):
            if made.operator in KEPT or key not in self.first_of:
                break
            made = self.strategy.breed(self.past, self.strategy.stream(ticket, attempt))
            key = self.key(made.expr)
        return made, key

    def job(self, ticket: int, stage: str) -> dict[str, Any]:
        """What an engine needs to know."""
        here = self.individuals[ticket]
        job: dict[str, Any] = {"stage": stage, "loss": self.loss(here.expr).to_json()}
        if stage == "train":
            found = self.filtered.get(ticket, {})
            if found.get("status") == REJECTED:
                job["audited"] = found["why"]
            if self.config.inherit:
                job["parents"] = self._learned(here)
            leader = self.leader(ticket)
            if leader is not None and leader.outcome is not None:
                job["incumbent"] = leader.outcome["values"]
        return job

    def _learned(self, here: Individual) -> list[dict[str, Any]]:
        """What the parents have learned: their losses (or the ones they took their outcomes from) and coefficients."""
        out = []
        for ticket in here.parents:
            source = self.individuals[ticket]
            while source.same_as is not None:
                source = self.individuals[source.same_as]
            if source.outcome is not None and source.outcome.get("phi"):
                out.append({"loss": self.loss(source.expr).to_json(), "phi": source.outcome["phi"]})
        return out

    def leader(self, ticket: int) -> Individual | None:
        """The best loss that the ticket may know of, where fitnesses are raced."""
        if self.config.fitness_seeds == 1:
            return None
        bound = self.individuals[ticket].bound
        return next((i for i in reversed(self.leaders) if i.ticket < bound), None)

    def decide(self) -> Iterable[int]:
        """In ticket order: which losses are trained. Yields the tickets; the others have their outcomes then."""
        while self.decided < len(self.individuals):
            here = self.individuals[self.decided]
            found = self.filtered.get(here.ticket)
            if here.same_as is None and found is None:
                return
            trains = here.same_as is None and found is not None and self._trains(here, found)
            passed = trains and found is not None and found["status"] == OK
            kept = here.same_as is not None and here.operator in KEPT
            self.past.decide(passed or kept or not self.config.fill)
            if trains:
                self.begun += 1
                yield here.ticket

    def _trains(self, here: Individual, found: dict[str, Any]) -> bool:
        """Whether a loss that no one has written before is trained: if it is no reject, and its gradient is new."""
        if found["status"] != OK and not (found["status"] == REJECTED and self._audited(here.ticket)):
            self.trained[here.ticket] = {**found, "stage": "filter"}
            return False
        here.same_as = self._twin(found["signature"])
        if here.same_as is None and found["signature"]:
            self.seen.add(here.ticket, found["signature"])
        return here.same_as is None

    def _audited(self, ticket: int) -> bool:
        """Whether an early rejection is looked into all the same; the draw depends on the ticket alone."""
        if not self.config.audit or not self.filtered[ticket]["signature"]:
            return False
        return derive(self.config.seed, "audit", ticket) % 10_000 < self.config.audit * 10_000

    def _twin(self, signature: list[float]) -> int | None:
        return None if self.config.equivalence == "off" or not signature else self.seen.first(signature)

    def commit(self, told: Commit | None = None) -> None:
        """Commit, in ticket order, every ticket whose outcome is known."""
        while self.committed < self.decided and not self.over:
            here = self.individuals[self.committed]
            if here.same_as is not None:
                source = self.individuals[here.same_as]
                why = SAME_FORMULA if self.keys[here.ticket] == self.keys[source.ticket] else SAME_GRADIENT
                here.outcome = {**(source.outcome or {}), "why": why, "same_as": here.same_as, "seconds": 0.0}
            elif self.committed in self.trained:
                here.outcome = self.trained[self.committed]
                self.trainings += here.outcome.get("stage") != "filter"
            else:
                return
            self._judge(here)
            self._count(here)
            self.members += bool(here.member)
            self.committed += 1
            if told is not None:
                told(self, here)

    def _judge(self, here: Individual) -> None:
        assert here.outcome is not None
        if here.outcome.get("status") != OK or here.outcome.get("fitness") is None or here.outcome.get("audited"):
            return  # an audit is for knowing how often the filters are wrong, and makes nothing of what they reject
        here.fitness = Fitness((here.outcome["fitness"], len(here)))
        whole = here.same_as is None and len(here.outcome.get("values", ())) == self.config.fitness_seeds
        if whole and (not self.leaders or here.value < self.leaders[-1].value):
            self.leaders.append(here)
            self.improved = here.ticket

    def _count(self, here: Individual) -> None:
        assert here.outcome is not None
        kind = here.outcome["why"] if here.same_as is not None else here.outcome["status"]
        if here.same_as is None and kind == REJECTED:
            kind = f"rejected: {here.outcome['why']}"
        self.counts[kind] = self.counts.get(kind, 0) + 1

    @property
    def population(self) -> list[Individual]:
        """The committed losses, in ticket order: what was bred beyond the end of the search is not of it."""
        return self.individuals[: self.committed]

    @property
    def best(self) -> list[Individual]:
        """The committed losses with a fitness, each formula once, best first."""
        valid = [i for i in self.population if i.fitness.valid and i.same_as is None]
        return sorted(valid, key=lambda i: (i.value, len(i), i.ticket))
