"""Where the error is measured: seeded inputs under two measures, each a number of the dtype to begin with.

float-uniform   every number of the dtype that the role allows is as likely as any other: exponents are uniform, most
                numbers are huge or tiny. It finds what fails anywhere.
data-like       what a training run sees: scores around 0 and some saturated ones, one-hot targets, residuals from
                1e-4 of a standard deviation to several. It says what to expect.

Hyper-parameters are at their defaults. A classwise loss is measured with 2, 3 and 10 classes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from lossc.compiler.formats import FORMATS, Format
from lossc.compiler.loss import CLASSWISE, IDENTITY, Loss
from lossc.compiler.roles import ROLES, Role
from lossc.runtime.accuracy.formats import nearest, of_pattern, pattern_of, patterns, shortest

MEASURES = ("float-uniform", "data-like")
SHARES = {2: 0.4, 3: 0.4, 10: 0.2}
"""The part of the points that each class count has: rows of ten take longest."""

Row: TypeAlias = tuple[float, ...]
Draw: TypeAlias = Callable[[Role, random.Random, Format], float]


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs of one dtype and measure, a row a point: the classes, or one number where the loss is elementwise.

    `inputs` is what the module is given: scores where the loss is one of probabilities.
    """

    dtype: str
    measure: str
    classes: int | None
    targets: tuple[Row, ...]
    inputs: tuple[Row, ...]
    one_hot: bool = False

    def __len__(self) -> int:
        return len(self.inputs)

    def describe(self, index: int, name: str = "f") -> str:
        """`y = 1, f = 0.5`, or `y = class 2 of 3, z = (0.1, 2, -3)`, in decimals that mean exactly these numbers."""
        form = FORMATS[self.dtype]
        y, z = ([shortest(v, form) for v in row] for row in (self.targets[index], self.inputs[index]))
        if self.classes is None:
            return f"y = {y[0]}, {name} = {z[0]}"
        target = f"class {self.targets[index].index(1.0)}" if self.one_hot else f"({', '.join(y)})"
        return f"y = {target}, {name} = ({', '.join(z)})"


def batches(loss: Loss, dtype: str, measure: str, count: int, seed: int = 0) -> list[Batch]:
    """`count` points: one batch, or for a classwise loss one for each class count. The same for the same arguments."""
    if loss.layout != CLASSWISE:
        return [_batch(loss, dtype, measure, None, count, seed)]
    return [_batch(loss, dtype, measure, c, max(1, round(count * share)), seed) for c, share in SHARES.items()]


def _batch(loss: Loss, dtype: str, measure: str, classes: int | None, count: int, seed: int) -> Batch:
    rng = random.Random(f"{seed} {dtype} {measure} {classes}")  # a text: the same on every machine
    given = ROLES["logit" if loss.link != IDENTITY else loss.f]
    draw = _pairs if classes is None else _rows
    pairs = [draw(ROLES[loss.y], given, measure, classes or 1, rng, FORMATS[dtype]) for _ in range(count)]
    targets, inputs = zip(*pairs, strict=True)
    return Batch(dtype, measure, classes, targets, inputs, loss.y == "onehot" and classes is not None)


def _pairs(y: Role, f: Role, measure: str, _: int, rng: random.Random, form: Format) -> tuple[Row, Row]:
    """A target and a prediction; in data, half of the predictions are near a target of the same kind."""
    draw = _DRAWS[measure]
    target, given = draw(y, rng, form), draw(f, rng, form)
    if measure == "data-like" and rng.random() < 0.5:
        size = rng.gauss(0.0, 1.0) * 10 ** rng.uniform(-4, 0.5)
        if y.name == "real" or (y.name == "positive" and f.name == "real"):
            given = fit(f, target + size, form)
        elif f.name == "positive" and target > 0:
            given = fit(f, target * (1 + size / 4), form)
    return (target,), (given,)


def _rows(y: Role, f: Role, measure: str, classes: int, rng: random.Random, form: Format) -> tuple[Row, Row]:
    """The targets and scores of one sample; in data, half of the samples are classified right."""
    draw = _DRAWS[measure]
    given = [draw(f, rng, form) for _ in range(classes)]
    if measure == "data-like":
        calm = ROLES["real"] if f.name == "logit" else f
        given = [draw(calm, rng, form) for _ in range(classes)]
        if f.name == "logit" and rng.random() < 0.25:
            given[rng.randrange(classes)] = nearest(rng.uniform(8.0, 100.0), form)
    if y.name == "onehot":
        hot = given.index(max(given)) if rng.random() < 0.5 else rng.randrange(classes)
        return tuple(float(k == hot) for k in range(classes)), tuple(given)
    if y.name == "prob":
        return _distribution(measure, classes, rng, form), tuple(given)
    return tuple(draw(y, rng, form) for _ in range(classes)), tuple(given)


def _distribution(measure: str, classes: int, rng: random.Random, form: Format) -> Row:
    """Probabilities in multiples of 2^-p, so that they are exact in the format and sum to exactly 1."""
    grain = 2 ** min(form.digits, 24)
    spread = 24.0 if measure == "float-uniform" else 3.0
    weights = [2 ** rng.uniform(-spread, 0) for _ in range(classes)]
    parts = [int(w / sum(weights) * grain) for w in weights]
    parts[parts.index(max(parts))] += grain - sum(parts)
    return tuple(part / grain for part in parts)


def fit(role: Role, x: float, form: Format) -> float:
    """The number of the format, and of the role, that is nearest to x."""
    near = nearest(max(role.range.lo, min(role.range.hi, x)), form)
    return max(near, float(form.smallest)) if role.range.lo > 0 else near


def _float_uniform(role: Role, rng: random.Random, form: Format) -> float:
    if role.values:
        return rng.choice(role.values)
    if role.integer:
        return nearest(float(int(2 ** rng.uniform(0, min(form.digits, form.greatest))) - rng.randint(0, 1)), form)
    top = pattern_of(1.0, form) if role.range.hi == 1.0 else patterns(form)
    size = of_pattern(rng.randint(0 if role.range.lo <= 0 else 1, top), form)
    return rng.choice((size, -size)) if role.range.lo < 0 else size


def _like_data(role: Role, rng: random.Random, form: Format) -> float:
    if role.values:
        return rng.choice(role.values)
    if role.integer:
        return float(min(int(rng.expovariate(1 / 3)), 40))
    if role.range.hi == 1.0:
        return fit(role, rng.uniform(*role.typical), form)
    if role.range.lo >= 0:
        return fit(role, 2.0 ** rng.gauss(0.0, 1.5), form)
    if role.name == "logit" and rng.random() < 0.15:
        return nearest(rng.choice((-1, 1)) * rng.uniform(10.0, 100.0), form)
    return nearest(rng.gauss(0.0, 0.5 * role.typical[1]), form)


_DRAWS: dict[str, Draw] = dict(zip(MEASURES, (_float_uniform, _like_data), strict=True))


def sweep(loss: Loss, dtype: str, offsets: list[float]) -> tuple[Batch, str]:
    """Inputs along one line, and what the line is: the residual y - f, the score, or the margin of the target class."""
    form, y = FORMATS[dtype], ROLES[loss.y]
    rows = list(_line(loss, [nearest(x, form) for x in offsets], form))
    what = _line_name(loss)
    one_hot = loss.layout == CLASSWISE and y.name == "onehot"
    targets, inputs = zip(*rows, strict=True)
    return Batch(dtype, "sweep", 3 if loss.layout == CLASSWISE else None, targets, inputs, one_hot), what


def _line_name(loss: Loss) -> str:
    if loss.layout == CLASSWISE:
        return "margin of the first class: its score less that of the two others"
    if loss.y == loss.f:
        return f"residual y - f, at y = {_fixed(ROLES[loss.y]):g}"
    what = "score" if loss.link != IDENTITY or loss.f == "logit" else "f"
    return f"{what}, at y = {_fixed(ROLES[loss.y]):g}"


def _fixed(role: Role) -> float:
    return 2.0 if role.integer else 1.0


def _line(loss: Loss, offsets: list[float], form: Format) -> Iterator[tuple[Row, Row]]:
    y = _fixed(ROLES[loss.y])
    low = ROLES["logit" if loss.link != IDENTITY else loss.f]
    for x in offsets:
        if loss.layout == CLASSWISE:
            targets = {"onehot": (1.0, 0.0, 0.0), "prob": (0.75, 0.125, 0.125)}.get(loss.y, (y, 0.0 * y, 0.0 * y))
            yield tuple(fit(ROLES[loss.y], v, form) for v in targets), (fit(low, x, form), *[fit(low, 0.0, form)] * 2)
        elif low.range.lo > 0:
            yield (y,), (fit(low, y - x if loss.y == loss.f and y > x else abs(x), form),)
        else:
            yield (y,), (fit(low, y - x if loss.y == loss.f else x, form),)
