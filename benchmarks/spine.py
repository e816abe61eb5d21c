"""How fast the spine is: command-line start-up, and parse / canonicalize / differentiate / emit of a 50-node loss.

    python -m benchmarks.spine            # prints the table
    python -m benchmarks.spine --write    # and puts it into benchmarks/RESULTS.md

Medians of repeated runs on whatever machine this is; budgets are those of docs/architecture.md. Times of commands are
wall-clock times of fresh processes, files written to a temporary folder.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.results import put_section

FIFTY = (
    "delta^2*(sqrt(1 + ((y - f)/delta)^2) - 1) + 0.5*log(1 + (y - f)^2/2) + tanh(y*f)*exp(-abs(y - f))"
    " + sqrt(abs(y - f) + 0.01)"
)
THIRTY = "delta^2*(sqrt(1 + ((y - f)/delta)^2) - 1) + 0.5*log(1 + (y - f)^2/2) + tanh(y*f)"


def median(action: Callable[[], object], repeats: int) -> float:
    """The median wall-clock seconds of `action`."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def command(*arguments: str) -> Callable[[], object]:
    """A function that runs `lossc ARGUMENTS` in a new process."""
    script = Path(sys.executable).with_name("lossc")
    start = [str(script)] if script.exists() else [sys.executable, "-m", "lossc"]

    def run() -> object:
        return subprocess.run([*start, *arguments], check=True, capture_output=True)

    return run


def start_up(repeats: int) -> list[tuple[str, float, str]]:
    """Rows of (what, seconds, budget) for fresh processes."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "mse.py")
        return [
            (
                "`python -c pass` (the floor)",
                median(lambda: subprocess.run([sys.executable, "-c", "pass"]), repeats),
                "",
            ),
            ("`lossc --help`", median(command("--help"), repeats), "< 0.25 s"),
            (
                '`lossc compile "(y-f)^2"`',
                median(command("compile", "(y-f)^2", "-o", out, "--force"), repeats),
                "< 0.6 s",
            ),
            ("`lossc list`", median(command("list"), repeats), ""),
        ]


def in_process(repeats: int) -> list[tuple[str, float, str]]:
    """Rows of (what, seconds, budget) for warm calls."""
    import lossc
    from lossc.compiler.targets import emit
    from lossc.compiler.targets.options import Options

    fifty = lossc.parse(FIFTY, params={"delta": 1.0})
    thirty = lossc.parse(THIRTY, params={"delta": 1.0})
    plain = Options(fused=False)
    fifty.canonicalize(), fifty.grad("f"), emit(fifty)

    def whole() -> None:
        emit(lossc.parse(FIFTY, params={"delta": 1.0}), selftest=False, options=plain)  # the passes are part of emit

    size = fifty.body.tree_size
    return [
        (f"parse ({size} nodes)", median(lambda: lossc.parse(FIFTY, params={"delta": 1.0}), repeats), ""),
        (f"canonicalize ({thirty.body.tree_size} nodes)", median(thirty.canonicalize, repeats), "< 1 ms for 30 nodes"),
        (f"canonicalize ({size} nodes)", median(fifty.canonicalize, repeats), ""),
        (f"dL/df in closed form, canonical ({size} nodes)", median(lambda: fifty.grad("f"), repeats), ""),
        (
            f"emit torch, the plain form, without self-test ({size} nodes)",
            median(lambda: emit(fifty, selftest=False, options=plain), repeats),
            "",
        ),
        (f"emit torch, the fused form too ({size} nodes)", median(lambda: emit(fifty, selftest=False), repeats), ""),
        (f"emit torch, with its golden values ({size} nodes)", median(lambda: emit(fifty), max(3, repeats // 10)), ""),
        (f"parse + canonicalize + emit the plain form ({size} nodes)", median(whole, repeats), "< 5 ms"),
    ]


def table(rows: list[tuple[str, float, str]]) -> str:
    """A Markdown table of the rows."""
    lines = ["| what | median | budget |", "|---|---|---|"]
    for what, seconds, budget in rows:
        shown = f"{seconds * 1e3:.2f} ms" if seconds < 0.05 else f"{seconds:.3f} s"
        lines.append(f"| {what} | {shown} | {budget} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and (on request) write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/RESULTS.md")
    parser.add_argument("--repeats", type=int, default=11)
    args = parser.parse_args()
    machine = f"Python {platform.python_version()}, {platform.machine()}, medians of {args.repeats} runs and 51 calls."
    text = "\n\n".join([machine, table(start_up(args.repeats)), table(in_process(51))])
    print(text)
    if args.write:
        put_section("spine", "The spine: start-up and compile times", "python -m benchmarks.spine --write", text)


if __name__ == "__main__":
    main()
