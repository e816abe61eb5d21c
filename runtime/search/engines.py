"""Engines: where the jobs of a search run. Jobs and outcomes are JSON; results may come back in any order.

serial      in this process, one after the other
processes   a pool of our own: one job a worker at a time, one thread each, a deadline and respawning; a job that kills
            its worker three times is given up as `failed`, and the workers end with their parent
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing as mp
import os
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection, wait
from typing import Any

from lossc.runtime.search.candidate import FAILED, Bench, run_job

Job = Mapping[str, Any]
Outcome = dict[str, Any]
MakeBench = Callable[[], Bench]
STARTING = 300.0
"""Seconds that a new worker may take to be ready."""
POISON = 3
"""Times that a job may kill its worker."""


class Evaluator(ABC):
    """Takes jobs, gives outcomes."""

    capacity: int

    @abstractmethod
    def submit(self, ticket: int, job: Job) -> None:
        """Take a job. Its outcome comes back with the ticket."""

    @abstractmethod
    def completed(self) -> Iterator[tuple[int, Outcome]]:
        """The outcomes that are ready; waits for one if none is and something is under way."""

    @abstractmethod
    def close(self) -> None:
        """Stop everything."""

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Serial(Evaluator):
    """In this process."""

    capacity = 1

    def __init__(self, make_bench: MakeBench) -> None:
        self.bench = make_bench()
        self.waiting: deque[tuple[int, Job]] = deque()

    def submit(self, ticket: int, job: Job) -> None:
        """Keep it for `completed`."""
        self.waiting.append((ticket, job))

    def completed(self) -> Iterator[tuple[int, Outcome]]:
        """Run the oldest."""
        if self.waiting:
            ticket, job = self.waiting.popleft()
            yield ticket, run_job(self.bench, json.loads(json.dumps(dict(job))))

    def close(self) -> None:
        """Nothing runs."""


class Processes(Evaluator):
    """Worker processes on this machine.

    make_bench   a function that a new process can import and call: it makes the bench there
    deadline     seconds of wall time for a job; a worker beyond it is killed, and the job has failed
    """

    def __init__(self, make_bench: MakeBench, workers: int, deadline: float = 3600.0) -> None:
        self.make_bench, self.deadline = make_bench, deadline
        self.capacity = workers
        self.context = mp.get_context("spawn")
        self.waiting: deque[tuple[int, Job]] = deque()
        self.deaths: dict[int, int] = {}
        self.workers = [_Worker(self.context, make_bench) for _ in range(workers)]

    def submit(self, ticket: int, job: Job) -> None:
        """Give it to an idle worker, or keep it until one is."""
        self.waiting.append((ticket, job))
        self._feed()

    def _feed(self) -> None:
        for worker in self.workers:
            if worker.task is None and self.waiting:
                worker.give(*self.waiting.popleft())

    def completed(self) -> Iterator[tuple[int, Outcome]]:
        """Whatever is ready, after waiting for something; dead and late workers are replaced."""
        busy = [w for w in self.workers if w.task is not None]
        if not busy:
            return
        wait([w.pipe for w in busy] + [w.process.sentinel for w in busy], timeout=1.0)
        for i, worker in enumerate(self.workers):
            if worker.task is None:
                continue
            ticket, job = worker.task
            outcome = worker.take()
            if outcome is None and (not worker.process.is_alive() or worker.age > self.deadline):
                late = worker.process.is_alive()
                worker.kill()
                self.workers[i] = _Worker(self.context, self.make_bench)
                self.deaths[ticket] = self.deaths.get(ticket, 0) + 1
                if late:
                    outcome = {"status": FAILED, "why": f"no outcome in {self.deadline:g} s", "seconds": self.deadline}
                elif self.deaths[ticket] >= POISON:
                    outcome = {"status": FAILED, "why": f"its worker died {POISON} times", "seconds": 0.0}
                else:
                    self.waiting.appendleft((ticket, job))
            if outcome is not None:
                yield ticket, outcome
        self._feed()

    def close(self) -> None:
        """Kill the workers: what they do is lost, and is done again after a resume."""
        for worker in self.workers:
            worker.kill()


class _Worker:
    """A process with a pipe, and the job that it has."""

    def __init__(self, context: Any, make_bench: MakeBench) -> None:
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, make_bench, os.getpid()), daemon=True)
        with _one_thread():
            self.process.start()
        theirs.close()
        self.task: tuple[int, Job] | None = None
        self.since = time.monotonic()
        self.ready = False

    def give(self, ticket: int, job: Job) -> None:
        """Start a job."""
        self.task, self.since = (ticket, job), time.monotonic()
        with contextlib.suppress(OSError):  # a worker that is dead is noticed by `completed`
            self.pipe.send_bytes(json.dumps(dict(job)).encode())

    @property
    def age(self) -> float:
        """Seconds that the job has had; loading torch and the data before it do not count, for some minutes."""
        return time.monotonic() - self.since - (0.0 if self.ready else STARTING)

    def take(self) -> Outcome | None:
        """The outcome, if it is there."""
        with contextlib.suppress(OSError, EOFError):
            if self.pipe.poll():
                outcome: Outcome | None = json.loads(self.pipe.recv_bytes())
                if outcome is None:
                    self.ready, self.since = True, time.monotonic()
                    return None
                self.task = None
                return outcome
        return None

    def kill(self) -> None:
        """At once."""
        self.process.kill()
        self.process.join(5)
        self.pipe.close()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Libraries of linear algebra read these when they are loaded: one thread a worker, whatever the engine."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {n: os.environ.get(n) for n in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _work(pipe: Connection, make_bench: MakeBench, parent: int) -> None:
    """The life of a worker: jobs until the pipe closes or the parent is gone."""
    import signal

    from lossc.runtime.hygiene import settle

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's business
    settle()
    bench = make_bench()
    pipe.send_bytes(b"null")  # ready
    with contextlib.suppress(EOFError, OSError):
        while True:
            while not pipe.poll(2.0):
                if os.getppid() != parent:
                    return
            outcome = run_job(bench, json.loads(pipe.recv_bytes()))
            pipe.send_bytes(json.dumps(outcome).encode())
