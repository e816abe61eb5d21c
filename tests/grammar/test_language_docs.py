"""docs/language.md is true: every fenced example runs, every error is shown as it is, every table is up to date."""

from __future__ import annotations

import doctest
import re
from itertools import pairwise
from pathlib import Path

import pytest

from lossc.compiler.errors import LosscError
from lossc.grammar import parse_expr, parse_losses
from lossc.grammar.reference import TABLES, with_tables

PAGE = Path(__file__).parents[2] / "docs" / "language.md"
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TEXT = PAGE.read_text("utf-8")
EXAMPLES = [(found.group(1), found.group(2), TEXT[: found.start()].count("\n") + 1) for found in FENCE.finditer(TEXT)]
SYMBOLS = {"a": 1, "b": 2, "x": 3}


def examples(kind: str) -> list[object]:
    return [pytest.param(text, id=f"line {line}") for tag, text, line in EXAMPLES if tag == kind]


def test_every_example_is_of_a_kind_that_is_run() -> None:
    """A fence with another tag would never be run; a text belongs to the error before it."""
    tags = [tag for tag, _, _ in EXAMPLES]
    assert set(tags) == {"loss", "same", "loss-error", "text", "python"}
    assert [tags[i - 1] for i, tag in enumerate(tags) if tag == "text"] == ["loss-error"] * tags.count("loss-error")


@pytest.mark.parametrize("text", examples("loss"))
def test_losses_parse(text: str) -> None:
    """What is shown as a loss is one."""
    assert parse_losses(text)


@pytest.mark.parametrize("text", examples("same"))
def test_pairs_are_the_same_expression(text: str) -> None:
    """`A is B` holds as identity of nodes, not only in value."""
    for line in text.splitlines():
        left, right = re.split(r"\s{2,}is\s{2,}", line)
        assert parse_expr(left, params=SYMBOLS) is parse_expr(right, params=SYMBOLS), line


def test_errors_are_shown_as_they_are() -> None:
    """The text after a wrong loss is what the user sees, to the letter."""
    shown = 0
    for (tag, text, line), (_, expected, _) in pairwise(EXAMPLES):
        if tag == "loss-error":
            with pytest.raises(LosscError) as caught:
                parse_losses(text.rstrip("\n"), source_name="<formula>")
            assert str(caught.value) == expected.rstrip("\n"), f"line {line}"
            shown += 1
    assert shown >= 5


def test_python_examples() -> None:
    """The interactive examples give the results that the page shows, one after the other."""
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(verbose=False)
    scope: dict[str, object] = {}
    for tag, text, line in EXAMPLES:
        if tag == "python":
            test = parser.get_doctest(text, scope, "docs/language.md", str(PAGE), line)
            out: list[str] = []
            result = runner.run(test, out=out.append, clear_globs=False)
            scope = test.globs
            assert result.failed == 0, "".join(out)
            assert result.attempted > 0


def test_tables_are_generated() -> None:
    """`python -m lossc.grammar.reference docs/*.md` would change nothing, and each table stands once."""
    pages = TEXT + PAGE.with_name("numerics.md").read_text("utf-8")
    assert with_tables(pages) == pages
    for name in TABLES:
        assert pages.count(f"<!-- begin {name} -->") == 1


def test_links_within_the_page() -> None:
    """Every link to a section leads to one."""
    headings = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(#([^)]*)\)", TEXT):
        assert target in anchors
