"""What `optimize` and `adapt` share: the representation that the options mean, learned files, progress, TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lossc.cli.context import Session
from lossc.cli.given import Given
from lossc.cli.inputs import JSON_SUFFIX, LOSS_SUFFIX, split_path
from lossc.cli.output import check_writable
from lossc.compiler.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from lossc.runtime.meta.optimize import OptimizeResult
    from lossc.runtime.meta.representation import LossRepresentation
    from lossc.runtime.tasks import Task


class Representation(StrEnum):
    """What is learned: the coefficients of a formula, a network, or a Taylor polynomial."""

    symbolic = "symbolic"
    mlp = "mlp"
    taylor2 = "taylor2"
    taylor3 = "taylor3"


TasksOption = Annotated[
    list[str] | None, typer.Option("--task", metavar="TASK", help="As for `lossc train`; more than one add up.")
]
LearnedKind = Annotated[Representation, typer.Option("--representation", help="What is learned, if there is no LOSS.")]
PresetOption = Annotated[str, typer.Option("--preset", metavar="NAME", help="thesis, public-2022 or public-2023.")]
MetaStepsOption = Annotated[
    int | None, typer.Option("--steps", metavar="N", help="Meta-steps, or generations. [default: 250]")
]
InnerOption = Annotated[
    int | None, typer.Option("--inner-steps", metavar="T", help="Training steps a meta-step. [default: 1]")
]
MetaRateOption = Annotated[float | None, typer.Option("--meta-lr", metavar="RATE", help="Of Adam. [default: 0.001]")]
OptimizerOption = Annotated[str, typer.Option("--optimizer", metavar="NAME", help="adam or cma.")]
QueryOption = Annotated[
    str | None, typer.Option("--query", metavar="WHAT", help="Batches of the meta-loss: same, train or valid.")
]
RootOption = Annotated[
    str | None,
    typer.Option("--activation", metavar="NAME", help="Of the root: identity, softplus or smooth-leaky-relu."),
]
EngineOption = Annotated[
    str, typer.Option("--engine", metavar="NAME", help="auto, lockstep, jvp1, reversible, unroll, implicit, evolution.")
]
TruncateOption = Annotated[
    int, typer.Option("--truncate", metavar="K", help="Differentiate through the last K inner steps only.")
]
PopulationOption = Annotated[
    int | None, typer.Option("--population", metavar="N", help="Losses a generation of CMA-ES. [default: 25]")
]
SigmaOption = Annotated[
    float | None, typer.Option("--sigma", metavar="S", help="First width of CMA-ES. [default: 1.2]")
]
FitnessOption = Annotated[
    int | None, typer.Option("--fitness-steps", metavar="N", help="Training steps of a fitness. [default: 500]")
]
RealOption = Annotated[str, typer.Option("--dtype", metavar="NAME", help="float32 or float64.")]
SeedOption = Annotated[int, typer.Option("--seed", metavar="N", help="Everything random is a function of it.")]
RunOption = Annotated[str | None, typer.Option("--run", metavar="FOLDER", help="Keep progress and checkpoints there.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with the run in --run.")]
BoardOption = Annotated[
    str | None, typer.Option("--tensorboard", metavar="FOLDER", help="Write TensorBoard's events there.")
]
EvaluateOption = Annotated[
    bool, typer.Option("--evaluate/--no-evaluate", help="Train with the loss before and after, and compare.")
]
TrainStepsOption = Annotated[
    int | None, typer.Option("--train-steps", metavar="N", help="Of that comparison. [default: the task's]")
]
SeedsOption = Annotated[int, typer.Option("--seeds", metavar="N", help="Train with the seeds 0 to N-1.")]
ThreadsOption = Annotated[int, typer.Option("--threads", metavar="N", help="Threads of torch.")]
StartArgument = Annotated[
    str | None,
    typer.Argument(metavar="LOSS", help="A formula, a named loss, a file, or a learned network to go on from."),
]
AdaptKind = Annotated[Representation, typer.Option("--representation", help="What adapts, if there is no LOSS.")]
MethodsOption = Annotated[
    str, typer.Option("--methods", metavar="NAMES", help="Of adalfl, ml3, meta-lr and baseline, with commas.")
]
InitStepsOption = Annotated[
    int | None, typer.Option("--init-steps", metavar="N", help="Offline meta-steps before training. [default: 2500]")
]
InitRateOption = Annotated[
    float | None, typer.Option("--init-lr", metavar="RATE", help="Of Adam, offline. [default: 0.001]")
]
OnlineRateOption = Annotated[
    float | None, typer.Option("--online-lr", metavar="RATE", help="Of Adam, online. [default: 1e-05]")
]
AdaptQueryOption = Annotated[
    str | None, typer.Option("--query", metavar="WHAT", help="Batches of the meta-loss: valid or train.")
]


MAX_SEEDS, MAX_THREADS, MAX_WORKERS = 1000, 256, 256


def check_range(option: str, value: int, most: int) -> None:
    """UsageError (L223) for a number that is not between 1 and `most`."""
    if not 1 <= value <= most:
        raise UsageError("L223", f"`{option}` must be between 1 and {most:,}, got {value}")


def check_asked(asked: Any) -> None:
    """`check_run`, and UsageError (L223) for seeds and threads out of range."""
    check_range("--seeds", asked.seeds, MAX_SEEDS)
    check_range("--threads", asked.threads, MAX_THREADS)
    check_run(asked)


def check_run(asked: Any) -> None:
    """UsageError for --resume without --run (L235), or an output that cannot be (L233, L234)."""
    if asked.resume and asked.run_folder is None:
        raise UsageError("L235", "--resume goes on with a run, and --run does not say which")
    if asked.output is not None:
        check_writable(asked.output, force=asked.force)


def is_network(text: str) -> bool:
    """Whether the argument LOSS is a file that holds a learned network."""
    path, picked = split_path(text)
    if path is None or picked is not None or path.suffix not in (LOSS_SUFFIX, JSON_SUFFIX):
        return False
    with suppress(OSError), path.open("rb") as file:
        return b'"lossc_network"' in file.read(200)
    return False


def read_network(text: str) -> tuple[LossRepresentation, Tensor]:
    """The learned network of a file. Raises UsageError (L230, L254)."""
    from lossc.runtime.meta.learned import read_network as read

    return read(Path(text))


def check_network_options(text: str, given: Given) -> None:
    """UsageError (L235) for options that need a formula."""
    if given.y or given.f or given.params or given.sets or given.dialect != "lossc":
        raise UsageError("L235", f"{text} holds a learned network: only --name applies to it")


def network_source(text: str, given: Given) -> tuple[str, dict[str, Any]]:
    """The PyTorch file of a learned network, and facts about it; options that need a formula are refused (L235)."""
    check_network_options(text, given)
    family, phi = read_network(text)
    emit = getattr(family, "emit", None)
    if emit is None:
        raise UsageError("L254", f"{text} holds a {family.name} loss", hint="compile its folded formula instead")
    name = given.name or _identifier(Path(text).stem)
    return emit(phi, name, f"read from {Path(text).name}"), {"name": name, "network": family.describe(phi)}


def _identifier(stem: str) -> str:
    name = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in stem).strip("_").lower()
    return name if name.isidentifier() and not name.startswith("__") else "learned"


def representation(kind: Representation, task: Task, optimizer: str, output: str | None = None) -> LossRepresentation:
    """A network or a polynomial for the kind of the task; ML3's shape, its predictions the softmax of the scores."""
    from lossc.runtime.meta.mlp import ML3, NeuralLoss
    from lossc.runtime.meta.taylor import taylor

    classes = task.kind == "classification"
    if kind == Representation.mlp:
        shape = replace(ML3, inputs="softmax" if classes else "scores")
        return NeuralLoss(shape if output is None else replace(shape, output=output))
    y, f = ("onehot", "prob") if classes else ("real", "real")
    return taylor(kind.value, y=y, f=f, start="zero" if optimizer == "cma" else "squared")


def learned_file(found: OptimizeResult, name: str, doc: str) -> str:
    """The text of a file that holds a learned loss."""
    from lossc.runtime.meta.learned import learned_text

    return learned_text(found.family, found.phi, name, doc, "thesis, algorithm 3")


def note_momentum(session: Session, tasks: Sequence[Task], inner_steps: int) -> None:
    """A loss that is learned from single steps does not know of momentum: said once, where it applies."""
    momentum = max(t.sgd.momentum for t in tasks)
    if momentum and inner_steps == 1:
        session.notice(
            f"note: a single inner step does not see the momentum of {momentum:g}, and may learn steps that are too "
            "large for it; --momentum 0 or --inner-steps 5 do"
        )
