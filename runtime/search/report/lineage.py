"""The ancestors of a loss as a table with a graph beside it, as version control draws histories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lossc.runtime.page.markup import Markup, code, joined, number, scrolling, tag
from lossc.runtime.search.loop import Search
from lossc.runtime.search.report import facts

ROW, LANE = 30, 14
"""Height of a row and width of a lane, in pixels."""


@dataclass(frozen=True, slots=True)
class Rail:
    """One row of the graph: the lane of the loss, those that pass by, whether it comes from above, those of parents."""

    mine: int
    passing: tuple[int, ...]
    above: bool
    below: tuple[int, ...]


def rails(parents: Sequence[tuple[int, Sequence[int]]]) -> list[Rail]:
    """The rows of a graph, children before parents: each a ticket and its parents. Every ticket waits in one lane."""
    shown = {ticket for ticket, _ in parents}
    lanes: list[int | None] = []
    out = []
    for ticket, its in parents:
        above = ticket in lanes
        mine = lanes.index(ticket) if above else _free(lanes)
        passing = tuple(i for i, t in enumerate(lanes) if t is not None and t != ticket)
        lanes[mine] = None
        below = []
        for parent in its:
            if parent not in shown:
                continue
            if parent not in lanes:
                place = mine if lanes[mine] is None else _free(lanes)
                lanes[place] = parent
            below.append(lanes.index(parent))
        out.append(Rail(mine, passing, above, tuple(below)))
    return out


def _free(lanes: list[int | None]) -> int:
    """A lane that nobody waits in, a new one if there is none."""
    if None not in lanes:
        lanes.append(None)
    return lanes.index(None)


def lineage_table(search: Search, ticket: int) -> Markup:
    """The ancestors of a loss, youngest first."""
    found = facts.ancestors(search, ticket)
    graph = rails([(i.ticket, facts.parents_of(search, i.ticket)) for i in found.rows])
    lanes = 1 + max(max((r.mine, *r.passing, *r.below)) for r in graph)
    rows = []
    shown = {i.ticket for i in found.rows}
    for here, rail in zip(found.rows, graph, strict=True):
        links = [
            tag("a", f"#{p}", href=f"#loss-{p}") if p in shown else Markup(f"#{p}")
            for p in facts.parents_of(search, here.ticket)
        ]
        rows.append(tag(
            "tr", tag("td", _drawn(rail, lanes), class_="rail"), tag("th", f"#{here.ticket}", scope="row"),
            tag("td", str(facts.generation_of(search, here.ticket)), class_="num"), tag("td", here.operator),
            tag("td", _listed(links)), tag("td", number(here.value), class_="num"),
            tag("td", str(len(here)), class_="num"), tag("td", code(str(search.loss(here.expr)), 160)),
            id=f"loss-{here.ticket}",
        ))  # fmt: skip
    heads = [
        tag("th", tag("span", "graph", class_="unseen"), scope="col"), tag("th", "loss", scope="col"),
        tag("th", "generation", scope="col", class_="num"), tag("th", "operator", scope="col"),
        tag("th", "from", scope="col"), tag("th", "fitness", scope="col", class_="num"),
        tag("th", "size", scope="col", class_="num"), tag("th", "structure", scope="col"),
    ]  # fmt: skip
    caption = f"Ancestors of loss #{ticket}, youngest first."
    made = tag(
        "table",
        tag("caption", tag("span", caption)),
        tag("thead", tag("tr", heads)),
        tag("tbody", rows),
        class_="lineage",
    )
    note = Markup()
    if found.left:
        note = tag("p", f"{found.left} ancestors further back are left out.", class_="note")
    return joined(scrolling(made, caption), note)


def _listed(links: Sequence[Markup]) -> Markup:
    return Markup(", ".join(links)) if links else Markup("–")


def _drawn(rail: Rail, lanes: int) -> Markup:
    """The piece of the graph in one row; the column of parents says the same in words."""

    def x(lane: int) -> int:
        return lane * LANE + LANE // 2

    middle, mine = ROW // 2, x(rail.mine)
    lines = [f"M{x(i)} 0V{ROW}" for i in rail.passing]
    if rail.above:
        lines.append(f"M{mine} 0V{middle}")
    for i in rail.below:
        bend = (middle + ROW) / 2
        lines.append(f"M{mine} {middle}C{mine} {bend:g} {x(i)} {bend:g} {x(i)} {ROW}")
    return Markup(
        f'<svg width="{lanes * LANE}" height="{ROW}" viewBox="0 0 {lanes * LANE} {ROW}" aria-hidden="true">'
        f'<path d="{"".join(lines)}"/><circle cx="{mine}" cy="{middle}" r="4"/></svg>'
    )
