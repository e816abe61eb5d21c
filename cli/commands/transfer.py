"""`lossc transfer`: train with the found loss of a search on another task (thesis, section 3.5.2)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Annotated

import typer

from lossc.cli.comparison import caption, compared, comparison_table, remarks
from lossc.cli.context import Outcome, begin
from lossc.cli.learning import MAX_SEEDS, MAX_THREADS, ThreadsOption, check_range
from lossc.cli.options import JsonOption, QuietOption
from lossc.cli.searching import RunArgument
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
    asked_task,
    checked_device,
)
from lossc.compiler.errors import UsageError

EXAMPLES = (
    "lossc transfer runs/a --task california --seeds 5",
    "lossc transfer runs/a --task fashion-mnist --model lenet5 --top 3",
)


def run(
    ctx: typer.Context,
    folder: RunArgument,
    task_name: Annotated[str, typer.Option("--task", metavar="TASK", help="The other task, as for `lossc train`.")],
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", help="Train with the seeds 0 to N-1.")] = 5,
    top: Annotated[int, typer.Option("--top", metavar="N", help="The best so many losses.")] = 1,
    steps: StepsOption = None,
    threads: ThreadsOption = 1,
    device: DeviceOption = "cpu",
    model: ModelOption = None,
    size: SizeOption = None,
    data: DataOption = None,
    split: SplitOption = None,
    target_scale: ScaleOption = None,
    batch_size: BatchOption = None,
    lr: RateOption = None,
    momentum: MomentumOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> Outcome:
    """Train on another task with the best losses of a search, as they are, beside the task's usual loss.

    Nothing is searched or learned again. Classification losses go to classification tasks, and real ones to regression.
    """
    asked = SimpleNamespace(**locals())
    session = begin(ctx, as_json, quiet)
    check_range("--seeds", seeds, MAX_SEEDS)
    check_range("--threads", threads, MAX_THREADS)
    check_range("--top", top, 20)
    session.note("loading torch ...")
    from lossc.runtime.search.folder import read_run
    from lossc.runtime.search.found import found_losses

    found = read_run(folder)
    losses = found_losses(found.search, found.finals)[:top]
    if not losses:
        raise UsageError("L271", f"no loss of {folder} has a fitness yet", hint="`lossc resume` goes on with it")
    task = asked_task(session, asked, task_name, steps)
    for one in losses:
        task.check(one.loss)
    session.print_warnings()
    modules = {f"found {i}" if top > 1 else "found": one.loss.to_torch() for i, one in enumerate(losses, 1)}
    result = compared(session, task, modules, range(seeds), threads=threads, device=checked_device(device))
    origin = {"run": folder, "searched_on": found.about.get("name"), "model": found.about.get("model")}
    formulas = dict(zip(modules, (one.formula for one in losses), strict=True))
    head = f"found on {origin['searched_on']} ({origin['model']}), used as it is:\n"
    head += "".join(f"  {name} = {formula}\n" for name, formula in formulas.items())
    text = head + caption(task, seeds) + comparison_table(result) + remarks(result)
    return Outcome({**origin, "losses": formulas, **result.as_json()}, text)
