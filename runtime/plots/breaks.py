"""Where functions of F bend, jump or end between two numbers.

The record of an operator names expressions at whose zeros it bends (`kinks`, `singular`); divisors and what must not be
0 are others. Their zeros are where a sign changes on a grid, narrowed down to the last digits; so are the ends of where
a function has values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from lossc.compiler import ops
from lossc.compiler.float32 import evaluate_in
from lossc.compiler.formats import FLOAT64
from lossc.compiler.ir import LEAF_OPS, ONE, Expr, F, postorder
from lossc.compiler.sampling import Points

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[np.float64]"

APART = 1e-5
"""Breaks that are nearer to each other, or to an end, than this part of the range cannot be seen apart."""
MOST_BREAKS = 240
"""Functions with more breaks than this are not looked at closely."""
FINEST, FINER = 6500, 4
"""A grid is made so many times finer, up to so many points, while functions turn between its points."""
ROUGH, OFTEN = 0.1, 0.05
"""A function turns where it bends by this part of its range, and often if that is at this part of the points."""


def points_of(x: Array) -> Points:
    """Values of F as `evaluate_in` takes them."""
    return Points({F: tuple(x.tolist())}, ("",) * len(x))


def fine_grid(roots: Sequence[Expr], low: float, high: float, points: int) -> Array:
    """Evenly spaced numbers, so many or more: as many as it takes to follow waves."""
    import numpy as np

    while True:
        grid = np.linspace(low, high, points)
        if points * FINER > FINEST or not any(_rough(v) for v in evaluate_in(FLOAT64, roots, points_of(grid))):
            return grid
        points = FINER * (points - 1) + 1


def _rough(values: Array) -> bool:
    """Whether the values are not those of a smooth curve: they bend from point to point."""
    import numpy as np

    known = values[np.isfinite(values)]
    if len(known) < len(values) / 4:
        return False
    low, high = np.quantile(known, (0.1, 0.9))
    with np.errstate(invalid="ignore"):
        bends = np.abs(values[2:] - 2 * values[1:-1] + values[:-2]) > ROUGH * (high - low)
    return bool(np.count_nonzero(bends) > OFTEN * len(values)) and bool(high > low)


def places(roots: Sequence[Expr], grid: Array) -> list[float]:
    """The ends of the grid, and between them in order: zeros of what operators bend or end at, and ends of where the
    roots have values. A break so near to an end that it cannot be seen takes its place.
    """
    suspects = dict.fromkeys(f for root in roots for k in _suspects(root) for f in _factors(k))
    found = [z for k in suspects for z in _zeros(k, grid)]
    found += [e for root in roots for e in _ends(root, grid)]
    low, high = float(grid[0]), float(grid[-1])
    least = APART * (high - low)
    low = max([low, *(b for b in found if low < b <= low + least)])
    high = min([high, *(b for b in found if high - least <= b < high)])
    kept: list[float] = []
    for b in sorted(found):
        if low + least < b < high - least and (not kept or b - kept[-1] > least):
            kept.append(b + 0.0)
    return [low, *(kept if len(kept) <= MOST_BREAKS else []), high]


def _suspects(root: Expr) -> list[Expr]:
    """Expressions at whose zeros something may happen: those of the records, and arguments that must not be 0."""
    out: list[Expr] = []
    for here in postorder(root):
        if here.op in LEAF_OPS:
            continue
        record = ops.record(here)
        out += [*record.kinks(*here.args), *record.singular(*here.args)]
        if record.gives == ops.BOOL_KIND:
            out.append(here.args[0] - here.args[1])
        elif here.op in _NOT_ZERO:
            out.append(here.args[_NOT_ZERO[here.op]])
        elif here.op == "log1p":
            out.append(here.args[0] + ONE)
    return out


_NOT_ZERO = {
    **dict.fromkeys(("log", "log2", "log10", "log1mexp", "lgamma", "digamma", "trigamma", "pow", "sqrt"), 0),
    **dict.fromkeys(("clog", "csqrt"), 0), **dict.fromkeys(("div", "xlogy", "logratio"), 1),
}  # fmt: skip
"""Which argument of an operator is 0 where its value ends, has no bound, or is clamped."""


def _factors(k: Expr) -> list[Expr]:
    """Expressions whose zeros are those of k, and that change sign there if one of them can."""
    out, todo = [], [k]
    while todo:
        here = todo.pop()
        if here.op in ("mul", "neg", "abs", "square"):
            todo += here.args
        elif here.op in ("div", "pow", "sqrt", "xlogy", "psqrt"):
            todo.append(here.args[0])
        elif F in postorder(here):
            out.append(here)
    return out


def _zeros(k: Expr, grid: Array) -> list[float]:
    """The zeros of k that a change of sign shows, or that lie on the grid."""
    import numpy as np

    values = evaluate_in(FLOAT64, [k], points_of(grid))[0]
    if np.count_nonzero(values == 0) > len(grid) // 4:
        return []
    signs = np.sign(values)
    changes = np.flatnonzero(signs[:-1] * signs[1:] < 0).tolist()

    def positive(x: Array) -> NDArray[np.bool_]:
        return evaluate_in(FLOAT64, [k], points_of(x))[0] > 0

    narrowed = [_narrowed(positive, float(grid[i]), float(grid[i + 1])) for i in changes]
    return [*(float(x) for x in grid[values == 0]), *narrowed]


def _ends(root: Expr, grid: Array) -> list[float]:
    """Where a root begins or ceases to be finite."""
    import numpy as np

    def finite(x: Array) -> NDArray[np.bool_]:
        return np.isfinite(evaluate_in(FLOAT64, [root], points_of(x))[0])

    known = finite(grid)
    found = np.flatnonzero(known[:-1] != known[1:]).tolist()
    if len(found) > MOST_BREAKS:
        return []
    return [_narrowed(finite, float(grid[i]), float(grid[i + 1])) for i in found]


def _narrowed(state: Any, low: float, high: float) -> float:
    """Where a yes or no changes between two numbers, to the last digit but a few; a short decimal if it is one."""
    import numpy as np

    first = bool(state(np.array([low]))[0])
    began = high - low
    for _ in range(9):
        x = np.linspace(low, high, 33)
        changed = np.flatnonzero(state(x) != first)
        if not len(changed) or high - low <= 1e-15 * max(abs(low), abs(high)):
            break
        low, high = float(x[max(changed[0] - 1, 0)]), float(x[changed[0]])
    middle = (low + high) / 2
    short = float(f"{middle:.9g}") if abs(middle) > 1e-10 * began else 0.0
    return short if abs(short - middle) <= 1e-10 * began else middle
