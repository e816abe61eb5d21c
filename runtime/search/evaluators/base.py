"""What every engine has in common: jobs and outcomes, specs, the interface, and the engine that is no other process."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, Self

from lossc.compiler.errors import Diagnostic, LosscError, UsageError

Job = Mapping[str, Any]
Outcome = dict[str, Any]
Spec = Mapping[str, Any]
"""{"make": "package.module:function", "with": {...}, "torch": true}: plain JSON that says how to make a `Run` anywhere.
`torch` is true unless it says otherwise: the process is settled for torch before the function is called."""
Run = Callable[[Job], Outcome]
"""What `function(spec["with"])` returns."""

DEADLINE = 3600.0
"""Seconds that a job may take."""
POISON = 3
"""Times that a job may end its worker, and a worker may end before it is ready."""
FAILED = "failed"


class Evaluator(ABC):
    """Takes jobs, gives outcomes, in any order.

    capacity   jobs that it can work on at once
    """

    capacity: int

    @property
    @abstractmethod
    def running(self) -> int:
        """Jobs under way right now."""

    @abstractmethod
    def submit(self, key: str, job: Job) -> None:
        """Take a job. Its outcome comes back with the key."""

    @abstractmethod
    def completed(self) -> Iterator[tuple[str, Outcome]]:
        """The outcomes that are ready. If none is and something is under way, wait for one, about a second at most.

        Raises UsageError if no worker can do anything: its start failed, or the cluster is gone.
        """

    @abstractmethod
    def close(self) -> None:
        """Stop everything at once: what is under way is lost, and is done again after a resume."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Serial(Evaluator):
    """In this process, one job after the other, and through JSON as everywhere else."""

    capacity = 1

    def __init__(self, run: Run) -> None:
        self._run = run
        self._waiting: deque[tuple[str, str]] = deque()

    @property
    def running(self) -> int:
        return min(1, len(self._waiting))

    def submit(self, key: str, job: Job) -> None:
        self._waiting.append((key, to_line(job)))

    def completed(self) -> Iterator[tuple[str, Outcome]]:
        """Run the oldest."""
        if self._waiting:
            key, line = self._waiting.popleft()
            yield key, json.loads(perform(self._run, line))

    def close(self) -> None:
        self._waiting.clear()


def to_line(value: Mapping[str, Any]) -> str:
    """JSON without a line break in it."""
    return json.dumps(dict(value))


def build(spec: Spec) -> Run:
    """The `Run` of a spec. UsageError (L259) for whatever its function raises that is no complaint of lossc's."""
    try:
        module, _, name = str(spec["make"]).partition(":")
        run: Run = getattr(import_module(module), name)(spec.get("with", {}))
    except LosscError:
        raise
    except Exception as problem:
        raise UsageError(
            "L259", f"a worker cannot start: {type(problem).__name__}: {problem}", hint="see `lossc explain L259`"
        ) from problem
    return run


def perform(run: Run, line: str | bytes) -> str:
    """The outcome of a job, both as JSON. What `run` raises is an outcome too: it would be raised anywhere."""
    began = time.perf_counter()
    try:
        return to_line(run(json.loads(line)))
    except Exception as problem:
        why = f"{type(problem).__name__}: {problem}"[:200]
        return to_line({"status": FAILED, "why": why, "seconds": round(time.perf_counter() - began, 4)})


def broken(why: str, seconds: float) -> Outcome:
    """The outcome of a job that its worker did not finish. It says nothing about the loss for certain, hence the mark.

    Reference, search section 4, rule 4: budgets are in steps; what a clock or a signal ended is the infrastructure's.
    """
    return {"status": FAILED, "why": why, "seconds": round(seconds, 4), "infrastructure": True}


def complaint_to_json(problem: LosscError) -> dict[str, str]:
    """A complaint as it crosses to another process."""
    known = problem.diagnostic
    return {"code": known.code, "message": known.message, "expected": known.expected, "hint": known.hint}


def complaint_from_json(found: Mapping[str, str]) -> UsageError:
    """The complaint of another process, to be raised here."""
    known = Diagnostic(found["code"], found["message"], expected=found["expected"], hint=found["hint"])
    return UsageError(known.code, known.message, expected=known.expected, hint=known.hint)
