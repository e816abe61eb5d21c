"""The LALR(1) parser that Lark makes from loss.lark, with the transformer inside; made once, when first needed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from functools import cache
from importlib.resources import files
from typing import Any, cast

from lark import Lark, Token
from lark.exceptions import UnexpectedToken
from lark.lexer import Lexer

from lossc.grammar.builder import Builder
from lossc.grammar.tokens import Tok

FORMULA, FILE = "formula", "file"
_lock = threading.Lock()  # held while a text is parsed: there is one builder


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
        grammar,
        parser="lalr",
        lexer=_Given,
        start=[FORMULA, FILE],
        transformer=cast(Any, builder),
        maybe_placeholders=False,
    )
    return parser, builder


@contextmanager
def building() -> Iterator[Builder]:
    """The builder, for one text; it forgets the text afterwards."""
    with _lock:
        builder = _load()[1]
        try:
            yield builder
        finally:
            builder.forget()


def run(tokens: list[Tok], start: str) -> Any:
    """What the start rule's method returns for these tokens. Call it inside `building`, after `Builder.start`.

    Raises LossSyntaxError where the grammar cannot go on, and what the methods of the rules raise.
    """
    parser, builder = _load()
    try:
        return parser.parse(cast(Any, tokens), start=start)
    except UnexpectedToken as problem:
        from lossc.grammar.syntax_complaints import unexpected

        at = next((i for i, token in enumerate(tokens) if cast(Any, token) is problem.token), len(tokens))
        raise unexpected(builder.source.text, tokens, at, _accepted(parser, tokens[:at], start)) from None


def _accepted(parser: Lark, tokens: list[Tok], start: str) -> set[str]:
    """The terminals that can follow these tokens.

    The parser's own answer is too narrow: it has reduced as if the wrong token were right. So the tokens are read
    again, by the bare automaton.
    """
    again = cast(Any, parser.parse_interactive(start=start))
    automaton = copy(again.parser_state.parse_conf)
    automaton.callbacks = {}
    again.parser_state.parse_conf = automaton
    for token in tokens:
        again.feed_token(token)
    return set(again.accepts())
