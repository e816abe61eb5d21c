"""The command: run what is not in the journal yet, then print the tables, or put them into benchmarks/RESULTS.md."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from benchmarks.fidelity.cells import SETUPS
from benchmarks.fidelity.journal import Journal
from benchmarks.fidelity.plan import FORMS, Job, jobs, wanted
from benchmarks.fidelity.report import report
from benchmarks.fidelity.runner import Outcome
from benchmarks.fidelity.workers import run_all
from benchmarks.results import put_section
from lossc.compiler.errors import UsageError
from lossc.runtime.data import load

FOLDER = Path("out") / "fidelity"
TITLES = {"quick": "Fidelity to the thesis, quick form", "full": "Fidelity to the thesis, full form"}


def missing_setups(only: Collection[str]) -> dict[str, str]:
    """The setups whose files are not there, with the reason."""
    found: dict[str, str] = {}
    tasks: dict[str, str] = {}
    for setup in SETUPS.values():
        if not wanted(setup, only):
            continue
        if setup.task not in tasks:
            tasks[setup.task] = ""
            try:
                load(setup.task)
            except UsageError as problem:
                if problem.diagnostic.code != "L226":
                    raise
                tasks[setup.task] = str(problem).splitlines()[0]
        if tasks[setup.task]:
            found[setup.key] = tasks[setup.task]
    return found


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.fidelity", description=__doc__)
    form = parser.add_mutually_exclusive_group(required=True)
    form.add_argument("--quick", dest="form", action="store_const", const="quick", help="minutes")
    form.add_argument("--full", dest="form", action="store_const", const="full", help="the thesis's settings: hours")
    parser.add_argument(
        "--only", default="", metavar="NAMES", help='of tasks ("mnist") or setups ("3/diabetes"), commas'
    )
    parser.add_argument("--methods", default="", metavar="NAMES", help="of them: baseline, ml3, ...")
    parser.add_argument("--seeds", type=int, metavar="N", help="at most so many")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes of one thread")
    parser.add_argument("--minutes", type=float, default=math.inf, metavar="N", help="start no run after so many")
    parser.add_argument("--results", type=Path, metavar="FILE", help=f"the finished runs [{FOLDER}/FORM.jsonl]")
    parser.add_argument("--write", action="store_true", help="put the tables into benchmarks/RESULTS.md")
    parser.add_argument("--report", action="store_true", help="run nothing: the tables of the runs that there are")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    """Run, and report."""
    args = _arguments(given)
    form, only = FORMS[args.form], [n for n in args.only.split(",") if n]
    journal = Journal(args.results or FOLDER / f"{form.name}.jsonl")
    missing = missing_setups(only)
    for key, why in missing.items():
        print(f"skipped {key}: {why}", file=sys.stderr)
    known = journal.read()
    methods = [n for n in args.methods.split(",") if n]
    todo = [j for j in jobs(form, only, args.seeds) if j.setup not in missing and j not in known]
    todo = [j for j in todo if not methods or j.method in methods]
    if not args.report:
        print(f"{len(todo)} runs to do, {len(known)} in {journal.path}", file=sys.stderr)
        run_all(todo, journal, _told, workers=args.workers, minutes=args.minutes)
    text = report(form, journal.read(), missing)
    print(text)
    if args.write:
        put_section(
            f"fidelity-{form.name}", TITLES[form.name], f"python -m benchmarks.fidelity --{form.name} --write", text
        )


def _told(job: Job, outcome: Outcome) -> None:
    print(f"{job}: {outcome.test:.4f} in {outcome.seconds:.0f} s {outcome.failure}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
