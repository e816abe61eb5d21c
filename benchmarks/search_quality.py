"""Which way to search finds better losses, with equally many trainings: evomal, gp-lfl, aged and random.

Every run is a search in a folder of its own, so that the benchmark can be killed and goes on. For one seed all methods
meet the same split, models and batches, and differences are taken seed by seed.

    python -m benchmarks.search_quality --out out/quality            # an hour on two cores; --write for RESULTS.md
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import put_section
from lossc.runtime.search.finals import BASELINE, Tested, difference
from lossc.runtime.search.folder import Run, read_run
from lossc.runtime.search.session import search
from lossc.runtime.tasks import TaskSpec

REMARKS = """\
For one seed all methods meet the same split, models and batches; a search's test figure is the mean of five trainings,
and differences are paired over seeds. What it says: on MNIST every search finds a loss that clearly beats cross entropy
at these 500 steps (a larger implicit learning rate is part of that), and gp-lfl beats random search (p = 0.0014, before
any correction for nine comparisons). On Diabetes and California, where the metric is the usual loss itself, nothing
beats it, and no method is clearly better than another; one of five evomal winners on California diverges in two of its
five long trainings, although both trainings of its re-ranking had gone well. evomal stays the default: nothing here
speaks for aged clearly enough. The searches were run with re-ranking at 500 steps; only their ends were run again when
that became the task's own number of steps.
"""
"""What the run of 2026-11 says."""
METHODS = ("random", "gp-lfl", "evomal", "aged")
TASKS = {
    "diabetes": TaskSpec("diabetes"),
    "california": TaskSpec("california"),
    "mnist, logistic": TaskSpec("mnist", model="logistic"),
}


@dataclass(frozen=True, slots=True)
class Job:
    """One search."""

    task: str
    method: str
    seed: int

    def folder(self, out: Path) -> Path:
        """Where it is kept."""
        return out / f"{self.task.replace(', ', '-')}-{self.method}-{self.seed}"


def jobs(seeds: int) -> list[Job]:
    """All searches, seed by seed, so that what is done is balanced at any time."""
    return [Job(t, m, s) for s in range(seeds) for t in TASKS for m in METHODS]


def run(job: Job, out: Path, trainings: int) -> None:
    """One search to its end; one that was cut off goes on."""
    folder = job.folder(out)
    search(
        TASKS[job.task], preset="quick", method=job.method, trainings=trainings, generations=10_000, control=False,
        seed=job.seed, run=folder, resume=(folder / "config.json").exists(),
    )  # fmt: skip


def run_all(todo: Sequence[Job], out: Path, trainings: int, workers: int) -> None:
    """So many at a time, each in a process of its own."""

    def one(job: Job) -> None:
        command = [sys.executable, "-m", "benchmarks.search_quality", "--out", str(out), "--trainings", str(trainings)]
        subprocess.run([*command, "--one", job.task, job.method, str(job.seed)], check=True)
        print(job.folder(out).name, flush=True)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(one, [j for j in todo if not (j.folder(out) / "final.json").exists()]))


def finished(out: Path, seeds: int) -> dict[Job, Run]:
    """The searches that are at their end."""
    return {j: read_run(j.folder(out)) for j in jobs(seeds) if (j.folder(out) / "final.json").exists()}


def table(found: dict[Job, Run], trainings: int) -> str:
    """A table a task: fitness, held-out metric and trainings of each method, and the paired difference to random."""
    parts = []
    for task in TASKS:
        seeds = [s for s in {j.seed for j in found} if all(Job(task, m, s) in found for m in METHODS)]
        seeds.sort()
        if not seeds:
            continue
        runs = {m: [found[Job(task, m, s)] for s in seeds] for m in METHODS}
        metric = runs["random"][0].about["metric"]
        rows = [
            f"**{task}**, {runs['random'][0].about['model']}, {len(seeds)} seeds, {trainings} trainings a search",
            "",
            f"| method | best fitness ({metric}) | test {metric} | median | diverged | gain on random | p | bred |",
            "|---|---|---|---|---|---|---|---|",
        ]
        base = Tested("random", tuple(_test(r) for r in runs["random"]))
        for method in METHODS:
            ours = Tested(method, tuple(_test(r) for r in runs[method]))
            gap = difference(ours, base)
            p = "" if gap.p is None or method == "random" else f"{gap.p:.2g}"
            fitness = _shown([r.search.best[0].value if r.search.best else math.inf for r in runs[method]])
            bred = round(statistics.fmean(r.search.committed for r in runs[method]))
            gain = "" if method == "random" else str(gap.gain)
            rows.append(f"| {method} | {fitness} | {_cells(ours, runs[method])} | {gain} | {p} | {bred} |")
        baseline = Tested(BASELINE, tuple(_test(r, BASELINE) for r in runs["random"]))
        gap = difference(baseline, base)
        p = "" if gap.p is None else f"{gap.p:.2g}"
        cells = _cells(baseline, runs["random"], BASELINE)
        rows.append(f"| {runs['random'][0].about['baseline']} | | {cells} | {gap.gain} | {p} | |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


def _test(run: Run, name: str = "search") -> float | None:
    """The mean of the trainings on the test part."""
    row = None if run.finals is None else run.finals.row(name)
    if row is None or any(v is None for v in row.values):
        return None
    return statistics.fmean(v for v in row.values if v is not None)


def _cells(row: Tested, runs: Sequence[Run], name: str = "search") -> str:
    """Mean and median over the seeds, and how many trainings had no end."""
    median = statistics.median(math.inf if v is None else v for v in row.values)
    rows = [r.finals.row(name) for r in runs if r.finals is not None]
    found = [f for r in rows if r is not None for f in r.failures]
    return f"{row.spread} | {median:.4f} | {sum(map(bool, found))} of {len(found)}"


def _shown(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.4f} ± {statistics.stdev(values):.4f}" if len(values) > 1 else f"{values[0]:.4f}"


def main() -> None:
    """Run what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=Path("out/quality"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trainings", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--one", nargs=3, metavar=("TASK", "METHOD", "SEED"))
    parser.add_argument("--table", action="store_true", help="only the tables of what is done")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.one:
        run(Job(args.one[0], args.one[1], int(args.one[2])), args.out, args.trainings)
        return
    if not args.table:
        run_all(jobs(args.seeds), args.out, args.trainings, args.workers)
    text = table(finished(args.out, args.seeds), args.trainings) + "\n\n" + REMARKS.rstrip()
    print(text)
    if args.write:
        put_section(
            "search-quality", "Search: quality at equal trainings", "python -m benchmarks.search_quality --write", text
        )


if __name__ == "__main__":
    main()
