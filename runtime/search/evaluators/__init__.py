"""Engines: where the jobs of a search run. Jobs and outcomes are JSON, and outcomes come back in any order.

serial      in this process, one after the other
processes   worker processes on this machine
dask        workers of a Dask cluster, on this machine or on others
"""

from __future__ import annotations

from lossc.compiler.errors import UsageError
from lossc.runtime.search.evaluators.base import DEADLINE, Evaluator, Job, Outcome, Run, Serial, Spec, build
from lossc.runtime.search.evaluators.dask import Dask
from lossc.runtime.search.evaluators.processes import Processes

__all__ = [
    "ENGINES", "Dask", "Evaluator", "Job", "Outcome", "Processes", "Run", "Serial", "Spec", "check_engine",
    "make_evaluator",
]  # fmt: skip

ENGINES = ("serial", "processes", "dask")


def check_engine(engine: str) -> None:
    """UsageError (L255) for an engine that there is not."""
    if engine not in ENGINES:
        raise UsageError("L255", f"no engine is called `{engine}`", expected=", ".join(ENGINES))


def make_evaluator(
    engine: str, spec: Spec, *, workers: int, address: str | None = None, deadline: float = DEADLINE,
    memory: float | None = None,
) -> Evaluator:  # fmt: skip
    """The engine of a name.

    address   of a Dask scheduler; without one, `dask` starts workers on this machine

    Raises UsageError: L255 for an engine or a setting that cannot be, L258 without Dask, L259 for workers that cannot
    be started or reached.
    """
    check_engine(engine)
    if address is not None and engine != "dask":
        raise UsageError("L255", f"an address is for the engine dask, not for {engine}", expected="--engine dask")
    if workers < 1:
        raise UsageError("L255", f"{workers} workers cannot do anything", expected="1 or more")
    if engine == "serial":
        return Serial(build(spec))
    if engine == "processes":
        return Processes(spec, workers, deadline=deadline, memory=memory)
    return Dask(spec, workers=workers, address=address, deadline=deadline, memory=memory)
