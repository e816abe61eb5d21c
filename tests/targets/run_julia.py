"""Runs emitted Julia (targets julia and pysr) by a reader of its subset, as no Julia can be had by pip."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lossc.compiler.loss import Loss
from tests.targets.julia_text import read, read_function
from tests.targets.parity import Answer


def run(path: Path, loss: Loss, y: np.ndarray, f: np.ndarray) -> Answer:
    """Value and derivatives by the methods of the type, or the value of a PySR text."""
    dtype = f.dtype.type
    points = list(zip(f, y, strict=True))
    if path.stem.endswith("pysr"):
        function = read_function(path.read_text())
        return Answer(np.array([function(a, b, dtype=dtype) for a, b in points]), None, None)
    file = read(path.read_text())
    return Answer(*(np.array([file.call(m, a, b, dtype) for a, b in points]) for m in ("value", "deriv", "deriv2")))
