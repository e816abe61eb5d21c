"""Whether two formulas mean the same: compared in mpmath at points of the declared domain.

Two formulas are equivalent if they have a value at the same points and it is the same one, to 30 of 60 digits. Where
digits cancel, more of them are taken (up to 4,000) before a disagreement is believed. A difference that is nothing
beside a great intermediate value is rounding noise only if it is another one with more digits; and some points are
looked at with so many digits at once that a great value hides no small one (1e300*exp(f) + y is not 1e300*exp(f)). A
point where some intermediate value overflows the interpreter (beyond 2^4096) says nothing about the formula, so it is
passed over.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from lossc.compiler.evaluate import evaluate_all
from lossc.compiler.ir import Expr, node, postorder
from lossc.compiler.loss import CLASSWISE, Loss, varies
from lossc.compiler.sampling import REACH, Points, points

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[np.float64]"

DIGITS = (60, 240, 1000, 4000)
"""Working precisions: a disagreement is believed only at the last one that could settle it."""
SLOW_BEYOND = {"lgamma": 240, "digamma": 240, "trigamma": 240, "erf": 1000, "erfc": 1000}
"""mpmath takes seconds for one value of these operators at more digits than that."""
NOISE_DIGITS = 240
"""From here on a difference far below the greatest intermediate value may be rounding noise."""
LAST_PLACES = 1e9
"""Rounding errors of the greatest intermediate value may be as many units in its last place."""
DEEP, GREAT = 24, 1e60
"""One of so many points is looked at with 1,000 digits at once: with 4,000 if an intermediate value is as great."""
DEFINED, UNDEFINED, UNKNOWN = "defined", "undefined", "unknown"
MIN_DEFINED = 12
"""Fewer points with a value than this decide nothing."""


@dataclass(frozen=True)
class Agreement:
    """Whether two formulas are equal on the sampled domain: `kind` is "agree", "differ" or "undecided"."""

    kind: str
    check: str = ""
    reason: str = ""
    witness: str = ""
    points: int = 0

    def __bool__(self) -> bool:
        return self.kind == "agree"


class OutOfTime(Exception):
    """The deadline of a comparison passed."""


@dataclass(frozen=True, slots=True)
class _Look:
    """What the interpreter saw at one point: a state and a value for each class (one entry if it is the same for all).

    The state is UNKNOWN if some intermediate value overflowed the interpreter: then nothing can be said of the formula.
    """

    states: tuple[str, ...]
    values: tuple[Any, ...]
    scale: Any


_contexts = threading.local()


def _context() -> Any:
    """An mpmath context of this thread's own: the global one is not safe to share."""
    if not hasattr(_contexts, "ctx"):
        from mpmath.ctx_mp import MPContext

        _contexts.ctx = MPContext()
    return _contexts.ctx


class Reference:
    """A formula looked at in mpmath on a set of points, once a precision; candidates are held against it."""

    def __init__(self, body: Expr, batches: list[Points], deadline: float | None = None) -> None:
        self.body, self.batches, self.deadline = body, batches, deadline
        self._looks: dict[tuple[int, int, int], _Look] = {}

    def look(self, batch: int, index: int, digits: int) -> _Look:
        """The formula at point `index` of a batch, to so many digits."""
        key = (batch, index, digits)
        if key not in self._looks:
            self._looks[key] = self.look_at(self.body, batch, index, digits)
        return self._looks[key]

    def look_at(self, root: Expr, batch: int, index: int, digits: int) -> _Look:
        """Another expression at the same point."""
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise OutOfTime
        where = self.batches[batch]
        ctx = _context()
        nodes = postorder(root)
        seen = evaluate_all(nodes, where.env(index), num_classes=where.num_classes, dps=digits, ctx=ctx)
        flat = [v for s in seen for v in (s if isinstance(s, list) else [s]) if not isinstance(v, bool)]
        overflowed = any(ctx.isinf(v) for v in flat)
        scale = max((abs(v) for v in flat if ctx.isfinite(v)), default=ctx.zero)
        values = tuple(seen[-1]) if isinstance(seen[-1], list) else (seen[-1],)
        states = [UNKNOWN if overflowed else DEFINED if ctx.isfinite(v) else UNDEFINED for v in values]
        return _Look(tuple(states), values, scale)

    def disagreement(self, candidate: Expr, batch: int, index: int) -> tuple[str, str] | None:
        """None if the candidate means the same at this point, else (check, reason)."""
        ladder = self._ladder(candidate)
        first = self._deep(ladder, candidate, batch, index) if index % DEEP == DEEP // 2 else 0
        found: tuple[str, str] | None = None
        seen: list[tuple[_Look, _Look]] = []
        for number, digits in enumerate(ladder[max(first - 1, 0) :], max(first - 1, 0)):
            seen.append((self.look(batch, index, digits), self.look_at(candidate, batch, index, digits)))
            if number < first:
                continue
            found = _compare(*seen[-1], digits)
            if found is None or (found[0] == "agreement" and _is_noise(seen, digits)):
                return None
        if found is not None and found[0] == "domain" and not all(map(_settled, *seen[-2:])):
            return None  # the logarithm of a rounding error, or the like: another value at every precision
        return found

    def _ladder(self, candidate: Expr) -> list[int]:
        """The precisions that are worth their time for the operators at hand."""
        top = min((SLOW_BEYOND.get(n.op, DIGITS[-1]) for n in postorder(self.body, candidate)), default=DIGITS[-1])
        return [d for d in DIGITS if d <= top]

    def _deep(self, ladder: list[int], candidate: Expr, batch: int, index: int) -> int:
        """The place on the ladder from which on no great value hides a small difference."""
        mine, other = self.look(batch, index, ladder[0]), self.look_at(candidate, batch, index, ladder[0])
        return len(ladder) - 1 if max(mine.scale, other.scale) > GREAT else min(2, len(ladder) - 1)

    def all_points(self) -> list[tuple[int, int]]:
        return [(b, i) for b, batch in enumerate(self.batches) for i in range(len(batch))]

    def count_defined(self) -> int:
        return sum(DEFINED in self.look(b, i, DIGITS[0]).states for b, i in self.all_points())

    def truth(self, batch: int) -> Array:
        """The exact values as float64, [n] or [n, C]; NaN where there is none."""
        import numpy as np

        looks = [self.look(batch, i, DIGITS[0]) for i in range(len(self.batches[batch]))]
        width = max(len(k.values) for k in looks)
        rows = [[float(v) if s == DEFINED else np.nan for v, s in zip(k.values, k.states, strict=True)] for k in looks]
        out = np.array([r if len(r) == width else r * width for r in rows], dtype=np.float64)
        return out if self.batches[batch].num_classes is not None else out[:, 0]


def _settled(before: _Look, after: _Look) -> bool:
    """Whether more digits left the values as they were, to a few."""
    ctx = _context()
    for old, new in zip(before.values, after.values, strict=True):
        if ctx.isfinite(old) and ctx.isfinite(new) and abs(old - new) > abs(new) / 1000:
            return False
    return True


def _by_class(mine: _Look, other: _Look) -> Iterator[tuple[str, Any, str, Any]]:
    """State and value of one, state and value of the other: for each class."""
    width = max(len(mine.states), len(other.states))
    sides = [side for k in (mine, other) for side in (k.states, k.values)]
    yield from zip(*(side * width if len(side) == 1 else side for side in sides), strict=True)


def _is_noise(seen: list[tuple[_Look, _Look]], digits: int) -> bool:
    """Whether all differences are far below the greatest intermediate value, and others than with fewer digits; or are
    in its last places."""
    if digits < NOISE_DIGITS or len(seen) < 2:
        return False
    ctx = _context()
    with ctx.workdps(digits):
        tolerance = ctx.mpf(10) ** (-digits // 2)
        scale = max(look.scale for look in seen[-1])
        for few, most in zip(_by_class(*seen[-2]), _by_class(*seen[-1]), strict=True):
            if {UNDEFINED, DEFINED} == {most[0], most[2]}:
                return False
            if not few[0] == few[2] == most[0] == most[2] == DEFINED:
                continue
            before, gap = abs(few[1] - few[3]), abs(most[1] - most[3])
            if gap <= tolerance * max(abs(most[1]), abs(most[3])):
                continue
            if gap <= LAST_PLACES * ctx.mpf(10) ** -digits * scale:
                continue  # 0 instead of log(1 + exp(-1e9))
            if gap > tolerance * scale or abs(before - gap) <= gap / 1000:
                return False
    return True


def _compare(mine: _Look, other: _Look, digits: int) -> tuple[str, str] | None:
    ctx = _context()
    for state, value, new_state, new_value in _by_class(mine, other):
        if UNKNOWN in (state, new_state) or state == new_state == UNDEFINED:
            continue
        if state == UNDEFINED:
            return "domain", f"defines a value ({_short(ctx, new_value)}) where the formula has none"
        if new_state == UNDEFINED:
            return "domain", f"has no value where the formula has one ({_short(ctx, value)})"
        with ctx.workdps(digits):
            if abs(value - new_value) > ctx.mpf(10) ** (-digits // 2) * max(abs(value), abs(new_value)):
                return "agreement", f"gives {_short(ctx, new_value)} where the formula gives {_short(ctx, value)}"
    return None


def _short(ctx: Any, value: Any) -> str:
    return str(ctx.nstr(value, 9))


def equivalent(
    a: Expr,
    b: Expr,
    loss: Loss,
    *,
    count: int = 220,
    seed: int = 0,
    reach: float = REACH,
    deadline: float | None = None,
) -> Agreement:
    """Whether `a` and `b` mean the same under the roles of `loss`: equal, and defined at the same points.

    Compared on `points(loss, a, b, count=..., seed=..., reach=...)`; "undecided" if hardly a point has a value. Where
    only one of two bodies of a classwise loss varies over the classes, it is the one that is summed over them.
    Raises OutOfTime after `deadline` (of `time.monotonic`).
    """
    if loss.layout == CLASSWISE and varies(a) != varies(b):
        a, b = (node("sum_c", e) if varies(e) else e for e in (a, b))
    reference = Reference(a, points(loss, a, b, count=count, seed=seed, reach=reach), deadline)
    for batch, index in reference.all_points():
        found = reference.disagreement(b, batch, index)
        if found is not None:
            return Agreement("differ", *found, witness=reference.batches[batch].describe(index))
    defined = reference.count_defined()
    if defined < MIN_DEFINED:
        return Agreement("undecided", "domain", f"only {defined} of the points have a value", points=defined)
    return Agreement("agree", points=defined)
