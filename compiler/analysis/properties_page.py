"""docs/properties.md: what each property means, and which named loss has it. Generated, so that it cannot be wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lossc.compiler.analysis.verdicts.catalogue import PROPERTIES
from lossc.compiler.analysis.verdicts.judge import Verdicts
from lossc.compiler.analysis.verdicts.verdict import PROVED, REFUTED, UNKNOWN

_MARKS = {PROVED: "yes", REFUTED: "no", UNKNOWN: "?"}
_KINDS = {
    "regression": "Regression", "margin": "Scores, y = -1 or +1", "label": "Two classes, y = 0 or 1",
    "classes": "Classes, a term each", "soft": "Distributions", "row": "Classes that depend on each other",
}  # fmt: skip
_HEAD = """# Properties of the named losses

Made by `lossc analyze --all --markdown docs/properties.md`; a test compares this page with what the command gives.
[Analysis](analysis.md) says how each verdict is reached and what it is worth.

"yes" is proved, on the whole domain that the roles declare, at the default hyper-parameters. "no" is refuted by a point
that torch replays. "?" is not decided. A blank does not apply. `lossc analyze NAME` gives certificates and points.
"""


def properties_page(found: Iterable[Verdicts]) -> str:
    """The page, of the verdicts on some losses."""
    every = list(found)
    total = sum(len(v.found) for v in every)
    counts = {s: sum(len(v.of(s)) for v in every) for s in (PROVED, REFUTED, UNKNOWN)}
    said = ", ".join(f"{n:,} {s}" for s, n in counts.items())
    decided = 100 * (1 - counts[UNKNOWN] / max(total, 1))
    parts = [_HEAD, f"{len(every)} losses, {total:,} verdicts: {said}; {decided:.1f} % are decided.\n", _meanings()]
    for kind, title in _KINDS.items():
        here = [v for v in every if v.kind == kind]
        if here:
            parts.append(f"## {title}\n\n{_table(here)}")
    return "\n".join(parts)


def _meanings() -> str:
    rows = [f"| `{p.name}` | {p.means} | {p.group} |" for p in PROPERTIES]
    return "\n".join(["## What they mean\n", "| property | says | group |", "|---|---|---|", *rows]) + "\n"


def _table(found: Sequence[Verdicts]) -> str:
    """A row for each property, a column for each loss; cut into tables of a width that can be read."""
    out = []
    for start in range(0, len(found), _WIDTH):
        some = found[start : start + _WIDTH]
        names = [p.name for p in PROPERTIES if any(p.name in v.found for v in found)]
        out.append("| |" + "".join(f" {v.loss.name} |" for v in some))
        out.append("|---|" + "---|" * len(some))
        out += [f"| {name} |" + "".join(f" {_mark(v, name)} |" for v in some) for name in names]
        out.append("")
    return "\n".join(out)


_WIDTH = 8


def _mark(found: Verdicts, name: str) -> str:
    verdict = found.found.get(name)
    if verdict is None:
        return ""
    value = f" ({verdict.value})" if verdict.value and verdict.status == PROVED else ""
    return _MARKS[verdict.status] + value
