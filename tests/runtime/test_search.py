"""Searches: the same with any engine, number of workers and interruption; what is decided, and why."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import lossc
from lossc.compiler.errors import LosscError, UsageError
from lossc.compiler.ir import F, Y, node
from lossc.runtime.search.bench import Bench
from lossc.runtime.search.callbacks import Callback
from lossc.runtime.search.candidate import FAILED, OK, REJECTED, run_job
from lossc.runtime.search.config import PRESETS, SearchConfig, make_search_config
from lossc.runtime.search.drive import run_searches
from lossc.runtime.search.evaluators import Evaluator, Serial
from lossc.runtime.search.loop import SAME_FORMULA, SAME_GRADIENT, Search
from lossc.runtime.search.session import SearchResult, search
from lossc.runtime.search.setup import make_searches
from lossc.runtime.search.strategies import Genetic, Individual
from lossc.runtime.tasks import Task, TaskSpec

SPEC = TaskSpec("diabetes", batch_size=16, steps=60)
"""Sixty steps are enough for the comparison at the end."""
SMALL: dict[str, Any] = {
    "population": 6, "generations": 3, "fitness_steps": 10, "meta_steps": 4, "reject_steps": 30, "reject_rows": 20,
    "rerank": 2, "rerank_steps": 10, "test_seeds": 2, "window": 4,
}  # fmt: skip
METHODS = ("evomal", "gp-lfl", "glo", "aged", "random")


def small(**changes: Any) -> SearchConfig:
    """Settings of a search that takes a second."""
    return make_search_config("quick", **{**SMALL, **changes})


def diabetes() -> Task:
    """The task."""
    return SPEC.load()


def bench(config: SearchConfig) -> Bench:
    """Where the losses of the tests are judged."""
    return Bench(diabetes(), config)


def serial(config: SearchConfig) -> Serial:
    """In this process."""
    here = bench(config)
    return Serial(lambda job: run_job(here, job))


def digest(*searches: Search | None) -> str:
    """Population and archive as one number."""
    rows = [
        (i.ticket, i.expr.digest.hex(), repr(i.value), i.operator, i.parents, i.same_as, i.member,
         i.outcome and (i.outcome["why"], i.outcome.get("phi")))
        for s in searches if s is not None for i in s.population
    ]  # fmt: skip
    counts = [sorted(s.counts.items()) for s in searches if s is not None]
    return hashlib.sha256(repr((rows, counts)).encode()).hexdigest()


def digest_of(found: SearchResult) -> str:
    """Both searches, the finalists and the table of the end."""
    assert found.finals is not None
    finals = [(f.individual.ticket, f.phi, f.again) for fs in found.finals.finalists.values() for f in fs]
    table = [(r.name, r.values) for r in found.finals.table]
    return hashlib.sha256(repr((digest(found.search, found.control), finals, table)).encode()).hexdigest()


def whole(config: SearchConfig, engine: Evaluator | None = None, seeds: tuple[Any, ...] = ()) -> list[Search]:
    """A search and its control to their ends."""
    searches = make_searches(config, ("real", "real"), seeds)
    with engine or serial(config) as here:
        run_searches(searches, here)
    return searches


class Scrambled(Evaluator):
    """Takes many jobs at once and gives them back in another order."""

    capacity = 6

    def __init__(self, config: SearchConfig) -> None:
        self.bench, self.jobs = bench(config), []  # type: ignore[var-annotated]

    @property
    def running(self) -> int:
        return len(self.jobs)

    def submit(self, key: str, job: Mapping[str, Any]) -> None:
        self.jobs.append((key, job))

    def completed(self) -> Iterator[tuple[str, dict[str, Any]]]:
        if self.jobs:
            key, job = self.jobs.pop(len(self.jobs) * 7919 % 5 % len(self.jobs))
            yield key, run_job(self.bench, job)

    def close(self) -> None:
        self.jobs.clear()


@pytest.mark.parametrize(
    "changes",
    [{"method": m} for m in METHODS]
    + [{"schedule": "steady"}, {"schedule": "islands", "islands": 2, "population": 4, "generations": 6},
       {"fitness_steps": 8, "fitness_seeds": 3, "race_margin": 0.0}, {"preset": "thesis"}],
    ids=str,
)  # fmt: skip
def test_one_search_in_whatever_order_outcomes_come(changes: dict[str, Any]) -> None:
    """One after the other, and many at once and scrambled: one population, one archive, also of the control. Another
    seed begins with other losses."""
    config = make_search_config(**{**SMALL, **changes})

    one, other = whole(config), whole(config, Scrambled(config))

    assert digest(*one) == digest(*other)
    elsewhere = whole(config.model_copy(update={"seed": 1, "generations": 1, "control": False}))[0]
    first = [i.expr for i in elsewhere.individuals[: config.population]]
    assert len(first) == config.population and first != [i.expr for i in one[0].individuals[: config.population]]


def test_a_generation_is_filled_with_losses_that_are_trained() -> None:
    """What the filters reject takes no place; with `fill` off it does, as in the thesis."""
    ours, control = whole(small())
    theirs = whole(make_search_config("thesis", **{**SMALL, "generations": 2, "control": False}))[0]

    for start, end in zip(ours.past.starts[:-1], ours.past.starts[1:], strict=True):
        assert sum(bool(i.member) for i in ours.individuals[start:end]) == 6
    assert ours.members == 18 < ours.committed
    assert theirs.past.starts == [0, 6, 12] and theirs.committed == 12
    assert control.trainings == ours.trainings


def test_filters_do_not_make_a_search_wait_for_ever() -> None:
    """If nothing passes, a generation ends after twenty times as many losses, and the search after all of them."""
    state = whole(small(population=2, generations=2, reject_least=1e9, audit=0.0, control=False))[0]

    assert state.over and not state.trainings and state.committed == 80
    assert state.past.starts == [0, 40, 80] and not state.best


def test_elites_are_kept() -> None:
    """The best of a generation is in the next one, unchanged, without being judged again."""
    state = whole(small(population=10, generations=2, elitism=0.1, control=False))[0]

    pool = state.past.generation(0)
    first = min(pool, key=lambda i: (i.value, len(i), i.ticket))
    kept = [i for i in state.population if i.operator == "elite"]
    assert [i.expr for i in kept] == [first.expr]
    assert kept[0].same_as == first.ticket and kept[0].value == first.value


def test_islands_exchange_their_best() -> None:
    """A generation is bred from the last one of its own island; now and then a migrant comes from the one before."""
    config = small(schedule="islands", islands=2, population=4, generations=8, migrate_every=2, control=False)
    state = whole(config)[0]

    starts = state.past.starts
    seen = 0
    assert len(starts) > 5
    for number in range(2, len(starts) - 1):
        assert len(state.past.generation(number)) >= 4
        for here in state.individuals[starts[number] : starts[number + 1]]:
            for parent in here.parents:
                home = max(g for g, s in enumerate(starts) if s <= parent)
                assert number - home == (3 if here.operator == "migrant" else 2)
                seen += here.operator == "migrant"
    assert seen


def test_steady_state_breeds_from_what_is_far_enough_back() -> None:
    """No parent is within the last `window` tickets."""
    state = whole(small(schedule="steady", generations=5, control=False))[0]

    bred = [i for i in state.population if i.parents]
    assert bred and all(max(i.parents) <= i.ticket - 4 for i in bred)


def test_what_is_known_is_not_judged_again() -> None:
    """The same formula written otherwise, and another formula of the same gradient, take the first one's outcome."""
    texts = ("(y - f)^2", "square(f - y)", "f^2 - 2*y*f + y^2", "abs(y - f)")
    seeds = tuple(lossc.parse(t).body for t in texts)
    state = whole(small(population=4, generations=1, redraw=0, control=False), seeds=seeds)[0]

    assert [i.same_as for i in state.population[:4]] == [None, 0, 0, None]
    assert state.counts[SAME_FORMULA] == 1 and state.counts[SAME_GRADIENT] == 1
    assert state.individuals[1].value == state.individuals[0].value


def test_early_rejects_are_audited() -> None:
    """With an audit of 1 every early reject with a gradient is looked into: what it comes to is known."""
    config = small(population=6, generations=1, audit=1.0, control=False)
    seeds = (lossc.parse("-(y - f)^2").body, lossc.parse("(y - f)^2").body)
    state = whole(config, seeds=seeds)[0]

    assert state.filtered[0]["status"] == REJECTED
    assert state.trained[0]["audited"] == "unpromising" and state.trained[0]["late"] == "unpromising"
    assert not state.individuals[0].member and not state.individuals[0].fitness.valid
    assert "audited" not in state.trained[1]


def test_outcomes_are_pure() -> None:
    """The same job twice, on two benches, gives the same outcome, but for the time."""
    config = small()
    loss = Search(config, ("real", "real")).loss(node("square", Y - F)).to_json()

    one, two = (run_job(bench(config), {"stage": s, "loss": loss}) for s in ("train", "train"))

    assert {**one, "seconds": 0} == {**two, "seconds": 0} and one["status"] == OK
    broken = run_job(bench(config), {"stage": "train", "loss": "{}"})
    assert broken["status"] == FAILED and "L021" in broken["why"]


def test_presets_and_wrong_settings() -> None:
    """Every preset is whole; what cannot be is an error of the call."""
    for name in PRESETS:
        assert make_search_config(name).preset == name
    assert isinstance(Genetic(make_search_config("thesis")).how.limits.height, int)
    for settings in ({"preset": "fast"}, {"population": 1}, {"method": "magic"}, {"crossover": 2.0}):
        with pytest.raises(UsageError) as caught:
            make_search_config(**settings)  # type: ignore[arg-type]
        assert caught.value.diagnostic.code == "L255"
    for seeds in (("logsumexp_c(f)",), ("y - g",), ("huber",)):
        with pytest.raises(LosscError):
            search(SPEC, seeds=seeds, **SMALL)
    with pytest.raises(UsageError) as caught:
        search(diabetes(), workers=2, **SMALL)
    assert "made in Python" in str(caught.value)


def test_callbacks_hear_of_it_and_can_end_it(tmp_path: Path) -> None:
    """Every commit, every new best, the end; one that says so ends the search, which can be gone on with."""

    class Heard(Callback):
        def __init__(self, most: int) -> None:
            self.most, self.values, self.seen, self.ended = most, [], 0, False  # type: ignore[var-annotated]

        def on_commit(self, search: Search, individual: Individual) -> bool:
            self.seen += search.name == "search"
            return self.seen >= self.most

        def on_best(self, search: Search, individual: Individual) -> None:
            self.values.append(individual.value)

        def on_end(self, result: SearchResult) -> None:
            self.ended = True

    short, long = Heard(5), Heard(10**6)
    part = search(SPEC, run=tmp_path / "a", callbacks=[short], **SMALL)
    again = search(SPEC, run=tmp_path / "a", resume=True, callbacks=[long], **SMALL)

    assert part.stopped and short.ended and part.committed < again.committed
    assert long.values == sorted(long.values, reverse=True) and long.values[-1] == again.search.best[0].value
    assert digest_of(again) == digest_of(search(SPEC, **SMALL))


def test_patience_and_trainings_end_a_search() -> None:
    """After so many losses without a new best; after so many trainings."""
    patient = whole(small(generations=30, patience=15, control=False))[0]
    cut = whole(small(trainings=4, control=False))[0]

    assert patient.committed == patient.improved + 16 and patient.members < patient.config.budget
    assert cut.trainings == 4 and cut.individuals[cut.committed - 1].outcome is not None


def test_glo_tunes_its_best(tmp_path: Path) -> None:
    """Nothing is learned while searching; CMA-ES then finds coefficients of the best that are no worse."""
    found = search(
        SPEC, run=tmp_path / "a", **{**SMALL, "method": "glo", "tune": 1, "tune_steps": 2, "tune_population": 4}
    )

    assert found.finals is not None
    ours = found.finals.finalists["search"]
    journal = [json.loads(line) for line in (tmp_path / "a" / "journal.jsonl").read_text().splitlines()]
    tuned = [line["outcome"] for line in journal if line.get("stage") == "tune:search"]
    before = found.search.best[0]
    assert len(tuned) == 1 and all(abs(p - 1) < 0.01 for p in (before.outcome or {})["phi"])
    first = next(f for f in ours if f.individual is before)
    assert first.fitness == min(before.value, tuned[0]["fitness"])
    assert (first.phi == tuple(tuned[0]["phi"])) == (tuned[0]["fitness"] < before.value)
