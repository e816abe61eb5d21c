"""Time and memory of a loss with its gradient: fused and plain, beside torch's own losses and the formula as written.

    python -m benchmarks.fused            # prints the tables
    python -m benchmarks.fused --write    # and puts them into benchmarks/RESULTS.md

Every row is measured in one run: its forms take turns, the median of each counts, and ratios are within the row.
sympytorch takes part where it is installed. Memory is the peak of the process above what it held before, in a process
of its own for each form.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.results import put_section
from lossc.compiler.ir import const, param, substitute
from lossc.compiler.sympy_bridge import to_sympy
from lossc.compiler.targets.options import Options
from lossc.grammar.library import named

COUNT = 4_000_000
FORMS = {"fused": Options(fused=True), "plain": Options(fused=False), "as written": Options(literal=True)}
ELEMENTWISE: dict[str, tuple[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "mse": ("mse_loss", functional.mse_loss),
    "huber": ("huber_loss", functional.huber_loss),
    "pseudo_huber": ("huber_loss", functional.huber_loss),
    "cauchy": ("huber_loss", functional.huber_loss),
    "welsch": ("huber_loss", functional.huber_loss),
    "log_cosh": ("smooth_l1_loss", functional.smooth_l1_loss),
    "evomal_g": ("l1_loss", functional.l1_loss),
    "evomal_h": ("l1_loss", functional.l1_loss),
    "evomal_j": ("l1_loss", functional.l1_loss),
}
"""Losses, and torch's own fused loss of the same kind."""
CLASSIFICATION = ("cross_entropy", "label_smoothing", "focal", "ace", "sparse_lsr")
CLASSES = (10, 1_000, 10_000, 100_000)
Run = Callable[[], Tensor]


def timed(runs: dict[str, Run], leaf: Tensor, repeats: int) -> dict[str, float]:
    """Median milliseconds of forward and backward of each, taking turns."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 2):
        for name, run in runs.items():
            leaf.grad = None
            began = time.perf_counter()
            run().backward()  # type: ignore[no-untyped-call]
            if turn >= 2:
                times[name].append(time.perf_counter() - began)
    return {name: statistics.median(t) * 1e3 for name, t in times.items()}


def elementwise_runs(name: str, f: Tensor, y: Tensor) -> dict[str, Run]:
    """The forms of one elementwise loss, by what they are called in the table."""
    runs: dict[str, Run] = {"torch": lambda: ELEMENTWISE[name][1](f, y)}
    for form, options in FORMS.items():
        module = named(name).to_torch(options=options)
        runs[form] = lambda m=module: m(f, y)
    compiled = torch.compile(named(name).to_torch(options=FORMS["as written"]))
    others: dict[str, Run] = {"torch.compile": lambda: compiled(f, y)}
    if importlib.util.find_spec("sympytorch") is not None:
        others["sympytorch"] = lambda: _sympytorch(name)(y=y, f=f).mean()
    for other, run in others.items():
        try:
            run()
            runs[other] = run
        except Exception as problem:  # what another tool cannot do leaves a gap
            print(f"{name}, {other}: {type(problem).__name__}: {str(problem)[:100]}", file=sys.stderr)
    return runs


@cache
def _sympytorch(name: str) -> Any:
    import sympytorch

    loss = named(name)
    values = {param(p.name): const(p.default or 0) for p in loss.params}
    return sympytorch.SymPyModule(expressions=[to_sympy(substitute(loss.body, values))])


def elementwise(repeats: int) -> str:
    """The table of the elementwise losses."""
    torch.manual_seed(0)
    f, y = torch.randn(COUNT, requires_grad=True), torch.randn(COUNT)
    lines = [
        "| loss | torch's own | fused | plain | as written | sympytorch | torch.compile of the formula "
        "| fused / torch (<= 1.3) | as written / fused (>= 5) | peak memory: fused / torch (<= 1.0) |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, (theirs, _) in ELEMENTWISE.items():
        t = timed(elementwise_runs(name, f, y), f, repeats)
        ours, own, written = t["fused"], t["torch"], t["as written"]
        memory = peak(name, "fused") / peak(name, "torch")
        cells = [_ms(t.get(k)) for k in ("fused", "plain", "as written", "sympytorch", "torch.compile")]
        lines.append(
            f"| {name} | {_ms(own)} ({theirs}) | {' | '.join(cells)} | {ours / own:.2f} | {written / ours:.1f} "
            f"| {memory:.2f} |"
        )
        print(lines[-1], flush=True)
    return "\n".join(lines)


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"


def classification(repeats: int) -> str:
    """The table of the classification losses, with class indices."""
    torch.manual_seed(0)
    lines = [
        "| C | F.cross_entropy | with label_smoothing | one-hot formula (CE) | " + " | ".join(CLASSIFICATION)
        + " | sparse_lsr / F.cross_entropy with smoothing (<= 1) |",
        "|---|---|---|---|" + "---|" * (len(CLASSIFICATION) + 1),
    ]  # fmt: skip
    for classes in CLASSES:
        rows = max(1, COUNT // classes)
        z, labels = torch.randn(rows, classes, requires_grad=True), torch.randint(0, classes, (rows,))
        written = named("cross_entropy").to_torch(options=FORMS["as written"])
        runs: dict[str, Run] = {
            "own": lambda z=z, y=labels: functional.cross_entropy(z, y),
            "smoothed": lambda z=z, y=labels: functional.cross_entropy(z, y, label_smoothing=0.1),
            "one-hot": lambda z=z, y=labels, m=written: m(z, y),
        }
        for name in CLASSIFICATION:
            module = named(name).to_torch(options=FORMS["fused"])
            runs[name] = lambda z=z, y=labels, m=module: m(z, y)
        t = timed(runs, z, repeats)
        ratio = t["sparse_lsr"] / t["smoothed"]
        lines.append(f"| {classes:,} | " + " | ".join(_ms(v) for v in t.values()) + f" | {ratio:.2f} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


# -- memory -----------------------------------------------------------------------------------------------------------


def peak(name: str, form: str) -> float:
    """Mebibytes that one forward and backward takes at most, beside its inputs, in a process of its own."""
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, "-m", "benchmarks.fused", "--peak", name, form]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return float(done.stdout)


def report_peak(name: str, form: str) -> None:
    """Print the peak of this process, after a warm-up with few elements."""
    run = ELEMENTWISE[name][1] if form == "torch" else named(name).to_torch(options=FORMS[form])
    for count in (1000, COUNT):
        f, y = torch.randn(count, requires_grad=True), torch.randn(count)
        with open("/proc/self/clear_refs", "w", encoding="ascii") as reset:
            reset.write("5")
        before = _status("VmRSS")
        run(f, y).backward()
    print((_status("VmHWM") - before) / 1024)


def _status(key: str) -> float:
    with open("/proc/self/status", encoding="ascii") as status:
        return float(next(line.split()[1] for line in status if line.startswith(key)))


def main() -> None:
    """Measure, print, and (on request) write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true", help="put the tables into benchmarks/RESULTS.md")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--peak", nargs=2, metavar=("LOSS", "FORM"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        report_peak(*args.peak)
        return
    machine = (
        f"{COUNT // 1_000_000}M float32 elements, forward and backward, mean reduction; {torch.get_num_threads()} "
        f"threads; medians of {args.repeats}, the forms of a row taking turns."
    )
    text = "\n\n".join([machine, elementwise(args.repeats), classification(args.repeats)])
    if args.write:
        put_section("fused", "Fused losses: time and memory", "python -m benchmarks.fused --write", text)


if __name__ == "__main__":
    main()
