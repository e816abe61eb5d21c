"""What a running command has: where results, notes and complaints go, as text or as JSON.

A command returns an `Outcome`; only this module prints. Standard output holds the result and nothing else, standard
error the warnings, errors and notes. With --json, standard output holds one object whatever happens:

    {"ok": true, "command": "simplify", "result": {...}, "warnings": [...]}
    {"ok": false, "command": "simplify", "error": {"code": "L001", ...}, "exit_code": 1, "warnings": [...]}
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from lossc.compiler.errors import Diagnostic, UsageError, Warnings

if TYPE_CHECKING:
    import typer
    from rich.console import Console
    from rich.table import Table

RED, YELLOW, BOLD, DIM = "1;31", "1;33", "1", "2"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command came to: plain data for --json, and otherwise the text to print (ends in a newline, or is empty).

    `note` is a remark for someone who watches.
    """

    data: Mapping[str, Any]
    text: str = ""
    note: str = ""


@dataclass(slots=True)
class Session:
    """The streams and the mood of one run."""

    command: str = ""
    json: bool = False
    quiet: bool = False
    warnings: Warnings = field(default_factory=Warnings)
    warned: int = 0

    def succeed(self, outcome: Outcome) -> None:
        """Print the result. UsageError (L233) if standard output cannot be written."""
        if self.json:
            write_out(self._envelope(ok=True, result=outcome.data))
        else:
            self.print_warnings()
            write_out(outcome.text)
            if outcome.note:
                self.note(outcome.note)

    def fail(self, error: Diagnostic, code: int) -> None:
        """Print an error: to standard output as JSON, or to standard error as text."""
        if self.json:
            try:
                write_out(self._envelope(ok=False, error=error.as_json(), exit_code=code))
                return
            except UsageError:
                pass
        else:
            self.print_warnings()
        print(_coloured(error), file=sys.stderr)

    def say(self, text: str) -> None:
        """A part of the result, printed as soon as it is known. In JSON the outcome has it all."""
        if not self.json:
            write_out(text)

    def note(self, text: str) -> None:
        """A remark for someone who watches: to standard error, unless quiet, piped or JSON."""
        if self.watched:
            print(printable(text), file=sys.stderr)

    def notice(self, text: str) -> None:
        """A remark that must not be lost, such as an assumption: kept as a warning would be, but not numbered."""
        if not (self.quiet or self.json):
            print(printable(text), file=sys.stderr)

    @property
    def watched(self) -> bool:
        """Whether someone sits at a terminal and wants to hear of progress."""
        return not (self.quiet or self.json) and sys.stdout.isatty()

    def print_warnings(self) -> None:
        """Print the warnings that are not printed yet, unless quiet or JSON (which carries them in its object)."""
        if not (self.quiet or self.json):
            for warning in self.warnings.items[self.warned :]:
                print(_coloured(warning), file=sys.stderr)
            self.warned = len(self.warnings.items)

    def _envelope(self, *, ok: bool, **rest: Any) -> str:
        warnings = [w.as_json() for w in self.warnings.items]
        record = {"ok": ok, "command": self.command, **rest, "warnings": warnings}
        return json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def begin(ctx: typer.Context, as_json: bool, quiet: bool) -> Session:
    """The session of the command that `ctx` belongs to, told its options."""
    session = ctx.find_object(Session) or Session()
    session.command = ctx.info_name or ""
    session.json, session.quiet = as_json, quiet
    return session


def wants_json(args: Sequence[str]) -> bool:
    """Whether --json is among the options, for complaints about the other ones."""
    return "--json" in (args[: args.index("--")] if "--" in args else args)


def write_out(text: str) -> None:
    """Write to standard output at once. Raises UsageError (L233), or BrokenPipeError if no one reads."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as problem:
        why = (problem.strerror or str(problem)).lower()
        raise UsageError("L233", f"cannot write to standard output: {why}") from None


def printable(text: str) -> str:
    """The text without control characters: what a file name or a formula holds must not steer the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def has_colour(stream: IO[str]) -> bool:
    """Whether the stream is a terminal that shows colour, and no one asked for none (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(text: str, style: str, stream: IO[str]) -> str:
    """The text in a style (an ANSI code) if the stream shows it."""
    return f"\x1b[{style}m{text}\x1b[0m" if has_colour(stream) else text


def _coloured(diagnostic: Diagnostic) -> str:
    text = printable(diagnostic.render())
    label, colon, rest = text.partition(":")
    return styled(label, RED if diagnostic.severity == "error" else YELLOW, sys.stderr) + colon + rest


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, report: bool = False) -> str:
    """Rows as text: wrapped to the terminal's width if standard output is one, else a row a line.

    In a pipe the cells are separated by tabs, for other programs; in a report, by spaces, for readers.
    """
    if not sys.stdout.isatty():
        flat = [[" ".join(cell.split()) for cell in row] for row in (columns, *rows)]
        widths = [max(map(len, column)) for column in zip(*flat, strict=True)]
        if report:
            flat = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in flat]
        return "".join(("  " if report else "\t").join(row).rstrip() + "\n" for row in flat)
    from rich.table import Table

    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, column in enumerate(columns):
        drawn.add_column(column, header_style="bold", overflow="fold", no_wrap=i == 0)
    for row in rows:
        drawn.add_row(*row)
    return rendered(drawn)


def rendered(drawn: Table) -> str:
    """A table as text for standard output, in colour only if that shows colour."""
    screen = console(sys.stdout)
    with screen.capture() as capture:
        screen.print(drawn)
    return capture.get()


def console(stream: IO[str]) -> Console:
    """A console without mark-up or guessed colours."""
    from rich.console import Console

    return Console(file=stream, markup=False, highlight=False, emoji=False, no_color=not has_colour(stream))


@contextmanager
def progress(session: Session, total: int) -> Iterator[_Bar]:
    """A progress bar on standard error, if someone watches; else something that takes the same calls."""
    if not (sys.stderr.isatty() and not session.quiet and not session.json):
        yield _Bar()
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(sys.stderr), transient=True) as drawn:
        yield _RichBar(drawn, drawn.add_task("", total=total))


class _Bar:
    """Progress that no one sees."""

    def to(self, done: int, what: str) -> None:
        """Say how much is done, and what is being done."""


class _RichBar(_Bar):
    def __init__(self, drawn: Any, task: Any) -> None:
        self.drawn, self.task = drawn, task

    def to(self, done: int, what: str) -> None:
        self.drawn.update(self.task, completed=done, description=what)
