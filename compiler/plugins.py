"""Plug-ins: objects of installed packages, found through entry points. Whatever goes wrong with one is a warning."""

from __future__ import annotations

import warnings
from typing import Any


def load_entry_points(group: str, kind: type[Any]) -> list[tuple[str, Any]]:
    """What the entry points of a group hold, each (who, record): a record, or a list of them, of the kind.

    A plug-in is someone else's code: whatever goes wrong with it is a warning that names it.
    """
    from importlib.metadata import entry_points

    found: list[tuple[str, Any]] = []
    for point in sorted(entry_points(group=group), key=lambda p: (p.name, p.value)):
        try:
            held = point.load()
        except Exception as problem:
            warn_of(f"{point.name} = {point.value}", f"{type(problem).__name__}: {problem}")
            continue
        records = list(held) if isinstance(held, (list, tuple)) else [held]
        wrong = [r for r in records if not isinstance(r, kind)]
        if wrong:
            warn_of(f"{point.name} = {point.value}", f"it holds {type(wrong[0]).__name__}, not {kind.__name__}")
        found += [(f"{point.name} = {point.value}", r) for r in records if isinstance(r, kind)]
    return found


def warn_of(who: str, why: str) -> None:
    """Say that a plug-in is left out."""
    warnings.warn(f"the plug-in {who} is left out: {why}", RuntimeWarning, stacklevel=3)
