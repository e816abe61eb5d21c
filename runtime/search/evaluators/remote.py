"""What happens in a Dask worker: a task's jobs run in a supervised process of ours, which is kept for the next task."""

from __future__ import annotations

import atexit
import json
import signal
import threading
import time
from typing import Any

import lossc
from lossc.compiler.errors import LosscError, UsageError
from lossc.runtime.search.evaluators.base import Outcome, complaint_to_json
from lossc.runtime.search.evaluators.processes import Processes

SETUP = __name__
"""Dask workers on this machine load this module when they start, and call `dask_setup`."""
UNUSED = 600.0
"""Seconds after which a process that waits for jobs of another search is ended."""

_LEAVING = ("closing", "closed", "failed")
"""States of a Dask worker that does not wait for its tasks."""

_lock = threading.Lock()
_idle: dict[str, list[tuple[float, Processes]]] = {}
"""Processes without a job, by the settings that they were made with, and since when. Dask runs a task a thread."""


def dask_setup(worker: object) -> None:
    """Called by Dask in a new worker: Ctrl-C is the driver's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def work(settings: str, task: str) -> str:
    """Run the jobs of a task: {"outcomes": {key: outcome}} or {"error": ...}, as JSON.

    Outcomes are missing if nobody waits for them here any more.
    """
    asked = json.loads(task)
    try:
        if asked["version"] != lossc.__version__:
            message = f"a worker has lossc {lossc.__version__}, and the search is by {asked['version']}"
            raise UsageError("L259", message, hint="install the same version on every worker")
        return json.dumps({"outcomes": _run(settings, asked["jobs"])})
    except LosscError as problem:
        return json.dumps({"error": complaint_to_json(problem)})


def forget(settings: str) -> None:
    """End the processes that wait for jobs of a search that is over."""
    with _lock:
        over = _idle.pop(settings, [])
    for _, processes in over:
        processes.close()


def _run(settings: str, jobs: dict[str, Any]) -> dict[str, Outcome]:
    processes = _take(settings)
    kept = False
    try:
        outcomes: dict[str, Outcome] = {}
        for key, job in jobs.items():
            processes.submit(key, job)
        while len(outcomes) < len(jobs) and _wanted():
            outcomes.update(processes.completed())
        kept = len(outcomes) == len(jobs)
        return outcomes
    finally:
        if kept:
            _keep(settings, processes)
        else:
            processes.close()


def _take(settings: str) -> Processes:
    """A process of these settings; those of others that were not used for long are ended."""
    now = time.monotonic()
    with _lock:
        old = [p for found in _idle.values() for since, p in found if now - since > UNUSED]
        for name, found in list(_idle.items()):
            _idle[name] = [(since, p) for since, p in found if now - since <= UNUSED]
        mine = _idle.get(settings)
        taken = mine.pop()[1] if mine else None
    for one in old:
        one.close()
    if taken is not None:
        return taken
    made = json.loads(settings)
    return Processes(made["spec"], 1, deadline=made["deadline"], memory=made["memory"], poison=made["poison"])


def _keep(settings: str, processes: Processes) -> None:
    with _lock:
        _idle.setdefault(settings, []).append((time.monotonic(), processes))


def _wanted() -> bool:
    """Whether anybody still waits for the task that runs here. Dask cannot stop it when its client is gone."""
    from distributed import get_worker

    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    return task is not None and task.state == "executing" and worker.status.name not in _LEAVING


def _end() -> None:
    for settings in list(_idle):
        forget(settings)


atexit.register(_end)
