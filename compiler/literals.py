"""Exact numbers as text, both ways, within the limits of literals; and exact folding of constant expressions.

The limits (40 digits, |exponent| <= 400) are checked on the text, before any big number is made: `1e999999999` costs
nothing (docs/language.md, limits).
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from functools import lru_cache

from lossc.compiler.errors import LimitError, LossSyntaxError
from lossc.compiler.ir import CONST, LEAF_OPS, MAX_DIGITS, MAX_EXP10, Expr, decimal_parts, is_writable, postorder

LITERAL = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
"""The regular expression of an unsigned literal: `2`, `.5`, `5.`, `1e-7`."""

_FULL = re.compile(rf"(-?)({LITERAL})(?:/({LITERAL}))?")
_PLAIN_DIGITS = 15
_FLOAT_DIGITS = 17


@lru_cache(maxsize=1024)
def read_literal(text: str) -> Fraction:
    """The exact value of an unsigned literal; `text` must match `LITERAL`.

    Raises LimitError (L105) beyond 40 digits or an exponent of ±400.
    """
    mantissa, _, written = text.lower().partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    if len(digits) > MAX_DIGITS:
        raise LimitError("L105", f"a number may have {MAX_DIGITS} digits; this one has {len(digits)}")
    exponent_digits = written.lstrip("+-").lstrip("0")
    if len(exponent_digits) > len(str(MAX_EXP10)) or int(exponent_digits or "0") > MAX_EXP10:
        raise LimitError("L105", f"the exponent of a number must be within ±{MAX_EXP10}, got {_short(written)}")
    if not digits:
        return Fraction(0)
    exponent = int(written or "0") - len(fraction)
    if abs(exponent) > 2 * MAX_EXP10:
        raise LimitError("L105", f"the exponent of a number must be within ±{MAX_EXP10}")
    number = Fraction(int(digits)) * Fraction(10) ** exponent
    if not is_writable(number):
        raise LimitError("L105", f"the exponent of a number must be within ±{MAX_EXP10}")
    return number


def read_number(text: str) -> Fraction:
    """The value of a signed literal or a ratio of literals, as `write_number` writes them: `-2`, `1e-7`, `-1/3`.

    Raises LossSyntaxError (L008) if it is none, LimitError (L105) if it is too long.
    """
    found = _FULL.fullmatch(text) if len(text) <= 4 * (MAX_DIGITS + 10) else None
    if found is None:
        expected = "a number such as 2, 0.5, 1e-7 or -1/3"
        raise LossSyntaxError("L008", f"`{_short(text)}` is not a number", expected=expected)
    sign, top, bottom = found.groups()
    number = read_literal(top)
    if bottom is not None:
        divisor = read_literal(bottom)
        if divisor == 0:
            raise LossSyntaxError("L008", f"`{text}` divides by zero")
        number /= divisor
        if not is_writable(number):
            raise LimitError("L105", f"`{_short(text)}` needs more than {MAX_DIGITS} digits")
    return -number if sign else number


def _short(text: str) -> str:
    return text if len(text) <= 24 else text[:20] + "…"


def write_number(number: Fraction) -> str:
    """The shortest exact text: a decimal where there is one of reasonable length, else `n/d`."""
    parts = decimal_parts(number)
    ratio = f"{number.numerator}/{number.denominator}"
    if parts is None:
        return ratio
    decimal = _decimal(*parts)
    if len(str(abs(parts[0]))) > _FLOAT_DIGITS and number.denominator != 1 and len(ratio) < len(decimal):
        return ratio
    return decimal


def _decimal(digits: int, exponent: int) -> str:
    sign, text = ("-" if digits < 0 else ""), str(abs(digits))
    if exponent >= 0 and (exponent == 0 or len(text) + exponent <= _PLAIN_DIGITS):
        return sign + text + "0" * exponent
    scientific = len(text) + exponent - 1
    if exponent < 0 and scientific >= -4:
        point = len(text) + exponent
        if point > 0:
            return f"{sign}{text[:point]}.{text[point:]}"
        return f"{sign}0.{'0' * -point}{text}"
    if abs(scientific) > MAX_EXP10:
        return f"{sign}{text}e{exponent}"
    mantissa = text if len(text) == 1 else f"{text[0]}.{text[1:]}"
    return f"{sign}{mantissa}e{scientific}"


_TOO_BIG = Fraction(10**MAX_DIGITS)


def exact_value(root: Expr) -> Fraction | None:
    """The exact value of a tree of constants under + - * / ^ and minus, or None if it is not one.

    Values are capped at ±10^40, so that towers of powers cost nothing: a cap stands for "beyond every limit".
    """
    if root.op == CONST:
        return root.number
    done: dict[Expr, Fraction | None] = {}
    for here in postorder(root):
        done[here] = here.number if here.op == CONST else _exact(here.op, [done[a] for a in here.args])
        if done[here] is None and here.op in LEAF_OPS:
            return None
    return done[root]


def _exact(op: str, args: list[Fraction | None]) -> Fraction | None:
    known = [a for a in args if a is not None]
    if len(known) != len(args) or not known:
        return None
    x, y = known[0], known[-1]
    if op == "neg":
        return -x
    if op == "add":
        return _cap(x + y)
    if op == "sub":
        return _cap(x - y)
    if op == "mul":
        return _cap(x * y)
    if op == "div":
        return _cap(x / y) if y else None
    return _power(x, y) if op == "pow" else None


def _power(x: Fraction, p: Fraction) -> Fraction | None:
    if p.denominator != 1 or (x == 0 and p < 0):
        return None
    if x in (0, 1, -1):
        return x if p % 2 else x * x if p else Fraction(1)
    if abs(p) <= 4 * MAX_DIGITS:
        return _cap(x ** int(p))
    size = float(p) * (math.log10(abs(x.numerator)) - math.log10(x.denominator))
    rough = _TOO_BIG if size > MAX_DIGITS else Fraction(0) if size < -MAX_DIGITS else Fraction(10.0**size)
    return -rough if x < 0 and p % 2 else rough


def _cap(x: Fraction) -> Fraction:
    """x, or ±10^40 beyond that; numbers too fine to write are rounded to a 10^-40 grid, so that work stays bounded."""
    if abs(x) >= _TOO_BIG:
        return _TOO_BIG if x > 0 else -_TOO_BIG
    return x if x.denominator < _TOO_BIG else Fraction(round(x * _TOO_BIG), 10**MAX_DIGITS)
