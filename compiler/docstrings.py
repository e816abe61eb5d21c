"""Docstrings of `.loss` files: text between triple quotes, with an optional line `source: ...`.

Indentation and the blank lines around are dropped. One escape exists, `\\x{1f}` (`\\x{}` is nothing), so that every
text can be written; it is resolved last. `read_docstring` is the exact inverse of `write_docstring`.
"""

from __future__ import annotations

import re

FORBIDDEN = re.compile(
    "[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\ufff0-\ufffb\ufffe\uffff]"
)
"""What no text of the language may hold: control characters, lone surrogates, and the invisible characters that make a
text read otherwise than it is."""

_ESCAPE = re.compile(r"\\x\{([0-9a-fA-F]{0,6})\}")
_SOURCE = re.compile(r"source:[ \t]*(.*)", re.IGNORECASE)
_BLANK = " \t\r"


def read_docstring(token: str) -> tuple[str, str]:
    """`(doc, source)` of a docstring, its quotes included."""
    first, *rest = token[3:-3].split("\n")
    indent = min((len(line) - len(line.lstrip(_BLANK)) for line in rest if line.strip(_BLANK)), default=0)
    doc: list[str] = []
    source: str | None = None
    for line in (first.strip(_BLANK), *(line[indent:].rstrip(_BLANK) for line in rest)):
        found = _SOURCE.fullmatch(line.strip(_BLANK))
        if found is not None and source is None:
            source = found.group(1)
        else:
            doc.append(line)
    while doc and not doc[0]:
        doc.pop(0)
    while doc and not doc[-1]:
        doc.pop()
    return _unescape("\n".join(doc)), _unescape(source or "")


def write_docstring(doc: str, source: str) -> list[str]:
    """The lines of a docstring that reads back as exactly this; none if both are empty."""
    if not doc and not source:
        return []
    lines = [_plain(line) for line in doc.split("\n")] if doc else []
    lines = [_escape(line, 0) if i == 0 and line[:1] == " " else line for i, line in enumerate(lines)]
    if lines:
        lines[0], lines[-1] = lines[0] or r"\x{}", lines[-1] or r"\x{}"
    if source:
        lines += ([""] if doc else []) + ["source: " + _source(source)]
    else:
        indented = [i for i, line in enumerate(lines) if i and line]
        if indented and all(lines[i][0] == " " for i in indented):
            lines[indented[0]] = _escape(lines[indented[0]], 0)
    if len(lines) == 1:
        return [f'"""{_escape(lines[0], -1) if lines[0][-1] == chr(34) else lines[0]}"""']
    return ['"""' + lines[0], *lines[1:], '"""']


def _plain(line: str) -> str:
    """A line of the doc with everything escaped that would read as something else."""
    line = _visible(line)
    if line.endswith(" "):
        line = _escape(line, -1)
    start = len(line) - len(line.lstrip(" "))
    return _escape(line, start) if _SOURCE.fullmatch(line.strip(" ")) else line


def _source(source: str) -> str:
    line = _visible(source)
    if line[0] == " ":
        line = _escape(line, 0)
    return _escape(line, -1) if line[-1] == " " else line


def _visible(text: str) -> str:
    text = _ESCAPE.sub(lambda found: _code("\\") + found.group()[1:], text)
    text = re.sub('"{3,}', lambda found: _code('"') * len(found.group()), text)
    return "".join(c if c.isprintable() and not FORBIDDEN.match(c) else _code(c) for c in text)


def _escape(line: str, at: int) -> str:
    at %= len(line)
    return line[:at] + _code(line[at]) + line[at + 1 :]


def _code(character: str) -> str:
    return f"\\x{{{ord(character):x}}}"


def _unescape(text: str) -> str:
    def character(found: re.Match[str]) -> str:
        code = int(found.group(1) or "0", 16)
        return "" if not found.group(1) else chr(code) if code < 0x110000 else found.group()

    return _ESCAPE.sub(character, text)
