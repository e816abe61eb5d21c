"""What others may hear of a search while it runs: commits, new bests, the end. A callback may also end it.

>>> class Shout(Callback):
...     def on_best(self, search, individual):
...         print(individual.value, search.loss(individual.expr))
>>> search("diabetes", callbacks=[Shout()])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lossc.runtime.search.journal import SEARCH

if TYPE_CHECKING:
    from lossc.runtime.search.evaluators import Evaluator
    from lossc.runtime.search.loop import Search
    from lossc.runtime.search.session import SearchResult
    from lossc.runtime.search.strategies import Individual


class Callback:
    """Does nothing; what a subclass overrides is called in the process that drives the search.

    `search.name` is "search", or "control" for the random search beside it. What a callback does cannot change which
    losses are found. One that ends a search leaves it as Ctrl-C would: it can be gone on with.
    """

    def on_begin(self, searches: Mapping[str, Search], engine: Evaluator) -> None:
        """Before the first job."""

    def on_commit(self, search: Search, individual: Individual) -> bool | None:
        """After every loss, in ticket order, those of a journal included. True ends the search."""

    def on_best(self, search: Search, individual: Individual) -> None:
        """After a loss that is better than all before it."""

    def on_final(self, done: int, total: int) -> None:
        """After every job of the end."""

    def on_end(self, result: SearchResult) -> None:
        """When everything is written."""


class TensorBoard(Callback):
    """Best and median fitness, and what was trained, over the losses bred. UsageError (L258) without the package."""

    def __init__(self, folder: str) -> None:
        from lossc.runtime.board import Board

        self.board = Board(folder)

    def on_commit(self, search: Search, individual: Individual) -> None:
        """Numbers of one loss."""
        at = individual.ticket
        if individual.fitness.valid:
            self.board.add(f"{search.name}/fitness", individual.value, at)
        if search.leaders:
            self.board.add(f"{search.name}/best", search.leaders[-1].value, at)
        self.board.add(f"{search.name}/trainings", search.trainings, at)

    def on_end(self, result: SearchResult) -> None:
        """The rest is written."""
        self.board.close()


class Watch:
    """All callbacks of a session as one."""

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self.callbacks = tuple(callbacks)
        self.over = False
        self._best: dict[str, float] = {}

    def begin(self, searches: Mapping[str, Search], engine: Evaluator) -> None:
        """Before the first job."""
        for each in self.callbacks:
            each.on_begin(searches, engine)

    def committed(self, search: Search, individual: Individual) -> None:
        """After a loss."""
        better = individual.same_as is None and individual.value < self._best.get(search.name, float("inf"))
        if better:
            self._best[search.name] = individual.value
        for each in self.callbacks:
            self.over = bool(each.on_commit(search, individual)) or self.over
            if better and search.name == SEARCH:
                each.on_best(search, individual)

    def finishing(self, done: int, total: int) -> None:
        """After a job of the end."""
        for each in self.callbacks:
            each.on_final(done, total)

    def ended(self, result: Any) -> None:
        """When everything is written."""
        for each in self.callbacks:
            each.on_end(result)
