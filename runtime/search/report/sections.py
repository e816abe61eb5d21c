"""The sections on the search itself: learning curve, filters, operators, tables, lineage, the test part."""

from __future__ import annotations

from collections.abc import Sequence

from lossc.runtime.page.drawing import figure
from lossc.runtime.page.markup import (
    Cell,
    Column,
    Markup,
    code,
    count,
    joined,
    number,
    numeric,
    probability,
    share,
    spread,
    table,
    tag,
    whole,
)
from lossc.runtime.search.finals import BASELINE, Finals, Tested
from lossc.runtime.search.folder import Run
from lossc.runtime.search.found import KEPT, Found, front
from lossc.runtime.search.journal import CONTROL, SEARCH
from lossc.runtime.search.report import facts, figures
from lossc.runtime.search.report.lineage import lineage_table


def curve_section(run: Run) -> Markup:
    """The best fitness over trainings, beside random search's."""
    drawing, above = figures.search_curve(run.search, run.control, _metric(run))
    if not drawing:
        return tag("p", "No loss has a fitness yet.", class_="note")
    said = (
        "Dots are losses, lines the best so far; smaller is better. A fitness is a short training on rows of its own."
    )
    if above:
        said += f" {count(above, 'loss is', 'losses are')} above the range."
    shared = run.control is not None and run.control.trainings == run.search.trainings
    if shared:
        said += f" Both trained {count(run.search.trainings, 'loss', 'losses')}."
    return figure(drawing, said)


def filters_section(run: Run) -> Markup:
    """What became of every loss, and how often the filters are wrong."""
    mine = facts.fates(run.search)
    theirs = None if run.control is None else facts.fates(run.control) or None
    if not mine:
        return tag("p", "No loss was committed yet.", class_="note")
    drawing = figure(figures.fates_figure(mine, theirs), (
        "Blue: trained, with a fitness. Red: rejected. Green: the outcome was known, so nothing was computed. "
        "Purple: kept from the generation before. Dark: an error inside the loss."
    ))  # fmt: skip
    return joined(drawing, _failures(run), tag("h3", "Are the filters right?"), tag("p", _audited(run)))


def _failures(run: Run) -> Markup:
    found = facts.failures(run.search)
    if not found:
        return Markup()
    rows: list[list[Cell | str]] = [[why[:200] or "no reason given", whole(n)] for why, n in list(found.items())[:10]]
    return table("Errors inside losses of the search", [Column("error"), Column("losses", numeric=True)], rows)


def _audited(run: Run) -> str:
    found = facts.audit(run.search, run.control)
    if not found.audited:
        why = "audit = 0" if not run.config.audit else "the draw took none"
        return f"No loss that the first filters rejected was trained all the same ({why}): nothing is known of that."
    said = (
        f"{count(found.audited, 'loss', 'losses')} that the first filters had rejected went on all the same. After "
        f"learning {found.passed} would have passed ({share(found.passed, found.audited)}), {found.fit} got a fitness"
    )
    if found.median is None:
        return f"{said}."
    return (
        f"{said}, and {found.good} ({share(found.good, found.audited)}) one better than {number(found.median)}, the "
        "median of the losses trained as usual: so often the filters throw away what is worth having."
    )


def operators_section(run: Run) -> Markup:
    """Which operators the best losses are made of."""
    best = run.search.best[:KEPT]
    bred = facts.operators(run.search.population)
    if not best or not bred:
        return tag("p", "There are no losses with a fitness to compare.", class_="note")
    drawing = figures.operators_figure(facts.operators(best), bred, len(best))
    return figure(
        drawing, "How often an operator occurs, as a share of all occurrences, the most frequent of the best first."
    )


def tables_section(run: Run, found: Sequence[Found]) -> Markup:
    """The best losses, and the front."""
    if not found:
        return tag("p", "No loss has a fitness.", class_="note")
    on_front = {i.ticket for i in front(run.search)}
    columns = [
        Column("rank", numeric=True), Column("fitness", numeric=True, hint="smaller is better"),
        Column("again", numeric=True, hint="with other seeds, more steps and other rows"),
        Column("size", numeric=True, hint="nodes"), Column("front", hint="not beaten in both fitness and size"),
        Column("formula"), Column("operator"), Column("loss", numeric=True, hint="number in the order of breeding"),
    ]  # fmt: skip
    rows: list[list[Cell | str]] = [
        [
            whole(rank), numeric(f.fitness), numeric(f.again), whole(f.size), "●" if f.ticket in on_front else "",
            code(f.formula), f.operator, Cell(f"#{f.ticket}", f.ticket),
        ]
        for rank, f in enumerate(found[:KEPT], start=1)
    ]  # fmt: skip
    marks = ["on-front" if f.ticket in on_front else "" for f in found[:KEPT]]
    caption = f"The best {len(rows)} losses; ● is on the front: none is as good in fitness and size and better in one."
    if any(f.again is not None for f in found):
        caption += " Those that were judged again come first."
    drawing = figure(
        figures.front_figure(run.search, _metric(run)), "Fitness against size: the front is where one buys the other."
    )
    beside = tag("div", drawing, _front(run), class_="grid")
    return joined(table(caption, columns, rows, sorts=True, marks=marks), beside)


def _front(run: Run) -> Markup:
    rows: list[list[Cell | str]] = [
        [whole(len(i)), numeric(i.value), code(str(run.search.loss(i.expr))), Cell(f"#{i.ticket}", i.ticket)]
        for i in reversed(front(run.search))
    ]
    columns = [
        Column("size", numeric=True), Column("fitness", numeric=True), Column("structure"), Column("loss", numeric=True)
    ]  # fmt: skip
    return table("The front, smallest first.", columns, rows, sorts=True)


def lineage_section(run: Run, found: Sequence[Found]) -> Markup:
    """What the best loss was bred from."""
    if not found:
        return tag("p", "There is no best loss.", class_="note")
    said = "Copies that a generation kept are not listed again. Fitness ∞: rejected, so bred from by chance only."
    return joined(lineage_table(run.search, found[0].ticket), tag("p", said, class_="note"))


def tested_section(run: Run) -> Markup:
    """The table of the test part, and how training went."""
    if run.finals is None:
        return tag("p", "The search is not at its end: the test part was not looked at.", class_="note")
    if not run.finals.table:
        return tag("p", "The test part was not looked at.", class_="note")
    rows = [(r, name_of(run, r.name)) for r in _in_order(run.finals)]
    drawing = figures.tested_figure(rows, _metric(run))
    said = "Lines are means over the trainings, bands reach from the least to the greatest."
    return joined(_tested_table(run), figure(drawing, said))


def name_of(run: Run, row: str) -> str:
    """What a row of the test is called."""
    return {SEARCH: "found loss", CONTROL: "random search", BASELINE: str(run.about.get("baseline"))}[row]


def _tested_table(run: Run) -> Markup:
    finals = run.finals
    assert finals is not None
    seeds = max(len(r.values) for r in finals.table)
    columns = [
        Column("loss"), Column(f"test {_metric(run)}", numeric=True),
        Column("gain", numeric=True, hint="of the found loss: above 0 it is better"),
        Column("p", numeric=True, hint="paired t-test over the seeds, two-sided"),
        *(Column(f"seed {i}", numeric=True) for i in range(seeds)),
    ]  # fmt: skip
    remarked = any(f for r in finals.table for f in r.failures)
    rows: list[list[Cell | str]] = []
    for row in _in_order(finals):
        found = None if row.name == SEARCH else finals.against(row.name)
        mean = row.spread
        gain = Cell("") if found is None else Cell(spread(found.gain.mean, found.gain.std), found.gain.mean)
        remarks = "; ".join(dict.fromkeys(f[:120] for f in row.failures if f))
        rows.append([
            name_of(run, row.name), Cell(spread(mean.mean, mean.std), mean.mean), gain,
            Cell("" if found is None else probability(found.p), None if found is None else found.p),
            *(numeric(v) for v in row.values), *([remarks] if remarked else []),
        ])  # fmt: skip
    caption = (
        "The metric on the test part, mean ± deviation over the trainings, and each training. Gain: by how much the "
        "found loss is better, training by training; p: of the paired t-test."
    )
    columns += [Column("remarks")] if remarked else []
    return table(caption, columns, rows)


def _in_order(finals: Finals) -> list[Tested]:
    order = {SEARCH: 0, CONTROL: 1, BASELINE: 2}
    return sorted(finals.table, key=lambda r: order[r.name])


def _metric(run: Run) -> str:
    return str(run.about.get("metric", "metric"))
