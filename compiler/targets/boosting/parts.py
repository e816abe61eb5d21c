"""Text of emitted boosting files that is the same for every loss of a kind."""

from __future__ import annotations

ARRAYS = '''
def _arrays(y_true: object, raw: object) -> tuple[np.ndarray, np.ndarray]:
    """Targets and scores as float64 vectors of one length."""
    f, y = np.asarray(raw, np.float64), np.asarray(y_true, np.float64)
    if y.shape != f.shape or f.ndim != 1:
        raise ValueError(f"targets of shape {y.shape} and scores of shape {f.shape}: both must be (n_samples,)")
    return y, f
'''

SIGNS = '''
def _arrays(y_true: object, raw: object) -> tuple[np.ndarray, np.ndarray]:
    """Targets as -1 and +1 (given so, or as 0 and 1) and scores, float64 vectors of one length."""
    f, y = np.asarray(raw, np.float64), np.asarray(y_true, np.float64)
    if y.shape != f.shape or f.ndim != 1:
        raise ValueError(f"targets of shape {y.shape} and scores of shape {f.shape}: both must be (n_samples,)")
    return np.where(y > 0.0, 1.0, -1.0), f
'''

LABELS = '''
def _arrays(y_true: object, raw: object) -> tuple[np.ndarray, np.ndarray]:
    """Class indices as one-hot rows, and scores of the same shape, (n_samples, n_classes)."""
    f, labels = np.asarray(raw, np.float64), np.asarray(y_true)
    if f.ndim != 2 or labels.shape != f.shape[:1]:
        raise ValueError(f"labels of shape {labels.shape} and scores of shape {f.shape}: give (n,) and (n, n_classes)")
    if labels.size and not (labels.min() >= 0 and labels.max() < f.shape[1]):
        raise ValueError(f"labels must be class indices from 0 to {f.shape[1] - 1}")
    return (labels[:, None] == np.arange(f.shape[1])).astype(np.float64), f
'''

WEIGHTED = '''
def _weighted(values: np.ndarray, sample_weight: object) -> np.ndarray:
    """The values of each example times its weight."""
    if sample_weight is None or np.size(sample_weight) == 0:
        return values
    weight = np.asarray(sample_weight, np.float64)
    return values * (weight[:, None] if values.ndim == 2 else weight)
'''

MEAN = '''
def _mean(values: np.ndarray, sample_weight: object) -> float:
    """The weighted mean over the examples."""
    given = sample_weight is not None and np.size(sample_weight) > 0
    return float(np.average(values, weights=np.asarray(sample_weight, np.float64) if given else None))
'''

MEDIAN = '''
def _median(values: np.ndarray, sample_weight: object) -> float:
    """The least value up to which lies half of the weight."""
    order = np.argsort(values, kind="stable")
    given = sample_weight is not None and np.size(sample_weight) > 0
    weight = np.asarray(sample_weight, np.float64)[order] if given else np.ones(len(order))
    mass = np.cumsum(weight)
    return float(values[order][min(np.searchsorted(mass, 0.5 * mass[-1]), len(order) - 1)])
'''

SEARCH = '''
def _least(cost: Callable[[float], float], grid: np.ndarray) -> float:
    """Where the cost is least: the best point of a grid, then golden sections between its neighbours."""
    for _ in range(8):
        costs = [cost(float(c)) for c in grid]
        best = int(np.argmin([c if math.isfinite(c) else math.inf for c in costs]))
        if 0 < best < len(grid) - 1:
            break
        grid = grid[best] + 2.0 * (grid - np.mean(grid))  # it falls towards an end: go on there
    low, high = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, len(grid) - 1)])
    share = (math.sqrt(5.0) - 1.0) / 2.0
    left, right = high - share * (high - low), low + share * (high - low)
    at_left, at_right = cost(left), cost(right)
    for _ in range(80):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - share * (high - low)
            at_left = cost(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + share * (high - low)
            at_right = cost(right)
    found = (left + right) / 2.0
    return found if cost(found) <= costs[best] else float(grid[best])
'''

GRIDS: dict[str, tuple[str, ...]] = {
    "scores": ("grid = np.linspace(-12.0, 12.0, 97)",),
    "values": (
        "near = np.quantile(values, np.linspace(0.0, 1.0, 65))",
        "around = np.linspace(2.0 * values[0] - values[-1] - 1.0, 2.0 * values[-1] - values[0] + 1.0, 65)",
        "grid = np.unique(np.concatenate([near, around]))",
    ),
    "logarithms": (
        "low, high = np.min(values[values > 0.0], initial=1.0), np.max(values, initial=1.0)",
        "grid = np.linspace(np.log(low) - 3.0, np.log(high) + 3.0, 97)",
    ),
}
"""Where a constant is looked for: whatever the scores are, around the targets, or around their logarithms."""

EXPECT = '''
def _expect(what: str, got: object, expected: object, tolerance: float) -> None:
    """Leave with exit code 1 and a message if `got` is not `expected`, relative to the largest number there."""
    have, want = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    right = have.shape == want.shape and np.max(np.abs(have - want)) <= tolerance * max(1e-3, np.max(np.abs(want)))
    if not right:
        raise SystemExit(f"self-test failed: {what}: expected {expected}, got {have.tolist()}")
'''

LIBRARY_NAMES = frozenset({
    "losses", "derivatives", "init_score", "predict", "objective", "native_objective", "metric", "native_metric",
    "calc_ders_range", "calc_ders_multi", "is_max_optimal", "evaluate", "get_final_error", "self", "y_true", "y_pred",
    "raw", "sample_weight", "y", "f", "np", "math", "dataclass", "slope", "bend", "axis", "num_classes", "LOSS",
    "values", "mass", "grid", "share", "mean", "predt", "data", "approxes", "target", "weight",
    "targets", "weights", "num_class", "scores", "Any", "cost", "near", "around", "low", "high", "labels", "given",
    "index",    "every", "old", "positive",
})  # fmt: skip
"""Names that a file uses itself."""
