"""The options that say which task is trained on, and the task that they mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lossc.cli.context import Session
from lossc.compiler.errors import UsageError

if TYPE_CHECKING:
    from lossc.runtime.tasks import Task

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


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the options say of a task that comes with lossc; None: not given."""

    size: str | None = None
    model: str | None = None
    split: str | None = None
    data: str | None = None
    target_scale: str | None = None

    def given(self) -> dict[str, str]:
        """The options that are given, by the names that `get_task` has for them."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def chosen_task(
    session: Session,
    name: str,
    wanted: Wanted,
    *,
    steps: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    momentum: float | None = None,
) -> Task:
    """The task that the options mean, its data loaded; warnings go to the session.

    Raises UsageError: what `get_task` and `load_task` raise, and L235 for options that a task of one's own cannot have.
    """
    from lossc.runtime.tasks import get_task, load_task, task_file

    own = task_file(name)
    if own is None:
        settings = wanted.given()
        task = get_task(name, steps=steps, batch_size=batch_size, lr=lr, warnings=session.warnings, **settings)
        return task.with_settings(momentum=momentum)
    if wanted.given():
        option = next(iter(wanted.given())).replace("_", "-")
        raise UsageError("L235", f"`--{option}` is for tasks that come with lossc, and {name} is your own",
                         hint="say it in your file; --steps, --batch-size and --lr apply")  # fmt: skip
    return load_task(*own).with_settings(steps=steps, batch_size=batch_size, lr=lr, momentum=momentum)


def asked_task(asked: Any, name: str, steps: int | None = None) -> Callable[[Session], Task]:
    """`chosen_task` for the options of a command, by their names there; a worker process can be sent it."""
    wanted = Wanted(asked.size, asked.model, asked.split, asked.data, asked.target_scale)
    return partial(
        chosen_task, name=name, wanted=wanted, steps=steps, batch_size=asked.batch_size, lr=asked.lr,
        momentum=asked.momentum,
    )  # fmt: skip


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
