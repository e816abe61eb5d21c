"""CMA-ES as the outer optimiser: what TaylorGLO does, and the way out where a meta-gradient is of no use.

Each coefficient vector is judged by a partial training session and the metric on the validation part (thesis, algorithm
4), so the metric need not be differentiable. The strategy is that of the `cma` package (Hansen 2016), with a random
stream of its own. A run is gone on with by telling a new strategy again what it was told before: the same numbers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lossc.compiler.errors import UsageError
from lossc.runtime.data import derive

if TYPE_CHECKING:
    from lossc.runtime.meta.optimize import OptimizeResult, Problem, Progress

MAX_SIZE = 500
"""Coefficients: the covariance of more would cost more than it brings."""


def run_cma(
    problem: Problem,
    start: Tensor | None = None,
    *,
    progress: Progress | None = None,
    known: Sequence[Sequence[float]] = (),
    told: Callable[[int, list[float]], None] | None = None,
) -> OptimizeResult:
    """`meta_steps` generations of CMA-ES; the best loss of all.

    A loss whose training has no finite end is worse than every other. `known` are the fitnesses of generations that
    were evaluated before; `told(generation, fitnesses)` hears of each new one. Raises UsageError (L255) for more than
    500 coefficients, or (L258) if the package `cma` is not there.
    """
    from lossc.runtime.meta.optimize import OptimizeResult, Record, begin_at, fitness

    config, began = problem.config, time.perf_counter()
    centre = problem.family.initial(config.seed) if start is None else start
    strategy = _strategy(problem, centre)
    best, best_phi, history = math.inf, centre, []
    for generation in range(config.meta_steps):
        asked = [np.asarray(a, dtype=np.float64) for a in strategy.ask()]
        if generation < len(known):
            values = list(known[generation])
        else:
            values = [fitness(problem, torch.from_numpy(a)) for a in asked]
            if told is not None:
                told(generation, values)
        finite = [v for v in values if math.isfinite(v)]
        worst = max(finite, default=1.0)
        strategy.tell(asked, [v if math.isfinite(v) else worst + abs(worst) + 1.0 for v in values])
        place = int(np.argmin(values))
        if values[place] < best:
            best, best_phi = values[place], torch.from_numpy(asked[place]).clone()
        record = Record(generation, min(values), float(strategy.sigma), "cma", validation=best)
        history.append(record)
        if progress is not None:
            progress(record, replace(begin_at(best_phi), step=generation + 1))
        if strategy.stop():
            break
    first = history[0].value if history else math.nan
    return OptimizeResult(
        problem.family, best_phi, tuple(history), config, "", time.perf_counter() - began, first, best
    )


def _strategy(problem: Problem, centre: Tensor) -> Any:
    if problem.family.size > MAX_SIZE:
        raise UsageError(
            "L255", f"CMA-ES is for at most {MAX_SIZE} coefficients, and the loss has {problem.family.size:,}",
            hint="--optimizer adam",
        )  # fmt: skip
    try:
        import cma
    except ImportError:
        raise UsageError("L258", "CMA-ES needs the package `cma`", hint="pip install cma") from None
    config = problem.config
    stream = np.random.Generator(np.random.PCG64(derive(config.seed, "cma")))
    options = {
        "popsize": config.population, "seed": math.nan, "verbose": -9,
        "randn": lambda *shape: stream.standard_normal(shape),
    }  # fmt: skip
    return cma.CMAEvolutionStrategy(centre.tolist(), config.sigma, options)
