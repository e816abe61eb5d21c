"""`lossc sparsify`: a loss that needs the target's prediction only, by the redistributed-loss trick of the thesis."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Any

import typer

from lossc.cli.context import Outcome, begin
from lossc.cli.formats import facts, format_for, render
from lossc.cli.given import Given, assignments
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
from lossc.compiler.passes.redistribute import OWN, REFLECTED
from lossc.compiler.passes.sparsify import DEFAULT_XI, Sparsified, sparsify

EXAMPLES = (
    "lossc sparsify label_smoothing                     # SparseLSR (thesis, eq. 4.32)",
    "lossc sparsify focal --smooth --explain            # Focal+SparseLSR (eq. 4.38): each step, and what it assumes",
    "lossc sparsify cross_entropy --xi 0.2 -o sparse.loss",
    "lossc compile sparse.loss -o sparse.py",
    'lossc sparsify "(y - f)^2" --y onehot --f prob --json',
)


class Focus(StrEnum):
    """What becomes of a focusing factor (`lossc.compiler.passes.redistribute.reflected`)."""

    reflected = REFLECTED
    own = OWN


def run(
    ctx: typer.Context,
    loss: LossArgument,
    smooth: Annotated[
        bool, typer.Option("--smooth", help=f"First smooth the targets: y*(1 - xi) + xi/C, xi = {DEFAULT_XI}.")
    ] = False,
    xi: Annotated[
        str | None, typer.Option("--xi", metavar="XI", help="The default of xi, from 0 to 1; implies --smooth.")
    ] = None,
    focus: Annotated[
        Focus,
        typer.Option("--focus", help="A focal loss's factor (1 - f)^gamma of another class: f^gamma, or its own."),
    ] = Focus.reflected,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show the derivation, what it assumes and how far off it is.")
    ] = False,
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
    """Count what the other classes are expected to lose at the target: an approximation, not a rewrite.

    For losses with `y: onehot` and `f: prob`. The result needs one prediction a row, and says what it assumes.
    """
    session = begin(ctx, as_json, quiet)
    given = Given(y, f, name, param or (), sets or (), dialect.value)
    if output is not None:
        check_writable(output, force=force)
    weight = assignments([f"xi={xi}"], "--xi")["xi"] if xi is not None else DEFAULT_XI if smooth else None
    written = read_loss(loss, given, session.warnings)
    found = sparsify(written, xi=weight, focus=focus.value)
    if name is not None:
        found = replace(found, loss=replace(found.loss, name=name))
    if found.unchanged:
        hint = "" if smooth or xi else "--smooth smooths the targets first, which gives the other classes a loss"
        session.warnings.add("L334", f"`{written.name}` is target-only already: nothing to redistribute", hint=hint)
    text = render(found.loss, format_for(form, output))
    outcome = deliver(text, report(found, str(written)), output, force=force)
    outcome = replace(outcome, note=": ".join(part for part in (outcome.note, remark(found)) if part))
    return replace(outcome, text=found.explain() + "\n") if explain else outcome


def remark(found: Sparsified) -> str:
    """What someone who watches should know of a sparse form: whether it is one, in a line."""
    if found.unchanged:
        return ""
    if found.exact:
        return "equal for every row of probabilities"
    return f"an approximation ({found.bound}); --explain shows what it assumes"


def report(found: Sparsified, written: str) -> dict[str, Any]:
    """A sparse form as plain data."""
    from lossc.compiler.printing import to_text

    second = found.second_order
    return {
        **facts(found.loss),
        "input": written,
        "unchanged": found.unchanged,
        "exact": found.exact,
        "bound": found.bound,
        "redistributed": to_text(found.redistributed),
        "second_order": None if second is None else to_text(second),
        "assumptions": list(found.assumptions),
        "steps": [{"equation": s.equation, "what": s.what, "formula": s.formula} for s in found.steps],
    }
