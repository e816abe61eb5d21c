"""`lossc runs`: the searches in a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from lossc.cli.context import Outcome, begin, table
from lossc.cli.options import JsonOption, QuietOption
from lossc.compiler.errors import UsageError

EXAMPLES = (
    "lossc runs                                # those in runs/",
    "lossc runs /data/runs --json",
)


def run(
    ctx: typer.Context,
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Where the runs are.")] = "runs",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> Outcome:
    """List the searches in a folder: what was asked, how far they are, and the best loss of each."""
    begin(ctx, as_json, quiet)
    root = Path(folder)
    if not root.is_dir():
        raise UsageError("L256", f"there is no folder {folder}", hint="`lossc search` keeps its runs in runs/")
    found = [facts for path in sorted(root.iterdir()) if (facts := summary(path)) is not None]
    if not found:
        return Outcome({"folder": folder, "runs": []}, f"no searches in {folder}\n")
    columns = ("run", "task", "method", "preset", "state", "losses", "best", "formula")
    rows = [tuple("" if f[c] is None else str(f[c]) for c in columns) for f in found]
    return Outcome({"folder": folder, "runs": found}, table(columns, rows))


def summary(path: Path) -> dict[str, Any] | None:
    """What is said of a search, from its small files; None if the folder holds none."""
    from lossc.runtime.runs import is_locked
    from lossc.runtime.search.folder import FAME, FINALS, read_settings

    try:
        _, config, about = read_settings(path)
    except UsageError:
        return None
    fame = _json(path / FAME)
    listed = fame.get("best")
    best = listed[0] if isinstance(listed, list) and listed and isinstance(listed[0], dict) else {}
    fitness = best.get("fitness")
    state = "running" if is_locked(path) else "finished" if (path / FINALS).exists() else "interrupted"
    return {
        "run": str(path), "task": about.get("name"), "model": about.get("model"), "method": config.method,
        "preset": config.preset, "seed": config.seed, "state": state, "losses": fame.get("committed", 0),
        "best": round(fitness, 4) if isinstance(fitness, float) else None, "formula": best.get("formula"),
    }  # fmt: skip


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
