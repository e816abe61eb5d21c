"""Text and back: for every expression and every loss, what is printed parses to the same object."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings

from lossc.compiler.errors import LimitError
from lossc.compiler.ir import ONE, TWO, F, Y, coef, const, node, param
from lossc.compiler.loss import Loss, Parameter
from lossc.compiler.printing import to_deap, to_definition, to_text, to_tree
from lossc.grammar import parse, parse_expr
from tests.strategies import PARAM_DEFAULTS, Expr, exprs, losses

THIRD, MINUS_TWO, HALF = const(Fraction(1, 3)), const(-2), const(Fraction(1, 2))


@settings(max_examples=2000)
@given(exprs(coefs=True))
def test_infix_text(root: Expr) -> None:
    """parse_expr(to_text(x)) is x."""
    assert parse_expr(to_text(root), params=PARAM_DEFAULTS) is root


@settings(max_examples=2000)
@given(exprs(coefs=True))
def test_deap_text(root: Expr) -> None:
    """parse_expr(to_deap(x)) is x."""
    assert parse_expr(to_deap(root), params=PARAM_DEFAULTS) is root


ARITHMETIC = ("add", "sub", "mul", "div", "neg", "pow", "where")


@settings(max_examples=1000)
@given(exprs(names=ARITHMETIC, max_leaves=20))
def test_arithmetic_text(root: Expr) -> None:
    """The same where precedence, signs and folding of literals matter most: signs and numbers only."""
    assert parse_expr(to_text(root), params=PARAM_DEFAULTS) is root


@settings(max_examples=300)
@given(losses(coefs=True, any_names=True))
def test_definitions(loss: Loss) -> None:
    """parse(to_definition(loss)) == loss, whatever the names, defaults and documentation."""
    assert parse(to_definition(loss)) == loss


@settings(max_examples=300)
@given(exprs(names=ARITHMETIC))
def test_brackets_are_needed(root: Expr) -> None:
    """Minimal: taking any one pair of brackets out of the text changes the meaning, or is no formula."""
    text = to_text(root)
    opened: list[int] = []
    for i, character in enumerate(text):
        if character == "(":
            opened.append(i)
        elif character == ")":
            start = opened.pop()
            if start == 0 or not (text[start - 1].isalnum() or text[start - 1] == "_"):
                without = text[:start] + text[start + 1 : i] + text[i + 1 :]
                assert _parsed(without) is not root, (text, without)


def _parsed(text: str) -> Expr | None:
    from lossc.compiler.errors import LosscError

    try:
        return parse_expr(text, params=PARAM_DEFAULTS)
    except LosscError:
        return None


@pytest.mark.parametrize(
    ("root", "text"),
    [
        (Y - F, "y - f"),
        (node("pow", Y - F, TWO), "(y - f)^2"),
        (node("neg", node("pow", TWO, TWO)), "-2^2"),
        (node("pow", MINUS_TWO, TWO), "(-2)^2"),
        (node("neg", TWO), "neg(2)"),
        (node("neg", MINUS_TWO), "neg(-2)"),
        (node("neg", node("neg", Y)), "--y"),
        (THIRD, "1/3"),
        (node("div", ONE, const(3)), "div(1, 3)"),
        (THIRD * Y, "1/3*y"),
        (Y * THIRD, "y*(1/3)"),
        (Y / THIRD, "y/(1/3)"),
        (THIRD / Y, "1/3/y"),
        (node("pow", THIRD, Y), "(1/3)^y"),
        (node("pow", Y, THIRD), "y^(1/3)"),
        (const(Fraction(-1, 3)) * Y, "-1/3*y"),
        (node("neg", THIRD), "neg(1/3)"),
        (Y - MINUS_TWO, "y - -2"),
        (MINUS_TWO * Y, "-2*y"),
        (node("neg", TWO * Y), "-(2*y)"),
        (node("neg", Y) * F, "-y*f"),
        (Y - (F - ONE), "y - (f - 1)"),
        ((Y - F) - ONE, "y - f - 1"),
        (Y / (F * TWO), "y/(f*2)"),
        (node("pow", node("pow", Y, F), TWO), "(y^f)^2"),
        (node("pow", Y, node("pow", F, TWO)), "y^f^2"),
        (node("pow", Y, node("neg", F)), "y^-f"),
        (node("where", node("lt", Y, F), Y, F), "where(y < f, y, f)"),
        (node("where", node("ge", Y + F, ONE), Y, F), "where(y + f >= 1, y, f)"),
        (HALF, "0.5"),
        (const(1e-7), "1e-7"),
        (const(10**20), "1e20"),
        (const(123456), "123456"),
        (node("e") + node("eps") * node("pi"), "e + eps*pi"),
        (node("e") + param("e"), "e() + e"),
        (node("num_classes") * coef(12), "num_classes*phi[12]"),
        (node("max", node("square", Y), node("log_softmax", F)), "max(square(y), log_softmax(f))"),
    ],
)
def test_printed_form(root: Expr, text: str) -> None:
    """The form that people read, and that it reads back."""
    assert to_text(root) == text
    assert parse_expr(text, params={"e": 1} if "e()" in text else {}) is root


def test_a_declared_parameter_hides_a_constant_even_if_unused() -> None:
    """The definition of a loss with a parameter `eps` writes the constant as a call, used or not."""
    loss = Loss(node("eps") * Y, params=(Parameter("eps", "positive", Fraction(1)),))
    assert "eps()*y" in to_definition(loss)
    assert parse(to_definition(loss)) == loss


def test_beyond_the_limits_text_is_written_but_not_read() -> None:
    """200 levels print; reading them names the limit. No text is made for what would not fit into memory."""
    deep = Y
    for _ in range(200):
        deep = node("sin", deep)
    text = to_text(deep)
    assert text.count("(") == 200
    with pytest.raises(LimitError) as caught:
        parse_expr(text)
    assert caught.value.diagnostic.code == "L103"
    doubled = Y
    for _ in range(60):
        doubled = doubled + doubled
    with pytest.raises(LimitError) as caught:
        to_text(doubled)
    assert caught.value.diagnostic.code == "L111"


@pytest.mark.parametrize("write", [to_text, to_deap, to_tree])
def test_ten_thousand_levels(write: object) -> None:
    """Printing does not recurse."""
    deep = Y
    for i in range(10_000):
        deep = node("neg", deep) if i % 2 else node("pow", deep, TWO)
    assert callable(write)
    assert len(write(deep)) > 1000


def test_tree() -> None:
    """One line a node, in the order of the formula; long and deep trees are cut with a count of the rest."""
    root = parse_expr("where(y > 0, log(f), 1/3)")
    expected = ["where", "├── gt", "│   ├── y", "│   └── 0", "├── log", "│   └── f", "└── 1/3"]
    assert to_tree(root).splitlines() == expected
    wide = parse_expr("+".join(["y"] * 600))
    lines = to_tree(wide, max_lines=50, max_depth=1000).splitlines()
    assert len(lines) == 51
    assert lines[-1] == f"… {wide.tree_size - 50:,} more"
    assert to_tree(wide, max_depth=3).splitlines()[-1].endswith("y")
    assert any(line.endswith(" more") for line in to_tree(wide, max_depth=3).splitlines())
