"""A program of a target: the value, gradient and Hessian diagonal of a loss as assignments, each distinct node once.

How a target uses it:

    SYNTAX = Syntax(key="jax", wrapped={"where": (1, 2)}, value="jnp.asarray({0}, {f}.dtype)")

    found = roots(loss, SYNTAX.key)                          # passes, closed forms, fallbacks: derivatives.py
    names = {"y": "targets", "f": "predictions", **hyper_parameters}
    program = build(found.stages.guarded, SYNTAX, names, found.value, found.gradient)
    program.lines     # ["v0 = targets - predictions", "v1 = v0 * v0", "v2 = -2.0 * v0"]
    program.results   # ["v1", "v2"]: a name or a number for each root
    program.uses      # {"num_classes"} if the number of classes is referred to
    program.steps     # the same as data (name, node, operands), for targets that are graphs and not text

Sub-expressions of numbers only are computed now, with mpmath, and written as a literal. All else is a value of the
target: hyper-parameters too, so that they may be arrays or traced. `kernel.py` is the printer for PyTorch, which treats
hyper-parameters as numbers of Python.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from lossc.compiler import ops
from lossc.compiler.errors import LossTypeError
from lossc.compiler.ir import ARG, COEF, CONST, PARAM, Expr, postorder
from lossc.compiler.loss import Loss
from lossc.compiler.printing import to_text
from lossc.compiler.targets.fallback import refused
from lossc.compiler.targets.scalars import constant_value, literal
from lossc.compiler.targets.templates import fill, steps

WIDTH = 120
_POWER = re.compile(r"^([A-Za-z_]\w*|[0-9.]+(?:e[+-]?[0-9]+)?) \*\* ([A-Za-z_]\w*|[0-9.]+(?:e[+-]?[0-9]+)?)$")
"""A power of simple operands, that ruff writes without spaces."""


def number(value: float | bool) -> str:
    """A constant of Python, which needs no import: `float("nan")` for NaN."""
    return 'float("nan")' if value != value else literal(value)


@dataclass(frozen=True, slots=True)
class Syntax:
    """What the printer must know of a target.

    key        the key of `OpRecord.lower`
    assign     an assignment: `{0}` the name, `{1}` the code
    number     how a constant (a float64, or a truth value) is written
    wrapped    operator -> positions at which a bare constant is made a value of the target by `value`; for `where`,
               unless the positions are `None`, only if no branch is a value anyway. "*" stands for every operator that
               is not named, `None` for all positions
    value      a constant as a value of the target, `{0}` the number, `{f}` the prediction and `{y}` the target; ""
               where constants are good anywhere
    split      whether composite templates are taken apart into single operations (they must read as Python)
    comment    how the rest of a line becomes a comment (`# {0}`); "" for no comments
    whole      whether a power with a whole exponent is written with an int: `x ** 3`
    indent     columns that a line will be indented by, for its width
    """

    key: str
    assign: str = "{0} = {1}"
    number: Callable[[float | bool], str] = number
    wrapped: Mapping[str, tuple[int, ...] | None] = field(default_factory=dict)
    value: str = ""
    split: bool = True
    comment: str = "# {0}"
    whole: bool = False
    indent: int = 4


@dataclass(frozen=True, slots=True)
class Step:
    """One operation: the name that gets its value, the node, and what its arguments are called."""

    name: str
    node: Expr
    operands: tuple[str, ...]


@dataclass(slots=True)
class Program:
    """Lines without indentation, the operands that hold the values of the roots, and what the lines refer to."""

    lines: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    uses: set[str] = field(default_factory=set)
    steps: list[Step] = field(default_factory=list)
    numbers: dict[Expr, float | bool] = field(default_factory=dict)


def build(loss: Loss, syntax: Syntax, names: Mapping[str, str], *roots: Expr) -> Program:
    """Print the roots (the body of the loss, if none are given) as one program.

    `names` gives the identifiers of y, f and every hyper-parameter. Raises LossTypeError: L340 for a constant that
    float64 cannot hold, L341 for learnable coefficients, L345 for an operator without a template.
    """
    return _Printer(syntax, names, roots or (loss.body,)).run()


class _Printer:
    def __init__(self, syntax: Syntax, names: Mapping[str, str], roots: Iterable[Expr]) -> None:
        self.syntax = syntax
        self.names = names
        self.roots = tuple(roots)
        self.constant: set[Expr] = set()
        self.text: dict[Expr, str] = {}
        self.values: dict[str, str] = {}
        self.known: dict[str, str] = {}
        self.notes: dict[str, str] = {}
        self.out = Program()

    def run(self) -> Program:
        for here in postorder(*self.roots):
            if here.op == COEF:
                raise LossTypeError("L341", "learnable coefficients cannot be exported", hint="substitute them first")
            if here.op == CONST or (here.op in ops.OPS and not ops.OPS[here.op].axis and self._all_constant(here)):
                self.constant.add(here)
            elif here.op in (ARG, PARAM):
                self.text[here] = self.names[here.name]
            else:
                self.text[here] = self._operation(here)
        self.out.results = [self.operand(root) for root in self.roots]
        return self.out

    def _all_constant(self, here: Expr) -> bool:
        return all(a in self.constant for a in here.args)

    def operand(self, here: Expr) -> str:
        """What holds the value of a node: a name, or a number."""
        if here in self.constant and here not in self.text:
            number = constant_value(here)
            self.out.numbers[here] = number
            self.text[here] = text = self.syntax.number(number)
            exact = here.op == CONST and not isinstance(number, bool) and Fraction(repr(number)) == here.number
            if here.tree_size < 40 and not exact:
                self.notes[text] = to_text(here)
        return self.text[here]

    def _operation(self, here: Expr) -> str:
        template = ops.OPS[here.op].lower.get(self.syntax.key)
        if template is None:
            raise refused(here, self.syntax.key)
        if here.op == "num_classes":
            self.out.uses.add("num_classes")
            return template
        operands = self._operands(here)
        if here.op == "pow" and self.syntax.whole and here.args[1].op == CONST:
            exponent = here.args[1].number
            operands[1] = str(exponent) if exponent.denominator == 1 else operands[1]
        name = self._lines(template, operands)
        self.out.steps.append(Step(name, here, tuple(operands)))
        return name

    def _operands(self, here: Expr) -> list[str]:
        found = [self.operand(a) for a in here.args]
        wrapped = self.syntax.wrapped
        positions = wrapped.get(here.op, wrapped.get("*", ()))
        bare = {i for i, a in enumerate(here.args) if a in self.constant and ops.kind_of(a) == ops.REAL_KIND}
        if here.op == "where" and bare != {1, 2} and positions is not None:
            return found
        for i in bare if positions is None else bare & set(positions):
            found[i] = self._value(found[i])
        return found

    def _value(self, number: str) -> str:
        """A name that holds a number as a value of the target."""
        if not self.syntax.value:
            return number
        if number not in self.values:
            code = self.syntax.value.replace("{0}", number)
            for one in ("y", "f"):
                code = code.replace(f"{{{one}}}", self.names[one])
            self.values[number] = self._assign(code, [number])
        return self.values[number]

    def _lines(self, template: str, operands: list[str]) -> str:
        if not self.syntax.split:
            return self._assign(fill(template, operands), operands)
        found = list(operands)
        for step in steps(template, len(operands)):
            found.append(self._assign(fill(step, found), operands))
        return found[-1]

    def _assign(self, code: str, operands: list[str]) -> str:
        if code in self.known:
            return self.known[code]
        name = f"v{len(self.known)}"
        self.known[code] = name
        line = self.syntax.assign.replace("{0}", name).replace("{1}", _POWER.sub(r"\1**\2", code))
        notes = dict.fromkeys(self.notes[o] for o in operands if self.notes.get(o))
        noted = f"{line}  {self.syntax.comment.format(', '.join(notes))}" if self.syntax.comment else line
        self.out.lines.append(noted if notes and len(noted) + self.syntax.indent <= WIDTH else line)
        return name
