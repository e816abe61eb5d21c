"""The search: tickets are bred in order, judged in any order, and committed in order. Its journal is the truth.

A ticket has up to two jobs. `filter` looks at its gradient; then, in ticket order, it is decided whether the loss is
new: not the same formula as an earlier ticket, and not of the same gradient. Only then `train` learns its coefficients
and finds its fitness. All decisions depend on outcomes of earlier tickets alone, so the population and the archive are
the same with any number of workers and after any interruption: a search that is resumed takes the outcomes that the
journal has and breeds the rest again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lossc.compiler.ir import Expr
from lossc.compiler.loss import Loss
from lossc.compiler.passes.canonicalize import canonicalize
from lossc.runtime.data import derive
from lossc.runtime.search.candidate import OK, REJECTED
from lossc.runtime.search.config import SearchConfig
from lossc.runtime.search.engines import Evaluator
from lossc.runtime.search.filters import equivalent
from lossc.runtime.search.strategies import STRATEGIES, Fitness, Individual, Strategy

SAME_FORMULA, SAME_GRADIENT = "same formula", "same gradient"
Commit = Callable[["Search", Individual], None]
Journal = Callable[[Mapping[str, Any]], None]


@dataclass(eq=False)
class Search:
    """A search under way: everything in it follows from the settings, the seeds and the outcomes of jobs.

    roles     the roles of y and f in the losses
    known     outcomes from a journal, by (ticket, stage)
    """

    config: SearchConfig
    roles: tuple[str, str]
    seeds: tuple[Expr, ...] = ()
    known: dict[tuple[int, str], dict[str, Any]] = field(default_factory=dict)
    individuals: list[Individual] = field(default_factory=list)
    committed: int = 0

    def __post_init__(self) -> None:
        self.strategy: Strategy = STRATEGIES[self.config.method](self.config, self.seeds)
        self.first_of: dict[str, int] = {}
        self.signatures: list[tuple[int, list[float]]] = []
        self.filtered: dict[int, dict[str, Any]] = {}
        self.trained: dict[int, dict[str, Any]] = {}
        self.decided = 0
        self.counts: dict[str, int] = {}

    def loss(self, expr: Expr) -> Loss:
        """The loss of an expression."""
        return Loss(expr, "found", *self.roles)

    def key(self, expr: Expr) -> str:
        """The canonical form's fingerprint: equal for all the ways to write a formula."""
        return canonicalize(self.loss(expr)).body.digest.hex()

    @property
    def over(self) -> bool:
        """Whether every ticket is committed."""
        return self.committed >= self.config.budget

    @property
    def may_breed(self) -> bool:
        """Whether the next ticket can be bred from what is committed."""
        ticket = len(self.individuals)
        return ticket < self.config.budget and self.committed >= self.strategy.bound(ticket)

    def breed(self) -> Individual:
        """The next ticket's loss; what an earlier ticket had is drawn again, a few times."""
        ticket = len(self.individuals)
        made = self.strategy.breed(ticket, self.individuals, self.strategy.stream(ticket))
        for attempt in range(1, self.config.redraw + 1):
            if made.operator in ("elite", "seed") or self.key(made.expr) not in self.first_of:
                break
            made = self.strategy.breed(ticket, self.individuals, self.strategy.stream(ticket, attempt))
        made.same_as = self.first_of.setdefault(self.key(made.expr), ticket)
        made.same_as = None if made.same_as == ticket else made.same_as
        self.individuals.append(made)
        return made

    def job(self, ticket: int, stage: str) -> dict[str, Any]:
        """What an engine needs to know."""
        here = self.individuals[ticket]
        job: dict[str, Any] = {"stage": stage, "loss": self.loss(here.expr).to_json()}
        if stage == "train":
            job["audit"] = self.filtered.get(ticket, {}).get("status") == REJECTED
        return job

    def decide(self) -> Iterable[int]:
        """In ticket order: which losses are trained. Yields the tickets; the others have their outcomes then."""
        while self.decided < len(self.individuals):
            ticket = self.decided
            here = self.individuals[ticket]
            if here.same_as is not None:
                self.decided += 1
                continue
            found = self.filtered.get(ticket)
            if found is None:
                return
            self.decided += 1
            if found["status"] != OK and not (found["status"] == REJECTED and self._audited(ticket)):
                self.trained[ticket] = {**found, "stage": "filter"}
                continue
            twin = self._twin(found["signature"])
            if twin is not None:
                here.same_as = twin
                continue
            if found["signature"]:
                self.signatures.append((ticket, found["signature"]))
            yield ticket

    def _audited(self, ticket: int) -> bool:
        """Whether an early rejection is looked into all the same; the draw depends on the ticket alone."""
        if not self.config.audit or not self.filtered[ticket]["signature"]:
            return False
        return derive(self.config.seed, "audit", ticket) % 10_000 < self.config.audit * 10_000

    def _twin(self, signature: list[float]) -> int | None:
        if self.config.equivalence == "off" or not signature:
            return None
        return next((t for t, s in self.signatures if equivalent(s, signature)), None)

    def commit(self, told: Commit | None = None) -> None:
        """Commit, in ticket order, every ticket whose outcome is known."""
        while self.committed < self.decided:
            here = self.individuals[self.committed]
            if here.same_as is not None:
                source = self.individuals[here.same_as]
                why = SAME_FORMULA if self.key(here.expr) == self.key(source.expr) else SAME_GRADIENT
                here.outcome = {**(source.outcome or {}), "why": why, "same_as": here.same_as, "seconds": 0.0}
            elif self.committed in self.trained:
                here.outcome = self.trained[self.committed]
            else:
                return
            if here.outcome.get("status") == OK and here.outcome.get("fitness") is not None:
                here.fitness = Fitness((here.outcome["fitness"], len(here)))
            self._count(here)
            self.committed += 1
            if told is not None:
                told(self, here)

    def _count(self, here: Individual) -> None:
        assert here.outcome is not None
        kind = here.outcome["why"] if here.same_as is not None else here.outcome["status"]
        if here.same_as is None and kind == REJECTED:
            kind = f"rejected: {here.outcome['why']}"
        self.counts[kind] = self.counts.get(kind, 0) + 1

    @property
    def best(self) -> list[Individual]:
        """The committed losses with a fitness, each formula once, best first."""
        valid = [i for i in self.individuals[: self.committed] if i.fitness.valid and i.same_as is None]
        return sorted(valid, key=lambda i: (i.value, len(i), i.ticket))


def run_search(
    search: Search, engine: Evaluator, *, journal: Journal | None = None, told: Commit | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> None:  # fmt: skip
    """Breed, judge and commit until every ticket is committed, or `stop` says so (what is in flight is finished)."""
    flying: dict[int, str] = {}

    def start(ticket: int, stage: str) -> None:
        found = search.known.get((ticket, stage))
        if found is not None:
            finish(ticket, stage, found, new=False)
            return
        flying[ticket] = stage
        engine.submit(ticket, search.job(ticket, stage))

    def finish(ticket: int, stage: str, outcome: dict[str, Any], *, new: bool) -> None:
        if new and journal is not None:
            journal({"ticket": ticket, "stage": stage, "outcome": outcome})
        (search.filtered if stage == "filter" else search.trained)[ticket] = outcome

    while not search.over:
        while len(flying) < 4 * engine.capacity and search.may_breed and not stop():
            made = search.breed()
            if made.same_as is None:
                start(made.ticket, "filter")
            _settle(search, start, told)
        if stop() and not flying:
            return
        for ticket, outcome in engine.completed():
            finish(ticket, flying.pop(ticket), outcome, new=True)
        _settle(search, start, told)


def _settle(search: Search, start: Callable[[int, str], None], told: Commit | None) -> None:
    """Decide and commit what can be, until nothing moves."""
    before = (-1, -1, -1)
    while before != (now := (search.decided, search.committed, len(search.trained))):
        before = now
        for ticket in search.decide():
            start(ticket, "train")
        search.commit(told)
