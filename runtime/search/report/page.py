"""The page as a whole: sections in order, contents, style and script."""

from __future__ import annotations

from lossc.runtime.page.markup import Markup, tag
from lossc.runtime.page.style import SCRIPT, STYLE
from lossc.runtime.search.folder import Run
from lossc.runtime.search.found import found_losses
from lossc.runtime.search.report import best, costs, sections


def render_report(run: Run) -> str:
    """The report of a run as an HTML page."""
    found = found_losses(run.search, run.finals)
    parts = [
        ("best", "The best loss", best.best_section(run, found)),
        ("test", "On the test part", sections.tested_section(run)),
        ("curve", "The search", sections.curve_section(run)),
        ("filters", "What became of the losses", sections.filters_section(run)),
        ("operators", "Operators", sections.operators_section(run)),
        ("losses", "The best losses", sections.tables_section(run, found)),
        ("lineage", "Where the best loss is from", sections.lineage_section(run, found)),
        ("costs", "What it cost", costs.cost_section(run)),
        ("repeat", "How to do it again", costs.repeat_section(run)),
    ]
    contents = tag("nav", [tag("a", title, href=f"#{name}") for name, title, _ in parts], aria_label="Contents")
    body = [tag("section", tag("h2", title), content, id=name) for name, title, content in parts]
    page = tag(
        "html",
        tag(
            "head", tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"), tag("title", best.title_of(run)),
            tag("style", Markup(STYLE)),
        ),
        tag("body", tag("main", best.head(run), contents, body), tag("script", Markup(SCRIPT))),
        lang="en",
    )  # fmt: skip
    return f"<!DOCTYPE html>\n{page}\n"
