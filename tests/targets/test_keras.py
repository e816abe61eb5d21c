"""Keras files on the backend of KERAS_BACKEND (TensorFlow, unless it says jax): parity, saving, training on digits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossc.compiler.targets import emit
from lossc.grammar.library import named
from tests.targets.cases import named_case, named_losses, random_case, seeds
from tests.targets.parity import compare, load

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
keras = pytest.importorskip("keras")


CURVED = {"evomal_c", "pseudo_huber"}
"""Whose second derivative, the backend's own, is over the bound: docs/targets.md."""
ON_JAX = {"evomal_c", "welsch"}
"""Whose gradient on JAX's backend is, too: softmax and expm1 there have slopes of fewer digits."""
CANCELLING = {2: (0, 1), 19: (0,), 23: (0,)}
"""Random losses of which only these (value, gradient) keep the bound: the terms of the backend's derivative cancel."""


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", named_losses())
def test_named_losses_equal_mpmath(name: str, dtype: str, tmp_path: Path) -> None:
    """Value and gradient within 4 ulp of what arithmetic of the dtype can have, and with exceptions the Hessian."""
    case = named_case(name)
    if keras.backend.backend() == "jax" and dtype == "float64":
        pytest.skip("Keras on JAX computes tanh and others in float32, whatever the dtype")
    kept = (0, 1) if name in CURVED else (0, 1, 2)
    if name in ON_JAX and keras.backend.backend() == "jax":
        kept = (0,)
    if case.points:
        found = compare("keras", case, dtype, tmp_path, kept)
        assert found.share <= 1, found


@pytest.mark.parametrize("seed", seeds(25))
def test_random_losses_equal_mpmath(seed: int, tmp_path: Path) -> None:
    """Also for losses that nobody wrote."""
    case = random_case(seed)
    if case.points:
        found = compare("keras", case, "float32", tmp_path, CANCELLING.get(seed, (0, 1, 2)))
        assert found.share <= 1, found


def module(name: str, folder: Path) -> Any:
    path = folder / f"{name}_keras.py"
    path.write_text(str(emit(named(name), "keras")), encoding="utf-8")
    return load(path)


def test_reductions_and_weights_are_those_of_keras(tmp_path: Path) -> None:
    """A Huber loss of ours beside Keras's own, for every reduction, with weights."""
    rng = np.random.default_rng(0)
    y, f, w = (rng.normal(size=s).astype("float32") for s in ((6, 3), (6, 3), (6,)))
    made = module("huber", tmp_path)
    for reduction in ("sum_over_batch_size", "sum", "mean", "none"):
        ours, theirs = made.HuberLoss(reduction=reduction), keras.losses.Huber(reduction=reduction)
        np.testing.assert_allclose(np.asarray(ours(y, f)), np.asarray(theirs(y, f)), rtol=1e-5)
        weighted = np.asarray(ours(y, f, sample_weight=np.abs(w)))
        np.testing.assert_allclose(weighted, np.asarray(theirs(y, f, sample_weight=np.abs(w))), rtol=1e-5)


def test_labels_of_every_shape(tmp_path: Path) -> None:
    """One-hot rows, class indices, and a column of class indices, as SparseCategoricalCrossentropy takes them."""
    z = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    labels = np.array([0, 3, 1, 2, 2])
    made = module("cross_entropy", tmp_path).CrossEntropyLoss()
    theirs = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    want = np.asarray(theirs(labels, z))
    for given in (labels, labels[:, None], np.eye(4, dtype="float32")[labels]):
        np.testing.assert_allclose(np.asarray(made(given, z)), want, rtol=1e-5)


def test_wrong_shapes_are_errors(tmp_path: Path) -> None:
    """Nothing is broadcast by accident."""
    with pytest.raises(ValueError, match="shape"):
        module("huber", tmp_path).huber_loss(np.zeros((3, 2), "float32"), np.zeros((3, 4), "float32"))


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    order = np.random.default_rng(0).permutation(len(y))
    return x[order[:1400]], y[order[:1400]], x[order[1400:]], y[order[1400:]]


def test_training_on_digits_then_saving_and_loading(tmp_path: Path) -> None:
    """A model compiled with an exported focal loss learns, is saved with its loss, and is loaded again."""
    keras.utils.set_random_seed(0)
    made = module("focal", tmp_path)
    x, y, test_x, test_y = digits()
    model = keras.Sequential([keras.layers.Dense(64, activation="relu"), keras.layers.Dense(10)])
    model.compile("adam", loss=made.FocalLoss(), metrics=["accuracy"])
    model.fit(x, y, epochs=30, batch_size=64, verbose=0)
    value, accuracy = model.evaluate(test_x, test_y, verbose=0)
    assert accuracy > 0.93
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.evaluate(test_x, test_y, verbose=0)[0], value, rtol=1e-4)
    assert type(again.loss).__name__ == "FocalLoss"


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_the_self_test_on_each_backend(backend: str, tmp_path: Path) -> None:
    """The same file, whichever backend is installed."""
    pytest.importorskip(backend)
    for name in ("pseudo_huber", "cross_entropy"):
        path = tmp_path / f"{name}.py"
        path.write_text(str(emit(named(name), "keras")), encoding="utf-8")
        environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_ENABLE_X64": "1"}
        done = subprocess.run([sys.executable, str(path)], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and "ok:" in done.stdout, done.stderr
