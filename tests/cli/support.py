"""What the tests of the command line share: what a run came to, a run as a process of its own, examples of the help."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
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


_QUOTED = re.compile(r"""'[^']*'|"[^"$`\\!]*"|\s#.*""")
_OF_A_SHELL = frozenset("|&;<>()$`\\\"'*?[]{}~!#\n")


def example(line: str, lossc: Callable[..., Ran], folder: Path) -> Ran:
    """An example of a help, run as a reader would in a shell: in this process where the line is nothing but words, in
    bash where it is more than that."""
    if line.startswith("lossc ") and not _OF_A_SHELL & set(_QUOTED.sub("", line)):
        return lossc(*shlex.split(line, comments=True)[1:])
    command = folder / "lossc"
    if not command.exists():
        command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m lossc "$@"\n')
        command.chmod(0o755)
    env = environment()
    env["PATH"] = f"{folder}:{env['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line], cwd=folder, env=env, capture_output=True, check=False
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())
