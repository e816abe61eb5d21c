"""`Expr` and `Loss` to text. What is printed parses back to the same object: `parse_expr(to_text(x)) is x`.

Three rules make that exact. Brackets stand where precedence needs them and nowhere else. Infix `a/b` of two literals
and a minus before a literal are one constant to the parser, so those constants print that way (`1/3`, `-2`) and the
operations on two constants print as calls (`div(1, 3)`, `neg(2)`). A named constant that a hyper-parameter hides prints
as a call too (`eps()`).

Beyond the limits of the language (100 levels as written, 2,000 nodes) the text is printed all the same, and reading it
back is refused with an error that names the limit; the JSON form (`lossc.compiler.serialize`) goes further.
"""

from __future__ import annotations

from collections.abc import Iterable

from lossc.compiler import ops
from lossc.compiler.docstrings import write_docstring
from lossc.compiler.errors import LimitError
from lossc.compiler.ir import ARG, COEF, CONST, PARAM, Expr, leaves
from lossc.compiler.literals import write_number
from lossc.compiler.loss import Loss, Parameter

MAX_PRINTED = 200_000
"""Nodes of the unfolded tree beyond which no text is made: a DAG can stand for more than fits into memory."""

_ATOM, _POWER, _MINUS, _PRODUCT, _SUM, _COMPARISON = 40, 30, 25, 20, 10, 5
_SEPARATOR = {"add": " + ", "sub": " - ", "mul": "*", "div": "/", "pow": "^"}


def to_text(root: Expr, *, hidden: Iterable[str] = ()) -> str:
    """The infix form, with the fewest brackets.

    `hidden` names hyper-parameters that are declared, used or not: constants of these names print as calls.
    Raises LimitError (L111) for trees of more than 200,000 nodes.
    """
    _check_size(root)
    names = {str(p.value) for p in leaves(root, PARAM)} | set(hidden)
    out: list[str] = []
    stack: list[Expr | str] = [root]
    while stack:
        here = stack.pop()
        if isinstance(here, str):
            out.append(here)
        elif not here.args:
            out.append(_leaf(here, names))
        else:
            stack.extend(reversed(_parts(here)))
    return "".join(out)


def _parts(here: Expr) -> list[Expr | str]:
    """What an operation is written as: operands and the text between them."""
    level = _level(here)
    if level == _ATOM:
        return _call(here)
    if here.op == "neg":
        return ["-", *_operand(here.args[0], _MINUS)]
    left, right = here.args
    sign = _SEPARATOR.get(here.op) or f" {ops.OPS[here.op].infix} "
    if here.op == "pow":
        return [*_operand(left, _ATOM), sign, *_operand(right, _MINUS)]
    if level == _COMPARISON:
        return [*_operand(left, _SUM), sign, *_operand(right, _SUM)]
    return [*_operand(left, level), sign, *_operand(right, level + 1)]


def _operand(here: Expr, least: int) -> list[Expr | str]:
    return [here] if _level(here) >= least else ["(", here, ")"]


def _level(here: Expr) -> int:
    """How tightly the written form binds: the higher, the tighter."""
    if here.op == CONST:
        text = write_number(here.number)
        return _PRODUCT if "/" in text else _MINUS if text[0] == "-" else _ATOM
    record = ops.OPS.get(here.op)
    if record is None or not record.infix:
        return _ATOM
    if here.op in ("div", "neg") and all(a.op == CONST for a in here.args):
        return _ATOM
    return record.precedence


def _call(here: Expr) -> list[Expr | str]:
    out: list[Expr | str] = [here.op + "("]
    for i, child in enumerate(here.args):
        out += [", ", child] if i else [child]
    return [*out, ")"]


def _leaf(here: Expr, hidden: set[str]) -> str:
    if here.op == CONST:
        return write_number(here.number)
    if here.op == COEF:
        return f"phi[{here.value}]"
    if here.op in (ARG, PARAM):
        return str(here.value)
    return f"{here.op}()" if here.op in hidden else here.op


def to_deap(root: Expr) -> str:
    """The prefix form that DEAP writes, `add(mul(y, f), 1)`; the parser reads it back exactly."""
    _check_size(root)
    names = {str(p.value) for p in leaves(root, PARAM)}
    out: list[str] = []
    stack: list[Expr | str] = [root]
    while stack:
        here = stack.pop()
        if isinstance(here, str):
            out.append(here)
        elif here.args:
            stack.extend(reversed(_call(here)))
        else:
            out.append(_leaf(here, names))
    return "".join(out)


def to_tree(root: Expr, *, max_lines: int = 500, max_depth: int = 100) -> str:
    """The tree as indented lines, cut at `max_lines` lines and `max_depth` levels, with a count of what is left out."""
    names = {str(p.value) for p in leaves(root, PARAM)}
    lines: list[str] = []
    stack: list[tuple[Expr, str, str]] = [(root, "", "")]
    while stack and len(lines) < max_lines:
        here, lead, below = stack.pop()
        lines.append(lead + (here.op if here.args else _leaf(here, names)))
        if here.args and len(below) >= 4 * max_depth:
            lines.append(f"{below}└── … {here.tree_size - 1:,} more")
            continue
        for i, child in enumerate(reversed(here.args)):
            branch, space = ("└── ", "    ") if i == 0 else ("├── ", "│   ")
            stack.append((child, below + branch, below + space))
    if stack:
        lines.append(f"… {sum(rest.tree_size for rest, _, _ in stack):,} more")
    return "\n".join(lines)


def to_definition(loss: Loss) -> str:
    """The text of a `.loss` file that parses back to an equal loss."""
    arguments = f"y: {loss.y}, f: {loss.f}"
    if loss.params:
        arguments += "; " + ", ".join(_parameter(p) for p in loss.params)
    lines = [f"loss {loss.name}({arguments}):", *_indent(write_docstring(loss.doc, loss.source))]
    lines.append("    " + to_text(loss.body, hidden=[p.name for p in loss.params]))
    return "\n".join(lines) + "\n"


def _indent(lines: list[str]) -> list[str]:
    return ["    " + line if line else "" for line in lines]


def _parameter(p: Parameter) -> str:
    return f"{p.name}: {p.role}" + (f" = {write_number(p.default)}" if p.default is not None else "")


def _check_size(root: Expr) -> None:
    if root.tree_size > MAX_PRINTED:
        raise LimitError("L111", f"the formula is too large to print: the limit is {MAX_PRINTED:,} nodes")
