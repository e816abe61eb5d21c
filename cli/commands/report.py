"""`lossc report`: the report of a search, as a page."""

from __future__ import annotations

from pathlib import Path

import typer

from lossc.cli.context import Outcome, begin
from lossc.cli.options import ForceOption, JsonOption, OutputOption, QuietOption
from lossc.cli.output import deliver, write
from lossc.cli.searching import RunArgument

EXAMPLES = (
    "lossc report runs/a                       # writes runs/a/report.html",
    "lossc report runs/a -o found.html         # somewhere else; also while the search runs",
)


def run(
    ctx: typer.Context,
    folder: RunArgument,
    output: OutputOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> Outcome:
    """Write the report of a search, as far as it is: one page that needs nothing else, for a browser.

    Learning curve beside random search, what the filters did, operators, the best losses with pictures, lineage, the
    table of the test part, costs.
    """
    begin(ctx, as_json, quiet)
    from lossc.runtime.search.folder import REPORT, read_run
    from lossc.runtime.search.report import render_report
    from lossc.runtime.search.report.verdict import verdict

    found = read_run(folder)
    text, facts = render_report(found), {"run": folder, "verdict": verdict(found)}
    if output is None:
        path = str(Path(folder) / REPORT)
        write(path, text, force=True)
        return Outcome({**facts, "output": path}, "".join(f"{line}\n" for line in [*facts["verdict"], f"wrote {path}"]))
    return deliver(text, facts, output, force=force)
