"""Dialects: which operator a written name or sign means.

The operators themselves never change their meaning. A dialect is a table that the parser looks names up in, so a loss
printed again is always written in the dialect "lossc", whatever it was read from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lossc.compiler.errors import UsageError


@dataclass(frozen=True, slots=True)
class Dialect:
    """`meaning` maps the operator that a name or sign usually means to the one it means here; `arguments` are further
    names of y and f."""

    name: str
    doc: str
    meaning: Mapping[str, str] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)


_DEAP_ARGUMENTS = {"ARG0": "y", "ARG1": "f"}

DIALECTS: dict[str, Dialect] = {
    d.name: d
    for d in (
        Dialect("lossc", "every name means the mathematical function: log(x) is defined for x > 0, x / y for y != 0"),
        Dialect(
            "evomal",
            "the thesis's strings (Table 3.1): log(|x| + ε), sqrt(|x| + ε), and x / y is x / sqrt(1 + y^2)",
            {"log": "plog", "sqrt": "psqrt", "div": "aq"},
            _DEAP_ARGUMENTS,
        ),
        Dialect(
            "public",
            "the strings of EvoMAL's public code: log(max(|x|, ε)), sqrt(max(|x|, ε)), and x / y is x / sqrt(1 + y^2)",
            {"log": "clog", "sqrt": "csqrt", "div": "aq"},
            _DEAP_ARGUMENTS,
        ),
    )
}


def dialect_named(name: str) -> Dialect:
    """The dialect of that name; UsageError (L210) with the known ones if there is none."""
    found = DIALECTS.get(name)
    if found is None:
        raise UsageError("L210", f"`{name}` is not a dialect", expected="one of: " + ", ".join(DIALECTS))
    return found
