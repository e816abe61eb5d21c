"""Errors are a product: code, line, column, marked text, expectation and hint of each kind of mistake."""

from __future__ import annotations

import json

import pytest

from lossc.compiler.errors import LimitError, LosscError, LossSyntaxError, LossTypeError, UsageError
from lossc.grammar import parse

HEADER = "loss a(y, f): y - f\n"


def error_of(text: str) -> LosscError:
    with pytest.raises(LosscError) as caught:
        parse(text)
    return caught.value


# (text, code, line, column, marked text, words of the message, words of expectation or hint)
CASES = [
    # characters
    ("|y - f|", "L001", 1, 1, "|", "`|` is not a sign", "abs(x)"),
    ("y * f!", "L001", 1, 6, "!", "`!` is not a sign", "lgamma"),
    ("y × f", "L001", 1, 3, "×", "multiplication sign", "write *"),
    ("y − f", "L001", 1, 3, "−", "U+2212 minus sign", "write -"),
    ("(y - f)²", "L001", 1, 8, "²", "superscript two", "write ^2"),
    ("√y", "L001", 1, 1, "√", "square root", "sqrt(...)"),
    ("δ*y", "L001", 1, 1, "δ", "greek small letter delta", "write delta"),
    ("y\u00a0- f", "L001", 1, 2, "\u00a0", "no-break space", "plain space"),
    ("ｙ - f", "L001", 1, 1, "ｙ", "fullwidth", "write y"),
    ("y & f", "L001", 1, 3, "&", "`&` is not a sign", "where"),
    (r"\frac{y}{f}", "L001", 1, 1, "\\", "not a sign", "LaTeX"),
    ("y % f", "L001", 1, 3, "%", "`%` is not a sign", "remainder"),
    ("y - 'f'", "L001", 1, 5, "'", "`'` is not a sign", "quotes"),
    ("y .* f", "L001", 1, 3, ".", "`.` stands only inside numbers", "elementwise"),
    ("y - f\n + \x07", "L002", 2, 4, "\x07", "U+0007", "invisible"),
    ("y\u200b - f", "L002", 1, 2, "\u200b", "U+200B", ""),
    ("# \u202e\ny - f", "L002", 1, 3, "\u202e", "U+202E", ""),
    # brackets
    ("log(y", "L004", 1, 4, "(", "`(` is never closed", "`)`"),
    ("(y - f))^2", "L004", 1, 8, ")", "closes nothing", ""),
    ("(y - f]", "L004", 1, 7, "]", "`]` does not close `(`", "`)`"),
    ("abs(y -\n f\n + (y", "L004", 3, 4, "(", "never closed", "`)`"),
    # operators and operands
    ("2y", "L005", 1, 2, "y", "missing between `2` and `y`", "2*y"),
    ("y f", "L005", 1, 3, "f", "missing between `y` and `f`", "y*f"),
    ("(y - f)(y + f)", "L005", 1, 8, "(", "an operator is missing", "(...)*(...)"),
    ("3(y - f)", "L005", 1, 2, "(", "an operator is missing", "3*(...)"),
    ("y -", "L006", 1, 3, "-", "ends after `-`", "an expression"),
    ("log(y *)", "L006", 1, 7, "*", "`*` has nothing on its right", "an expression"),
    ("* y", "L006", 1, 1, "*", "`*` has nothing on its left", "an expression"),
    ("y * / f", "L006", 1, 5, "/", "`/` has nothing on its left", "an expression"),
    ("max(, y)", "L006", 1, 5, ",", "missing before this comma", "an expression"),
    ("max(y, f,)", "L006", 1, 9, ",", "missing after this comma", "leave the last comma out"),
    ("y + ()", "L006", 1, 5, "()", "nothing stands between", "an expression"),
    ("e = y - f", "L006", 1, 9, "f", "there is no formula", "on the last line"),
    ("y, f", "L003", 1, 2, ",", "`,` cannot stand here", "an operator or the end"),
    ("where(y < f < 1, y, f)", "L003", 1, 13, "<", "`<` cannot stand here", "do not chain"),
    ("y[0]", "L003", 1, 2, "[", "`[` cannot stand here", "phi[0]"),
    ("y ? f : 1", "L001", 1, 3, "?", "`?` is not a sign", "where"),
    ("y : f", "L003", 1, 3, ":", "`:` cannot stand here", "header"),
    ("where(y = 1, y, f)", "L007", 1, 9, "=", "`=` cannot stand here", "`==` compares"),
    ("1.2.3", "L008", 1, 1, "1.2.3", "is not a number", "1e-7"),
    ("0x10", "L008", 1, 1, "0x10", "is not a number", "1e-7"),
    ("1_000*y", "L008", 1, 1, "1_000", "is not a number", ""),
    ("y + 2e", "L008", 1, 5, "2e", "is not a number", ""),
    # Python
    ("np.log(y)", "L010", 1, 1, "np.log", "no modules", "write log(x)"),
    ("torch.nn.functional.softplus(f)", "L010", 1, 1, "torch.nn.functional.softplus", "no modules", "softplus(x)"),
    ("y if y > f else f", "L010", 1, 3, "if", "`if` is not part", "where"),
    ("y > 0 and f > 0", "L010", 1, 7, "and", "`and` is not part", "nest where"),
    ("return y - f", "L010", 1, 1, "return", "`return` is not part", "leave `return` out"),
    ("lambda y: y", "L010", 1, 1, "lambda", "`lambda` is not part", "a line of its own"),
    ('"""only a docstring', "L010", 1, 1, '"""', "never closed", "at its end"),
    # lines
    ("y\n* f", "L013", 2, 1, "*", "a line cannot begin with `*`", "end of the line before"),
    ("y\n- f", "L013", 2, 1, "-", "a line cannot begin with `-`", "brackets"),
    ("y - f\ny + f", "L013", 2, 1, "y", "a second formula", "brackets"),
    ("y - f\ne = 2", "L013", 2, 1, "e", "defined after the formula", "before the formula"),
    # headers
    ("loss huber(y, f, delta = 1): y", "L009", 1, 18, "delta", "not an argument", "after a `;`"),
    ("loss a(y): y", "L009", 1, 7, "(y)", "does not name `f`", "a header reads"),
    ("loss a(y, y): y", "L009", 1, 11, "y", "names y twice", ""),
    ("loss a(y, f; target = 1): y", "L009", 1, 14, "target", "means y", "before the `;`"),
    ("loss a(y = 1, f): y", "L009", 1, 8, "y", "cannot have a default", ""),
    ("loss a(y, f)\n  y - f", "L009", 1, 12, ")", "header is not finished", "`:`"),
    ("loss a(y, f", "L004", 1, 7, "(", "never closed", ""),
    ("loss a(y, f)", "L009", 1, 12, ")", "header is not finished", "`:`"),
    ("loss (y, f): y", "L009", 1, 1, "loss", "has no name", "a header reads"),
    ("loss a(y, f; 3): y", "L009", 1, 14, "3", "does not fit", "a name"),
    ("loss a(y, f):", "L006", 1, 13, ":", "has no formula", ""),
    ("loss a(y, f):\n  e = y - f\n\nloss b(y, f): y", "L003", 4, 1, "loss", "cannot stand here", "expression"),
    (HEADER + "y", "L013", 2, 1, "y", "a second formula", ""),
    ("loss a(y: one_hot, f: prob): y", "L305", 1, 11, "one_hot", "not a role of y", "did you mean `onehot`?"),
    ("loss a(y: real, f: binary): y", "L305", 1, 20, "binary", "not a role of f", "one of: real"),
    ("loss a(y, f; d: count = 1): y", "L305", 1, 17, "count", "not a role of a hyper-parameter", "unit"),
    ("loss a(y, f; d: positive = -1): y", "L202", 1, 28, "-1", "must be greater than 0", ""),
    ("loss a(y, f; d = pi): y", "L317", 1, 18, "pi", "must be a number", ""),
    ("loss a(y, f; d = 1, d = 2): y", "L306", 1, 21, "d", "two hyper-parameters", ""),
    (HEADER + HEADER, "L309", 2, 6, "a", "two losses", ""),
    # names
    ("delta*(y - f)", "L308", 1, 1, "delta", "`delta` is not defined", "--param delta=1.0"),
    ("y_ture - f", "L308", 1, 1, "y_ture", "not defined", "did you mean `y_true`?"),
    ("Y - f", "L308", 1, 1, "Y", "not defined", "did you mean `y`?"),
    ("loss a(y, f; delta = 1): delt*y", "L308", 1, 26, "delt", "not defined", "did you mean `delta`?"),
    ("a = b; b = 1; a", "L308", 1, 5, "b", "not defined here", "move its line up"),
    ("sub(ARG0, ARG1)", "L308", 1, 5, "ARG0", "not defined", "evomal"),
    ("y = 2; y", "L309", 1, 1, "y", "means the target y", "another name"),
    ("pred = 2; y", "L309", 1, 1, "pred", "means the prediction f", "another name"),
    ("a = 1\na = 2\na*y", "L309", 2, 1, "a", "defined twice", ""),
    ("loss a(y, f; d = 1):\n d = 2\n d*y", "L309", 2, 2, "d", "a hyper-parameter already", ""),
    ("log", "L312", 1, 1, "log", "is a function", "log(x)"),
    ("g(a, b) = a; g", "L312", 1, 14, "g", "is a function", "g(a, b)"),
    ("f(y)", "L312", 1, 1, "f", "is a value, not a function", "f*(...)"),
    ("__class__", "L313", 1, 1, "__class__", "two underscores", ""),
    ("a" * 65, "L108", 1, 1, "a" * 65, "64 characters", ""),
    # calls
    ("lgo(y)", "L301", 1, 1, "lgo", "no function `lgo`", "did you mean `log(x)`?"),
    ("Sigmoid(y)", "L301", 1, 1, "Sigmoid", "no function", "did you mean `sigmoid(x)`?"),
    ("foo(y)", "L301", 1, 1, "foo", "no function `foo`", "docs/language.md"),
    ("sum(y*f)", "L301", 1, 1, "sum", "no function", "sum_c(x)"),
    ("y - clamp(y, 1)", "L302", 1, 5, "clamp(y, 1)", "takes 3 arguments, got 2", "clamp(x, lo, hi)"),
    ("log()", "L302", 1, 1, "log()", "takes 1 argument, got 0", "log(x)"),
    ("pi(1)", "L302", 1, 1, "pi(1)", "takes no arguments, got 1", "pi"),
    ("g(a) = a*a; g(y, f)", "L302", 1, 13, "g(y, f)", "`g` takes 1 argument, got 2", "g(a)"),
    ("g(a) = g(a - 1); g(y)", "L316", 1, 8, "g", "calls itself", "recursive"),
    ("g(a) = h(a)\nh(a) = g(a)\ng(y)", "L316", 1, 8, "h", "not defined here", "before it is used"),
    # kinds
    ("y < f", "L303", 1, 1, "y < f", "a condition stands", "where(c, 1, 0)"),
    ("(y < f)*2", "L303", 1, 1, "(y < f)", "a condition stands", "a number"),
    ("-(y < f)", "L303", 1, 2, "(y < f)", "a condition stands", "a number"),
    ("exp(lt(y, f))", "L303", 1, 5, "lt(y, f)", "a condition stands", "a number"),
    ("where(y, 1, 0)", "L303", 1, 7, "y", "must be a condition", "where(y > f, a, b)"),
    ("g(a) = a; g(y < f)", "L303", 1, 13, "y < f", "a condition stands", "a number"),
    ("g(a) = a > 0; where(g(y), 1, 0)", "L303", 1, 8, "a > 0", "a condition stands", "a number"),
    ("max(y > 0, f, 1)", "L303", 1, 5, "y > 0", "a condition stands", "a number"),
    # numbers
    ("1/0", "L311", 1, 1, "1/0", "division by zero", ""),
    ("y*1e401", "L105", 1, 3, "1e401", "within ±400", ""),
    ("1" * 41, "L105", 1, 1, "1" * 41, "40 digits", ""),
    ("y^65", "L106", 1, 3, "65", "within ±64", "exp(p*log(x))"),
    ("y^-(60 + 5)", "L106", 1, 3, "-(60 + 5)", "within ±64", ""),
    ("pow(y, 8^8)", "L106", 1, 8, "8^8", "within ±64", ""),
    ("g(x, n) = x^n; g(y, 99)", "L106", 1, 16, "g(y, 99)", "within ±64", ""),
    ("phi[1.5]*y", "L304", 1, 5, "1.5", "whole index", ""),
    ("phi[1234567]*y", "L109", 1, 5, "1234567", "999,999", ""),
    # nothing
    ("", "L011", 0, 0, "", "no formula", "(y - f)^2"),
    (" \n # nothing\n", "L011", 0, 0, "", "no formula", "(y - f)^2"),
]


@pytest.mark.parametrize(("text", "code", "line", "column", "marked", "message", "help_"), CASES)
def test_mistake(text: str, code: str, line: int, column: int, marked: str, message: str, help_: str) -> None:
    """The error has this code, at this place, marks this text, and says these words."""
    found = error_of(text).diagnostic
    assert (found.code, found.source is not None) == (code, True), found.render()
    if line:
        assert found.source is not None and found.span is not None, found.render()
        assert found.source.locate(found.span.start) == (line, column), found.render()
        assert text[found.span.start : found.span.end] == marked, found.render()
    assert message in found.message, found.render()
    assert help_ in f"{found.expected} {found.hint}", found.render()


@pytest.mark.parametrize(
    ("prefix", "kind"), [("L0", LossSyntaxError), ("L1", LimitError), ("L30", LossTypeError), ("L31", LossTypeError)]
)
def test_the_class_of_an_error_follows_its_code(prefix: str, kind: type[LosscError]) -> None:
    """L0 is syntax, L1 a limit, L3 the meaning: exit codes and `except` clauses can rely on it."""
    for text, code, *_ in CASES:
        if str(code).startswith(prefix):
            assert type(error_of(str(text))) is kind, text
    assert not any(isinstance(error_of(str(text)), UsageError) for text, *_ in CASES)


def test_text_form() -> None:
    """The whole text form: claim, place, source line, caret, expectation, hint."""
    assert str(error_of("a = y - f\n  max(a, 2y)\n")) == "\n".join(
        [
            "error[L005]: an operator is missing between `2` and `y`",
            "  --> <formula>:2:11",
            "   |",
            " 2 |   max(a, 2y)",
            "   |           ^",
            "   = expected: an operator",
            "   = hint: to multiply, write `2*y`",
        ]
    )


def test_json_form() -> None:
    """The same record for programs."""
    assert json.loads(json.dumps(error_of("y - unknown").diagnostic.as_json())) == {
        "severity": "error",
        "code": "L308",
        "message": "`unknown` is not defined",
        "location": {"source": "<formula>", "line": 1, "column": 5},
        "span": [4, 11],
        "hint": "declare it as a hyper-parameter: `; unknown = 1.0` in the header, or --param unknown=1.0",
    }


def test_long_lines_are_cut_around_the_place() -> None:
    """The caret stands under the place also in a line of thousands of characters, and no line is long."""
    text = "+".join(["y"] * 300) + " + unknown + " + "+".join(["f"] * 300)
    lines = str(error_of(text)).splitlines()
    assert max(map(len, lines)) < 130
    caret = lines[4].index("^")
    assert lines[3][caret : caret + 7] == "unknown"


def test_tabs_keep_the_caret_in_place() -> None:
    """A tab is shown as one space, so that the caret stands under the place."""
    lines = str(error_of("\ty +\tunknown")).splitlines()
    assert lines[3][lines[4].index("^") :].startswith("unknown")
