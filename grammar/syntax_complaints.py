"""What to say when the grammar cannot go on: a character that begins nothing, or a token that fits nowhere.

The common mistakes are recognised by the token and its neighbour (`2y`, `log(y,)`, `a if c else b`); for the rest, the
terminals that the parser would have accepted are put in words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from lossc.compiler import ops
from lossc.compiler.errors import LosscError, LossSyntaxError, Span
from lossc.grammar.complaints import CHOICE, HEADER_FORM, PYTHON, cut
from lossc.grammar.tokens import OPERATORS, Tok

_OPERAND = frozenset({"NUMBER", "NAME", "PHI", "LPAR"})
_SHOWN = {
    "RPAR": "`)`",
    "RSQB": "`]`",
    "COMMA": "`,`",
    "COLON": "`:`",
    "EQUAL": "`=`",
    "SEMI": "`;`",
    "LSQB": "`[`",
    "COMPARE": "a comparison",
    "DOC": "a docstring",
    "LOCAL": "a named value",
    "HELPER": "a helper function",
    "LOSS": "a definition",
    "NL": "the end of the line",
    "$END": "the end of the text",
}

_ASCII = {
    "|": "write abs(x) for |x|, max(a, b) for the greater one",
    "!": "there is no factorial: log(n!) is lgamma(n + 1); `!=` compares",
    "&": "there is no `and`: nest where(condition, a, b)",
    "'": "a formula holds no text in quotes",
    '"': "a formula holds no text in quotes; a docstring stands in triple quotes, right after the header",
    "`": "a formula holds no quotes",
    "{": "use round brackets; LaTeX is not read",
    "}": "use round brackets; LaTeX is not read",
    "\\": "LaTeX is not read; inside brackets a formula can take several lines",
    "$": "LaTeX is not read: write the formula as plain text",
    "%": "there is no remainder; a percentage is a number such as 0.05",
    "@": "products of matrices are no part of a loss; `*` multiplies elementwise",
    "~": "there is no `not`: exchange the two branches of where(condition, a, b)",
    "?": CHOICE,
}
_INSTEAD = {
    **dict.fromkeys("−–—‐‑", "-"),
    **dict.fromkeys("×·⋅∗•", "*"),
    **dict.fromkeys("÷∕⁄", "/"),
    "²": "^2",
    "³": "^3",
    "√": "sqrt(...)",
    "∑": "sum_c(...)",
    "Σ": "sum_c(...)",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "½": "0.5",
    "ŷ": "f",
    "π": "pi",
    **dict.fromkeys("εϵ", "eps"),
    **dict.fromkeys("φϕ", "phi[0] for a coefficient, or a name such as phi_0"),
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "δ": "delta",
    "λ": "lambda",
    "μ": "mu",
    "ξ": "xi",
    "σ": "sigma, or sigmoid(...)",
    "τ": "tau",
    "θ": "theta",
    "\N{NO-BREAK SPACE}": "a plain space",
}


def bad_character(text: str, at: int, before: list[Tok]) -> LosscError:
    """The complaint about a character that begins no token."""
    import unicodedata

    character, span = text[at], Span(at, at + 1)
    if character == ".":
        return _stray_dot(text, at, before)
    if text.startswith('"""', at):
        return LossSyntaxError("L010", "the docstring is never closed", Span(at, at + 3), expected='`"""` at its end')
    if character in _ASCII:
        return LossSyntaxError("L001", f"`{character}` is not a sign of the language", span, hint=_ASCII[character])
    instead = _INSTEAD.get(character)
    if instead is None:
        plain = unicodedata.normalize("NFKC", character)
        instead = plain if plain != character and plain.isascii() and plain.isprintable() else None
    shown = f"`{character}`" if character.isprintable() else "this character"
    about = f"U+{ord(character):04X} {unicodedata.name(character, '').lower()}".strip()
    hint = f"write {instead}" if instead else "formulas are written in ASCII; comments and docstrings may hold any text"
    return LossSyntaxError("L001", f"{shown} is not a sign of the language ({about})", span, hint=hint)


def _stray_dot(text: str, at: int, before: list[Tok]) -> LosscError:
    """`np.log(y)`, `a .* b`, `...`."""
    left = before[-1] if before and before[-1].type == "NAME" and before[-1].end == at else None
    attribute = re.match(r"[A-Za-z_][A-Za-z0-9_.]*", text[at + 1 : at + 200])
    if left is None or attribute is None:
        elementwise = text[at + 1 : at + 2] in ("*", "/", "^")
        hint = "every operator is elementwise: write `*`, `/`, `^`" if elementwise else ""
        return LossSyntaxError("L001", "`.` stands only inside numbers", Span(at, at + 1), hint=hint)
    known = ops.lookup(attribute.group().rpartition(".")[2])
    hint = f"write {known.signature}" if known else "functions are called by their plain names"
    whole = cut(f"{left.text}.{attribute.group()}")
    span = Span(left.start, at + 1 + attribute.end())
    return LossSyntaxError("L010", f"`{whole}`: the language has no modules and no attributes", span, hint=hint)


def unexpected(text: str, tokens: list[Tok], at: int, accepted: set[str]) -> LosscError:
    """The complaint about token `at` (or the end of the text), with which the grammar cannot go on."""
    if at == len(tokens):
        return _at_end(tokens, accepted)
    token, before = tokens[at], tokens[at - 1] if at else None
    if _in_header(tokens, at):
        if token.type == "NL":
            return _unfinished_header(tokens[at - 1], accepted)
        message = f"`{cut(token.text)}` does not fit in a header"
        hint = f"a header reads `{HEADER_FORM}`"
        return LossSyntaxError("L009", message, token.span, expected=describe(accepted), hint=hint)
    for mistake in (_two_operands, _left_out, _at_line_end):
        found = mistake(text, tokens, at, before)
        if found is not None:
            return found
    if token.type == "EQUAL":
        hint = "`==` compares, inside where(...); `name = ...` at the start of a line names a value"
        return LossSyntaxError("L007", "`=` cannot stand here", token.span, hint=hint)
    if before is not None and before.type == "NAME" and before.text in PYTHON:
        return _python(before)
    message = f"`{cut(token.text)}` cannot stand here"
    return LossSyntaxError("L003", message, token.span, expected=describe(accepted), hint=_HINTS.get(token.type, ""))


_HINTS = {
    "COLON": f"`:` ends a header: `{HEADER_FORM}`; for a choice {CHOICE}",
    "COMPARE": "comparisons do not chain: a < b < c is where(a < b, where(b < c, ...), ...)",
    "LSQB": "there is no indexing; a coefficient is written phi[0]",
    "DOC": "a docstring stands right after the header of a definition",
    "LOSS": "a definition begins on a line of its own, after the formula of the one before",
}


def _two_operands(text: str, tokens: list[Tok], at: int, before: Tok | None) -> LosscError | None:
    """Operands side by side: a missing operator, a number gone wrong, a word of Python."""
    token = tokens[at]
    if before is None or token.type not in _OPERAND or before.type not in ("NAME", "NUMBER", "RPAR", "RSQB"):
        return None
    if before.type == "NUMBER" and before.end == token.start:
        odd_number = token.type == "NUMBER" or before.text == "0" or re.fullmatch(r"[eE]|[jJ]|_[0-9_]*", token.text)
        if odd_number:
            written = cut(text[before.start : token.end])
            expected = "a number such as 2, 0.5, .5 or 1e-7"
            span = Span(before.start, token.end)
            return LossSyntaxError("L008", f"`{written}` is not a number", span, expected=expected)
    for word in (before, token):
        if word.type == "NAME" and word.text in PYTHON:
            return _python(word)
    left = cut(before.text) if before.type in ("NAME", "NUMBER") else "(...)"
    right = "(...)" if token.type == "LPAR" else cut(token.text)
    message = f"an operator is missing between `{cut(before.text)}` and `{cut(token.text)}`"
    hint = f"to multiply, write `{left}*{right}`"
    return LossSyntaxError("L005", message, token.span, expected="an operator", hint=hint)


def _python(word: Tok) -> LosscError:
    return LossSyntaxError("L010", f"`{word.text}` is not part of the language", word.span, hint=PYTHON[word.text])


def _left_out(text: str, tokens: list[Tok], at: int, before: Tok | None) -> LosscError | None:
    """An operand or an argument that is not there."""
    token = tokens[at]
    kind = token.type
    if before is None or before.type in OPERATORS or before.type in ("LPAR", "COMMA"):
        if kind in OPERATORS:
            return _missing(f"`{token.text}` has nothing on its left", token.span)
        if before is not None and kind in ("COMMA", "RPAR", "NL"):
            if before.type in OPERATORS:
                return _missing(f"`{before.text}` has nothing on its right", before.span)
            if kind == "COMMA":
                return _missing("an argument is missing before this comma", token.span)
            if before.type == "COMMA":
                hint = "leave the last comma out"
                return _missing("an argument is missing after this comma", before.span, hint)
            return _missing("nothing stands between these brackets", Span(before.start, token.end))
    return None


def _missing(message: str, span: Span, hint: str = "") -> LosscError:
    return LossSyntaxError("L006", message, span, expected="an expression", hint=hint)


def _at_line_end(text: str, tokens: list[Tok], at: int, before: Tok | None) -> LosscError | None:
    """A statement has ended with its line, and the next line begins with an operator, or with a second formula."""
    token = tokens[at]
    if token.type != "NL" and (before is None or before.type != "NL"):
        return None
    follower = tokens[at + 1] if token.type == "NL" else token
    if follower.type in OPERATORS:
        message = f"a line cannot begin with `{follower.text}` here"
        hint = "a line ends a statement: put the operator at the end of the line before, or brackets around it all"
        return LossSyntaxError("L013", message, follower.span, hint=hint)
    if follower.type in ("LOCAL", "HELPER"):
        hint = "values and helper functions are named before the formula"
        return LossSyntaxError("L013", f"`{cut(follower.text)}` is defined after the formula", follower.span, hint=hint)
    if follower.type in _OPERAND:
        hint = "one formula ends a definition; inside brackets it can take several lines"
        return LossSyntaxError("L013", "a second formula begins here", follower.span, hint=hint)
    return None


def _at_end(tokens: list[Tok], accepted: set[str]) -> LosscError:
    last = tokens[-1]
    if last.type in OPERATORS:
        return _missing(f"the text ends after `{last.text}`: something is missing on its right", last.span)
    if _in_header(tokens, len(tokens)):
        return _unfinished_header(last, accepted)
    if last.type in ("COLON", "DOC"):
        expected = "a formula after the header"
        return LossSyntaxError("L006", "the definition has no formula", last.span, expected=expected)
    if accepted - OPERATORS - {"LPAR"} == {"NL"}:  # a bracket could follow a name
        expected = "the formula, on the last line"
        return LossSyntaxError("L006", "values are named, but there is no formula", last.span, expected=expected)
    return LossSyntaxError("L006", "the text ends too early", last.span, expected=describe(accepted))


def _unfinished_header(last: Tok, accepted: set[str]) -> LosscError:
    hint = f"a header reads `{HEADER_FORM}`"
    return LossSyntaxError("L009", "the header is not finished", last.span, expected=describe(accepted), hint=hint)


def _in_header(tokens: list[Tok], at: int) -> bool:
    """Whether a header is open before token `at`."""
    for i in range(at - 1, -1, -1):
        kind = tokens[i].type
        if kind == "LOSS":
            return True
        if kind == "NL" or (kind == "COLON" and i and tokens[i - 1].type == "RPAR"):
            return False
    return False


def describe(accepted: Iterable[str]) -> str:
    """The terminals that would fit, in words."""
    left = set(accepted)
    out: list[str] = []
    if left >= _OPERAND:
        out.append("an expression")
        left -= _OPERAND | {"PLUS", "MINUS"}
    if left & {"STAR", "SLASH", "CARET"}:
        out.append("an operator")
        left -= OPERATORS - {"EQUAL"}
    out += ["a name"] if "NAME" in left else []
    out += ["a number"] if "NUMBER" in left else []
    out += [words for terminal, words in _SHOWN.items() if terminal in left]
    return " or ".join(out) if len(out) < 3 else ", ".join(out[:-1]) + " or " + out[-1]
