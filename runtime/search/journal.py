"""The journal of a search: JSON lines that are appended and never changed. It is the truth; all else can be rebuilt.

    {"is": "birth", "of": "search", "ticket": 7, "key": ..., "operator": ..., "parents": [...], "loss": {...}, ...}
    {"is": "outcome", "of": "search", "ticket": 7, "stage": "train", "outcome": {...}}
    {"is": "environment", "changed": {"torch": ["2.12.0", "2.13.0"]}}

`of` says whose: the search's, that of the random search beside it ("control"), or of the end ("final"). Outcomes are
synced to the disk before anything is decided by them; a birth can be bred again, and is synced with the next outcome.
A line that a kill has cut off is dropped when the run is gone on with; any other line that cannot be read is an error,
since what comes after it would be lost.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from lossc.compiler.errors import UsageError

JOURNAL = "journal.jsonl"
BIRTH, OUTCOME, ENVIRONMENT = "birth", "outcome", "environment"
SEARCH, CONTROL, FINAL = "search", "control", "final"
_NEEDS = {
    BIRTH: {"of", "ticket", "key", "operator", "parents", "size", "loss"},
    OUTCOME: {"of", "ticket", "stage", "outcome"},
    ENVIRONMENT: {"changed"},
}


_HOLDS = {"filter": ("signature",), "train": ("phi", "fitness", "values")}


@dataclass(eq=False)
class Known:
    """What a journal holds: births by ticket and outcomes by (ticket, stage), each for `search`, `control` and `final`;
    `length` is how many bytes of whole lines there are."""

    births: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)
    outcomes: dict[str, dict[tuple[int, str], dict[str, Any]]] = field(default_factory=dict)
    environments: list[dict[str, Any]] = field(default_factory=list)
    length: int = 0

    def take(self, line: Mapping[str, Any]) -> None:
        """Add a line. KeyError or TypeError for one that is none."""
        kind = line["is"]
        if not _NEEDS[kind] <= set(line):
            raise KeyError("a field is missing")
        if kind == BIRTH:
            _check_birth(line)
        elif kind == OUTCOME:
            _check_outcome(str(line["stage"]), line["outcome"])
        if kind == ENVIRONMENT:
            self.environments.append(dict(line))
        elif kind == BIRTH:
            self.births.setdefault(line["of"], {})[int(line["ticket"])] = dict(line)
        else:
            self.outcomes.setdefault(line["of"], {})[int(line["ticket"]), str(line["stage"])] = dict(line["outcome"])


def _check_birth(line: Mapping[str, Any]) -> None:
    """ValueError for a birth that none of ours is like."""
    parents, ticket = line["parents"], line["ticket"]
    right = isinstance(line["key"], str) and isinstance(line["operator"], str) and isinstance(line["loss"], dict)
    if not (right and isinstance(parents, list) and type(ticket) is int):
        raise ValueError("a field of the wrong kind")
    if not all(type(p) is int and 0 <= p < ticket for p in parents):
        raise ValueError("a parent that is not there")


def _check_outcome(stage: str, outcome: Mapping[str, Any]) -> None:
    """ValueError or KeyError for an outcome that no job of ours comes to."""
    if outcome["status"] != "failed":
        for name in _HOLDS.get(stage if outcome["status"] == "ok" or stage == "filter" else "", ()):
            if outcome[name] is None:
                raise ValueError("a field is empty")
    if not all(isinstance(outcome[k], str) for k in ("status", "why")):
        raise ValueError("no status")
    numbers = (outcome.get(k) for k in ("fitness", "val", "test", "seconds", "steps"))
    rows = (outcome.get(k, []) for k in ("signature", "phi", "values"))
    if not all(v is None or _number(v) for v in numbers):
        raise ValueError("a number that is none")
    if not all(isinstance(row, list) and all(map(_number, row)) for row in rows):
        raise ValueError("numbers that are none")


def _number(value: object) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < 2**53)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def read_journal(folder: str | Path) -> Known:
    """What the journal of a run holds. UsageError (L256) with the number of a line that cannot be read."""
    file, known = Path(folder) / JOURNAL, Known()
    try:
        data = file.read_bytes() if file.exists() else b""
    except OSError as problem:
        raise UsageError("L256", f"{file} cannot be read: {problem.strerror or problem}") from None
    for number, line in enumerate(io.BytesIO(data), start=1):  # ends at line feeds and nowhere else
        whole = line.endswith(b"\n")
        try:
            known.take(json.loads(line, parse_constant=_no_constant))
        except (ValueError, KeyError, TypeError, RecursionError):
            if not whole:
                break
            raise UsageError(
                "L256", f"line {number} of {file} cannot be read: the journal is damaged",
                expected="one JSON object a line",
                hint="repair or delete that line; what it held is done again. Nothing was changed",
            ) from None  # fmt: skip
        if not whole:
            break  # it says all, and its end is missing: it is written again
        known.length += len(line)
    return known


class Journal:
    """The one writer of a journal; a torn last line is cut off before anything is appended."""

    def __init__(self, folder: str | Path, known: Known) -> None:
        self.folder = Path(folder)
        try:
            self._file: IO[bytes] = (self.folder / JOURNAL).open("ab")
            self._file.truncate(known.length)
        except OSError as problem:
            raise self._stuck(problem) from None

    def add(self, line: Mapping[str, Any], *, sync: bool = True) -> None:
        """Append a line. UsageError (L233) if it cannot be written, or the folder is gone."""
        try:
            self._file.write(json.dumps(line, allow_nan=False, separators=(",", ":")).encode() + b"\n")
            if sync:
                self._file.flush()
                os.fsync(self._file.fileno())
                if os.fstat(self._file.fileno()).st_nlink == 0:
                    raise FileNotFoundError(2, "the folder is gone")
        except OSError as problem:
            raise self._stuck(problem) from None

    def _stuck(self, problem: OSError) -> UsageError:
        return UsageError(
            "L233", f"cannot write to {self.folder / JOURNAL}: {(problem.strerror or str(problem)).lower()}",
            hint=f"what was written before is kept; `lossc resume {self.folder}` goes on from there",
        )  # fmt: skip

    def close(self) -> None:
        """Write what is left."""
        try:
            self._file.close()
        except OSError as problem:
            raise self._stuck(problem) from None
