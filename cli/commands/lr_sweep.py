"""`lossc lr-sweep`: the implicit learning rate of losses, and a sweep over learning rates beside the baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lossc.cli.context import Outcome, Session, begin, table
from lossc.cli.experiments import (
    FigureOption,
    LossesArgument,
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
from lossc.cli.options import Dialect, DialectOption, FOption, ForceOption, JsonOption, QuietOption, YOption
from lossc.cli.tasks import (
    BatchOption,
    DataOption,
    DeviceOption,
    ModelOption,
    MomentumOption,
    ScaleOption,
    SizeOption,
    SplitOption,
    StepsOption,
    TaskOption,
    asked_task,
    checked_device,
)
from lossc.compiler.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

    from lossc.runtime.experiments.learning_rate import Measured, Scale
    from lossc.runtime.experiments.sweep import Line, Run
    from lossc.runtime.tasks import Task
    from lossc.runtime.training import Spread

EXAMPLES = (
    "lossc lr-sweep evomal_a --task digits -o sweep.png",
    'lossc lr-sweep "3*(y - f)^2" --task diabetes --scale-only   # scale 3, cosine 1',
    "lossc lr-sweep label_smoothing focal --rates 0.01,0.1,1 --seeds 5",
)
MAX_RATES = 100


def run(
    ctx: typer.Context,
    losses: LossesArgument,
    task_name: TaskOption = "digits",
    seeds: SeedsOption = 3,
    rates: Annotated[
        str | None,
        typer.Option("--rates", metavar="R,R,...", help="The learning rates. [default: the task's x 0.01 to 10]"),
    ] = None,
    scale_only: Annotated[bool, typer.Option("--scale-only", help="Measure the scale, and sweep nothing.")] = False,
    model: ModelOption = None,
    size: SizeOption = None,
    data: DataOption = None,
    split: SplitOption = None,
    target_scale: ScaleOption = None,
    steps: StepsOption = None,
    batch_size: BatchOption = None,
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
    """How much of a loss is a learning rate (thesis, section 4.3.2), and what it is worth at each learning rate.

    The scale of a loss is the least-squares factor between its gradient and that of the task's usual loss; the cosine
    says how much of the gradient that is. Then models are trained at every rate with the usual loss, with each loss,
    and with each loss divided by its scale (Fig. 4.3). On digits: about 15 seconds a seed with one loss. Stopped with
    Ctrl-C, it shows the seeds that are done.
    """
    return _swept(begin(ctx, as_json, quiet), SimpleNamespace(lr=None, **locals()))


def _swept(session: Session, asked: SimpleNamespace) -> Outcome:
    look = checked_figure(asked)
    if asked.scale_only and asked.output is not None:
        raise UsageError("L235", "--scale-only sweeps nothing that -o could draw")
    written = rates_of(asked.rates)
    begin_work(session, asked)
    from lossc.runtime.experiments.sweep import grid, lines, series_of, sweep_runs

    task = asked_task(session, asked, asked.task_name, asked.steps)
    chosen = grid(task, written)
    modules = loss_modules(session, asked, task)
    device = checked_device(asked.device)
    with own_code(asked):
        measured = _measured(session, task, modules, range(asked.seeds), device)
    record: dict[str, Any] = {
        "task": task.name, "model": task.model, "steps": task.steps, "metric": task.metric.name,
        "reference": task.baseline, "seeds": list(range(asked.seeds)),
        "scales": {name: [m.as_json() for m in found] for name, found in measured.items()},
    }  # fmt: skip
    said = how_trained(task, asked.seeds) + scales_text(task, measured)
    if asked.scale_only:
        return Outcome(record, said)
    session.say(said)
    series = series_of(task, modules, {name: found[0].weights.scale for name, found in measured.items()})
    runs: list[Run] = []
    try:
        with own_code(asked), run_bar(session, task, len(series) * len(chosen) * asked.seeds) as bar:
            runs.extend(sweep_runs(task, series, chosen, range(asked.seeds), progress=bar.step, device=device))
    except KeyboardInterrupt:
        done = lines(series, runs, len(chosen))
        interrupted(
            session,
            sweep_text(task, done) if done else "",
            f"{len(runs)} runs were done; of a seed that is not, nothing is shown",
        )
        raise
    found = lines(series, runs, len(chosen))

    def draw(**how: Any) -> bytes:
        from lossc.runtime.experiments.figures import sweep_figure

        return sweep_figure(task, found, **how)

    note = draw_to(asked, look, draw)
    record |= {"sweep": [line.as_json() for line in found], **({"output": asked.output} if asked.output else {})}
    return Outcome(record, "" if session.json else sweep_text(task, found), note)


def rates_of(written: str | None) -> tuple[float, ...] | None:
    """The numbers of `0.01,0.1,1`. Raises UsageError (L236) for a text that is none, L223 for too many of them."""
    if written is None:
        return None
    try:
        found = tuple(float(part) for part in written.split(","))
    except ValueError:
        raise UsageError("L236", f"--rates {written[:60]!r} cannot be read", expected="numbers with commas between",
                         hint="--rates 0.01,0.1,1") from None  # fmt: skip
    if len(found) > MAX_RATES:
        raise UsageError("L223", f"a sweep has at most {MAX_RATES} learning rates, got {len(found)}")
    return found


def _measured(
    session: Session, task: Task, modules: Mapping[str, nn.Module], seeds: Sequence[int], device: str
) -> dict[str, tuple[Measured, ...]]:
    from lossc.runtime.experiments.learning_rate import implicit_rate, over_seeds

    found: dict[str, tuple[Measured, ...]] = {}
    with run_bar(session, task, len(modules) * len(seeds)) as bar:
        for name, loss in modules.items():
            each = [
                implicit_rate(task, loss, seed, device=device, progress=bar.of(f"scale of {name}", seed))
                for seed in seeds
            ]
            found[name] = over_seeds(each)
    return found


def scales_text(task: Task, measured: Mapping[str, Sequence[Measured]]) -> str:
    """The scale and the cosine of each loss, from the first weights to the last ones."""
    head = ("loss", "step", "scale", "cosine", "scale in outputs", "cosine")
    rows = [
        (name, str(m.step), *_cells(m.weights), *_cells(m.outputs)) for name, found in measured.items() for m in found
    ]
    return (
        f"implicit learning rate: the gradient in the weights is scale x that of {task.baseline}, and a rest; "
        "cosine 1: no rest\n" + table(head, rows, report=True)
    )


def _cells(scale: Scale) -> tuple[str, str]:
    return tuple("not defined" if x != x else f"{x:.3g}" for x in (scale.scale, scale.cosine))  # type: ignore[return-value]


def sweep_text(task: Task, found: Sequence[Line]) -> str:
    """The test metric of each series at each rate, and a line a series on its best rate."""
    name = task.metric.name
    rates = [cell.rate for cell in found[0].cells]
    rows = [
        (f"{rate:g}", *(str(line.cells[k].test) + _diverged(line.cells[k].diverged) for line in found))
        for k, rate in enumerate(rates)
    ]
    best = [
        (line.name, f"{line.best.rate:g}", _effective(line), str(line.best.val),
         str(line.best.test), _gain(line.gain))
        for line in found
    ]  # fmt: skip
    return (
        f"\ntest {name} by learning rate\n"
        + table(("rate", *(line.name for line in found)), rows, report=True)
        + "\nat the best rate, by validation; rate x scale: as a rate of the baseline\n"
        + table(
            ("loss", "best rate", "x scale", f"validation {name}", f"test {name}", "gain on test"), best, report=True
        )
    )


def _effective(line: Line) -> str:
    """The best rate in units of the baseline's; a loss that points elsewhere has none."""
    return f"{line.best.rate * line.scale:.3g}" if line.scale > 0 else "-"


def _diverged(count: int) -> str:
    return f" ({count} diverged)" if count else ""


def _gain(gain: Spread | None) -> str:
    if gain is None:
        return "(baseline)"
    if not math.isfinite(gain.mean):
        return "not finite"
    return f"{gain.mean:+.4f}" + ("" if gain.std is None else f" ± {gain.std:.4f}")
