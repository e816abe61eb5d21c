"""`lossc grad`: closed-form derivatives."""

from __future__ import annotations

from typing import Annotated

import typer

from lossc.cli.context import Outcome, begin
from lossc.cli.formats import facts, format_for, render
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

EXAMPLES = (
    'lossc grad "(y - f)^2"                      # dL/df',
    "lossc grad pseudo_huber --wrt delta         # with respect to a hyper-parameter",
    'lossc grad "log(1 + exp(-y*f))" --order 2   # the curvature',
    "lossc grad mse --wrt y --format latex",
    'lossc grad "-y*log(f)" --y onehot --f prob --json',
)


def run(
    ctx: typer.Context,
    loss: LossArgument,
    wrt: Annotated[str, typer.Option("--wrt", metavar="NAME", help="f, y or a hyper-parameter.")] = "f",
    order: Annotated[int, typer.Option("--order", metavar="N", help="1: the derivative, 2: the second, ...")] = 1,
    form: Annotated[
        Format | None, typer.Option("--format", help="The form to print the result in.", show_default=False)
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
    """The derivative of a loss with respect to the prediction, the target or a hyper-parameter, in closed form."""
    session = begin(ctx, as_json, quiet)
    given = Given(y, f, name, param or (), sets or (), dialect.value)
    written = read_loss(loss, given, session.warnings)
    slope = written.grad(wrt, order=order)
    data = {**facts(slope), "of": str(written), "wrt": wrt, "order": order}
    return deliver(render(slope, format_for(form, output)), data, output, force=force)
