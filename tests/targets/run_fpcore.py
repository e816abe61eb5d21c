"""Runs emitted FPCore, in scalars of the dtype. Rows are written out anew for their C."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.targets.fpcore import emit
from tests.targets.fpcore_text import read
from tests.targets.parity import Answer


def run(path: Path, loss: Loss, y: np.ndarray, f: np.ndarray) -> Answer:
    """The value by the first function, then those of the gradient and of the second derivative."""
    classwise = loss.layout == CLASSWISE
    cores = read(emit(loss, classes=f.shape[1]) if classwise else path.read_text())
    settings = [float(p.default or 0) for p in loss.params]
    points = [(*np.ravel(a), *np.ravel(b), *settings) for a, b in zip(y, f, strict=True)]
    found = np.array([[core(*p, dtype=f.dtype.type) for core in cores] for p in points], f.dtype)
    count = f.shape[1] if classwise else 1
    assert len(cores) == 1 + 2 * count
    slope, bend = found[:, 1 : 1 + count], found[:, 1 + count :]
    return Answer(found[:, 0], slope.reshape(f.shape), bend.reshape(f.shape))
