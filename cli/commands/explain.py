"""`lossc explain`: what an error code means."""

from __future__ import annotations

import difflib
from typing import Annotated

import typer

from lossc.cli.context import Outcome, begin, table
from lossc.cli.options import JsonOption, QuietOption
from lossc.compiler.codes import CODES
from lossc.compiler.errors import UsageError

EXAMPLES = (
    "lossc explain L101    # one code",
    "lossc explain         # all of them",
)


def run(
    ctx: typer.Context,
    code: Annotated[
        str | None, typer.Argument(metavar="[CODE]", help="A code as errors show it: L101.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> Outcome:
    """Explain an error code, or list all of them."""
    begin(ctx, as_json, quiet)
    if code is None:
        rows = [(name, text.partition("\n")[0]) for name, text in sorted(CODES.items())]
        return Outcome({"codes": CODES}, table(("code", "meaning"), rows))
    wanted = code.strip().strip("[]").upper()
    if wanted not in CODES:
        close = difflib.get_close_matches(wanted, CODES, n=1, cutoff=0.7)
        hint = f"did you mean {close[0]}? " if close else ""
        raise UsageError("L235", f"there is no code `{code[:20]}`", hint=f"{hint}`lossc explain` lists all codes")
    return Outcome({"code": wanted, "meaning": CODES[wanted]}, f"{wanted}: {CODES[wanted]}\n")
