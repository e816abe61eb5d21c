"""Golden values for the self-test of emitted files: from the reference interpreter, so from no target and no pass.

The formula as written is evaluated with 50 digits at a few fixed points that suit the roles; gradients are central
differences with a step of 1e-16, good to 30 digits, through the link. So they check the whole way from the formula to
the file: canonical form, link, guards, printer and the target's own autograd.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lossc.compiler.evaluate import evaluate
from lossc.compiler.ir import F, Y, param
from lossc.compiler.loss import CLASSWISE, IDENTITY, SIGMOID, Loss, Parameter
from lossc.compiler.roles import ROLES

DIGITS = 50
STEP = "1e-16"
CLASSES = 3
_KEPT, _ROUGH_BITS, _ROUGH = 4, 24, 1e-3
_LARGEST = 1e30

Vector = Sequence[float]


@dataclass(frozen=True, slots=True)
class Golden:
    """Inputs (what the model gives), targets, and the values and gradients that belong to them.

    Elementwise: `inputs`, `targets`, `values` and `gradients` have one number a point. Classwise: one row over the
    classes a sample, but one number a sample in `values`; `labels` are the class indices if all targets are one-hot.
    `curvatures`, the diagonal of the Hessian, are second differences, good to 15 digits.
    """

    hyperparameters: dict[str, float]
    inputs: tuple[Any, ...]
    targets: tuple[Any, ...]
    values: tuple[float, ...]
    gradients: tuple[Any, ...]
    labels: tuple[int, ...] = ()
    curvatures: tuple[Any, ...] = ()


@lru_cache(maxsize=16)
def golden(loss: Loss) -> Golden:
    """A few points where the loss is defined, smooth and well conditioned; none if no such point is found."""
    import mpmath

    settings = {p.name: _setting(p) for p in loss.params}
    with mpmath.mp.workdps(DIGITS):
        find = _classwise if loss.layout == CLASSWISE else _elementwise
        return find(loss, settings, mpmath.mp)


def _setting(p: Parameter) -> float:
    """The default, or a plain value of the role."""
    if p.default is not None:
        return float(p.default)
    bound = ROLES[p.role].range
    return next(v for v in (1.25, 0.75, 0.0) if v in bound)


_REAL = (0.7, -1.3, 2.1, -0.4, 1.6, 0.3, -2.2, 1.1)
_POINTS: dict[str, Vector] = {
    "real": _REAL,
    "logit": (0.4, -1.1, 1.7, -0.6, 0.2, 2.3, -1.9, 0.9),
    "positive": (0.7, 1.3, 2.1, 0.4, 1.6, 0.3, 2.4, 1.1),
    "count": (1.0, 3.0, 0.0, 2.0, 5.0, 1.0, 4.0, 2.0),
    "binary": (1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0),
    "sign": (1.0, -1.0, 1.0, -1.0, -1.0, 1.0, 1.0, -1.0),
    "prob": (0.7, 0.2, 0.9, 0.4, 0.55, 0.15, 0.35, 0.6),
    "unit": (0.7, 0.2, 0.9, 0.4, 0.55, 0.15, 0.35, 0.6),
    "onehot": (1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0),
}


def _pairs(ys: Vector, zs: Vector) -> Iterator[tuple[float, float]]:
    """Each prediction with the target two places on, then with all other targets."""
    n = len(zs)
    for shift in (2, *(s for s in range(n) if s != 2)):
        yield from ((ys[(i + shift) % n], zs[i]) for i in range(n))


def _elementwise(loss: Loss, settings: dict[str, float], mp: Any) -> Golden:
    """Many points at once: the interpreter takes a list of values wherever it takes one."""
    step = mp.mpf(STEP)
    rows: list[tuple[float, float, float, float, float]] = []
    pairs = _pairs(_POINTS[loss.y], _POINTS["logit" if loss.link == SIGMOID else loss.f])
    while len(rows) < _KEPT and (some := list(itertools.islice(pairs, 2 * (_KEPT - len(rows))))):
        ys = [y for y, _ in some]
        zs = [mp.mpf(z) for _, z in some]
        shifted = [z + s for s in (0, -step, step) for z in zs]
        found = _spread(_evaluate(loss, ys * 3, shifted, settings, mp), 3 * len(some))
        with mp.workprec(_ROUGH_BITS):
            rough = _spread(_evaluate(loss, ys, zs, settings, mp), len(some))
        for i, (y, z) in enumerate(some):
            value, below, above = found[i :: len(some)]
            slope = _slope(value, below, above, step, mp)
            if slope is not None and _well_conditioned(value, rough[i], mp) and len(rows) < _KEPT:
                rows.append((z, y, float(value), float(slope), float(_bend(value, below, above, step))))
    columns = [tuple(c) for c in zip(*rows, strict=True)] or [(), (), (), (), ()]
    return Golden(settings, columns[0], columns[1], columns[2], columns[3], curvatures=columns[4])


def _evaluate(loss: Loss, y: Any, z: Any, settings: dict[str, float], mp: Any) -> Any:
    """The formula as written, at a target and at what the model gives."""
    f = z
    if loss.link == SIGMOID:
        f = [1 / (1 + mp.exp(-v)) for v in z]
    elif loss.link != IDENTITY:
        grown = [mp.exp(v - max(z)) for v in z]
        f = [g / mp.fsum(grown) for g in grown]
    env = {Y: y, F: f, **{param(name): value for name, value in settings.items()}}
    count = len(z) if loss.layout == CLASSWISE else None
    return evaluate(loss.body, env, num_classes=count, ctx=mp)


def _spread(found: Any, count: int) -> list[Any]:
    return found if isinstance(found, list) else [found] * count


def _slope(value: Any, below: Any, above: Any, step: Any, mp: Any) -> Any:
    """The derivative, or None where the loss is undefined, huge or has a kink."""
    if not all(mp.isfinite(v) and abs(v) < _LARGEST for v in (value, below, above)):
        return None
    left, right = (value - below) / step, (above - value) / step
    smooth = abs(left - right) <= 1e-8 * (1 + abs(left) + abs(right)) and abs(left) < _LARGEST
    return (above - below) / (2 * step) if smooth else None


def _bend(value: Any, below: Any, above: Any, step: Any) -> Any:
    """The second derivative."""
    return (below - 2 * value + above) / step**2


def _well_conditioned(value: Any, rough: Any, mp: Any) -> bool:
    """Whether arithmetic with the precision of float32 gives the value to three digits."""
    return bool(mp.isfinite(rough) and abs(rough - value) <= _ROUGH * max(abs(value), mp.mpf("1e-3")))


# -- along the class axis ---------------------------------------------------------------------------------------------

_SCORES: tuple[Vector, ...] = ((0.4, -1.1, 0.9), (1.7, 0.2, -0.6), (-0.3, 0.8, 0.1), (0.5, 1.2, -0.7))
_PREDICTED: tuple[Vector, ...] = ((0.3, 0.15, 0.55), (0.45, 0.35, 0.2), (0.1, 0.5, 0.4), (0.6, 0.15, 0.25))
_LABELS = (2, 0, 1, 0)
_SOFT: tuple[Vector, ...] = ((0.2, 0.1, 0.7), (0.6, 0.3, 0.1), (0.15, 0.6, 0.25), (0.5, 0.3, 0.2))


def _samples(loss: Loss) -> Iterator[tuple[Vector, Vector, int]]:
    """Rows of targets and of what the model gives, and the label of the target."""
    base: Iterable[Vector] = _SCORES
    if loss.f == "unit":  # probabilities, not the scores that they come from
        base = _PREDICTED
    elif loss.link == IDENTITY and loss.f == "positive":
        base = [[abs(v) + 0.1 for v in row] for row in _SCORES]
    for row, label, soft in zip(base, _LABELS, _SOFT, strict=True):
        if loss.y == "onehot":
            yield [float(i == label) for i in range(CLASSES)], row, label
        elif loss.y == "prob":
            yield soft, row, -1
        else:
            yield _POINTS[loss.y][label : label + CLASSES], row, -1


def _classwise(loss: Loss, settings: dict[str, float], mp: Any) -> Golden:
    step = mp.mpf(STEP)
    inputs: list[tuple[float, ...]] = []
    targets: list[tuple[float, ...]] = []
    values: list[float] = []
    gradients: list[tuple[float, ...]] = []
    curvatures: list[tuple[float, ...]] = []
    labels: list[int] = []
    for y, z, label in _samples(loss):
        scores = [mp.mpf(v) for v in z]
        value = _sample_loss(loss, y, scores, settings, mp)
        with mp.workprec(_ROUGH_BITS):
            rough = _sample_loss(loss, y, scores, settings, mp)
        slopes, bends = [], []
        for j in range(CLASSES):
            below, above = (_sample_loss(loss, y, _moved(scores, j, s), settings, mp) for s in (-step, step))
            slopes.append(_slope(value, below, above, step, mp))
            bends.append(_bend(value, below, above, step))
        if None in slopes or not _well_conditioned(value, rough, mp):
            continue
        inputs.append(tuple(z))
        targets.append(tuple(y))
        values.append(float(value))
        gradients.append(tuple(float(s) for s in slopes))
        curvatures.append(tuple(map(float, bends)))
        labels.append(label)
        if len(values) == 2:
            break
    kept = tuple(labels) if loss.y == "onehot" else ()
    return Golden(settings, tuple(inputs), tuple(targets), tuple(values), tuple(gradients), kept, tuple(curvatures))


def _moved(scores: list[Any], index: int, step: Any) -> list[Any]:
    return [v + step if i == index else v for i, v in enumerate(scores)]


def _sample_loss(loss: Loss, y: Vector, z: list[Any], settings: dict[str, float], mp: Any) -> Any:
    """The loss of one sample: summed over the classes, unless the formula reduces itself."""
    found = _evaluate(loss, list(y), z, settings, mp)
    if loss.reduces_itself:
        return found[0] if isinstance(found, list) else found
    return mp.fsum(_spread(found, len(z)))
