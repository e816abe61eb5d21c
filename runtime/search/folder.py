"""A search as a folder: the settings, the journal that is the truth, and tables that are readable while it runs.

    config.json            the settings as resolved, the task, the environment
    progress.jsonl         the journal: one line a job that was run, synced; a torn last line is dropped
    front.csv              the losses that are not beaten in both fitness and size, best first
    hall_of_fame.json      the best losses, with formula, coefficients and lineage
    best.loss, best.py     the best loss, at the end

A search that is gone on with breeds everything again from its seed and takes the outcomes that the journal has.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from lossc.runtime.runs import RunFolder, read_progress
from lossc.runtime.search.candidate import Bench
from lossc.runtime.search.loop import Search
from lossc.runtime.search.strategies import Individual

FRONT, FAME = "front.csv", "hall_of_fame.json"
KEPT = 20


def known_outcomes(path: str | Path) -> dict[tuple[int, str], dict[str, Any]]:
    """The outcomes of a journal, by ticket and stage."""
    return {(line["ticket"], line["stage"]): line["outcome"] for line in read_progress(path) if "ticket" in line}


def front(search: Search) -> list[Individual]:
    """The Pareto front over fitness and size: no other loss is as good in both and better in one."""
    out: list[Individual] = []
    for here in search.best:
        if all(len(here) < len(other) for other in out):
            out.append(here)
    return out


def formula(search: Search, bench: Bench, here: Individual) -> str:
    """The loss with its learned coefficients, rounded for reading."""
    import torch

    assert here.outcome is not None
    family = bench.family(search.loss(here.expr).to_json())
    return family.describe(torch.tensor(here.outcome["phi"], dtype=torch.float64))


def record(search: Search, bench: Bench, here: Individual) -> dict[str, Any]:
    """A loss of the search as plain data."""
    assert here.outcome is not None
    return {
        "ticket": here.ticket, "fitness": here.value, "size": len(here), "operator": here.operator,
        "parents": list(here.parents), "structure": str(search.loss(here.expr)),
        "formula": formula(search, bench, here), "coefficients": here.outcome["phi"],
        "loss": json.loads(search.loss(here.expr).to_json()),
    }  # fmt: skip


def write_tables(folder: RunFolder, search: Search, bench: Bench) -> None:
    """Replace the tables, each as a whole."""
    rows = io.StringIO()
    table = csv.writer(rows, lineterminator="\n")
    table.writerow(["fitness", "size", "ticket", "structure", "formula"])
    for here in front(search):
        shown = str(search.loss(here.expr))
        table.writerow([repr(here.value), len(here), here.ticket, shown, formula(search, bench, here)])
    folder.write(FRONT, rows.getvalue())
    fame = [record(search, bench, here) for here in search.best[:KEPT]]
    folder.write(
        FAME, json.dumps({"committed": search.committed, "counts": search.counts, "best": fame}, indent=1) + "\n"
    )
