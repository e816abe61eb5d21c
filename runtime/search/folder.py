"""A search as a folder: the settings, the journal that is the truth, and what is readable while it runs.

    config.json            the settings as resolved, the task, the environment
    journal.jsonl          births and outcomes, a line each, synced (`lossc.runtime.search.journal`)
    generations.csv        what every generation came to
    front.csv              the losses that are not beaten in both fitness and size, best first
    hall_of_fame.json      the best losses, with formula, coefficients and lineage
    index.sqlite           every loss as a row, for questions in SQL
    best.loss, best.py     the best loss, as a definition and as a standalone PyTorch file, at the end
    final.json             the best judged again, and the table of the test part
    report.html            all of it for reading

All but the first two can be made again from them: `read_run` replays the journal.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossc.compiler.errors import UsageError
from lossc.runtime.plain import finite_values
from lossc.runtime.runs import RunFolder, read_config, read_environment
from lossc.runtime.search.config import SearchConfig
from lossc.runtime.search.drive import replay
from lossc.runtime.search.finals import Finalist, FinalRun, Finals
from lossc.runtime.search.found import KEPT, Found, found_loss, front_losses
from lossc.runtime.search.index import update_index
from lossc.runtime.search.journal import CONTROL, FINAL, SEARCH, read_journal
from lossc.runtime.search.log import log_table
from lossc.runtime.search.loop import Search
from lossc.runtime.search.setup import make_searches
from lossc.runtime.tasks import TaskSpec

if TYPE_CHECKING:
    from lossc.runtime.search.session import SearchResult

KIND = "search"
GENERATIONS, FRONT, FAME, INDEX = "generations.csv", "front.csv", "hall_of_fame.json", "index.sqlite"
BEST, MODULE, FINALS, REPORT = "best.loss", "best.py", "final.json", "report.html"


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A search that is read back from its folder, as far as it had come.

    spec     the task; None if it was made in Python
    about    what is said of the task: name, model, metric, baseline, ...
    finals   None if the search is not at its end
    """

    path: Path
    spec: TaskSpec | None
    config: SearchConfig
    about: dict[str, Any]
    environment: dict[str, Any]
    search: Search
    control: Search | None
    finals: Finals | None

    @property
    def over(self) -> bool:
        """Whether there is nothing to go on with."""
        return self.finals is not None


def read_settings(path: str | Path) -> tuple[TaskSpec | None, SearchConfig, dict[str, Any]]:
    """The task, the settings and what is said of the task. UsageError (L256) if there is no search in the folder."""
    found = read_config(path)
    if found.get("kind") != KIND:
        raise UsageError("L256", f"{path} holds no search, but a run of `{str(found.get('kind'))[:40]}`")
    try:
        spec = None if found["task"] is None else TaskSpec.from_json(found["task"])
        about = dict(found["about"])
        if about["roles"] not in (["real", "real"], ["onehot", "prob"]):
            raise ValueError("the roles of the losses are none")
        return spec, SearchConfig(**found["settings"]), about
    except (KeyError, TypeError, ValueError, AttributeError, UsageError) as problem:
        why = " ".join(str(problem).split())[:200]
        raise UsageError("L256", f"the settings in {path} cannot be used: {why}") from None


def read_run(path: str | Path) -> Run:
    """The search in a folder, replayed from its journal; nothing is computed and nothing written.

    Raises UsageError (L256) if there is none, or its journal is damaged.
    """
    spec, config, about = read_settings(path)
    known = read_journal(path)
    searches = make_searches(config, tuple(about["roles"]), (), known)
    replay(searches)
    by_name = {s.name: s for s in searches}
    finals = None
    if all(s.over for s in searches):
        finals = FinalRun(by_name, None, known.outcomes.get(FINAL, {})).run()
    return Run(Path(path), spec, config, about, read_environment(path), by_name[SEARCH], by_name.get(CONTROL), finals)


def write_tables(folder: RunFolder, search: Search) -> None:
    """Replace the tables that are readable while a search runs, each as a whole."""
    rows = io.StringIO()
    table = csv.writer(rows, lineterminator="\n")
    table.writerow(["fitness", "size", "ticket", "structure", "formula"])
    for found in front_losses(search):
        table.writerow([repr(found.fitness), found.size, found.ticket, found.structure, found.formula])
    folder.write(FRONT, rows.getvalue())
    folder.write(GENERATIONS, log_table(search))
    best = [found_loss(search, i).as_json() for i in search.best[:KEPT]]
    _write_json(folder, FAME, {"committed": search.committed, "counts": search.counts, "best": best})
    update_index(folder.path / INDEX, search)


def write_end(folder: RunFolder, result: SearchResult) -> None:
    """What a search leaves: the best loss as a definition and as a file, the table of the end, and the report."""
    if result.best:
        loss = named_loss(result.best[0], result.search, result.task.name, result.task.model)
        folder.write(BEST, loss.definition() + "\n")
        folder.write(MODULE, loss.emit("torch"))
    if result.finals is not None:
        _write_json(folder, FINALS, finals_as_json(result.finals))
    if result.control is not None:
        update_index(folder.path / INDEX, result.control)
    from lossc.runtime.search.report import render_report

    folder.write(REPORT, render_report(read_run(folder.path)))


def named_loss(found: Found, search: Search, task: str, model: str) -> Any:
    """The loss of a search with a name and where it is from, as a definition has them."""
    c = search.config
    doc = f"Found on {task} ({model}) by {c.method}, preset {c.preset}, seed {c.seed}."
    return replace(found.loss, name="found", doc=doc, source="")


def finals_as_json(finals: Finals) -> dict[str, Any]:
    """The end as plain data."""
    rows = []
    for row in finals.table:
        against = finals.against(row.name)
        rows.append({
            "name": row.name, "test": list(row.values), "mean": row.spread.mean, "std": row.spread.std,
            "gain_of_the_winner": None if against is None else against.gain.mean,
            "p": None if against is None else against.p, "failures": [f for f in row.failures if f],
        })  # fmt: skip
    finalists = {whose: [_finalist(f) for f in found] for whose, found in finals.finalists.items()}
    return {"table": [finite_values(r) for r in rows], "finalists": finalists}


def _finalist(f: Finalist) -> dict[str, Any]:
    shown = {"ticket": f.individual.ticket, "fitness": f.fitness, "again": list(f.again), "mean": f.mean}
    return finite_values(shown)


def _write_json(folder: RunFolder, name: str, data: Any) -> None:
    folder.write(name, json.dumps(data, indent=1, allow_nan=False) + "\n")
