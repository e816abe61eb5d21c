"""Numbers as text: exact both ways, limited before any work is done; exact folding of constant expressions."""

from __future__ import annotations

import time
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossc.compiler.errors import LimitError, LosscError
from lossc.compiler.ir import ONE, Y, const, node
from lossc.compiler.literals import exact_value, read_literal, read_number, write_number
from tests.strategies import numbers


@settings(max_examples=1000)
@given(numbers())
def test_numbers_round_trip(number: Fraction) -> None:
    """read_number(write_number(x)) == x, exactly."""
    assert read_number(write_number(number)) == number


@settings(max_examples=500)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_are_written_as_python_writes_them(value: float) -> None:
    """The written form of a float is read by Python as the same float, and has no more digits than `repr`."""
    text = write_number(const(value).number)
    assert float(Fraction(text) if "/" in text else Decimal(text)) == value
    digits = sum(c.isdigit() for c in text.partition("e")[0].strip("0.")) if "/" not in text else 0
    assert digits <= 17 + text.count("0")


@settings(max_examples=500)
@given(st.from_regex(r"([0-9]{1,20}\.?[0-9]{0,20}|\.[0-9]{1,20})([eE][+-]?[0-9]{1,2})?", fullmatch=True))
def test_literals_mean_what_decimal_says(text: str) -> None:
    """The value of a literal, with `decimal` as the oracle."""
    with localcontext() as context:
        context.prec = 100
        assert read_literal(text) == Fraction(Decimal(text))


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("1/2", "0.5"), ("1/3", "1/3"), ("-1/3", "-1/3"), ("1e-7", "1e-7"), ("0.0001", "0.0001"), ("0.00001", "1e-5"),
        ("1500", "1500"), ("1e15", "1e15"), ("100000000000000", "100000000000000"), ("-2.50", "-2.5"), ("0", "0"),
        ("1.25e-9", "1.25e-9"), ("1/1024", "0.0009765625"), ("1e400", "1e400"), ("123456789e-400", "1.23456789e-392"),
    ],
)  # fmt: skip
def test_written_form(number: str, text: str) -> None:
    """Short decimals as people write them; ratios only where there is no decimal."""
    assert write_number(Fraction(number)) == text


@pytest.mark.parametrize(
    "text", ["1e401", "1e-401", "1e99999999999999", "1" * 41, "0." + "1" * 41, "1.5e-400", "1e" + "0" * 50 + "999"]
)
def test_limits(text: str) -> None:
    """Too long or too large: refused at once."""
    begin = time.process_time()
    with pytest.raises(LimitError, match="L105"):
        read_literal(text)
    assert time.process_time() - begin < 0.1


@pytest.mark.parametrize(
    "text", ["", "-", "1/0", "1/2/3", "--1", "+1", " 1", "1 ", "nan", "inf", "1_0", "0x1", "١", "1e", "e1"]
)
def test_what_is_no_number(text: str) -> None:
    """`read_number` takes what `write_number` writes, and not what Python's `Fraction` or `float` would."""
    with pytest.raises(LosscError, match="L008"):
        read_number(text)


@pytest.mark.parametrize("text", ["1e999999999", "1e-999999999", "9" * 2_000, "1E1_0_0_0_0"])
def test_constants_from_text_are_no_bombs(text: str) -> None:
    """`const` of such a text is a ValueError, within a moment."""
    begin = time.process_time()
    with pytest.raises(ValueError, match="at most 40 digits"):
        const(text)
    assert time.process_time() - begin < 0.1


def power(x: object, p: object) -> object:
    return node("pow", x, p)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("root", "value"),
    [
        (node("add", const(2), const(3)), Fraction(5)),
        (node("neg", node("div", ONE, const(3))), Fraction(-1, 3)),
        (power(const(2), power(const(3), const(2))), Fraction(512)),
        (power(const(2), const(-2)), Fraction(1, 4)),
        (power(const(9), power(const(9), const(9))), Fraction(10**40)),
        (power(const(-9), node("add", power(const(9), const(9)), const(0))), Fraction(-(10**40))),
        (power(const(0.5), power(const(9), const(9))), Fraction(0)),
        (power(const(1), power(const(9), const(9))), Fraction(1)),
        (power(const(-1), const(201)), Fraction(-1)),
        (node("div", ONE, const(0)), None),
        (power(const(0), const(-1)), None),
        (power(const(2), const(0.5)), None),
        (node("mul", const(0), Y), None),
        (node("pi"), None),
        (node("exp", const(0)), None),
    ],
)
def test_exact_values(root: object, value: Fraction | None) -> None:
    """Constants under arithmetic have an exact value, capped at 10^40; nothing else has one."""
    assert exact_value(root) == value  # type: ignore[arg-type]


def test_exact_values_of_large_trees_cost_little() -> None:
    """Work is bounded by the number of nodes, not by the size of the numbers."""
    root = const(Fraction(10**20 + 1, 10**20))
    begin = time.process_time()
    for _ in range(500):
        root = node("mul", root, root)
    assert exact_value(root) == 10**40
    assert time.process_time() - begin < 1
