"""`lossc targets`: what a loss can be exported to, and how each target has each operator."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from lossc.cli.context import Outcome, begin, table
from lossc.cli.options import ForceOption, JsonOption, OutputOption, QuietOption
from lossc.cli.output import check_writable, deliver
from lossc.compiler import ops
from lossc.compiler.targets import Option, Target, all_targets
from lossc.compiler.targets.registry import FALLBACK, NATIVE, NONE

EXAMPLES = (
    "lossc targets                     # targets, their options, and the matrix operator x target",
    "lossc targets --markdown          # the tables of docs/targets.md",
    "lossc targets --json",
)

OPTIONS = ("option", "values", "what it says", "targets")
SIGNS = {NATIVE: "yes", FALLBACK: "by others", NONE: "-"}
LEGEND = "yes: a form of its own; by others: an equal expression of other operators; -: refused, with a message\n"


def run(
    ctx: typer.Context,
    markdown: Annotated[bool, typer.Option("--markdown", help="As the tables of docs/targets.md.")] = False,
    output: OutputOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> Outcome:
    """The targets of `lossc export`, those of plug-ins included, and the operators that each has."""
    begin(ctx, as_json, quiet)
    if output is not None:
        check_writable(output, force=force)
    ops.load_plugins()
    targets = list(all_targets().values())
    data = {
        "targets": [_facts(t) for t in targets],
        "operators": {op: {t.name: t.support(op) for t in targets} for op in ops.OPS},
    }
    text = in_markdown(targets) if markdown else in_text(targets)
    return deliver(text, data, output, force=force)


def _facts(target: Target) -> dict[str, Any]:
    return {
        "name": target.name,
        "title": target.title,
        "suffix": target.suffix,
        "library": target.library[1],
        "self_test": bool(target.check),
        "options": [{"name": o.name, "values": o.values, "doc": o.doc} for o in target.declared],
    }


def _options(targets: list[Target]) -> list[tuple[str, str, str, str]]:
    """Target, option, values, meaning: alike options of several targets in one row."""
    rows: dict[Option, list[str]] = {}
    for target in targets:
        for option in target.declared:
            rows.setdefault(option, []).append(target.name)
    return [(o.name, o.values, o.doc, ", ".join(whose)) for o, whose in rows.items()]


def in_text(targets: list[Target]) -> str:
    """Three tables: the targets, their options, and the matrix."""
    rows = [(t.name, t.suffix, t.library[1] or "-", t.title) for t in targets]
    matrix = [(op, *(SIGNS[t.support(op)] for t in targets)) for op in ops.OPS]
    about = table(("target", "file", "needs", "what it is"), rows, report=True)
    shown = table(("operator", *(t.name for t in targets)), matrix, report=True)
    settings = table(OPTIONS, _options(targets), report=True)
    return f"{about}\n{settings}\n{shown}\n{LEGEND}"


def in_markdown(targets: list[Target]) -> str:
    """The same for docs/targets.md."""
    lines = ["| target | file | needs | what it is |", "|---|---|---|---|"]
    lines += [f"| `{t.name}` | `{t.suffix}` | {t.library[1] or '-'} | {t.title} |" for t in targets]
    lines += ["", "| " + " | ".join(OPTIONS) + " |", "|---" * len(OPTIONS) + "|"]
    lines += [f"| `{name}` | {values} | {doc} | {whose} |" for name, values, doc, whose in _options(targets)]
    lines += ["", "| operator | " + " | ".join(t.name for t in targets) + " |", "|---" * (len(targets) + 1) + "|"]
    lines += [f"| `{op}` | " + " | ".join(SIGNS[t.support(op)] for t in targets) + " |" for op in ops.OPS]
    return "\n".join([*lines, "", LEGEND])
