"""`lossc train`: a model trained with a loss, beside the task's usual loss."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated

import typer

from lossc.cli.context import Outcome, Session, begin
from lossc.cli.formats import signature
from lossc.cli.given import Given, assignments, check_options
from lossc.cli.inputs import PYTHON_SUFFIX, is_formula, read_loss, split_path
from lossc.cli.learning import (
    MAX_SEEDS,
    MAX_THREADS,
    check_network_options,
    check_range,
    is_network,
    read_network,
)
from lossc.cli.options import (
    Dialect,
    DialectOption,
    FOption,
    JsonOption,
    LossArgument,
    NameOption,
    ParamOption,
    QuietOption,
    SetOption,
    YOption,
)
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
from lossc.compiler.errors import LosscError, LossTypeError, UsageError
from lossc.compiler.ir import F, Y, postorder
from lossc.compiler.loss import Loss
from lossc.compiler.verify import verify

if TYPE_CHECKING:
    from torch import nn

    from lossc.runtime.tasks import Task

EXAMPLES = (
    "lossc train pseudo_huber --task diabetes --seeds 3",
    'lossc train "abs(y - f)^1.5" --steps 200',
    'lossc train "-y*log(f + eps)" --task digits --json   # y: onehot and f: prob are assumed',
    "lossc compile evomal_i -o evomal_i.py",
    "lossc train evomal_i.py                               # an emitted file, your edits included",
)
_ROLES = re.compile(r"^(target y|prediction f) +(\w+):", re.MULTILINE)
"""The roles in the header of an emitted file."""


def run(
    ctx: typer.Context,
    loss: LossArgument,
    task_name: TaskOption = "diabetes",
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", help="Train with the seeds 0 to N-1.")] = 1,
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
    threads: Annotated[
        int, typer.Option("--threads", metavar="N", help="Threads of torch; more may help with --size thesis.")
    ] = 1,
    y: YOption = None,
    f: FOption = None,
    name: NameOption = None,
    param: ParamOption = None,
    sets: SetOption = None,
    dialect: DialectOption = Dialect.lossc,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> Outcome:
    """Train a model with a loss and with the task's usual loss, on the same splits, weights and batches, and compare.

    LOSS may also be an emitted .py file, which is run as it is.
    """
    asked = SimpleNamespace(**locals())
    session = begin(ctx, as_json, quiet)
    check_range("--seeds", seeds, MAX_SEEDS)
    check_range("--threads", threads, MAX_THREADS)
    given = Given(y, f, name, param or (), sets or (), dialect.value)
    check_options(given)
    source = python_file(loss) or network_file(loss) or read_loss(loss, given, session.warnings)
    session.note("loading torch ...")
    task = asked_task(session, asked, task_name, steps)
    if isinstance(source, Path):
        label, module = (emitted if source.suffix == PYTHON_SUFFIX else of_network)(source, given, task)
    else:
        label, module = compiled(session, suited(session, source, task, given, loss), task)
    return trained(session, task, task_name, label, module, source, range(seeds), threads, checked_device(device))


def trained(
    session: Session,
    task: Task,
    task_name: str,
    label: str,
    module: nn.Module,
    source: Path | Loss,
    seeds: range,
    threads: int,
    device: str,
) -> Outcome:
    """The comparison, as data and as text; what fails inside a file of the user's own is said to be that (L243)."""
    from lossc.cli.comparison import caption, compared, comparison_table, remarks
    from lossc.runtime.tasks import task_file

    session.print_warnings()
    own = task_file(task_name)
    try:
        found = compared(session, task, {label: module}, seeds, threads=threads, device=device)
    except Exception as problem:
        files = [str(source)] if isinstance(source, Path) else []
        raise users_own([*files, *(own[:1] if own else ())], problem) from None
    text = caption(task, len(seeds)) + comparison_table(found) + remarks(found)
    return Outcome({"loss": label, **found.as_json(), "metric_doc": task.metric.doc}, text)


def python_file(text: str) -> Path | None:
    """The path of an emitted file, if LOSS is one. Raises UsageError (L230) if there is no such file."""
    path, _ = split_path(text)
    return path if path is not None and path.suffix == PYTHON_SUFFIX else None


def network_file(text: str) -> Path | None:
    """The path of a learned network, if LOSS is one."""
    return Path(text) if is_network(text) else None


def of_network(path: Path, given: Given, task: Task) -> tuple[str, nn.Module]:
    """A learned network as a module. UsageError (L235) for options that need a formula."""
    from lossc.runtime.meta.network import LossNetwork

    del task
    check_network_options(str(path), given)
    return given.name or path.stem, LossNetwork(*read_network(str(path)))


def suited(session: Session, loss: Loss, task: Task, given: Given, text: str) -> Loss:
    """The loss itself; a bare formula without roles, on a classification task, becomes one of y: onehot and f: prob."""
    if task.kind == "classification" and given.y is None and given.f is None and is_formula(text):
        session.notice(f"note: {task.name} is a classification task: assuming --y onehot --f prob")
        return verify(replace(loss, y="onehot", f="prob"))
    return loss


def compiled(session: Session, loss: Loss, task: Task) -> tuple[str, nn.Module]:
    """The loss as a module, after the task has agreed to its roles."""
    task.check(loss)
    if F not in postorder(loss.body):
        raise LossTypeError("L320", f"{loss.name} does not depend on the prediction: there is nothing to learn from it")
    session.print_warnings()
    session.note(f"{signature(loss)} = {loss}")
    named = loss.name != "loss"
    return loss.name if named else _cut(str(loss)), loss.to_torch()


def emitted(path: Path, given: Given, task: Task) -> tuple[str, nn.Module]:
    """The module of an emitted file, with the hyper-parameters that --set gives.

    Raises UsageError: L222 if its header names roles that do not suit the task, L235, L243.
    """
    from lossc.runtime.compiled import load_file

    if given.y or given.f or given.params or given.dialect != Dialect.lossc.value:
        raise UsageError("L235", f"{path} is a compiled loss: only --set and --name apply to it")
    values = {name: float(value) for name, value in assignments(given.sets, "--set").items()}
    made = load_file(path)
    roles = dict(_ROLES.findall(sys.modules[made.__module__].__doc__ or ""))
    if task.kind == "regression" and roles:
        task.check(Loss(Y - F, path.stem, roles.get("target y", "real"), roles.get("prediction f", "real")))
    try:
        return given.name or path.stem, made(reduction="mean", **values)
    except Exception as problem:
        raise UsageError("L243", f"the loss of {path} cannot be made: {type(problem).__name__}: {problem}") from None


def _cut(text: str, width: int = 40) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def users_own(files: list[str], problem: Exception) -> Exception:
    """What to raise for a failure in training: where the user's own files take part, it is said to be theirs (L243)."""
    if isinstance(problem, LosscError) or not files:
        return problem
    return UsageError("L243", f"{' or '.join(files)} failed in training: {type(problem).__name__}: {problem}")
