"""`lossc show`: what is known of a loss, or one form of it."""

from __future__ import annotations

from typing import Annotated

import typer

from lossc.cli.context import Outcome, begin
from lossc.cli.formats import facts, format_for, render, shapes, signature
from lossc.cli.given import Given
from lossc.cli.inputs import read_loss
from lossc.cli.options import (
    Dialect,
    DialectOption,
    FOption,
    ForceOption,
    Format,
    JsonOption,
    LossArgument,
    NameOption,
    OutputOption,
    ParamOption,
    QuietOption,
    SetOption,
    YOption,
)
from lossc.cli.output import deliver
from lossc.compiler.cost import cost
from lossc.compiler.loss import Loss

EXAMPLES = (
    "lossc show pseudo_huber                        # what it is, its gradient, its source",
    'lossc show "(y - f)^2" --format tree',
    'lossc show "(y - f)^2" --format latex',
    "lossc show ace --format source                 # the PyTorch file, on the screen",
    "lossc show mse --format definition -o my.loss  # a start for a .loss file of your own",
    "lossc show my.loss --json",
)
MAX_SHOWN = 400
"""Characters of a formula in the overview."""


def run(
    ctx: typer.Context,
    loss: LossArgument,
    form: Annotated[
        Format | None,
        typer.Option("--format", help="One form of the loss instead of the overview.", show_default=False),
    ] = None,
    y: YOption = None,
    f: FOption = None,
    name: NameOption = None,
    param: ParamOption = None,
    sets: SetOption = None,
    dialect: DialectOption = Dialect.lossc,
    output: OutputOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> Outcome:
    """Show a loss: an overview, or with --format one form of it.

    text is the formula, definition a .loss file, tree its structure, deap the prefix form, json its versioned form,
    source the PyTorch file, grad the derivative dL/df.
    """
    session = begin(ctx, as_json, quiet)
    given = Given(y, f, name, param or (), sets or (), dialect.value)
    shown = read_loss(loss, given, session.warnings)
    if form is None and output is None:
        data = {**facts(shown), "gradient": str(shown.grad("f"))}
        return Outcome(data, "" if as_json else overview(shown))
    chosen = format_for(form, output)
    return deliver(render(shown, chosen), {**facts(shown), "format": chosen.value}, output, force=force)


def overview(loss: Loss) -> str:
    """The loss for a reader: its header, formula, meaning, source, shapes, gradient and size."""
    size = cost(loss.body)
    lines = [signature(loss), f"    {_cut(str(loss))}", ""]
    lines += [f"    {line}" for line in loss.doc.splitlines()] + ([""] if loss.doc else [])
    rows = {
        "source": loss.source,
        "takes": shapes(loss),
        "dL/df": _cut(str(loss.grad("f"))),
        "size": f"{size.size} nodes, depth {loss.body.depth}, work {size.work:g}",
    }
    lines += [f"{key:<8}{value}" for key, value in rows.items() if value]
    return "\n".join(lines) + "\n"


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…  ({len(text):,} characters; see --format)"
