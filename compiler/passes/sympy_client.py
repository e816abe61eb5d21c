"""The near end of the SymPy process: starts it when first asked, talks to it in lines of JSON, kills it when it hangs.

A formula goes out as one line and SymPy's proposals come back as they are made, one line each, so that a method that
hangs only loses the ones after it. At the deadline the process is killed with SIGKILL: integer arithmetic in C answers
to no other signal (`Float('1e999999999')`, docs/numerics.md, finding 9). SymPy's results depend on the order of
hashes, so the process runs with PYTHONHASHSEED=0.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import lossc
from lossc.compiler.errors import LosscError
from lossc.compiler.ir import Expr
from lossc.compiler.loss import Loss
from lossc.compiler.passes.sympy_worker import stripped
from lossc.compiler.serialize import from_json

_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); import lossc; del sys.path[0]; "
    "from lossc.compiler.passes.sympy_worker import main; main()"
)
"""Finds the very `lossc` that its parent has, and everything else where it usually is (`-P`: not in the cwd)."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What one SymPy method made of the formula: an expression, or None and the reason why there is none."""

    method: str
    expr: Expr | None
    problem: str = ""


class WorkerProblem(Exception):
    """The worker could not be used, or was stopped; `str()` says why, as a note for the report."""


class Worker:
    """The near end: one SymPy process, started when first needed and again after it had to be killed. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = b""

    def proposals(self, loss: Loss, deadline: float, stage: str) -> Iterator[Proposal]:
        """SymPy's proposals for the body of `loss`, under its roles, until the monotonic time `deadline`.

        `stage` chooses the methods: QUICK (milliseconds each, on most formulas) or THOROUGH.
        Raises WorkerProblem if the process cannot be started, dies, or is still at work at the deadline (it is killed).
        """
        if not self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise WorkerProblem("SymPy was busy with another formula")
        try:
            yield from self._ask(loss, deadline, stage)
        except BaseException:  # GeneratorExit and KeyboardInterrupt too: the pipe may hold half an answer
            self._kill()
            raise
        finally:
            self._lock.release()

    def _ask(self, loss: Loss, deadline: float, stage: str) -> Iterator[Proposal]:
        seconds = round(max(0.05, deadline - time.monotonic()), 3)
        request = {"loss": stripped(loss, loss.body), "seconds": seconds, "stage": stage}
        process = self._started()
        try:
            _send(process, json.dumps(request).encode() + b"\n", deadline)
            for line in self._lines(process, deadline):
                answer = json.loads(line)
                if "done" in answer:
                    return
                yield _proposal(answer)
        except OSError:
            raise WorkerProblem("the SymPy process ended unexpectedly") from None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._kill()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, str(Path(lossc.__file__).parent.parent)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,  # nothing of ours may wait in a buffer when somebody forks
                env={**os.environ, "PYTHONHASHSEED": "0"},
                start_new_session=True,  # Ctrl-C in the terminal is for us to handle
            )
            os.set_blocking(_pipe(self._process.stdin), False)
        except (OSError, ValueError, TypeError) as problem:  # TypeError: an embedded Python has no executable
            raise WorkerProblem(f"the SymPy process could not be started ({problem})") from None
        return self._process

    def _lines(self, process: subprocess.Popen[bytes], deadline: float) -> Iterator[bytes]:
        while True:
            while b"\n" in self._buffer:
                line, self._buffer = self._buffer.split(b"\n", 1)
                yield line
            _wait(process.stdout, selectors.EVENT_READ, deadline)
            piece = os.read(_pipe(process.stdout), 1 << 16)
            if not piece:
                raise WorkerProblem("the SymPy process ended unexpectedly")
            self._buffer += piece

    def _kill(self) -> None:
        process, self._process, self._buffer = self._process, None, b""
        if process is not None:
            process.kill()
            process.wait()
            _close(process)

    def close(self) -> None:
        """Kill the process, if there is one. The worker may be used again."""
        self._kill()

    def after_fork(self) -> None:
        """In a forked child: forget the parent's process without touching it."""
        self._lock = threading.Lock()
        process, self._process, self._buffer = self._process, None, b""
        if process is not None:
            process.returncode = 0  # not ours to wait for
            _close(process)


def _pipe(end: IO[bytes] | None) -> int:
    assert end is not None
    return end.fileno()


def _close(process: subprocess.Popen[bytes]) -> None:
    for end in (process.stdin, process.stdout):
        if end is not None:
            with contextlib.suppress(OSError):
                end.close()


def _wait(end: IO[bytes] | None, event: int, deadline: float) -> None:
    """Until the pipe is ready; WorkerProblem at the deadline."""
    with selectors.DefaultSelector() as selector:
        selector.register(_pipe(end), event)
        left = deadline - time.monotonic()
        if left <= 0 or not selector.select(left):
            raise WorkerProblem("SymPy did not finish in time")


def _send(process: subprocess.Popen[bytes], data: bytes, deadline: float) -> None:
    """Write all of it, but no later than the deadline: a process that hangs does not read either."""
    while data:
        _wait(process.stdin, selectors.EVENT_WRITE, deadline)
        data = data[os.write(_pipe(process.stdin), data[:4096]) :]


def _proposal(answer: dict[str, Any]) -> Proposal:
    if "loss" not in answer:
        return Proposal(answer["method"], None, answer["problem"])
    try:
        return Proposal(answer["method"], from_json(answer["loss"]).body)
    except LosscError as problem:
        return Proposal(answer["method"], None, problem.diagnostic.message)


WORKER = Worker()
"""The one worker of this process."""
atexit.register(WORKER.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=WORKER.after_fork)
