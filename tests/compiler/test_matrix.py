"""Every named loss through one matrix: dtype, reduction, kind of target, extreme inputs, weights, ignored labels, fused
or not, compiled or not. What mpmath says is finite is finite, and all forms of a loss agree."""

from __future__ import annotations

from functools import cache
from typing import Any

import mpmath
import pytest
import torch
from torch import Tensor, nn

from lossc.compiler.evaluate import evaluate
from lossc.compiler.ir import Expr, F, Y, param
from lossc.compiler.loss import CLASSWISE, SIGMOID, SOFTMAX, Loss
from lossc.compiler.targets.options import Options
from lossc.grammar.library import named, names

DTYPES = {"float64": 1e-10, "float32": 2e-4, "bfloat16": 0.05, "float16": 0.02}
"""How far two forms of a loss may be apart, relative to the greatest number, in ordinary rows: the rounding of the
inputs of half precision, and the condition of the losses in float32."""
NAMES = names()
EACH_LOSS = pytest.mark.parametrize("name", NAMES)
EACH_DTYPE = pytest.mark.parametrize("dtype", DTYPES)

ROWS = ((0.5, -1.0, 2.0), (0.0, 0.0, 0.0), (-3.0, 4.0, 3.5), (1.5, 1.25, -6.0))
EXTREME = ((10240.0, 0.0, -10240.0), (100.0, -100.0, 99.0), (30.0, 0.0, -20.0))
SCALARS = (0.0, 0.5, 1.0, -0.75, 3.0, -8.0)
FAR = (10240.0, -10240.0, 100.0, -100.0, 2.0**-20)
"""Every dtype holds these."""
_DIGITS = 9_500
"""Enough for 1 - softmax((10240, 0, -10240)), which is about e^-20480."""


BY_LABEL_ONLY = ("evomal_c",)
"""((y - f)/f)^4 of one-hot rows is 0/0 where another class's softmax underflows; of class indices it is right."""


def targets_of(loss: Loss) -> tuple[Any, ...]:
    """Targets of every kind that the role has."""
    if loss.y == "onehot":
        return ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    if loss.y == "prob":
        return ((1.0, 0.0, 0.0), (0.25, 0.5, 0.25))
    ordinary = {
        "real": (0.5, -1.25), "positive": (1.5, 0.25), "count": (0.0, 3.0), "binary": (0.0, 1.0), "sign": (-1.0, 1.0)
    }[loss.y]  # fmt: skip
    return tuple((a, b, a) for a, b in (ordinary, ordinary[::-1])) if loss.layout == CLASSWISE else ordinary


def inputs_of(loss: Loss, extreme: bool) -> tuple[Any, ...]:
    """Rows of scores, or single predictions, in the range of the role."""
    found: tuple[Any, ...] = (
        (EXTREME if extreme else ROWS) if loss.layout == CLASSWISE else (FAR if extreme else SCALARS)
    )
    if loss.f != "positive":
        return found
    return tuple(abs(v) + 0.125 for v in found)


def batch(loss: Loss, dtype: str, extreme: bool = False) -> tuple[Tensor, Tensor, list[tuple[Any, Any]]]:
    """All pairs of inputs and targets, and what they are once rounded to the dtype."""
    pairs = [(z, y) for z in inputs_of(loss, extreme) for y in targets_of(loss)]
    kind = getattr(torch, dtype)
    z = torch.tensor([p[0] for p in pairs], dtype=torch.float64).to(kind)
    y = torch.tensor([p[1] for p in pairs], dtype=torch.float64).to(kind)
    rounded = [
        (tuple(a) if isinstance(a, list) else a, tuple(b) if isinstance(b, list) else b)
        for a, b in zip(z.double().tolist(), y.double().tolist(), strict=True)
    ]
    return z.requires_grad_(), y, rounded


@cache
def truth(name: str, z: Any, y: Any) -> tuple[Any, tuple[Any, ...] | None]:
    """The loss and its gradient by mpmath, with digits enough for the input; None for a gradient at a kink, where there
    is none, and where it would take minutes."""
    loss = named(name)
    sizes = [abs(v) for v in (z if isinstance(z, tuple) else (z,))]
    with mpmath.workdps(_DIGITS if max(sizes) > 500 and loss.link != "identity" else 120):
        step = mpmath.mpf(10) ** (-mpmath.mp.dps // 3)
        value = _reference(loss, y, z)
        if not mpmath.isfinite(value) or mpmath.mp.dps == _DIGITS:
            return value, None
        slopes = []
        for j in range(len(z)) if isinstance(z, tuple) else [None]:
            low, high = (_reference(loss, y, _moved(z, j, s)) for s in (-step, step))
            left, right = (value - low) / step, (high - value) / step
            if not all(mpmath.isfinite(v) for v in (left, right)) or abs(left - right) > 1e-8 * (1 + abs(left)):
                return value, None
            slopes.append((left + right) / 2)
        return value, tuple(slopes)


def _moved(z: Any, index: int | None, step: Any) -> Any:
    if index is None:
        return mpmath.mpf(z) + step
    return [mpmath.mpf(v) + step if i == index else mpmath.mpf(v) for i, v in enumerate(z)]


def _reference(loss: Loss, y: Any, z: Any) -> Any:
    env: dict[Expr, Any] = {param(p.name): p.default for p in loss.params}
    f: Any = [mpmath.mpf(v) for v in z] if loss.layout == CLASSWISE else mpmath.mpf(z)
    if loss.link == SIGMOID:
        f = 1 / (1 + mpmath.exp(-f))
    elif loss.link == SOFTMAX:
        grown = [mpmath.exp(v - max(f)) for v in f]
        f = [g / mpmath.fsum(grown) for g in grown]
    count = len(z) if loss.layout == CLASSWISE else None
    found = evaluate(loss.body, {**env, Y: list(y) if isinstance(y, tuple) else y, F: f}, num_classes=count)
    if loss.layout != CLASSWISE:
        return found
    rows = found if isinstance(found, list) else [found] * len(z)
    return rows[0] if loss.reduces_itself else mpmath.fsum(rows)


def forms(name: str, reduction: str, **settings: Any) -> dict[str, nn.Module]:
    """The fused and the plain module."""
    made = {"fused": Options(fused=True), "plain": Options(fused=False)}
    return {k: named(name).to_torch(reduction, options=o, **settings) for k, o in made.items()}


def value_and_slope(module: nn.Module, z: Tensor, *given: Tensor) -> tuple[Tensor, Tensor]:
    """The loss, and the gradient of its sum."""
    value = module(z, *given)
    (slope,) = torch.autograd.grad(value.sum(), z)
    return value.detach(), slope


def close(a: Tensor, b: Tensor, tolerance: float) -> bool:
    """Whether two tensors agree relative to their greatest number, infinities and NaN in the same places."""
    a, b = a.double(), b.double()
    if a.shape != b.shape or not torch.equal(a.isfinite(), b.isfinite()):
        return False
    a, b = (torch.nan_to_num(v, nan=0.0, posinf=0.0, neginf=0.0) for v in (a, b))
    return float((a - b).abs().max()) <= tolerance * max(1e-3, float(b.abs().max()))


def labels_of(y: Tensor) -> Tensor | None:
    """The class indices, where all rows are one-hot."""
    return y.argmax(1) if y.dim() == 2 and bool(((y == 0) | (y == 1)).all() and (y.sum(1) == 1).all()) else None


# -- the matrix -------------------------------------------------------------------------------------------------------


@EACH_LOSS
def test_finite_wherever_the_mathematics_is(name: str) -> None:
    """At ordinary and extreme inputs (scores of ±1e4), fused and plain, for rows and for class indices: where mpmath
    has a value that the dtype can hold, so has the module, and a finite gradient."""
    loss = named(name)
    for dtype in DTYPES:
        top = torch.finfo(getattr(torch, dtype)).max
        for extreme in (False, True):
            z, y, points = batch(loss, dtype, extreme)
            labels = labels_of(y) if loss.y == "onehot" else None
            given = [t for t in (y, labels) if t is not None and not (t is y and name in BY_LABEL_ONLY)]
            found = [value_and_slope(m, z, t) for m in forms(name, "none").values() for t in given]
            for i, point in enumerate(points):
                value, slope = truth(name, *point)
                if not mpmath.isfinite(value) or abs(value) > top / 2:
                    continue
                held = slope is None or max(abs(s) for s in slope) <= top / 2
                for got, steep in found:
                    assert got.dtype == steep.dtype == z.dtype
                    assert torch.isfinite(got[i]), (dtype, point, float(value), got[i])
                    assert not held or torch.isfinite(steep[i]).all(), (dtype, point, steep[i])


@EACH_LOSS
@EACH_DTYPE
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_fused_and_plain_agree(name: str, dtype: str, reduction: str) -> None:
    """Values and gradients of the fused form are those of the plain form under autograd, with and without weights, for
    rows, class indices, and ignored labels; "mean" and "sum" are those of "none"."""
    loss, tolerance = named(name), DTYPES[dtype]
    z, y, _ = batch(loss, dtype)
    torch.manual_seed(0)
    samples = torch.rand(len(z)).to(z.dtype)
    labels = labels_of(y) if loss.y == "onehot" else None
    calls: list[tuple[dict[str, Any], tuple[Tensor, ...]]] = [({}, (y,)), ({}, (y, samples))]
    if labels is not None:
        weight = torch.tensor([0.5, 1.0, 2.0]).to(z.dtype)
        ignored = torch.where(torch.arange(len(labels)) % 4 == 1, -7, labels)
        calls += [({}, (labels,)), ({"ignore_index": -7}, (ignored,))]
        if "weight" not in {p.name for p in loss.params}:
            calls.append(({"weight": weight}, (labels, samples)))
        calls += [({"label_smoothing": 0.1}, (labels,))]
    for settings, given in calls:
        made = {k: value_and_slope(m, z, *given) for k, m in forms(name, reduction, **settings).items()}
        assert close(made["fused"][0], made["plain"][0], tolerance), (settings, made)
        assert close(made["fused"][1], made["plain"][1], tolerance), (settings, made)
    each, _ = value_and_slope(forms(name, "none")["fused"], z, y)
    whole = {"none": each, "mean": each.double().mean(), "sum": each.double().sum()}[reduction]
    if bool(torch.isfinite(each).all()) and bool(torch.isfinite(whole.to(z.dtype)).all()):
        assert close(value_and_slope(forms(name, reduction)["fused"], z, y)[0], whole, max(tolerance, 1e-6))


@EACH_LOSS
def test_compiled_agrees(name: str) -> None:
    """torch.compile takes the module in one graph, for rows and for class indices, and the numbers stay."""
    torch._dynamo.reset()
    loss = named(name)
    z, y, _ = batch(loss, "float64")
    labels = labels_of(y) if loss.y == "onehot" else None
    for target in (y, labels):
        if target is not None:
            module = named(name).to_torch("mean")
            compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
            plain, ours = (value_and_slope(m, z, target) for m in (module, compiled))
            assert close(ours[0], plain[0], 1e-12) and close(ours[1], plain[1], 1e-11)


@EACH_LOSS
@pytest.mark.parametrize("form", ["fused", "plain"])
def test_gradcheck(name: str, form: str) -> None:
    """First and second derivatives pass gradcheck and gradgradcheck in float64, away from kinks, for sums and for
    single losses, rows and class indices."""
    loss = named(name)
    torch.manual_seed(4)
    if loss.layout == CLASSWISE:
        z = torch.tensor([[0.3, -1.1, 0.9], [1.7, 0.2, -0.6]], dtype=torch.float64)
        y = torch.tensor(targets_of(loss)[:2], dtype=torch.float64)
    else:
        z = torch.tensor([0.3, -1.1, 2.7, 0.9], dtype=torch.float64)
        y = torch.tensor([*targets_of(loss)] * 2, dtype=torch.float64)
    z = (z.abs() + 0.1 if loss.f == "positive" else z).requires_grad_()
    labels = labels_of(y) if loss.y == "onehot" else None
    for reduction in ("sum", "none"):
        module = forms(name, reduction)[form]
        for target in (y, labels):
            if target is not None:
                assert torch.autograd.gradcheck(lambda v, m=module, t=target: m(v, t), z)
                assert torch.autograd.gradgradcheck(lambda v, m=module, t=target: m(v, t), z)
