"""The body of a loss as three-address code: one operation a line, each distinct node once (the IR is a DAG).

Three kinds of values, told apart before anything is printed:

constant   only numbers: computed now, with mpmath, and written as a float64 literal
scalar     hyper-parameters and the number of classes: a Python float at run time (template "math" of the records)
tensor     y or f enters: the target's own template

A target says, in a `Dialect`, which template it uses, which operators accept Python numbers beside tensors, and how a
number becomes a tensor.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from lossc.compiler import ops
from lossc.compiler.errors import LossTypeError
from lossc.compiler.ir import ARG, COEF, CONST, PARAM, Expr, F, postorder
from lossc.compiler.loss import Loss, class_varying
from lossc.compiler.passes.guard import GuardFacts
from lossc.compiler.printing import to_text
from lossc.compiler.targets.scalars import CAREFUL, PLAIN, constant_value, is_certain, literal
from lossc.compiler.targets.templates import fill, holes, steps

CONSTANT, SCALAR, TENSOR = "constant", "scalar", "tensor"
WIDTH = 120
_INDENT = 4
_LONG = 12
_POWER = re.compile(r"^([A-Za-z_]\w*|[0-9.]+(?:e[+-]?[0-9]+)?) \*\* ([A-Za-z_]\w*|[0-9.]+(?:e[+-]?[0-9]+)?)$")
"""A power of simple operands, that ruff writes without spaces."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the printer must know of a target.

    template   the key of `OpRecord.lower`
    preferred  a key that goes before it, where a record has it
    coefficient  how φ_i is written, `{0}` its index; "" where coefficients are refused
    numbers    operator -> positions that accept a Python number beside tensors; None means all of them
    to_tensor  a number as a tensor of the right dtype and device; `{0}` is the number, `{f}` the prediction
    spread     a tensor that is the same for all classes, or for all elements, in the full shape
    held       `{0}` to the power `{1}`, where a base that is 0 or negative gives no slope in the exponent (G5: at 0
               that slope is 0, or the guards say what it is; below, only whole exponents have a value)
    limits     `{0}` raised to `{1}`, and lowered to it, with the slopes of the record of `clamp`: for bounds that are
               tensors (torch.clamp has no slope at all where its bounds meet)

    `where` needs a tensor among its branches.
    """

    template: str
    numbers: Mapping[str, tuple[int, ...] | None]
    to_tensor: str
    spread: str
    held: str
    limits: tuple[str, str]
    preferred: str = ""
    coefficient: str = ""


@dataclass(slots=True)
class Kernel:
    """Lines of code (without indentation), the operands that hold the values, and what the code refers to.

    `reached`: whether the first value certainly depends on f in a way that a gradient can follow.
    `tensors`: for each value, whether it is a tensor (and not a number of Python).
    """

    lines: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    reached: bool = True
    tensors: list[bool] = field(default_factory=list)
    uses: set[str] = field(default_factory=set)

    @property
    def result(self) -> str:
        """The operand that holds the (first) value."""
        return self.results[0]


def build_kernel(loss: Loss, names: Mapping[str, str], dialect: Dialect, *more: Expr) -> Kernel:
    """Print the body, and `more` values that share what they can with it.

    `names` gives the identifiers of y, f and every hyper-parameter.

    Raises LossTypeError (L340) for constants that float64 cannot hold, (L341) for learnable coefficients.
    """
    return _Printer(loss, names, dialect, more).run()


class _Printer:
    def __init__(self, loss: Loss, names: Mapping[str, str], dialect: Dialect, more: tuple[Expr, ...] = ()) -> None:
        self.roots = (loss.body, *more)
        self.names = names
        self.dialect = dialect
        self.facts = GuardFacts(loss)
        self.varying = class_varying(*self.roots)
        self.reached: set[Expr] = set()
        self.kinds: dict[Expr, str] = {}
        self.text: dict[Expr, str] = {}
        self.tensors: dict[str, str] = {}
        self.notes: dict[str, str] = {}
        self.out = Kernel()
        self.count = 0

    def run(self) -> Kernel:
        for here in postorder(*self.roots):
            self.kinds[here] = kind = self._kind(here)
            if kind != CONSTANT and here.args:
                self.text[here] = self._operation(here)
            elif kind != CONSTANT:
                self.text[here] = self._leaf(here)
            if self._reaches(here):
                self.reached.add(here)
        self.out.results = [self._operand(root) for root in self.roots]
        self.out.tensors = [self.kinds[root] == TENSOR for root in self.roots]
        self.out.reached = self.roots[0] in self.reached
        return self.out

    def _reaches(self, here: Expr) -> bool:
        """Whether a gradient certainly flows to f: not through conditions, nor through a branch not taken."""
        if here.op != "where":
            return here is F or any(a in self.reached for a in here.args)
        taken = [a in self.reached for a in here.args[1:]]
        return any(taken) if self.kinds[here.args[0]] == TENSOR else all(taken)

    # -- kinds and leaves ---------------------------------------------------------------------------------------------

    def _kind(self, here: Expr) -> str:
        if here.op in (ARG, PARAM):
            return TENSOR if here.op == ARG else SCALAR
        if here.op == COEF and self.dialect.coefficient:
            return TENSOR
        if here.op == CONST:
            return CONSTANT
        if here.op not in ops.OPS:
            raise LossTypeError("L341", f"`{here.op}` cannot be compiled", hint="substitute the coefficients first")
        record = ops.OPS[here.op]
        kinds = {self.kinds[a] for a in here.args}
        if record.axis == ops.SIZE:
            return SCALAR
        if kinds <= {CONSTANT}:
            return CONSTANT
        return SCALAR if TENSOR not in kinds and (here.op in PLAIN or here.op in CAREFUL) else TENSOR

    def _leaf(self, here: Expr) -> str:
        if here.op == "num_classes":
            self.out.uses.add("num_classes")
            return "num_classes"
        if here.op == COEF:
            return self.dialect.coefficient.format(here.value)
        return self.names[here.name]

    def _operand(self, here: Expr) -> str:
        if self.kinds[here] != CONSTANT:
            return self.text[here]
        if here not in self.text:
            self.text[here] = literal(constant_value(here))
            if here.tree_size < 40 and (here.op != CONST or Fraction(self.text[here]) != here.number):
                self.notes[self.text[here]] = to_text(here)
        return self.text[here]

    # -- operations ---------------------------------------------------------------------------------------------------

    def _operation(self, here: Expr) -> str:
        if self.kinds[here] == SCALAR:
            template = self._scalar_template(here)
            operands = [self._operand(a) for a in here.args]
            if holes(template) > 2:
                operands = [self._assign(o, [o]) if len(o) > _LONG else o for o in operands]
            return self._steps(template, operands)
        if here.op == "where" and self.kinds[here.args[0]] != TENSOR:
            return self._choice(here)
        operands = self._tensor_operands(here)
        if here.op in ("eq", "ne") and self.kinds[here.args[0]] != TENSOR:
            operands.reverse()  # 0.0 == v would have the type of a Python comparison
        if here.op == "clamp" and any(self.kinds[a] == TENSOR for a in here.args[1:]):
            raised = self._assign(fill(self.dialect.limits[0], operands[:2]), operands)
            return self._assign(fill(self.dialect.limits[1], [raised, operands[2]]), operands)
        forms = ops.OPS[here.op].lower
        template = forms.get(self.dialect.preferred) or forms[self.dialect.template]
        if here.op == "pow" and here.args[1].op == CONST and here.args[1].number.denominator == 1:
            operands[1] = str(here.args[1].number)
        elif here.op == "pow" and self.kinds[here.args[1]] == TENSOR and not self._surely_positive(here.args[0]):
            template, operands[0] = self.dialect.held, self._as_tensor(here.args[0])
        return self._steps(template, operands)

    def _surely_positive(self, base: Expr) -> bool:
        """Positive in a machine too: exp(-1000) is 0 there."""
        return self.facts.nonnegative(base) and self.facts.surely_nonzero(base)

    def _steps(self, template: str, operands: list[str]) -> str:
        """One line for each operation of the template."""
        found = list(operands)
        for step in steps(template, len(operands)):
            found.append(self._assign(fill(step, found), operands))
        return found[-1]

    def _scalar_template(self, here: Expr) -> str:
        template = ops.OPS[here.op].lower["math"]
        if here.op == "where":
            template = "{1} if {0} else {2}"
        if not is_certain(here.op, here.args, self.facts):
            template = CAREFUL[here.op]
            if "_power" in template:
                self.out.uses.add("_power")
        elif template.startswith("(") and template.endswith(")"):
            template = template[1:-1]
        return template

    def _choice(self, here: Expr) -> str:
        """`where` whose condition is known to Python: the other branch leaves no trace."""
        condition, *branches = here.args
        chosen = [self._as_tensor(b) for b in branches]
        if here in self.varying:
            chosen = [c if b in self.varying else self._spread(c) for b, c in zip(branches, chosen, strict=True)]
        operands = [self._operand(condition), *chosen]
        return self._assign(fill("{1} if {0} else {2}", operands), operands)

    def _tensor_operands(self, here: Expr) -> list[str]:
        allowed = self.dialect.numbers.get(here.op, ())
        reals = [i for i, a in enumerate(here.args) if ops.kind_of(a) == ops.REAL_KIND]
        bare = [i for i in reals if self.kinds[here.args[i]] != TENSOR]
        if here.op == "where":
            wrapped = set(bare[:1]) if len(bare) == len(reals) else set()
        elif here.op == "clamp":
            wrapped = set() if bare == [1, 2] else set(bare)
        else:
            wrapped = set() if allowed is None else {i for i in bare if i not in allowed}
        return [self._as_tensor(a) if i in wrapped else self._operand(a) for i, a in enumerate(here.args)]

    def _as_tensor(self, here: Expr) -> str:
        if self.kinds[here] == TENSOR:
            return self.text[here]
        number = self._operand(here)
        if number not in self.tensors:
            made = self.dialect.to_tensor.replace("{f}", self.names["f"]).replace("{0}", number)
            self.tensors[number] = self._assign(made, [number])
        return self.tensors[number]

    def _spread(self, operand: str) -> str:
        made = self.dialect.spread.replace("{f}", self.names["f"]).replace("{0}", operand)
        return self._assign(made, [operand])

    def _assign(self, code: str, operands: list[str]) -> str:
        name = f"v{self.count}"
        self.count += 1
        line = f"{name} = " + _POWER.sub(r"\1**\2", code)
        notes = dict.fromkeys(self.notes[o] for o in operands if self.notes.get(o))
        noted = f"{line}  # {', '.join(notes)}"
        self.out.lines.append(noted if notes and len(noted) + _INDENT <= WIDTH else line)
        return name
