"""Many runs, in this process or in several of one thread each; each is in the journal as soon as it is done."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context

from benchmarks.fidelity.journal import Journal
from benchmarks.fidelity.plan import Job
from benchmarks.fidelity.runner import Outcome, run
from lossc.runtime.hygiene import settle

Told = Callable[[Job, Outcome], None]


def run_all(todo: Sequence[Job], journal: Journal, told: Told, *, workers: int = 0, minutes: float = math.inf) -> int:
    """Run the jobs in their order, and say how many were done; after `minutes` none is started.

    workers   processes; 0: this one
    """
    until = time.monotonic() + 60 * minutes

    def done(job: Job, outcome: Outcome) -> None:
        journal.add(job, outcome)
        told(job, outcome)

    if workers > 0:
        return _in_processes(todo, done, workers, until)
    count = 0
    for job in todo:
        if time.monotonic() > until:
            break
        done(job, run(job))
        count += 1
    return count


def _in_processes(todo: Sequence[Job], done: Told, workers: int, until: float) -> int:
    waiting, count = list(reversed(todo)), 0
    running: dict[Future[Outcome], Job] = {}
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_prepare, initargs=(os.getpid(),)
    ) as pool:
        while running or (waiting and time.monotonic() < until):
            while waiting and len(running) < workers and time.monotonic() < until:
                job = waiting.pop()
                running[pool.submit(run, job)] = job
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                done(running.pop(future), future.result())
                count += 1
    return count


def _prepare(parent: int) -> None:
    """One thread, and an end with the parent: a pool whose parent was killed would wait for ever."""
    settle()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
