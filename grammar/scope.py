"""What a written name means at a place of the text: the values, helper functions and hyper-parameters in sight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lossc.compiler import ops
from lossc.compiler.errors import LimitError, LossTypeError, Span
from lossc.compiler.ir import Expr, arg, dag_size, node, param
from lossc.compiler.loss import Parameter
from lossc.compiler.names import ARGUMENTS, check_name
from lossc.compiler.verify import MAX_PARAMS

_ARGUMENT_NODES = {name: arg(which) for name, which in ARGUMENTS.items()}


@dataclass(frozen=True, slots=True)
class Helper:
    """A helper function: its body over placeholder leaves, which a call replaces; `size` nodes as a DAG."""

    name: str
    placeholders: tuple[Expr, ...]
    body: Expr
    size: int

    @property
    def signature(self) -> str:
        return f"{self.name}({', '.join(p.name.rpartition('.')[2] for p in self.placeholders)})"


@dataclass(slots=True)
class Level:
    """The names that one level (file, loss or helper function) adds, where, and which of them were used."""

    values: dict[str, Expr] = field(default_factory=dict)
    helpers: dict[str, Helper] = field(default_factory=dict)
    params: dict[str, Parameter] = field(default_factory=dict)
    places: dict[str, Span] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)


class Scope:
    """The levels around a place, innermost last. An inner name hides an outer one; y and f cannot be hidden."""

    def __init__(self, arguments: Mapping[str, str]) -> None:
        self.levels = [Level()]
        self.arguments = {**_ARGUMENT_NODES, **{name: arg(which) for name, which in arguments.items()}}

    @property
    def here(self) -> Level:
        return self.levels[-1]

    def push(self) -> None:
        self.levels.append(Level())

    def pop(self) -> None:
        self.levels.pop()

    def declare(self, parameter: Parameter, span: Span | None = None) -> None:
        """Add a hyper-parameter to this level."""
        name = parameter.name
        check_name(name, "a hyper-parameter", span)
        if name in self.arguments:
            raise LossTypeError("L309", f"`{name}` is an argument of the loss: it cannot be a hyper-parameter", span)
        if name in self.here.params:
            raise LossTypeError("L306", f"two hyper-parameters have the name `{name}`", span)
        if len(self.here.params) >= MAX_PARAMS:
            raise LimitError("L107", f"a loss may have {MAX_PARAMS} hyper-parameters, not more", span)
        self.here.params[name] = parameter
        self.here.values[name] = param(name)

    def claim(self, name: str, what: str, span: Span) -> None:
        """Check that a statement of this level may give `name` to a value or helper function."""
        check_name(name, what, span)
        here = self.here
        if name in self.arguments:
            raise LossTypeError("L309", f"`{name}` is an argument of the loss: it cannot name {what}", span)
        if name in here.params:
            raise LossTypeError("L309", f"`{name}` is a hyper-parameter already", span, hint="choose another name")
        if name in here.places:
            hint = "a name keeps its meaning: use another"
            raise LossTypeError("L309", f"`{name}` is defined twice", span, hint=hint)
        here.places[name] = span

    def define(self, name: str, value: Expr) -> None:
        """Give the claimed name to a value."""
        self.here.values[name] = value

    def define_helper(self, name: str, placeholders: list[Expr], body: Expr) -> None:
        """Give the claimed name to a helper function."""
        self.here.helpers[name] = Helper(name, tuple(placeholders), body, dag_size(body))

    def value(self, name: str) -> Expr | None:
        """What the name stands for: a named value, a hyper-parameter, y or f, a constant; None if nothing."""
        for level in reversed(self.levels):
            found = level.values.get(name)
            if found is not None:
                level.used.add(name)
                return found
        known = self.arguments.get(name)
        if known is not None:
            return known
        record = ops.lookup(name)
        return node(record.name) if record is not None and not record.arity else None

    def helper(self, name: str) -> Helper | None:
        """The helper function of that name, if any."""
        for level in reversed(self.levels):
            found = level.helpers.get(name)
            if found is not None:
                level.used.add(name)
                return found
        return None

    def value_names(self) -> list[str]:
        """Every name that `value` knows, for suggestions."""
        constants = [n for n in ops.names() if (r := ops.lookup(n)) is not None and not r.arity]
        return [*(n for level in self.levels for n in level.values), *self.arguments, *constants]

    def function_names(self) -> list[str]:
        """Every name that can be called, for suggestions."""
        return [*(n for level in self.levels for n in level.helpers), *ops.names()]
