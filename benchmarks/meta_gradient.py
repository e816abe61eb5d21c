"""Time and memory of a meta-gradient: our engines beside `higher`, `torchopt` and plain autograd, and the floor.

    python -m benchmarks.meta_gradient            # prints the tables
    python -m benchmarks.meta_gradient --write    # and puts them into benchmarks/RESULTS.md
    python -m benchmarks.meta_gradient --quick    # narrow models and few repetitions, to see that it runs

One thread, float32, CPU time of the process. The methods of a table take turns in one process, and before they are
timed each must give the same gradient in float64 (to 1e-8). Memory is the peak of the process above what it held
before, in a process of its own for each method. `pip install higher torchopt` lets those two take part.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from benchmarks.meta_methods import (
    CLASSIFICATION,
    REGRESSION,
    ROWS,
    SIZES,
    Method,
    Setting,
    methods,
    products_of,
    together,
)
from benchmarks.meta_search import ours, theirs
from benchmarks.meta_tables import Measured, Peaks, floors, memory_table, targets, times_tables, together_table
from benchmarks.results import put_section
from lossc.runtime.hygiene import settle

TOLERANCE = 1e-8
KINDS = (REGRESSION, CLASSIFICATION)


def timed(runs: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, tuple[float, float]]:
    """Best and median milliseconds of CPU of each, taking turns."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            began = time.process_time()
            run()
            if turn:
                times[name].append((time.process_time() - began) * 1e3)
    return {name: (min(t), statistics.median(t)) for name, t in times.items()}


# -- in a process of its own ------------------------------------------------------------------------------------------


def measure(setting: Setting, *, all_together: bool, settled: bool, repeats: int) -> dict[str, Any]:
    """Times of all methods; the worst disagreement in float64, and the products of matrices under ours."""
    make = together if all_together else methods
    worst = 0.0
    if not settled:
        exact = make(setting, torch.float64)
        reference = exact["autograd, grad(phi)"]()
        worst = max(float((run() - reference).norm() / reference.norm()) for run in exact.values())
        if worst > TOLERANCE:
            raise SystemExit(f"{setting}, T = {setting.steps}: the methods disagree by {worst:.1e}")
    runs = make(setting)
    times = timed(runs, repeats)
    floor = {name: _floor(run) for name, run in runs.items() if not settled}
    return {"times": times, "worst": worst, "floor": floor}


def _floor(run: Method) -> tuple[float, float]:
    """GFLOP of a method, and the best milliseconds of its products of matrices alone."""
    seen = products_of(run)
    return seen.gflop, timed({"": seen.replay()}, 5)[""][0]


def peak(setting: Setting, *, all_together: bool, method: str) -> float:
    """Mebibytes that one meta-gradient takes at most above weights and batches, after a small one for warming up.

    The products before it fill the buffers of the linear algebra library, which are no part of any method.
    """
    make = together if all_together else methods
    make(Setting(setting.kind, 8, setting.steps))[method]()
    for inside, out in ((SIZES[setting.kind][0], setting.width), (setting.width, setting.width)):
        rows, weights = torch.ones(10 * ROWS, inside), torch.ones(inside, out)
        back = rows @ weights @ weights.t()
        del rows, weights, back
    run = make(setting)[method]
    with open("/proc/self/clear_refs", "w", encoding="ascii") as reset:
        reset.write("5")
    before = _status("VmRSS")
    run()
    return (_status("VmHWM") - before) / 1024


def _status(key: str) -> float:
    with open("/proc/self/status", encoding="ascii") as status:
        return float(next(line.split()[1] for line in status if line.startswith(key)))


def search(steps: int) -> dict[str, float]:
    """CPU seconds of the local search; what is imported and compiled once is left out."""
    ours(1)
    found = {"lossc.optimize": ours(steps)}
    if importlib.util.find_spec("higher") is not None:
        found["as the public code does it"] = theirs(steps)
    settle()
    return {**found, "lossc.optimize, settled": ours(steps)}


def peak_speed() -> float:
    """10^9 operations a second of the best of many products of 100 x 1000 x 1000."""
    a, b, out = torch.randn(ROWS, 1000), torch.randn(1000, 1000), torch.empty(ROWS, 1000)
    return 2e-6 * ROWS * 1e6 / timed({"": lambda: torch.mm(a, b, out=out)}, 50)[""][0]


def child(order: dict[str, Any]) -> Any:
    """What the parent process asked for."""
    torch.set_num_threads(1)
    if order.get("settled"):
        settle()
    what = order.pop("what")
    if what == "search":
        return search(order["steps"])
    if what == "speed":
        return peak_speed()
    setting = Setting(order.pop("kind"), order.pop("width"), order.pop("steps"))
    return measure(setting, **order) if what == "times" else peak(setting, **order)


def ask(**order: Any) -> Any:
    """The answer of a fresh process."""
    env = dict(os.environ)
    if order["what"] == "peak":
        env["MALLOC_MMAP_THRESHOLD_"] = "65536"  # what is freed is given back at once, and cannot be counted twice
    command = [sys.executable, "-m", "benchmarks.meta_gradient", "--child", json.dumps(order)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


# -- all of it --------------------------------------------------------------------------------------------------------


def collect(*, quick: bool) -> tuple[Measured, Peaks]:
    """Times and peaks of every setting; the key of 25 candidates together is T = 0."""
    widths, horizons = ((100,), (1, 5)) if quick else ((1000, 100), (1, 5, 20))
    found: Measured = {}
    peaks: Peaks = {}
    for kind in KINDS:
        for width in widths:
            for steps in (*horizons, 0):
                repeats = (
                    3 if quick else {1000: {1: 15, 5: 7, 20: 4, 0: 5}, 100: {1: 60, 5: 25, 20: 9, 0: 9}}[width][steps]
                )
                order = {"kind": kind, "width": width, "steps": max(steps, 1), "all_together": steps == 0}
                plain = ask(what="times", settled=False, repeats=repeats, **order)
                settled = ask(what="times", settled=True, repeats=repeats, **order)
                found[kind, width, steps] = {**plain, "settled": settled["times"]}
                print(f"{kind} {width} T={steps}", {k: round(v[0], 2) for k, v in plain["times"].items()}, flush=True)
                if width == max(widths):
                    for name in plain["times"]:
                        peaks[kind, steps, name] = ask(what="peak", method=name, **order)
    return found, peaks


def report(*, quick: bool) -> str:
    """The tables as text."""
    speed = ask(what="speed")
    found, peaks = collect(quick=quick)
    steps = 20 if quick else 250
    seconds = ask(what="search", steps=steps)
    worst = max(m["worst"] for m in found.values())
    head = (
        f"Python {platform.python_version()}, torch {torch.__version__}, {platform.machine()}, {os.cpu_count()} shared "
        f"cores, one thread, float32, batches of {ROWS}, SGD {0.01}; CPU milliseconds, best (median). A product of "
        f'100 x 1000 x 1000 runs at {speed:.0f} GFLOP/s. All methods agree to {worst:.0e} in float64. "higher, '
        '`.backward()`" is what the public EvoMAL code does. "Settled": the same in a process after '
        "`lossc.runtime.hygiene.settle()`, which helps the others more than us."
    )
    lines = [f"| {name} | {value:.1f} s | {value / steps * 1e3:.1f} ms |" for name, value in seconds.items()]
    local = "\n".join([f"| {steps} meta-steps on Diabetes | CPU | a step |", "|---|---|---|", *lines])
    parts = [head, *times_tables(found), together_table(found, peaks), memory_table(peaks), floors(found, speed), local,
             targets(found, peaks, seconds)]  # fmt: skip
    return "\n\n".join(parts)


def main() -> None:
    """Measure, print, and (on request) write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true", help="put the tables into benchmarks/RESULTS.md")
    parser.add_argument("--quick", action="store_true", help="narrow models and few repetitions")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(child(json.loads(args.child))))
        return
    for name in ("higher", "torchopt"):
        if importlib.util.find_spec(name) is None:
            print(f"{name} is not installed and takes no part: pip install {name}", file=sys.stderr)
    text = report(quick=args.quick)
    print(text)
    if args.write:
        command = "python -m benchmarks.meta_gradient --write"
        put_section("meta_gradient", "Meta-gradients: time and memory", command, text)


if __name__ == "__main__":
    main()
