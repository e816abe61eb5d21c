"""Options that belong to one target: what they are called, what they take, and how they are read from a command line.

    Option("dtype", "of all real numbers in the model", choices=("float32", "float64"))

From Python they are keyword arguments of `emit`; on the command line `--option dtype=float64`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossc.compiler.errors import UsageError

if TYPE_CHECKING:
    from lossc.compiler.targets.registry import Target

_TRUTH = {"yes": True, "true": True, "1": True, "on": True, "no": False, "false": False, "0": False, "off": False}


@dataclass(frozen=True, slots=True)
class Option:
    """A keyword option of a target's `emit` that has a name for everybody.

    name     the keyword
    doc      what it says, in a few words
    kind     bool, int, float or str
    choices  the texts that it may be; () for any of its kind
    """

    name: str
    doc: str
    kind: type[bool] | type[int] | type[float] | type[str] = str
    choices: tuple[str, ...] = ()

    @property
    def values(self) -> str:
        """What it takes, in words."""
        if self.choices:
            return ", ".join(c or '""' for c in self.choices)
        return {bool: "yes, no", int: "a whole number", float: "a number"}.get(self.kind, "text")

    def read(self, text: str) -> Any:
        """The value that a text stands for. Raises UsageError (L245)."""
        if self.kind is bool and text.lower() in _TRUTH:
            return _TRUTH[text.lower()]
        if self.kind is str and (not self.choices or text in self.choices):
            return text
        if self.kind in (int, float):
            try:
                return self.kind(text)
            except ValueError:
                pass
        raise UsageError("L245", f"`{text[:40]}` is not a value of the option {self.name}", expected=self.values)


SELFTEST = Option("selftest", "whether the file tests itself", bool)


def read_options(given: Sequence[str], targets: Sequence[Target]) -> dict[str, Any]:
    """`NAME=VALUE` texts as options, each of at least one of the targets.

    Raises UsageError: L235 for a text of another form or a name given twice, L245 for an option that no target has, or
    a value that it does not take.
    """
    known: Mapping[str, Option] = {o.name: o for target in reversed(targets) for o in target.declared}
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name:
            raise UsageError("L235", f"`{text[:40]}` is not an option of a target", expected="--option NAME=VALUE")
        if name in found:
            raise UsageError("L235", f"the option {name} is given twice")
        if name not in known:
            raise _unknown(name, targets, known)
        found[name] = known[name].read(value)
    return found


def _unknown(name: str, targets: Sequence[Target], known: Mapping[str, Option]) -> UsageError:
    from difflib import get_close_matches

    whose = f"the target {targets[0].name}" if len(targets) == 1 else "any target"
    close = get_close_matches(name, list(known), n=1)
    hint = f"did you mean `{close[0]}`?" if close else "`lossc targets` shows the options of each"
    expected = "one of: " + ", ".join(known) if known else "none: it has no options"
    return UsageError("L245", f"`{name[:40]}` is not an option of {whose}", expected=expected, hint=hint)
