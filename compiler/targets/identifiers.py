"""Names of the user, made into identifiers of emitted code: never a keyword, a builtin or another name of the file.

User text reaches emitted code in two forms only: as an identifier from here, or inside the docstring from `prose`.
"""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata
from collections.abc import Iterable

PYTHON = frozenset({*keyword.kwlist, *keyword.softkwlist, *dir(builtins)})
"""Words that mean something to Python itself."""

LONGEST = 32
"""Characters of an identifier; longer names are cut, so that emitted lines keep their length."""

_TEMPORARY = re.compile(r"v[0-9]+")


def ascii_name(text: str) -> str:
    """The text as ASCII letters, digits and single underscores, possibly empty: `δ` is delta, `été` is ete."""
    spelled = "".join(_spell(c) for c in unicodedata.normalize("NFKD", text))
    return re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9_]", "_", spelled)).strip("_")


def _spell(c: str) -> str:
    if c.isascii():
        return c
    if unicodedata.combining(c):
        return ""
    words = unicodedata.name(c, "").split()
    return words[3].lower() if words[:3] == ["GREEK", "SMALL", "LETTER"] and len(words) == 4 else "_"


def identifiers(names: Iterable[str], taken: Iterable[str]) -> dict[str, str]:
    """One identifier for each name: itself where safe, else `lambda_`, and `lambda_2` if that is taken too."""
    used = {*PYTHON, *taken}
    out: dict[str, str] = {}
    for name in names:
        made = ascii_name(name)[:LONGEST] or "parameter"
        if made[0].isdigit():
            made = f"p{made}"
        plain, count = made.rstrip("_"), 1
        while made in used or _TEMPORARY.fullmatch(made):
            made = f"{plain}_" if count == 1 else f"{plain}_{count}"
            count += 1
        used.add(made)
        out[name] = made
    return out


def words_of(name: str) -> list[str]:
    """The words of a loss's name in lower case, without a final "loss": `pseudo_huber_loss` -> pseudo, huber."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", ascii_name(name)[:LONGEST])
    words = [w.lower() for w in spaced.split("_") if w]
    while words and words[-1] == "loss":
        words.pop()
    return words if words and not words[0].isdigit() else ["custom", *words]


def class_name(name: str) -> str:
    """The class that a loss of this name becomes: `pseudo_huber` -> PseudoHuberLoss."""
    return "".join(w.capitalize() for w in words_of(name)) + "Loss"


def function_name(name: str) -> str:
    """The functional twin: `pseudo_huber` -> pseudo_huber_loss."""
    return "_".join(words_of(name)) + "_loss"


def prose(text: str) -> str:
    """User text as one line that is safe inside a docstring: printable, backslashes escaped, no triple quotes."""
    printable = text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)
    line = " ".join(printable.split())
    return line.replace("\\", "\\\\").replace('"""', "'''")
