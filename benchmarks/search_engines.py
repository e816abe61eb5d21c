"""What an engine of a search costs: seconds until it works, and milliseconds a candidate on top of the candidate's own.

    python -m benchmarks.search_engines            # prints the table
    python -m benchmarks.search_engines --write    # and puts it into benchmarks/RESULTS.md

The job does nothing, so that all of its time is the engine's. Start-up is the time to the outcome of a first job, with
workers that load torch, as those of a search do, and with workers that do not.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from benchmarks.results import put_section
from lossc.runtime.search.evaluators import Evaluator, Job, Outcome, Run, make_evaluator

ENGINES: tuple[tuple[str, str, int], ...] = (
    ("serial", "serial", 1),
    ("processes, 2 workers", "processes", 2),
    ("dask, 2 workers", "dask", 2),
)
FORMULA = "sqrt(abs(y - f)) + tanh(square(y - f)) " * 20
"""As long as the JSON of a loss."""


def make(settings: Mapping[str, Any]) -> Run:
    """Jobs that do nothing, for the workers."""
    return _nothing


def _nothing(job: Job) -> Outcome:
    return {"status": "ok", "why": "", "seconds": 0.0}


def _spec(torch: bool) -> dict[str, Any]:
    return {"make": "benchmarks.search_engines:make", "with": {}, "torch": torch}


def _judge(engine: Evaluator, stage: str, jobs: int) -> None:
    for i in range(jobs):
        engine.submit(str(i), {"stage": stage, "loss": FORMULA})
    while jobs:
        jobs -= len(list(engine.completed()))


def start_up(make_engine: Callable[..., Evaluator], torch: bool, repeats: int) -> float:
    """Median seconds from nothing to the first outcome."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        with make_engine(spec=_spec(torch)) as engine:
            _judge(engine, "train", 1)
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def overhead(make_engine: Callable[..., Evaluator], stage: str, jobs: int, repeats: int) -> float:
    """Median seconds a job, of a warm engine with all of its workers at work."""
    times = []
    with make_engine(spec=_spec(False)) as engine:
        _judge(engine, stage, 50)
        for _ in range(repeats):
            began = time.perf_counter()
            _judge(engine, stage, jobs)
            times.append((time.perf_counter() - began) / jobs)
    return statistics.median(times)


def table(jobs: int, repeats: int) -> str:
    """A Markdown table, an engine a row."""
    lines = [
        "| engine | to the first outcome | the same with torch | a candidate | a cheap candidate (`filter`) |",
        "|---|---|---|---|---|",
    ]
    for title, name, workers in ENGINES:
        start = partial(make_evaluator, name, workers=workers)
        began = [start_up(start, torch, repeats) if name != "serial" else 0.0 for torch in (False, True)]
        each = [overhead(start, stage, jobs, repeats) for stage in ("train", "filter")]
        shown = [f"{s:.2f} s" for s in began] + [f"{1e3 * s:.2f} ms" for s in each]
        lines.append(f"| {title} | {' | '.join(shown)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and (on request) write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/RESULTS.md")
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    machine = (
        f"Python {platform.python_version()}, {platform.machine()}, medians of {args.repeats} runs; {args.jobs} jobs"
        " that do nothing, handed over at once. serial starts no process."
    )
    text = f"{machine}\n\n{table(args.jobs, args.repeats)}"
    print(text)
    if args.write:
        put_section("search-engines", "Engines of the search", "python -m benchmarks.search_engines --write", text)


if __name__ == "__main__":
    main()
