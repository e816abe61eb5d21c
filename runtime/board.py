"""Numbers for TensorBoard, where its package is installed."""

from __future__ import annotations

from typing import Any

from lossc.compiler.errors import UsageError


class Board:
    """Writes to a folder, or nowhere if there is none. UsageError (L258) if the package is not there."""

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
