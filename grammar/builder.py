"""The transformer inside the parser: each rule of loss.lark calls a method here, and `Expr` comes out at once.

A value on the parser's stack is `(expression, start, end)`. Named values and helper functions are expanded where they
are used, so they leave no trace in the IR; spans go to a side table, first occurrence first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeAlias

from lossc.compiler import ops
from lossc.compiler.docstrings import read_docstring
from lossc.compiler.errors import Diagnostic, LimitError, LosscError, LossTypeError, Source, Span, UsageError, Warnings
from lossc.compiler.ir import CONST, Expr, as_fraction, coef, const, is_writable, node, param, postorder, rebuild
from lossc.compiler.literals import exact_value, read_literal
from lossc.compiler.loss import Loss, Parameter
from lossc.compiler.names import check_name
from lossc.compiler.roles import ROLES
from lossc.compiler.verify import MAX_EXPONENT, MAX_NODES, verify
from lossc.grammar import complaints
from lossc.grammar.dialects import Dialect
from lossc.grammar.scope import Helper, Scope
from lossc.grammar.tokens import Tok

Value: TypeAlias = tuple[Expr, int, int]
Children: TypeAlias = list[Any]

MAX_EXPANSION = 40_000
"""Nodes that all helper calls of a text may build."""
MAX_COEFFICIENT = 999_999


@dataclass(slots=True)
class Options:
    """What the caller of `parse` says about the text."""

    name: str = "loss"
    params: dict[str, Parameter] = field(default_factory=dict)
    condition: bool = False


@dataclass(slots=True)
class _Header:
    name: str
    y: str
    f: str
    span: Span


class Builder:
    """The state of one parse, and a method for every rule. `start` begins another text."""

    def start(
        self, source: Source, tokens: list[Tok], dialect: Dialect, options: Options, warnings: Warnings | None
    ) -> None:
        self.source, self.tokens, self.options, self.warnings = source, tokens, options, warnings
        self.meaning: Mapping[str, str] = dialect.meaning
        self.dialect = dialect
        self.scope = Scope(dialect.arguments)
        self.spans: dict[Expr, Span] = {}
        self.losses: list[Loss] = []
        self.conditions = False
        self.expanded = 0
        self.defining: str | None = None
        self.head: _Header | None = None
        for p in options.params.values():
            complaints.check_role(p.role, "hyper-parameter", None)
            self.scope.declare(p.name, p.role, p.default, None)

    def forget(self) -> None:
        """Let go of the text and everything made from it."""
        for name in list(vars(self)):
            delattr(self, name)

    # -- expressions ------------------------------------------------------------------------------------------------

    def _put(self, made: Expr, start: int, end: int) -> Value:
        if made not in self.spans:
            self.spans[made] = Span(start, end)
        return made, start, end

    def _infix(self, op: str, children: Children) -> Value:
        (left, start, _), _, (right, _, end) = children
        if self.conditions:
            self._need_numbers(children)
        if op in self.meaning:
            op = self.meaning[op]
        return self._put(node(op, left, right), start, end)

    def add(self, children: Children) -> Value:
        return self._infix("add", children)

    def sub(self, children: Children) -> Value:
        return self._infix("sub", children)

    def mul(self, children: Children) -> Value:
        return self._infix("mul", children)

    def div(self, children: Children) -> Value:
        """A quotient of two literals is one exact constant: `1/3`."""
        (top, start, _), _, (bottom, _, end) = children
        if top.op == CONST and bottom.op == CONST and "div" not in self.meaning:
            if not bottom.number:
                raise LossTypeError("L311", "a division by zero", Span(start, end))
            number = top.number / bottom.number
            if is_writable(number):
                return self._put(const(number), start, end)
        return self._infix("div", children)

    def pow(self, children: Children) -> Value:
        (_, start, _), _, (exponent, exponent_start, end) = children
        self._check_exponent(exponent, Span(exponent_start, end))
        return self._infix("pow", children)

    def compare(self, children: Children) -> Value:
        (left, start, _), sign, (right, _, end) = children
        self._need_numbers(children)
        self.conditions = True
        return self._put(node(_COMPARISONS[sign.text], left, right), start, end)

    def neg(self, children: Children) -> Value:
        """Minus a literal is one constant: `-2`."""
        sign, (operand, _, end) = children
        if self.conditions:
            self._need_numbers(children)
        made = const(-operand.number) if operand.op == CONST else node("neg", operand)
        return self._put(made, sign.start, end)

    def pos(self, children: Children) -> Value:
        sign, (operand, _, end) = children
        if self.conditions:
            self._need_numbers(children)
        return operand, sign.start, end

    def group(self, children: Children) -> Value:
        opener, (inner, _, _), closer = children
        return inner, opener.start, closer.end

    def number(self, children: Children) -> Value:
        token: Tok = children[0]
        try:
            value = read_literal(token.text)
        except LosscError as problem:
            raise problem.located(self.source, token.span) from None
        return self._put(const(value), token.start, token.end)

    def name(self, children: Children) -> Value:
        token: Tok = children[0]
        value = self.scope.value(token.text)
        if value is None:
            raise complaints.unknown_name(token, self.scope, self.tokens, self.dialect)
        return self._put(value, token.start, token.end)

    def coefficient(self, children: Children) -> Value:
        start, _, index, end = children
        if not index.text.isdigit():
            raise LossTypeError("L304", f"a coefficient needs a whole index, got `{index.text}`", index.span)
        if len(index.text) > 12 or int(index.text) > MAX_COEFFICIENT:
            raise LimitError("L109", f"the index of a coefficient may be {MAX_COEFFICIENT:,} at most", index.span)
        return self._put(coef(int(index.text)), start.start, end.end)

    # -- calls ------------------------------------------------------------------------------------------------------

    def arguments(self, children: Children) -> list[Value]:
        return children

    def more(self, children: Children) -> list[Any]:
        """A list goes on: `[list, separator, item]`."""
        items, separator, item = children
        if separator.type == "SEMI":
            items.append(separator)
        items.append(item)
        found: list[Any] = items
        return found

    def call(self, children: Children) -> Value:
        token: Tok = children[0]
        given: list[Value] = children[2] if len(children) == 4 else []
        where = Span(token.start, children[-1].end)
        helper = self.scope.helper(token.text)
        if helper is not None:
            return self._expand(helper, given, where)
        if token.text == self.defining:
            hint = "a helper function is expanded where it is called, so it cannot be recursive"
            raise LossTypeError("L316", f"`{token.text}` calls itself", token.span, hint=hint)
        record = ops.lookup(token.text)
        if record is None:
            raise complaints.unknown_function(token, self.scope, self.tokens)
        record = ops.OPS[self.meaning.get(record.name, record.name)]
        if record.associative and len(given) > 2:
            return self._chain(record, given, where)
        if len(given) != record.arity:
            raise complaints.wrong_arity(token.text, record.arity, len(given), record.signature, where)
        if self.conditions or ops.BOOL_KIND in record.takes:
            self._check_kinds(record, given)
        if record.name == "pow":
            self._check_exponent(given[1][0], Span(given[1][1], given[1][2]))
        elif record.gives == ops.BOOL_KIND:
            self.conditions = True
        return self._put(node(record.name, *(a for a, _, _ in given)), where.start, where.end)

    def _chain(self, record: ops.OpRecord, given: list[Value], where: Span) -> Value:
        """`max(a, b, c)` is `max(max(a, b), c)`."""
        if self.conditions:
            self._need_numbers(given)
        made = given[0][0]
        for value, _, end in given[1:]:
            made = self._put(node(record.name, made, value), where.start, end)[0]
        return made, where.start, where.end

    def _expand(self, helper: Helper, given: list[Value], where: Span) -> Value:
        if len(given) != len(helper.placeholders):
            raise complaints.wrong_arity(helper.name, len(helper.placeholders), len(given), helper.signature, where)
        if self.conditions:
            self._need_numbers(given)
        self.expanded += helper.size
        if self.expanded > MAX_EXPANSION:
            raise LimitError("L110", f"helper functions expand to more than {MAX_EXPANSION:,} nodes", where)
        done: dict[Expr, Expr] = dict(zip(helper.placeholders, (a for a, _, _ in given), strict=True))
        for here in postorder(helper.body):
            if here in done:
                continue
            made = rebuild(here, [done[a] for a in here.args])
            if made is not here:
                if made.op == "pow":
                    self._check_exponent(made.args[1], where)
                self._put(made, where.start, where.end)
            done[here] = made
        made = done[helper.body]
        self._check_size(made, where)
        return made, where.start, where.end

    # -- checks -----------------------------------------------------------------------------------------------------

    def _need_numbers(self, children: Children) -> None:
        for child in children:
            if not isinstance(child, Tok) and ops.kind_of(child[0]) != ops.REAL_KIND:
                raise complaints.condition_misplaced(Span(child[1], child[2]))

    def _check_kinds(self, record: ops.OpRecord, given: list[Value]) -> None:
        for i, (value, start, end) in enumerate(given):
            wanted = record.kind_of(i)
            if ops.kind_of(value) == wanted:
                continue
            if wanted == ops.REAL_KIND:
                raise complaints.condition_misplaced(Span(start, end))
            raise LossTypeError(
                "L303", f"argument {i + 1} of `{record.name}` must be a condition", Span(start, end),
                expected=record.signature + " with a comparison, as in where(y > f, a, b)",
            )  # fmt: skip

    def _check_exponent(self, exponent: Expr, where: Span) -> None:
        value = exponent.number if exponent.op == CONST else exact_value(exponent)
        if value is not None and abs(value) > MAX_EXPONENT:
            raise LimitError(
                "L106", f"a constant exponent must be within ±{MAX_EXPONENT}", where,
                hint="exp(p*log(x)) is x^p for x > 0",
            )  # fmt: skip

    def _check_size(self, made: Expr, where: Span) -> None:
        if made.tree_size > MAX_NODES:
            size = f"{made.tree_size:,}" if made.tree_size < 10**9 else "more than 10^9"
            raise LimitError("L104", f"the formula has {size} nodes once written out; the limit is {MAX_NODES:,}", where)

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
        token, _, names, _, _ = children
        self.scope.claim(token.text, "a helper function", token.span)
        record = ops.lookup(token.text)
        if record is not None:
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
        if self.conditions:
            self._need_numbers(children[1:])
        self._check_size(body, Span(start, end))
        self.scope.define_helper(token.text, placeholders, body)

    def formula(self, children: Children) -> Value:
        value: Value = children[-1]
        if self.conditions and ops.kind_of(value[0]) != ops.REAL_KIND and not self.options.condition:
            raise complaints.condition_misplaced(Span(value[1], value[2]))
        self._check_size(value[0], Span(value[1], value[2]))
        return value

    last = formula

    # -- definitions ------------------------------------------------------------------------------------------------

    def item(self, children: Children) -> list[Any]:
        return children

    def items(self, children: Children) -> list[Any]:
        return children

    def header(self, children: Children) -> None:
        _, name, opener, items, closer, _ = children
        check_name(name.text, "a loss", name.span)
        if any(loss.name == name.text for loss in self.losses):
            raise LossTypeError("L309", f"two losses of this text have the name `{name.text}`", name.span)
        self.scope.params = {}
        self.spans = {}
        roles: dict[str, str] = {}
        after_semicolon = False
        for item in items:
            if isinstance(item, Tok):
                after_semicolon = True
            else:
                self._header_item(item, roles, after_semicolon)
        missing = [which for which in ("y", "f") if which not in roles]
        if missing:
            raise complaints.header_without(missing, Span(opener.start, closer.end))
        self.head = _Header(name.text, roles["y"], roles["f"], name.span)
        self.scope.push()

    def _header_item(self, item: list[Any], roles: dict[str, str], after_semicolon: bool) -> None:
        name: Tok = item[0]
        role: Tok | None = item[2] if len(item) > 2 and isinstance(item[2], Tok) else None
        default: Value | None = item[-1] if isinstance(item[-1], tuple) else None
        which = self.scope.arguments.get(name.text)
        if which is None:  # a hyper-parameter
            if not after_semicolon:
                raise complaints.parameter_before_semicolon(name)
            written = role.text if role else "real"
            complaints.check_role(written, "hyper-parameter", role)
            number = self._default(name, written, default) if default else None
            self.scope.declare(name.text, written, number, name.span)
            return
        if default is not None or after_semicolon or which.name in roles:
            raise complaints.argument_misused(name, which.name, after_semicolon, default is not None)
        roles[which.name] = role.text if role else "real"
        complaints.check_role(roles[which.name], which.name, role)

    def _default(self, name: Tok, role: str, default: Value) -> Fraction:
        value, start, end = default
        if value.op != CONST:
            raise LossTypeError("L317", f"the default of `{name.text}` must be a number", Span(start, end))
        if not (ROLES[role].range.lo <= value.number <= ROLES[role].range.hi):
            raise LossTypeError("L202", f"the default of `{name.text}` must be {ROLES[role].doc}", Span(start, end))
        return value.number

    def definition(self, children: Children) -> None:
        value: Value = children[-1]
        doc, source = read_docstring(children[1].text) if len(children) == 3 else ("", "")
        assert self.head is not None
        self.losses.append(self._finish(self.head, value, doc, source))
        self.scope.pop()
        self.scope.params = {}

    def file(self, children: Children) -> None:
        return None

    more_parts = file

    def bare(self, value: Value) -> Loss:
        """The loss of a text that is a formula only."""
        head = _Header(self.options.name, "real", "real", Span(value[1], value[2]))
        return self._finish(head, value, "", "")

    def _finish(self, head: _Header, value: Value, doc: str, source: str) -> Loss:
        body = value[0]
        params = tuple(self.scope.params.values())
        nodes = postorder(body)
        spans = {n: self.spans[n] for n in nodes if n in self.spans}
        loss = Loss(body, head.name, head.y, head.f, params, doc, source, spans, self.source)
        if self.warnings is not None:
            self._find_unused(head, set(nodes), Span(value[1], value[2]))
        return verify(loss)

    def _find_unused(self, head: _Header, nodes: set[Expr], body: Span) -> None:
        for which, what in (("y", "target"), ("f", "prediction")):
            if self.scope.arguments[which] not in nodes:
                self._warn("L330", f"`{which}` is never used: {head.name} does not depend on the {what}", body)
        level = self.scope.levels[-1]
        for name, span in level.places.items():
            if name not in level.used:
                self._warn("L331", f"`{name}` is never used", span)
        for name in self.scope.params:
            if param(name) not in nodes:
                self._warn("L332", f"the hyper-parameter `{name}` is never used", head.span)

    def _warn(self, code: str, message: str, span: Span) -> None:
        if self.warnings is not None:
            self.warnings.items.append(Diagnostic(code, message, span, self.source, severity="warning"))


_COMPARISONS = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne"}


def declared(params: Mapping[str, Any] | None) -> dict[str, Parameter]:
    """The hyper-parameters that a caller gives by name: a number (or None: no default) or a `Parameter`.

    Raises UsageError for names and values that cannot be.
    """
    out: dict[str, Parameter] = {}
    for name, value in (params or {}).items():
        if isinstance(value, Parameter):
            out[name] = value
            continue
        try:
            check_name(name, "a hyper-parameter")
            out[name] = Parameter(name, "real", None if value is None else as_fraction(value))
        except LosscError as problem:
            raise UsageError(problem.diagnostic.code, problem.diagnostic.message) from None
        except (ValueError, TypeError, ZeroDivisionError) as problem:
            raise UsageError("L202", f"`{value}` is not a value for `{name}`: {problem}") from None
    return out
