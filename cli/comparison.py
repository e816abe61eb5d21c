"""Training losses beside a task's baseline, with a progress bar, and the table of what came of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lossc.cli.context import Session, progress, table

if TYPE_CHECKING:
    from torch import nn

    from lossc.runtime.tasks import Task
    from lossc.runtime.training import Comparison, Row


def compared(
    session: Session,
    task: Task,
    losses: Mapping[str, nn.Module],
    seeds: Sequence[int],
    *,
    threads: int = 1,
    device: str = "cpu",
) -> Comparison:
    """`lossc.runtime.training.compare` on so many threads of torch, with a progress bar for someone who watches.

    One thread is the default: small models are faster so, and the numbers are the same on every machine of a kind.
    """
    import torch

    from lossc.runtime.training import compare

    torch.set_num_threads(threads)
    runs: dict[tuple[str, int], int] = {}
    with progress(session, (len(losses) + 1) * len(seeds) * task.steps) as bar:

        def told(name: str, seed: int, step: int, steps: int) -> None:
            place = runs.setdefault((name, seed), len(runs))
            if step % 10 == 0 or step == steps:
                bar.to(place * task.steps + step, f"{task.name}: {name}, seed {seed}")

        return compare(task, losses, seeds, progress=told, device=device)


def caption(task: Task, seeds: int) -> str:
    """What was trained, how, and what the numbers mean."""
    sgd = task.sgd
    momentum = f", momentum {sgd.momentum:g}" if sgd.momentum else ""
    runs = f"{seeds} seeds: mean ± standard deviation" if seeds > 1 else "1 seed"
    name = task.metric.name
    return (
        f"{task.name} ({task.kind}), {task.model}, {task.steps} steps of SGD, "
        f"learning rate {sgd.lr:g}{momentum}, batches of {task.batch_size}{_marked(task)}\n"
        f"{name}: {task.metric.doc}; smaller is better\n"
        f"{runs}; gain: the {name} of {task.baseline} less that of the loss, seed by seed\n"
    )


def _marked(task: Task) -> str:
    """What a reader of the numbers must know of the split."""
    return "" if task.dealing == "honest" else f"; the {task.dealing} split: test rows are trained on"


def comparison_table(found: Comparison) -> str:
    """The rows of a comparison, the baseline first."""
    return table(_heads(found.metric), [_cells(row, len(found.seeds)) for row in found.rows], report=True)


def _heads(metric: str) -> tuple[str, ...]:
    return ("loss", f"test {metric}", f"validation {metric}", "gain on test", "seconds a run", "diverged")


def _cells(row: Row, seeds: int) -> tuple[str, ...]:
    return (row.name, str(row.test), str(row.val), _gain(row), f"{row.seconds:.1f}", f"{row.diverged} of {seeds}")


def _gain(row: Row) -> str:
    if row.gain is None:
        return "(baseline)"
    if not math.isfinite(row.gain.mean):
        return "not finite"
    return f"{row.gain.mean:+.4f}" + ("" if row.gain.std is None else f" ± {row.gain.std:.4f}")


def remarks(found: Comparison) -> str:
    """Why runs diverged, a line a loss."""
    lines = []
    for row in found.rows:
        reasons = [f"seed {run.seed}: {run.failure}" for run in row.runs if run.failure]
        if reasons:
            lines.append(f"{row.name} diverged ({'; '.join(reasons[:3])})")
    return "".join(line + "\n" for line in lines)
