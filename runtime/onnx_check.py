"""The self-test of an ONNX model that lossc wrote: `python -m lossc.runtime.onnx_check loss.onnx`.

A model cannot run itself, so it carries its golden values (metadata `self_test`), which ONNX Runtime must reproduce.
Exit code 1 if it does not, 2 if the file is no such model or ONNX Runtime is missing.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

TOLERANCE = {"tensor(float)": 1e-5, "tensor(double)": 1e-9}


def check(path: Path) -> str:
    """One line that says what was compared. Raises SystemExit(1) with a message if the model is wrong."""
    runtime = _package()
    try:
        session = runtime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
        held = json.loads(session.get_modelmeta().custom_metadata_map["self_test"])
    except Exception as problem:  # errors of ONNX Runtime have no base of their own
        print(f"{path} is not a model that lossc wrote: {problem}", file=sys.stderr)
        raise SystemExit(2) from None
    if not held["values"]:
        return f"ok: {path.name} (nothing to compare: defined at no point tried)"
    inputs, kind = session.get_inputs(), session.get_outputs()[0].type
    real = np.float64 if kind == "tensor(double)" else np.float32
    feed = {inputs[0].name: _shaped(held["inputs"], len(inputs[0].shape), real)}
    labelled = inputs[1].name == "labels"
    targets = np.asarray(held["labels"], np.int64) if labelled else np.asarray(held["targets"], real)
    feed[inputs[1].name] = _shaped(targets, len(inputs[1].shape), targets.dtype)
    feed |= {i.name: np.asarray(held["hyperparameters"][i.name], real) for i in inputs[2:]}
    found = session.run(None, feed)
    for name, got, want in zip((o.name for o in session.get_outputs()), found, _expected(held), strict=False):
        _compare(name, got, want, TOLERANCE[kind])
    return f"ok: {path.name}: {len(held['values'])} values equal the reference to {TOLERANCE[kind]:g}"


def _package() -> Any:
    try:
        return importlib.import_module("onnxruntime")
    except ImportError:
        print("ONNX Runtime is not installed: pip install onnxruntime", file=sys.stderr)
        raise SystemExit(2) from None


def _shaped(values: Any, axes: int, dtype: Any) -> Any:
    """An array with axes of length 1 added at the end, up to the rank of the input."""
    found = np.asarray(values, dtype)
    return found.reshape(found.shape + (1,) * (axes - found.ndim))


def _expected(held: dict[str, Any]) -> list[Any]:
    """The loss and its gradient, reduced as the model does."""
    values, gradients = np.asarray(held["values"]), np.asarray(held["gradients"])
    if held["reduction"] == "mean":
        return [np.mean(values), gradients / len(values)]
    return [np.sum(values) if held["reduction"] == "sum" else values, gradients]


def _compare(name: str, got: Any, want: Any, tolerance: float) -> None:
    if not np.max(np.abs(np.ravel(got) - np.ravel(want))) <= tolerance * max(1e-3, float(np.max(np.abs(want)))):
        print(f"self-test failed: {name}: expected {want.tolist()}, got {got.tolist()}", file=sys.stderr)
        raise SystemExit(1)


def main(arguments: Sequence[str]) -> None:
    """Check the files that are named."""
    for argument in arguments:
        print(check(Path(argument)))


if __name__ == "__main__":
    main(sys.argv[1:])
