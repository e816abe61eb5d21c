"""The sections on what the search cost, and how to do it again."""

from __future__ import annotations

import json

from lossc.runtime.page.markup import (
    Cell,
    Column,
    Markup,
    count,
    joined,
    number,
    numeric,
    share,
    table,
    tag,
    whole,
)
from lossc.runtime.search.finals import BASELINE
from lossc.runtime.search.folder import Run
from lossc.runtime.search.journal import CONTROL, SEARCH, read_journal
from lossc.runtime.search.report import facts, repeat
from lossc.runtime.search.report.facts import STAGES, Cost

_WHAT = {
    "filter": "filters", "train": "coefficients, fitness", "tune": "CMA-ES on the best", "judge": "judging again",
    "test": "test part",
}  # fmt: skip
_WHOSE = {SEARCH: "search", CONTROL: "random search", BASELINE: "usual loss"}


def cost_section(run: Run) -> Markup:
    """Processor time by stage."""
    found = facts.costs(run)
    columns = [
        Column("whose"), Column("stage"), Column("jobs", numeric=True), Column("CPU seconds", numeric=True),
        Column("share", numeric=True), Column("training steps", numeric=True), Column("seconds a job", numeric=True),
    ]  # fmt: skip
    total = sum(found.values(), Cost())
    rows = [
        _row(_WHOSE[whose], _WHAT[stage], found[whose, stage], total)
        for whose in _WHOSE for stage in STAGES if (whose, stage) in found
    ]  # fmt: skip
    rows.append(_row("all", "", total, total))
    marks = [""] * (len(rows) - 1) + ["total"]
    return joined(table("Jobs and their processor time", columns, rows, marks=marks), [tag("p", s) for s in saved(run)])


def _row(whose: str, stage: str, cost: Cost, total: Cost) -> list[Cell | str]:
    each = cost.seconds / cost.jobs if cost.jobs else None
    return [
        whose, stage, whole(cost.jobs), numeric(cost.seconds, 1), Cell(share(cost.seconds, total.seconds)),
        whole(cost.steps), numeric(each, 3),
    ]  # fmt: skip


def saved(run: Run) -> list[str]:
    """What did not have to be trained, in sentences."""
    out = []
    for search, who in ((run.search, "The search"), (run.control, "Random search")):
        if search is None or not search.committed:
            continue
        kinds: dict[str, int] = {}
        for (kind, _), amount in facts.fates(search).items():
            kinds[kind] = kinds.get(kind, 0) + amount
        free = search.committed - search.trainings
        early = free - kinds.get(facts.CACHED, 0) - kinds.get(facts.AGAIN, 0)
        seconds = [float((i.outcome or {}).get("seconds") or 0.0) for _, i in facts.trainings(search)]
        mean = f", {number(sum(seconds) / len(seconds), 2)} s each on average" if seconds else ""
        out.append(
            f"{who} bred {count(search.committed, 'loss', 'losses')} and trained {search.trainings:,}{mean}; "
            f"{free:,} ({share(free, search.committed)}) needed no training: {early:,} were turned away before it, "
            f"{kinds.get(facts.CACHED, 0):,} had the formula or the gradient of an earlier one, "
            f"{kinds.get(facts.AGAIN, 0):,} were kept as they were."
        )
    return out


def repeat_section(run: Run) -> Markup:
    """How to do it again or go on, the environment, and all settings."""
    line, file = repeat.command(run)
    parts: list[Markup] = []
    if not run.over:
        parts += [
            tag("p", "The search is not at its end. To go on with it:"),
            tag("pre", repeat.resume(run), tabindex=0),
        ]
    if run.spec is None:
        parts.append(
            tag(
                "p",
                "The task was made in Python: the command needs it under a name, such as mytask.py:task.",
                class_="note",
            )
        )
    parts += [tag("p", "To do the same again, with the same versions of the software:"), tag("pre", line, tabindex=0)]
    if file:
        parts += [tag("p", "with ", tag("code", repeat.FILE), ":"), tag("pre", file.rstrip("\n"), tabindex=0)]
    known = [(str(k), str(v)) for k, v in run.environment.items()]
    parts.append(tag("dl", [tag("div", tag("dt", k), tag("dd", v)) for k, v in known], class_="facts"))
    for line_of in read_journal(run.path).environments:
        changed = "; ".join(f"{k}: {a} → {b}" for k, (a, b) in sorted(line_of["changed"].items()))
        parts.append(tag("p", f"It was gone on with in another environment: {changed}.", class_="note"))
    settings = json.dumps(run.config.model_dump(mode="json"), indent=1, ensure_ascii=False)
    about = json.dumps(run.about, indent=1, ensure_ascii=False)
    parts += [_folded("All settings", settings), _folded("All of the task", about)]
    return joined(parts)


def _folded(title: str, text: str) -> Markup:
    return tag("details", tag("summary", title), tag("pre", text, tabindex=0))
