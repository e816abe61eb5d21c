"""The LALR(1) parser that Lark makes from loss.lark, with the transformer inside; made once, when first needed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any, cast

from lark import Lark, Token
from lark.exceptions import UnexpectedToken
from lark.lexer import Lexer

from lossc.grammar.builder import Builder
from lossc.grammar.tokens import Tok

FORMULA, FILE = "formula", "file"
lock = threading.Lock()
"""Held while a text is parsed: there is one builder."""


class _Given(Lexer):
    """The tokens are there already."""

    __future_interface__ = 2

    def __init__(self, _conf: object) -> None:
        pass

    def lex(self, lexer_state: Any, _parser_state: Any) -> Iterator[Token]:
        return iter(lexer_state.text)


@cache
def _load() -> tuple[Lark, Builder]:
    builder = Builder()
    grammar = files("lossc.grammar").joinpath("loss.lark").read_text("utf-8")
    parser = Lark(
        grammar, parser="lalr", lexer=_Given, start=[FORMULA, FILE], transformer=cast(Any, builder), maybe_placeholders=False
    )
    return parser, builder


def builder() -> Builder:
    """The builder, to be prepared with `start` under the lock."""
    return _load()[1]


def run(tokens: list[Tok], start: str) -> Any:
    """Parse tokens; what the start rule's method returns. Raises `Unexpected`, or the LosscError of a rule's method."""
    parser, _ = _load()
    try:
        return parser.parse(cast(Any, tokens), start=start)
    except UnexpectedToken as problem:
        accepted = problem.interactive_parser.accepts() if problem.interactive_parser is not None else set()
        token = cast(Any, problem.token)
        raise Unexpected(None if token.type == "$END" else token, set(accepted)) from None


class Unexpected(Exception):
    """No rule goes on with this token (None: with the end of the text); `accepted` are the terminals that would."""

    def __init__(self, token: Tok | None, accepted: set[str]) -> None:
        super().__init__(token)
        self.token, self.accepted = token, accepted
