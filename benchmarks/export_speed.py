"""The time of an export to all targets, warm: `python -m benchmarks.export_speed [--write]`.

Each loss is exported to every built-in target in one process, as `lossc export LOSS --to all --no-check` does, without
the files. What is remembered of a loss is forgotten before each repetition, so that every one does the whole work;
imports and the compiler's own tables are warm.
"""

from __future__ import annotations

import argparse
import statistics
import time

from benchmarks.results import put_section
from lossc.compiler.errors import LosscError
from lossc.compiler.loss import Loss
from lossc.compiler.targets import BUILT_IN, emit
from lossc.compiler.targets.boosting import policy
from lossc.compiler.targets.derivatives import bend_of, slope_of
from lossc.compiler.targets.golden import golden
from lossc.grammar.library import named

LOSSES = ("mse", "huber", "pseudo_huber", "cauchy", "poisson", "bce", "focal", "cross_entropy", "kl_divergence",
          "sparse_lsr")  # fmt: skip
REPETITIONS = 3
BUDGET = 2.0


def forget() -> None:
    """Empty what remembers results of one loss for the next target."""
    for remembered in (slope_of, bend_of, golden, policy._proofs):
        remembered.cache_clear()


def once(loss: Loss) -> dict[str, float]:
    """Seconds that each target took, refusals included."""
    forget()
    out = {}
    for target in BUILT_IN:
        start = time.perf_counter()
        try:
            emit(loss, target)
        except LosscError as problem:
            assert problem.diagnostic.code == "L345", problem
        out[target] = time.perf_counter() - start
    return out


def table(found: dict[str, dict[str, float]]) -> str:
    """The seconds of each loss, and the target that took longest."""
    lines = ["| loss | all targets | the slowest target |", "|---|---|---|"]
    for name, times in found.items():
        slowest = max(times, key=lambda t: times[t])
        lines.append(f"| {name} | {sum(times.values()):.2f} s | {slowest}, {times[slowest]:.2f} s |")
    totals = [sum(times.values()) for times in found.values()]
    lines.append(
        f"\nMedian {statistics.median(totals):.2f} s, greatest {max(totals):.2f} s; the budget is {BUDGET:g} s."
    )
    lines.append(f"The best of {REPETITIONS} repetitions; {len(BUILT_IN)} targets; two shared cores, one used.")
    return "\n".join(lines)


def main() -> None:
    """Print the table, and write it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into RESULTS.md")
    write = parser.parse_args().write
    once(named("mae"))  # imports
    found = {
        name: min((once(named(name)) for _ in range(REPETITIONS)), key=lambda t: sum(t.values())) for name in LOSSES
    }
    text = table(found)
    print(text)
    if write:
        put_section("export-speed", "Exports: the time of one loss to all targets",
                    "python -m benchmarks.export_speed --write", text)  # fmt: skip


if __name__ == "__main__":
    main()
