"""The file of finished runs: a JSON line for each, so that a benchmark can be killed and gone on with."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.fidelity.plan import Job
from benchmarks.fidelity.runner import Outcome
from lossc.runtime.plain import finite_values


@dataclass(frozen=True, slots=True)
class Journal:
    """Finished runs in a file; one process writes."""

    path: Path

    def read(self) -> dict[Job, Outcome]:
        """The runs in the file; what is not a whole line of ours, such as a torn last one, is passed over."""
        found: dict[Job, Outcome] = {}
        if self.path.is_file():
            for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
                if (entry := _parsed(line)) is not None:
                    found[entry[0]] = entry[1]
        return found

    def add(self, job: Job, outcome: Outcome) -> None:
        """Append a run, on a line of its own also behind a torn one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"job": asdict(job), "outcome": finite_values(asdict(outcome))}, allow_nan=False) + "\n"
        with self.path.open("a+b") as file:
            if file.tell():
                file.seek(-1, 2)
                line = line if file.read() == b"\n" else "\n" + line
            file.write(line.encode())


def _parsed(line: str) -> tuple[Job, Outcome] | None:
    try:
        record = json.loads(line)
        job: dict[str, Any] = record["job"]
        outcome: dict[str, Any] = record["outcome"]
        outcome = {k: math.nan if v is None else v for k, v in outcome.items()}
        return Job(**job), Outcome(**outcome)
    except (ValueError, KeyError, TypeError):
        return None
