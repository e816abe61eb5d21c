"""`lossc representations`: what trained classifiers see before their last layer, and how tight its classes are."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import typer

from lossc.cli.context import Outcome, Session, begin, table
from lossc.cli.experiments import (
    FigureOption,
    LossesArgument,
    RowsOption,
    SeedsOption,
    SetAllOption,
    ThemeOption,
    ThreadsOption,
    begin_work,
    checked_figure,
    draw_to,
    how_trained,
    loss_modules,
    own_code,
    run_bar,
)
from lossc.cli.learning import check_range
from lossc.cli.options import Dialect, DialectOption, FOption, ForceOption, JsonOption, QuietOption, YOption
from lossc.cli.tasks import (
    BatchOption,
    DataOption,
    DeviceOption,
    ModelOption,
    MomentumOption,
    RateOption,
    ScaleOption,
    SizeOption,
    SplitOption,
    StepsOption,
    TaskOption,
    asked_task,
    checked_device,
)

if TYPE_CHECKING:
    from lossc.runtime.experiments.representations import Representation
    from lossc.runtime.tasks import Task
    from lossc.runtime.training import Spread

MOST_ROWS = 100_000

EXAMPLES = (
    "lossc representations label_smoothing ace_phi:phi1=1.1 --task digits -o tsne.png",
    "lossc representations label_smoothing sparse_lsr --set xi=0.2 --steps 2000",
    "lossc representations ace --task cifar10 --model alexnet --data data --seeds 1",
)


def run(
    ctx: typer.Context,
    losses: LossesArgument,
    task_name: TaskOption = "digits",
    seeds: SeedsOption = 3,
    rows: RowsOption = 1000,
    model: ModelOption = None,
    size: SizeOption = None,
    data: DataOption = None,
    split: SplitOption = None,
    target_scale: ScaleOption = None,
    steps: StepsOption = None,
    batch_size: BatchOption = None,
    lr: RateOption = None,
    momentum: MomentumOption = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    y: YOption = None,
    f: FOption = None,
    sets: SetAllOption = None,
    dialect: DialectOption = Dialect.lossc,
    output: FigureOption = None,
    theme: ThemeOption = "light",
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> Outcome:
    """How tightly the classes lie before the last layer, trained with each loss and with the task's usual one.

    Tightness: mean distance to the mean of the class over that between the means, the smaller the tighter; silhouette:
    between -1 and 1, the larger the better apart. With -o, t-SNE of the first seed's test part (thesis, Fig. 4.7).
    On digits: about 5 seconds with one loss, and 3 seconds a loss for the figure.
    """
    return _seen(begin(ctx, as_json, quiet), SimpleNamespace(**locals()))


def _seen(session: Session, asked: SimpleNamespace) -> Outcome:
    look = checked_figure(asked)
    check_range("--rows", asked.rows, MOST_ROWS)
    begin_work(session, asked)
    from lossc.runtime.experiments.representations import representations

    task = asked_task(session, asked, asked.task_name, asked.steps)
    modules = loss_modules(session, asked, task)
    device = checked_device(asked.device)
    with own_code(asked), run_bar(session, task, (len(modules) + 1) * asked.seeds) as bar:
        found = representations(
            task, modules, range(asked.seeds), rows=asked.rows, picture=look is not None, progress=bar.step,
            looking=bar.look, device=device,
        )  # fmt: skip

    def draw(**how: Any) -> bytes:
        from lossc.runtime.experiments.figures import representations_figure

        return representations_figure(task, found, **how)

    note = draw_to(asked, look, draw)
    record = {
        "task": task.name, "model": task.model, "steps": task.steps, "metric": task.metric.name, "rows": asked.rows,
        "seeds": list(range(asked.seeds)), "losses": [one.as_json() for one in found],
        **({"output": asked.output} if asked.output else {}),
    }  # fmt: skip
    return Outcome(record, "" if session.json else text(task, found, asked.seeds), note)


def text(task: Task, found: Sequence[Representation], seeds: int) -> str:
    """How it was trained, what the figures are, and a row a loss."""
    head = ("loss", f"test {task.metric.name}", "tightness in training", "in test", "silhouette in training", "in test",
            "diverged")  # fmt: skip
    rows = []
    for one in found:
        spreads: list[Spread | None] = [
            one.figures[part][k] if one.figures else None
            for k in ("tightness", "silhouette")
            for part in ("train", "test")
        ]
        cells = ["-" if s is None else str(s) for s in spreads]
        rows.append((one.name, str(one.test), *cells, f"{one.diverged} of {seeds}"))
    return (
        how_trained(task, seeds)
        + "before the last layer: tightness, the mean distance to the mean of the class over that between the means, "
        + "the smaller the tighter;\nsilhouette, the larger the better apart\n"
        + table(head, rows, report=True)
    )
