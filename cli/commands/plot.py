"""`lossc plot`: pictures of losses."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lossc.cli.context import Outcome, Session, begin, printable, progress
from lossc.cli.experiments import LOSSES_HELP, SetAllOption, ThemeOption
from lossc.cli.options import (
    Dialect,
    DialectOption,
    FOption,
    ForceOption,
    JsonOption,
    ParamOption,
    QuietOption,
    YOption,
    complete_loss,
)
from lossc.cli.output import check_writable, write_bytes
from lossc.cli.plotting import families, losses_to_plot, numbers, spans, words
from lossc.compiler.errors import UsageError

if TYPE_CHECKING:
    from lossc.runtime.plots.figure import Drawable
    from lossc.runtime.plots.fits import Fits

EXAMPLES = (
    "lossc plot huber -o huber.png                                       # value, gradient and Hessian",
    "lossc plot sparse_lsr --what loss,grad --params xi=0,0.1,0.2 -o family.svg",
    "lossc plot mse mae huber:delta=2 --range -3..3 --theme dark -o three.png",
    'lossc plot "abs(y - f)/y" --y positive --surface -o relative.pdf    # contours over y and f',
    "lossc plot --thesis 4.5 -o figure-4.5.png                           # a figure of the thesis, drawn anew",
)

LossesToPlot = Annotated[
    list[str] | None,
    typer.Argument(metavar="[LOSS...]", help=LOSSES_HELP, show_default=False, autocompletion=complete_loss),
]
WhatOption = Annotated[
    str, typer.Option("--what", metavar="NAMES", help="Some of loss, grad (dL/df), hess (its derivative).")
]
FamiliesOption = Annotated[
    list[str] | None,
    typer.Option("--params", metavar="NAME=V,V,...", help="A line for each value of a hyper-parameter."),
]
RangesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--range", metavar="LOW..HIGH", help="Of the axis below; NAME=LOW..HIGH of another: y, loss, grad, hess."
    ),
]
TargetsOption = Annotated[
    str | None, typer.Option("--targets", metavar="V,V,...", help="Values of y to look at.", show_default=False)
]
PanelsOption = Annotated[
    str, typer.Option("--panels", metavar="NAME", help="A panel for each of the targets, or of the losses.")
]
ClassesOption = Annotated[int, typer.Option("--classes", metavar="N", help="The number of classes.")]
SurfaceOption = Annotated[bool, typer.Option("--surface", help="Contours over y and f instead of lines.")]
FitOption = Annotated[
    bool, typer.Option("--fit", help="Below, what small networks learn on noisy points with each loss.")
]
ThesisOption = Annotated[
    str | None, typer.Option("--thesis", metavar="N", help="Figure N of the thesis: 1.3, 4.1, 4.4, 4.5, ...")
]
TitleOption = Annotated[
    str | None, typer.Option("--title", metavar="TEXT", help="Above the picture.", show_default="name and formula")
]
FileOption = Annotated[
    str | None,
    typer.Option("-o", "--output", metavar="FILE", help="The figure: .png, .svg or .pdf.", show_default="LOSS.png"),
]


def run(
    ctx: typer.Context,
    losses: LossesToPlot = None,
    what: WhatOption = "loss,grad,hess",
    params: FamiliesOption = None,
    ranges: RangesOption = None,
    targets: TargetsOption = None,
    panels: PanelsOption = "targets",
    classes: ClassesOption = 10,
    surface: SurfaceOption = False,
    fit: FitOption = False,
    thesis: ThesisOption = None,
    theme: ThemeOption = "light",
    title: TitleOption = None,
    y: YOption = None,
    f: FOption = None,
    param: ParamOption = None,
    sets: SetAllOption = None,
    dialect: DialectOption = Dialect.lossc,
    output: FileOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> Outcome:
    """Value, gradient and Hessian of losses: target beside non-target, families of hyper-parameters, surfaces.

    Dots are kinks, rings are jumps, dotted lines are poles; where a curve has no bound, the axis shows most of it. With
    --json, the points of all curves.
    """
    return _plotted(begin(ctx, as_json, quiet), SimpleNamespace(**locals()))


def _plotted(session: Session, asked: Any) -> Outcome:
    from lossc.runtime.plots.style import check, theme_of

    theme_of(asked.theme)
    if asked.output is not None:
        check(asked.output)
        check_writable(asked.output, force=asked.force)
    found = _thesis(asked) if asked.thesis is not None else _asked(session, asked)
    session.print_warnings()
    path = asked.output if asked.output is not None else f"{found.stem}.png"
    suffix = check(path)
    check_writable(path, force=asked.force)
    session.note("drawing ...")
    made = _made(asked, found)
    fits = _fits(session, found) if found.fit else None
    from lossc.runtime.plots.figure import as_file

    write_bytes(path, as_file(made, asked.theme, suffix, fits), force=asked.force)
    data = {**made.data(), **({"fits": fits.data()} if fits is not None else {}), "output": path}
    return Outcome({**data, **({"thesis": asked.thesis} if asked.thesis else {})}, note=f"wrote {path}")


def _thesis(asked: Any) -> SimpleNamespace:
    """What a figure of the thesis shows."""
    from lossc.runtime.plots.thesis import thesis_figure

    if asked.losses:
        raise UsageError("L235", "--thesis says which losses are drawn", hint="leave the others out")
    found = thesis_figure(asked.thesis)
    return SimpleNamespace(
        losses=found.losses, params={k: [Fraction(v) for v in values] for k, values in found.params.items()},
        what=found.what, panels=found.panels, fit=found.fit, stem=f"figure-{found.number}",
    )  # fmt: skip


def _asked(session: Session, asked: Any) -> SimpleNamespace:
    """What the arguments and options say is to be drawn."""
    if not asked.losses:
        raise UsageError("L235", "no loss is given", hint='lossc plot "(y - f)^2", or --thesis 4.5')
    if asked.surface and (asked.fit or asked.targets or asked.panels != "targets"):
        raise UsageError("L235", "--surface goes with none of --fit, --targets and --panels")
    params = families(asked.params or ())
    losses = losses_to_plot(session, asked, params)
    names = list(losses)
    stem = next(iter(losses.values())).name if len(names) == 1 else "losses"
    return SimpleNamespace(losses=losses, params=params, what=words(asked.what), panels=asked.panels, fit=asked.fit,
                           stem=stem)  # fmt: skip


def _made(asked: Any, found: Any) -> Drawable:
    from dataclasses import replace

    from lossc.runtime.plots.picture import picture
    from lossc.runtime.plots.surfaces import surfaces

    how = {"what": found.what, "params": found.params, "classes": asked.classes, "ranges": spans(asked.ranges or ())}
    made: Drawable
    if asked.surface:
        made = surfaces(found.losses, **how)
    else:
        made = picture(found.losses, targets=numbers(asked.targets), panels=found.panels, **how)
    return made if asked.title is None else replace(made, title=" ".join(printable(asked.title).split()))


def _fits(session: Session, found: Any) -> Fits:
    session.note("loading torch ...")
    import torch

    from lossc.runtime.plots.family import members
    from lossc.runtime.plots.fits import STEPS, fits

    torch.set_num_threads(1)  # the networks are too small for more
    chosen = {m.label(len(found.losses) > 1) or m.name: m.loss for m in members(found.losses, found.params)}
    with progress(session, len(chosen) * STEPS) as bar:
        places = {name: k for k, name in enumerate(chosen)}
        return fits(chosen, progress=lambda name, step, steps: bar.to(places[name] * steps + step, name))
