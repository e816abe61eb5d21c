"""`lossc list`: the named losses."""

from __future__ import annotations

from typing import Annotated

import typer

from lossc.cli.context import Outcome, begin, table
from lossc.cli.formats import facts, roles
from lossc.cli.options import JsonOption, QuietOption
from lossc.compiler.loss import Loss

EXAMPLES = (
    "lossc list                # all of them",
    "lossc list huber          # those with this text in their name, description, roles or source",
    'lossc list "Table 4.1"    # by source',
    "lossc list onehot         # by role",
    "lossc list --json",
)


def run(
    ctx: typer.Context,
    text: Annotated[
        str | None,
        typer.Argument(metavar="[TEXT]", help="Only losses that hold this text, in any case.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> Outcome:
    """List the named losses with formula, roles and source. In a pipe: a line each, tab-separated."""
    begin(ctx, as_json, quiet)
    from lossc.grammar.library import named_losses

    found = [loss for loss in named_losses().values() if matches(loss, text or "")]
    data = {"losses": [facts(loss) for loss in found], "count": len(found)}
    if as_json:
        return Outcome(data)
    rows = [(loss.name, str(loss), roles(loss), loss.source) for loss in found]
    note = "" if found else f"no named loss holds {text!r}: `lossc list` shows all of them"
    return Outcome(data, table(("name", "formula", "roles", "source"), rows) if rows else "", note)


def matches(loss: Loss, text: str) -> bool:
    """Whether every word of the text is somewhere in what is known of the loss."""
    known = " ".join((loss.name, str(loss), roles(loss), loss.doc, loss.source)).casefold()
    return text.casefold().strip() in known
