"""The end of a search: the best judged again, and the winner on the test part beside the baseline and random search.

A fitness is the best of many short trainings, and so in part luck. The best few are trained again, longer, with other
seeds, and judged on rows that no fitness has seen; that names the winner. Only then is the test part looked at, once:
with the same seeds for the winner, for the winner of the random search beside it, and for the task's baseline, so that
differences are taken seed by seed.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lossc.runtime.search.evaluators import Evaluator
from lossc.runtime.search.journal import CONTROL, FINAL, OUTCOME, SEARCH
from lossc.runtime.search.loop import Search, Write
from lossc.runtime.search.strategies import Individual
from lossc.runtime.training import Spread

BASELINE = "baseline"
NOBODY = -1
"""The ticket of the baseline."""
CLEAR = 0.05
"""A difference is called clear if its paired t-test has a smaller p."""


@dataclass(frozen=True, slots=True, eq=False)
class Finalist:
    """One of the best losses of a search, judged again.

    whose     "search" or "control"
    phi       its coefficients; of CMA-ES if they were tuned
    fitness   of the search, or of tuning
    again     the metric on the other fold, seed by seed; None: the training came to nothing
    """

    whose: str
    individual: Individual
    phi: tuple[float, ...]
    fitness: float
    again: tuple[float | None, ...] = ()

    @property
    def mean(self) -> float:
        """The mean of `again`; infinity if a training came to nothing, the fitness if there was none."""
        if not self.again:
            return self.fitness
        return statistics.fmean(math.inf if v is None else v for v in self.again)


@dataclass(frozen=True, slots=True, eq=False)
class Tested:
    """A row of the table at the end: a loss on the test part.

    name     "search", "control" or "baseline"
    values   the metric on the test part, seed by seed; None: the training came to nothing
    curves   [step, validation metric] points, seed by seed
    """

    name: str
    values: tuple[float | None, ...]
    curves: tuple[tuple[tuple[int, float | None], ...], ...] = ()
    failures: tuple[str, ...] = ()

    @property
    def spread(self) -> Spread:
        """Mean and deviation."""
        return Spread.of(math.inf if v is None else v for v in self.values)


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better one loss is than another on the test part, seed by seed.

    gain   of the one: above 0 is better; p of the paired t-test (two-sided); None where it cannot be said
    """

    gain: Spread
    p: float | None

    @property
    def clear(self) -> bool:
        """Whether the difference clears the noise of the seeds."""
        return self.p is not None and self.p < CLEAR


@dataclass(eq=False)
class Finals:
    """What the end came to: finalists of each search, best first, and the table."""

    finalists: dict[str, list[Finalist]] = field(default_factory=dict)
    table: list[Tested] = field(default_factory=list)

    def winner(self, whose: str = SEARCH) -> Finalist | None:
        """The best finalist of a search."""
        return next(iter(self.finalists.get(whose, ())), None)

    def row(self, name: str) -> Tested | None:
        """A row of the table."""
        return next((r for r in self.table if r.name == name), None)

    def against(self, other: str, name: str = SEARCH) -> Difference | None:
        """How much better the winner is than another row; None if either is missing."""
        ours, theirs = self.row(name), self.row(other)
        return None if ours is None or theirs is None else difference(ours, theirs)


def difference(ours: Tested, theirs: Tested) -> Difference:
    """The paired comparison of two rows with the same seeds."""
    pairs = [(a, b) for a, b in zip(ours.values, theirs.values, strict=True) if a is not None and b is not None]
    gains = [b - a for a, b in pairs]
    if len(gains) < len(ours.values) or not gains:
        return Difference(Spread(math.nan, None, len(gains)), None)
    if len(gains) < 2:
        return Difference(Spread.of(gains), None)
    if max(gains) == min(gains):
        return Difference(Spread.of(gains), 1.0 if gains[0] == 0 else 0.0)
    from scipy.stats import ttest_1samp

    return Difference(Spread.of(gains), float(ttest_1samp(gains, 0.0).pvalue))


@dataclass(eq=False)
class FinalRun:
    """The jobs of the end, through an engine; outcomes that a journal has are not run again."""

    searches: Mapping[str, Search]
    engine: Evaluator | None
    known: Mapping[tuple[int, str], dict[str, Any]]
    write: Write | None = None
    stop: Callable[[], bool] = lambda: False
    told: Callable[[int, int], None] | None = None

    def run(self) -> Finals | None:
        """To the end; None if it was stopped, or (without an engine) if outcomes are missing."""
        config = self.searches[SEARCH].config
        finals = Finals()
        for whose, search in self.searches.items():
            count = max(config.rerank, config.tune if config.method == "glo" else 1)
            finals.finalists[whose] = [
                Finalist(whose, i, tuple((i.outcome or {})["phi"]), i.value) for i in search.best[:count]
            ]
        steps: list[Callable[[Finals], bool]] = [self._tuned, self._judged, self._tested]
        return finals if all(step(finals) for step in steps) else None

    def _tuned(self, finals: Finals) -> bool:
        config = self.searches[SEARCH].config
        if config.method != "glo":
            return True
        ours = {whose: all_[: config.tune] for whose, all_ in finals.finalists.items()}
        asked = {(f.individual.ticket, f"tune:{w}"): self._job(f, "tune") for w, fs in ours.items() for f in fs}
        found = self._outcomes(asked)
        if found is None:
            return False
        for whose, losses in ours.items():
            finals.finalists[whose][: len(losses)] = [
                _with_phi(f, found[f.individual.ticket, f"tune:{whose}"]) for f in losses
            ]
        return True

    def _judged(self, finals: Finals) -> bool:
        config = self.searches[SEARCH].config
        asked = {
            (f.individual.ticket, f"judge:{whose}:{seed}"): {**self._job(f, "judge"), "seed": seed}
            for whose, losses in finals.finalists.items() for f in losses[: config.rerank]
            for seed in range(config.rerank_seeds)
        }  # fmt: skip
        found = self._outcomes(asked)
        if found is None:
            return False
        for whose, losses in finals.finalists.items():
            judged = [
                Finalist(whose, f.individual, f.phi, f.fitness, tuple(
                    _of_judging(found[f.individual.ticket, f"judge:{whose}:{s}"]) for s in range(config.rerank_seeds)
                )) for f in losses[: config.rerank]
            ]  # fmt: skip
            judged.sort(key=lambda f: (f.mean, f.fitness, f.individual.ticket))
            finals.finalists[whose] = judged + losses[config.rerank :]
        return True

    def _tested(self, finals: Finals) -> bool:
        config = self.searches[SEARCH].config
        jobs: dict[str, tuple[int, dict[str, Any]]] = {}
        if finals.winner() is not None:
            jobs[BASELINE] = (NOBODY, {"stage": "test", "loss": None})
        for whose in finals.finalists:
            winner = finals.winner(whose)
            if winner is not None:
                jobs[whose] = (winner.individual.ticket, self._job(winner, "test"))
        asked = {
            (ticket, f"test:{name}:{seed}"): {**job, "seed": seed}
            for name, (ticket, job) in jobs.items() for seed in range(config.test_seeds)
        }  # fmt: skip
        found = self._outcomes(asked)
        if found is None:
            return False
        for name, (ticket, _) in jobs.items() if config.test_seeds else ():
            outcomes = [found[ticket, f"test:{name}:{seed}"] for seed in range(config.test_seeds)]
            finals.table.append(Tested(
                name, tuple(_metric(o, "test") for o in outcomes),
                tuple(tuple((int(s), v) for s, v in o.get("curve", ())) for o in outcomes),
                tuple(str(o.get("why", "")) for o in outcomes),
            ))  # fmt: skip
        return True

    def _job(self, finalist: Finalist, stage: str) -> dict[str, Any]:
        search = self.searches[finalist.whose]
        return {"stage": stage, "loss": search.loss(finalist.individual.expr).to_json(), "phi": list(finalist.phi)}

    def _outcomes(
        self, asked: Mapping[tuple[int, str], dict[str, Any]]
    ) -> dict[tuple[int, str], dict[str, Any]] | None:
        """The outcomes of some jobs: known ones, and new ones as they come."""
        found = {at: self.known[at] for at in asked if at in self.known}
        todo = {f"{FINAL}/{ticket}/{stage}": (ticket, stage) for ticket, stage in asked if (ticket, stage) not in found}
        if todo and self.engine is None:
            return None
        flying: set[str] = set()
        waiting = list(todo)
        while self.engine is not None and (waiting or flying):
            while waiting and len(flying) <= self.engine.capacity and not self.stop():
                key = waiting.pop(0)
                flying.add(key)
                self.engine.submit(key, asked[todo[key]])
            if self.stop() and not flying:
                return None
            for key, outcome in self.engine.completed():
                if key not in todo:  # begun before the search was over, and not of it
                    continue
                flying.discard(key)
                ticket, stage = todo[key]
                found[ticket, stage] = outcome
                if self.write is not None:
                    self.write({"is": OUTCOME, "of": FINAL, "ticket": ticket, "stage": stage, "outcome": outcome})
                if self.told is not None:
                    self.told(len(found), len(asked))
        return found


def _of_judging(outcome: Mapping[str, Any]) -> float | None:
    """The metric of a training that came to its end."""
    return None if outcome.get("why") else _metric(outcome, "val")


def _metric(outcome: Mapping[str, Any], which: str) -> float | None:
    """A metric of an outcome, be it that of the last finite weights; None if there is none."""
    value = outcome.get(which)
    return None if value is None else float(value)


def _with_phi(finalist: Finalist, outcome: Mapping[str, Any]) -> Finalist:
    """The finalist as tuned, if tuning has made it better."""
    value = outcome.get("fitness")
    if outcome.get("status") != "ok" or value is None or not value < finalist.fitness:
        return finalist
    return Finalist(finalist.whose, finalist.individual, tuple(outcome["phi"]), float(value))


__all__ = ["BASELINE", "CONTROL", "Difference", "FinalRun", "Finalist", "Finals", "Tested", "difference"]
