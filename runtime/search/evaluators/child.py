"""A worker process as its supervisor sees it: a pipe in, a pipe out, and the last lines of what it had to say."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import sysconfig
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import lossc
from lossc.runtime.search.evaluators.base import Spec

MODULE = "lossc.runtime.search.evaluators.worker"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Libraries of linear algebra read these when they are loaded."""
GIB = 2**30
_TAIL = 20
"""Lines of standard error that are kept."""


@dataclass(eq=False)
class Task:
    """A job on its way: its key and its JSON, and what became of its earlier attempts."""

    key: str
    line: str
    deaths: int = 0
    late: int = 0
    seconds: float = 0.0


class Child:
    """A worker process, and the job that it has.

    inbox   gets (self, line) for every line that the process writes, and (self, None) when it has ended
    ready   whether it has said so
    since   when the process or its job was started
    """

    def __init__(self, spec: Spec, inbox: queue.SimpleQueue[tuple[Child, str | None]]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=_environment(),
        )  # fmt: skip
        self.ready = False
        self.task: Task | None = None
        self.since = time.monotonic()
        self.at_rest = 0.0
        self.dead_since: float | None = None
        self._said: deque[bytes] = deque(maxlen=_TAIL)
        assert self.process.stdout is not None and self.process.stderr is not None
        self._listener = threading.Thread(target=self._listen, args=(self.process.stderr,), daemon=True)
        self._listener.start()
        threading.Thread(target=self._read, args=(self.process.stdout, inbox), daemon=True).start()
        self._send(json.dumps({"spec": dict(spec), "path": [os.path.abspath(p) for p in sys.path]}))

    def give(self, task: Task) -> None:
        """Start a job."""
        self.task, self.since = task, time.monotonic()
        self._send(task.line)

    def settled(self) -> None:
        """It is ready: note what it needs when it does nothing."""
        self.ready, self.at_rest = True, self.resident()

    @property
    def age(self) -> float:
        """Seconds since the start of the process, or of its job."""
        return time.monotonic() - self.since

    def resident(self) -> float:
        """GiB of memory that the process has, where /proc tells; 0 elsewhere."""
        try:
            pages = int(Path(f"/proc/{self.process.pid}/statm").read_bytes().split()[1])
        except (OSError, IndexError, ValueError):
            return 0.0
        return pages * os.sysconf("SC_PAGE_SIZE") / GIB

    def said(self) -> str:
        """The end of its standard error."""
        self._listener.join(1.0)
        return b"".join(self._said).decode(errors="replace").strip()[-2000:]

    def kill(self) -> None:
        """At once, whatever it does."""
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.close()

    def _send(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # that it is dead is told by `_read`
            assert self.process.stdin is not None
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()

    def _read(self, pipe: IO[bytes], inbox: queue.SimpleQueue[tuple[Child, str | None]]) -> None:
        with pipe:
            for line in pipe:
                inbox.put((self, line.decode(errors="replace")))
        inbox.put((self, None))

    def _listen(self, pipe: IO[bytes]) -> None:
        with pipe:
            while line := pipe.readline(10_000):
                self._said.append(line)


def _environment() -> dict[str, str]:
    """One thread, and lossc found where it was found here."""
    out = {**os.environ, **dict.fromkeys(THREADS, "1")}
    home = str(Path(lossc.__file__).parent.parent)
    if home not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        out["PYTHONPATH"] = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
    return out
