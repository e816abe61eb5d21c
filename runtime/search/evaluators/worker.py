"""A worker process: `python -m lossc.runtime.search.evaluators.worker`, started and spoken to by `child.py`.

JSON, a line a message. In: the spec and the parent's import path, then jobs. Out: {"ready": true} or {"error": ...},
then an outcome for every job. The protocol has descriptors of its own, so what a job prints or reads cannot disturb it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import queue
import signal
import sys
import threading
from typing import Any, BinaryIO

from lossc.compiler.errors import LosscError, UsageError
from lossc.runtime.search.evaluators.base import Run, build, complaint_to_json, perform

_PDEATHSIG = 1
"""Number of the option of `prctl`, from <sys/prctl.h>."""


def main() -> None:
    """Jobs until the parent closes the pipe or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's business
    _end_with_the_parent()
    orders, answers = _take_the_pipes()
    first = orders.readline()
    if not first:
        return
    jobs: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(orders, jobs), daemon=True).start()
    with contextlib.suppress(BrokenPipeError):
        run = _start(json.loads(first), answers)
        while run is not None:
            _answer(answers, perform(run, jobs.get()))


def _take_the_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The protocol's ends. Afterwards standard input is empty and standard output is standard error."""
    orders, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return orders, answers


def _end_with_the_parent() -> None:
    """On Linux the kernel ends this process with its parent, even while a job does not let other threads run."""
    with contextlib.suppress(OSError, AttributeError):
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)


def _read(orders: BinaryIO, jobs: queue.SimpleQueue[bytes]) -> None:
    """Hand jobs on. The end of the pipe is the end of the parent: then nobody waits for what is under way."""
    for line in orders:
        jobs.put(line)
    os._exit(0)


def _start(message: dict[str, Any], answers: BinaryIO) -> Run | None:
    """Make what runs jobs, and say that it is there, or why it is not."""
    sys.path[:] = message["path"]
    spec = message["spec"]
    try:
        if spec.get("torch", True):
            _settle()
        run = build(spec)
    except LosscError as problem:
        _answer(answers, json.dumps({"error": complaint_to_json(problem)}))
        return None
    _answer(answers, json.dumps({"ready": True}))
    return run


def _settle() -> None:
    """One thread, wherever the job runs: with two, sums have other bits (reference, search section 4, rule 5)."""
    try:
        from lossc.runtime.hygiene import settle
    except ImportError as problem:
        raise UsageError("L259", f"a worker cannot start: {problem}", hint="see `lossc explain L259`") from problem
    settle()


def _answer(answers: BinaryIO, line: str) -> None:
    answers.write(line.encode() + b"\n")
    answers.flush()


if __name__ == "__main__":
    main()
