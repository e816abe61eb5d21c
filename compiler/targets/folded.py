"""A DAG as text with names for what is used more than once: for targets that people read as formulas.

What is used once stands inside what uses it, as long as the line stays short; everything else is bound to a name first.
Targets of many numbers print one operation a line instead (`lossc.compiler.targets.printer`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lossc.compiler import ops
from lossc.compiler.ir import LEAF_OPS, Expr, postorder

_HOLE = re.compile(r"\{(\d+)\}")
_LEVELS = {"<": 5, "<=": 5, ">": 5, ">=": 5, "+": 10, "-": 10, "*": 20, "/": 20, "**": 30}
_MINUS, _ATOM = 25, 40
"""How tightly operators of Python bind; a sign before its operand binds like `_MINUS`."""


@dataclass(frozen=True, slots=True)
class Folded:
    """The bindings in order, (name, text), and the text of each root."""

    bindings: tuple[tuple[str, str], ...]
    results: tuple[str, ...]


def folded(
    roots: Sequence[Expr],
    template: Callable[[Expr], str],
    leaf: Callable[[Expr], str],
    *,
    name: str = "v{0}",
    brackets: bool = False,
    width: int = 48,
) -> Folded:
    """The roots as text.

    template  the form of an operation, over `{0}`, `{1}`, ...; `leaf` writes a leaf
    name      what a binding is called
    brackets  whether operands get the brackets that Python's precedence asks for; else the forms have them all
    width     characters from which on an operation is bound to a name
    """
    forms = {here: template(here) for here in postorder(*roots) if here.op not in LEAF_OPS}
    uses = _uses(roots, forms)
    text: dict[Expr, str] = {}
    levels: dict[Expr, int] = {}
    bindings: list[tuple[str, str]] = []
    for here in postorder(*roots):
        if here.op in LEAF_OPS:
            text[here] = leaf(here)
            levels[here] = _MINUS if text[here].startswith("-") else _ATOM
            continue
        operands = [(text[a], levels[a] if brackets else _ATOM) for a in here.args]
        made, levels[here] = _filled(forms[here], operands), _level(forms[here])
        large = uses[here] > 1 or (len(made) > width and here not in roots)
        if here.args and large and ops.kind_of(here) == ops.REAL_KIND:
            bound = name.format(len(bindings))
            bindings.append((bound, made))
            made, levels[here] = bound, _ATOM
        text[here] = made
    return Folded(tuple(bindings), tuple(text[root] for root in roots))


def _uses(roots: Sequence[Expr], forms: Mapping[Expr, str]) -> Counter[Expr]:
    """How often the text of each node would stand somewhere."""
    found: Counter[Expr] = Counter(roots)
    for here, form in forms.items():
        for hole in _HOLE.findall(form):
            found[here.args[int(hole)]] += 1
    return found


def _filled(form: str, operands: Sequence[tuple[str, int]]) -> str:
    def put(hole: re.Match[str]) -> str:
        text, level = operands[int(hole[1])]
        before, after = form[: hole.start()].split(" "), form[hole.end() :].split(" ")
        left, right = before[-2] if len(before) > 1 and not before[-1] else "", after[1] if len(after) > 1 else ""
        need = max(_LEVELS.get(left, 0) + 1, _LEVELS.get(right, 0) + (right == "**"))
        if before[-1].endswith("-"):
            need = max(need, _MINUS + 1)
        return text if level >= need else f"({text})"

    return _HOLE.sub(put, form)


def _level(form: str) -> int:
    """How tightly a form binds: by the weakest operator outside of brackets."""
    depth, found = 0, _MINUS if form.startswith("-") else _ATOM
    for word in form.split(" "):
        if depth == 0 and word in _LEVELS:
            found = min(found, _LEVELS[word])
        depth += word.count("(") - word.count(")")
    return found
