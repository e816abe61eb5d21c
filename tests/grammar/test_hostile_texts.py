"""Texts from anywhere: each of these ends in an error that names what is wrong, within a second, or is read safely."""

from __future__ import annotations

import random
import re
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossc.compiler.errors import LosscError
from lossc.compiler.ops import names
from lossc.compiler.printing import to_definition, to_text
from lossc.grammar import DIALECTS, parse, parse_expr, parse_losses
from tests.strategies import PARAM_DEFAULTS, Expr, exprs

SECONDS = 1.0

HOSTILE: dict[str, tuple[str, str]] = {
    # towers and long numbers
    "tower of powers": ("9**9**9**9", "L106"),
    "tower with ^": ("9^9^9^9^9^9", "L106"),
    "tower in a call": ("pow(9, pow(9, pow(9, 9)))", "L106"),
    "tower by names": ("a = 9^9; b = 9^a; b", "L106"),
    "tower in a helper": ("g(a) = 9^a; g(g(9))", "L106"),
    "negative tower": ("9^-9^9^9", "L106"),
    "huge quotient as exponent": ("y^(1/1e-300)", "L106"),
    "huge exponent": ("1e999999999", "L105"),
    "huge negative exponent": ("1e-999999999", "L105"),
    "huge exponent with zeros": ("0e999999999", "L105"),
    "exponent of 5,000 digits": ("1e" + "9" * 5_000, "L105"),
    "number of 5,000 digits": ("9" * 5_000, "L105"),
    "fraction of 5,000 digits": ("0." + "1" * 5_000, "L105"),
    "zeros behind the point": ("0." + "0" * 5_000 + "1", "L105"),
    "product beyond a literal": ("1e400/1e-400*y", ""),
    "default that is a bomb": ("loss a(y, f; d = 1e999999999): y", "L105"),
    # nesting
    "5,000 parentheses": ("(" * 5_000 + "y" + ")" * 5_000, "L101"),
    "4,900 parentheses": ("(" * 4_900 + "y" + ")" * 4_900, "L103"),
    "1,000 parentheses": ("(" * 1_000 + "y" + ")" * 1_000, "L103"),
    "101 parentheses": ("(" * 101 + "y" + ")" * 101, "L103"),
    "2,000 open parentheses": ("(" * 2_000, "L103"),
    "3,000 closed parentheses": (")" * 3_000, "L004"),
    "1,000 nested calls": ("sin(" * 1_000 + "y" + ")" * 1_000, "L103"),
    "500 nested helpers": ("g(a) = sin(a); " + "g(" * 500 + "y" + ")" * 500, "L103"),
    "4,000 minus signs": ("-" * 3_990 + "y", "L103"),
    "1,000 powers": ("y^" * 1_000 + "y", "L103"),
    "minus and power": ("y^-" * 60 + "y", "L103"),
    "nested where": ("where(y > 0, " * 150 + "y" + ", f)" * 150, "L103"),
    "nested brackets of coefficients": ("phi[" * 200, "L103"),
    # size
    "1 MB of sums": ("y+" * 500_000 + "y", "L101"),
    "1 MB of one name": ("a" * 1_000_000, "L101"),
    "1 MB of nothing": (" " * 1_000_000, "L101"),
    "1 MB of newlines": ("\n" * 1_000_000, "L101"),
    "10 kB of letters beyond ASCII": ("é" * 6_000, "L101"),
    "4,999 sums": ("+".join(["y"] * 4_999), "L102"),
    "2,001 nodes": ("+".join(["y"] * 1_001), "L104"),
    "a chain of names that doubles": ("a0 = y\n" + "\n".join(f"a{i + 1} = a{i}*a{i}" for i in range(400)), "L104"),
    "helpers that double": ("g0(a) = a*a; " + "; ".join(f"g{i + 1}(a) = g{i}(g{i}(a))" for i in range(9)), "L104"),
    "calls of a large helper": (
        "g(a) = " + "+".join(["a"] * 900) + "\n" + "\n".join(f"b{i} = g({i})" for i in range(200)),
        "L110",
    ),
    "65 hyper-parameters": ("loss a(y, f; " + ", ".join(f"p{i} = 1" for i in range(65)) + "): y", "L107"),
    "long name": ("a" * 65 + "*y", "L108"),
    "huge coefficient": ("phi[99999999999999999999]", "L109"),
    # recursion
    "recursion": ("g(a) = g(a); g(y)", "L316"),
    "mutual recursion": ("g(a) = h(a); h(a) = g(a); g(y)", "L316"),
    "a name of itself": ("a = a; a", "L308"),
    # code
    "import": ("__import__('os').system('true')", "L313"),
    "builtins": ("__builtins__", "L313"),
    "class": ("().__class__.__bases__", "L001"),
    "attribute of an argument": ("y.__class__", "L010"),
    "exec": ("exec(y)", "L301"),
    "eval": ("eval(f)", "L301"),
    "open": ("open(1)", "L301"),
    "lambda": ("(lambda: 1)()", "L010"),
    "format string": ('f"{y}"', "L001"),
    "shell": ("$(rm -rf /)", "L001"),
    "semicolons": (";;;;", "L011"),
    "path": ("../../etc/passwd", "L001"),
    # characters
    "null byte": ("y\0f", "L002"),
    "escape sequence": ("\x1b[31my", "L002"),
    "backspace": ("y\b\b- f", "L002"),
    "right-to-left override": ("y # \u202e f", "L002"),
    "zero-width space": ("y\u200bf", "L002"),
    "byte order mark": ("\ufeffy", "L002"),
    "lone surrogate": ("y - \ud800", "L002"),
    "private use": ("\ue000", "L001"),
    "emoji": ("y - 🙂", "L001"),
    "Arabic digits": ("y*٣", "L001"),
    "Cyrillic letter that looks like y": ("у - f", "L001"),
    "combining marks": ("y" + "\u0301" * 3_000, "L001"),
    # strings and documentation
    "open docstring": ('loss a(y, f):\n """' + "x" * 5_000, "L010"),
    "quotes": ('"""' * 3_000, "L003"),
    "escape beyond Unicode": ('loss a(y, f):\n """\\x{ffffff}"""\n y - f', ""),
    "source lines": ('loss a(y, f):\n """' + "source: a\n" * 900 + '"""\n y - f', ""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(name: str) -> None:
    """The error has this code (none: the text is fine), and neither reading nor the message takes a second."""
    text, code = HOSTILE[name]
    begin = time.process_time()
    try:
        parse(text)
        got = ""
    except LosscError as problem:
        got = problem.diagnostic.code
        assert len(str(problem)) < 1_000
    took = time.process_time() - begin
    assert got == code
    assert took < SECONDS


def test_there_are_fifty() -> None:
    """The corpus is as large as promised, and most of it is refused."""
    assert len(HOSTILE) >= 50
    assert sum(code != "" for _, code in HOSTILE.values()) >= 50


def test_at_the_limits() -> None:
    """One less than a limit is fine: 100 brackets, 2,000 nodes, 40 digits, exponents of 64, names of 64 characters."""
    assert parse_expr("(" * 100 + "y" + ")" * 100).tree_size == 1
    assert parse_expr("+".join(["y"] * 1_000)).tree_size == 1_999
    assert parse_expr("9" * 40).number == 10**40 - 1
    assert parse_expr("1e400").number == 10**400
    assert parse_expr("y^64 + y^-64").tree_size == 7
    name = "a" * 64
    assert parse_expr(f"{name} = y; {name}").tree_size == 1
    many = ", ".join(f"p{i} = {i}" for i in range(64))
    assert len(parse(f"loss a(y, f; {many}): y - f").params) == 64


def read(text: str) -> None:
    """Read a text in every way; nothing but LosscError may come out."""
    for dialect in DIALECTS:
        try:
            parse(text, dialect=dialect, params={"alpha": 1})
        except LosscError as problem:
            assert problem.diagnostic.code
            str(problem).encode("utf-8", "replace")
    with suppress(LosscError):
        parse_losses(text)


@settings(max_examples=1000)
@given(st.text(max_size=60))
def test_random_characters(text: str) -> None:
    """Any text is read or refused."""
    read(text)


@settings(max_examples=500)
@given(st.binary(max_size=60))
def test_random_bytes(raw: bytes) -> None:
    """Any bytes, taken for Latin-1, are read or refused."""
    read(raw.decode("latin-1"))


SOUP = [
    *names(), *"yfag+-*/^<=()[],:;#.\n\t ", "loss", "alpha", "positive", "real", "if", "phi", "1", "0", "2.5", "1e9",
    "1e-7", "64", "**", "<=", "==", "!=", '"""', "f(x)", "g(a) = ", "e = ", "source: x", "phi[0]", "where(y > f, ",
    "loss a(y, f; alpha: positive = 1):\n",
]  # fmt: skip


@settings(max_examples=1000)
@given(st.lists(st.sampled_from(SOUP), max_size=25), st.sampled_from(["", " "]))
def test_token_soup(words: list[str], between: str) -> None:
    """Words of the language in any order are read or refused."""
    read(between.join(words))


LIBRARY = Path(__file__).parents[2] / "compiler" / "library"
DEFINITIONS = [
    "loss " + part for path in sorted(LIBRARY.glob("*.loss")) for part in path.read_text("utf-8").split("\nloss ")[1:]
]


@pytest.mark.parametrize("seed", range(8))
def test_slips_in_definitions(seed: int) -> None:
    """Named losses with words left out, exchanged or doubled: read, then printed exactly, or refused with a place."""
    rng = random.Random(seed)
    for _ in range(100):
        words = re.findall(r"\w+|\s+|.", rng.choice(DEFINITIONS), re.DOTALL)
        for _ in range(rng.randint(1, 4)):
            i, j = rng.randrange(len(words)), rng.randrange(len(words))
            words[i : i + rng.randrange(3)] = [rng.choice([words[j], "(", "=", ";", '"""', "y", "\n", "loss"])]
        try:
            found = parse_losses(text := "".join(words))
        except LosscError as problem:
            assert problem.diagnostic.span is not None, text
        else:
            for loss in found:
                assert parse_losses(to_definition(loss)) == [loss]


@settings(max_examples=500)
@given(exprs(max_leaves=6), st.randoms(use_true_random=False), st.integers(1, 3))
def test_slips_of_the_pen(root: Expr, rng: random.Random, slips: int) -> None:
    """A formula with characters left out, doubled, exchanged or replaced is read or refused, and then located."""
    text = list(to_text(root))
    for _ in range(slips):
        at = rng.randrange(len(text) + 1)
        text[at : at + rng.randrange(3)] = rng.choice(["", "(", ")", "-", "y", "2", ",", "=", text[at - 1], " "])
        text = text or ["y"]
    wrong = "".join(text)
    try:
        parse_expr(wrong, params=PARAM_DEFAULTS)
    except LosscError as problem:
        found = problem.diagnostic
        assert found.span is not None or not wrong.strip()
        if found.span is not None:
            assert 0 <= found.span.start < found.span.end <= len(wrong)
