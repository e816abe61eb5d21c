"""Limits in numbers: a check of every limit that was derived, and what is left where none could be.

An expression in `EPSILON` is computed at ever smaller ε with ever more digits. A derived limit is refused if the
numbers contradict it: if they do not come closer. Where there is none, what the numbers settle on is taken, marked as
numeric.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from typing import Any

from lossc.compiler.analysis.asymptotics import EPSILON, Limit
from lossc.compiler.analysis.world import context, number
from lossc.compiler.ir import Expr, const, postorder

STEPS = (30, 90, 270)
"""Powers of 1/10 at which a derived limit is checked."""
LADDER = (10, 20, 40, 80, 160, 320, 640)
"""And those at which a limit is looked for."""
ENOUGH = 4
"""Steps after which growth beyond all bounds shows."""
SHOWN = 12
"""Digits of a limit that was found in numbers."""


def at_epsilon(root: Expr, values: Mapping[Expr, Any], classes: int, power: int) -> Any:
    """The value at ε = 10^-power, to 60 digits more than that takes; an mpf that may be NaN."""
    ctx = context()
    digits = 2 * power + 60
    with ctx.workdps(digits):
        there = {**values, EPSILON: ctx.mpf(10) ** -power}
        return number(root, there, classes, ctx, digits)


def contradicts(found: Limit, root: Expr, values: Mapping[Expr, Any], classes: int) -> bool:
    """Whether numbers speak against a limit at given values of C and the hyper-parameters."""
    ctx = context()
    if EPSILON not in postorder(root):
        value = number(root, values, classes, ctx)
        if found.kind == "undefined" or not ctx.isfinite(value):
            return bool(found.kind == "finite") == bool(not ctx.isfinite(value))
        return not _near(value, number(found.value, values, classes, ctx))
    first, _, last = (at_epsilon(root, values, classes, power) for power in STEPS)
    if found.kind == "undefined":
        return bool(ctx.isfinite(first) and ctx.isfinite(last))
    if not (ctx.isfinite(first) and ctx.isfinite(last)):
        return not (found.kind == "infinite" and ctx.isinf(last) and (last > 0) == (found.sign > 0))
    if found.kind == "infinite":
        return not (last * found.sign > 0 and abs(last) > abs(first))
    target = number(found.value, values, classes, ctx)
    return not (_near(last, target) or abs(last - target) < abs(first - target))


def _near(value: Any, target: Any) -> bool:
    return bool(abs(value - target) <= context().mpf(10) ** -20 * max(1, abs(target)))


def numeric_limit(root: Expr, values: Mapping[Expr, Any], classes: int, deadline: float) -> Limit:
    """What the numbers settle on: a number, ±∞, or nothing ("unknown", or "undefined" where there are none)."""
    ctx = context()
    seen: list[Any] = []
    for power in LADDER if EPSILON in postorder(root) else LADDER[:1]:
        if time.monotonic() > deadline:
            return Limit("unknown", numeric=True)
        value = at_epsilon(root, values, classes, power)
        if ctx.isinf(value) and len(seen) >= ENOUGH:
            break  # beyond the numbers that the interpreter holds
        if not ctx.isfinite(value):
            return Limit("undefined", numeric=True)
        seen.append(value)
    if len(seen) == 1 or _settled(seen):
        return Limit("finite", const(_rounded(seen[-1])), numeric=True)
    sizes = [abs(v) for v in seen[2:]]
    if all(b > 1.5 * a for a, b in pairwise(sizes)) and len({v > 0 for v in seen[2:]}) == 1:
        return Limit("infinite", sign=1 if seen[-1] > 0 else -1, numeric=True)
    if all(b < a / 1.5 for a, b in pairwise(sizes)) and sizes[-1] < 1e-2 * max(1, abs(seen[0])):
        return Limit("finite", numeric=True)
    return Limit("unknown", numeric=True)


def _settled(seen: list[Any]) -> bool:
    last = seen[-1]
    allowed = context().mpf(10) ** -(SHOWN + 3) * max(1, abs(last))
    return all(abs(v - last) <= allowed for v in seen[-3:])


def _rounded(value: Any) -> str:
    ctx = context()
    return "0" if abs(value) < ctx.mpf(10) ** -(SHOWN + 3) else str(ctx.nstr(value, SHOWN))


def last_change(root: Expr, values: Mapping[Expr, Any], classes: int, start: Fraction) -> Any:
    """The least ε below `start` at which the expression changes its sign, looked for down to 10^-30; or None."""
    ctx = context()
    with ctx.workdps(80):
        top = ctx.mpf(start.numerator) / start.denominator

        def sign(power: Any) -> int:
            value = number(root, {**values, EPSILON: top * ctx.mpf(10) ** -power}, classes, ctx, 80)
            return 0 if ctx.isnan(value) else int(ctx.sign(value))

        powers = [ctx.mpf(k) / 8 for k in range(1, 241)]
        seen = [(power, s) for power in powers if (s := sign(power))]
        changed = [i for i in range(1, len(seen)) if seen[i - 1][1] != seen[i][1]]
        if not changed:
            return None
        (low, _), (high, final) = seen[changed[-1] - 1], seen[changed[-1]]
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (low, middle) if sign(middle) == final else (middle, high)
        return top * ctx.mpf(10) ** -high
