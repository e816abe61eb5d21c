"""What every generation came to, as DEAP's logbook: how many losses were bred and trained, and how good they were."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Sequence
from itertools import pairwise

from deap import tools

from lossc.runtime.search.loop import Search
from lossc.runtime.search.strategies import Individual

COLUMNS = (
    "generation",
    "bred",
    "trained",
    "rejected",
    "seen",
    "failed",
    "best",
    "median",
    "worst",
    "size",
    "best_so_far",
)


def logbook(search: Search) -> tools.Logbook:
    """A record for every generation that is committed: counts of its losses, fitnesses and size of its members."""
    numbers = tools.Statistics(lambda i: i.value)
    for name, function in (("best", min), ("median", statistics.median), ("worst", max)):
        numbers.register(name, function)
    book = tools.Logbook()
    book.header = list(COLUMNS)
    so_far = float("inf")
    bounds = [s for s in search.past.starts if s <= search.committed]
    for number, (start, end) in enumerate(pairwise(bounds)):
        bred = search.individuals[start:end]
        valid = [i for i in bred if i.member and i.fitness.valid]
        compiled = numbers.compile(valid) if valid else {}
        so_far = min(so_far, compiled.get("best", so_far))
        size = statistics.median(len(i) for i in valid) if valid else None
        book.record(generation=number, **_counts(bred), **compiled, size=size, best_so_far=so_far)
    return book


def _counts(bred: Sequence[Individual]) -> dict[str, int]:
    own = [i.outcome or {} for i in bred if i.same_as is None]
    return {
        "bred": len(bred),
        "trained": sum(o.get("stage") != "filter" for o in own),
        "rejected": sum(o.get("status") == "rejected" for o in own),
        "seen": len(bred) - len(own),
        "failed": sum(o.get("status") == "failed" for o in own),
    }


def log_table(search: Search) -> str:
    """The logbook as CSV."""
    rows = io.StringIO()
    table = csv.writer(rows, lineterminator="\n")
    table.writerow(COLUMNS)
    for record in logbook(search):
        table.writerow(["" if (v := record.get(c)) is None or v == float("inf") else v for c in COLUMNS])
    return rows.getvalue()
