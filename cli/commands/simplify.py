"""`lossc simplify`: the simplest equal form of a loss that can be found."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

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
from lossc.cli.output import check_writable, deliver
from lossc.compiler.cost import Cost
from lossc.compiler.passes.simplify import Simplification, simplify

EXAMPLES = (
    'lossc simplify "log(exp(y)*exp(f)) + 0*y + (f - y) - f"',
    'lossc simplify "sin(y)^2 + cos(y)^2 + (y - f)^2" --explain   # each rewrite, and why others were refused',
    'lossc simplify "abs(log(sqrt(y*f) + eps))" --y onehot --f prob',
    'lossc simplify "y^2 - 2*y*f + f^2" --no-sympy              # the canonical form only: fast',
    "lossc simplify evomal_b -o simple.loss                     # a definition, to a file",
)


def run(
    ctx: typer.Context,
    loss: LossArgument,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say what was done, and why the rest was refused.")
    ] = False,
    sympy: Annotated[
        bool, typer.Option("--sympy/--no-sympy", help="Ask SymPy too, and test what it says; or canonical form only.")
    ] = True,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", help="Stop looking after this time.")
    ] = 10.0,
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
    """Simplify a loss. The result is equal wherever the loss is defined, never dearer to compute, and tested."""
    session = begin(ctx, as_json, quiet)
    given = Given(y, f, name, param or (), sets or (), dialect.value)
    if output is not None:
        check_writable(output, force=force)
    written = read_loss(loss, given, session.warnings)
    found = simplify(written, sympy=sympy, timeout=timeout)
    text = render(found.loss, format_for(form, output))
    outcome = deliver(text, report(found, str(written)), output, force=force)
    return replace(outcome, text=found.explain() + "\n") if explain else outcome


def report(found: Simplification, written: str) -> dict[str, Any]:
    """A simplification as plain data."""
    from lossc.compiler.printing import to_text

    return {
        **facts(found.loss),
        "input": written,
        "cost": {"before": _cost(found.before), "after": _cost(found.after)},
        "steps": [
            {
                "origin": step.origin,
                "before": to_text(step.before),
                "after": to_text(step.after),
                "accepted": step.accepted,
                "reason": step.reason,
            }
            for step in found.steps
        ],
        "notes": list(found.notes),
        "seconds": round(found.seconds, 6),
    }


def _cost(cost: Cost) -> dict[str, float]:
    return {"work": cost.work, "nodes": cost.size}
