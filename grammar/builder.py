"""The rules of statements, headers and definitions, on top of those of expressions: the transformer in the parser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from lossc.compiler import ops
from lossc.compiler.docstrings import read_docstring
from lossc.compiler.errors import Diagnostic, LosscError, LossTypeError, Source, Span, UsageError, Warnings
from lossc.compiler.ir import CONST, Expr, as_fraction, param, postorder
from lossc.compiler.loss import Loss, Parameter
from lossc.compiler.names import check_name
from lossc.compiler.roles import ROLES
from lossc.compiler.verify import verify
from lossc.grammar import complaints
from lossc.grammar.dialects import Dialect
from lossc.grammar.expressions import Children, Expressions, Value
from lossc.grammar.tokens import Tok


@dataclass(slots=True)
class Options:
    """What the caller says about a bare formula: its name, its hyper-parameters, and whether it may be a condition."""

    name: str = "loss"
    params: Mapping[str, Parameter] = field(default_factory=dict)
    condition: bool = False


@dataclass(slots=True)
class _Header:
    name: str
    span: Span
    y: str = "real"
    f: str = "real"


class Builder(Expressions):
    """One parse: `start` it, let the parser run, find the definitions in `losses`, then `forget`."""

    def start(
        self, source: Source, tokens: list[Tok], dialect: Dialect, options: Options, warnings: Warnings | None
    ) -> None:
        """Start on another text."""
        self.begin(source, tokens, dialect)
        self.options, self.warnings = options, warnings
        self.losses: list[Loss] = []
        self.head: _Header | None = None
        for parameter in options.params.values():
            complaints.check_role(parameter.role, "hyper-parameter", None)
            self.scope.declare(parameter)

    def forget(self) -> None:
        """Let go of the text and of everything made from it."""
        vars(self).clear()

    # -- statements -------------------------------------------------------------------------------------------------

    def statements(self, children: Children) -> None:
        return None

    def local(self, children: Children) -> None:
        token, _, (value, start, end) = children
        self._check_size(value, Span(start, end))
        self.scope.claim(token.text, "a value", token.span)
        self.scope.define(token.text, value)

    def names(self, children: Children) -> list[Tok]:
        return children

    def helper_head(self, children: Children) -> tuple[Tok, list[Expr]]:
        """`name(a, b) =`: opens the scope of a helper function."""
        token, _, names, _, _ = children
        self.scope.claim(token.text, "a helper function", token.span)
        if ops.lookup(token.text) is not None:
            self._warn("L333", f"`{token.text}` hides the operator of that name", token.span)
        self.defining = token.text
        self.scope.push()
        placeholders = []
        for name in names:
            self.scope.claim(name.text, "an argument of a helper function", name.span)
            placeholders.append(param(f"{token.text}.{name.text}"))  # the dot keeps it apart from every written name
            self.scope.define(name.text, placeholders[-1])
        return token, placeholders

    def helper(self, children: Children) -> None:
        (token, placeholders), (body, start, end) = children
        self.scope.pop()
        self.defining = None
        self._need_numbers(children[1:])
        self._check_size(body, Span(start, end))
        self.scope.define_helper(token.text, placeholders, body)

    def formula(self, children: Children) -> Value:
        value: Value = children[-1]
        if self.conditions and not self.options.condition:
            self._need_numbers([value])
        self._check_size(value[0], Span(value[1], value[2]))
        return value

    last = formula

    # -- definitions ------------------------------------------------------------------------------------------------

    def item(self, children: Children) -> list[Any]:
        return children

    def items(self, children: Children) -> list[Any]:
        return children

    def header(self, children: Children) -> None:
        """`loss name(y: role, f: role; ...):`: opens a definition."""
        _, name, opener, items, closer, _ = children
        check_name(name.text, "a loss", name.span)
        if any(loss.name == name.text for loss in self.losses):
            raise LossTypeError("L309", f"two losses of this text have the name `{name.text}`", name.span)
        self.spans = {}
        self.scope.push()
        roles: dict[str, str] = {}
        after_semicolon = False
        for item in items:
            if isinstance(item, Tok):
                after_semicolon = True
            elif item[0].text in self.scope.arguments:
                self._argument(item, roles, after_semicolon)
            else:
                self._parameter(item, after_semicolon)
        missing = [which for which in ("y", "f") if which not in roles]
        if missing:
            raise complaints.header_without(missing, Span(opener.start, closer.end))
        self.head = _Header(name.text, name.span, **roles)

    def _argument(self, item: list[Any], roles: dict[str, str], after_semicolon: bool) -> None:
        """`y`, `y: role`, or another name of y or f."""
        name: Tok = item[0]
        which = self.scope.arguments[name.text].name
        if after_semicolon:
            raise complaints.argument_among_parameters(name, which)
        if isinstance(item[-1], tuple):
            raise complaints.argument_with_default(name)
        if which in roles:
            raise complaints.argument_twice(name, which)
        role = item[2] if len(item) == 3 else None
        roles[which] = role.text if role else "real"
        complaints.check_role(roles[which], which, role)

    def _parameter(self, item: list[Any], after_semicolon: bool) -> None:
        """`delta`, `delta: role`, `delta = 1.0` or `delta: role = 1.0`."""
        name: Tok = item[0]
        if not after_semicolon:
            raise complaints.parameter_before_semicolon(name)
        role = item[2] if len(item) in (3, 5) and isinstance(item[2], Tok) else None
        written = role.text if role else "real"
        complaints.check_role(written, "hyper-parameter", role)
        default = self._default(name.text, written, item[-1]) if isinstance(item[-1], tuple) else None
        self.scope.declare(Parameter(name.text, written, default), name.span)

    def _default(self, name: str, role: str, given: Value) -> Fraction:
        value, start, end = given
        if value.op != CONST:
            raise LossTypeError("L317", f"the default of `{name}` must be a number", Span(start, end))
        if not (ROLES[role].range.lo <= value.number <= ROLES[role].range.hi):
            raise LossTypeError("L202", f"the default of `{name}` must be {ROLES[role].doc}", Span(start, end))
        return value.number

    def definition(self, children: Children) -> None:
        doc, source = read_docstring(children[1].text) if len(children) == 3 else ("", "")
        assert self.head is not None, "the parser reads a header before it reads a definition"
        self.losses.append(self._finish(self.head, children[-1], doc, source))
        self.scope.pop()

    def file(self, children: Children) -> None:
        return None

    more_parts = file

    def bare(self, value: Value) -> Loss:
        """The loss of a text that is a formula only."""
        return self._finish(_Header(self.options.name, Span(value[1], value[2])), value, "", "")

    def _finish(self, head: _Header, value: Value, doc: str, source: str) -> Loss:
        nodes = postorder(value[0])
        spans = {n: self.spans[n] for n in nodes if n in self.spans}
        params = tuple(self.scope.here.params.values())
        loss = Loss(value[0], head.name, head.y, head.f, params, doc, source, spans, self.source)
        if self.warnings is not None:
            self._find_unused(head, set(nodes), Span(value[1], value[2]))
        return verify(loss)

    # -- warnings ---------------------------------------------------------------------------------------------------

    def _find_unused(self, head: _Header, nodes: set[Expr], body: Span) -> None:
        for which, what in (("y", "target"), ("f", "prediction")):
            if self.scope.arguments[which] not in nodes:
                self._warn("L330", f"`{which}` is never used: {head.name} does not depend on the {what}", body)
        here = self.scope.here
        for name, span in here.places.items():
            if name not in here.used:
                self._warn("L331", f"`{name}` is never used", span)
        for name in here.params:
            if param(name) not in nodes:
                self._warn("L332", f"the hyper-parameter `{name}` is never used", head.span)

    def _warn(self, code: str, message: str, span: Span) -> None:
        if self.warnings is not None:
            self.warnings.items.append(Diagnostic(code, message, span, self.source, severity="warning"))


def declared(params: Mapping[str, Any] | None) -> dict[str, Parameter]:
    """The hyper-parameters that a caller gives by name: a number (or None: no default) or a `Parameter`.

    Raises UsageError for names and values that cannot be.
    """
    out: dict[str, Parameter] = {}
    for name, value in (params or {}).items():
        try:
            check_name(name, "a hyper-parameter")
            number = None if value is None or isinstance(value, Parameter) else as_fraction(value)
        except LosscError as problem:
            raise UsageError(problem.diagnostic.code, problem.diagnostic.message) from None
        except (ValueError, TypeError, ZeroDivisionError) as problem:
            raise UsageError("L202", f"{value!r} is not a value for `{name}`: {problem}") from None
        out[name] = value if isinstance(value, Parameter) else Parameter(name, "real", number)
    return out
