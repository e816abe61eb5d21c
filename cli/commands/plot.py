"""`lossc plot`: pictures of losses."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lossc.cli.context import Outcome, Session, begin, printable, progress
from lossc.cli.experiments import LOSSES_HELP, split_settings
from lossc.cli.given import Given, assignments, declared_names
from lossc.cli.inputs import is_formula, read_loss
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
from lossc.compiler.errors import UsageError
from lossc.compiler.loss import Loss

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


def run(
    ctx: typer.Context,
    losses: Annotated[
        list[str] | None,
        typer.Argument(metavar="[LOSS...]", help=LOSSES_HELP, show_default=False, autocompletion=complete_loss),
    ] = None,
    what: Annotated[
        str, typer.Option("--what", metavar="NAMES", help="Some of loss, grad (dL/df), hess (its derivative).")
    ] = "loss,grad,hess",
    params: Annotated[
        list[str] | None,
        typer.Option("--params", metavar="NAME=V,V,...", help="A line for each value of a hyper-parameter."),
    ] = None,
    ranges: Annotated[
        list[str] | None,
        typer.Option(
            "--range",
            metavar="LOW..HIGH",
            help="Of the horizontal axis; NAME=LOW..HIGH of another one: y, loss, grad, hess.",
        ),
    ] = None,
    targets: Annotated[
        str | None,
        typer.Option("--targets", metavar="V,V,...", help="Values of y to look at.", show_default=False),
    ] = None,
    panels: Annotated[
        str, typer.Option("--panels", metavar="NAME", help="A panel for each of the targets, or of the losses.")
    ] = "targets",
    classes: Annotated[int, typer.Option("--classes", metavar="N", help="The number of classes.")] = 10,
    surface: Annotated[bool, typer.Option("--surface", help="Contours over y and f instead of lines.")] = False,
    fit: Annotated[
        bool, typer.Option("--fit", help="Below, what small networks learn on noisy points with each loss.")
    ] = False,
    thesis: Annotated[
        str | None, typer.Option("--thesis", metavar="N", help="Figure N of the thesis: 1.3, 4.1, 4.4, 4.5, ...")
    ] = None,
    theme: Annotated[str, typer.Option("--theme", metavar="NAME", help="light or dark.")] = "light",
    title: Annotated[
        str | None, typer.Option("--title", metavar="TEXT", help="Above the picture.", show_default="name and formula")
    ] = None,
    y: YOption = None,
    f: FOption = None,
    param: ParamOption = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A hyper-parameter, of each loss that has it."),
    ] = None,
    dialect: DialectOption = Dialect.lossc,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="FILE", help="The figure: .png, .svg or .pdf.", show_default="LOSS.png"),
    ] = None,
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
        raise UsageError("L200", "--thesis says which losses are drawn", hint="leave the others out")
    found = thesis_figure(asked.thesis)
    return SimpleNamespace(
        losses=found.losses, params={k: [Fraction(v) for v in values] for k, values in found.params.items()},
        what=found.what, panels=found.panels, fit=found.fit, stem=f"figure-{found.number}",
    )  # fmt: skip


def _asked(session: Session, asked: Any) -> SimpleNamespace:
    """What the arguments and options say is to be drawn."""
    if not asked.losses:
        raise UsageError("L200", "no loss is given", hint='lossc plot "(y - f)^2", or --thesis 4.5')
    if asked.surface and (asked.fit or asked.targets or asked.panels != "targets"):
        raise UsageError("L200", "--surface goes with none of --fit, --targets and --panels")
    params = families(asked.params or ())
    losses = _losses(session, asked, params)
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


# -- the losses -------------------------------------------------------------------------------------------------------


def _losses(session: Session, asked: Any, params: dict[str, list[Fraction]]) -> dict[str, Loss]:
    """The losses of the arguments by the names that they go by.

    Raises UsageError (L201, L235), and what `read_loss` raises.
    """
    from lossc.runtime.plots.family import by_name

    shared = assignments(asked.sets or (), "--set")
    out: dict[str, Loss] = {}
    for text in asked.losses:
        bare, own = split_settings(text)
        given = Given(asked.y, asked.f, None, _declared(bare, asked, params), own, asked.dialect.value)
        loss = read_loss(bare, given, session.warnings)
        mine = {p.name for p in loss.params} - set(assignments(own, "--set"))
        loss = loss.with_defaults(**{k: v for k, v in shared.items() if k in mine})
        (name,) = by_name(loss)
        name = f"{name}:{','.join(own)}" if own else name
        if name in out:
            raise UsageError("L235", f"{name} stands twice", hint="each loss once; LOSS:name=value sets one apart")
        out[name] = loss
    for name in shared:
        if not any(name in (p.name for p in loss.params) for loss in out.values()):
            raise UsageError("L201", f"no loss here has a hyper-parameter `{name[:64]}`")
    return out


def _declared(text: str, asked: Any, params: dict[str, list[Fraction]]) -> list[str]:
    """The hyper-parameters of a formula: those of --param, and those of --params that it has."""
    given = list(asked.param or ())
    if not is_formula(text):
        return given
    new = [name for name in params if re.search(rf"\b{re.escape(name)}\b", text) and name not in declared_names(given)]
    return given + [f"{name}={values[0]}" for name, values in params.items() if name in new]


# -- the options ------------------------------------------------------------------------------------------------------


def words(written: str) -> list[str]:
    """The words of `loss,grad`."""
    return [part.strip() for part in written.split(",") if part.strip()]


def families(written: list[str] | tuple[str, ...]) -> dict[str, list[Fraction]]:
    """The values of `xi=0,0.1,0.2`, each once. Raises UsageError (L202, L236)."""
    out: dict[str, list[Fraction]] = {}
    for one in written:
        name, equals, values = one.partition("=")
        name, found = name.strip(), words(values)
        if not (equals and name and found):
            raise UsageError("L236", f"--params {one[:60]!r} cannot be read", expected="NAME=VALUE,VALUE,...",
                             hint="for example: --params delta=0.5,1,2")  # fmt: skip
        out[name] = list(dict.fromkeys(assignments([f"{name}={v}"], "--params")[name] for v in found))
    return out


def spans(written: list[str] | tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """The ranges of `-2..2`, which is of f, or `loss=0..5`. Raises UsageError (L260)."""
    out = {}
    for one in written:
        name, equals, span = one.rpartition("=")
        low, dots, high = span.partition("..")
        try:
            out[name.strip() if equals else "f"] = (float(low), float(high))
        except ValueError:
            dots = ""
        if not dots:
            raise UsageError("L260", f"`{one[:60]}` is no range", expected="LOW..HIGH or NAME=LOW..HIGH, such as -3..3")
    return out


def numbers(written: str | None) -> list[float]:
    """The numbers of `0.5,1,2`. Raises UsageError (L260)."""
    try:
        found = [float(part) for part in words(written or "")]
    except ValueError:
        found = [math.nan]
    if not all(map(math.isfinite, found)):
        raise UsageError("L260", f"--targets {str(written)[:60]!r}: a target is a number", expected="such as 0.5,1,2")
    return found
