"""Three-address code made leaner: what is computed twice is computed once, and a temporary that is read for the last
time is overwritten.

Only for code that no gradient is recorded of. A temporary may be overwritten if its memory is its own (not that of an
argument, nor shared with a view of it), if it has the shape and the kind of what takes its place, and if nothing reads
it later.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass

_LINE = re.compile(r"(v\d+) = (.*?)(  # .*)?$")
_TEMPORARY = re.compile(r"\bv\d+\b")

NUMBER, ROW, FULL = range(3)
"""How much a temporary holds: a number (of Python, or a scalar tensor), a value a row (a reduction), one an element."""

_METHODS = frozenset({
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "clamp", "cos", "cosh", "digamma", "erf", "erfc", "exp",
    "expm1", "lgamma", "log", "log10", "log1p", "log2", "relu", "sigmoid", "sign", "sin", "sinh", "sqrt", "tan", "tanh",
})  # fmt: skip
"""Functions of torch whose first argument can be overwritten: `torch.exp(v)` is `v.exp_()`."""
_INFIX: dict[type[ast.operator], str] = {ast.Add: "add_", ast.Sub: "sub_", ast.Mult: "mul_", ast.Div: "div_"}
_COMMUTES = (ast.Add, ast.Mult)
_SYMMETRIC = frozenset({"torch.hypot", "torch.maximum", "torch.minimum", "torch.logaddexp"})
_VIEWS = frozenset({"broadcast_to", "squeeze", "detach"})
_REDUCTIONS = frozenset({"sum", "mean", "amax", "logsumexp"})

METHODS = frozenset({*(f"{m}_" for m in _METHODS), *_INFIX.values(), "neg_"})
"""The methods that the rewritten lines call."""


@dataclass(slots=True)
class _Temporary:
    """How much there is, whether the memory is its own, and whether it holds truth values."""

    kind: int
    owned: bool
    truth: bool = False


def shared(lines: Iterable[str], results: Iterable[str]) -> tuple[list[str], list[str]]:
    """The lines without those that compute again what an earlier one has, and the results under their new names."""
    first: dict[str, str] = {}
    renamed: dict[str, str] = {}
    out: list[str] = []

    def current(text: str) -> str:
        return _TEMPORARY.sub(lambda m: renamed.get(m[0], m[0]), text)

    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None:
            out.append(current(line))
            continue
        name, text, note = found[1], current(found[2]), found[3] or ""
        key = _unordered(text)
        if key in first:
            renamed[name] = first[key]
        else:
            first[key] = name
            out.append(f"{name} = {text}{note}")
    return out, [current(r) for r in results]


def _unordered(text: str) -> str:
    """The operation with operands in one order, where the order does not matter."""
    tree = ast.parse(text, mode="eval").body
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, _COMMUTES):
        return f"{type(tree.op).__name__} of {sorted(map(ast.unparse, (tree.left, tree.right)))}"
    if isinstance(tree, ast.Call) and ast.unparse(tree.func) in _SYMMETRIC and not tree.keywords:
        return f"{ast.unparse(tree.func)} of {sorted(map(ast.unparse, tree.args))}"
    return text


def overwrite(lines: Iterable[str], results: Iterable[str], full: Iterable[str]) -> list[str]:
    """The lines with methods that overwrite where that is safe; `results` are read after the last line, `full` names
    the arguments that have a value for each element."""
    code = list(lines)
    results = list(results)
    last = {name: i for i, line in enumerate(code) for name in _TEMPORARY.findall(line)}
    last |= dict.fromkeys(results, len(code))
    known = {name: _Temporary(FULL, owned=False) for name in full}
    out: list[str] = []
    for i, line in enumerate(code):
        found = _LINE.fullmatch(line)
        if found is None:
            out.append(line)
            continue
        name, text, note = found[1], found[2], found[3] or ""
        tree = ast.parse(text, mode="eval").body
        made = _describe(tree, known)
        _share_memory(tree, made, known)
        dying = {n for n in _TEMPORARY.findall(text) if last[n] == i}
        better = _overwriting(tree, made, known, dying) if made.owned else None
        out.append(line if better is None else f"{name} = {better}{note}")
        known[name] = made
    return out


def fills(lines: Iterable[str], result: str, full: Iterable[str]) -> bool:
    """Whether the result has a value for each element, whatever the hyper-parameters are: not a number or a row."""
    known = {name: _Temporary(FULL, owned=False) for name in full}
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is not None:
            known[found[1]] = _describe(ast.parse(found[2], mode="eval").body, known)
    return result in known and known[result].kind == FULL


def _describe(tree: ast.expr, known: dict[str, _Temporary]) -> _Temporary:
    """What the value of one operation is; of two branches, at least what either is."""
    if isinstance(tree, ast.IfExp):
        kinds = [_describe(branch, known).kind for branch in (tree.body, tree.orelse)]
        return _Temporary(min(kinds), owned=False)
    operands = [known[n.id] for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id in known]
    kind = max((o.kind for o in operands), default=NUMBER)
    function = tree.func if isinstance(tree, ast.Call) else None
    named = function.attr if isinstance(function, ast.Attribute) else ""
    if named in _REDUCTIONS:
        return _Temporary(min(kind, ROW), owned=kind != NUMBER)
    if named in ("full", "ones"):
        return _Temporary(NUMBER, owned=False)
    if named == "broadcast_to":
        return _Temporary(FULL, owned=False)
    fresh = not isinstance(tree, ast.Name) and named not in _VIEWS
    return _Temporary(kind, owned=fresh and kind != NUMBER, truth=isinstance(tree, ast.Compare))


def _share_memory(tree: ast.expr, made: _Temporary, known: dict[str, _Temporary]) -> None:
    """A value that may be another's memory takes the ownership from that one too."""
    if not made.owned:
        for here in ast.walk(tree):
            if isinstance(here, ast.Name) and here.id in known:
                known[here.id].owned = False


def _overwriting(tree: ast.expr, made: _Temporary, known: dict[str, _Temporary], dying: set[str]) -> str | None:
    """The operation with its result in the memory of an operand, if one may be overwritten."""

    def free(here: ast.expr) -> bool:
        if not isinstance(here, ast.Name) or here.id not in dying or here.id not in known:
            return False
        operand = known[here.id]
        return operand.owned and operand.kind == made.kind and not (operand.truth or made.truth)

    if isinstance(tree, ast.BinOp) and type(tree.op) in _INFIX:
        first, second = tree.left, tree.right
        if not free(first) and isinstance(tree.op, _COMMUTES) and free(second):
            first, second = second, first
        if free(first) and ast.unparse(first) != ast.unparse(second):
            return f"{ast.unparse(first)}.{_INFIX[type(tree.op)]}({ast.unparse(second)})"
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub) and free(tree.operand):
        return f"{ast.unparse(tree.operand)}.neg_()"
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Attribute) and ast.unparse(tree.func.value) == "torch":
        plain = not tree.keywords and all(not isinstance(a, ast.Name) or a.id not in known for a in tree.args[1:])
        if tree.func.attr in _METHODS and plain and free(tree.args[0]):
            return f"{ast.unparse(tree.args[0])}.{tree.func.attr}_({', '.join(map(ast.unparse, tree.args[1:]))})"
    return None
