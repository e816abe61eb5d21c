"""`lossc landscape`: the surroundings of trained models, along filter-normalised directions, and how flat they are."""

from __future__ import annotations

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
    loss_modules,
    own_code,
    run_bar,
)
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
    from lossc.runtime.experiments.landscape import Landscapes

EXAMPLES = (
    "lossc landscape label_smoothing ace_phi:phi1=1.1 --task digits",
    "lossc landscape evomal_a --task digits --seeds 1 --plane 25 -o plane.png",
    'lossc landscape "(y - f)^4" pseudo_huber --task diabetes -o landscape.svg',
)


def run(
    ctx: typer.Context,
    losses: LossesArgument,
    task_name: TaskOption = "digits",
    seeds: SeedsOption = 3,
    radius: Annotated[
        float, typer.Option("--radius", metavar="R", help="Follow each direction from -R to R filter norms.")
    ] = 1.0,
    points: Annotated[int, typer.Option("--points", metavar="N", help="Points of a line.")] = 41,
    directions: Annotated[int, typer.Option("--directions", metavar="N", help="Random directions a seed.")] = 3,
    within: Annotated[
        float, typer.Option("--within", metavar="R", help="How far the figure `rise` goes, in filter norms.")
    ] = 0.25,
    plane: Annotated[
        int,
        typer.Option("--plane", metavar="N", help="Of the first seed, a plane of two directions too, N x N points."),
    ] = 0,
    rows: RowsOption = 500,
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
    """The loss landscape around models trained with each loss and with the task's usual one (thesis, Fig. 4.2).

    Along random directions that are normalised filter by filter (Li et al., 2018), with figures of flatness: how much
    the usual loss rises nearby, and the curvature there. On digits: about 10 seconds with the defaults and one loss.
    """
    return _looked(begin(ctx, as_json, quiet), SimpleNamespace(**locals()))


def _looked(session: Session, asked: SimpleNamespace) -> Outcome:
    look = checked_figure(asked)
    begin_work(session, asked)
    from lossc.runtime.experiments.landscape import Window, landscapes

    window = Window(asked.radius, asked.points, asked.within, asked.directions, asked.rows, asked.plane)
    task = asked_task(session, asked, asked.task_name, asked.steps)
    modules = loss_modules(session, asked, task)
    device = checked_device(asked.device)
    with own_code(asked), run_bar(session, task, (len(modules) + 1) * asked.seeds) as bar:
        found = landscapes(
            task, modules, range(asked.seeds), window, progress=bar.step, looking=bar.look, device=device
        )

    def draw(**how: Any) -> bytes:
        from lossc.runtime.experiments.figures import landscape_figure

        return landscape_figure(found, **how)

    note = draw_to(asked, look, draw)
    record = {**found.as_json(), **({"output": asked.output} if asked.output else {})}
    return Outcome(record, "" if session.json else text(found), note)


def text(found: Landscapes) -> str:
    """How it was trained, what the figures are, and a row a loss."""
    task, common = found.task, found.task.baseline
    head = (
        "loss", f"test {task.metric.name}", f"rise of {common}", "rise in test", "top eigenvalue", "trace",
        "own top eigenvalue", "diverged",
    )  # fmt: skip
    rows = [
        (one.name, str(one.test), *(_cell(v) for v in one.flatness.values()), f"{one.diverged} of {len(found.seeds)}")
        if one.flatness
        else (one.name, str(one.test), *["-"] * 5, f"{one.diverged} of {len(found.seeds)}")
        for one in found.found
    ]
    window = found.window
    return (
        how_trained(task, len(found.seeds))
        + f"rise: of {common}, {window.within:g} filter norms along {window.directions} random directions, both ways; "
        + f"top eigenvalue, trace: of the Hessian of {common} in training; own: of the loss itself; the smaller, the "
        + "flatter\n"
        + table(head, rows, report=True)
    )


def _cell(spread: object) -> str:
    """Mean and deviation in few digits: these figures span decades."""
    mean, std = getattr(spread, "mean", 0.0), getattr(spread, "std", None)
    if mean != mean:
        return "not defined"
    return f"{mean:.3g}" if std is None else f"{mean:.3g} ± {std:.2g}"
