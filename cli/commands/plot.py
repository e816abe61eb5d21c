"""`lossc plot`: pictures of losses."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from lossc.cli.context import Outcome, begin
from lossc.cli.given import Given
from lossc.cli.inputs import read_loss
from lossc.cli.options import (
    LOSS_HELP,
    Dialect,
    DialectOption,
    FOption,
    ForceOption,
    JsonOption,
    ParamOption,
    QuietOption,
    SetOption,
    YOption,
    complete_loss,
)
from lossc.cli.output import check_writable, write_bytes
from lossc.compiler.errors import UsageError

EXAMPLES = (
    "lossc plot huber --what loss,grad,hess -o huber.png",
    "lossc plot label_smoothing --params xi=0,0.1,0.2 -o family.png     # a line for each value",
    "lossc plot mse mae cauchy -o three.svg --theme dark",
    'lossc plot "abs(y - f)/y" --y positive --targets 0.5,1,2 --range 0..4 -o relative.pdf',
    "lossc plot poisson --surface -o surface.png",
    "lossc plot --thesis 4.5 -o figure-4.5.png                          # a figure of the thesis, drawn anew",
)


def run(
    ctx: typer.Context,
    output: Annotated[str, typer.Option("-o", "--output", metavar="FILE", help="The picture: .png, .svg or .pdf.")],
    losses: Annotated[
        list[str] | None,
        typer.Argument(metavar="[LOSS ...]", help=LOSS_HELP, show_default=False, autocompletion=complete_loss),
    ] = None,
    what: Annotated[str, typer.Option("--what", metavar="NAMES", help="Some of loss, grad, hess.")] = "loss,grad",
    params: Annotated[
        list[str] | None,
        typer.Option("--params", metavar="NAME=V,V,...", help="A line for each value of a hyper-parameter."),
    ] = None,
    span: Annotated[
        str | None, typer.Option("--range", metavar="LOW..HIGH", help="Of the horizontal axis.", show_default=False)
    ] = None,
    targets: Annotated[
        str | None,
        typer.Option("--targets", metavar="V,V,...", help="Targets of a loss of y and f.", show_default=False),
    ] = None,
    classes: Annotated[int | None, typer.Option("--classes", metavar="N", help="The number of classes (10).")] = None,
    surface: Annotated[bool, typer.Option("--surface", help="Contours over y and f instead of lines.")] = False,
    thesis: Annotated[
        str | None, typer.Option("--thesis", metavar="N", help="Figure N of the thesis: 1.3, 4.1, 4.4, 4.5, ...")
    ] = None,
    theme: Annotated[str, typer.Option("--theme", metavar="NAME", help="light or dark.")] = "light",
    title: Annotated[str, typer.Option("--title", metavar="TEXT", help="Above the picture.")] = "",
    y: YOption = None,
    f: FOption = None,
    param: ParamOption = None,
    sets: SetOption = None,
    dialect: DialectOption = Dialect.lossc,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> Outcome:
    """Loss, gradient and second derivative over the prediction: target beside non-target, families, surfaces.

    Circles are kinks. Where values run away, the axis shows most of them.
    """
    session = begin(ctx, as_json, quiet)
    from lossc.runtime.pictures import THEMES, family, figure, suffix_of, surface_figure

    suffix = suffix_of(output)
    check_writable(output, force=force)
    if theme not in THEMES:
        raise UsageError("L235", f"`{theme[:40]}` is not a theme", expected="one of: " + ", ".join(THEMES))
    palette = THEMES[theme]
    if thesis is not None:
        from lossc.runtime.pictures.thesis import thesis_figure

        write_bytes(output, thesis_figure(thesis, palette, suffix), force=force)
        return Outcome({"output": output, "thesis": thesis}, note=f"wrote {output}")
    if not losses:
        raise UsageError("L235", "no loss is given", hint='lossc plot "(y - f)^2" -o mse.png, or --thesis 4.5')
    given = Given(y, f, None, param or (), sets or (), dialect.value)
    read = [read_loss(one, given, session.warnings) for one in losses]
    session.print_warnings()
    labels = [loss.name if loss.name != "loss" else str(loss)[:40] for loss in read]
    values = families(params or [])
    if values:
        if len(read) != 1:
            raise UsageError("L235", "--params is of one loss", hint="draw the losses one by one")
        read, labels = family(read[0], values)
    if surface:
        if len(read) != 1:
            raise UsageError("L235", "--surface is of one loss")
        drawn = surface_figure(read[0], span=range_of(span), palette=palette, suffix=suffix)
    else:
        chosen = [part.strip() for part in what.split(",") if part.strip()]
        drawn = figure(read, chosen, labels=labels, span=range_of(span), targets=numbers(targets, "--targets"),
                       classes=classes, palette=palette, suffix=suffix, title=title)  # fmt: skip
    write_bytes(output, drawn, force=force)
    return Outcome({"output": output, "losses": labels}, note=f"wrote {output}")


def families(written: list[str]) -> dict[str, list[str]]:
    """The values of `xi=0,0.1,0.2`. Raises UsageError (L235)."""
    out: dict[str, list[str]] = {}
    for one in written:
        name, equals, values = one.partition("=")
        found = [v.strip() for v in values.split(",") if v.strip()]
        if not equals or not found:
            raise UsageError("L235", f"`{one[:60]}` gives no values", expected="NAME=VALUE,VALUE,...")
        out[name.strip()] = found
    return out


def range_of(written: str | None) -> tuple[float, float] | None:
    """The range of `-2..2`. Raises UsageError (L235)."""
    if written is None:
        return None
    low, dots, high = written.partition("..")
    try:
        span = float(low), float(high)
    except ValueError:
        dots = ""
    if not dots:
        raise UsageError("L235", f"`{written[:40]}` is not a range", expected="LOW..HIGH, such as -2..2")
    return span


def numbers(written: str | None, option: str) -> list[float] | None:
    """The numbers of `0.5,1,2`. Raises UsageError (L235)."""
    if written is None:
        return None
    try:
        found = [float(part) for part in written.split(",")]
    except ValueError:
        found = [math.nan]
    if not all(map(math.isfinite, found)):
        raise UsageError(
            "L235", f"{option} {written[:40]}: these are not numbers", expected="numbers with commas between"
        )
    return found
