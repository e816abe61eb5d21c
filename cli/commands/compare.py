"""`lossc compare`: losses side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lossc.cli.analysis_options import BoxOption, ClassesOption, JudgedInOption, TimeoutOption, judged
from lossc.cli.commands.analyze import analysis_of
from lossc.cli.context import Outcome, begin, table
from lossc.cli.given import Given
from lossc.cli.inputs import read_loss
from lossc.cli.options import (
    LOSS_HELP,
    Dialect,
    DialectOption,
    Dtype,
    FOption,
    ForceOption,
    JsonOption,
    ParamOption,
    QuietOption,
    SetOption,
    YOption,
    complete_loss,
)
from lossc.cli.output import check_writable, write, write_bytes
from lossc.compiler.errors import UsageError

if TYPE_CHECKING:
    from lossc.compiler.analysis.comparison import Comparison

MOST = 8
EXAMPLES = (
    "lossc compare mse mae huber",
    "lossc compare cross_entropy label_smoothing ace_phi --set phi1=1.1 -o figure.png",
    'lossc compare huber pseudo_huber "log(cosh(y - f))" --differing --markdown table.md',
)


def run(
    ctx: typer.Context,
    losses: Annotated[
        list[str],
        typer.Argument(metavar="LOSS LOSS ...", help=LOSS_HELP, show_default=False, autocompletion=complete_loss),
    ],
    plot: Annotated[
        str | None, typer.Option("-o", "--plot", metavar="FILE", help="Draw them in one figure: .png, .svg or .pdf.")
    ] = None,
    markdown: Annotated[
        str | None, typer.Option("--markdown", metavar="FILE", help="Write the table as Markdown.")
    ] = None,
    differing: Annotated[bool, typer.Option("--differing", help="Only what the losses differ in.")] = False,
    box: BoxOption = None,
    dtype: JudgedInOption = Dtype.float32,
    classes: ClassesOption = None,
    timeout: TimeoutOption = 20.0,
    y: YOption = None,
    f: FOption = None,
    param: ParamOption = None,
    sets: SetOption = None,
    dialect: DialectOption = Dialect.lossc,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> Outcome:
    """Losses side by side: what is proved of each, what each costs, how far each is from the first.

    --set applies to the losses that have a hyper-parameter of that name.
    """
    session = begin(ctx, as_json, quiet)
    if not 2 <= len(losses) <= MOST:
        raise UsageError("L235", f"{len(losses)} losses are given", expected=f"2 to {MOST} losses to compare")
    settings = judged(dtype, box, classes, timeout)
    _check_files(plot, markdown, force)
    given = Given(y, f, None, param or (), (), dialect.value)
    read = [_read(one, given, sets or [], session.warnings) for one in losses]
    _check_used(read, sets or [])
    session.print_warnings()
    from lossc.compiler.analysis.comparison import Comparison, labels_of

    analyses = tuple(analysis_of(loss, settings) for loss in read)
    found = Comparison(labels_of(analyses), analyses)
    written = _write(found, plot, markdown, force)
    text = table(found.head(), found.rows(differing=differing), report=True)
    return Outcome({**found.data(), **written}, text, "\n".join(f"wrote {p}" for p in written.values()))


def _check_files(plot: str | None, markdown: str | None, force: bool) -> None:
    """Complain of files that cannot be written before work is done."""
    for path in (plot, markdown):
        if path is not None:
            check_writable(path, force=force)
    if plot is not None:
        from lossc.runtime.plots.style import check

        check(plot)


def _write(found: Comparison, plot: str | None, markdown: str | None, force: bool) -> dict[str, str]:
    """The files that are asked for."""
    written = {}
    if plot is not None:
        from lossc.runtime.plots import compare_figure
        from lossc.runtime.plots.style import check

        losses = dict(zip(found.labels, (a.loss for a in found.analyses), strict=True))
        write_bytes(plot, compare_figure(losses, suffix=check(plot)), force=force)
        written["plot"] = plot
    if markdown is not None:
        write(markdown, found.markdown(), force=force)
        written["markdown"] = markdown
    return written


def _read(one: str, given: Given, sets: list[str], warnings: Any) -> Any:
    """A loss, with those settings that it has a hyper-parameter for."""
    from dataclasses import replace

    loss = read_loss(one, given, warnings)
    names = {p.name for p in loss.params}
    mine = [s for s in sets if s.partition("=")[0].strip() in names]
    return read_loss(one, replace(given, sets=mine), warnings) if mine else loss


def _check_used(losses: list[Any], sets: list[str]) -> None:
    """A setting that no loss has a hyper-parameter for is a mistake."""
    names = {p.name for loss in losses for p in loss.params}
    for one in sets:
        name = one.partition("=")[0].strip()
        if name not in names:
            raise UsageError("L201", f"none of the losses has a hyper-parameter `{name[:64]}`",
                             expected="one of: " + ", ".join(sorted(names)) if names else "")  # fmt: skip
