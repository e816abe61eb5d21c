"""Gradients and second derivatives by autograd, at kinks, zeros, ties, zero targets and saturated scores.

The oracle is mpmath with 250 digits and never looks at the point itself, only beside it: so it sees the limits that a
guard must give where the formula has no value, and whether a function is smooth there.
"""

from __future__ import annotations

import itertools
import math
import time
from fractions import Fraction
from functools import lru_cache, reduce
from operator import mul
from typing import Any, NamedTuple

import mpmath
import pytest
import torch

from lossc.compiler.evaluate import evaluate
from lossc.compiler.ir import Expr, F, Y, const, param
from lossc.compiler.loss import CLASSWISE, SIGMOID, SOFTMAX, Loss
from lossc.compiler.ops import call
from lossc.compiler.passes.guard import guard
from lossc.compiler.passes.removable import Filler
from lossc.compiler.passes.series import ANALYTIC, SCALED, TERMS, Expansion, series
from lossc.compiler.targets.pipeline import prepare
from lossc.grammar.library import named, names
from tests.compiler.torch_support import loss_of, module_of

DPS, STEP = 250, mpmath.mpf(10) ** -40
FLOATS = [torch.float64, torch.float32]
# -- the oracle -------------------------------------------------------------------------------------------------------


class Truth(NamedTuple):
    """Limits of the value and of two derivatives."""

    value: Any
    slope: Any
    bend: Any


@lru_cache(maxsize=4096)
def truth(loss: Loss, y: Any, z: Any, index: int | None = None) -> Truth | None:
    """The limits at z (or in its entry `index`), from six points beside it; None unless both sides agree. Most points
    are the same in every dtype."""
    with mpmath.workdps(DPS):
        v = {k: at(loss, y, moved(z, index, k * STEP)) for k in (-3, -2, -1, 1, 2, 3)}
        if not all(mpmath.isfinite(x) for x in v.values()):
            return None
        left, right = (v[-1] - v[-2]) / STEP, (v[2] - v[1]) / STEP
        bends = [(v[s] - 2 * v[2 * s] + v[3 * s]) / STEP**2 for s in (-1, 1)]
        if abs(v[1] - v[-1]) > 1e-15 * (1 + abs(v[1])) or abs(left - right) > 1e-15 * (1 + abs(left)):
            return None
        if abs(bends[0] - bends[1]) > 1e-10 * (1 + abs(bends[0])) or abs(bends[0]) > 1e15:  # that grows with 1/STEP
            return None
        return Truth((v[1] + v[-1]) / 2, (v[1] - v[-1]) / (2 * STEP), (v[2] - v[1] - v[-1] + v[-2]) / (3 * STEP**2))


def moved(z: Any, index: int | None, by: Any) -> Any:
    """z, or a row with one entry, moved."""
    return z + by if index is None else [mpmath.mpf(v) + by * (i == index) for i, v in enumerate(z)]


def fixed(t: torch.Tensor) -> Any:
    """A number, or a row as a tuple."""
    return t.item() if t.dim() == 0 else tuple(t.tolist())


def at(loss: Loss, y: Any, z: Any) -> Any:
    """The loss as written for scores z: one element, or the sum over a sample's classes."""
    f = z
    if loss.link == SIGMOID:
        f = 1 / (1 + mpmath.exp(-z))
    elif loss.link == SOFTMAX:
        f = [mpmath.exp(v) / mpmath.fsum(map(mpmath.exp, z)) for v in z]
    env = {**{param(p.name): p.default for p in loss.params}, Y: y, F: f}
    if loss.layout != CLASSWISE:
        return evaluate(loss.body, env)
    found = evaluate(loss.body, env, num_classes=len(z))
    rows = found if isinstance(found, list) else [found] * len(z)
    return rows[0] if loss.reduces_itself else mpmath.fsum(rows)


def derivatives(
    loss: Loss, ys: list[Any], zs: list[Any], dtype: torch.dtype, indices: bool = False
) -> tuple[torch.Tensor, ...]:
    """y and z as the module saw them, its values, its gradient, and the diagonal of its Hessian by double backward.

    With `indices` the module is given the class of each sample instead of its one-hot row.
    """
    y = torch.tensor(ys, dtype=dtype)
    z = torch.tensor(zs, dtype=dtype, requires_grad=True)
    value = module_of(loss)(z, y.argmax(1) if indices else y)
    (slope,) = torch.autograd.grad(value.sum(), z, create_graph=True)
    bend = torch.zeros_like(z)
    for i in range(z.shape[1] if z.dim() > 1 else 1):
        entry = slope[:, i] if z.dim() > 1 else slope
        if entry.requires_grad:
            found = torch.autograd.grad(entry.sum(), z, retain_graph=True, allow_unused=True)[0]
            column = torch.zeros_like(z) if found is None else found
            bend = column if z.dim() == 1 else bend + column * torch.eye(z.shape[1], dtype=dtype)[i]
    return tuple(t.detach().double() for t in (y, z, value, slope, bend))


def check(loss: Loss, ys: list[Any], zs: list[Any], dtype: torch.dtype, indices: bool = False) -> int:
    """Wherever the value is finite: both derivatives are, and they are right where the loss is smooth.

    Right is 2^16 units in the last place, and 2^10 of 1: the formulas have some dozens of roundings, and conditions of
    some hundreds. Returns how many points were smooth.
    """
    unit, largest = torch.finfo(dtype).eps, torch.finfo(dtype).max
    smooth = 0
    y, z, value, slope, bend = derivatives(loss, ys, zs, dtype, indices)
    for n, index in itertools.product(range(len(zs)), range(z.shape[1]) if z.dim() > 1 else [None]):
        place = n if index is None else (n, index)
        where = f"{loss.name} {dtype} y={y[n].tolist()} z={z[n].tolist()} {index}"
        if not math.isfinite(value[n]):
            continue
        true = truth(loss, fixed(y[n]), fixed(z[n]), index)
        if true is not None and max(abs(true.slope), abs(true.bend)) > largest / 1e3:
            continue
        assert math.isfinite(slope[place]) and math.isfinite(bend[place]), (where, slope[place], bend[place])
        if true is not None:
            smooth += 1
            close = {"rel": 2**16 * unit, "abs": 2**10 * unit}
            assert value[n].item() == pytest.approx(float(true.value), **close), where
            assert slope[place].item() == pytest.approx(float(true.slope), **close), where
            assert bend[place].item() == pytest.approx(float(true.bend), **close), where
    return smooth


# -- every named loss -------------------------------------------------------------------------------------------------

TARGETS = {
    "real": [0.0, 1.0, -1.0, 0.5, 2.0], "positive": [0.001, 0.5, 1.0, 2.0], "count": [0.0, 1.0, 3.0],
    "binary": [0.0, 1.0, 0.5], "sign": [-1.0, 1.0],
}  # fmt: skip
FAR = [20.0, -20.0, 100.0, -100.0, 1e4, -1e4]
SCORES = {
    "real": [0.0, 1.0, -1.0, 0.5, 2.0, -3.0, 0.1, 1e-4, *FAR],
    "logit": [0.0, 1.0, -1.0, *FAR], "prob": [0.0, 1.0, -1.0, 0.3, *FAR], "positive": [1e-6, 0.5, 1.0, 2.0, 100.0, 1e4],
}  # fmt: skip
ROWS = [[0.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.3, -1.0, 2.0], [100.0, -100.0, 0.0], [-100.0, 100.0, 100.0],
        [1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [200.0, 0.0, 0.0]]  # fmt: skip
TARGET_ROWS = {
    "onehot": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    "prob": [[1.0, 0.0, 0.0], [0.2, 0.3, 0.5], [0.0, 0.5, 0.5]],
}
OTHER_ROWS = [[0.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", names())
def test_a_named_loss_at_its_corners(name: str, dtype: torch.dtype) -> None:
    """Zero residuals, ties, kinks, zero targets, scores of ±100 and ±10,000: gradient and Hessian diagonal are finite
    wherever the value is, and those of mpmath where the loss is smooth."""
    loss = named(name)
    if loss.layout == CLASSWISE:
        pairs = list(itertools.product(TARGET_ROWS.get(loss.y, OTHER_ROWS), ROWS))
    else:
        pairs = list(itertools.product(TARGETS[loss.y], SCORES[loss.f]))
    assert check(loss, [y for y, _ in pairs], [z for _, z in pairs], dtype)


@pytest.mark.parametrize("indices", [False, True], ids=["onehot", "indices"])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_the_headline_at_every_probability(dtype: torch.dtype, indices: bool) -> None:
    """abs(log(sqrt(y*f) + eps)), with one-hot rows and with class indices, at probabilities from 1 down through the
    subnormal ones to 0: gradient and Hessian diagonal are finite, and those of mpmath."""
    loss = named("evomal_a")
    margins = [0.0, 0.5, 3.0, 10.0, 16.0, 30.0, 60.0, 80.0, 87.0, 90.0, 95.0, 100.0, 103.0, 110.0, 300.0, 700.0, 740.0]
    rows = [[s * m, 0.0, -1.0] for m in [*margins, 760.0, 1e4] for s in (1.0, -1.0)]
    pairs = list(itertools.product(TARGET_ROWS["onehot"], rows))
    assert check(loss, [y for y, _ in pairs], [z for _, z in pairs], dtype, indices) > 2 * len(pairs)


# -- what guards are for ----------------------------------------------------------------------------------------------

AROUND = [0.0, -0.0, 1e-30, 1e-20, -1e-20, 1e-7, -1e-7, 1e-4, -1e-3, 0.01, 0.06, -0.1, 0.3, -0.5, 0.9, 3.0, 20.0]
SMOOTH: dict[str, tuple[Expr, tuple[str, ...]]] = {
    "sin(u)/u": (call("sin", F) / F, ("G12",)),
    "(sin(u)/u)^2": ((call("sin", F) / F) ** 2, ("G12",)),
    "log1p(u^2)/u": (call("log1p", F**2) / F, ("G12",)),
    "log1p(u^2)/u^2": (call("log1p", F**2) / F**2, ("G12",)),
    "u/tanh(u)": (F / call("tanh", F), ("G12",)),
    "tanh(u)/u": (call("tanh", F) / F, ("G12",)),
    "(e^u - 1)/u": ((call("exp", F) - 1) / F, ("G12",)),
    "u/(e^u - 1)": (F / (call("exp", F) - 1), ("G12",)),
    "(1 - cos(u))/u^2": ((1 - call("cos", F)) / F**2, ("G12",)),
    "sinh(u)/u": (call("sinh", F) / F, ("G12",)),
    "erf(u)/u": (call("erf", F) / F, ("G12",)),
    "atan(u)/sin(u)": (call("atan", F) / call("sin", F) * call("exp", -(F**2)), ("G12",)),
    "logcosh(u)/u^2": (call("logcosh", F) / F**2, ("G12",)),
    "asinh(3u)/u": (call("asinh", 3 * F) / F, ("G12",)),
    "(sqrt(1 + u) - 1)/u": ((call("sqrt", 1 + F**2) - 1) / F**2, ("G12",)),
    "(u - 0.3)^2/(u - 0.3)": ((F + 0.3 - 0.3) ** 3 / F, ("G12",)),
    "y*sin(u)*e^u/u": (Y * call("sin", F) * call("exp", F) / F, ("G12",)),
    "cos(|u|)": (call("cos", call("abs", F)), ("G2",)),
    "tanh(|u|)^2": (call("tanh", call("abs", F)) ** 2, ("G2",)),
    "min(|u|, 2)^2": (call("min", call("abs", F), 2) ** 2, ("G2",)),
    "u*sinh(|u|)*sign(u)": (call("sinh", call("abs", F)) * call("abs", F), ("G2",)),
    "log(e^u + 1)": (call("logaddexp", F, 0), ()),
    "log(e^u + e^-u)": (call("logaddexp", F, -F), ()),
    "max(u, 0) + log(1 + e^-|u|)": (call("max", F, 0) + call("log", 1 + call("exp", -call("abs", F))), ("V10",)),
    "u^y": (call("abs", F) ** Y, ("G4",)),
    "(u^2/(1 + u^2))^(2 + tanh u)": ((F**2 / (1 + F**2)) ** (2 + call("tanh", F)), ()),
}


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_functions_that_autograd_breaks(name: str, dtype: torch.dtype) -> None:
    """At u = 0, where the formula has no value or reverse mode loses it, and at tiny and moderate u, where cancellation
    would: value, gradient and second derivative are the limits."""
    body, rules = SMOOTH[name]
    loss = loss_of(body, "smooth")
    assert {a.rule for a in prepare(loss).applied} >= set(rules)
    points = [z for z in AROUND if name != "atan(u)/sin(u)" or abs(z) < 3]
    smooth = check(loss, [1.0] * len(points), points, dtype)
    assert smooth >= len(points) - (8 if name == "u^y" else 0)  # |u|^1 is not smooth at 0, nor where the oracle steps


SINGULAR: dict[str, Expr] = {
    "sqrt": call("sqrt", call("abs", F)), "cube root": call("abs", F) ** const(Fraction(1, 3)),
    "|u|^1.5": call("abs", F) ** const(1.5), "u^y": call("abs", F) ** (Y / 2), "y^u": call("abs", Y) ** F, "u^u": F**F,
    "|y|^(1 + u^2)": call("abs", Y) ** (1 + F**2), "x sqrt x": F * call("sqrt", call("abs", F)),
    "u log u": F * call("log", F), "u log|u|": F * call("log", call("abs", F)), "xlogy": call("xlogy", F, F),
    "y log y": Y * call("log", Y) + F, "y log(y/u)": Y * call("log", Y / F), "entropy": -(1 - F) * call("log", 1 - F),
    "u/|u|": F / call("abs", F), "|u|/u": call("abs", F) / F, "u^2/|u|": F**2 / call("abs", F),
    "hypot": call("hypot", F, Y), "asin": call("asin", F), "acos": call("acos", F), "acosh": call("acosh", F),
    "atanh": call("atanh", F), "logit": call("log", F / (1 - F)), "relu(1 - e^u)": call("relu", 1 - call("exp", F)),
    "min(e^u, 10)": call("min", call("exp", F), 10), "clamp(log|u|)": call("clamp", call("log", call("abs", F)), -2, 2),
    "min(1/u^2, 3)": call("min", 1 / F**2, 3), "one side": call("where", call("gt", F, 0), F ** const(1.5), 0 * F),
    "sqrt(u^4)": call("sqrt", F**4), "plog": call("plog", F), "psqrt": call("psqrt", F), "tie": call("max", F, Y * F),
}  # fmt: skip
WIDE = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -3.0, 1e-7, 100.0, -100.0, 1e4, -1e4]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", SINGULAR)
def test_singular_functions_have_finite_derivatives(name: str, dtype: torch.dtype) -> None:
    """At zeros, kinks and ends of domains, with targets 0 and 1 among others: gradient and Hessian are finite wherever
    the value is, and right where the function is smooth."""
    pairs = list(itertools.product([0.0, 1.0, -1.0, 2.0], WIDE))
    check(loss_of(SINGULAR[name], "singular"), [y for y, _ in pairs], [z for _, z in pairs], dtype)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("power", [Fraction(1, 2), Fraction(1, 3), Fraction(3, 2)], ids=str)
def test_a_probability_that_underflows_is_not_taken_for_positive(power: Fraction, dtype: torch.dtype) -> None:
    """softmax(z)^p is positive on the reals and 0 in a machine, where the slope of a root is infinite."""
    body = call("sqrt", F) if power == Fraction(1, 2) else F ** const(power)
    loss = Loss(Y * body, "root", "onehot", "prob")
    *_, value, slope, bend = derivatives(loss, [[0.0, 1.0, 0.0]] * 2, [[1e4, -1e4, 0.0], [0.0, 0.0, 0.0]], dtype)
    assert torch.isfinite(value).all() and torch.isfinite(slope).all() and torch.isfinite(bend).all()
    assert slope[1, 1].item() == pytest.approx(float(power) * 3 ** -float(power) * 2 / 3, rel=1e-5)


def test_values_at_filled_holes() -> None:
    """0/0 is the limit (G12), the sign is 0 at 0 (G8), 0*log(0) is 0 (G7); NaN and infinities give what they gave."""
    log = call("log", call("abs", F))
    for body, at_zero, far in (
        (call("sin", F) / F, 1.0, None),
        (F / call("abs", F), 0.0, None),
        (F * log, 0.0, math.inf),
    ):
        z = torch.tensor([0.0, 2.0, math.nan, math.inf], dtype=torch.float64)
        value = module_of(loss_of(body))(z, torch.ones_like(z))
        assert value[0].item() == at_zero
        assert value[1].item() == pytest.approx(float(evaluate(body, {F: 2}, dps=30)))
        assert math.isnan(value[2])
        assert math.isnan(value[3]) if far is None else value[3] == far


def test_poles_are_not_filled() -> None:
    """A denominator that vanishes faster than the numerator leaves an infinity, as the formula says."""
    for body in (1 / F, call("sin", F) / F**2, call("cos", F) / F, call("log", call("abs", F)) / F, F / F**2, Y / F):
        value = module_of(loss_of(body))(torch.zeros(1).double(), torch.ones(1).double())
        assert not torch.isfinite(value).any(), body
        assert not Filler(lambda x: False).filled(body) or body.op == "mul"


def test_hostile_products_take_little_time() -> None:
    """Hundreds of factors that all vanish together, and quotients of quotients: the work on power series is limited."""
    sines = [reduce(mul, [call("sin", k * F) for k in range(n, n + 200)]) for n in (1, 2)]
    nested = F
    for _ in range(150):
        nested = call("sin", nested) / nested
    for body in (sines[0] / sines[1], reduce(mul, [F] * 400) / reduce(mul, [F] * 400), nested):
        start = time.process_time()
        guard(loss_of(body))
        assert time.process_time() - start < 10


# -- the series that G12 stands on ------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ANALYTIC)
def test_series_of_operators(op: str) -> None:
    """The coefficients are the Taylor coefficients that mpmath finds with the record's meaning."""
    found = Expansion(F).of_factor(call(op, F))
    assert found is not None and len(found[0]) == TERMS
    with mpmath.workdps(80):
        expected = mpmath.taylor(lambda t: evaluate(call(op, F), {F: t}), 0, TERMS - 1)
        scale = evaluate(found[1], {})
        for n, (mine, true) in enumerate(zip(found[0], expected, strict=True)):
            assert abs(scale * mine.numerator / mine.denominator - true) < mpmath.mpf(10) ** -15 * (1 + abs(true)), n


def test_series_of_formulas() -> None:
    """Sums, products, quotients, powers and compositions have the series of mpmath; what is not analytic at 0, or has
    something else in it, has none."""
    e = Y - F
    for body in (call("exp", call("sin", e)) / (2 + e), call("sqrt", 1 + e) ** 3, call("log", 1 + e**2) * (F - Y),
                 call("pow", call("cosh", e), const(Fraction(-1, 2))), 1 - call("tan", e) / (1 - e),
                 call("hypot", call("sin", e), 3) * e, call("hypotm", e, 2) + e,
                 call("over_hypot", e, const("0.5"))):  # fmt: skip
        found = series(body, e)
        assert found is not None
        with mpmath.workdps(80):
            expected = mpmath.taylor(lambda t, body=body: evaluate(body, {Y: t, F: 0}), 0, 12)
            gaps = [abs(mpmath.mpf(a.numerator) / a.denominator - b) for a, b in zip(found[:13], expected, strict=True)]
            assert max(gaps) < 1e-15
    for body in (
        call("abs", e),
        1 / e,
        call("sqrt", e),
        call("log", e),
        call("hypot", 1 + e, 1),
        call("hypot", e, -1),
        e * F,
        e * param("a"),
        call("erf", e) + e,
    ):
        assert series(body, e) is None


def test_irrational_factors_are_for_factors_only() -> None:
    """Only what stands alone above the bar can carry an irrational number in front of its series."""
    assert set(SCALED) <= set(ANALYTIC)
    assert all(series(call(op, F), F) is None for op in SCALED)
