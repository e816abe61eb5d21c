"""Families of a loss: copies of it with other hyper-parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

from lossc.compiler.errors import UsageError
from lossc.compiler.loss import Loss

MOST = 8


def family(loss: Loss, params: Mapping[str, Sequence[str]]) -> tuple[list[Loss], list[str]]:
    """The loss at every combination of values, and what each is called: `xi = 0.1`.

    Raises UsageError (L201, L202 for names and values that cannot be, L260 for more than eight).
    """
    names = list(params)
    combinations = list(product(*(params[n] for n in names)))
    if not 1 <= len(combinations) <= MOST:
        raise UsageError("L260", f"{len(combinations)} lines cannot be told apart", expected=f"1 to {MOST} of them")
    moving = [n for n in names if len(params[n]) > 1] or names
    settings = [dict(zip(names, values, strict=True)) for values in combinations]
    labels = [", ".join(f"{n} = {one[n]}" for n in moving) for one in settings]
    losses = [loss.with_defaults(**one) for one in settings]
    return losses, labels if params else [loss.name]
