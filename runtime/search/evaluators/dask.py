"""Workers of a Dask cluster. What is sent are JSON strings and the name of a function of ours, `work`.

In every Dask worker a job runs in the same supervised process as on one machine, so that a hang, a crash or a job
without measure is an outcome and not a lost worker. Dask can lose a worker or gain one at any time; if its scheduler
ends, the search must be gone on with from its journal (reference, search sections 3.2 and 3.3).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import queue
import time
from collections import deque
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import lossc
from lossc.compiler.errors import UsageError
from lossc.runtime.search.evaluators.base import DEADLINE, POISON, Evaluator, Job, Outcome, Spec, broken
from lossc.runtime.search.evaluators.base import complaint_from_json as complaint
from lossc.runtime.search.evaluators.remote import SETUP, forget, work

IN_FLIGHT = 2
"""Tasks for a thread of the cluster at a time: what a lost worker had is held against all of them."""
CHUNK = 8
"""Cheap jobs in one task at most: a task costs Dask some milliseconds."""
CHEAP = "filter"
CONNECT = 8.0
"""Seconds in which a scheduler must answer."""
_LOOK = 1.0
"""Seconds between two looks at the workers that are connected."""


@dataclass(eq=False)
class _Sent:
    """A task on its way: its jobs by key, and its Dask future."""

    jobs: dict[str, Job]
    future: Any = field(default=None, repr=False)


class Dask(Evaluator):
    """Workers of a Dask cluster: of the scheduler at an address, or some on this machine, bound to 127.0.0.1.

    deadline, memory, poison   as for `Processes`; `memory` is for every job at a time
    cluster                    the cluster on this machine, or None

    Raises UsageError: L258 without Dask, L259 for workers that do not start and a scheduler that does not answer.
    """

    def __init__(
        self, spec: Spec, *, workers: int = 2, address: str | None = None, deadline: float = DEADLINE,
        memory: float | None = None, poison: int = POISON,
    ) -> None:  # fmt: skip
        settings = {"spec": dict(spec), "deadline": deadline, "memory": memory, "poison": poison}
        self._settings = json.dumps(settings)
        self._poison = poison
        self._waiting: deque[tuple[str, Job]] = deque()
        self._sent: dict[int, _Sent] = {}
        self._done: queue.SimpleQueue[tuple[_Sent, str | BaseException]] = queue.SimpleQueue()
        self._deaths: dict[str, int] = {}
        self._lost, self._closed = False, False
        self._failure: UsageError | None = None
        _import_dask()
        self.cluster: Any = _local_cluster(workers, poison) if address is None else None
        self._client = _connect(self.cluster, address)
        self._threads = 0 if address else workers
        self._client.loop.add_callback(self._look)

    @property
    def capacity(self) -> int:  # type: ignore[override]
        """Threads of the workers that are connected now: late ones are used, lost ones are not waited for."""
        return max(1, self._threads)

    @property
    def running(self) -> int:
        return min(len(self._sent), self._threads)

    def submit(self, key: str, job: Job) -> None:
        if self._failure is not None:
            raise self._failure
        self._waiting.append((key, job))
        self._feed()

    def completed(self) -> Iterator[tuple[str, Outcome]]:
        """What the workers have finished. UsageError (L259) too if the scheduler is gone."""
        until = time.monotonic() + 1.0
        while self._sent or self._waiting:
            self._feed()
            try:
                sent, found = self._done.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                if self._lost:
                    raise self._fail(_gone()) from None
                return
            if self._sent.pop(id(sent), None) is None:  # given up before
                continue
            outcomes = self._outcomes(sent, found)
            if outcomes:
                until = 0.0
            self._feed()
            yield from outcomes

    def close(self) -> None:
        """Give up what is under way, and end the workers that were started here."""
        if self._closed:
            return
        self._closed = True
        self._waiting.clear()
        self._sent.clear()
        if self.cluster is None and not self._lost:
            with contextlib.suppress(Exception):
                asyncio.run_coroutine_threadsafe(self._forget(), self._client.loop.asyncio_loop).result(3)
        with contextlib.suppress(Exception):
            self._client.close(timeout=2)
        if self.cluster is not None:
            with contextlib.suppress(Exception):
                self.cluster.close(timeout=10)

    def _feed(self) -> None:
        """Send what the cluster can take. Cheap jobs go together if more of them wait than there are places."""
        free = IN_FLIGHT * self.capacity - len(self._sent)
        while self._waiting and free > 0:
            cheap = sum(_cheap(job) for _, job in self._waiting)
            self._send(self._chunk(min(CHUNK, -(-cheap // free))))
            free -= 1

    def _chunk(self, most: int) -> dict[str, Job]:
        """The oldest job, and if it is cheap some others with it. What was in a lost worker goes alone."""
        key, job = self._waiting.popleft()
        jobs = {key: job}
        if _cheap(job) and key not in self._deaths:
            others = [(k, j) for k, j in self._waiting if _cheap(j) and k not in self._deaths][: max(0, most - 1)]
            for other in others:
                self._waiting.remove(other)
            jobs.update(others)
        return jobs

    def _send(self, jobs: dict[str, Job]) -> None:
        sent = _Sent(jobs)
        text = json.dumps({"version": lossc.__version__, "jobs": {k: dict(j) for k, j in jobs.items()}})
        self._sent[id(sent)] = sent
        sent.future = self._client.submit(work, self._settings, text, pure=False, retries=self._poison + 1)
        self._client.loop.add_callback(self._collect, sent)

    async def _collect(self, sent: _Sent) -> None:
        """On Dask's thread: wait for a task's result, and let go of it at once."""
        found: str | BaseException
        try:
            found = await sent.future
        except (Exception, asyncio.CancelledError) as problem:
            found = problem
        with contextlib.suppress(Exception):
            sent.future.release()
        self._done.put((sent, found))

    async def _look(self) -> None:
        """On Dask's thread: count the threads that are connected, once in a while, and notice if nobody answers."""
        silent = 0
        while not self._closed and not self._lost:
            try:
                asked: Coroutine[Any, Any, dict[str, int]] = self._client.nthreads()
                found = await asyncio.wait_for(asked, CONNECT)
                self._threads, silent = sum(found.values()), 0
            except (Exception, asyncio.CancelledError):
                silent += 1
                self._lost = silent >= 2 or self._client.status in ("closing", "closed")
            await asyncio.sleep(_LOOK)

    async def _forget(self) -> None:
        """On Dask's thread: the workers of others need not keep processes for us."""
        await self._client.run(forget, self._settings, on_error="ignore")

    def _fail(self, problem: UsageError) -> UsageError:
        """Nothing comes after this."""
        self._failure = problem
        self._waiting.clear()
        self._sent.clear()
        return problem

    def _outcomes(self, sent: _Sent, found: str | BaseException) -> list[tuple[str, Outcome]]:
        """What a task came to. Jobs whose Dask worker died with them wait again, but not for ever."""
        if isinstance(found, str):
            told = json.loads(found)
            if "error" in told:
                raise self._fail(complaint(told["error"]))
            unfinished = {
                k: j for k, j in sent.jobs.items() if k not in told["outcomes"]
            }  # its worker was told to leave
            self._waiting.extendleft(reversed(unfinished.items()))
            return list(told["outcomes"].items())
        if type(found).__name__ == "KilledWorker":
            return [o for key, job in sent.jobs.items() for o in self._died(key, job)]
        if "Cancelled" in type(found).__name__:
            self._lost = True
            raise self._fail(_gone()) from None
        said = f"the workers of the cluster cannot run jobs: {type(found).__name__}: {found}"[:500]
        hint = "lossc must be installed there, in the same version"
        raise self._fail(UsageError("L259", said, hint=hint)) from found

    def _died(self, key: str, job: Job) -> list[tuple[str, Outcome]]:
        self._deaths[key] = self._deaths.get(key, 0) + 1
        if self._deaths[key] >= self._poison:
            return [(key, broken(f"its worker died {self._poison} times", 0.0))]
        self._waiting.appendleft((key, job))
        return []


def _gone() -> UsageError:
    hint = "start a scheduler again, then: lossc resume FOLDER"
    return UsageError("L259", "the Dask scheduler is gone; what was journalled is kept", hint=hint)


def _cheap(job: Job) -> bool:
    return job.get("stage") == CHEAP


def _import_dask() -> None:
    """Dask, without its log lines. UsageError (L258) if it is not installed."""
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise UsageError(
            "L258", "the engine dask needs the package `distributed`", hint="pip install 'lossc[dask]'"
        ) from None
    for name in ["distributed", "tornado.application", *logging.root.manager.loggerDict]:
        if name.split(".")[0] == "distributed" or name == "tornado.application":
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _local_cluster(workers: int, poison: int) -> Any:
    """Dask workers on this machine: reachable from it alone, without stealing, and with more patience than ours.

    Reference, search section 3.2: stealing has had deadlocks; a task is suspected of whatever ended its worker.
    """
    import dask
    from distributed import LocalCluster

    settings = {
        "distributed.scheduler.work-stealing": False,
        "distributed.scheduler.allowed-failures": 2 * poison + 4,
        "distributed.worker.preload": [SETUP],
    }
    try:
        with dask.config.set(settings):
            return LocalCluster(
                n_workers=workers, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None,
                memory_limit=0, silence_logs=logging.CRITICAL, scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            )  # fmt: skip
    except (OSError, RuntimeError) as problem:
        hint = 'a script that starts them needs `if __name__ == "__main__":`'
        raise UsageError("L259", f"Dask workers cannot be started here: {problem}"[:500], hint=hint) from problem


def _connect(cluster: Any, address: str | None) -> Any:
    """A client of the cluster. UsageError (L259) if nobody answers in some seconds."""
    from distributed import Client

    try:
        return Client(address or cluster, timeout=CONNECT, set_as_default=False)
    except (OSError, ValueError, ImportError, RuntimeError) as problem:
        said = f"no Dask scheduler answers at {address}: {problem}"[:500]
    gc.collect()  # here, since a client that was never connected blocks whichever thread of Dask's it is collected on
    if cluster is not None:
        cluster.close()
    raise UsageError("L259", said, hint="tcp://HOST:8786, where `dask scheduler` runs")
