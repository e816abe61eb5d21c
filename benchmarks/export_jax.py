"""Digits with JAX and optax: an exported cross-entropy and an exported focal loss beside optax's own cross-entropy.

Needs jax and optax (`pip install lossc[targets]`). Every loss gets the same model, batches and starting weights of a
seed; the time is that of training alone, compiled beforehand.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import put_section
from lossc.grammar.library import named

EPOCHS, BATCH, WIDTH, RATE = 30, 64, 64, 1e-3


def exported(name: str, folder: Path) -> Callable[..., Any]:
    """The function of the emitted file."""
    path = folder / f"{name}_jax.py"
    path.write_text(str(named(name).emit("jax")), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: Callable[..., Any] = getattr(module, module.__all__[0])
    return function


def data(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Digits in [0, 1], a fifth of them to test on."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    a, b, c, d = train_test_split(
        (x / 16).astype(np.float32), y.astype(np.int32), test_size=0.2, random_state=seed, stratify=y
    )
    return a, c, b, d


def train(loss: Callable[..., Any], seed: int) -> tuple[float, float]:
    """Test accuracy, and the seconds of training."""
    import jax
    import jax.numpy as jnp
    import optax

    x, y, x_test, y_test = data(seed)
    keys = jax.random.split(jax.random.key(seed), 2)
    weights = [jax.random.normal(k, s) / np.sqrt(s[0]) for k, s in zip(keys, [(64, WIDTH), (WIDTH, 10)], strict=True)]
    parameters = [(w, jnp.zeros(w.shape[1])) for w in weights]
    optimiser = optax.adam(RATE)

    def model(p: Any, inputs: Any) -> Any:
        (w, b), (v, c) = p
        return jax.nn.relu(inputs @ w + b) @ v + c

    @jax.jit
    def epoch(p: Any, state: Any, batches: Any) -> Any:
        def step(carry: Any, rows: Any) -> Any:
            p, state = carry
            slope = jax.grad(lambda q: loss(model(q, jnp.asarray(x)[rows]), jnp.asarray(y)[rows]).mean())(p)
            change, state = optimiser.update(slope, state, p)
            return (optax.apply_updates(p, change), state), None

        return jax.lax.scan(step, (p, state), batches)[0]

    rng = np.random.default_rng(seed)
    count = len(x) // BATCH
    state = optimiser.init(parameters)
    order = [rng.permutation(len(x))[: count * BATCH].reshape(count, BATCH) for _ in range(EPOCHS)]
    jax.block_until_ready(epoch(parameters, state, order[0]))  # compiled now
    began = time.perf_counter()
    for batches in order:
        parameters, state = epoch(parameters, state, batches)
    jax.block_until_ready(parameters)
    seconds = time.perf_counter() - began
    return float((model(parameters, x_test).argmax(1) == y_test).mean()), seconds


def table(seeds: int) -> str:
    """A row a loss: accuracy over the seeds, and the median time."""
    import optax

    with tempfile.TemporaryDirectory() as folder:
        losses = {
            "optax.losses.softmax_cross_entropy_with_integer_labels": (
                optax.losses.softmax_cross_entropy_with_integer_labels
            ),
            "`lossc export cross_entropy --to jax`": exported("cross_entropy", Path(folder)),
            "`lossc export focal --to jax`": exported("focal", Path(folder)),
        }
        rows = ["| loss | test accuracy | seconds of training |", "|---|---|---|"]
        results: dict[str, list[tuple[float, float]]] = {name: [] for name in losses}
        for seed in range(seeds):  # in turns, so that what else the machine does falls on all
            for name, loss in losses.items():
                results[name].append(train(loss, seed))
        for name, found in results.items():
            accuracy = [a for a, _ in found]
            spread = f"{statistics.mean(accuracy):.4f} ± {statistics.stdev(accuracy):.4f}"
            rows.append(f"| {name} | {spread} | {statistics.median(t for _, t in found):.3f} |")
    return "\n".join(rows)


def main() -> None:
    """Run and print, or write, the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/RESULTS.md")
    chosen = parser.parse_args()
    if not all(map(importlib.util.find_spec, ("jax", "optax"))):
        print("jax and optax are not installed: pip install 'lossc[targets]'")
        return
    text = (
        f"An MLP 64-{WIDTH}-10, Adam at {RATE}, {EPOCHS} epochs in batches of {BATCH}, {chosen.seeds} seeds: mean ± "
        "standard deviation over the seeds, median time. Splits, batches and starting weights are the same. "
        "The times are short and the machine is shared: their order of magnitude is all that they say.\n\n"
        + table(chosen.seeds)
    )
    print(text)
    if chosen.write:
        put_section("export-jax", "Exports: digits with JAX and optax", "python -m benchmarks.export_jax --write", text)


if __name__ == "__main__":
    main()
