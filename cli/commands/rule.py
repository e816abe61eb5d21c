"""`lossc rule`: the learning rule of a classification loss at the null epoch and near zero training error."""

from __future__ import annotations

from typing import Annotated

import typer

from lossc.cli.context import Outcome, begin
from lossc.cli.formats import facts
from lossc.cli.given import Given
from lossc.cli.inputs import read_loss
from lossc.cli.options import (
    Dialect,
    DialectOption,
    FOption,
    ForceOption,
    JsonOption,
    LossArgument,
    NameOption,
    OutputOption,
    ParamOption,
    QuietOption,
    SetOption,
    YOption,
)
from lossc.cli.output import check_writable, deliver
from lossc.compiler.analysis.dual_point import dual_point

EXAMPLES = (
    "lossc rule ace_phi                                  # the thesis's analysis of absolute cross-entropy",
    "lossc rule label_smoothing --classes 10 --set xi=0.2",
    'lossc rule "y*(1 - f)*exp(-f)" --y onehot --f prob  # any loss of one-hot targets and probabilities',
    "lossc rule focal --latex",
    "lossc rule bce --json",
)


def run(
    ctx: typer.Context,
    loss: LossArgument,
    classes: Annotated[
        int | None, typer.Option("--classes", metavar="N", help="The number of classes; a symbol C without it.")
    ] = None,
    latex: Annotated[bool, typer.Option("--latex", help="Print the values by cases, in LaTeX for math mode.")] = False,
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
    """What a classification loss contributes to the learning rule, when training begins and when nothing is left.

    Exact values in C and the hyper-parameters, by cases, and in words beside cross-entropy.
    """
    session = begin(ctx, as_json, quiet)
    given = Given(y, f, name, param or (), sets or (), dialect.value)
    if output is not None:
        check_writable(output, force=force)
    found = dual_point(read_loss(loss, given, session.warnings), classes)
    text = (found.latex() if latex else found.explain()) + "\n"
    return deliver(text, {**facts(found.loss), **found.data()}, output, force=force)
