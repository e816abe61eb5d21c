"""A whole search: a task and settings in, the best losses out, in a folder or without one.

>>> found = search("diabetes", preset="quick", engine="processes", workers=2, run="runs/a")
>>> print(found.best[0].formula)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from lossc.compiler.errors import UsageError, Warnings
from lossc.compiler.ir import Expr
from lossc.runtime.meta.optimize import describe_task
from lossc.runtime.runs import RunFolder, environment, read_environment
from lossc.runtime.search.bench import Bench
from lossc.runtime.search.callbacks import Callback, Watch
from lossc.runtime.search.candidate import run_job
from lossc.runtime.search.config import SearchConfig, make_search_config
from lossc.runtime.search.drive import run_searches
from lossc.runtime.search.evaluators import Evaluator, Serial, make_evaluator
from lossc.runtime.search.finals import FinalRun, Finals
from lossc.runtime.search.folder import KIND, read_settings, write_end, write_tables
from lossc.runtime.search.found import Found, found_losses
from lossc.runtime.search.journal import CONTROL, ENVIRONMENT, FINAL, SEARCH, Journal, Known, read_journal
from lossc.runtime.search.loop import Search
from lossc.runtime.search.setup import make_searches, roles_of, seed_expressions
from lossc.runtime.search.strategies import Individual
from lossc.runtime.tasks import Task, TaskSpec

TABLES_EVERY = 10.0
MAKE_RUN = "lossc.runtime.search.bench:make_run"


@dataclass(frozen=True, slots=True)
class Where:
    """Where jobs run: an engine ("serial", "processes", "dask"), how many workers, and what a job may take.

    address    of a Dask scheduler; deadline in seconds of wall time, memory in GiB
    """

    engine: str = ""
    workers: int = 1
    address: str | None = None
    deadline: float = 3600.0
    memory: float | None = None

    @property
    def name(self) -> str:
        """The engine that is meant: a scheduler's address means Dask, several workers processes."""
        return self.engine or ("dask" if self.address else "processes" if self.workers > 1 else "serial")


@dataclass(frozen=True, slots=True, eq=False)
class SearchResult:
    """What a search came to.

    best      the best losses, best first: judged again if the search was not stopped before
    finals    finalists, and the table of the test part; None if it was stopped
    control   the random search beside it, if there is one
    """

    best: tuple[Found, ...]
    search: Search
    control: Search | None
    finals: Finals | None
    task: Task
    seconds: float
    run: Path | None = None

    @property
    def stopped(self) -> bool:
        """Whether there is something to go on with."""
        return self.finals is None

    @property
    def committed(self) -> int:
        """Losses that were bred and judged."""
        return self.search.committed

    @property
    def counts(self) -> Mapping[str, int]:
        """What happened to them."""
        return dict(self.search.counts)


def search(
    task: Task | TaskSpec | str,
    *,
    preset: str = "quick",
    engine: str = "",
    workers: int = 1,
    where: Where | None = None,
    run: str | Path | None = None,
    resume: bool = False,
    allow_changes: bool = False,
    callbacks: Sequence[Callback] = (),
    stop: Callable[[], bool] = lambda: False,
    warnings: Warnings | None = None,
    **settings: Any,
) -> SearchResult:
    """Search for a loss on a task (thesis, section 3.2, algorithms 1 and 4).

    task       a name, a `TaskSpec`, or a task; worker processes need one of the first two
    run        a folder to keep the search in; `resume` goes on with one that is there, with the settings it has
    callbacks  hear of every commit and every new best, and may end the search (`lossc.runtime.search.callbacks`)
    settings   fields of `SearchConfig`

    Raises UsageError: L255 for settings that cannot be, L270 for functions or seeds, L256, L257, L272 and L233 for the
    folder, and those of the engine.
    """
    return run_session(
        task, make_search_config(preset, **settings), where or Where(engine, workers), run=run, resume=resume,
        allow_changes=allow_changes, callbacks=callbacks, stop=stop, warnings=warnings,
    )  # fmt: skip


def resume_search(
    run: str | Path, *, task: Task | None = None, where: Where | None = None, allow_changes: bool = False,
    callbacks: Sequence[Callback] = (), stop: Callable[[], bool] = lambda: False, warnings: Warnings | None = None,
) -> SearchResult:  # fmt: skip
    """Go on with the search in a folder: the settings and the task are those that it has.

    Raises UsageError (L256) if it holds no search, or one on a task that only the caller has (then `task` must be it).
    """
    asked, config, _ = read_settings(run)
    if asked is None and task is None:
        raise UsageError(
            "L256", f"the search in {run} is on a task that was made in Python", hint="resume_search(run, task=...)"
        )
    return run_session(
        task or asked or "", config, where or Where(), run=run, resume=True, allow_changes=allow_changes,
        callbacks=callbacks, stop=stop, warnings=warnings,
    )  # fmt: skip


def run_session(
    task: Task | TaskSpec | str,
    config: SearchConfig,
    where: Where,
    *,
    run: str | Path | None = None,
    resume: bool = False,
    allow_changes: bool = False,
    callbacks: Sequence[Callback] = (),
    stop: Callable[[], bool] = lambda: False,
    warnings: Warnings | None = None,
) -> SearchResult:
    """`search` with settings that are made."""
    began = time.perf_counter()
    torch.set_num_threads(1)  # in every process: outcomes do not depend on where they are found
    spec = None if isinstance(task, Task) else (TaskSpec(task) if isinstance(task, str) else task).anchored()
    made = task if isinstance(task, Task) else TaskSpec.load(spec, warnings) if spec is not None else None
    assert made is not None
    bench = Bench(made, config)
    seeds = seed_expressions(config, roles_of(made))
    make = _engine(where, bench, spec, config)
    if run is None:
        state = _State(config, bench, seeds, Known(), None, None)
        return state.run(make, callbacks, stop, began)
    about = {
        "kind": KIND, "task": None if spec is None else spec.as_json(), "about": _described(made),
        "settings": config.model_dump(mode="json"),
    }  # fmt: skip
    with RunFolder(run, about, resume=resume, lines=False) as folder:
        known = read_journal(folder.path)
        changed = _changes(folder.path, known) if resume else {}
        if changed and not allow_changes:
            shown = ", ".join(f"{k} {a} -> {b}" for k, (a, b) in changed.items())
            raise UsageError(
                "L272", f"{folder.path} was begun with other versions: {shown}",
                expected="the same, for a search that ends as if it had not been interrupted",
                hint="install those, or go on all the same with --allow-changes: the journal will say so",
            )  # fmt: skip
        state = _State(config, bench, seeds, known, folder, Journal(folder.path, known))
        if changed:
            state.write({"is": ENVIRONMENT, "changed": changed, "now": environment()})
        return state.run(make, callbacks, stop, began)


def _described(task: Task) -> dict[str, Any]:
    """What is said of a task in its run's folder."""
    shown = {"kind": task.kind, "roles": list(roles_of(task)), "metric": task.metric.name, "baseline": task.baseline}
    return {**describe_task(task), **shown}


def _changes(folder: Path, known: Known) -> dict[str, list[Any]]:
    """What of the environment is other than it was when the run was begun, or last gone on with."""
    before = known.environments[-1].get("now", {}) if known.environments else read_environment(folder)
    now = environment()
    return {k: [before[k], now[k]] for k in now if k in before and before[k] != now[k] and k != "threads"}


def _engine(where: Where, bench: Bench, spec: TaskSpec | None, config: SearchConfig) -> Callable[[], Evaluator]:
    if where.name == "serial":
        return lambda: Serial(lambda job: run_job(bench, job))
    if spec is None:
        raise UsageError(
            "L255", "worker processes make the task themselves, and this one was made in Python",
            hint='give its name, a TaskSpec, or "mytask.py:task"; or one worker',
        )  # fmt: skip
    given = {"make": MAKE_RUN, "with": {"task": spec.as_json(), "settings": config.model_dump(mode="json")}}
    return lambda: make_evaluator(
        where.name, given, workers=where.workers, address=where.address, deadline=where.deadline, memory=where.memory
    )


@dataclass(eq=False)
class _State:
    """A session under way."""

    config: SearchConfig
    bench: Bench
    seeds: tuple[Expr, ...]
    known: Known
    folder: RunFolder | None
    journal: Journal | None
    written: float = field(default_factory=time.monotonic)

    def write(self, line: Mapping[str, Any]) -> None:
        """To the journal, if there is one; a birth need not be on the disk before the next outcome."""
        if self.journal is not None:
            self.journal.add(line, sync="outcome" in line)

    def run(
        self, make: Callable[[], Evaluator], callbacks: Sequence[Callback], stop: Callable[[], bool], began: float
    ) -> SearchResult:
        """To the end, or until it is stopped; what is known is written out in any case."""
        searches = make_searches(self.config, roles_of(self.bench.whole), self.seeds, self.known)
        by_name = {s.name: s for s in searches}
        watch = Watch(callbacks)

        def told(search: Search, individual: Individual) -> None:
            watch.committed(search, individual)
            if self.folder is not None and time.monotonic() - self.written > TABLES_EVERY:
                write_tables(self.folder, by_name[SEARCH])
                self.written = time.monotonic()

        finals = None
        try:
            with make() as engine:
                watch.begin(by_name, engine)
                run_searches(searches, engine, write=self.write, told=told, stop=lambda: stop() or watch.over)
                if all(s.over for s in searches):
                    finals = FinalRun(
                        by_name, engine, self.known.outcomes.get(FINAL, {}), self.write, stop, watch.finishing
                    ).run()
        finally:
            if self.journal is not None:
                self.journal.close()
        result = SearchResult(
            found_losses(by_name[SEARCH], finals), by_name[SEARCH], by_name.get(CONTROL), finals,
            self.bench.whole, time.perf_counter() - began, None if self.folder is None else self.folder.path,
        )  # fmt: skip
        if self.folder is not None:
            write_tables(self.folder, by_name[SEARCH])
            write_end(self.folder, result)
        watch.ended(result)
        return result
