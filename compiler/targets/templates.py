"""Templates of the operator records, filled in; composite ones split into single operations, equal ones done once."""

from __future__ import annotations

import ast
import math
import re
from functools import lru_cache

_HOLE = re.compile(r"\{(\d+)\}")
_NAME = "_hole{}"


def fill(template: str, operands: list[str]) -> str:
    """The template with its operands; a negative number gets brackets where an operator stands beside it."""

    def put(hole: re.Match[str]) -> str:
        operand = operands[int(hole[1])]
        if not operand.startswith("-"):
            return operand
        before, after = template[: hole.start()].rstrip(), template[hole.end() :].lstrip()
        enclosed = before[-1:] in _OPEN and (after[:1] in _CLOSE or (not before and after[:2] in _WEAKER))
        return operand if enclosed else f"({operand})"

    return _HOLE.sub(put, template)


_OPEN = ("", "(", ",", "f", "e")
_CLOSE = ("", ")", ",", "i", "e")
_WEAKER = ("+ ", "- ", "* ", "/ ", "< ", "> ", "<=", ">=", "==", "!=")
"""What stands beside a place where a minus sign needs no brackets (`f`, `i`, `e`: of if and else)."""


def holes(template: str) -> int:
    """How many places for operands the template has."""
    return len(_HOLE.findall(template))


@lru_cache(maxsize=512)
def steps(template: str, arity: int) -> tuple[str, ...]:
    """The template as single operations: hole `arity + i` is the result of step i, the last step is the value.

    >>> steps("torch.log(torch.abs({0}) + 1e-07)", 1)
    ('torch.abs({0})', '{1} + 1e-07', 'torch.log({2})')
    """
    found = ast.parse(_HOLE.sub(lambda m: _NAME.format(m[1]), template), mode="eval").body
    if isinstance(found, ast.IfExp):
        return (template,)
    splitter = _Splitter(arity)
    splitter.visit(found)
    return tuple(re.sub(r"_hole(\d+)", r"{\1}", s) for s in splitter.steps)


class _Splitter:
    """Turns nested operations into a list, inner ones first. Templates are small, so it recurses."""

    def __init__(self, arity: int) -> None:
        self.arity = arity
        self.steps: list[str] = []

    def visit(self, here: ast.expr) -> ast.expr:
        """An atom with the value of `here`, after adding the steps that it needs."""
        if isinstance(here, (ast.Name, ast.Constant, ast.Attribute, ast.Tuple)) or _is_negative_number(here):
            return here
        if isinstance(here, ast.Call):
            here.args = [self.visit(a) for a in here.args]
            if _is_number_function(here):
                return ast.Constant(_evaluated(here))
        elif isinstance(here, ast.BinOp):
            here.left, here.right = self.visit(here.left), self.visit(here.right)
        elif isinstance(here, ast.UnaryOp):
            here.operand = self.visit(here.operand)
        elif isinstance(here, ast.Compare):
            here.left, here.comparators = self.visit(here.left), [self.visit(c) for c in here.comparators]
        step = ast.unparse(here)
        if step not in self.steps:
            self.steps.append(step)
        return ast.Name(_NAME.format(self.arity + self.steps.index(step)))


def _is_negative_number(here: ast.expr) -> bool:
    return isinstance(here, ast.UnaryOp) and isinstance(here.op, ast.USub) and isinstance(here.operand, ast.Constant)


def _is_number_function(here: ast.Call) -> bool:
    """Whether the call is math.<function> of numbers, such as math.log(2.0)."""
    whole = ast.unparse(here.func)
    return whole.startswith("math.") and all(isinstance(a, ast.Constant) for a in here.args)


def _evaluated(here: ast.Call) -> float:
    name = ast.unparse(here.func).removeprefix("math.")
    return float(getattr(math, name)(*(a.value for a in here.args if isinstance(a, ast.Constant))))
