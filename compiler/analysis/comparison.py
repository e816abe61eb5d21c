"""Several losses side by side: their verdicts, costs, and how near each is to the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lossc.compiler.analysis.analysis_words import MARKS
from lossc.compiler.analysis.analyze import Analysis
from lossc.compiler.analysis.identify import identify
from lossc.compiler.analysis.verdicts.catalogue import PROPERTIES
from lossc.compiler.errors import LosscError


@dataclass(frozen=True)
class Comparison:
    """Analyses of losses, with labels by which they are told apart."""

    labels: tuple[str, ...]
    analyses: tuple[Analysis, ...]

    def head(self) -> list[str]:
        """The columns of `rows`."""
        return ["", *self.labels]

    def rows(self, *, differing: bool = False) -> list[list[str]]:
        """A row for each fact and each property; with `differing` only those in which the losses differ."""
        rows = [
            ["formula", *(a.formula for a in self.analyses)],
            ["known as", *(_known(a) for a in self.analyses)],
            ["beside the first", *self.relations()],
            ["work, value", *(f"{a.costs['value'].work:g}" for a in self.analyses)],
            [
                "work, gradient",
                *(f"{a.costs['gradient'].work:g}" if "gradient" in a.costs else "" for a in self.analyses),
            ],
        ]
        for p in PROPERTIES:
            cells = [_cell(a, p.name) for a in self.analyses]
            if any(cells) and not (differing and len(set(cells)) == 1):
                rows.append([p.name, *cells])
        return rows

    def relations(self) -> list[str]:
        """Each loss as a multiple of the first, or the distance of their slopes."""
        first, *others = self.analyses
        return ["", *(_relation(first, other, label) for other, label in zip(others, self.labels[1:], strict=True))]

    def data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "labels": list(self.labels),
            "relations": self.relations(),
            "losses": [{"name": a.loss.name, "formula": a.formula, **a.data()} for a in self.analyses],
        }

    def markdown(self) -> str:
        """The table as Markdown."""
        head = "| " + " | ".join(self.head()) + " |"
        rule = "|" + "---|" * len(self.head())
        rows = ["| " + " | ".join(c.replace("|", "\\|").replace("*", "\\*") for c in row) + " |" for row in self.rows()]
        return "\n".join([head, rule, *rows]) + "\n"


def _known(found: Analysis) -> str:
    return "" if found.identity is None or found.identity.exact is None else str(found.identity.exact)


def _cell(found: Analysis, name: str) -> str:
    verdict = found.verdicts.found.get(name)
    if verdict is None:
        return ""
    return f"{MARKS[verdict.status]} ({verdict.value})" if verdict.value else MARKS[verdict.status]


def _relation(first: Analysis, other: Analysis, label: str) -> str:
    try:
        found = identify(other.loss, [first.loss], timeout=5.0)
    except LosscError:
        return "not comparable"
    if found.exact is not None:
        return f"{found.exact.line('L')}, exactly"
    if not found.nearest:
        return "not comparable"
    near = found.nearest[0]
    return f"slopes {near.distance:.2g} from {near.scale:.3g} L"


def labels_of(analyses: Sequence[Analysis]) -> tuple[str, ...]:
    """The names of the losses, with numbers where they are the same."""
    names = [a.loss.name for a in analyses]
    return tuple(n if names.count(n) == 1 else f"{n} {names[: i + 1].count(n)}" for i, n in enumerate(names))
