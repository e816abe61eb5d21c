"""The operator table: the one list that the parser, passes, targets, documentation and tests all read.

>>> OPS["log"].doc
'the natural logarithm, for x > 0'
>>> lookup("ln").name
'log'
"""

from __future__ import annotations

from functools import cache

from lossc.compiler.ir import LEAF_OPS, Expr
from lossc.compiler.ops.arithmetic import ARITHMETIC, CONSTANTS, EPSILON
from lossc.compiler.ops.binary import COMPARISONS, MULTIPLE
from lossc.compiler.ops.classwise import CLASSWISE
from lossc.compiler.ops.elementary import ELEMENTARY
from lossc.compiler.ops.forms import with_forms
from lossc.compiler.ops.protected import PROTECTED, WITH_EPSILON
from lossc.compiler.ops.record import BOOL_KIND, MAP, REAL_KIND, REDUCE, SIZE, OpRecord, call
from lossc.compiler.ops.stable import STABLE

__all__ = [
    "BOOL_KIND", "EPSILON", "MAP", "OPS", "REAL_KIND", "REDUCE", "SIZE", "WITH_EPSILON", "OpRecord", "call", "kind_of",
    "load_plugins", "lookup", "names", "record",
]  # fmt: skip

GROUP = "lossc.operators"
"""The entry points of packages that bring operators: each is an `OpRecord`, or a list of them."""

OPS: dict[str, OpRecord] = with_forms(
    {
        r.name: r
        for r in (*CONSTANTS, *ARITHMETIC, *ELEMENTARY, *MULTIPLE, *COMPARISONS, *STABLE, *PROTECTED, *CLASSWISE)
    }
)
"""Every operator by its canonical name, in the order of the documentation; those of plug-ins once they are asked for."""

_ALIASES: dict[str, str] = {alias: r.name for r in OPS.values() for alias in r.aliases}
if clash := _ALIASES.keys() & OPS.keys():
    raise AssertionError(f"aliases that are also operator names: {sorted(clash)}")


def lookup(name: str) -> OpRecord | None:
    """The record that a written name (canonical or alias) means, if any: ours first, then those of plug-ins."""
    found = OPS.get(_ALIASES.get(name, name))
    if found is None and name.isidentifier():
        load_plugins()
        found = OPS.get(_ALIASES.get(name, name))
    return found


@cache
def load_plugins() -> None:
    """Add the operators of installed plug-ins, once; those that cannot be had are warned of, never an error."""
    from lossc.compiler.plugins import load_entry_points, warn_of

    for origin, found in load_entry_points(GROUP, OpRecord):
        clashing = [n for n in (found.name, *found.aliases) if n in OPS or n in _ALIASES or n in LEAF_OPS]
        if clashing or not found.name.isidentifier():
            warn_of(origin, f"`{found.name}` is not a new name of an operator")
            continue
        OPS[found.name] = found
        _ALIASES.update(dict.fromkeys(found.aliases, found.name))


def names() -> list[str]:
    """All names that can be written, aliases included."""
    load_plugins()
    return [*OPS, *_ALIASES]


def record(here: Expr) -> OpRecord:
    """The record of a node that is not a leaf."""
    return OPS[here.op]


def kind_of(here: Expr) -> str:
    """ "real" or "bool": what the node evaluates to."""
    return REAL_KIND if here.op in LEAF_OPS else OPS[here.op].gives
