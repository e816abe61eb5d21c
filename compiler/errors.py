"""One record for every complaint: code, message, place, what was expected, what to do; shown as text or as JSON.

Code inside raises short (`raise LosscError("L301", "...")`); the boundary that knows the source text adds it once with
`located`. `CODES` lists every code with a line of explanation: `lossc explain L012` prints it, and a test holds the
table and the code together.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of character offsets into a source text."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Source:
    """A text and the name it is shown under."""

    text: str
    name: str = "<formula>"

    def locate(self, offset: int) -> tuple[int, int]:
        """1-based line and column of an offset."""
        before = self.text[: max(0, min(offset, len(self.text)))]
        return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1

    def line(self, number: int) -> str:
        lines = self.text.split("\n")
        return lines[number - 1] if 0 < number <= len(lines) else ""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """What was wrong, where, what was expected, and one thing to do."""

    code: str
    message: str
    span: Span | None = None
    source: Source | None = None
    expected: str = ""
    hint: str = ""
    severity: str = "error"

    def render(self) -> str:
        """The terminal form: claim, place, source line, caret, expectation, hint."""
        out = [f"{self.severity}[{self.code}]: {self.message}"]
        if self.source is not None and self.span is not None:
            out += self._excerpt(self.source, self.span)
        if self.expected:
            out.append(f"   = expected: {self.expected}")
        if self.hint:
            out.append(f"   = hint: {self.hint}")
        return "\n".join(out)

    def _excerpt(self, source: Source, span: Span) -> list[str]:
        number, column = source.locate(span.start)
        shown, offset = _window(source.line(number), column - 1)
        room = max(1, len(shown) - offset)
        width = max(1, min(span.end - span.start, room))
        gutter = " " * len(str(number))
        return [
            f"  --> {source.name}:{number}:{column}",
            f" {gutter} |",
            f" {number} | {shown}",
            f" {gutter} | {' ' * offset}{'^' * width}",
        ]

    def as_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {"severity": self.severity, "code": self.code, "message": self.message}
        if self.source is not None and self.span is not None:
            line, column = self.source.locate(self.span.start)
            out["location"] = {"source": self.source.name, "line": line, "column": column}
            out["span"] = [self.span.start, self.span.end]
        out.update({k: v for k, v in (("expected", self.expected), ("hint", self.hint)) if v})
        return out


def _window(line: str, column: int, width: int = 100) -> tuple[str, int]:
    """The part of a line around `column` that fits a screen, printable, and the column within it."""
    start = 0 if column < width - 20 else column - width // 2
    part = line[start : start + width].replace("\t", " ")
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in part)
    shown = shown.rstrip()
    return ("…" + shown, column - start + 1) if start else (shown, column)


class LosscError(Exception):
    """Any complaint of lossc about its input. `str()` is the full text form; `.diagnostic` is the record."""

    def __init__(
        self, code: str, message: str, span: Span | None = None, *, expected: str = "", hint: str = ""
    ) -> None:
        self.diagnostic = Diagnostic(code, message, span, expected=expected, hint=hint)
        super().__init__(message)

    def __str__(self) -> str:
        return self.diagnostic.render()

    def located(self, source: Source, span: Span | None = None) -> LosscError:
        """The same error, completed with the source (and a span, if it had none); returns itself for `raise`."""
        known = self.diagnostic
        self.diagnostic = replace(known, source=known.source or source, span=known.span or span)
        return self


class LossSyntaxError(LosscError):
    """The text is not a loss."""


class LossTypeError(LosscError):
    """The loss is well written but means nothing: unknown names, wrong arity, roles that do not fit."""


class LimitError(LosscError):
    """The input is beyond a limit of size, depth, digits, exponents or time (docs/language.md, limits)."""


class UsageError(LosscError):
    """The call is at fault, not the loss: an unknown option value, a file that cannot be written."""


@dataclass(slots=True)
class Warnings:
    """Diagnostics that do not stop the work, in the order in which they came up."""

    items: list[Diagnostic] = field(default_factory=list)

    def add(self, code: str, message: str, span: Span | None = None, *, expected: str = "", hint: str = "") -> None:
        self.items.append(Diagnostic(code, message, span, expected=expected, hint=hint, severity="warning"))
