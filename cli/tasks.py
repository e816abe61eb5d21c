"""The options that say which task is trained on, and the task that they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lossc.cli.context import Session
from lossc.compiler.errors import UsageError

if TYPE_CHECKING:
    from lossc.runtime.tasks import Task, TaskSpec

TASK_HELP = (
    "diabetes, boston, california, crime, sine (regression); digits, mnist, fashion-mnist, cifar10, cifar100, svhn "
    "(classification); or mytask.py:task, a task of your own."
)
MODEL_HELP = (
    "logistic, mlp; for images also lenet5, alexnet, vgg16, allcnnc, resnet18, preresnet, wrn28-10, wrn16-8, "
    "squeezenet, pyramidnet110. [default: the task's usual one]"
)
DATA_HELP = "The folder of the data sets. [default: $LOSSC_DATA]"
SPLIT_HELP = "honest, or as-published: test rows are trained on. [default: honest]"
SCALE_HELP = "Of real targets: standard, or minmax. [default: standard]"

TaskOption = Annotated[str, typer.Option("--task", metavar="TASK", help=TASK_HELP)]
ModelOption = Annotated[str | None, typer.Option("--model", metavar="MODEL", help=MODEL_HELP)]
SizeOption = Annotated[
    str | None,
    typer.Option("--size", metavar="SIZE", help="Of model and training: small, or thesis. [default: small]"),
]
DataOption = Annotated[str | None, typer.Option("--data", metavar="FOLDER", help=DATA_HELP)]
SplitOption = Annotated[str | None, typer.Option("--split", metavar="SPLIT", help=SPLIT_HELP)]
ScaleOption = Annotated[str | None, typer.Option("--target-scale", metavar="SCALE", help=SCALE_HELP)]
StepsOption = Annotated[int | None, typer.Option("--steps", metavar="N", help="Gradient steps.", show_default=False)]
BatchOption = Annotated[int | None, typer.Option("--batch-size", metavar="N", help="Rows a step.", show_default=False)]
RateOption = Annotated[
    float | None, typer.Option("--lr", metavar="RATE", help="Learning rate of SGD.", show_default=False)
]
MomentumOption = Annotated[
    float | None, typer.Option("--momentum", metavar="MU", help="Of SGD; 0 for none.", show_default=False)
]
DeviceOption = Annotated[
    str, typer.Option("--device", metavar="DEVICE", help="Where to train: cpu, cuda, cuda:1, mps.")
]


def asked_spec(asked: Any, name: str, steps: int | None = None) -> TaskSpec:
    """The task that the options of a command mean, as plain data."""
    from lossc.runtime.tasks import TaskSpec

    return TaskSpec(
        name, asked.size, asked.model, asked.split, asked.data, asked.target_scale, steps, asked.batch_size, asked.lr,
        asked.momentum,
    )  # fmt: skip


def asked_task(session: Session, asked: Any, name: str, steps: int | None = None) -> Task:
    """That task, its data loaded; warnings go to the session. Raises what `TaskSpec.load` raises."""
    return asked_spec(asked, name, steps).load(session.warnings)


def checked_device(name: str) -> str:
    """The name of a device that torch has here. Raises UsageError (L223)."""
    import torch

    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError, NotImplementedError) as problem:
        why = (str(problem).strip() or type(problem).__name__).splitlines()[0]
        raise UsageError(
            "L223", f"there is no device `{name}` here: {why}", expected="cpu, cuda, cuda:1, mps"
        ) from None
    return name
