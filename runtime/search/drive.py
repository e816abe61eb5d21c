"""Searches through an engine, or replayed without one: bred ahead, outcomes taken as they come, committed in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lossc.runtime.search.evaluators import Evaluator
from lossc.runtime.search.journal import CONTROL, OUTCOME
from lossc.runtime.search.loop import Commit, Search, Write

SPARE = 2
"""Jobs that wait for a worker, beside those that are worked on."""


def run_searches(
    searches: Iterable[Search], engine: Evaluator, *, write: Write | None = None, told: Commit | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> None:  # fmt: skip
    """Breed, judge and commit until all are over, or `stop` says so (what is in flight is finished).

    The first has the workers; a control takes those that it leaves idle, and trains as often as it has, no more.
    """
    _Run(list(searches), engine, write, told, stop).run(engine)


def replay(searches: Sequence[Search]) -> None:
    """Bring searches to where their journals end, without an engine: what no outcome is known of stays open."""
    run = _Run(list(searches), None, None, None, lambda: False)
    for search in searches:
        run.limit(search)
        while len(search.individuals) in search.births and not search.over:
            run.advance(search)


@dataclass(eq=False)
class _Run:
    searches: list[Search]
    engine: Evaluator | None
    write: Write | None
    told: Commit | None
    stop: Callable[[], bool]
    flying: dict[str, tuple[Search, int, str]] = field(default_factory=dict)

    def run(self, engine: Evaluator) -> None:
        """To the end."""
        while not all(s.over for s in self.searches):
            for search in () if self.stop() else self.searches:
                self.limit(search)
                self._fill(search, engine.capacity + SPARE)
            if not self.flying and (self.stop() or not any(s.may_breed for s in self.searches)):
                return
            for key, outcome in engine.completed():
                self._take(*self.flying.pop(key), outcome)

    def limit(self, search: Search) -> None:
        """How often a control may train: in the end, as often as the search beside it did."""
        if search.name == CONTROL:
            search.limit = max(self.searches[0].trainings, 1) if self.searches[0].over else None

    def _fill(self, search: Search, most: int) -> None:
        first = self.searches[0]
        while len(self.flying) < most and search.may_breed:
            if search is not first and not first.over and search.begun >= first.trainings:
                return
            self.advance(search)

    def advance(self, search: Search) -> None:
        """Breed the next ticket, and do with it what can be done."""
        made = search.breed(self.write)
        if made.same_as is None:
            self._start(search, made.ticket, "filter")
        self._settle(search)

    def _start(self, search: Search, ticket: int, stage: str) -> None:
        found = search.known.get((ticket, stage))
        if found is not None:
            (search.filtered if stage == "filter" else search.trained)[ticket] = found
        elif self.engine is not None:
            key = f"{search.name}/{ticket}/{stage}"
            self.flying[key] = (search, ticket, stage)
            self.engine.submit(key, search.job(ticket, stage))

    def _take(self, search: Search, ticket: int, stage: str, outcome: dict[str, Any]) -> None:
        if self.write is not None:
            self.write({"is": OUTCOME, "of": search.name, "ticket": ticket, "stage": stage, "outcome": outcome})
        (search.filtered if stage == "filter" else search.trained)[ticket] = outcome
        self._settle(search)

    def _settle(self, search: Search) -> None:
        """Decide and commit what can be, until nothing moves."""
        before = (-1, -1, -1)
        while before != (now := (search.decided, search.committed, len(search.trained))):
            before = now
            for ticket in search.decide():
                self._start(search, ticket, "train")
            search.commit(self.told)
