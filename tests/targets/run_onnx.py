"""Runs ONNX models: in ONNX Runtime, and past onnx.checker where `onnx` is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from lossc.compiler.loss import Loss
from lossc.compiler.targets.onnx.emit import emit
from tests.targets.parity import Answer


def run(path: Path, loss: Loss, y: np.ndarray, f: np.ndarray) -> Answer:
    """The model of the dtype of f, without a reduction and with one row of targets a sample."""
    import onnxruntime

    model = emit(loss, dtype=str(f.dtype), reduction="none", labels=False, hessian=True)
    if importlib.util.find_spec("onnx") is not None:
        import onnx

        onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    given, target, *_ = session.get_inputs()
    return Answer(*session.run(None, {given.name: f, target.name: y}))
