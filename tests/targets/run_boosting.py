"""Runs the numbers of emitted boosting files: values and gradients in the raw scores, and exact curvatures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.targets.boosting.file import SYNTAX
from lossc.compiler.targets.boosting.policy import EXACT, choose, in_scores
from lossc.compiler.targets.derivatives import roots
from tests.targets.parity import Answer, load


def run(path: Path, loss: Loss, y: np.ndarray, f: np.ndarray) -> Answer:
    """Of a loss whose prediction is positive, the derivatives in the prediction follow from those in its logarithm."""
    module = load(path)
    settings = [float(p.default) for p in loss.params if p.default is not None]
    target, score = y.astype(np.float64), f.astype(np.float64)
    positive = loss.f == "positive"
    raw = np.log(score) if positive else score
    value, (slope, bend) = module._value(target, raw, *settings), module._derivatives(target, raw, *settings)
    policy = choose(loss, roots(in_scores(loss), SYNTAX.key))
    classes = f.shape[-1] if loss.layout == CLASSWISE else 1
    factor = 1.0 if policy.factor == 1.0 else 2.0 if policy.factor == 2.0 else classes / (classes - 1)
    exact = policy.name == EXACT and not positive
    return Answer(
        value.astype(f.dtype),
        (slope / score if positive else slope).astype(f.dtype),
        (bend / factor).astype(f.dtype) if exact else None,
    )
