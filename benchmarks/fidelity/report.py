"""The tables: the thesis's figure, ours under the honest split, and ours under the split as published."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from benchmarks.fidelity.cells import LABELS, SETUPS, Setup
from benchmarks.fidelity.plan import Form, Job, jobs
from benchmarks.fidelity.runner import Outcome
from lossc.runtime.data import AS_PUBLISHED, HONEST
from lossc.runtime.training import Spread

Runs = Mapping[Job, Outcome]
HEADS = {3: "Chapter 3: offline (Tables 3.2 and 3.3)", 5: "Chapter 5: online (Tables 5.2 and 5.4)"}
COLUMNS = (
    "task, model", "method", "thesis", "ours, honest split", "seeds", "better than the baseline by, seed by seed",
    "ours, as published", "seeds", "honest, best of the validation curve",
)  # fmt: skip


def report(form: Form, runs: Runs, missing: Collection[str] = ()) -> str:
    """All tables of a form, from the runs that there are."""
    mine = {job: runs[job] for job in jobs(form) if job in runs}
    parts = [_facts(form, mine, missing)]
    for chapter, head in HEADS.items():
        lines = [line for setup in SETUPS.values() if setup.chapter == chapter for line in _lines(setup, mine)]
        if lines:
            table = [_row(COLUMNS), "|" + "---|" * len(COLUMNS), *lines]
            parts += [f"{head}; {_settings(form, chapter)}", "\n".join(table)]
    return "\n\n".join(parts)


def _facts(form: Form, runs: Runs, missing: Collection[str]) -> str:
    hours = sum(r.seconds for r in runs.values()) / 3600
    text = (
        f'{len(runs)} of the {len(jobs(form))} runs of the form "{form.name}", in all {hours:.1f} h of one thread; '
        f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores. Test metric (error rate "
        "for MNIST, else MSE), mean ± standard deviation over the seeds; a run that diverged is counted, not in the "
        "mean. The thesis has 5 seeds in chapter 3, 10 in chapter 5."
    )
    return text + (f" Not run, for want of files: {', '.join(sorted(missing))}." if missing else "")


def _settings(form: Form, chapter: int) -> str:
    if chapter == 3:
        return f"{form.learning} meta-steps of Adam 1e-3, then {form.steps:,} training steps, batches of 128."
    return (
        f"{form.learning_online:,} meta-steps offline, then {form.steps:,} training steps with an online rate of "
        f"{form.online_lr:g}; plain SGD, of rate 1e-3 for regression; its errors are in units of the targets' range."
    )


def _lines(setup: Setup, runs: Runs) -> Iterator[str]:
    """A line for each method of which there are runs."""
    for method in setup.methods:
        honest, leaky = (chosen(runs, setup.key, method, split) for split in (HONEST, AS_PUBLISHED))
        if not honest and not leaky:
            continue
        figure = setup.figures.get(method)
        yield _row((
            setup.title, LABELS[method], f"{figure} ({figure.table})" if figure else "", spread(honest), _seeds(honest),
            "" if method == "baseline" else gain(runs, honest), spread(leaky), _seeds(leaky), early(honest),
        ))  # fmt: skip


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def chosen(runs: Runs, setup: str, method: str, split: str) -> dict[Job, Outcome]:
    """The runs of one cell."""
    return {job: found for job, found in runs.items() if job.cell == (setup, method, split)}


def ended(runs: Runs) -> dict[Job, Outcome]:
    """Those that did not diverge."""
    return {job: found for job, found in runs.items() if not found.failure and math.isfinite(found.test)}


def spread(runs: Runs) -> str:
    """Mean and deviation of the test metric of the runs that ended."""
    good = ended(runs)
    return str(Spread.of(r.test for r in good.values())) if good else ("diverged" if runs else "")


def _seeds(runs: Runs) -> str:
    lost = len(runs) - len(ended(runs))
    return (f"{len(runs)}, {lost} diverged" if lost else str(len(runs))) if runs else ""


def gain(runs: Runs, cell: Runs) -> str:
    """The baseline's test metric less this one's, for the seeds where both ended: above 0 is better."""
    differences = []
    for job, found in ended(cell).items():
        base = runs.get(replace(job, method="baseline", learning=0, online_lr=0.0))
        if base is not None and not base.failure:
            differences.append(base.test - found.test)
    return str(Spread.of(differences)) if differences else ""


def early(runs: Runs) -> str:
    """The least validation metric along the training curve, and after how many steps it was seen, in the mean."""
    good = [r for r in ended(runs).values() if math.isfinite(r.best_val)]
    if not good:
        return ""
    value, step = (sum(v) / len(good) for v in ((r.best_val for r in good), (r.best_step for r in good)))
    return f"{value:.4f} at {step:,.0f}"
