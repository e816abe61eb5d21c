"""`lossc identify`: which known loss a loss is, or which ones are near; and which of several losses are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lossc.cli.context import Outcome, begin, table
from lossc.cli.given import Given
from lossc.cli.inputs import read_loss
from lossc.cli.options import (
    LOSS_HELP,
    Dialect,
    DialectOption,
    FOption,
    JsonOption,
    NameOption,
    ParamOption,
    QuietOption,
    SetOption,
    YOption,
    complete_loss,
)
from lossc.compiler.errors import UsageError

if TYPE_CHECKING:
    from lossc.compiler.analysis.identity import Duplicates, Identity, Match

EXAMPLES = (
    'lossc identify "sqrt(1 + (y - f)^2) - 1"',
    'lossc identify "-log(sum_c(y*f))" --y onehot --f prob',
    'lossc identify "abs(y - f)^1.5"                   # none of them: the nearest, with fitted hyper-parameters',
    'lossc identify "3*y^2 - 6*y*f + 3*f^2 + 1" --json',
    'lossc identify mse l2 huber "(f - y)^2" --duplicates   # which of several are the same',
)
LONGEST = 60
"""Characters of a formula where several losses are listed."""
MAX_TIMEOUT = 3600.0


def run(
    ctx: typer.Context,
    losses: Annotated[
        list[str],
        typer.Argument(metavar="LOSS...", help=LOSS_HELP, show_default=False, autocompletion=complete_loss),
    ],
    same: Annotated[
        bool, typer.Option("--duplicates", help="Say which of these losses are the same, or a*L + b with a > 0.")
    ] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", help="Stop looking after this time, for each loss.")
    ] = 10.0,
    y: YOption = None,
    f: FOption = None,
    name: NameOption = None,
    param: ParamOption = None,
    sets: SetOption = None,
    dialect: DialectOption = Dialect.lossc,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> Outcome:
    """Recognise a loss: which named loss it is, up to a*L + b and hyper-parameters, or which ones are nearest.

    "exactly" is said after a proof only: equal canonical forms, or equal values at 220 or more points of the domain,
    computed with 60 digits. The distance of others is the relative difference of their slopes in f.
    """
    session = begin(ctx, as_json, quiet)
    if not 0 < timeout <= MAX_TIMEOUT:
        raise UsageError("L235", f"--timeout must be between 0 and {MAX_TIMEOUT:,.0f} seconds, got {timeout:g}")
    given = Given(y, f, name, param or (), sets or (), dialect.value)
    read = [read_loss(text, given, session.warnings) for text in losses]
    labels = [label(text) for text in losses]
    if same:
        from lossc.compiler.analysis.duplicates import duplicates

        if len(read) < 2:
            raise UsageError("L235", "--duplicates compares several losses, and there is one")
        found = duplicates(read, timeout=timeout)
        return Outcome(found.as_json(labels), duplicates_text(found, labels))
    from lossc.compiler.analysis.identify import identify
    from lossc.grammar.library import named_losses

    known = tuple(named_losses().values())
    results = [identify(loss, known, timeout=timeout) for loss in read]
    if len(results) == 1:
        return Outcome(results[0].as_json(), identity_text(results[0]))
    parts = [f"{label}: {identity_text(r)}" for label, r in zip(labels, results, strict=True)]
    data: dict[str, Any] = {
        "losses": [{"loss": label, **r.as_json()} for label, r in zip(labels, results, strict=True)]
    }
    return Outcome(data, "\n".join(parts))


def label(text: str) -> str:
    """What a loss is called in a list: its argument, cut."""
    flat = " ".join(text.split())
    return flat if len(flat) <= LONGEST else flat[: LONGEST - 1] + "…"


def identity_text(found: Identity) -> str:
    """An identity for a reader: what it is and how that is known, or a table of the nearest."""
    lines = [found.headline()]
    if found.exact is not None:
        lines.append(f"how   {found.exact.how()}")
        lines += [_also(m) for m in found.also]
    notes = [f"note  {n}" for n in found.notes]
    text = "".join(f"{line}\n" for line in (*lines, *notes))
    if not found.nearest:
        return text
    rows = [(str(n), f"{n.distance:.2g}", ", ".join(n.twins)) for n in found.nearest]
    return text + table(("nearest", "distance", "same slopes"), rows, report=True)


def _also(match: Match) -> str:
    where = "" if match.proof.everywhere else ", where both have a value"
    return f"also  {match}{where}" + (f", {match.domain}" if match.domain else "")


def duplicates_text(found: Duplicates, labels: list[str]) -> str:
    """The groups of equal losses, a line a loss, or that there are none."""
    lines = []
    for group in found.repeated:
        first = labels[group[0].index]
        lines.append(first)
        for member in group[1:]:
            assert member.match is not None
            related = f"the same, {member.relation}" if member.relation == "exactly" else member.match.line("L")
            related += "" if member.match.proof.everywhere else ", where both have a value"
            related += f", {member.match.domain}" if member.match.domain else ""
            lines.append(f"  {labels[member.index]}   {related}")
    most = "at most " if found.notes else ""
    lines.append(f"{len(found.losses)} losses, {most}{len(found.groups)} different ones")
    return "".join(f"{line}\n" for line in (*lines, *(f"note  {n}" for n in found.notes)))
