"""A reader of the Julia that lossc emits: assignments, ternaries, calls, structs and methods, in NumPy scalars.

It is no Julia: it knows the subset that is emitted, with Julia's own precedences, and raises a DomainError where Julia
does, so that a branch that would throw there fails a test here.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

_TOKEN = re.compile(r"\s*(\d+\.?\d*(?:[eE][+-]?\d+)?|[A-Za-zℯ_][\w.]*|&&|\|\||[<>=!]=|[-+*/^<>?:!(),])")
_BINARY = {"||": 1, "&&": 2, "<": 4, "<=": 4, ">": 4, ">=": 4, "==": 4, "!=": 4, "+": 5, "-": 5, "*": 6, "/": 6, "^": 8}
_SIGN = 7


class DomainError(ValueError):
    """What Julia throws for log(-1.0)."""


def _within(function: Callable[[Any], Any], inside: Callable[[Any], bool]) -> Callable[[Any], Any]:
    def checked(x: Any) -> Any:
        if not np.isnan(x) and not inside(x):
            raise DomainError(f"{function.__name__}({x})")
        return function(x)

    return checked


def _scalar(function: Callable[[float], float]) -> Callable[[Any], Any]:
    return lambda x: type(x)(function(float(x)))


def _digamma(order: int) -> Callable[[Any], Any]:
    import mpmath

    return lambda x: type(x)(float(mpmath.psi(order, float(x))))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs, "sign": np.sign, "exp": np.exp, "expm1": np.expm1, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh,
    "asinh": np.arcsinh, "hypot": np.hypot, "isinf": np.isinf, "isfinite": np.isfinite,
    "isinteger": lambda x: float(x).is_integer(),
    "atan": lambda *x: np.arctan(*x) if len(x) == 1 else np.arctan2(*x),
    "log": _within(np.log, lambda x: x >= 0), "log2": _within(np.log2, lambda x: x >= 0),
    "log10": _within(np.log10, lambda x: x >= 0), "sqrt": _within(np.sqrt, lambda x: x >= 0),
    "log1p": _within(np.log1p, lambda x: x >= -1), "asin": _within(np.arcsin, lambda x: abs(x) <= 1),
    "acos": _within(np.arccos, lambda x: abs(x) <= 1), "acosh": _within(np.arccosh, lambda x: x >= 1),
    "atanh": _within(np.arctanh, lambda x: abs(x) <= 1),
    **{n: _within(getattr(np, n), lambda x: not np.isinf(x)) for n in ("sin", "cos", "tan")},
    "max": lambda a, b: np.maximum(a, b), "min": lambda a, b: np.minimum(a, b),
    "ifelse": lambda c, a, b: a if c else b,
    "erf": _scalar(math.erf), "erfc": _scalar(math.erfc), "loggamma": _scalar(math.lgamma),
    "digamma": _digamma(0), "trigamma": _digamma(1),
}  # fmt: skip


class Method(NamedTuple):
    """A function: its arguments and the lines of its body."""

    arguments: list[str]
    body: list[str]

    def __call__(self, *values: Any, dtype: Any = np.float64, fields: dict[str, Any] | None = None) -> Any:
        env: dict[str, Any] = {**dict(zip(self.arguments, values, strict=True)), **(fields or {})}
        for line in self.body:
            name, assigned, code = re.fullmatch(r"(?:(\w+) (=) )?(.*)", line).groups()  # type: ignore[union-attr]
            if name == "T":
                continue
            found = value(code, env, dtype)
            if assigned:
                env[name] = found
        return found


class File(NamedTuple):
    """The type, its base, fields with defaults, methods by name and number of numbers, and traits as text."""

    name: str
    base: str
    fields: dict[str, float | None]
    methods: dict[str, Method]
    traits: dict[str, str]

    def call(self, method: str, output: Any, target: Any, dtype: Any = np.float64) -> Any:
        """What LossFunctions.jl makes of it for an output and a target."""
        fields = {f"loss.{n}": v for n, v in self.fields.items()}
        found = self.methods[method]
        if self.base == "SupervisedLoss":
            return found(output, target, dtype=dtype, fields=fields)
        if self.base == "DistanceLoss":
            return found(output - target, dtype=dtype, fields=fields)
        made = found(target * output, dtype=dtype, fields=fields)
        return target * made if method == "deriv" else made


def read(text: str) -> File:
    """A file that the target julia emitted."""
    code = "\n".join(re.sub(r"\s*#.*", "", line) for line in text.split("\n"))
    name, base = re.search(r"struct (\w+) <: (\w+)", code).groups()  # type: ignore[union-attr]
    found = re.search(rf"function {name}\((.*)\)", code)
    fields: dict[str, float | None] = {}
    for one in (f for f in (found.group(1) if found else "").split(", ") if f):
        field, _, default = one.partition("=")
        fields[field] = float(default) if default else None
    methods = {}
    for header, body in re.findall(r"^function (\(loss::\w+\)\(.*\)|deriv2?\(.*\))\n((?:    .*\n)+)end", code, re.M):
        arguments = re.findall(r"(\w+)::Number", header)
        methods[header.split("(")[0] or "value"] = Method(arguments, [line.strip() for line in body.splitlines()])
    traits = dict(re.findall(rf"^(is\w+)\((?:loss)?::{name}\) = (.*)$", code, re.M))
    return File(name, base, fields, methods, traits)


def read_function(text: str) -> Method:
    """The one function of a PySR text."""
    header, *body, end = [re.sub(r"\s*#.*", "", line) for line in text.strip().split("\n")]
    found = re.fullmatch(r"function loss\((.*)\)", header)
    assert found is not None and end == "end"
    return Method(found.group(1).split(", "), [line.strip() for line in body if line.strip()])


def value(code: str, env: dict[str, Any], dtype: Any) -> Any:
    """The value of an expression."""
    tokens = _TOKEN.findall(code)
    assert "".join(tokens) == re.sub(r"\s", "", code), f"not of the subset: {code}"
    with np.errstate(all="ignore"):
        found, rest = _expression(tokens, env, dtype)
    assert not rest, (code, rest)
    return found


def _expression(tokens: list[str], env: dict[str, Any], dtype: Any) -> tuple[Any, list[str]]:
    condition, rest = _operation(tokens, 0, env, dtype)
    if rest[:1] != ["?"]:
        return condition, rest
    taken, other = _split(rest[1:])
    found, left = _expression(taken if condition else other, env, dtype)
    return found, left if not condition else _after(other)


def _split(tokens: list[str]) -> tuple[list[str], list[str]]:
    """The two branches of a ternary, without evaluating either."""
    depth = nested = 0
    for i, token in enumerate(tokens):
        depth += (token == "(") - (token == ")")
        nested += depth == 0 and token == "?"
        if token == ":" and depth == 0:
            if nested == 0:
                return tokens[:i], tokens[i + 1 :]
            nested -= 1
    raise AssertionError(f"a ternary without a colon: {tokens}")


def _after(tokens: list[str]) -> list[str]:
    """What follows an expression that is not evaluated: a closing bracket or a comma of what is around it."""
    depth = 0
    for i, token in enumerate(tokens):
        if depth == 0 and token in (")", ","):
            return tokens[i:]
        depth += (token == "(") - (token == ")")
    return []


def _operation(tokens: list[str], least: int, env: dict[str, Any], dtype: Any) -> tuple[Any, list[str]]:
    left, rest = _operand(tokens, env, dtype)
    chain = True
    while rest and _BINARY.get(rest[0], -1) >= max(least, 1):
        sign, level = rest[0], _BINARY[rest[0]]
        if sign in ("&&", "||") and bool(left) is (sign == "||"):
            return left, _after(rest[1:]) if not _ternary(rest) else rest[_ternary(rest) :]
        right, rest = _operation(rest[1:], level + (sign != "^"), env, dtype)
        if level == 4:
            chain = chain and bool(_COMPARE[sign](left, right))
            left = right if rest and _BINARY.get(rest[0]) == 4 else chain
            continue
        left = _apply(sign, left, right)
    return left, rest


def _ternary(tokens: list[str]) -> int:
    """Where the question mark stands that a condition ends with, 0 if there is none."""
    depth = 0
    for i, token in enumerate(tokens):
        if depth == 0 and token == "?":
            return i
        if depth == 0 and token in (")", ","):
            return 0
        depth += (token == "(") - (token == ")")
    return 0


_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq,
            "!=": operator.ne}  # fmt: skip


def _apply(sign: str, a: Any, b: Any) -> Any:
    if sign in ("&&", "||"):
        return bool(b)
    if sign == "^":
        if a < 0 and not float(b).is_integer():
            raise DomainError(f"{a}^{b}")
        return a**b
    if sign == "/" and not isinstance(a, np.floating) and not isinstance(b, np.floating):
        return a / b
    return {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}[sign](a, b)


def _operand(tokens: list[str], env: dict[str, Any], dtype: Any) -> tuple[Any, list[str]]:
    token, rest = tokens[0], tokens[1:]
    if token == "-":
        found, rest = _operation(rest, _SIGN + 1, env, dtype)
        return -found, rest
    if token == "!":
        found, rest = _operand(rest, env, dtype)
        return not found, rest
    if token == "(":
        found, rest = _expression(rest, env, dtype)
        assert rest[0] == ")", rest
        return found, rest[1:]
    if token[0].isdigit():
        return (int(token) if token.isdigit() else float(token)), rest
    if rest[:1] == ["("]:
        return _called(token, rest[1:], env, dtype)
    return {"NaN": np.nan, "Inf": np.inf, "pi": np.pi, "ℯ": np.e, "T": dtype, "true": True, "false": False, **env}[
        token
    ], rest


def _called(name: str, rest: list[str], env: dict[str, Any], dtype: Any) -> tuple[Any, list[str]]:
    args = []
    while True:
        found, rest = _expression(rest, env, dtype)
        args.append(found)
        if rest[0] == ")":
            break
        assert rest[0] == ",", rest
        rest = rest[1:]
    if name == "T":
        return dtype(args[0]), rest[1:]
    if name in ("zero", "one"):
        return dtype(name == "one"), rest[1:]
    return FUNCTIONS[name](*args), rest[1:]
