"""What losses are made of in a search: the operators and leaves of thesis Table 3.1, or a user's choice."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from lossc.compiler import ops
from lossc.compiler.errors import UsageError
from lossc.compiler.ir import ONE, Expr, F, Y, const

MINUS_ONE = const(-1)


@dataclass(frozen=True)
class Primitives:
    """The function set and the terminal set of a search.

    functions   names of operators
    terminals   leaves: y, f and constants, equally likely
    weights     how often a function is drawn, beside 1 for the others
    """

    functions: tuple[str, ...]
    terminals: tuple[Expr, ...] = (Y, F, ONE, MINUS_ONE)
    weights: Mapping[str, float] = field(default_factory=dict)

    @property
    def terminal_share(self) -> float:
        """How likely a leaf is where both are allowed: the share of the terminals in all primitives, as in DEAP."""
        return len(self.terminals) / (len(self.terminals) + len(self.functions))

    def of_arity(self, arity: int) -> tuple[str, ...]:
        """The functions of so many arguments."""
        return tuple(n for n in self.functions if ops.OPS[n].arity == arity)

    def draw_function(self, rng: Random, arity: int | None = None) -> str:
        """A function by weight, of one arity if it is given."""
        names = self.functions if arity is None else self.of_arity(arity)
        return rng.choices(names, [self.weights.get(n, 1.0) for n in names])[0]

    def draw_terminal(self, rng: Random) -> Expr:
        """A leaf."""
        return rng.choice(self.terminals)


THESIS = Primitives(("add", "sub", "mul", "aq", "min", "max", "sign", "square", "abs", "plog", "psqrt", "tanh"))
"""Table 3.1: closed under protected division, logarithm and square root."""
PUBLIC = Primitives(("add", "sub", "mul", "aq", "sign", "square", "abs", "clog", "csqrt", "tanh", "min", "max"))
"""The public code's set: logarithm and square root are clamped, not shifted."""

_PROTECTED = {"log": "plog", "sqrt": "psqrt", "div": "aq", "divide": "aq"}
"""What a written name means here: a search wants functions that have a value everywhere."""


def chosen(names: Sequence[str], terminals: tuple[Expr, ...] = THESIS.terminals) -> Primitives:
    """The set that a user names: `add,sub,mul,aq,log`; log, sqrt and div are the protected ones of Table 3.1.

    Raises UsageError (L270) for a name that is no real function of one or two numbers, or for a set without any of two:
    a loss needs y and f.
    """
    found: dict[str, None] = {}
    for name in names:
        record = ops.lookup(_PROTECTED.get(name, name))
        if record is None or record.arity not in (1, 2) or record.axis or record.gives != ops.REAL_KIND:
            close = difflib.get_close_matches(name, ops.names(), n=1)
            raise UsageError(
                "L270", f"`{name[:40]}` is no function that a loss can be searched with",
                expected="elementwise functions of one or two numbers, such as add, sub, mul, aq, log, tanh",
                hint=f"did you mean `{close[0]}`?" if close else "",
            )  # fmt: skip
        found[record.name] = None
    made = Primitives(tuple(found), terminals)
    if not made.of_arity(2):
        raise UsageError("L270", "the functions of a search need one of two arguments", expected="add, sub, mul, ...")
    return made
