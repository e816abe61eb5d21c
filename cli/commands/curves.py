"""`lossc curves`: training curves of several losses, mean and deviation over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

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
    interrupted,
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
    from lossc.runtime.experiments.curves import Curve, Run
    from lossc.runtime.tasks import Task

MOST = 10_000

EXAMPLES = (
    "lossc curves label_smoothing ace_phi:phi1=1.1 sparse_lsr --task digits -o curves.png",
    "lossc curves pseudo_huber mae --task diabetes --seeds 10",
    "lossc curves evomal_a evomal_e --lr 0.005 --json",
)


def run(
    ctx: typer.Context,
    losses: LossesArgument,
    task_name: TaskOption = "digits",
    seeds: SeedsOption = 3,
    points: Annotated[int, typer.Option("--points", metavar="N", help="How often the model is looked at.")] = 50,
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
    """How a model learns with each loss and with the task's usual one (thesis, Fig. 4.11).

    Training losses of different scale do not compare: shown are the task's metric in training and validation, and its
    usual loss in training. On digits: about 1 second a loss and seed. Stopped with Ctrl-C, it shows the seeds that are
    done.
    """
    return _drawn(begin(ctx, as_json, quiet), SimpleNamespace(**locals()))


def _drawn(session: Session, asked: SimpleNamespace) -> Outcome:
    look = checked_figure(asked)
    check_range("--points", asked.points, MOST)
    check_range("--rows", asked.rows, 10 * MOST)
    begin_work(session, asked)
    from lossc.runtime.experiments.curves import curve_runs, curves

    task = asked_task(session, asked, asked.task_name, asked.steps)
    modules = loss_modules(session, asked, task)
    device = checked_device(asked.device)
    runs: list[Run] = []
    losses = len(modules) + 1
    try:
        with own_code(asked), run_bar(session, task, losses * asked.seeds) as bar:
            how = {"points": asked.points, "rows": asked.rows, "device": device}
            runs.extend(curve_runs(task, modules, range(asked.seeds), progress=bar.step, **how))
    except KeyboardInterrupt:
        done = curves(runs, losses)
        interrupted(
            session,
            text(task, done, len(runs) // losses) if done else "",
            f"{len(runs)} runs were done; of a seed that is not, nothing is shown",
        )
        raise
    found = curves(runs, losses)

    def draw(**how: Any) -> bytes:
        from lossc.runtime.experiments.figures import curves_figure

        return curves_figure(task, found, **how)

    note = draw_to(asked, look, draw)
    record = {
        "task": task.name, "model": task.model, "metric": task.metric.name, "common": task.baseline,
        "seeds": list(range(asked.seeds)), "losses": [one.as_json() for one in found],
        **({"output": asked.output} if asked.output else {}),
    }  # fmt: skip
    return Outcome(record, "" if session.json else text(task, found, asked.seeds), note)


def text(task: Task, found: Sequence[Curve], seeds: int) -> str:
    """How it was trained, and a row a loss."""
    from lossc.runtime.experiments.curves import REACHED

    name = task.metric.name
    head = ("loss", f"training {name}", f"validation {name}", f"{task.baseline} in training", "reached at step",
            "diverged")  # fmt: skip
    rows = [
        (one.name, *(str(one.last[k]) for k in ("train", "val", "common")), _reached(one, seeds),
         f"{one.diverged} of {seeds}")
        for one in found
    ]  # fmt: skip
    return (
        how_trained(task, seeds)
        + f"at the end; reached: the first look with {REACHED:.0%} of what {task.baseline} improves in validation\n"
        + table(head, rows, report=True)
    )


def _reached(one: Curve, seeds: int) -> str:
    if one.reached is None:
        return "never"
    some = "" if one.reached.n == seeds else f" ({one.reached.n} of {seeds})"
    std = one.reached.std
    return f"{one.reached.mean:.0f}" + ("" if std is None else f" ± {std:.0f}") + some
