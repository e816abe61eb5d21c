"""`lossc best`: the best losses of a search."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from lossc.cli.context import Outcome, begin
from lossc.cli.options import ForceOption, JsonOption, OutputOption, QuietOption
from lossc.cli.output import STDOUT, check_writable, write
from lossc.cli.searching import RunArgument, best_table
from lossc.compiler.errors import UsageError

EXAMPLES = (
    "lossc best runs/a",
    "lossc best runs/a --front                 # what is not beaten in both fitness and size",
    "lossc best runs/a --rank 2 -o second.loss # a definition that every command takes",
)


def run(
    ctx: typer.Context,
    folder: RunArgument,
    front: Annotated[bool, typer.Option("--front", help="The Pareto front over fitness and size.")] = False,
    count: Annotated[int, typer.Option("-n", "--count", metavar="N", help="So many rows.")] = 10,
    rank: Annotated[int, typer.Option("--rank", metavar="R", help="Which one -o writes.")] = 1,
    output: OutputOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> Outcome:
    """The best losses of a search, as far as it is: those that were judged again first, then the others by fitness.

    Nothing is computed: the journal of the run is read, which may go on meanwhile.
    """
    session = begin(ctx, as_json, quiet)
    if output is not None:
        check_writable(output, force=force)
    from lossc.runtime.search.folder import named_loss, read_run
    from lossc.runtime.search.found import found_losses, front_losses

    found = read_run(folder)
    losses = front_losses(found.search) if front else found_losses(found.search, found.finals)
    if not losses:
        raise UsageError("L271", f"no loss of {folder} has a fitness yet", hint="`lossc resume` goes on with it")
    if not 1 <= rank <= len(losses):
        raise UsageError("L223", f"`--rank` must be between 1 and {len(losses)}, got {rank}")
    name = str(found.about.get("name"))
    if output is not None:
        text = named_loss(losses[rank - 1], found.search, name, str(found.about.get("model"))).definition() + "\n"
        session.say(text) if output == STDOUT else write(output, text, force=force)
    facts: dict[str, Any] = {
        "run": folder, "over": found.over, "committed": found.search.committed, "output": output,
        "best": [f.as_json() for f in losses[:count]],
    }  # fmt: skip
    text = best_table(losses[:count], str(found.about.get("metric")), found.search.config)
    if not found.over:
        text += f"not at its end: {found.search.committed} losses so far; go on with: lossc resume {folder}\n"
    return Outcome(facts, "" if output == STDOUT else text)
