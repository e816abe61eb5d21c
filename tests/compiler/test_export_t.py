"""The text targets and the PyTorch idioms: every operator's form, the writing of formulas, and the files themselves.

The oracles are the meaning of the records in mpmath, torch's own losses, and readers of FPCore and of the emitted Julia
that know nothing of lossc (tests/targets).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy as sp
import torch
from hypothesis import assume, given, settings
from torch.nn import functional

import lossc
from lossc.compiler import ops
from lossc.compiler.errors import LosscError, LossTypeError, UsageError
from lossc.compiler.evaluate import evaluate
from lossc.compiler.ir import CONST, Expr, F, Y, node, param, postorder
from lossc.compiler.literals import write_number
from lossc.compiler.loss import Loss
from lossc.compiler.passes.unroll import PLAIN, leaf_of, unrolled
from lossc.compiler.sympy_bridge import Bridge
from lossc.compiler.targets import emit
from lossc.compiler.targets.fallback import EQUAL
from lossc.compiler.targets.folded import folded
from lossc.compiler.targets.sympy import template
from lossc.grammar.library import named
from tests.strategies import exprs
from tests.targets import fpcore_text, julia_text

POINTWISE = [r for r in ops.OPS.values() if not r.axis]
MINE = ("torch-function", "lightning", "huggingface", "markdown", "sympy", "julia", "pysr", "fpcore")


def samples(record: ops.OpRecord) -> list[list[float]]:
    """Three points where an operator is defined."""
    found = []
    for share in (0.13, 0.5, 0.91):
        ends = [record.sample_of(i) for i in range(record.arity)]
        found.append([lo + (hi - lo) * (share if i % 2 == 0 else 1.04 - share) for i, (lo, hi) in enumerate(ends)])
    return found


def true_value(record: ops.OpRecord, point: Sequence[float]) -> Any:
    """The meaning in mpmath, a condition as 1 or 0."""
    args = [mpmath.mpf(v) for v in point]
    if record.name == "where":
        args[0] = point[0] > 0
    return record.meaning(mpmath.mp, *args)


def in_julia(record: ops.OpRecord, point: Sequence[float]) -> Any:
    form = record.lower["julia"]
    env: dict[str, Any] = {f"x{i}": np.float64(v) for i, v in enumerate(point)}
    code = form.replace("{0}", "x0 > 0", 1) if record.name == "where" else form
    return julia_text.value(code.format(*env), env, np.float64)


def in_fpcore(record: ops.OpRecord, point: Sequence[float]) -> Any:
    names = [f"x{i}" for i in range(record.arity)]
    shown = ["(> x0 0)", *names[1:]] if record.name == "where" else names
    text = f"(FPCore t ({' '.join(names)}) {record.lower['fpcore'].format(*shown)})"
    return fpcore_text.read(text)[0](*point)


def in_sympy(record: ops.OpRecord, point: Sequence[float]) -> Any:
    symbols = sp.symbols([f"x{i}" for i in range(record.arity)], real=True)
    code = template(node(record.name, *(param(str(s)) for s in symbols)))
    shown = ["x0 > 0", *map(str, symbols[1:])] if record.name == "where" else list(map(str, symbols))
    expression = eval(code.format(*shown), {"sp": sp, **{str(s): s for s in symbols}})  # noqa: S307
    return sp.lambdify(symbols, expression, "mpmath")(*point)


@pytest.mark.parametrize("table", [in_julia, in_fpcore, in_sympy], ids=["julia", "fpcore", "sympy"])
def test_every_operator_means_the_same(table: Callable[[ops.OpRecord, Sequence[float]], Any]) -> None:
    """Each form, evaluated by another reader, is the meaning of the record: to a few ulps."""
    key = table.__name__.removeprefix("in_")
    compared = 0
    for record in POINTWISE:
        if key not in record.lower and not (key == "sympy" and record.sympy):
            assert key == "fpcore" and record.name in EQUAL, record.name
            continue
        for point in samples(record):
            wanted, got = true_value(record, point), table(record, point)
            if isinstance(wanted, bool):
                assert bool(got) is wanted, (record.name, point)
            else:
                assert abs(float(got) - wanted) <= 1e-14 * max(1, abs(wanted)), (record.name, point, got, wanted)
            compared += 1
    assert compared > 150


def test_forms_are_finite_where_the_plain_formula_is_not() -> None:
    """Julia and FPCore keep what the stable operators are for, and Julia never throws where others give NaN."""
    far = {"softplus": 800.0, "sigmoid": -800.0, "log1psq": 1e200, "div1psq": 1e200, "logcosh": 1e-9, "log1mexp": -1e-9}
    for op, x in far.items():
        with mpmath.workdps(60):
            wanted = float(true_value(ops.OPS[op], [x]))
        for got in (in_julia(ops.OPS[op], [x]), in_fpcore(ops.OPS[op], [x])):
            assert float(got) == pytest.approx(wanted, rel=1e-12), op
    for op in ("log", "log1p", "sqrt", "asin", "acosh", "lgamma"):
        assert np.isnan(in_julia(ops.OPS[op], [-3.0])), op
    assert np.isnan(in_julia(ops.OPS["pow"], [-2.0, 0.5])) and in_julia(ops.OPS["pow"], [-2.0, 3.0]) == -8.0
    with pytest.raises(julia_text.DomainError):
        julia_text.value("log(x)", {"x": np.float64(-1.0)}, np.float64)


ARITHMETIC = ("add", "sub", "mul", "div", "neg", "square")


@given(exprs(names=ARITHMETIC, class_axis=False, exotic=False, max_leaves=12))
@settings(max_examples=40, deadline=None)
def test_brackets_are_those_of_python(body: Expr) -> None:
    """A formula written with the fewest brackets is the same program to Python: -(a + b), a - (b - c), (-a)^2."""
    assume(all(n.op in ARITHMETIC or n.op in ("arg", "param", CONST) for n in postorder(body)))
    names = {n: n.name for n in postorder(body) if n.op in ("arg", "param")}
    points = {leaf: Fraction(7 * i + 3, 4) for i, leaf in enumerate(names)}

    def leaf(here: Expr) -> str:
        return f"Fraction({str(here.number)!r})" if here.op == CONST else names[here]

    made = folded([body], template, leaf, brackets=True, width=30)
    env: dict[str, Any] = {"Fraction": Fraction, **{names[n]: v for n, v in points.items()}}
    try:
        for name, text in made.bindings:
            env[name] = eval(text, env)  # noqa: S307
        got = eval(made.results[0], env)  # noqa: S307
    except ZeroDivisionError:
        assume(False)
    wanted = evaluate(body, points, dps=60)
    assert abs(mpmath.mpf(got.numerator) / got.denominator - wanted) <= mpmath.mpf("1e-10") * (1 + abs(wanted))


def test_a_sign_takes_the_whole_operand() -> None:
    """exp(-{0}) of a difference is exp(-(y - f)), also inside a call."""
    made = folded([ops.call("sigmoid", Y - F)], template, lambda here: here.name, brackets=True)
    assert made.results == ("1 / (1 + sp.exp(-(y - f)))",)


@pytest.mark.parametrize("text", [
    "sum_c(y*log(f))", "logsumexp_c(f) - sum_c(y*f)", "mean_c((y - f)^2)*num_classes", "max_c(f - y)",
    "y*log_softmax(f) + softmax(f)^2", "log_cosoftmax(f)*cosoftmax(f)", "sum_c(3 + 0*f)",
])  # fmt: skip
def test_unrolled_classes_are_the_same_numbers(text: str) -> None:
    """What is written out for C classes is what the interpreter computes over them, in both kinds of forms."""
    body = lossc.parse(text, y="onehot", f="logit").body
    y, f = [0.0, 1.0, 0.0], [0.4, 1.3, 0.7]
    wanted = evaluate(body, {Y: y, F: f}, num_classes=3, dps=30)
    wanted = wanted if isinstance(wanted, list) else [wanted] * 3
    env = {leaf_of(a, i + 1): v for a, row in (("y", y), ("f", f)) for i, v in enumerate(row)}
    for forms in (PLAIN, EQUAL):
        for one, true in zip(unrolled(body, 3, forms), wanted, strict=True):
            assert mpmath.almosteq(evaluate(one, env, dps=30), true, 1e-20, 1e-20)


# -- LaTeX and Markdown -----------------------------------------------------------------------------------------------


def test_latex_equations() -> None:
    """A name, the gradient and an environment; the sum over the classes is said."""
    huber = named("pseudo_huber")
    assert str(emit(huber, "latex", name="L")).startswith(r"\mathcal{L}(y, f; \delta) = \delta^{2}")
    aligned = str(emit(huber, "latex", environment="align", gradient=True))
    assert aligned.split("\n")[0] == r"\begin{align}" and aligned.count("&=") == 2 and aligned.count(r" \\") == 1
    assert r"\frac{\partial \mathcal{L}}{\partial f}" in aligned
    assert r"= \sum_{c} \left|y - f\right|" in str(emit(named("mae_classes"), "latex", environment="equation"))
    assert "aligned" in str(emit(huber, "latex", environment="equation", gradient=True))
    with pytest.raises(UsageError, match="environment"):
        emit(huber, "latex", environment="verbatim}")


def test_markdown_page() -> None:
    """Formula, roles, hyper-parameters, gradient, source, and values that an implementation must have."""
    page = str(emit(named("pseudo_huber"), "markdown"))
    assert r"\mathcal{L}(y, f; \delta) = \delta^{2}" in page and r"\frac{\partial" in page
    assert "| $\\delta$ | delta | greater than 0 | 1 |" in page and "Source: thesis, Table 1.1" in page
    rows = [line.split(" | ") for line in page.split("\n") if line.startswith("| 2.1 ")]
    y, f, value, slope = (float(cell.strip("| ")) for cell in rows[0])
    assert value == pytest.approx(np.hypot(1, y - f) - 1, rel=1e-14)
    assert slope == pytest.approx((f - y) / np.hypot(1, y - f), rel=1e-14)
    assert "Values" not in str(emit(named("focal"), "markdown", values=False))


def test_markdown_shows_hostile_text_as_text() -> None:
    """A docstring cannot make a heading, a table, HTML or a formula."""
    page = str(emit(Loss(Y - F, "a_b", doc="# <b>x</b> | $y$\n`z`", source="[a](b)"), "markdown"))
    assert r"\# \<b\>x\</b\> \| \$y\$ \`z\`" in page and r"Source: \[a\](b)" in page and "# a\\_b" in page


# -- SymPy ------------------------------------------------------------------------------------------------------------


def test_sympy_files_run_and_are_the_formula(tmp_path: Path) -> None:
    """Files in a process of their own pass their self-tests; the expression is the bridge's, node by node."""
    losses = [named("pseudo_huber"), named("focal"), named("quantile"), lossc.parse("lgamma(f^2 + 1)*atan2(y, 2)")]
    for i, loss in enumerate(losses):
        (tmp_path / f"s{i}.py").write_text(str(emit(loss, "sympy")))
    body = losses[0].body
    known = str(Bridge([body]).to_sympy(body)).replace("p0", "delta")
    code = (
        "import runpy, sys\nfor p in sys.argv[1:]: last = runpy.run_path(p, run_name='__main__')['loss']\nprint(last)"
    )
    files = [str(tmp_path / f"s{i}.py") for i in (1, 2, 3, 0)]
    done = subprocess.run(
        [sys.executable, "-c", code, *files], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ok: ") == 4
    assert sp.sympify(done.stdout.strip().split("\n")[-1]) == sp.sympify(known)


def test_sympy_refuses() -> None:
    """A number of classes that cannot be, a formula beyond SymPy's recursion, coefficients."""
    with pytest.raises(UsageError, match="classes"):
        emit(named("focal"), "sympy", classes=1)
    body = F
    for _ in range(130):
        body = ops.call("sin", body)
    with pytest.raises(LosscError, match="too large for SymPy"):
        emit(Loss(body), "sympy")


# -- Julia and PySR ---------------------------------------------------------------------------------------------------


def test_julia_types_and_traits() -> None:
    """The kind of a loss is its base type, and a trait is true where it is proved, at the defaults alone."""
    mse, hinge, bce, huber = (julia_text.read(str(emit(named(n), "julia"))) for n in ("mse", "hinge", "bce", "huber"))
    assert (mse.base, hinge.base, bce.base, huber.base) == (
        "DistanceLoss",
        "MarginLoss",
        "SupervisedLoss",
        "DistanceLoss",
    )
    assert mse.traits["isstronglyconvex"] == mse.traits["issymmetric"] == hinge.traits["isclasscalibrated"] == "true"
    assert mse.traits["islipschitzcont"] == hinge.traits["isdifferentiable"] == "false"
    assert huber.traits["isconvex"] == "loss.delta == 1.0" and huber.traits["istwicedifferentiable"] == "false"
    assert huber.fields == {"delta": 1.0}
    assert huber.call("value", np.float64(3.0), np.float64(1.0)) == 1.5
    assert hinge.call("deriv", np.float64(0.5), np.float64(-1.0)) == 1.0
    single = huber.call("deriv", np.float32(0.25), np.float32(0.5), np.float32)
    assert single == -0.25 and single.dtype == np.float32


def test_julia_and_pysr_refuse_what_they_cannot_say() -> None:
    """No loss over the classes, no function that the text cannot import, no hyper-parameter without a number."""
    for target in ("julia", "pysr"):
        with pytest.raises(LossTypeError, match="runs over the classes"):
            emit(named("focal"), target)
    with pytest.raises(LossTypeError, match="SpecialFunctions"):
        emit(lossc.parse("erf(y - f)^2"), "pysr")
    assert "using SpecialFunctions: erf" in str(emit(lossc.parse("erf(y - f)^2"), "julia"))
    with pytest.raises(UsageError, match="needs a value"):
        emit(lossc.parse("(y - f)^2*w", params={"w": None}), "pysr")


def test_pysr_text_is_one_function() -> None:
    """A function of prediction and target, with the hyper-parameters as numbers; with weights if asked for."""
    plain = julia_text.read_function(str(emit(named("huber"), "pysr")))
    weighted = julia_text.read_function(str(emit(named("huber"), "pysr", weighted=True)))
    assert plain.arguments == ["prediction", "target"]
    assert plain(np.float64(3.0), np.float64(1.0)) == 1.5 and weighted(np.float64(3.0), np.float64(1.0), 2.0) == 3.0


# -- FPCore -----------------------------------------------------------------------------------------------------------


def test_fpcore_has_what_the_standard_asks_for() -> None:
    """Name, precondition of the roles, citation, and a body that is the `:spec`, stable."""
    value, slope, bend = fpcore_text.read(str(emit(named("charbonnier"), "fpcore")))
    assert value.properties[":name"] == '"charbonnier"' and value.properties[":cite"]
    assert value.properties[":pre"] == ["<", "0", "epsilon0"] and value.arguments == ["y", "f", "epsilon0"]
    spec = fpcore_text.Core("spec", value.arguments, {}, value.properties[":spec"])
    assert value(3.0, 1.0, 1e-3) == pytest.approx(spec(3.0, 1.0, 1e-3), rel=1e-14)
    step = 1e-6
    rise = (value(3.0, 1.0 + step, 0.5) - value(3.0, 1.0 - step, 0.5)) / (2 * step)
    bends = (slope(3.0, 1.0 + step, 0.5) - slope(3.0, 1.0 - step, 0.5)) / (2 * step)
    assert slope(3.0, 1.0, 0.5) == pytest.approx(rise, rel=1e-8)
    assert bend(3.0, 1.0, 0.5) == pytest.approx(bends, rel=1e-7)


def test_fpcore_over_the_classes() -> None:
    """Cross-entropy for two classes: the value and a gradient for each, finite for scores that exp cannot hold."""
    cores = fpcore_text.read(str(emit(named("cross_entropy"), "fpcore", classes=2)))
    assert [c.name for c in cores][:3] == ["cross-entropy", "cross-entropy-gradient-1", "cross-entropy-gradient-2"]
    assert cores[0](1.0, 0.0, -900.0, 900.0) == 1800.0
    assert [c(1.0, 0.0, -900.0, 900.0) for c in cores[1:3]] == [-1.0, 1.0]


# -- PyTorch, as others use it ----------------------------------------------------------------------------------------


def loaded(target: str, loss: Loss, folder: Path) -> Any:
    """An emitted file as a module, its self-test run."""
    from tests.targets.parity import load

    path = folder / f"{loss.name}_{target.replace('-', '_')}.py"
    path.write_text(str(emit(loss, target)))
    module = load(path)
    module._self_test()
    return module


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_plain_function_is_torch_s(tmp_path: Path) -> None:
    """Class indices, ignored ones and reductions as in F.cross_entropy; scripted, and under vmap and grad."""
    function = loaded("torch-function", named("cross_entropy"), tmp_path).cross_entropy_loss
    z, y = torch.randn(6, 4, dtype=torch.float64), torch.tensor([0, 3, -100, 1, 2, -100])
    scripted = torch.jit.script(function)
    for reduction in ("mean", "sum", "none"):
        wanted = functional.cross_entropy(z, y, reduction=reduction)
        assert torch.allclose(function(z, y, reduction=reduction), wanted, rtol=1e-14)
        assert torch.allclose(scripted(z, y, reduction=reduction), wanted, rtol=1e-14)
    rows = torch.softmax(torch.randn(6, 4, dtype=torch.float64), 1)
    assert torch.allclose(function(z, rows), functional.cross_entropy(z, rows), rtol=1e-14)
    slopes = torch.func.vmap(torch.func.grad(lambda a, b: function(a, b)))(z, rows)
    assert torch.allclose(slopes, torch.softmax(z, 1) - rows, rtol=1e-12)
    assert function(z.half(), y).dtype == torch.float32
    with pytest.raises(ValueError, match="class indices"):
        function(z, y[:3])


def test_module_takes_what_timm_gives(tmp_path: Path) -> None:
    """Smoothed class indices as torch has them, rows of Mixup as they are, and 0/1 targets from class indices."""
    module = loaded("lightning", named("cross_entropy"), tmp_path)
    z, y = torch.randn(5, 3), torch.tensor([2, 0, -100, 1, 1])
    wanted = functional.cross_entropy(z, y, label_smoothing=0.1)
    assert torch.allclose(module.Loss(smoothing=0.1)(z, y), wanted, rtol=1e-5)
    mixed = torch.tensor([[0.3, 0.7, 0.0]] * 5)
    assert torch.allclose(module.Loss(smoothing=0.1)(z, mixed), functional.cross_entropy(z, mixed), rtol=1e-5)
    assert module.Loss(smoothing=0.1).hparams["smoothing"] == 0.1
    binary = loaded("lightning", named("bce"), tmp_path).Loss(smoothing=0.2)
    dense = functional.one_hot(torch.tensor([2, 0]), 3) * 0.8 + 0.2 / 3
    got = binary(z[:2], torch.tensor([2, 0]))
    assert torch.allclose(got, functional.binary_cross_entropy_with_logits(z[:2], dense), rtol=1e-5)
    with pytest.raises(ValueError, match="smoothing"):
        module.Loss(smoothing=1.0)


def test_compute_loss_func_counts_as_the_trainer_does(tmp_path: Path) -> None:
    """The sum over the labels that count, divided by num_items_in_batch; shifted for a causal model."""
    function = loaded("huggingface", named("cross_entropy"), tmp_path).compute_loss_func
    z, y = torch.randn(2, 5, 7), torch.tensor([[1, 2, -100, 4, 5], [0, -100, 3, 6, 1]])
    flat = functional.cross_entropy(z.flatten(0, 1), y.flatten(), reduction="sum")
    assert torch.allclose(function({"logits": z}, y, num_items_in_batch=torch.tensor(11)), flat / 11, rtol=1e-5)
    assert torch.allclose(function((z,), y), flat / 8, rtol=1e-5)
    shifted = functional.cross_entropy(z[:, :-1].flatten(0, 1), y[:, 1:].flatten())
    assert torch.allclose(function({"logits": z}, y, causal=True), shifted, rtol=1e-5)
    squared = loaded("huggingface", named("mse"), tmp_path).compute_loss_func
    assert squared((torch.tensor([[1.0], [3.0]]),), torch.tensor([0.0, 0.0]), num_items_in_batch=4) == 2.5


# -- all of them ------------------------------------------------------------------------------------------------------


def test_files_are_deterministic_and_hold_no_hostile_text() -> None:
    """The same bytes twice; a docstring, a source and names that want out stay inside comments and strings."""
    hostile = Loss(
        (Y - F) ** 2, "lambda", doc='"""\n#$(x) \\ "; end\nimport os', source='"""; (FPCore x () x)',
        params=lossc.parse("w*y", params={"w": 1.0}).params,
    )  # fmt: skip
    for target in MINE:
        assert emit(hostile, target) == emit(hostile, target)
        text = str(emit(hostile, target))
        if text.startswith('"""'):
            compile(text, target, "exec")
            assert "import os" not in [line.strip() for line in text.split("\n")]
    assert len(fpcore_text.read(str(emit(hostile, "fpcore")))) == 3
    assert write_number(Fraction(1, 3)) in str(emit(lossc.parse("(y - f)/3"), "fpcore"))
