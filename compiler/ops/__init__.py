"""The operator table: the one list that the parser, passes, targets, documentation and tests all read.

>>> OPS["log"].doc
'the natural logarithm, for x > 0'
>>> lookup("ln").name
'log'
"""

from __future__ import annotations

from lossc.compiler.ir import LEAF_OPS, Expr
from lossc.compiler.ops.arithmetic import ARITHMETIC, CONSTANTS, EPSILON
from lossc.compiler.ops.binary import COMPARISONS, MULTIPLE
from lossc.compiler.ops.classwise import CLASSWISE
from lossc.compiler.ops.elementary import ELEMENTARY
from lossc.compiler.ops.protected import PROTECTED, WITH_EPSILON
from lossc.compiler.ops.record import BOOL_KIND, MAP, REAL_KIND, REDUCE, SIZE, OpRecord, call
from lossc.compiler.ops.stable import STABLE

__all__ = [
    "BOOL_KIND", "EPSILON", "MAP", "OPS", "REAL_KIND", "REDUCE", "SIZE", "WITH_EPSILON", "OpRecord", "call", "kind_of",
    "lookup", "names", "record",
]  # fmt: skip

OPS: dict[str, OpRecord] = {
    r.name: r for r in (*CONSTANTS, *ARITHMETIC, *ELEMENTARY, *MULTIPLE, *COMPARISONS, *STABLE, *PROTECTED, *CLASSWISE)
}
"""Every operator by its canonical name, in the order of the documentation."""

_ALIASES: dict[str, str] = {alias: r.name for r in OPS.values() for alias in r.aliases}
if clash := _ALIASES.keys() & OPS.keys():
    raise AssertionError(f"aliases that are also operator names: {sorted(clash)}")


def lookup(name: str) -> OpRecord | None:
    """The record that a written name (canonical or alias) means, if any."""
    return OPS.get(_ALIASES.get(name, name))


def names() -> list[str]:
    """All names that can be written, aliases included."""
    return [*OPS, *_ALIASES]


def record(here: Expr) -> OpRecord:
    """The record of a node that is not a leaf."""
    return OPS[here.op]


def kind_of(here: Expr) -> str:
    """ "real" or "bool": what the node evaluates to."""
    return REAL_KIND if here.op in LEAF_OPS else OPS[here.op].gives
