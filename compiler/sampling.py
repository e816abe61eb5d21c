"""Where passes are tested: deterministic inputs for a loss, by the roles that it declares.

Every number is a float32, so the same point can be given to float32 arithmetic and to mpmath without rounding. The
samplers follow the rule safety checklist of docs/numerics.md (float-uniform, log-uniform, integer, boundary and
special inputs) and what losses are sensitive to: y near f, saturated probabilities, hyper-parameters at their defaults.

Over the class axis a point is a row. Rows of probabilities are dyadic, so that they sum to exactly 1, in float32 too.
"""

from __future__ import annotations

import itertools
import math
import random
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from lossc.compiler.ir import ARG, COEF, PARAM, Expr, F, Y, postorder
from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.roles import ROLES, Role

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Value: TypeAlias = "float | tuple[float, ...]"
Draw: TypeAlias = Callable[[Role, random.Random], float]

CLASS_COUNTS = (3, 2)
"""Two class counts, so that nothing can depend on one by accident."""
REACH = 1e20
"""The greatest magnitude drawn: products and quotients of two such numbers leave the range of float32."""
_GRAIN = 2**24
"""Probabilities of a row are multiples of 2^-24: exact in float32, with as many digits as it has."""


def float32(x: float) -> float:
    """The float32 nearest to `x`, within the finite range."""
    top = 3.4028234663852886e38
    near: float = struct.unpack("f", struct.pack("f", max(-top, min(top, x))))[0]
    return near


@dataclass(frozen=True)
class Points:
    """Inputs for a loss: `columns[leaf]` lists one value (or, for y and f of a classwise loss, one row) a point."""

    columns: Mapping[Expr, tuple[Value, ...]]
    kinds: tuple[str, ...]
    num_classes: int | None = None

    def __len__(self) -> int:
        return len(self.kinds)

    def env(self, index: int) -> dict[Expr, Value]:
        """The point as `lossc.compiler.evaluate.evaluate` takes it."""
        return {leaf: values[index] for leaf, values in self.columns.items()}

    def array(self, leaf: Expr) -> NDArray[np.float64]:
        """All values of a leaf: shape [n], or for a classwise loss [n, C] (y, f) and [n, 1] (hyper-parameters)."""
        import numpy as np

        values = np.asarray(self.columns[leaf], dtype=np.float64)
        return values if self.num_classes is None or values.ndim == 2 else values[:, None]

    def describe(self, index: int) -> str:
        """`y = 1, f = 0.5`, for messages; only the leaves that the formula has."""
        return ", ".join(f"{_name(leaf)} = {_show(values[index])}" for leaf, values in self.columns.items())


def _name(leaf: Expr) -> str:
    return f"φ{leaf.value}" if leaf.op == COEF else str(leaf.value)


def _show(value: Value) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(_show(v) for v in value) + ")"
    return f"{value:.9g}"


def points(loss: Loss, *roots: Expr, count: int = 220, seed: int = 0, reach: float = REACH) -> list[Points]:
    """Inputs for the leaves of `roots` (default: the body): one batch, or one a class count for a classwise loss.

    At least `count` points in all, up to about half of them corners (every leaf at a boundary or special value). No
    value is greater than `reach` in magnitude.
    """
    used = [n for n in postorder(*(roots or (loss.body,))) if n.op in (ARG, PARAM, COEF)]
    leaves = sorted(used, key=lambda n: (n not in (Y, F), n is F, n.op, str(n.value)))
    if loss.layout != CLASSWISE:
        return [_Sampler(loss, leaves, None, random.Random(seed), reach).batch(count)]
    share = -(-count // len(CLASS_COUNTS))
    return [_Sampler(loss, leaves, c, random.Random(seed + c), reach).batch(share) for c in CLASS_COUNTS]


class _Sampler:
    """Draws the points of one batch."""

    def __init__(
        self, loss: Loss, leaves: Sequence[Expr], num_classes: int | None, rng: random.Random, reach: float
    ) -> None:
        self.leaves, self.num_classes, self.rng, self.reach = leaves, num_classes, rng, reach
        self.roles = {n: ROLES["real"] if n.op == COEF else loss.role_of(n) for n in leaves}
        self.defaults = {n: loss.parameter(n.name).default for n in leaves if n.op == PARAM}

    def batch(self, count: int) -> Points:
        rows: list[tuple[str, dict[Expr, Value]]] = [("corner", p) for p in self._corners(6 * count // 11)]
        kinds = itertools.cycle(_DRAWS)
        while len(rows) < count or not rows:
            kind = next(kinds)
            rows.append((kind, self._near() if kind == "near" else self._drawn(_DRAWS[kind])))
        columns = {n: tuple(p[n] for _, p in rows) for n in self.leaves}
        return Points(columns, tuple(kind for kind, _ in rows), self.num_classes)

    def _corners(self, most: int) -> Iterator[dict[Expr, Value]]:
        """Special values of the leaves together: all combinations where they are few, else a random part of them."""
        lists = [self._specials(n) for n in self.leaves]
        total = math.prod(len(options) for options in lists)
        chosen = range(total) if total <= most else sorted(self.rng.sample(range(total), most))
        for index in chosen:
            point: dict[Expr, Value] = {}
            for leaf, options in zip(self.leaves, lists, strict=True):
                index, here = divmod(index, len(options))
                point[leaf] = options[here]
            yield point

    def _specials(self, leaf: Expr) -> list[Value]:
        role = self.roles[leaf]
        if self.num_classes is None or leaf.op != ARG:
            given = self.defaults.get(leaf)
            values = [v for v in special_values(role) if abs(v) <= self.reach]
            return [float32(float(given)), *values] if given is not None else list(values)
        return list(self._special_rows(role, self.num_classes))

    def _special_rows(self, role: Role, c: int) -> Iterator[Value]:
        if role.name in ("onehot", "prob"):
            for hot in range(min(c, 2)):
                yield tuple(float(k == hot) for k in range(c))
            rest = 11 / _GRAIN  # odd: products with it are rounded
            yield tuple(1 - rest if k == 0 else rest if k == 1 else 0.0 for k in range(c))
            yield _dyadic_row([1.0] * c)
        else:
            for value in [v for v in special_values(role)[:5] if abs(v) <= self.reach]:
                yield (value,) * c
            ramp = [role.typical[0] + (role.typical[1] - role.typical[0]) * k / c for k in range(c)]
            yield tuple(fit(role, v) for v in ramp)

    def _drawn(self, draw: Draw) -> dict[Expr, Value]:
        return {n: self._value(n, draw) for n in self.leaves}

    def _value(self, leaf: Expr, draw: Draw) -> Value:
        role = self.roles[leaf]
        if leaf.op == PARAM and self.defaults[leaf] is not None and self.rng.random() < 0.4:
            return float32(float(self.defaults[leaf] or 0))
        if self.num_classes is None or leaf.op != ARG:
            return self._limited(role, draw(role, self.rng))
        if role.name == "onehot" and self.rng.random() < 0.7:
            hot = self.rng.randrange(self.num_classes)
            return tuple(float(k == hot) for k in range(self.num_classes))
        if role.name in ("onehot", "prob"):
            return _dyadic_row([draw(ROLES["unit"], self.rng) + 1e-9 for _ in range(self.num_classes)])
        return tuple(self._limited(role, draw(role, self.rng)) for _ in range(self.num_classes))

    def _limited(self, role: Role, value: float) -> float:
        return fit(role, max(-self.reach, min(self.reach, value)))

    def _near(self) -> dict[Expr, Value]:
        """y close to f: where a loss is small, and where cancellation shows."""
        point = self._drawn(_DRAWS["typical"])
        if Y in point and F in point:
            step = self.rng.choice([0.0, 2.0**-22, -(2.0**-20), 2.0**-10, -0.03])
            scale = self.rng.choice([1.0, 1.0, 1000.0])
            point[Y], point[F] = self._pair(point[Y], point[F], scale, 1 + step)
        return point

    def _pair(self, y: Value, f: Value, scale: float, ratio: float) -> tuple[Value, Value]:
        if isinstance(y, tuple) or isinstance(f, tuple):
            names = self.roles[Y].name, self.roles[F].name
            same = names[0] == names[1] or names == ("onehot", "prob")
            return (y, y) if same else (y, f)
        y = self._limited(self.roles[Y], y * scale)
        return y, self._limited(self.roles[F], y * ratio)


def special_values(role: Role) -> tuple[float, ...]:
    """Boundary and special values of a role, the most telling first."""
    return tuple(float32(v) for v in _specials(role))


def _specials(role: Role) -> tuple[float, ...]:
    if role.name == "sign":
        return role.values
    if role.range.hi == 1.0:
        return (0.0, 1.0, 0.5, 1e-7, 1 - 2.0**-24, 0.25, 1e-30)
    if role.integer:
        return (0.0, 1.0, 2.0, 7.0, 1000.0)
    if role.range.lo > 0:
        return (1.0, 0.5, 2.0, 1e-7, 100.0, 1e-30, 1e15)
    if role.range.lo == 0:
        return (0.0, 1.0, 2.0, 1e-7, 100.0)
    return (0.0, 1.0, -1.0, 2.0, -0.5, 1e-7, 100.0, -100.0, 1e4)


def fit(role: Role, value: float) -> float:
    """The float32 value of the role nearest to `value`."""
    if role.name == "sign":
        return 1.0 if value >= 0 else -1.0
    if role.integer:
        value = float(round(abs(value)))
    low = max(role.range.lo, 1e-30) if role.range.lo > 0 else role.range.lo
    return float32(max(low, min(role.range.hi, value)))


def _dyadic_row(weights: Sequence[float]) -> tuple[float, ...]:
    """Probabilities in multiples of 2^-24, about in proportion to the weights, that sum to exactly 1."""
    total = sum(weights)
    parts = [int(w / total * _GRAIN) for w in weights]
    parts[parts.index(max(parts))] += _GRAIN - sum(parts)
    return tuple(p / _GRAIN for p in parts)


def _typical(role: Role, rng: random.Random) -> float:
    return rng.uniform(*role.typical)


def _scaled(role: Role, rng: random.Random) -> float:
    """Log-uniform in magnitude; a number between 0 and 1 comes close to either end."""
    if role.range.hi == 1.0 and role.range.lo == 0.0:
        tail = 10 ** rng.uniform(-7, 0)
        return tail if rng.random() < 0.5 else 1 - tail
    return rng.choice((-1.0, 1.0)) * 10 ** rng.uniform(-4, 4) if role.range.lo < 0 else 10 ** rng.uniform(-4, 4)


def _float_uniform(role: Role, rng: random.Random) -> float:
    if role.range.hi == 1.0 and role.range.lo == 0.0:
        return 10 ** rng.uniform(-30, 0)
    return rng.choice((-1.0, 1.0)) * 10 ** rng.uniform(-20, 20) if role.range.lo < 0 else 10 ** rng.uniform(-20, 20)


def _integer(role: Role, rng: random.Random) -> float:
    if role.range.hi == 1.0 and role.range.lo == 0.0:
        return rng.choice((0.0, 1.0, 0.5))
    return float(rng.randint(-5, 5)) if role.range.lo < 0 else float(rng.randint(1, 9))


def _mixed(role: Role, rng: random.Random) -> float:
    return rng.choice((_typical, _scaled, _integer))(role, rng)


_DRAWS: dict[str, Any] = {
    "typical": _typical,
    "near": _typical,
    "log-uniform": _scaled,
    "mixed": _mixed,
    "integer": _integer,
    "float-uniform": _float_uniform,
}
