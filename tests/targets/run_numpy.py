"""Runs emitted NumPy files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lossc.compiler.loss import Loss
from lossc.compiler.targets.identifiers import function_name
from tests.targets.parity import Answer, load


def run(path: Path, loss: Loss, y: np.ndarray, f: np.ndarray) -> Answer:
    """Value, gradient and Hessian by the three functions of the file."""
    module, name = load(path), function_name(loss.name)
    return Answer(*(getattr(module, name + end)(y, f) for end in ("", "_gradient", "_hessian")))
