"""How accurate the compiled losses are: the worst error of value and gradient over the named losses, in ulp.

    python -m benchmarks.accuracy                      # prints the tables
    python -m benchmarks.accuracy --write              # and puts them into benchmarks/RESULTS.md
    python -m benchmarks.accuracy --losses mse ace     # some losses only, with every result that is not finite

Against mpmath, in every dtype and under both measures of `lossc accuracy`. A result that is NaN or infinite where the
truth is a number that the dtype holds is a failure: each is printed (with --all; else the first of each kind).
"""

from __future__ import annotations

import argparse
import math
import platform
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

from benchmarks.results import put_section

POINTS = 60
WORST_SHOWN = 5


def measured(task: tuple[str, int]) -> tuple[str, object]:
    """The report of one named loss, in a process of its own; the text of the complaint if it cannot be measured."""
    import torch

    from lossc.compiler.errors import LosscError
    from lossc.grammar.library import named
    from lossc.runtime.accuracy import accuracy

    torch.set_num_threads(1)
    name, points = task
    try:
        return name, accuracy(named(name), points=points)
    except LosscError as problem:
        return name, str(problem)


def run(names: Sequence[str], points: int, workers: int) -> dict[str, object]:
    """The reports of all these losses, by name."""
    with ProcessPoolExecutor(workers) as pool:
        return dict(pool.map(measured, [(name, points) for name in names]))


def rows(reports: dict[str, object]) -> Iterator[str]:
    """A Markdown row for each dtype, measure and quantity: the worst of all losses, before and after."""
    from lossc.runtime.accuracy.measure import DTYPES
    from lossc.runtime.accuracy.points import MEASURES
    from lossc.runtime.accuracy.report import AFTER, BEFORE, GRADIENT, VALUE, AccuracyReport

    yield "| dtype | inputs | of | median loss | 9 of 10 losses | worst loss | not finite | as written, not finite |"
    yield "|---|---|---|---|---|---|---|---|"
    known = [r for r in reports.values() if isinstance(r, AccuracyReport)]
    for dtype in DTYPES:
        for measure in MEASURES:
            for of in (VALUE, GRADIENT):
                where = {"dtype": dtype, "measure": measure, "of": of}
                found = [(r, e) for r in known for e in r.select(**where, program=AFTER) if e.worst is not None]
                finite = sorted((_ulps(e.max_bits or 0.0), r.loss) for r, e in found if not e.not_finite)
                wrong = sum(e.not_finite for _, e in found)
                before = sum(e.not_finite for r in known for e in r.select(**where, program=BEFORE))
                total = sum(e.count for _, e in found)
                if not finite:
                    continue
                middle, high = (finite[min(len(finite) - 1, int(q * len(finite)))][0] for q in (0.5, 0.9))
                top = f"{_shown(finite[-1][0])} ulp ({finite[-1][1]})"
                shown = [f"{_shown(middle)} ulp", f"{_shown(high)} ulp", top, f"{wrong} of {total}", str(before)]
                yield f"| {dtype} | {measure} | {of} | " + " | ".join(shown) + " |"


def failures(reports: dict[str, object], every: bool) -> Iterator[str]:
    """A line for each result of a compiled loss that is not finite where it should be."""
    from lossc.runtime.accuracy.report import AFTER, AccuracyReport

    for name, report in reports.items():
        if not isinstance(report, AccuracyReport):
            yield f"- {name}: {report}"
            continue
        yield from (f"- {name}: {note}" for note in report.notes if "torch" in note)
        seen: dict[tuple[str, str, str], int] = {}
        for entry, point in report.failures(program=AFTER):
            kind = (entry.dtype, entry.measure, entry.of)
            seen[kind] = seen.get(kind, 0) + 1
            if every or seen[kind] == 1:
                where = f"{entry.dtype}, {entry.measure}, {entry.of}: {entry.not_finite} of {entry.count}"
                yield f"- {name}, {where}: {point.got:g} instead of {point.truth} at {point.at}, entry {point.entry}"


def _ulps(bits: float) -> float:
    return 2.0**bits - 1


def _shown(ulps: float) -> str:
    return f"{ulps:.2f}" if ulps < 100 else f"2^{math.log2(ulps):.0f}"


def main() -> None:
    """Measure, print, and (on request) write the tables."""
    from lossc.grammar.library import names

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true", help="put the tables into benchmarks/RESULTS.md")
    parser.add_argument("--losses", nargs="*", default=None, help="these named losses only")
    parser.add_argument("--points", type=int, default=POINTS, help="inputs for each dtype and measure")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--all", action="store_true", help="print every failure, not the first of each kind")
    args = parser.parse_args()
    start = time.perf_counter()
    chosen = args.losses or list(names())
    reports = run(chosen, args.points, args.workers)
    seconds = time.perf_counter() - start
    what = (
        f"{len(chosen)} named losses, {args.points} inputs for each dtype and measure, gradients entry by entry; "
        f"Python {platform.python_version()}, {platform.machine()}, {seconds:.0f} s. "
        "An error is in ulps of the truth, and of the smallest number where the truth is 0; so a gradient that cancels "
        "to 0 loses all digits. Losses with a result that is not finite are left out of the first three columns of "
        "numbers, and counted in the last but one."
    )
    wrong = list(failures(reports, args.all))
    listed = "\n".join(["Not finite where mpmath has a number that the dtype holds:", "", *(wrong or ["- nothing"])])
    text = "\n\n".join([what, "\n".join(rows(reports)), listed])
    print(text)
    if args.write:
        put_section("accuracy", "Accuracy against mpmath", "python -m benchmarks.accuracy --write", text)


if __name__ == "__main__":
    main()
