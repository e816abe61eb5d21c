"""Verdicts as coloured words, and texts that can be copied."""

from __future__ import annotations

from lossc.compiler.analysis.verdicts.verdict import PROVED, REFUTED, UNKNOWN
from lossc.runtime.page.markup import Markup, tag

_CLASSES = {PROVED: "yes", REFUTED: "no", UNKNOWN: "open"}
_SHORT = {PROVED: "yes", REFUTED: "no", UNKNOWN: "?"}


def mark(status: str, *, short: bool = False) -> Markup:
    """A verdict in a word, coloured."""
    return tag("span", _SHORT[status] if short else status, class_=_CLASSES[status])


def copied(name: str, label: str, text: str) -> Markup:
    """A text with a button that copies it."""
    button = tag("button", f"Copy {label}", type="button", class_="copy", data_copy=name)
    return tag("div", tag("pre", tag("code", text, id=name), tabindex=0, class_="long"), button, class_="copied")
