"""Searches: the same with any number of workers, engine and interruption; what is decided, and why."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import lossc
from lossc.compiler.errors import LosscError, UsageError
from lossc.compiler.ir import F, Y, node
from lossc.runtime import runs
from lossc.runtime.search.candidate import FAILED, OK, REJECTED, Bench, run_job
from lossc.runtime.search.config import PRESETS, SearchConfig, make_search_config
from lossc.runtime.search.engines import Evaluator, Processes, Serial
from lossc.runtime.search.folder import front, known_outcomes
from lossc.runtime.search.loop import SAME_FORMULA, SAME_GRADIENT, Search, run_search
from lossc.runtime.search.session import search
from lossc.runtime.search.strategies import Generational, Individual
from lossc.runtime.tasks import Task, get_task
from tests.cli.support import environment

SMALL = {
    "population": 6, "generations": 3, "fitness_steps": 10, "meta_steps": 4, "reject_steps": 30, "reject_rows": 20,
    "rerank": 2, "rerank_steps": 10,
}  # fmt: skip


def small(**changes: Any) -> SearchConfig:
    """Settings of a search that takes a second."""
    return make_search_config("quick", **{**SMALL, **changes})


def diabetes() -> Task:
    """The task; importable by worker processes."""
    return get_task("diabetes", batch_size=16)


def bench(config: SearchConfig) -> Bench:
    """Where the losses of the tests are judged."""
    return Bench(diabetes(), config)


def digest(state: Search) -> str:
    """Population and archive as one number."""
    rows = [
        (i.ticket, i.expr.digest.hex(), repr(i.value), i.operator, i.parents, i.same_as, i.outcome and i.outcome["why"])
        for i in state.individuals
    ]
    return hashlib.sha256(repr((rows, sorted(state.counts.items()))).encode()).hexdigest()


def whole(config: SearchConfig, engine: Evaluator) -> Search:
    """A search to its end."""
    state = Search(config, ("real", "real"))
    with engine:
        run_search(state, engine)
    return state


class Scrambled(Evaluator):
    """Takes many jobs at once and gives them back in another order."""

    capacity = 6

    def __init__(self, config: SearchConfig) -> None:
        self.bench, self.jobs = bench(config), []  # type: ignore[var-annotated]

    def submit(self, ticket: int, job: Mapping[str, Any]) -> None:
        self.jobs.append((ticket, job))

    def completed(self) -> Iterator[tuple[int, dict[str, Any]]]:
        if self.jobs:
            ticket, job = self.jobs.pop(hash(len(self.jobs) * 7919) % len(self.jobs))
            yield ticket, run_job(self.bench, job)

    def close(self) -> None:
        self.jobs.clear()


@pytest.mark.parametrize("method", ["evomal", "aged", "gp-lfl", "random"])
def test_one_search_whatever_the_engine(method: str) -> None:
    """In this process, scrambled, and in two processes: one population, one archive."""
    config = small(method=method)

    engines: list[Evaluator] = [Serial(partial(bench, config)), Scrambled(config)]
    engines += [Processes(partial(bench, config), 2)] if method in ("evomal", "aged") else []
    found = [digest(whole(config, engine)) for engine in engines]

    assert len(set(found)) == 1
    assert digest(whole(small(method=method, seed=1), Serial(partial(bench, small(seed=1))))) != found[0]


def test_a_worker_that_is_killed_changes_nothing() -> None:
    """SIGKILL of a worker in the middle: its job is done again, and the search is the same."""
    config = small()
    engine = Processes(partial(bench, config), 2)
    state, killed = Search(config, ("real", "real")), []

    def kill(search: Search, individual: Individual) -> None:
        if individual.ticket == 5 and not killed:
            killed.append(engine.workers[0].process.pid)
            os.kill(killed[0], signal.SIGKILL)

    with engine:
        run_search(state, engine, told=kill)

    assert killed and digest(state) == digest(whole(config, Serial(partial(bench, config))))


def poisoned(config: SearchConfig) -> Bench:
    """A bench whose every job kills the process."""

    class Poison(Bench):
        def family(self, loss: Any) -> Any:
            os.kill(os.getpid(), signal.SIGKILL)

    return Poison(diabetes(), config)


def stuck(config: SearchConfig) -> Bench:
    """A bench whose every job hangs."""

    class Stuck(Bench):
        def family(self, loss: Any) -> Any:
            time.sleep(600)

    return Stuck(diabetes(), config)


@pytest.mark.parametrize(("make", "says"), [(poisoned, "died"), (stuck, "no outcome")])
def test_poison_and_hanging_jobs_are_outcomes(make: Any, says: str) -> None:
    """A loss that kills its worker, or hangs, has failed; the search goes on to its end."""
    config = small(population=2, generations=1)

    state = whole(config, Processes(partial(make, config), 1, deadline=4.0))

    assert state.over
    first = state.individuals[0].outcome
    assert first is not None and first["status"] == FAILED and says in first["why"]


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    """After kill -9 of the driver no worker is left within a few seconds."""
    code = (
        "import sys, time\nfrom functools import partial\n"
        "from lossc.runtime.search.engines import Processes\n"
        "from lossc.runtime.search.session import _bench\n"
        "from lossc.runtime.search.config import make_search_config\n"
        "from lossc.runtime.tasks import get_task\n"
        "if __name__ == '__main__':\n"
        "    pool = Processes(partial(_bench, partial(get_task, 'diabetes'), make_search_config()), 2)\n"
        "    print(*[w.process.pid for w in pool.workers], flush=True)\n    time.sleep(100)\n"
    )
    script = tmp_path / "driver.py"
    script.write_text(code)
    driver = subprocess.Popen([sys.executable, str(script)], env=environment(), stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    workers = [int(p) for p in driver.stdout.readline().split()]
    driver.kill()
    driver.wait()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and any(_alive(p) for p in workers):
        time.sleep(0.2)
    assert len(workers) == 2 and not any(_alive(p) for p in workers)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_a_search_that_is_killed_resumes_to_the_same(tmp_path: Path) -> None:
    """Cut off after any number of journalled jobs, with a torn last line, on another engine: the same search."""
    config = small()
    reference = search(diabetes, run=tmp_path / "a", **SMALL)
    lines = (tmp_path / "a" / runs.PROGRESS).read_text().splitlines(keepends=True)

    for kept, workers in ((0, 1), (7, 2)):
        broken = tmp_path / f"b{kept}"
        broken.mkdir()
        (broken / runs.CONFIG).write_text((tmp_path / "a" / runs.CONFIG).read_text())
        (broken / runs.PROGRESS).write_text("".join(lines[:kept]) + '{"step": 0, "ticket": 3, "sta')
        found = search(diabetes, run=broken, resume=True, workers=workers, **SMALL)
        assert digest(found.search) == digest(reference.search)
        assert [f.formula for f in found.best] == [f.formula for f in reference.best]
        assert known_outcomes(broken).keys() == known_outcomes(tmp_path / "a").keys()
    assert config.budget == reference.committed == 18


def test_ctrl_c_finishes_what_is_in_flight(tmp_path: Path) -> None:
    """Asked to stop, a search keeps what it has; resumed, it ends as if it had not been."""
    seen: list[int] = []

    def told(state: Search, individual: Individual) -> None:
        seen.append(individual.ticket)

    part = search(diabetes, run=tmp_path / "a", told=told, stop=lambda: len(seen) >= 6, **SMALL)
    again = search(diabetes, run=tmp_path / "a", resume=True, **SMALL)

    assert part.stopped and 6 <= part.committed < 18 and not again.stopped
    assert digest(again.search) == digest(search(diabetes, **SMALL).search)


def test_tables_are_readable(tmp_path: Path) -> None:
    """front.csv is a front, hall_of_fame.json holds the losses so that they can be used."""
    found = search(diabetes, run=tmp_path / "a", **SMALL)

    rows = (tmp_path / "a" / "front.csv").read_text().splitlines()
    fame = json.loads((tmp_path / "a" / "hall_of_fame.json").read_text())
    sizes = [len(i) for i in front(found.search)]
    assert rows[0].startswith("fitness,size") and len(rows) == 1 + len(sizes)
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == len(sizes)
    assert fame["committed"] == 18 and fame["best"][0]["fitness"] == found.search.best[0].value
    module = found.best[0].loss.to_torch()
    assert module is not None


def test_elites_are_kept() -> None:
    """The best of a generation is in the next one, unchanged, without being judged again."""
    config = small(population=10, generations=2, elitism=0.1)
    state = whole(config, Serial(partial(bench, config)))

    first = min(state.individuals[:10], key=lambda i: (i.value, len(i), i.ticket))
    kept = [i for i in state.individuals[10:] if i.operator == "elite"]
    if first.fitness.valid:
        assert [i.expr for i in kept] == [first.expr]
        assert kept[0].same_as == first.ticket and kept[0].value == first.value


def test_what_is_known_is_not_judged_again() -> None:
    """The same formula written otherwise, and another formula of the same gradient, take the first one's outcome."""
    texts = ("(y - f)^2", "square(f - y)", "f^2 - 2*y*f + y^2", "abs(y - f)")
    seeds = tuple(lossc.parse(t).body for t in texts)
    config = small(population=4, generations=1, redraw=0)
    state = Search(config, ("real", "real"), seeds)
    with Serial(partial(bench, config)) as engine:
        run_search(state, engine)

    assert [i.same_as for i in state.individuals] == [None, 0, 0, None]
    assert state.counts == {OK: 2, SAME_FORMULA: 1, SAME_GRADIENT: 1}
    assert state.individuals[1].value == state.individuals[0].value


def test_early_rejects_are_audited() -> None:
    """With an audit of 1 every early reject with a gradient is looked into: what it comes to is known."""
    config = small(population=6, generations=1, audit=1.0)
    seeds = (lossc.parse("-(y - f)^2").body, lossc.parse("(y - f)^2").body)
    state = Search(config, ("real", "real"), seeds)
    with Serial(partial(bench, config)) as engine:
        run_search(state, engine)

    assert state.filtered[0]["status"] == REJECTED
    assert "phi" in state.trained[0]


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
    assert isinstance(Generational(make_search_config("thesis")).how.limits.height, int)
    for settings in ({"preset": "fast"}, {"population": 1}, {"method": "magic"}, {"crossover": 2.0}):
        with pytest.raises(UsageError) as caught:
            make_search_config(**settings)  # type: ignore[arg-type]
        assert caught.value.diagnostic.code == "L255"
    for seeds in (("logsumexp_c(f)",), ("y - g",), ("huber",)):
        with pytest.raises(LosscError):
            search(diabetes, seeds=seeds, **SMALL)
