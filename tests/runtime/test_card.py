"""The card of a loss: one page that needs nothing else, with what the analysis found, and no markup from a formula."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from lossc.compiler.analysis.analyze import analyze
from lossc.grammar import parse
from lossc.grammar.library import named
from lossc.runtime.card import card, index


class Tags(HTMLParser):
    """The tags and texts of a page; complains of tags that are not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br", "path", "use", "rect", "circle", "clippath", "g", "defs"):
            self.open.append(tag)
        self.links += [v or "" for k, v in attrs if k in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "use", "rect", "circle", "clippath", "g", "defs"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_card_has_all_of_the_analysis() -> None:
    """Every verdict, every sentence, the emitted file, pictures; nothing is fetched; the same bytes again."""
    loss = named("ace_phi").with_defaults(phi1="1.1")
    found = analyze(loss, [named("ace_phi"), named("ace")])
    page = card(found)
    tags = Tags()
    tags.feed(page)
    text = " ".join("".join(tags.texts).split())
    assert tags.open == [] and page.count("<svg") >= 3
    assert all(link.startswith("#") for link in tags.links)
    for sentence in found.sentences():
        assert " ".join(sentence.split()) in text
    for name in found.verdicts:
        assert f">{name}</th>" in page
    assert "nn.Module" in text and "takes scores" in text
    assert re.sub(r"\d\.\d\d s", "", card(found)) == re.sub(r"\d\.\d\d s", "", page)
    assert 'href="ace_phi.html"' in index([found])


def test_a_card_does_not_trust_the_loss() -> None:
    """Texts of a loss are escaped."""
    from dataclasses import replace

    loss = replace(parse("(y - f)^2"), doc="<script>alert(1)</script>", source='"><img src=x>')
    page = card(analyze(loss))
    assert "<script>alert" not in page and "<img" not in page
