"""`lossc analyze`: what a loss is, what it does, and where it breaks."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lossc.cli.analysis_options import BoxOption, ClassesOption, JudgedInOption, ReplayOption, TimeoutOption, judged
from lossc.cli.context import Outcome, Session, begin, progress, table
from lossc.cli.formats import facts
from lossc.cli.given import Given
from lossc.cli.inputs import read_loss
from lossc.cli.options import (
    Dialect,
    DialectOption,
    Dtype,
    FOption,
    ForceOption,
    JsonOption,
    NameOption,
    ParamOption,
    QuietOption,
    SetOption,
    YOption,
    complete_loss,
)
from lossc.cli.output import check_writable, write
from lossc.compiler.errors import LosscError, UsageError
from lossc.compiler.loss import Loss

if TYPE_CHECKING:
    from lossc.compiler.analysis.analyze import Analysis

EXAMPLES = (
    'lossc analyze "abs(log(1.1*f))*y" --y onehot --f prob',
    "lossc analyze pseudo_huber --set delta=2 --html card.html --json card.json   # the card, one page; and the data",
    "lossc analyze huber --markdown huber.md",
    'lossc analyze "exp(f) - y*f" --box f=-20..20 --dtype float16',
)


def run(
    ctx: typer.Context,
    loss: Annotated[
        str | None,
        typer.Argument(
            metavar="LOSS",
            show_default=False,
            autocompletion=complete_loss,
            help="A formula in y and f, a named loss, a .loss or .json file, or `-`; none with --all.",
        ),
    ] = None,
    data_file: Annotated[str | None, typer.Argument(metavar="[FILE]", hidden=True)] = None,
    html: Annotated[
        str | None,
        typer.Option("--html", metavar="FILE", help="Write the card, one self-contained page; with --all, a folder."),
    ] = None,
    markdown: Annotated[
        str | None, typer.Option("--markdown", metavar="FILE", help="Write the analysis as Markdown.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every named loss: cards into the folder --html, or a table.")
    ] = False,
    box: BoxOption = None,
    dtype: JudgedInOption = Dtype.float32,
    classes: ClassesOption = None,
    timeout: TimeoutOption = 20.0,
    replay: ReplayOption = True,
    y: YOption = None,
    f: FOption = None,
    name: NameOption = None,
    param: ParamOption = None,
    sets: SetOption = None,
    dialect: DialectOption = Dialect.lossc,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> Outcome:
    """What a loss is, what it does to a model, and where it breaks: with proofs, or with points that show it.

    A property is proved, refuted by a point that torch replays, or unknown. --json FILE writes the data to a file.
    --all takes the named losses: `--all --html FOLDER` makes their cards with an index, in some minutes, and
    `--all --markdown FILE` the table of all properties.
    """
    session = begin(ctx, as_json, quiet)
    if data_file is not None and not as_json:
        raise UsageError("L235", "one loss at a time", hint="lossc compare LOSS LOSS ...; or --json FILE for the data")
    settings = judged(dtype, box, classes, timeout)
    if every:
        return _all(session, html, markdown, settings, force)
    if loss is None:
        raise UsageError("L235", "no loss is given", hint='lossc analyze "(y - f)^2", or --all')
    given = Given(y, f, name, param or (), sets or (), dialect.value)
    files = {"markdown": markdown, "html": html, "json": data_file}
    for path in files.values():
        if path is not None:
            check_writable(path, force=force)
    subject = read_loss(loss, given, session.warnings)
    session.print_warnings()
    return _written(session, analysis_of(subject, settings, replay), files, force)


def _written(session: Session, found: Analysis, files: dict[str, str | None], force: bool) -> Outcome:
    """The files that are asked for, and the page."""
    data = {**facts(found.loss), **found.data()}
    written = {kind: path for kind, path in files.items() if path is not None}
    for kind, path in written.items():
        if kind == "html":
            from lossc.runtime.card import card

            session.note("measuring accuracy, drawing ...")
            write(path, card(found), force=force)
        elif kind == "markdown":
            write(path, found.markdown(), force=force)
        else:
            session.json = False
            text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False, default=str)
            write(path, text + "\n", force=force)
    note = "\n".join(f"wrote {path}" for path in written.values())
    return Outcome({**data, "written": written}, page(found), note)


def analysis_of(loss: Loss, settings: dict[str, Any], replay: bool = True) -> Analysis:
    """The analysis, with the named losses as those that it may be; with `replay`, every refutation stands in torch."""
    from lossc.compiler.analysis.analyze import analyze
    from lossc.compiler.analysis.verdicts.verdict import REFUTED
    from lossc.grammar.library import named_losses

    found = analyze(loss, named_losses().values(), **settings)
    if not replay or not found.verdicts.of(REFUTED):
        return found
    from lossc.runtime.replay import replayed

    return replace(found, verdicts=replayed(found.verdicts))


def page(found: Analysis) -> str:
    """The analysis for a reader at a terminal: sentences, then a table a group."""
    from lossc.compiler.analysis.analysis_words import counts, text, why
    from lossc.compiler.analysis.verdicts.catalogue import PROPERTIES

    parts = [text(found)]
    for group in dict.fromkeys(p.group for p in PROPERTIES):
        rows = []
        for p in PROPERTIES:
            verdict = found.verdicts.found.get(p.name)
            if p.group == group and verdict is not None:
                rows.append((p.name, verdict.status, verdict.value, why(verdict)))
        if rows:
            parts.append(table((group, "verdict", "value", "why"), rows, report=True))
    parts.append(f"{counts(found)}; {found.seconds:.2f} s\n")
    return "\n".join(parts)


def _all(session: Session, folder: str | None, markdown: str | None, settings: dict[str, Any], force: bool) -> Outcome:
    """A card for every named loss, and an index; the table of all properties."""
    if folder is None and markdown is None:
        raise UsageError("L235", "where are the cards to go?", hint="--all --html FOLDER, or --all --markdown FILE")
    if markdown is not None:
        check_writable(markdown, force=force)
    data: dict[str, Any] = {}
    if folder is not None:
        data |= _cards(session, folder, settings, force)
    if markdown is not None:
        from lossc.compiler.analysis.properties_page import properties_page
        from lossc.compiler.analysis.verdicts.judge import judge
        from lossc.grammar.library import named_losses

        write(markdown, properties_page(judge(one, **settings) for one in named_losses().values()), force=force)
        data["markdown"] = markdown
    failed = "".join(f"{n}: {m}\n" for n, m in data.get("failed", {}).items())
    made = f"{len(data['cards'])} cards in {folder}, with index.html\n" if folder is not None else ""
    return Outcome(data, made + failed, "" if markdown is None else f"wrote {markdown}")


def _cards(session: Session, folder: str, settings: dict[str, Any], force: bool) -> dict[str, Any]:
    from lossc.grammar.library import named_losses
    from lossc.runtime.card import card, index

    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as problem:
        raise UsageError("L233", f"cannot make the folder {folder!r}: {problem.strerror}") from None
    known = named_losses()
    for name in [*known, "index"]:
        check_writable(os.path.join(folder, f"{name}.html"), force=force)
    done: list[Analysis] = []
    failed: dict[str, str] = {}
    with progress(session, len(known)) as bar:
        for place, (name, loss) in enumerate(known.items()):
            bar.to(place, name)
            try:
                found = analysis_of(loss, settings)
                write(os.path.join(folder, f"{name}.html"), card(found), force=force)
                done.append(found)
            except LosscError as problem:
                failed[name] = problem.diagnostic.message
    write(os.path.join(folder, "index.html"), index(done), force=force)
    return {"folder": folder, "cards": [a.loss.name for a in done], "failed": failed}
