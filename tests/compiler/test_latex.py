r"""LaTeX: readable, unambiguous, and safe for any depth."""

from __future__ import annotations

import re
from fractions import Fraction

import mpmath
import pytest
from hypothesis import given, reject

import lossc
from lossc.compiler.errors import LimitError
from lossc.compiler.evaluate import evaluate
from lossc.compiler.ir import Expr, F, Y, coef, const, fold, node, rebuild
from lossc.compiler.loss import Loss
from lossc.compiler.ops import BOOL_KIND, OPS, OpRecord, call
from lossc.compiler.targets.latex import EXPANDED, latex_of, number, symbol, to_latex
from tests.strategies import exprs

EXAMPLES = [
    ("(y - f)^2", r"\left(y - f\right)^{2}"),
    ("abs(y - f)", r"\left|y - f\right|"),
    ("y/f", r"\frac{y}{f}"),
    ("-y*log(f)", r"-y \log f"),
    ("log(f)*y", r"\log\left(f\right) y"),
    ("log(y*f)", r"\log\left(y f\right)"),
    ("log(f)^2", r"\left(\log f\right)^{2}"),
    ("2*y*3", r"2 y \cdot 3"),
    ("2*3^y", r"2 \cdot 3^{y}"),
    ("y - (f - 1)", r"y - \left(f - 1\right)"),
    ("y + (f - 1)", r"y + \left(f - 1\right)"),
    ("y - -f", r"y - \left(-f\right)"),
    ("-(y + f)", r"-\left(y + f\right)"),
    ("y*(-2)", r"y \left(-2\right)"),
    ("(-2)^y", r"\left(-2\right)^{y}"),
    ("(y^2)^f", r"\left(y^{2}\right)^{f}"),
    ("y^2^f", r"y^{2^{f}}"),
    ("(y/f)^2", r"\left(\frac{y}{f}\right)^{2}"),
    ("exp(-(y - f)^2)", r"e^{-\left(y - f\right)^{2}}"),
    ("sqrt(y^2 + 1)", r"\sqrt{y^{2} + 1}"),
    ("sigmoid(f)*y", r"\sigma\left(f\right) y"),
    ("log1p(f)", r"\log\left(1 + f\right)"),
    ("max(y, f)^2", r"\max\left(y, f\right)^{2}"),
    ("clamp(f, 0, 1)", r"\operatorname{clamp}\left(f, 0, 1\right)"),
    ("1e-7 + eps*pi", r"10^{-7} + \varepsilon \pi"),
    ("y/3 + 2.5e-9*f", r"\frac{y}{3} + 2.5 \times 10^{-9} f"),
    ("sum_c(y*log(f))", r"\sum_{c} y \log f"),
    ("sum_c(y)*f", r"\left(\sum_{c} y\right) f"),
    ("sum_c(y - f)", r"\sum_{c} \left(y - f\right)"),
    ("mean_c(y)", r"\frac{1}{C} \left(\sum_{c} y\right)"),
    ("where(y > f, y, 0)", r"\begin{cases} y & \text{if } y > f \\ 0 & \text{otherwise} \end{cases}"),
]


@pytest.mark.parametrize(("text", "latex"), EXAMPLES, ids=[t for t, _ in EXAMPLES])
def test_examples(text: str, latex: str) -> None:
    """What a reader expects, with brackets where they are needed and nowhere else."""
    assert to_latex(lossc.parse(text)) == latex


def test_the_losses_of_the_thesis() -> None:
    """Pseudo-Huber of Table 1.1, with its parameter as a Greek letter; the method of `Loss` gives the same."""
    loss = lossc.parse("delta^2*(sqrt(1 + ((y - f)/delta)^2) - 1)", params={"delta": 1.0})
    expected = r"\delta^{2} \left(\sqrt{1 + \left(\frac{y - f}{\delta}\right)^{2}} - 1\right)"
    assert to_latex(loss) == loss.latex() == loss.emit("latex") == expected


@pytest.mark.parametrize(
    ("name", "shown"),
    [("delta", r"\delta"), ("w1", "w_{1}"), ("margin", r"\mathrm{margin}"), ("delta_1", r"\delta_{1}"), ("y", "y"),
     ("lambda_max", r"\lambda_{\mathrm{max}}"), ("a_b_c", r"a_{\mathrm{b\_c}}"), ("δ", r"\delta"),
     ("x1y", r"\mathrm{x1y}")],
)  # fmt: skip
def test_names_become_symbols(name: str, shown: str) -> None:
    """Greek letters, subscripts, and upright words."""
    assert symbol(name) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [("1/2", "0.5"), ("-1/3", r"-\frac{1}{3}"), ("1e-7", "10^{-7}"), ("-1e-7", "-10^{-7}"),
     ("25e19", r"2.5 \times 10^{20}")],
)  # fmt: skip
def test_numbers(value: str, shown: str) -> None:
    """Decimals, fractions and powers of ten."""
    assert number(Fraction(value)) == shown


def test_coefficients_have_indices() -> None:
    """φ_3 for the learnable coefficient 3."""
    assert latex_of(coef(3) * F) == r"\varphi_{3} f"


@pytest.mark.parametrize("record", OPS.values(), ids=lambda r: r.name)
def test_every_operator_has_a_form(record: object) -> None:
    """All operators print, as operand of each other kind of operator, with balanced braces and delimiters."""
    assert isinstance(record, OpRecord)
    condition = call("lt", Y, F)
    here = node(record.name, *(condition if record.kind_of(i) == BOOL_KIND else F for i in range(record.arity)))
    if record.gives == BOOL_KIND:
        here = call("where", here, Y, F)
    for whole in (here, here**2, 2 * here, here * F, -here, Y - here, Y / here, call("log", here)):
        well_formed(latex_of(whole))


def well_formed(text: str) -> None:
    """Braces, \\left/\\right and environments are balanced, and no operator meets another."""
    assert text.count("{") == text.count("}")
    assert text.count(r"\left") == text.count(r"\right")
    assert text.count(r"\begin{cases}") == text.count(r"\end{cases}")
    assert not re.search(r"[+-] [+-]|\^\{[^{}]*\}\^", text)
    assert "  " not in text


@given(exprs(max_leaves=15))
def test_any_expression_is_well_formed(body: Expr) -> None:
    """Balanced for all expressions, and the same text for the same expression."""
    text = latex_of(body)
    well_formed(text)
    assert latex_of(body) is not None and latex_of(body) == text


def parse_back(text: str) -> str:
    """The text of a small LaTeX formula as a formula of the language, by replacing what is replaced one to one."""
    for old, new in ((r"\left(", "("), (r"\right)", ")"), (r" \cdot ", "*"), (r"\log", "log"), ("{", "("), ("}", ")")):
        text = text.replace(old, new)
    text = re.sub(r"log ([yf]|[0-9]+)", r"log(\1)", text)
    return re.sub(r"(?<=[yf0-9)]) (?=[yf0-9(l])", "*", text)


def _plain(here: Expr, args: list[Expr]) -> Expr:
    """Whole numbers for all numbers, y for named constants: what `parse_back` can read."""
    if here.op in ("pi", "e", "eps"):
        return Y
    return const(abs(here.number.numerator) % 10) if here.op == "const" else rebuild(here, args)


SMALL = exprs(names=("add", "sub", "mul", "neg", "pow", "log"), params=(), class_axis=False, exotic=False, max_leaves=8)


@given(SMALL)
def test_brackets_say_what_binds_to_what(body: Expr) -> None:
    """For sums, products, powers, minus and log of y, f and whole numbers: read as a formula, the LaTeX has the value
    of the expression. So no bracket is missing."""
    body = fold(body, _plain)
    try:
        back = lossc.parse(parse_back(latex_of(body))).body
    except LimitError:  # 4^(4^4): no literal exponent of the language
        reject()
    env = {Y: Fraction(7, 5), F: Fraction(3, 4)}
    ours, theirs = evaluate(body, env, dps=40), evaluate(back, env, dps=40)
    assert str(ours) == str(theirs) or abs(ours - theirs) <= abs(ours) * 1e-30


def test_a_very_deep_formula() -> None:
    """10,000 levels print without recursion."""
    body = F
    for _ in range(10_000):
        body = call("sin", body)
    assert latex_of(body).count(r"\sin") == 10_000


def test_a_dag_that_unfolds_to_more_than_memory_is_refused() -> None:
    """LimitError L111 for a formula that would print for ever."""
    body = Y
    for _ in range(60):
        body = body * body
    with pytest.raises(LimitError, match="L111"):
        to_latex(Loss(body))


def test_expanded_operators_are_equal_to_what_they_expand_to() -> None:
    """log1p(x) is shown as log(1 + x), and so on: the same function, by the reference interpreter."""
    for name, expand in EXPANDED.items():
        record = OPS[name]
        args = (Y, F)[: record.arity]
        values: dict[Expr, object] = {Y: [0.3, 0.6, 0.4], F: [0.7, 0.2, 0.9]}
        before, after = (evaluate(e, values, num_classes=3, dps=40) for e in (node(name, *args), expand(*args)))
        assert all(mpmath.almosteq(a, b, rel_eps=1e-35) for a, b in zip(before, after, strict=True)), name
