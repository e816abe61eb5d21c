"""`lossc export`: a loss as source code for another library, or for all of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from lossc.cli.context import Outcome, Session, begin, progress, table
from lossc.cli.formats import facts, signature
from lossc.cli.given import Given
from lossc.cli.inputs import read_loss
from lossc.cli.options import (
    Dialect,
    DialectOption,
    Eps,
    EpsOption,
    FOption,
    ForceOption,
    FromLogitsOption,
    JsonOption,
    Kinks,
    KinksOption,
    LossArgument,
    NameOption,
    ParamOption,
    QuietOption,
    SetOption,
    YOption,
)
from lossc.cli.output import STDOUT, check_writable, deliver, write, write_bytes
from lossc.compiler.errors import UsageError
from lossc.compiler.loss import Loss
from lossc.compiler.targets import Target, all_targets, emit, target_of
from lossc.compiler.targets.options import Options
from lossc.compiler.targets.settings import read_options
from lossc.runtime.exports import BROKEN, FAILED, LIMIT, REFUSED, Exported, exported, tested

EXAMPLES = (
    "lossc export pseudo_huber --to jax -o loss.py        # then: python loss.py runs its self-test",
    'lossc export "(y - f)^2" --name mse --to numpy       # to standard output',
    "lossc export focal --to c -o focal.h                 # C99, C++, CUDA",
    "lossc export pseudo_huber --to all -o out/ --no-check  # every target; else tested too",
    "lossc export huber --to onnx -o huber.onnx --option dtype=float64 --option hessian=yes",
    "lossc targets                                        # which targets there are, and what they lack",
)

ALL = "all"
REPORT = "report.md"


def complete_target(incomplete: str) -> list[str]:
    """Names of targets, for the shell's completion."""
    return [name for name in (*all_targets(), ALL) if name.startswith(incomplete)]


def run(
    ctx: typer.Context,
    loss: LossArgument,
    to: Annotated[
        str,
        typer.Option(
            "--to", metavar="TARGET", help="A target (`lossc targets`), or `all`.", autocompletion=complete_target
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="PATH", help="Write here: a file, for `all` a folder; `-` prints."),
    ] = None,
    check: Annotated[
        bool | None,
        typer.Option(
            "--check/--no-check",
            help="Run the self-test of each file; by default with --to all.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        float, typer.Option("--limit", metavar="SECONDS", min=0.1, help="Stop a self-test after this time.")
    ] = LIMIT,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="NAME=VALUE",
            help="An option of the target (`lossc targets` lists them); with `all`, for those that have it.",
        ),
    ] = None,
    eps: EpsOption = Eps.none,
    kinks: KinksOption = Kinks.torch,
    from_logits: FromLogitsOption = True,
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
    """Write a loss as its users would have written it in another library, with a self-test in the file.

    A target that cannot express the loss says which operator is to blame, and writes nothing.
    """
    session = begin(ctx, as_json, quiet)
    target = None if to == ALL else target_of(to)
    own = read_options(option or (), list(all_targets().values()) if target is None else [target])
    if target is not None and output is not None:
        check_writable(output, force=force)
    written = read_loss(loss, Given(y, f, name, param or (), sets or (), dialect.value), session.warnings)
    options = {"options": Options(eps=eps.value, kinks=kinks.value, from_logits=from_logits), **own}
    if target is None:
        return _everything(session, written, options, output, check is not False, limit, force=force)
    return _one(written, target, options, output, check is True, limit, force=force)


def _one(
    loss: Loss, target: Target, options: dict[str, Any], output: str | None, check: bool, limit: float, *, force: bool
) -> Outcome:
    if "options" not in target.takes and options["options"] != Options():
        hint = f"{target.name} takes the loss as it is"
        raise UsageError("L245", f"the target {target.name} has no --eps, --kinks or --from-probabilities", hint=hint)
    made = emit(loss, target.name, **{k: v for k, v in options.items() if k in target.takes})
    data = {**facts(loss), "target": target.name}
    note = f"{signature(loss)} -> {output}"
    in_file = output is not None and output != STDOUT
    if check and not in_file:
        raise UsageError("L235", "--check needs a file", hint=f"-o loss{target.suffix}")
    if isinstance(made, str):
        made = made if made.endswith("\n") else made + "\n"
        outcome = deliver(made, data, output, force=force, note=note)
    elif not in_file or output is None:
        raise UsageError("L235", f"the target {target.name} gives a binary file", hint=f"-o loss{target.suffix}")
    else:
        write_bytes(output, made, force=force)
        outcome = Outcome({**data, "output": output}, note=note)
    if not check or output is None:
        return outcome
    content = made if isinstance(made, bytes) else made.encode()
    found = tested(Exported(target, output, content, "emitted"), Path(output), limit)
    return Outcome({**outcome.data, "check": found.data()}, f"{found.status}: {found.said}\n")


def _everything(
    session: Session, loss: Loss, options: dict[str, Any], output: str | None, check: bool, limit: float, *, force: bool
) -> Outcome:
    """All targets, into a folder, with a report."""
    folder = _folder(output)
    found: list[Exported] = []
    made = list(exported(loss, options))
    for one in made:
        if one.content:
            check_writable(str(folder / one.file), force=force)
    check_writable(str(folder / REPORT), force=force)
    with progress(session, len(made)) as bar:
        for i, one in enumerate(made):
            bar.to(i, one.target.name)
            if one.content:
                write_bytes(str(folder / one.file), one.content, force=force)
            found.append(tested(one, folder / one.file, limit) if check else one)
    write(str(folder / REPORT), report(loss, found), force=force)
    rows = [(one.target.name, one.status, one.file or "-", one.said) for one in found]
    data = {**facts(loss), "folder": str(folder), "targets": [one.data() for one in found], "report": REPORT}
    bad = [one.target.name for one in found if one.status in (FAILED, BROKEN)]
    if bad:
        session.warnings.add(
            "L246", f"not right in: {', '.join(bad)}", hint=f"{folder / REPORT} says what each self-test said"
        )
    return Outcome(data, table(("target", "status", "file", "what it said"), rows), f"wrote {folder / REPORT}")


def _folder(output: str | None) -> Path:
    """The folder that is written to, made if need be. Raises UsageError (L233, L235)."""
    if output is None or output == STDOUT:
        raise UsageError("L235", "--to all writes a folder", hint="-o out/")
    try:
        os.makedirs(output, exist_ok=True)
    except (OSError, ValueError) as problem:
        why = getattr(problem, "strerror", None) or str(problem)
        raise UsageError("L233", f"cannot write {output!r}: {why.lower()}") from None
    return Path(output)


def report(loss: Loss, found: list[Exported]) -> str:
    """The parity report, in Markdown."""
    from lossc._version import __version__

    lines = [
        f"# {loss.name} in every target",
        "",
        f"`{str(loss)[:2000]}`, with y: {loss.y} and f: {loss.f}; lossc {__version__}.",
        "",
        "Each self-test compares values and derivatives in the target's own library with golden values of mpmath.",
        "",
        "| target | status | file | what it said |",
        "|---|---|---|---|",
        *(f"| {o.target.name} | {o.status} | {o.file and f'`{o.file}`'} | {_cell(o.said)} |" for o in found),
    ]
    refused = sum(o.status == REFUSED for o in found)
    lines += ["", f"{len(found) - refused} of {len(found)} targets have the loss."]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
