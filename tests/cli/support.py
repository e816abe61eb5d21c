"""What the tests of the command line share: a run as a process of its own, and what a run came to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SRC = Path(__file__).resolve().parents[2] / "src"


@dataclass(frozen=True)
class Ran:
    """What a run came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The object on standard output."""
        return json.loads(self.out)


def environment(**more: str) -> dict[str, str]:
    """A plain environment in which `python -m lossc` finds this checkout."""
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "LOSSC_DEBUG", "COLUMNS")}
    return {**kept, "PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1", **more}


def process(
    args: Sequence[str], *, cwd: Path, stdin: bytes = b"", env: Mapping[str, str] | None = None, timeout: float = 120
) -> Ran:
    """Run `lossc ARGS` as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "lossc", *args],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        env=env or environment(),
        timeout=timeout,
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())
