"""Worker processes on this machine, supervised: a job that hangs, crashes or takes all memory is an outcome.

A thread of this process owns the workers. It takes in jobs and what the workers write, ends what is beyond a limit,
starts replacements and puts outcomes out, whatever the caller does meanwhile. (concurrent.futures and joblib cannot
end a running task, and lose the pool with a worker: reference, search section 3.2.)
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from lossc.compiler.errors import UsageError
from lossc.runtime.search.evaluators.base import (
    DEADLINE,
    POISON,
    Evaluator,
    Job,
    Outcome,
    Spec,
    broken,
    complaint_from_json,
    to_line,
)
from lossc.runtime.search.evaluators.child import Child, Task

STARTING = 300.0
"""Seconds that a worker may take to be ready: it loads torch and the data."""
TICK = 1.0
"""Seconds between two looks at the workers' memory."""
_GRACE = 2.0
"""Seconds in which the last words of a dead worker may still arrive."""


class Processes(Evaluator):
    """Worker processes on this machine, one job a worker at a time and one thread each.

    deadline   seconds of wall time for a job. A worker beyond it is killed and the job done once more, since the
               machine may have been busy; then it has failed
    memory     GiB of resident memory for a worker, where /proc exists; a job beyond it has failed
    poison     deaths of its worker after which a job has failed
    """

    def __init__(
        self, spec: Spec, workers: int, *, deadline: float = DEADLINE, memory: float | None = None, poison: int = POISON
    ) -> None:
        self.capacity = workers
        self._open = 0
        self._failure: Exception | None = None
        self._supervisor = _Supervisor(spec, workers, deadline, memory, poison)
        self._supervisor.start()

    @property
    def running(self) -> int:
        return sum(c is not None and c.task is not None for c in list(self._supervisor.children))

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers."""
        return [c.process.pid for c in list(self._supervisor.children) if c is not None]

    def submit(self, key: str, job: Job) -> None:
        if self._failure is not None:
            raise self._failure
        self._open += 1
        self._supervisor.inbox.put(Task(key, to_line(job)))

    def completed(self) -> Iterator[tuple[str, Outcome]]:
        """What the workers have finished, and what was ended or given up."""
        wait = TICK if self._open else 0.0
        with contextlib.suppress(queue.Empty):
            while True:
                found = self._supervisor.outbox.get(timeout=wait)
                wait = 0.0
                if isinstance(found, Exception):
                    self._open, self._failure = 0, found
                    raise found
                self._open -= 1
                yield found

    def close(self) -> None:
        self._open = 0
        self._supervisor.end()


class _Supervisor(threading.Thread):
    """The thread that owns the workers."""

    def __init__(self, spec: Spec, workers: int, deadline: float, memory: float | None, poison: int) -> None:
        super().__init__(name="lossc-supervisor", daemon=True)
        self.spec, self.deadline, self.memory, self.poison = spec, deadline, memory, poison
        self.inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.outbox: queue.SimpleQueue[tuple[str, Outcome] | Exception] = queue.SimpleQueue()
        self.children: list[Child | None] = [None] * workers
        self.stillborn = [0] * workers
        self.waiting: deque[Task] = deque()
        self.ending = False
        self.looked = time.monotonic()

    def run(self) -> None:
        """Until told to end, or until workers cannot be started."""
        try:
            for slot in range(len(self.children)):
                self._start(slot)
            while not self.ending:
                with contextlib.suppress(queue.Empty):
                    self._handle(self.inbox.get(timeout=self._patience()))
                self._watch()
                self._feed()
        except OSError as problem:
            self.outbox.put(UsageError("L259", f"a worker cannot start: {problem}", hint="fewer workers?"))
        except Exception as problem:
            self.outbox.put(problem)
        finally:
            self._kill()

    def end(self) -> None:
        """Called from outside: kill the workers, end the thread."""
        self.ending = True
        self._kill()
        self.inbox.put(None)
        self.join(10.0)
        self._kill()

    def _kill(self) -> None:
        for child in self.children:
            if child is not None:
                child.kill()

    def _start(self, slot: int) -> None:
        """A new worker in the place of the old one."""
        old = self.children[slot]
        if old is not None:
            old.kill()
        self.children[slot] = None if self.ending else Child(self.spec, self.inbox)

    def _patience(self) -> float | None:
        """Seconds until a worker must be looked at; None if all have nothing to do."""
        busy = [c for c in self.children if c is not None and (c.task is not None or not c.ready)]
        due = [self.deadline - c.age for c in busy if c.task is not None]
        return max(0.0, min(TICK + self.looked - time.monotonic(), *due, TICK)) if busy else None

    def _handle(self, message: Task | tuple[Child, str | None] | None) -> None:
        """A job from outside, or a line or the end of a worker."""
        if message is None:
            return
        if isinstance(message, Task):
            self.waiting.append(message)
            return
        child, line = message
        if child not in self.children:  # its end was decided before it came to say this
            return
        slot = self.children.index(child)
        try:
            found = None if line is None else json.loads(line)
        except ValueError:
            found = None
        if found is None:
            self._dead(slot, child)
        elif not child.ready:
            if "error" in found:
                raise complaint_from_json(found["error"])
            child.settled()
            self.stillborn[slot] = 0
        elif child.task is not None:
            self.outbox.put((child.task.key, found))
            child.task = None
            if self._bloated(child):
                self._start(slot)

    def _dead(self, slot: int, child: Child) -> None:
        """The worker has ended by itself."""
        task = child.task
        if not child.ready:
            self._never_ready(slot, child, "ended before it was ready")
        elif task is not None:
            task.deaths += 1
            self._failed(child, task, f"its worker died {task.deaths} times" if task.deaths >= self.poison else "")
        self._start(slot)

    def _never_ready(self, slot: int, child: Child, what: str) -> None:
        child.kill()
        self.stillborn[slot] += 1
        if self.stillborn[slot] >= POISON:
            said = child.said()
            raise UsageError(
                "L259", f"a worker {what}, {POISON} times" + (f"; it said:\n{said}" if said else ""),
                hint="see `lossc explain L259`",
            )  # fmt: skip

    def _failed(self, child: Child, task: Task, why: str) -> None:
        """An attempt at a job has come to nothing: that is its outcome if there is a reason, else it is done again."""
        task.seconds += child.age
        child.kill()
        if why:
            self.outbox.put((task.key, broken(why, task.seconds)))
        else:
            self.waiting.appendleft(task)

    def _watch(self) -> None:
        """End what is beyond a limit."""
        tick = time.monotonic() - self.looked >= TICK
        if tick:
            self.looked = time.monotonic()
        for slot, child in enumerate(self.children):
            if child is None:
                continue
            late = child.task is not None and child.age > self.deadline
            if tick and self._gone(child):
                self._dead(slot, child)
            elif (tick or late) and self.memory is not None and child.resident() > self.memory:
                self._too_large(slot, child)
            elif child.task is not None and late:
                child.task.late += 1
                self._failed(child, child.task, f"no outcome in {self.deadline:g} s" if child.task.late > 1 else "")
                self._start(slot)
            elif not child.ready and child.age > STARTING:
                self._never_ready(slot, child, f"was not ready in {STARTING:g} s")
                self._start(slot)

    def _gone(self, child: Child) -> bool:
        """Whether a worker is dead, and what it wrote has been read: processes of its own may keep its pipe open."""
        if child.process.poll() is not None and child.dead_since is None:
            child.dead_since = time.monotonic()
        return child.dead_since is not None and time.monotonic() - child.dead_since > _GRACE

    def _too_large(self, slot: int, child: Child) -> None:
        if not child.ready:
            raise UsageError(
                "L259", f"a worker needs more than {self.memory:g} GiB before its first job", hint="a larger limit"
            )
        if child.task is not None:
            self._failed(child, child.task, f"needed more than {self.memory:g} GiB")
        self._start(slot)

    def _bloated(self, child: Child) -> bool:
        """Whether a job left so much memory behind that the next one might be blamed for it."""
        if self.memory is None:
            return False
        return child.resident() - child.at_rest > (self.memory - child.at_rest) / 2

    def _feed(self) -> None:
        for child in self.children:
            if self.waiting and child is not None and child.ready and child.task is None:
                child.give(self.waiting.popleft())
