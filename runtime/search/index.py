"""Every loss of a search as a row of an SQLite file, for questions in SQL. The journal is the truth: this is an index.

sqlite3 runs/a/index.sqlite "SELECT operator, count(*), min(fitness) FROM losses GROUP BY operator"
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from lossc.compiler.errors import UsageError
from lossc.runtime.search.loop import Search
from lossc.runtime.search.strategies import Individual

_COLUMNS = (
    "search TEXT, ticket INTEGER, status TEXT, why TEXT, fitness REAL, size INTEGER, operator TEXT, first_parent "
    "INTEGER, second_parent INTEGER, same_as INTEGER, seconds REAL, structure TEXT, PRIMARY KEY (search, ticket)"
)


def update_index(path: Path, search: Search) -> None:
    """Add the losses that are committed and not in the index yet; one that is no such index is made anew.

    Raises UsageError (L233) if it cannot be written.
    """
    try:
        _update(path, search)
    except sqlite3.DatabaseError:
        try:
            path.unlink(missing_ok=True)
            _update(path, search)
        except (sqlite3.Error, OSError) as problem:
            raise UsageError("L233", f"cannot write {path}: {problem}") from None


def _update(path: Path, search: Search) -> None:
    with closing(sqlite3.connect(path)) as base, base:
        base.execute("PRAGMA synchronous = OFF")
        base.execute(f"CREATE TABLE IF NOT EXISTS losses ({_COLUMNS})")
        (count,) = base.execute("SELECT count(*) FROM losses WHERE search = ?", (search.name,)).fetchone()
        if count > search.committed:
            base.execute("DELETE FROM losses WHERE search = ?", (search.name,))
            count = 0
        rows = [_row(search, i) for i in search.population[count:]]
        base.executemany(f"INSERT OR REPLACE INTO losses VALUES ({', '.join('?' * 12)})", rows)


def _row(search: Search, here: Individual) -> tuple[Any, ...]:
    outcome = here.outcome or {}
    first, second = (*here.parents, None, None)[:2]
    return (
        search.name, here.ticket, outcome.get("status"), outcome.get("why"),
        here.value if here.fitness.valid else None, len(here), here.operator, first, second, here.same_as,
        outcome.get("seconds"), str(search.loss(here.expr)),
    )  # fmt: skip
