"""A whole search: settings in, the best losses out, in a folder or without one.

>>> found = search(get_task("diabetes"), preset="quick", workers=2, run="runs/a")
>>> print(found.best[0].formula)
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lossc.compiler.errors import UsageError
from lossc.compiler.ir import Expr
from lossc.compiler.loss import Loss
from lossc.grammar import parse
from lossc.runtime.meta.optimize import describe_task
from lossc.runtime.runs import RunFolder
from lossc.runtime.search.candidate import Bench, run_job
from lossc.runtime.search.config import SearchConfig, make_search_config
from lossc.runtime.search.engines import Evaluator, Processes, Serial
from lossc.runtime.search.folder import known_outcomes, record, write_tables
from lossc.runtime.search.loop import Commit, Search, run_search
from lossc.runtime.search.strategies import Individual
from lossc.runtime.tasks import Task

MakeTask = Callable[[], Task]
TABLES_EVERY = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """One of the best losses.

    loss      with its learned coefficients as numbers; `formula` is that, rounded; `structure` the form without them
    fitness   of the search; `again` the validation metric with other seeds and more steps, their mean
    """

    ticket: int
    loss: Loss
    formula: str
    structure: str
    fitness: float
    size: int
    again: float | None
    coefficients: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class SearchResult:
    """What a search came to: the best losses, best first, and what happened to all."""

    best: tuple[Found, ...]
    committed: int
    counts: Mapping[str, int]
    seconds: float
    stopped: bool
    search: Search


def roles_of(task: Task) -> tuple[str, str]:
    """The roles of y and f in losses for a task."""
    return ("onehot", "prob") if task.kind == "classification" else ("real", "real")


def seed_expressions(config: SearchConfig, roles: tuple[str, str]) -> tuple[Expr, ...]:
    """The formulas that begin in the population, or named losses: parsed as any other. LosscError if one is wrong."""
    from lossc.grammar.library import named, names

    out = []
    for text in config.seeds:
        loss = named(text) if text in names() else parse(text, y=roles[0], f=roles[1])
        if loss.uses_class_axis or loss.params:
            raise UsageError(
                "L270", f"`{text}` works along the classes or has hyper-parameters, and losses of a search do not"
            )
        out.append(loss.body)
    return tuple(out)


def search(
    task: Task | MakeTask,
    *,
    preset: str = "quick",
    workers: int = 1,
    run: str | Path | None = None,
    resume: bool = False,
    told: Commit | None = None,
    stop: Callable[[], bool] = lambda: False,
    **settings: Any,
) -> SearchResult:
    """Search for a loss on a task (thesis, section 3.2).

    task      the task, or a function that makes it: worker processes need one that they can import
    settings  fields of `SearchConfig`

    Raises UsageError: L255 for settings that cannot be, L270 for functions or seeds, and those of `RunFolder`.
    """
    began = time.perf_counter()
    config = make_search_config(preset, **settings)
    made = task if isinstance(task, Task) else task()
    roles = roles_of(made)
    here = Search(config, roles, seed_expressions(config, roles))
    bench = _bench(made, config)
    engine: Callable[[], Evaluator] = functools.partial(Serial, lambda: bench)
    if workers != 1:
        engine = functools.partial(Processes, functools.partial(_bench, task, config), workers)
    if run is None:
        _run(here, engine, None, bench, told, stop)
        return _result(here, bench, began)
    about = {"kind": "search", "task": describe_task(made), "settings": config.model_dump(mode="json")}
    with RunFolder(run, about, resume=resume, journal=True) as folder:
        here.known = known_outcomes(run)
        _run(here, engine, folder, bench, told, stop)
        write_tables(folder, here, bench)
        return _result(here, bench, began)


def _bench(task: Task | MakeTask, config: SearchConfig) -> Bench:
    """On one thread, in every process: outcomes do not depend on where they are found."""
    torch.set_num_threads(1)
    return Bench(task if isinstance(task, Task) else task(), config)


def _run(
    here: Search, make_engine: Callable[[], Evaluator], folder: RunFolder | None, bench: Bench, told: Commit | None,
    stop: Callable[[], bool],
) -> None:  # fmt: skip
    written = [time.monotonic()]

    def on_commit(state: Search, individual: Individual) -> None:
        if told is not None:
            told(state, individual)
        if folder is not None and time.monotonic() - written[0] > TABLES_EVERY:
            write_tables(folder, state, bench)
            written[0] = time.monotonic()

    def note(line: Mapping[str, Any]) -> None:
        if folder is not None:
            folder.note({"step": 0, **line})

    with make_engine() as engine:
        run_search(here, engine, journal=note, told=on_commit, stop=stop)


def _result(here: Search, bench: Bench, began: float) -> SearchResult:
    config = here.config
    best = [_found(here, bench, i) for i in here.best[: max(config.rerank, 10)]]
    if config.rerank and here.over:
        judged = [_again(here, bench, f) for f in best[: config.rerank]]
        best = sorted(judged, key=lambda f: f.again if f.again is not None else float("inf")) + best[config.rerank :]
    return SearchResult(
        tuple(best), here.committed, dict(here.counts), time.perf_counter() - began, not here.over, here
    )


def _found(here: Search, bench: Bench, individual: Individual) -> Found:
    data = record(here, bench, individual)
    family = bench.family(here.loss(individual.expr).to_json())
    phi = torch.tensor(data["coefficients"], dtype=torch.float64)
    return Found(
        individual.ticket, family.fold(phi), data["formula"], data["structure"], individual.value, len(individual),
        None, tuple(data["coefficients"]),
    )  # fmt: skip


def _again(here: Search, bench: Bench, found: Found) -> Found:
    """Judged with other seeds and more steps: the best of many short runs is often the luckiest."""
    loss = here.loss(here.individuals[found.ticket].expr).to_json()
    values: list[float] = []
    for seed in range(here.config.rerank_seeds):
        job = {"stage": "judge", "loss": loss, "phi": list(found.coefficients), "seed": seed,
               "steps": here.config.rerank_steps}  # fmt: skip
        outcome = run_job(bench, job)
        value = outcome.get("val")
        values.append(float("inf") if value is None or outcome["why"] else value)
    mean = sum(values) / len(values)
    return replace(found, again=mean if mean < float("inf") else None)
