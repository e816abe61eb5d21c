"""`lossc demo`: the whole way once, from three formulas of the thesis to trained models, and a search for a new one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lossc.cli.context import Outcome, Session, begin
from lossc.cli.formats import signature
from lossc.cli.options import ForceOption, JsonOption, QuietOption
from lossc.cli.output import write
from lossc.cli.searching import concluded, searched
from lossc.compiler.errors import LosscError, UsageError
from lossc.compiler.loss import Loss

if TYPE_CHECKING:
    from lossc.runtime.training import Comparison

EXAMPLES = (
    "lossc demo                     # writes to out/demo",
    "lossc demo --out tour --json",
)
LOSSES = {"pseudo_huber": "diabetes", "evomal_i": "diabetes", "evomal_a": "digits"}
"""What is compiled (thesis Table 1.1; rows i and a of Table 4.1), and the task that it is trained on."""
SEEDS = 3
SEARCH = {"population": 10, "generations": 4}
"""The search at the end: a minute or so on two cores."""

_OURS = re.compile(r"^lossc +\d\S*, canonical form [0-9a-f]{32}$", re.MULTILINE)
"""The last line of the header of every emitted file."""


@dataclass(frozen=True, slots=True)
class Emitted:
    """A loss on its way: its simplified formula, its file, and the running self-test of that."""

    loss: Loss
    simplified: str
    path: str
    test: subprocess.Popen[str]


def run(
    ctx: typer.Context,
    out: Annotated[str, typer.Option("--out", metavar="FOLDER", help="Where the emitted files go.")] = "out/demo",
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> Outcome:
    """Compile three losses of the thesis, test the files, train with them, compare; then search for a new loss.

    Files of an earlier demo are replaced; other files of the same name only with --force.
    """
    session = begin(ctx, as_json, quiet)
    session.say(f"Three losses of the thesis: simplified, compiled to {out}, tested, and trained with.\n\n")
    make_folder(out)
    made = [compiled(session, name, out, force=force) for name in LOSSES]
    tests = [tested(session, one) for one in made]
    comparisons = [trained(session, task, made) for task in dict.fromkeys(LOSSES.values())]
    losses = [
        {"name": m.loss.name, "formula": str(m.loss), "simplified": m.simplified, "output": m.path, "self_test": t}
        for m, t in zip(made, tests, strict=True)
    ]
    session.say(f"\nEach file needs torch alone: python {made[0].path}\n\n")
    found = discovered(session, out)
    return Outcome({"losses": losses, "comparisons": [c.as_json() for c in comparisons], "search": found})


def make_folder(path: str) -> None:
    """Make the output folder. Raises UsageError (L233)."""
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as problem:
        why = (problem.strerror or str(problem)).lower()
        raise UsageError("L233", f"cannot make the folder {path!r}: {why}") from None


def compiled(session: Session, name: str, folder: str, *, force: bool) -> Emitted:
    """Simplify a named loss, write its file and set off its self-test, telling each step."""
    from lossc.grammar.library import named

    loss = named(name)
    session.say(f"{signature(loss)}    {loss.source}\n  as written  {loss}\n")
    better = loss.simplify()
    session.say(f"  simplified  {better}\n  dL/df       {better.grad('f')}\n")
    path = os.path.join(folder, f"{name}.py")
    write(path, loss.emit("torch"), force=force or is_ours(path))
    session.say(f"  file        {path}\n\n")
    pipe = subprocess.PIPE
    return Emitted(
        loss, str(better), path, subprocess.Popen([sys.executable, path], stdout=pipe, stderr=pipe, text=True)
    )


def is_ours(path: str) -> bool:
    """Whether the file was emitted by lossc."""
    try:
        with open(path, encoding="utf-8") as file:
            return _OURS.search(file.read(20_000)) is not None
    except (OSError, UnicodeDecodeError):
        return False


def tested(session: Session, made: Emitted) -> str:
    """What the self-test said. Raises LosscError (L900) if the file failed it."""
    out, err = made.test.communicate(timeout=120)
    said = (out.strip() or err.strip() or "nothing").splitlines()[-1]
    if made.test.returncode:
        raise LosscError("L900", f"{made.path} failed its self-test: {said}")
    session.say(f"python {made.path}: {said}\n")
    return said


def trained(session: Session, task_name: str, made: list[Emitted]) -> Comparison:
    """Train with the emitted files of one task, beside its baseline, and print the table."""
    from lossc.cli.comparison import caption, compared, comparison_table, remarks
    from lossc.runtime.compiled import load_file
    from lossc.runtime.tasks import get_task

    task = get_task(task_name)
    losses = {one.loss.name: load_file(one.path)() for one in made if LOSSES[one.loss.name] == task_name}
    found = compared(session, task, losses, range(SEEDS))
    session.say("\n" + caption(task, SEEDS) + comparison_table(found) + remarks(found))
    return found


def discovered(session: Session, out: str) -> Mapping[str, Any]:
    """Search for a loss on Diabetes, and say where its report is. A search of an earlier demo is replaced."""
    from lossc.runtime.search.config import make_search_config
    from lossc.runtime.search.session import Where, run_session
    from lossc.runtime.tasks import TaskSpec

    folder = os.path.join(out, "search")
    remove_run(folder)
    session.say(
        "A search for a loss on diabetes: genetic programming, coefficients learned by unrolled differentiation.\n"
    )
    asked = SimpleNamespace(output=None, force=False)
    config, where = make_search_config("quick", **SEARCH), Where(workers=2)
    result = searched(
        session,
        lambda shown, stop: run_session(TaskSpec("diabetes"), config, where, run=folder, callbacks=shown, stop=stop),
    )
    outcome = concluded(session, result, asked)
    session.say(outcome.text)
    session.say(
        f"\nOpen {folder}/report.html in a browser; a longer search: lossc search --task diabetes --workers 2\n"
    )
    return outcome.data


def remove_run(folder: str) -> None:
    """Remove the search of an earlier demo, and nothing that is not one. Raises UsageError (L233, L234, L257)."""
    from lossc.runtime.runs import is_locked
    from lossc.runtime.search.folder import read_settings

    if not os.path.lexists(folder):
        return
    try:
        read_settings(folder)
    except UsageError:
        raise UsageError(
            "L234", f"{folder} exists already, and is no search", hint="--out names another folder"
        ) from None
    if is_locked(folder):
        raise UsageError("L257", f"another process works on {folder}")
    try:
        shutil.rmtree(folder)
    except OSError as problem:
        raise UsageError("L233", f"cannot replace {folder}: {(problem.strerror or str(problem)).lower()}") from None
