"""What the argument LOSS may be: a file, the name of a known loss, a formula, or `-` for standard input.

In this order: an existing file with a known suffix (`focal.loss`, `focal.loss:name`, `focal.json`); `-`; the name of a
loss of the library; else it is a formula. So `lossc show mse` and `lossc show "(y - f)^2"` need no option to tell them
apart: no named loss is called y, f or like a constant.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lossc.cli.given import Given, assignments, check_options, declared, declared_names
from lossc.compiler.errors import LossSyntaxError, UsageError, Warnings
from lossc.compiler.loss import Loss
from lossc.compiler.names import ARGUMENTS, MAX_NAME, is_name
from lossc.compiler.verify import verify

STDIN = "-"
LOSS_SUFFIX, JSON_SUFFIX, PYTHON_SUFFIX = ".loss", ".json", ".py"
MAX_JSON = 1_000_000
"""Bytes of a JSON file: far more than 2,000 nodes need."""

_DEFINITION = re.compile(r"^[ \t]*loss[ \t]+[A-Za-z_]", re.MULTILINE)


def read_loss(text: str, given: Given, warnings: Warnings) -> Loss:
    """The loss that the argument LOSS and the options mean.

    Raises LosscError: UsageError where a file, a name or an option is at fault, the others where the loss is.
    """
    check_options(given)
    path, picked = split_path(text)
    if path is not None:
        return _from_text(_read_file(path), str(path), picked, given, warnings, stem=path.stem)
    if text.strip() == STDIN:
        return _from_text(_read_stdin(), "<stdin>", None, given, warnings)
    if is_library_name(text, given):
        from lossc.grammar.library import named

        return _adjusted(named(text.strip()), given)
    return _from_text(text.strip(" "), "<formula>", None, given, warnings)


def split_path(text: str) -> tuple[Path | None, str | None]:
    """`(path, definition)` of `file.loss` or `file.loss:definition`; `(None, None)` if the text names no file.

    Raises UsageError (L230) for what can only be a file, but is none: a formula never ends in these suffixes.
    """
    head, colon, picked = text.rpartition(":")
    for candidate, definition in ((text, None), (head, picked) if colon and is_name(picked) else ("", None)):
        if not candidate.endswith((LOSS_SUFFIX, JSON_SUFFIX, PYTHON_SUFFIX)) or "\n" in candidate:
            continue
        if not os.path.isfile(candidate):
            raise _no_file(candidate)
        return Path(candidate), definition
    return None, None


def is_library_name(text: str, given: Given) -> bool:
    """Whether the text is the name of a known loss rather than a formula.

    Raises UsageError (L231) for a lone name that means nothing: a slip of the pen, not a formula.
    """
    name = text.strip()
    if not is_name(name) or len(name) > MAX_NAME or name.startswith("__"):
        return False
    from lossc.compiler import ops
    from lossc.grammar.library import named, names

    if name in names():
        return True
    if name in ARGUMENTS or name in declared_names(given.params) or ops.lookup(name) is not None:
        return False
    named(name)  # raises, with the names that are close
    return True


def is_formula(text: str) -> bool:
    """Whether the argument LOSS is itself a formula, without roles: no file, no name, no definition, no JSON."""
    bare = text.strip()
    if bare == STDIN or bare.startswith("{") or _DEFINITION.search(bare) or split_path(text)[0] is not None:
        return False
    from lossc.grammar.library import names

    return bare not in names()


def _from_text(
    text: str, source_name: str, picked: str | None, given: Given, warnings: Warnings, *, stem: str = "loss"
) -> Loss:
    """The loss of a text of any form: JSON, definitions, or a bare formula (named after its file)."""
    from lossc.grammar import parse, parse_losses

    if '"lossc_network"' in text[:200]:
        raise UsageError(
            "L237", f"{source_name} holds a learned network, which has no formula",
            hint="`lossc compile`, `train` and `optimize` take it",
        )  # fmt: skip
    if source_name.endswith(JSON_SUFFIX) or text.lstrip()[:1] == "{":
        return _adjusted(Loss.from_json(text), given)
    if _DEFINITION.search(text):
        losses = parse_losses(text, source_name=source_name, dialect=given.dialect, warnings=warnings)
        return _adjusted(*_pick(losses, source_name, picked, given))
    if picked is not None:
        raise UsageError(
            "L232", f"{source_name} holds a bare formula, no loss `{picked}`", hint=f"leave `:{picked}` out"
        )
    own = stem if is_name(stem) and not stem.startswith("__") and stem not in ARGUMENTS else "loss"
    loss = parse(
        text, name=given.name or own, y=given.y, f=given.f, params=declared(given.params), dialect=given.dialect,
        source_name=source_name, warnings=warnings,
    )  # fmt: skip
    return loss.with_defaults(**assignments(given.sets, "--set"))


def _pick(losses: Sequence[Loss], source_name: str, picked: str | None, given: Given) -> tuple[Loss, Given]:
    """The one loss that is meant, and the options that are left to apply to it."""
    by_name = {loss.name: loss for loss in losses}
    if picked is None and len(losses) > 1 and given.name in by_name:
        picked, given = given.name, replace(given, name=None)
    if picked is None and len(losses) == 1:
        return losses[0], given
    if picked in by_name:
        return by_name[str(picked)], given
    holds = "one of: " + ", ".join(by_name)
    if picked is None:
        example = f"{source_name}:{losses[0].name}" if source_name != "<stdin>" else f"--name {losses[0].name}"
        raise UsageError(
            "L232", f"{source_name} defines {len(losses)} losses", expected=holds, hint=f"choose: {example}"
        )
    close = difflib.get_close_matches(picked, by_name, n=1)
    hint = f"did you mean `{close[0]}`?" if close else ""
    raise UsageError("L232", f"{source_name} defines no loss `{picked}`", expected=holds, hint=hint)


def _adjusted(loss: Loss, given: Given) -> Loss:
    """A finished loss with the options' name, roles and defaults."""
    loss = replace(loss, name=given.name or loss.name, y=given.y or loss.y, f=given.f or loss.f)
    values = {**assignments([p for p in given.params if "=" in p], "--param"), **assignments(given.sets, "--set")}
    for name in declared_names(given.params):
        loss.parameter(name)  # a definition declares its own: here --param changes a default
    return verify(loss.with_defaults(**values))


def _read_file(path: Path) -> str:
    if path.suffix == PYTHON_SUFFIX:
        raise UsageError(
            "L237", f"{path} is Python: only `lossc train` takes an emitted file",
            hint="give the formula, the named loss or the .loss file that it was made from",
        )  # fmt: skip
    from lossc.grammar.parser import read_source

    if path.suffix != JSON_SUFFIX:
        return read_source(path)
    try:
        with path.open("rb") as stream:
            return _decoded(stream.read(MAX_JSON + 1), str(path))
    except OSError as problem:
        raise UsageError("L230", f"cannot read {path}: {(problem.strerror or str(problem)).lower()}") from None


def _read_stdin() -> str:
    if sys.stdin is None or sys.stdin.closed:
        raise UsageError("L230", "`-` reads standard input, but there is none")
    if sys.stdin.isatty():
        print("reading a loss from standard input; Ctrl-D ends it", file=sys.stderr)
    raw = sys.stdin.buffer.read(MAX_JSON + 1) if hasattr(sys.stdin, "buffer") else sys.stdin.read().encode()
    text = _decoded(raw, "<stdin>").strip()
    if not text:
        raise UsageError("L230", "standard input is empty", expected="a formula, a definition or JSON")
    return text


def _decoded(raw: bytes, name: str) -> str:
    if len(raw) > MAX_JSON:
        raise UsageError("L230", f"{name} is too large: the limit is {MAX_JSON:,} bytes")
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as problem:
        raise LossSyntaxError("L002", f"{name} is not UTF-8 text (byte {problem.start})") from None


def _no_file(path: str) -> UsageError:
    if os.path.isdir(path):
        return UsageError("L230", f"{path!r} is a folder, not a file")
    folder = os.path.dirname(path) or "."
    try:
        here = [n for n in os.listdir(folder) if n.endswith(os.path.splitext(path)[1])]
    except OSError:
        here = []
    close = difflib.get_close_matches(os.path.basename(path), here, n=1)
    hint = f"did you mean {os.path.join(os.path.dirname(path), close[0])!r}?" if close else ""
    return UsageError("L230", f"there is no file {path!r}", hint=hint)
