"""Lines of Python as `ruff format` leaves them: definitions and calls, broken where they would be too long."""

from __future__ import annotations

from collections.abc import Iterable

WIDTH = 120


def indent(lines: Iterable[str], by: int = 4) -> str:
    """The lines with a margin, but for empty ones."""
    return "\n".join(" " * by + line if line else "" for line in lines)


def signature(name: str, arguments: list[str], returns: str, by: int = 0) -> str:
    """A `def` line, one argument a line where it would be too long, as ruff has it."""
    one = f"def {name}({', '.join(arguments)}) -> {returns}:"
    pad = " " * by
    if len(pad) + len(one) <= WIDTH:
        return pad + one
    inner = f"{pad}    {', '.join(arguments)}"
    if len(inner) <= WIDTH:
        return f"{pad}def {name}(\n{inner}\n{pad}) -> {returns}:"
    return "\n".join([f"{pad}def {name}(", *(f"{pad}    {a}," for a in arguments), f"{pad}) -> {returns}:"])


def call_line(function: str, arguments: list[str], by: int = 0, within: int = 0, brackets: str = "()") -> str:
    """A call, one argument a line where it would be too long, as ruff has it; `within` is added around it later."""
    pad, left, right = " " * by, brackets[0], brackets[-1]
    one = f"{pad}{function}{left}{', '.join(arguments)}{right}"
    if len(one) + within <= WIDTH:
        return one
    inner = f"{pad}    {', '.join(arguments)}"
    if (len(inner) + within <= WIDTH and brackets == "()") or len(arguments) == 1:
        return f"{pad}{function}{left}\n{inner}\n{pad}{right}"
    return "\n".join([f"{pad}{function}{left}", *(f"{pad}    {a}," for a in arguments), f"{pad}{right}"])
