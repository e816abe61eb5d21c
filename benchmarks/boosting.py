"""A boosted model on California housing: an exported pseudo-Huber objective beside the library's own.

Needs xgboost and lightgbm (`pip install lossc[targets]`) and the data (LOSSC_DATA). Both sides get the same settings,
the same starting score and the same split; the time is the median of several fits.
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
from lossc.runtime.data import load

ROUNDS, SEED, THREADS = 200, 0, 1
SETTINGS = {"n_estimators": ROUNDS, "learning_rate": 0.1, "n_jobs": THREADS, "random_state": SEED}


def exported(target: str, folder: Path) -> Any:
    """The emitted file as a module."""
    path = folder / f"pseudo_huber_{target}.py"
    made = named("pseudo_huber").emit(target)
    path.write_text(str(made), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def split() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """80% to train on, 20% to test on, dealt by the seed."""
    data = load("california")
    x, y = data.inputs.double().numpy(), data.targets.double().numpy().reshape(-1)
    order = np.random.default_rng(SEED).permutation(len(y))
    cut = int(0.8 * len(y))
    return x[order[:cut]], y[order[:cut]], x[order[cut:]], y[order[cut:]]


def row(name: str, fit: Callable[[], Any], predict: Callable[[Any], np.ndarray], y: np.ndarray, losses: Any,
        repeats: int) -> str:  # fmt: skip
    """A line of the table: test errors and the median time of a fit."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        model = fit()
        times.append(time.perf_counter() - began)
    got = predict(model)
    loss, mae, rmse = np.mean(losses(y, got)), np.mean(np.abs(y - got)), np.sqrt(np.mean((y - got) ** 2))
    return f"| {name} | {loss:.5f} | {mae:.4f} | {rmse:.4f} | {statistics.median(times):.2f} |"


def xgboost_rows(folder: Path, repeats: int) -> list[str]:
    """XGBoost's reg:pseudohubererror (huber_slope 1) and the exported objective."""
    import xgboost

    module, (x, y, test_x, test_y) = exported("xgboost", folder), split()
    settings = {**SETTINGS, "max_depth": 6, "tree_method": "hist", "base_score": module.LOSS.init_score(y)}

    def fit(objective: Any) -> Any:
        return xgboost.XGBRegressor(objective=objective, **settings).fit(x, y)

    def predict(model: Any) -> Any:
        return model.predict(test_x)

    losses = module.LOSS.losses
    return [
        row("XGBoost, `reg:pseudohubererror`", lambda: fit("reg:pseudohubererror"), predict, test_y, losses, repeats),
        row("XGBoost, exported pseudo-Huber", lambda: fit(module.objective), predict, test_y, losses, repeats),
    ]


def lightgbm_rows(folder: Path, repeats: int) -> list[str]:
    """LightGBM's own Huber loss (it has no pseudo-Huber), and the exported objective."""
    import lightgbm

    module, (x, y, test_x, test_y) = exported("lightgbm", folder), split()
    start = module.LOSS.init_score(y)

    def fit(objective: Any, **more: Any) -> Any:
        model = lightgbm.LGBMRegressor(objective=objective, num_leaves=31, verbose=-1, **SETTINGS, **more)
        return model.fit(x, y, init_score=np.full(len(y), start))

    def predict(model: Any) -> Any:
        return model.predict(test_x, raw_score=True) + start

    losses = module.LOSS.losses
    return [
        row("LightGBM, `huber` (alpha 1)", lambda: fit("huber", alpha=1.0), predict, test_y, losses, repeats),
        row("LightGBM, exported pseudo-Huber", lambda: fit(module.objective), predict, test_y, losses, repeats),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [*xgboost_rows(Path(folder), args.repeats), *lightgbm_rows(Path(folder), args.repeats)]
    text = "\n".join([
        "| objective | test pseudo-Huber | test MAE | test RMSE | seconds a fit |", "|---|---|---|---|---|", *rows, "",
        f"{ROUNDS} trees, learning rate 0.1, depth 6 (XGBoost) or 31 leaves (LightGBM), one thread; California "
        "housing, 16,512 examples to train on and 4,128 to test on, target in units of 100,000 dollars; the same start "
        f"for both; the median of {args.repeats} fits.",
    ])  # fmt: skip
    print(text)
    if args.write:
        put_section(
            "boosting", "Boosted models with an exported objective", "python -m benchmarks.boosting --write", text
        )


if __name__ == "__main__":
    main()
