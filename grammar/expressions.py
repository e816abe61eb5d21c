"""The rules of expressions: each method is called by the parser for one rule of loss.lark and gives `Expr` at once.

A value on the parser's stack is `(expression, start, end)`. Named values and helper functions are expanded where they
are used, so they leave no trace in the IR; spans go to a side table, first occurrence first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from lossc.compiler import ops
from lossc.compiler.errors import LimitError, LossTypeError, Source, Span
from lossc.compiler.ir import CONST, Expr, coef, const, is_writable, node, postorder, rebuild
from lossc.compiler.literals import exact_value, read_literal
from lossc.compiler.verify import MAX_EXPONENT, MAX_NODES
from lossc.grammar import complaints
from lossc.grammar.dialects import Dialect
from lossc.grammar.scope import Helper, Scope
from lossc.grammar.tokens import Tok

Value: TypeAlias = tuple[Expr, int, int]
Children: TypeAlias = list[Any]
"""What a rule's parts gave: tokens and values, or lists of them."""

MAX_EXPANSION = 10_000
"""Nodes that all helper calls of a text may build."""
MAX_COEFFICIENT = 999_999

_COMPARISONS = {r.infix: r.name for r in ops.OPS.values() if r.gives == ops.BOOL_KIND}


class Expressions:
    """The state that expressions need, and a method for each of their rules."""

    def begin(self, source: Source, tokens: list[Tok], dialect: Dialect) -> None:
        """Start on another text."""
        self.source, self.tokens = source, tokens
        self.meaning: Mapping[str, str] = dialect.meaning
        self.scope = Scope(dialect.arguments)
        self.spans: dict[Expr, Span] = {}
        self.conditions = False  # whether one was written: kinds need no check before that
        self.expanded = 0
        self.defining: str | None = None  # the helper function whose body is being read

    # -- operators --------------------------------------------------------------------------------------------------

    def _put(self, made: Expr, start: int, end: int) -> Value:
        if made not in self.spans:
            self.spans[made] = Span(start, end)
        return made, start, end

    def _infix(self, op: str, children: Children) -> Value:
        (left, start, _), _, (right, _, end) = children
        if self.conditions:
            self._need_numbers(children)
        return self._put(node(self.meaning.get(op, op), left, right), start, end)

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
        exponent, start, end = children[2]
        self._check_exponent(exponent, Span(start, end))
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

    # -- leaves -----------------------------------------------------------------------------------------------------

    def number(self, children: Children) -> Value:
        token: Tok = children[0]
        try:
            value = read_literal(token.text)
        except LimitError as problem:
            raise problem.located(self.source, token.span) from None
        return self._put(const(value), token.start, token.end)

    def name(self, children: Children) -> Value:
        token: Tok = children[0]
        value = self.scope.value(token.text)
        if value is None:
            raise complaints.unknown_name(token, self.scope, self.tokens)
        return self._put(value, token.start, token.end)

    def coefficient(self, children: Children) -> Value:
        first, _, index, last = children
        if not index.text.isdigit():
            raise LossTypeError("L304", f"a coefficient needs a whole index, got `{index.text}`", index.span)
        if len(index.text) > 12 or int(index.text) > MAX_COEFFICIENT:
            raise LimitError("L109", f"the index of a coefficient may be {MAX_COEFFICIENT:,} at most", index.span)
        return self._put(coef(int(index.text)), first.start, last.end)

    # -- calls ------------------------------------------------------------------------------------------------------

    def arguments(self, children: Children) -> list[Value]:
        return children

    def more(self, children: Children) -> list[Any]:
        """A list goes on: `[list, separator, item]`. A `;` is kept, for headers."""
        items: list[Any] = children[0]
        if children[1].type == "SEMI":
            items.append(children[1])
        items.append(children[2])
        return items

    def call(self, children: Children) -> Value:
        """`name(a, b)`: an operator or a helper function, with as many arguments as it takes."""
        token: Tok = children[0]
        given: list[Value] = children[2] if len(children) == 4 else []
        where = Span(token.start, children[-1].end)
        if token.text == self.defining:
            raise complaints.recursion(token)
        helper = self.scope.helper(token.text)
        if helper is not None:
            return self._expand(helper, given, where)
        record = ops.lookup(token.text)
        if record is None:
            raise complaints.unknown_function(token, self.scope, self.tokens)
        record = ops.OPS[self.meaning.get(record.name, record.name)]
        if record.associative and len(given) > 2:
            return self._chain(record, given, where)
        if len(given) != record.arity:
            raise complaints.wrong_arity(token.text, record.arity, len(given), record.signature, where)
        if self.conditions or record.takes:
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
        """The body of a helper function with the arguments of a call in it."""
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
            if made is not here and made.op == "pow":
                self._check_exponent(made.args[1], where)
            done[here] = self._put(made, where.start, where.end)[0]
        self._check_size(done[helper.body], where)
        return done[helper.body], where.start, where.end

    # -- checks -----------------------------------------------------------------------------------------------------

    def _need_numbers(self, children: Children) -> None:
        for child in children:
            if isinstance(child, tuple) and ops.kind_of(child[0]) != ops.REAL_KIND:
                raise complaints.condition_misplaced(Span(child[1], child[2]))

    def _check_kinds(self, record: ops.OpRecord, given: list[Value]) -> None:
        for i, (value, start, end) in enumerate(given):
            wanted = record.kind_of(i)
            if ops.kind_of(value) == wanted:
                continue
            if wanted == ops.REAL_KIND:
                raise complaints.condition_misplaced(Span(start, end))
            raise complaints.condition_needed(record, i, Span(start, end))

    def _check_exponent(self, exponent: Expr, where: Span) -> None:
        value = exponent.number if exponent.op == CONST else exact_value(exponent)
        if value is not None and abs(value) > MAX_EXPONENT:
            hint = "exp(p*log(x)) is x^p for x > 0"
            raise LimitError("L106", f"a constant exponent must be within ±{MAX_EXPONENT}", where, hint=hint)

    def _check_size(self, made: Expr, where: Span) -> None:
        if made.tree_size > MAX_NODES:
            size = f"{made.tree_size:,}" if made.tree_size < 10**9 else "more than 10^9"
            message = f"the formula has {size} nodes once written out; the limit is {MAX_NODES:,}"
            raise LimitError("L104", message, where)
