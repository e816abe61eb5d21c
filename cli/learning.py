"""What `optimize` and `adapt` share: the representation that the options mean, learned files, progress, TensorBoard."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossc.cli.given import Given
from lossc.cli.inputs import JSON_SUFFIX, LOSS_SUFFIX, split_path
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


def network_source(text: str, given: Given) -> tuple[str, dict[str, Any]]:
    """The PyTorch file of a learned network, and facts about it; options that need a formula are refused (L235)."""
    if given.y or given.f or given.params or given.sets or given.dialect != "lossc":
        raise UsageError("L235", f"{text} holds a learned network: only --name applies to it")
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


class Board:
    """Numbers for TensorBoard, if a folder is given. Raises UsageError (L258) if the package is not there."""

    def __init__(self, folder: str | None) -> None:
        self.writer: Any = None
        if folder is not None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise UsageError(
                    "L258", "--tensorboard needs the package `tensorboard`", hint="pip install tensorboard"
                ) from None
            self.writer = SummaryWriter(folder)

    def add(self, name: str, value: float | None, step: int) -> None:
        """One number of one step."""
        if self.writer is not None and value is not None:
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        if self.writer is not None:
            self.writer.close()
