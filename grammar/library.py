"""The named losses of `lossc.compiler.library`, found by name: one name costs the reading of one definition's file."""

from __future__ import annotations

import difflib
import re
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING

from lossc.compiler.errors import UsageError
from lossc.compiler.loss import Loss
from lossc.grammar.parser import parse_losses

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEADER = re.compile(r"^loss[ \t]+([A-Za-z_][A-Za-z0-9_]*)[ \t]*\(", re.MULTILINE)


def names() -> tuple[str, ...]:
    """The names of all named losses, in alphabetical order. Nothing is parsed."""
    return tuple(sorted(_index()))


def named(name: str) -> Loss:
    """The named loss. Raises UsageError (L231), with the names that are close, if there is none."""
    file = _index().get(name)
    if file is None:
        close = difflib.get_close_matches(name, _index(), n=3, cutoff=0.6)
        hint = f"did you mean {' or '.join(f'`{c}`' for c in close)}? " if close else ""
        raise UsageError("L231", f"there is no named loss `{name}`", hint=f"{hint}`lossc list` shows all of them")
    return _file(file)[name]


def named_losses() -> Mapping[str, Loss]:
    """All named losses by name, in alphabetical order."""
    return {name: named(name) for name in names()}


@cache
def _texts() -> Mapping[str, str]:
    """The library's files by name."""
    found = (f for f in files("lossc.compiler.library").iterdir() if f.name.endswith(".loss"))
    return MappingProxyType({f.name: f.read_text(encoding="utf-8") for f in sorted(found, key=lambda f: f.name)})


@cache
def _index() -> Mapping[str, str]:
    """The file that each named loss stands in."""
    return {found.group(1): name for name, text in _texts().items() for found in _HEADER.finditer(text)}


@cache
def _file(name: str) -> Mapping[str, Loss]:
    return MappingProxyType({loss.name: loss for loss in parse_losses(_texts()[name], source_name=name)})
