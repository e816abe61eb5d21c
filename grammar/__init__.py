"""Text to `Loss`: the language of losses (docs/language.md).

    >>> from lossc.grammar import parse
    >>> loss = parse("(y - f)^2")

Lark is imported when the first text is parsed, not before.
"""

from lossc.grammar.dialects import DIALECTS, Dialect
from lossc.grammar.parser import parse, parse_expr, parse_file, parse_losses

__all__ = ["DIALECTS", "Dialect", "parse", "parse_expr", "parse_file", "parse_losses"]
