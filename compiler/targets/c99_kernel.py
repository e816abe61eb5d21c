"""Statements of C that compute one expression: one operation a line, with loops over the classes where need be.

Along the class axis an expression is a scalar or varies over the classes. Scalars are computed once; whatever varies is
computed inside a loop, again in each loop that needs it, so that no memory is wanted. A reduction has to wait for the
reductions inside it, so loops come in levels: all reductions of one level share a loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lossc.compiler import ops
from lossc.compiler.errors import LossTypeError
from lossc.compiler.formats import FLOAT32
from lossc.compiler.ir import ARG, COEF, CONST, PARAM, Expr, postorder
from lossc.compiler.loss import class_varying
from lossc.compiler.targets.fallback import refused
from lossc.compiler.targets.scalars import constant_value
from lossc.compiler.targets.templates import fill

KEY = "c"
_STARTS = {"sum_c": "0", "max_c": "-INFINITY"}


@dataclass(frozen=True, slots=True)
class Real:
    """A floating type of C, and how its literals and the functions of math.h end."""

    name: str
    suffix: str


DOUBLE, FLOAT = Real("double", ""), Real("float", "f")


@dataclass(slots=True)
class Block:
    """Statements, the expression that holds the result, and which of y, f and the parameters they mention.

    `last` are the statements inside the last loop, if the result varies over the classes.
    """

    lines: list[str] = field(default_factory=list)
    last: list[str] = field(default_factory=list)
    result: str = ""
    mentions: set[str] = field(default_factory=set)
    varies: bool = False


def fits_float(roots: Iterable[Expr]) -> bool:
    """Whether the constants of the expressions survive in float."""
    constants = [abs(n.number) for n in postorder(*roots) if n.op == CONST and n.number]
    return all(FLOAT32.smallest <= c < FLOAT32.overflow for c in constants)


def write(root: Expr, names: Mapping[str, str], real: Real, *, classwise: bool) -> Block:
    """The statements for one expression. `names` gives what y, f and the hyper-parameters are called.

    In a classwise loss y and f are arrays `y[c*stride]` of `classes` numbers.
    """
    return _Writer(root, names, real, classwise).run()


class _Writer:
    def __init__(self, root: Expr, names: Mapping[str, str], real: Real, classwise: bool) -> None:
        self.root = root
        self.names = names
        self.real = real
        self.order = postorder(root)
        self.varying = class_varying(root) if classwise else set()
        self.constants = self._constants()
        self.number = {n: i for i, n in enumerate(n for n in self.order if n.args and n not in self.constants)}
        self.level: dict[Expr, int] = {}
        for here in self.order:
            inner = max((self.level[a] for a in here.args), default=0)
            self.level[here] = inner + self._reduces(here)
        self.out = Block(varies=root in self.varying)

    def _constants(self) -> set[Expr]:
        found: set[Expr] = set()
        for here in self.order:
            if here.op == COEF:
                raise LossTypeError("L341", "learnable coefficients cannot be exported", hint="substitute them first")
            if here.op == CONST or (here.op in ops.OPS and not ops.OPS[here.op].axis and set(here.args) <= found):
                found.add(here)
        return found

    def _reduces(self, here: Expr) -> bool:
        return here.op in ops.OPS and ops.OPS[here.op].axis == ops.REDUCE

    def run(self) -> Block:
        lines = self.out.lines
        scalars = [n for n in self.order if n in self.number and n not in self.varying]
        for level in range(self.level[self.root] + 1):
            reductions = [n for n in scalars if self._reduces(n) and self.level[n] == level]
            if reductions:
                lines += self._loop(reductions)
            lines += [self._statement(n) for n in scalars if not self._reduces(n) and self.level[n] == level]
        if self.out.varies:
            self.out.last = self._inside([self.root])
        self.out.result = self._operand(self.root)
        return self.out

    def _loop(self, reductions: list[Expr]) -> list[str]:
        kept = [f"{self.real.name} {self._operand(n)} = {_STARTS[n.op]};" for n in reductions]
        body = self._inside([n.args[0] for n in reductions])
        for n in reductions:
            operands = [self._operand(n.args[0]), self._operand(n)]
            body.append(fill(self._template(n), operands) + ";")
        head = "for (size_t c = 0; c < classes; ++c) {"
        return [*kept, head, *(f"    {line}" for line in body), "}"]

    def _inside(self, roots: list[Expr]) -> list[str]:
        """The statements for what varies under the roots: reductions are known by now."""
        wanted: set[Expr] = set()
        stack = list(roots)
        while stack:
            here = stack.pop()
            if here in self.varying and here not in wanted:
                wanted.add(here)
                stack += here.args
        return [self._statement(n) for n in self.order if n in wanted and n in self.number]

    def _statement(self, here: Expr) -> str:
        kind = "int" if ops.kind_of(here) == ops.BOOL_KIND else self.real.name
        code = fill(self._template(here), [self._operand(a) for a in here.args])
        return f"const {kind} {self._operand(here)} = {code};"

    def _template(self, here: Expr) -> str:
        template = ops.OPS[here.op].lower.get(KEY)
        if template is None:
            raise refused(here, KEY)
        return template.replace("{t}", self.real.suffix)

    def _operand(self, here: Expr) -> str:
        if here in self.number:
            return f"v{self.number[here]}"
        if here in self.constants:
            return literal(constant_value(here), self.real)
        if here.op == "num_classes":
            return f"({self.real.name})classes"
        if here.op not in (ARG, PARAM):
            raise refused(here, KEY)
        self.out.mentions.add(here.name)
        name = self.names[here.name]
        return f"{name}[c * stride]" if here in self.varying else name


def literal(value: float | bool, real: Real) -> str:
    """A constant of C."""
    if isinstance(value, bool):
        return str(int(value))
    return "NAN" if value != value else repr(value) + real.suffix
