"""The tables of `benchmarks/meta_gradient.py`, from its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.meta_methods import SIZES

PUBLIC = "higher, `.backward()`"
Measured = dict[tuple[str, int, int], dict[str, Any]]
"""(kind, width, T) -> times, settled, floor by method; T = 0 for 25 candidates together."""
Peaks = dict[tuple[str, int, str], float]
"""(kind, T, method) -> MiB."""


def _net(kind: str, width: int) -> str:
    inside, out = SIZES[kind]
    return f"{inside}-{width}-{width}-{out}"


def _ratio(times: Mapping[str, list[float]], name: str) -> str:
    """How many times faster than the public code, by the best times and by the medians."""
    if PUBLIC not in times:
        return "-"
    return f"{times[PUBLIC][0] / times[name][0]:.2f} ({times[PUBLIC][1] / times[name][1]:.2f})"


def times_tables(found: Measured) -> list[str]:
    """A table for each network: every method at every T."""
    out = []
    for kind, width in dict.fromkeys((k, w) for k, w, _ in found):
        horizons = [t for k, w, t in found if (k, w) == (kind, width) and t]
        head = f"| {_net(kind, width)} |" + "".join(
            f" T = {t} | times faster than `higher` | settled | times faster |" for t in horizons
        )
        lines = [head, "|---|" + "---|" * 4 * len(horizons)]
        for name in dict.fromkeys(n for t in horizons for n in found[kind, width, t]["times"]):
            cells = [_cells(found[kind, width, t], name) for t in horizons]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        out.append("\n".join(lines))
    return out


def _cells(here: Mapping[str, Any], name: str) -> str:
    if name not in here["times"]:
        return "- | - | - | -"
    cells = []
    for state in ("times", "settled"):
        best, median = here[state][name]
        cells += [f"{best:.2f} ({median:.2f})", _ratio(here[state], name)]
    return " | ".join(cells)


def together_table(found: Measured, peaks: Peaks) -> str:
    """25 candidates of different forms on one θ_0 and batch, T = 1: milliseconds a candidate."""
    lines = [
        "| 25 candidates of different forms, a candidate | CPU | times faster than `higher` | settled | times faster "
        "| GFLOP | its products alone | peak of all 25 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for kind, width, steps in found:
        if steps:
            continue
        here = found[kind, width, 0]
        for name in here["times"]:
            cells = []
            for state in ("times", "settled"):
                best, median = here[state][name]
                cells += [f"{best / 25:.2f} ms ({median / 25:.2f})", _ratio(here[state], name)]
            gflop, alone = here["floor"][name]
            memory = f"{peaks[kind, 0, name]:.0f} MiB" if (kind, 0, name) in peaks and width >= 1000 else "-"
            cells += [f"{gflop / 25:.3f}", f"{alone / 25:.2f} ms", memory]
            lines.append(f"| {_net(kind, width)}: {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def memory_table(peaks: Peaks) -> str:
    """The peaks of the wide networks."""
    columns = list(dict.fromkeys((k, t) for k, t, _ in peaks if t))
    lines = ["| peak memory, MiB |" + "".join(f" {k}, T = {t} |" for k, t in columns), "|---|" + "---|" * len(columns)]
    for name in dict.fromkeys(n for _, t, n in peaks if t):
        cells = []
        for k, t in columns:
            mine, public = peaks.get((k, t, name)), peaks.get((k, t, PUBLIC))
            share = f" ({mine / public:.2f})" if mine is not None and public else ""
            cells.append("-" if mine is None else f"{mine:.1f}{share}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def floors(found: Measured, speed: float) -> str:
    """How near our fastest engine is to its own products of matrices, and to those at the speed of the best one."""
    lines = [
        "| our fastest | T | engine | CPU | GFLOP | its products alone | reached | at the speed of the best product "
        "| GFLOP of plain autograd |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (kind, width, steps), here in found.items():
        if not steps:
            continue
        name = fastest(here)
        best = here["times"][name][0]
        gflop, alone = here["floor"][name]
        least = here["floor"]["autograd, grad(phi)"][0]
        cells = [f"{best:.2f} ms", f"{gflop:.3f}", f"{alone:.2f} ms", f"{alone / best:.0%}"]
        cells += [f"{gflop / speed * 1e3:.2f} ms", f"{least:.3f}"]
        lines.append(f"| {_net(kind, width)} | {steps} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def fastest(here: Mapping[str, Any]) -> str:
    """The name of our fastest engine."""
    mine = [n for n in here["times"] if n.split(",")[0] in ("unroll", "jvp1", "lockstep", "reversible")]
    return str(min(mine, key=lambda n: here["times"][n][0]))


def chosen(here: Mapping[str, Any]) -> str:
    """The engine that `auto` takes, by its name in the tables: time and memory are to be met by one and the same."""
    return next(n for n in ("lockstep, together", "lockstep", "reversible") if n in here["times"])


def targets(found: Measured, peaks: Peaks, seconds: Mapping[str, float]) -> str:
    """Every number that was asked for, and what came out."""
    lines = ["| target | measured | |", "|---|---|---|"]

    def row(what: str, value: float, limit: float, *, at_least: bool, unit: str = "") -> None:
        met = value >= limit if at_least else value <= limit
        lines.append(f"| {what} | {value:.2f}{unit} | {'met' if met else f'missed by {abs(value / limit - 1):.0%}'} |")

    for (kind, width, steps), here in found.items():
        limit = {0: 5.0, 1: 2.5 if width >= 1000 else 4.0, 20: 1.15}.get(steps)
        if limit is None or PUBLIC not in here["times"]:
            continue
        name = chosen(here)
        what = f"{_net(kind, width)}, " + (f"T = {steps}" if steps else "25 candidates together")
        faster = here["times"][PUBLIC][0] / here["times"][name][0]
        row(f"{what}: >= {limit} times faster than `higher` ({name})", faster, limit, at_least=True)
        if width >= 1000 and steps:
            share = peaks[kind, steps, name] / peaks[kind, steps, PUBLIC]
            bound = 0.25 if steps == 1 else 1 / 3
            row(f"{what}: <= {bound:.2f} of its memory", share, bound, at_least=False)
    if "as the public code does it" in seconds:
        ratio = seconds["as the public code does it"] / seconds["lossc.optimize, settled"]
        lines.append(f"| local search on Diabetes, beside the public code's way | {ratio:.2f} times faster | |")
    return "\n".join(lines)
