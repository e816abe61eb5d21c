"""Text to `Loss`: the entry points of the grammar."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

from lossc.compiler.errors import LosscError, LossSyntaxError, Source, UsageError, Warnings
from lossc.compiler.ir import Expr
from lossc.compiler.loss import Loss, Parameter
from lossc.compiler.names import check_name, is_name
from lossc.compiler.roles import roles_for
from lossc.grammar import complaints
from lossc.grammar.builder import Options, declared
from lossc.grammar.dialects import dialect_named
from lossc.grammar.expressions import Value
from lossc.grammar.tokens import MAX_TEXT, check_text, tokenize

Default: TypeAlias = "int | float | Fraction | str | Parameter | None"


def parse(
    text: str,
    *,
    name: str = "loss",
    y: str | None = None,
    f: str | None = None,
    params: Mapping[str, Default] | None = None,
    dialect: str = "lossc",
    source_name: str = "<formula>",
    warnings: Warnings | None = None,
) -> Loss:
    """The loss that a text defines: a bare formula, or a text that holds exactly one definition (docs/language.md).

    name     the name of a bare formula; given for a definition, it replaces its name
    y, f     roles of target and prediction ("real" for a bare formula); given for a definition, they replace its own
    params   hyper-parameters of a bare formula, by name: a number, a `Parameter`, or None for "no default". For a
             definition, other defaults of those that it declares
    dialect  what names mean: "lossc", "evomal" or "public"
    warnings collects what is allowed but odd: y or f, a local name or a hyper-parameter that is never used

    Raises LossSyntaxError, LossTypeError or LimitError where the text is at fault, UsageError where the call is.
    """
    given = declared(params)
    roles = {"y": _role(y, "y"), "f": _role(f, "f")}
    if name != "loss":
        _check_loss_name(name)
    options = Options(name, given)
    found, bare = _parse(text, options, dialect, source_name, warnings)
    if len(found) != 1:
        raise complaints.not_one_loss(found, Source(text, source_name))
    loss = found[0]
    if not bare:
        if given:
            loss = loss.with_defaults(**{n: p.default for n, p in given.items() if p.default is not None})
        if name != "loss":
            loss = replace(loss, name=name)
    return replace(loss, y=roles["y"] or loss.y, f=roles["f"] or loss.f)


def parse_losses(
    text: str, *, source_name: str = "<text>", dialect: str = "lossc", warnings: Warnings | None = None
) -> list[Loss]:
    """All losses that a text defines, in order; a bare formula counts as one, named "loss"."""
    return _parse(text, Options(), dialect, source_name, warnings)[0]


def parse_file(path: str | Path, *, dialect: str = "lossc", warnings: Warnings | None = None) -> list[Loss]:
    """All losses of a file; a file that holds a bare formula is one loss with the file's name.

    Raises UsageError (L212) if the file cannot be read, is too large, or is not UTF-8.
    """
    path = Path(path)
    text = read_source(path)
    options = Options(path.stem if is_name(path.stem) and not path.stem.startswith("__") else "loss")
    return _parse(text, options, dialect, str(path), warnings)[0]


def parse_expr(
    text: str,
    *,
    params: Mapping[str, Default] | None = None,
    dialect: str = "lossc",
    source_name: str = "<formula>",
) -> Expr:
    """The expression of a bare formula; a condition is allowed too. `parse_expr(to_text(x), params=...) is x`."""
    options = Options("loss", declared(params), condition=True)
    value, _ = _run(text, options, dialect, Source(text, source_name), None)
    if value is None:
        raise UsageError("L215", "a formula is wanted here, and the text defines a loss", hint="lossc.parse reads it")
    return value[0]


def read_source(path: Path) -> str:
    """The text of a file of the language."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_TEXT + 4)
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        raise UsageError("L212", f"cannot read {path}: {reason}") from None
    if len(raw) > MAX_TEXT + 3:
        raise UsageError("L212", f"{path} is too large: the limit is {MAX_TEXT:,} bytes")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise UsageError("L212", f"{path} is not UTF-8 text (byte {problem.start})") from None


def _parse(
    text: str, options: Options, dialect: str, source_name: str, warnings: Warnings | None
) -> tuple[list[Loss], bool]:
    """The losses of a text, and whether it is a bare formula."""
    value, losses = _run(text, options, dialect, Source(text, source_name), warnings)
    return losses, value is not None


def _run(
    text: str, options: Options, dialect: str, source: Source, warnings: Warnings | None
) -> tuple[Value | None, list[Loss]]:
    """What a bare formula stands for (else None), and the losses."""
    if not isinstance(text, str):
        raise UsageError("L213", f"a formula must be a text, got {type(text).__name__}")
    table = dialect_named(dialect)
    from lossc.grammar import engine

    try:
        check_text(text)
        tokens = tokenize(text)
        if not tokens:
            raise LossSyntaxError("L011", "the text holds no formula", expected="a formula such as (y - f)^2")
        defines = any(t.type == "LOSS" for t in tokens)
        with engine.building() as builder:
            builder.start(source, tokens, table, options, warnings)
            if defines:
                engine.run(tokens, engine.FILE)
                return None, builder.losses
            value: Value = engine.run(tokens, engine.FORMULA)
            return value, [] if options.condition else [builder.bare(value)]
    except LosscError as problem:
        raise problem.located(source) from None


def _role(role: str | None, which: str) -> str | None:
    if role is not None and role not in roles_for(which):
        raise complaints.unknown_role_option(role, which)
    return role


def _check_loss_name(name: str) -> None:
    try:
        check_name(name, "a loss")
    except LosscError as problem:
        raise UsageError(problem.diagnostic.code, problem.diagnostic.message) from None
