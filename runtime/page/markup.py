"""HTML that is escaped unless it says otherwise: tags, tables that sort, and numbers as text."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

NOT_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""What no HTML document may have in it."""
_VOID = frozenset({"meta", "br", "hr", "img", "input", "link"})


class Markup(str):
    """Text that is HTML already; every other text is escaped where it is put into a tag."""

    __slots__ = ()


Child = str | Iterable[str] | None


def escaped(text: str) -> Markup:
    """A text as HTML."""
    return text if isinstance(text, Markup) else Markup(html.escape(NOT_TEXT.sub("\ufffd", text)))


def joined(*children: Child) -> Markup:
    """Texts and tags one after the other, the texts escaped."""
    out: list[str] = []
    for child in children:
        out += [escaped(child)] if isinstance(child, str) else [escaped(c) for c in child or ()]
    return Markup("".join(out))


def tag(name: str, /, *children: Child, **attributes: str | int | bool | None) -> Markup:
    """An element. `class_` and `data_value` are the attributes class and data-value; None and False leave one out."""
    given = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        shown = key.rstrip("_").replace("_", "-")
        given.append(f" {shown}" if value is True else f' {shown}="{escaped(str(value))}"')
    begin = f"<{name}{''.join(given)}>"
    return Markup(begin) if name in _VOID else Markup(f"{begin}{joined(*children)}</{name}>")


def code(text: str, most: int = 400) -> Markup:
    """A formula; a very long one is cut, and is whole in its title as far as that is of use."""
    if len(text) <= most:
        return tag("code", text)
    return tag("code", text[:most] + " …", title=text[: 10 * most])


def number(value: float | None, digits: int = 4) -> str:
    """A number to be read: so many decimals, or significant digits where it is large or tiny."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    plain = value == 0 or 10.0 ** (1 - digits) <= abs(value) < 1000
    shown = f"{value:.{digits}f}" if plain else f"{value:.{digits}g}"
    return shown.replace("-", "−")


def spread(mean: float, deviation: float | None, digits: int = 4) -> str:
    """A mean with its deviation, both with the decimals of the mean."""
    if deviation is None or not math.isfinite(deviation):
        return number(mean, digits)
    if max(abs(mean), deviation) < 1000:
        return f"{mean:.{digits}f} ± {deviation:.{digits}f}".replace("-", "−")
    return f"{number(mean, digits)} ± {number(deviation, digits)}"


def probability(p: float | None) -> str:
    """A p value: two significant digits, at least 0.0001."""
    if p is None or math.isnan(p):
        return "–"
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}" if p < 1e-3 else f"{p:.2g}"


def share(part: float, whole: float) -> str:
    """A share in percent."""
    return f"{100 * part / whole:.0f} %" if whole else "–"


def count(amount: int, one: str, many: str = "") -> str:
    """An amount of things: 1 loss, 2 losses."""
    return f"{amount:,} {one if amount == 1 else many or one + 's'}"


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell: what is shown, and what it is sorted by if that is a number."""

    shown: str
    key: float | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its head, and whether it is of numbers (right, sorted as numbers)."""

    head: str
    numeric: bool = False
    hint: str = ""


def numeric(value: float | None, digits: int = 4) -> Cell:
    """A number as a cell; what is none sorts last."""
    key = None if value is None or math.isnan(value) else value
    return Cell(number(value, digits), key)


def whole(value: int) -> Cell:
    """A whole number as a cell."""
    return Cell(f"{value:,}", value)


def table(
    caption: str, columns: Sequence[Column], rows: Sequence[Sequence[Cell | str]], *, sorts: bool = False,
    marks: Sequence[str] = (), ids: Sequence[str] = (),
) -> Markup:  # fmt: skip
    """A table in a box that scrolls. The first cell of a row is its head; `marks` and `ids` are of the rows.

    With `sorts` every head of a column is a button. A numeric cell without a number has an empty key: it sorts last.
    """
    body = []
    for i, row in enumerate(rows):
        cells = [_cell(c, column, head=j == 0) for j, (c, column) in enumerate(zip(row, columns, strict=True))]
        mark, name = (marks[i] if marks else "") or None, (ids[i] if ids else "") or None
        body.append(tag("tr", cells, class_=mark, id=name))
    made = tag(
        "table", tag("caption", tag("span", caption)), tag("thead", tag("tr", [_head(c, sorts) for c in columns])),
        tag("tbody", body), class_="sorts" if sorts else None,
    )  # fmt: skip
    return scrolling(made, caption)


def scrolling(child: Markup, label: str) -> Markup:
    """A box that scrolls sideways where the page is narrow, with the keyboard too."""
    return tag("div", child, class_="scroll", tabindex=0, role="region", aria_label=label)


def _head(column: Column, sorts: bool) -> Markup:
    kind = "num" if column.numeric else None
    shown = column.head
    if sorts:
        shown = tag("button", column.head, tag("span", class_="arrow", aria_hidden="true"), type="button")
    return tag("th", shown, scope="col", class_=kind, title=column.hint or None)


def _cell(cell: Cell | str, column: Column, *, head: bool) -> Markup:
    made = cell if isinstance(cell, Cell) else Cell(cell)
    key = None if not column.numeric else "" if made.key is None else repr(made.key)
    kind = "num" if column.numeric else None
    return tag("th" if head else "td", made.shown, scope="row" if head else None, class_=kind, data_key=key)
