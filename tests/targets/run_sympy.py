"""Runs emitted SymPy files: lambdified for mpmath, with many digits. Rows are written out anew for their C."""

from __future__ import annotations

from pathlib import Path

import mpmath
import numpy as np

from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.targets.sympy import emit
from tests.targets.parity import Answer, load

BITS = {"float64": 60, "float32": 31}
"""A few bits more than the dtype has: the formula is as it is written, so it may lose some."""


def run(path: Path, loss: Loss, y: np.ndarray, f: np.ndarray) -> Answer:
    """Value, gradient and Hessian diagonal of what the model gives."""
    classwise = loss.layout == CLASSWISE
    own = path.with_name(f"{path.stem}_scores.py")
    own.write_text(emit(loss, classes=f.shape[1] if classwise else 3, from_logits=True))
    module = load(own)
    settings = [float(p.default or 0) for p in loss.params]
    functions = [module.function(e, "mpmath") for e in (module.loss, module.gradient, module.hessian)]
    with mpmath.workprec(4 * BITS[str(f.dtype)]):
        rows = [
            [fn(*map(mpmath.mpf, (*np.ravel(a).tolist(), *np.ravel(b).tolist(), *settings))) for fn in functions]
            for a, b in zip(y, f, strict=True)
        ]
    return Answer(*(np.array([np.array(row[i], dtype=f.dtype) for row in rows]) for i in range(3)))
