"""The accuracy report: its ulps are the dtype's, its truths are those of independent closed forms, and what it says of
a program is what that program does."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from pathlib import Path

import mpmath
import pytest
import torch

import lossc
from lossc.compiler.errors import UsageError
from lossc.compiler.formats import FORMATS
from lossc.compiler.ir import F
from lossc.compiler.loss import Loss
from lossc.compiler.roles import ROLES
from lossc.compiler.targets.options import DTYPES, Options
from lossc.grammar import parse
from lossc.grammar.library import named
from lossc.runtime.accuracy import accuracy, truth
from lossc.runtime.accuracy.figure import check, figure
from lossc.runtime.accuracy.formats import (
    bits,
    holds,
    nearest,
    of_pattern,
    pattern_of,
    patterns,
    shortest,
    ulps,
    vanishes,
)  # fmt: skip
from lossc.runtime.accuracy.points import MEASURES, Batch, batches
from lossc.runtime.accuracy.truth import KINK, UNDEFINED, Oracle
from lossc.runtime.compiled import to_torch

DIGITS = 80
SRC = Path(__file__).resolve().parents[2] / "src"


def at(y: float, f: float) -> Batch:
    """One elementwise point in float64."""
    return Batch("float64", "float-uniform", None, ((y,),), ((f,),))


def row(label: int, z: tuple[float, ...]) -> Batch:
    """One classwise point in float64, with a one-hot target."""
    target = tuple(float(k == label) for k in range(len(z)))
    return Batch("float64", "float-uniform", len(z), (target,), (z,), one_hot=True)


def close(got: object, want: object) -> bool:
    """Equal to 20 digits."""
    with mpmath.workdps(DIGITS):
        return bool(abs(mpmath.mpf(got) - want) <= mpmath.mpf(10) ** -20 * abs(want))


# -- formats ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DTYPES)
def test_formats_are_torchs(name: str) -> None:
    """Rounding, neighbours, range and the smallest number of a format are those of torch's dtype."""
    form, dtype, rng = FORMATS[name], getattr(torch, name), random.Random(name)
    info, smallest = torch.finfo(dtype), float(form.smallest)
    assert form.largest == info.max
    assert of_pattern(patterns(form), form) == info.max
    assert of_pattern(1, form) == form.smallest
    assert torch.tensor(smallest, dtype=dtype) > 0 == torch.tensor(smallest / 2.1, dtype=dtype)
    for _ in range(500):
        x = of_pattern(index := rng.randint(1, patterns(form) - 1), form)
        assert torch.tensor(x, dtype=dtype).item() == x
        assert pattern_of(x, form) == index
        step = of_pattern(index + 1, form)
        assert torch.nextafter(torch.tensor(x, dtype=dtype), torch.tensor(math.inf, dtype=dtype)).item() == step
        between = x + rng.random() * (step - x)
        assert nearest(between, form) == torch.tensor(between, dtype=torch.float64).to(dtype).item()
        assert torch.tensor(float(shortest(x, form)), dtype=torch.float64).to(dtype).item() == x


@pytest.mark.parametrize("name", DTYPES)
def test_an_ulp_is_the_distance_of_neighbours(name: str) -> None:
    """The error of the next number is one ulp, also among the subnormal ones; rounding is wrong by at most half."""
    form, rng = FORMATS[name], random.Random(name)
    with mpmath.workdps(60):
        for index in (1, 2, 3, *(rng.randint(1, patterns(form) - 1) for _ in range(300))):
            x, above = of_pattern(index, form), of_pattern(index + 1, form)
            assert ulps(above, mpmath.mpf(x), form, mpmath.mp) == 1
            middle = (mpmath.mpf(x) + mpmath.mpf(above)) / 2
            assert ulps(x, middle, form, mpmath.mp) == 0.5
        assert ulps(float(form.smallest), mpmath.mpf(0), form, mpmath.mp) == 1
    assert bits(ulps(math.nan, mpmath.mpf(1), form, mpmath.mp), form) == form.width
    assert bits(1.0, form) == 1


@pytest.mark.parametrize("name", DTYPES)
def test_what_a_format_holds(name: str) -> None:
    """A truth is representable if torch rounds it to a finite number, and vanishes if torch rounds it to 0."""
    form, dtype = FORMATS[name], getattr(torch, name)
    if name != "float64":
        edge = math.ldexp(1, form.greatest + 1) - math.ldexp(1, form.greatest - form.digits)
        for x in (edge, edge * (1 - 2.0**-20)):  # torch rounds to float32 on the way to half precision
            assert holds(mpmath.mpf(x), form) == bool(torch.isfinite(torch.tensor(x, dtype=torch.float64).to(dtype)))
        for x in (float(form.smallest / 2), float(form.smallest * 3 / 4)):
            assert vanishes(mpmath.mpf(x), form) == (torch.tensor(x, dtype=torch.float64).to(dtype).item() == 0)
    assert holds(mpmath.mpf(float(form.largest)), form)
    assert not holds(mpmath.mpf(2) ** (form.greatest + 1), form)


# -- points -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("measure", MEASURES)
def test_points_are_numbers_of_the_dtype_and_the_role(dtype: str, measure: str) -> None:
    """Every input of every named loss is exact in the dtype, lies in its role, and distributions sum to exactly 1."""
    for loss in (named(n) for n in ("mse", "poisson_rate", "bce", "hinge", "kl_divergence", "nll", "mape")):
        given = ROLES["logit" if loss.link != "identity" else loss.f]
        for batch in batches(loss, dtype, measure, 60):
            for role, rows in ((ROLES[loss.y], batch.targets), (given, batch.inputs)):
                flat = [v for one in rows for v in one]
                rounded = torch.tensor(flat, dtype=torch.float64).to(getattr(torch, dtype)).to(torch.float64)
                assert rounded.tolist() == flat
                assert all(v in role.range and (v > 0 or role.range.lo <= 0) for v in flat)
                assert all(v in role.values for v in flat if role.values)
            if loss.y in ("prob", "onehot"):
                assert all(sum(one) == 1.0 for one in batch.targets)


def test_float_uniform_is_uniform_over_the_numbers() -> None:
    """Of all float32 numbers 127 in 255 are below 1 in size, and half are negative: so are those drawn, within 5σ."""
    (batch,) = batches(named("mse"), "float32", "float-uniform", 4000)
    values = [v for (v,) in batch.inputs]
    for share, expected in (
        (sum(abs(v) < 1 for v in values) / 4000, 127 / 255),
        (sum(v < 0 for v in values) / 4000, 0.5),
        (sum(abs(v) < 2.0**-63 for v in values) / 4000, 64 / 255),
    ):
        assert abs(share - expected) < 5 * math.sqrt(0.25 / 4000)


# -- truth ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("f", [1e-300, -1e-20, 0.5, -40.0, 300.0, -700.0, 1e5, 1e300])
def test_truth_of_the_logistic_loss(f: float) -> None:
    """log(1 + exp(f)) - y f, and its gradient, at y = 1: log1p(exp(-f)) and -1/(1 + exp(f)), wherever f is."""
    loss = parse("log(1 + exp(f)) - y*f")
    (found,) = Oracle(loss).truths(at(1.0, f))
    with mpmath.workdps(1000):
        x = mpmath.mpf(f)
        small = mpmath.exp(-abs(x))
        value = mpmath.log1p(small) + (0 if x > 0 else -x)
        slope = -small / (1 + small) if x > 0 else -1 / (1 + small)
        for got, want in ((found.value, value), (found.slopes[0], slope)):
            assert got == want or close(got, want) or max(abs(got), abs(want)) < mpmath.mpf(10) ** -340


@pytest.mark.parametrize("margin", [0.5, 80.0, 3000.0, 1e30, 1e308])
def test_truth_of_a_softmax_that_saturates(margin: float) -> None:
    """log(1 - p) of a class that is all but certain is -margin + log(2), and its slope -1, at any margin."""
    loss = parse("y*log(1 - f)", y="onehot", f="prob")
    (found,) = Oracle(loss).truths(row(0, (margin, 0.0, 0.0)))
    with mpmath.workdps(2000):
        rest = 2 * mpmath.exp(-mpmath.mpf(margin)) if margin < 1e4 else mpmath.mpf(0)
        value = mpmath.log(2) - margin - mpmath.log1p(rest)
        assert close(found.value, value)
        assert close(found.slopes[0], -1 / (1 + rest))


def test_truth_of_cross_entropy() -> None:
    """Value and gradient are those of the textbook, logsumexp(z) - z_y and softmax(z) - 1_y, for rows of any size."""
    oracle, rng = Oracle(named("cross_entropy")), random.Random(5)
    for _ in range(30):
        z = tuple(rng.gauss(0, 1) * 10 ** rng.uniform(-3, 2) for _ in range(rng.choice((2, 3, 10))))
        label = rng.randrange(len(z))
        (found,) = oracle.truths(row(label, z))
        with mpmath.workdps(600):
            total = mpmath.fsum(mpmath.exp(mpmath.mpf(v)) for v in z)
            assert close(found.value, mpmath.log(total) - mpmath.mpf(z[label]))
            for k, (v, slope) in enumerate(zip(z, found.slopes, strict=True)):
                want = -mpmath.fsum(mpmath.exp(mpmath.mpf(u)) for j, u in enumerate(z) if j != k) / total
                assert close(slope, want if k == label else mpmath.exp(mpmath.mpf(v)) / total)


@pytest.mark.parametrize(
    ("formula", "y", "f", "value", "slope"),
    [
        ("abs(y - f)", 1.0, 1.0, 0, KINK),
        ("(y - f)^2", 1.0, 1.0, 0, 0),
        ("where(y >= f, 0.3, 0.7)*(y - f)^2", 1.0, 1.0, 0, 0),
        ("sqrt(f^4)", 0.0, 0.0, 0, 0),
        ("sqrt(abs(f))", 0.0, 0.0, 0, KINK),
        ("sign(f)*sqrt(abs(f))", 0.0, 0.0, 0, KINK),
        ("relu(1 - y*f)", 1.0, 1.0, 0, KINK),
        ("sqrt(f)", 0.0, 0.0, 0, KINK),
        ("max(f, 0.25)", 0.0, 0.25, 0.25, KINK),
        ("sqrt(y*f)", 0.0, 0.5, 0, 0),
        ("log(f)", 0.0, -1.0, UNDEFINED, UNDEFINED),
        ("log(1 + f)", 0.0, 1e-200, 1e-200, 1),
        ("0*log(f)", 0.0, -1.0, UNDEFINED, UNDEFINED),
    ],
)
def test_truth_at_kinks_and_edges(formula: str, y: float, f: float, value: object, slope: object) -> None:
    """A kink and the edge of a domain have no gradient; a smooth point has one, though the closed form may be 0/0."""
    (found,) = Oracle(parse(formula)).truths(at(y, f))
    assert found.value == value or close(found.value, mpmath.mpf(value))  # type: ignore[arg-type]
    assert found.slopes[0] == slope or close(found.slopes[0], mpmath.mpf(slope))  # type: ignore[arg-type]


def test_a_wrong_closed_form_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """If differentiate were wrong, the truth would still be right: differences contradict it and take its place."""
    monkeypatch.setattr(truth, "differentiate", lambda loss: loss.with_body(2 * F))
    loss = parse("exp(f)*y")
    oracle = Oracle(loss)
    (batch,) = batches(loss, "float64", "data-like", 5)
    found = oracle.truths(batch)
    assert oracle.slope is None
    for one, (y,), (f,) in zip(found, batch.targets, batch.inputs, strict=True):
        with mpmath.workdps(DIGITS):
            assert close(one.slopes[0], mpmath.exp(mpmath.mpf(f)) * mpmath.mpf(y))


# -- the report -------------------------------------------------------------------------------------------------------


def test_squared_error_is_as_accurate_as_it_must_be() -> None:
    """Three half-ulp errors at most for the value (two of them from the residual, squared), one for the gradient.

    In relative terms 3u, which is up to 3 ulp just above a power of 2; 2(y - f) is rounded once.
    """
    report = accuracy(named("mse"), points=150)
    for entry in report.entries:
        assert entry.count > 0
        assert entry.max_bits is not None
        assert entry.max_bits <= (math.log2(1 + 3.01) if entry.of == "value" else math.log2(1.5))
        assert (entry.not_finite, entry.dead) == (0, 0)


def test_before_and_after_of_the_logistic_loss() -> None:
    """As written exp overflows, compiled it does not; and the worst point is what torch makes of that very input."""
    loss = parse("log(1 + exp(f)) - y*f")
    report = accuracy(loss, dtypes=("float32",), points=100)
    assert sum(e.not_finite for e in report.select(program="before")) > 20
    assert sum(e.not_finite for e in report.select(program="after")) == 0
    modules = {"before": to_torch(loss, "none", options=Options(literal=True)), "after": to_torch(loss, "none")}
    for entry in report.select(of="value"):
        assert entry.worst is not None
        y, f = (torch.tensor(v, dtype=torch.float32) for v in (entry.worst.target, entry.worst.input))
        got = modules[entry.program](f, y).item()
        assert got == entry.worst.got or (math.isnan(got) and math.isnan(entry.worst.got))
    assert "as written, the" in report.verdict()


def test_a_nan_where_there_is_a_number_is_a_failure() -> None:
    """The issue's own example: finite values, and a gradient that is NaN everywhere in the formula as written."""
    loss = parse("abs(log(sqrt(y*f) + eps))", y="onehot", f="prob")
    report = accuracy(loss, dtypes=("float32",), points=20)
    for before in report.select(program="before", of="gradient"):
        assert before.not_finite == before.count == len(before.failures) > 0
        assert all(math.isnan(p.got) and p.bits == 32 for p in before.failures)
    assert all(e.not_finite == 0 for e in report.select(program="after"))
    assert {e for e, _ in report.failures(program="before")} == set(report.select(program="before", of="gradient"))


def test_dead_gradients_are_counted() -> None:
    """The gradient sigmoid(f) - 1 is 0 in float32 beyond f = 17, though the true one is not: each is counted."""
    report = accuracy(parse("log(1 + exp(f)) - f", f="logit"), dtypes=("float32",), points=200)
    assert sum(e.dead for e in report.select(of="gradient", program="before")) > 0
    entry = next(e for e in report.select(of="gradient", program="before") if e.dead)
    assert entry.worst_dead is not None
    assert entry.worst_dead.got == 0
    assert float(entry.worst_dead.truth) != 0
    assert entry.worst_dead.bits > 23


def test_a_clamp_is_named_with_the_share_of_data_that_it_silences() -> None:
    """relu(1 - y f) passes nothing where 1 - y f < 0: the share is that of the very points measured."""
    loss = named("hinge")
    report = accuracy(loss, dtypes=("float32",), points=200)
    (batch,) = batches(loss, "float32", "data-like", 200)
    expected = sum(1 - y * f < 0 for (y,), (f,) in zip(batch.targets, batch.inputs, strict=True)) / 200
    (clamp,) = report.clamped
    assert (clamp.part, clamp.operator, clamp.condition) == ("1 - y*f", "relu", "1 - y*f < 0")
    assert clamp.share == clamp.silent == pytest.approx(expected)


@pytest.mark.parametrize(
    ("formula", "operator", "condition"),
    [
        ("clog(y*f)", "clog", "abs(y*f) < eps"),
        ("csqrt(f) + f", "csqrt", "abs(f) < eps"),
        ("clamp(f, -1, 2)", "clamp", "f < -1"),
        ("max(f*y, 0.5)", "max", "f*y < 0.5"),
        ("y + min(2, f)", "min", "f > 2"),
    ],
)
def test_every_clamping_operator_is_found(formula: str, operator: str, condition: str) -> None:
    """The part that faces f, and the condition under which it is cut off."""
    report = accuracy(parse(formula), dtypes=("float32",), points=12)
    assert (report.clamped[0].operator, report.clamped[0].condition) == (operator, condition)
    assert accuracy(parse("max(y, 0.5)*f"), dtypes=("float32",), points=12).clamped == ()


def test_an_added_constant_is_a_bias() -> None:
    """log(f + 1e-3) differs from log(f) by log1p(1e-3/f): at every data-like input by more than an ulp."""
    report = accuracy(parse("log(f + 1e-3)", f="positive"), dtypes=("float32",), points=60)
    (bias,) = report.biased
    (batch,) = batches(parse("log(f + 1e-3)", f="positive"), "float32", "data-like", 60)
    assert (bias.part, bias.constant, bias.share, bias.needed) == ("f", "0.001", 1.0, 0)
    assert bias.most == pytest.approx(max(math.log1p(1e-3 / f) for (f,) in batch.inputs))


def test_the_report_is_deterministic_and_is_data() -> None:
    """The same arguments give the same report, another seed other points; JSON knows every number in it."""
    loss = parse("exp(y*f)")
    report = accuracy(loss, points=30)
    assert report.as_json() == accuracy(loss, points=30).as_json()
    assert report.as_json() != accuracy(loss, points=30, seed=1).as_json()
    data = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert (data["loss"], data["points"], len(data["entries"])) == ("loss", 30, 4 * 2 * 2 * 2)
    assert lossc.accuracy is accuracy


def test_points_without_a_truth_are_counted_not_measured() -> None:
    """A loss that is undefined everywhere is said to be; one that is so at half of the points is measured elsewhere."""
    nowhere = accuracy(parse("log(-1 - f^2)"), points=15, dtypes=("float32",))
    assert "nothing was measured" in nowhere.verdict()
    assert all(s.undefined == s.points for s in nowhere.skipped)
    half = accuracy(parse("log(f)"), points=60, dtypes=("float32",))
    for s in half.skipped:
        (value,) = half.select(measure=s.measure, of="value", program="after")
        assert value.count + s.undefined == s.points
        assert 10 < s.undefined < 50


def test_bad_calls_are_usage_errors() -> None:
    """An unknown dtype, a number of points that cannot be, a missing default: the call is at fault, and is told how."""
    loss = named("mse")
    free = parse("delta*(y - f)^2", params={"delta": None})
    for call, code in (
        (lambda: accuracy(loss, dtypes=("float8",)), "L235"),
        (lambda: accuracy(loss, dtypes=()), "L235"),
        (lambda: accuracy(loss, points=0), "L235"),
        (lambda: accuracy(free), "L242"),
        (lambda: check("a.jpg"), "L260"),
        (lambda: check("png"), "L260"),
    ):
        with pytest.raises(UsageError) as caught:
            call()
        assert caught.value.diagnostic.code == code


@pytest.mark.parametrize(
    "formula", ["3", "y", "f", "exp(exp(exp(f)))", "sin(f*y)", "lgamma(abs(f)) - y*f", "1/(y - f)"]
)
def test_odd_losses_are_measured(formula: str) -> None:
    """Constants, towers of exp and poles are measured like any other loss, and their compiled error is a number."""
    report = accuracy(parse(formula), points=12, dtypes=("float32", "float16"))
    assert any(e.count for e in report.entries)
    assert report.verdict().count("\n") == 2


def test_a_large_formula_takes_fewer_points() -> None:
    """The points of a formula of hundreds of nodes are so few that it still takes seconds, and the report says so."""
    terms = " + ".join(f"tanh({k}*y - f)^2" for k in range(1, 60))
    report = accuracy(parse(terms), dtypes=("float32",))
    assert report.points < 200
    assert any("points" in note for note in report.notes)


# -- the figure -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pseudo_huber", "cross_entropy", "hinge", "kl_divergence", "poisson_rate"])
def test_figures_are_drawn(name: str) -> None:
    """A figure of each kind of line is a PNG, in every dtype that is asked for."""
    pytest.importorskip("matplotlib")
    assert figure(named(name), "float16").startswith(b"\x89PNG\r\n")


def test_a_figure_is_the_same_every_time_and_touches_no_global_state() -> None:
    """An SVG is deterministic to the byte and says what its axes are; pyplot is never imported."""
    pytest.importorskip("matplotlib")
    loss: Loss = parse("log(1 + exp(f)) - y*f")
    first = figure(loss, suffix="svg")
    assert first == figure(loss, suffix="svg")
    for label in (b"error of the value (bits)", b"residual y - f", b"as written", b"compiled"):
        assert label in first
    assert figure(loss, suffix="pdf").startswith(b"%PDF")
    code = (
        "import sys, lossc; from lossc.runtime.accuracy.figure import figure; figure(lossc.parse('(y - f)^2'))\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    path = [str(SRC), *sys.path]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"
