"""The card as a whole, and the index of several."""

from __future__ import annotations

from collections.abc import Sequence

from lossc._version import __version__
from lossc.compiler.analysis.analyze import Analysis
from lossc.compiler.analysis.verdicts.catalogue import PROPERTIES
from lossc.runtime.card import facts, measured, pictures
from lossc.runtime.card.marks import mark
from lossc.runtime.page.markup import Cell, Column, Markup, table, tag
from lossc.runtime.page.style import SCRIPT, STYLE

CARD_STYLE = """
td.mark { white-space: nowrap; }
.yes { color: var(--green); font-weight: 600; }
.no { color: var(--red); font-weight: 600; }
.open { color: var(--faint); font-weight: 600; }
ul.said { padding-left: 1.2rem; max-width: 46rem; }
ul.said li { margin: 0 0 .35rem; overflow-wrap: anywhere; }
.copied pre.long { max-height: 26rem; }
.matrix td, .matrix th { padding: .2rem .35rem; }
.matrix thead th { writing-mode: vertical-rl; text-orientation: mixed; vertical-align: bottom; font-weight: 500; }
.matrix td { text-align: center; }
"""


def card(found: Analysis) -> str:
    """The card of an analysed loss, as an HTML page: the same bytes for the same analysis."""
    parts = [
        ("pictures", "Pictures", pictures.section(found)),
        ("words", "What it is, what it does, where it breaks", facts.words_section(found)),
        ("verdicts", "Verdicts", facts.verdicts_section(found)),
        ("breaks", "Where the formula breaks", measured.breaks_section(found)),
        ("rule", "Learning rule", facts.rule_section(found)),
        ("identity", "Known losses", facts.identity_section(found)),
        ("accuracy", "Accuracy", measured.accuracy_section(found)),
        ("cost", "Cost", facts.cost_section(found)),
        ("code", "Code", facts.code_section(found)),
    ]
    shown = [(name, title, content) for name, title, content in parts if content is not None]
    contents = tag("nav", [tag("a", title, href=f"#{name}") for name, title, _ in shown], aria_label="Contents")
    body = [tag("section", tag("h2", title), content, id=name) for name, title, content in shown]
    return _page(f"{found.loss.name}: a loss function", [facts.head(found), contents, *body, _foot()])


def index(found: Sequence[Analysis]) -> str:
    """A page with a line for each loss and its verdicts, that leads to their cards."""
    columns = [Column("loss"), *(Column(p.name, hint=p.means) for p in PROPERTIES)]
    rows = [[Cell(tag("a", a.loss.name, href=f"{a.loss.name}.html")), *_marks(a)] for a in found]
    caption = "yes: proved; no: refuted by a point; ?: not decided; blank: does not apply. The cards say why."
    made = Markup(table(caption, columns, rows).replace("<table>", '<table class="matrix">'))
    total = sum(len(a.verdicts.found) for a in found)
    decided = sum(v.decided for a in found for v in a.verdicts.found.values())
    said = tag("p", f"{len(found)} losses, {total:,} verdicts, {decided:,} of them decided.")
    return _page(
        "Loss functions and their properties", [tag("h1", "Loss functions and their properties"), said, made, _foot()]
    )


def _marks(found: Analysis) -> list[Cell]:
    out = []
    for p in PROPERTIES:
        verdict = found.verdicts.found.get(p.name)
        out.append(Cell("") if verdict is None else Cell(mark(verdict.status, short=True)))
    return out


def _page(title: str, content: Sequence[Markup]) -> str:
    head = tag(
        "head", tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"), tag("title", title),
        tag("style", Markup(STYLE + CARD_STYLE)),
    )  # fmt: skip
    page = tag("html", head, tag("body", tag("main", content), tag("script", Markup(SCRIPT))), lang="en")
    return f"<!DOCTYPE html>\n{page}\n"


def _foot() -> Markup:
    return tag("p", f"Made by lossc {__version__}.", class_="note")
