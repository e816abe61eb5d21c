"""FPCore read and evaluated for tests: s-expressions, `if`, `let*` and the functions of math.h, in NumPy scalars."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

_TOKEN = re.compile(r';[^\n]*|"(?:[^"\\]|\\.)*"|[()\[\]]|[^\s()\[\]";]+')

_ONE: dict[str, Callable[[float], float]] = {
    "fabs": abs, "exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "log2": np.log2,
    "log10": np.log10, "sqrt": np.sqrt, "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin,
    "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "asinh": np.arcsinh,
    "acosh": np.arccosh, "atanh": np.arctanh, "trunc": np.trunc,
}  # fmt: skip
_SCALAR = {"erf": math.erf, "erfc": math.erfc, "lgamma": math.lgamma}
_TWO: dict[str, Callable[[float, float], float]] = {
    "+": operator.add, "*": operator.mul, "/": operator.truediv, "pow": operator.pow, "fmax": np.fmax, "fmin": np.fmin,
    "hypot": np.hypot, "atan2": np.arctan2,
}  # fmt: skip
_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq,
            "!=": operator.ne}  # fmt: skip
_CONSTANTS = {"PI": math.pi, "E": math.e, "LN2": math.log(2)}


class Core(NamedTuple):
    """One function: its name, arguments, properties and body."""

    name: str
    arguments: list[str]
    properties: dict[str, Any]
    body: Any

    def __call__(self, *values: float, dtype: Any = np.float64) -> Any:
        return evaluate(self.body, dict(zip(self.arguments, map(dtype, values), strict=True)), dtype)


def read(text: str) -> list[Core]:
    """All functions of a file; ValueError for what is no FPCore 2.0."""
    cores = []
    for form in _forms([t for t in _TOKEN.findall(text) if not t.startswith(";")]):
        head, name, arguments, *rest = form
        if head != "FPCore" or not isinstance(name, str) or not isinstance(arguments, list) or len(rest) % 2 == 0:
            raise ValueError(f"not an FPCore: {form}")
        properties = dict(zip(rest[:-1:2], rest[1:-1:2], strict=True))
        if not all(p.startswith(":") for p in properties):
            raise ValueError(f"not properties: {list(properties)}")
        cores.append(Core(name, arguments, properties, rest[-1]))
    return cores


def _forms(tokens: Sequence[str]) -> list[Any]:
    stack: list[list[Any]] = [[]]
    for token in tokens:
        if token in "([":
            stack.append([])
        elif token in ")]":
            done = stack.pop()
            stack[-1].append(done)
        else:
            stack[-1].append(token)
    if len(stack) != 1:
        raise ValueError("brackets that do not match")
    return stack[0]


def evaluate(here: Any, env: dict[str, Any], dtype: Any) -> Any:
    """The value of an expression; KeyError for an operator or a name that FPCore does not have."""
    if isinstance(here, str):
        if here in env:
            return env[here]
        return dtype(_CONSTANTS[here] if here in _CONSTANTS else float(Fraction(here)))
    op, *args = here
    if op == "if":
        return evaluate(args[1] if evaluate(args[0], env, dtype) else args[2], env, dtype)
    if op == "let*":
        for name, bound in args[0]:
            env = {**env, name: evaluate(bound, env, dtype)}
        return evaluate(args[1], env, dtype)
    values = [evaluate(a, env, dtype) for a in args]
    if op == "-":
        return -values[0] if len(values) == 1 else values[0] - values[1]
    if op in _COMPARE:
        return all(_COMPARE[op](a, b) for a, b in pairwise(values))
    if op in ("and", "or"):
        return all(values) if op == "and" else any(values)
    with np.errstate(all="ignore"):
        if op in _SCALAR:
            return dtype(_SCALAR[op](float(values[0])))
        return _ONE[op](values[0]) if len(values) == 1 else _TWO[op](*values)
