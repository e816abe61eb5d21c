"""Text to tokens, with every limit that can be checked before parsing: length, characters, nesting, number of tokens.

Two things happen here that keep the grammar LALR(1) and small. Newlines (and `;`) become one `NL` between
statements: none inside brackets, after an operator, or where nothing came before. The names that a statement defines
are marked: `e` in `e = y - f` is a LOCAL, `sq` in `sq(a) = a*a` a HELPER, `loss` in `loss mse(...)` a LOSS.
"""

from __future__ import annotations

import re

from lossc.compiler.docstrings import FORBIDDEN
from lossc.compiler.errors import LimitError, LossSyntaxError, Span
from lossc.compiler.literals import LITERAL
from lossc.compiler.names import MAX_NAME, check_name

MAX_TEXT = 10_000
MAX_TOKENS = 4_000
MAX_NESTING = 100
"""Levels as written: open brackets, and the minus signs and powers that wait for their operand."""


class Tok:
    """A token: its type (a terminal of loss.lark), its text and where it stands. Lark asks for no more than this."""

    __slots__ = ("end", "start", "text", "type")
    line = column = end_line = end_column = 0

    def __init__(self, type_: str, text: str, start: int, end: int) -> None:
        self.type, self.text, self.start, self.end = type_, text, start, end

    @property
    def span(self) -> Span:
        return Span(self.start, self.end)

    @property
    def start_pos(self) -> int:
        return self.start

    @property
    def end_pos(self) -> int:
        return self.end

    def __repr__(self) -> str:
        return f"{self.type}({self.text!r})"


_SIGNS = {
    "+": "PLUS", "-": "MINUS", "*": "STAR", "/": "SLASH", "^": "CARET", "**": "CARET", "<": "COMPARE", "<=": "COMPARE",
    ">": "COMPARE", ">=": "COMPARE", "==": "COMPARE", "!=": "COMPARE", "=": "EQUAL", ",": "COMMA", ":": "COLON",
    ";": "SEMI", "(": "LPAR", ")": "RPAR", "[": "LSQB", "]": "RSQB",
}  # fmt: skip

_SCAN = re.compile(
    r"""(?P<SPACE>[ \t\r]+)
      | (?P<NAME>f[ \t]*\([ \t]*x[ \t]*\) | [A-Za-z_][A-Za-z0-9_]*)
      | (?P<NUMBER>"""
    + LITERAL
    + r""")
      | (?P<SIGN>\*\*|[<>=!]=|[-+*/^<>=,:;()\[\]])
      | (?P<NL>\n)
      | (?P<COMMENT>\#[^\n]*)
      | (?P<DOC>\"\"\".*?\"\"\")
      | (?P<BAD>.)""",
    re.VERBOSE | re.DOTALL,
)

OPERATORS = frozenset({"PLUS", "MINUS", "STAR", "SLASH", "CARET", "COMPARE", "EQUAL"})
_OPEN_ENDED = OPERATORS | {"COMMA", "COLON", "SEMI", "NL", "DOC"}
_BEFORE_OPERAND = _OPEN_ENDED | {"LPAR", "LSQB"}
_CLOSING = {"RPAR": "LPAR", "RSQB": "LSQB"}


def check_text(text: str) -> None:
    """Raise LimitError (L101) if the text is too long, LossSyntaxError (L002) at a forbidden character."""
    if len(text) > MAX_TEXT or len(text.encode(errors="replace")) > MAX_TEXT:
        raise LimitError("L101", f"the text has {len(text):,} characters; the limit is {MAX_TEXT:,} bytes")
    found = FORBIDDEN.search(text)
    if found is not None:
        code = f"U+{ord(found.group()):04X}"
        hint = "a text that was copied from a web page or a PDF may hold invisible characters: type it again"
        raise LossSyntaxError("L002", f"the text holds the control character {code}", Span(*found.span()), hint=hint)


def tokenize(text: str) -> list[Tok]:
    """The tokens of a text that passed `check_text`, without a last NL. Raises LosscError with a span."""
    out: list[Tok] = []
    nesting = _Nesting()
    last = "NL"
    for match in _SCAN.finditer(text):
        kind = match.lastgroup
        if kind == "SPACE" or kind == "COMMENT":
            continue
        start, end = match.span()
        piece = match.group()
        if kind == "SIGN":
            kind = _SIGNS[piece]
            token = Tok(kind, piece, start, end)
            nesting.feed(token, last)
            if kind == "SEMI" and not nesting.stack:
                kind = token.type = "NL"
        elif kind == "NAME":
            token = Tok(kind, piece, start, end) if piece[-1] != ")" else Tok("NAME", "f", start, end)
            if end - start > MAX_NAME or piece.startswith("__"):
                check_name(piece, "a value", Span(start, end))
        elif kind == "BAD" or kind is None:
            from lossc.grammar.syntax_complaints import bad_character

            raise bad_character(text, start, out)
        else:
            token = Tok(kind, piece, start, end)
        if kind == "NL" and (nesting.stack or last in _OPEN_ENDED):
            continue
        out.append(token)
        last = kind
        if len(out) > MAX_TOKENS:
            raise LimitError("L102", f"the text has more than {MAX_TOKENS:,} tokens", Span(start, end))
    nesting.finish()
    while out and out[-1].type == "NL":
        out.pop()
    _mark_definitions(out)
    return out


class _Nesting:
    """Brackets match, and nothing is nested more than `MAX_NESTING` levels deep."""

    __slots__ = ("chain", "held", "stack")

    def __init__(self) -> None:
        self.stack: list[tuple[Tok, int]] = []
        self.chain = 0  # minus signs and powers that wait, within the innermost bracket
        self.held = 0  # the same, outside of it

    def feed(self, token: Tok, last: str) -> None:
        kind = token.type
        if kind == "LPAR" or kind == "LSQB":
            self.held += self.chain
            self.stack.append((token, self.chain))
            self.chain = 0
        elif kind in _CLOSING:
            self._close(token)
            return
        elif kind == "CARET" or ((kind == "MINUS" or kind == "PLUS") and last in _BEFORE_OPERAND):
            self.chain += 1
        else:
            self.chain = 0
            return
        if len(self.stack) + self.held + self.chain > MAX_NESTING:
            hint = "name a part of it: `e = y - f` on a line of its own"
            raise LimitError("L103", f"nested more than {MAX_NESTING} levels deep", token.span, hint=hint)

    def _close(self, token: Tok) -> None:
        if not self.stack:
            raise LossSyntaxError("L004", f"`{token.text}` closes nothing: no bracket is open here", token.span)
        opener, chain = self.stack.pop()
        if opener.type != _CLOSING[token.type]:
            wanted = ")" if opener.type == "LPAR" else "]"
            raise LossSyntaxError(
                "L004", f"`{token.text}` does not close `{opener.text}`", token.span, expected=f"`{wanted}`"
            )
        self.held -= chain
        self.chain = chain

    def finish(self) -> None:
        if self.stack:
            opener = self.stack[-1][0]
            wanted = ")" if opener.type == "LPAR" else "]"
            raise LossSyntaxError("L004", f"`{opener.text}` is never closed", opener.span, expected=f"`{wanted}`")


def _mark_definitions(tokens: list[Tok]) -> None:
    """Give the names that statements define, and the word `loss`, token types of their own."""
    start, level, count = 0, 0, len(tokens)
    for i, token in enumerate(tokens):
        kind = token.type
        if kind == "LPAR" or kind == "LSQB":
            level += 1
        elif kind == "RPAR" or kind == "RSQB":
            level -= 1
        elif kind == "EQUAL" and not level and tokens[start].type == "NAME":
            if i == start + 1:
                tokens[start].type = "LOCAL"
            elif tokens[start + 1].type == "LPAR" and tokens[i - 1].type == "RPAR":
                tokens[start].type = "HELPER"
        elif not level and (kind == "NL" or kind == "COLON" or kind == "DOC"):
            if kind == "COLON" and tokens[start].text == "loss" and tokens[start + 1].type in ("LPAR", "COLON"):
                from lossc.grammar.complaints import header_without_name

                raise header_without_name(tokens[start])
            start = min(i + 1, count - 1)
        elif kind == "NAME" and i + 1 < count:
            after = tokens[i + 1].type
            if token.text == "loss" and i == start and after == "NAME":
                token.type = "LOSS"
            elif token.text == "phi" and after == "LSQB":
                token.type = "PHI"
