"""A graph under construction: names of values, a node for each distinct operation, an initialiser for each number."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lossc.compiler.errors import LossTypeError
from lossc.compiler.formats import FORMATS
from lossc.compiler.targets.onnx.proto import BOOL, DOUBLE, FLOAT, INT64, Node, Tensor

KINDS = {"float32": FLOAT, "float64": DOUBLE}
"""The element type of each dtype that a model can compute in."""

_CALL = re.compile(r"(\w+) = (\w+)\((.*)\)")
_ATTRIBUTE = re.compile(r"(\w+)=(-?\d+)")


@dataclass(slots=True)
class Graph:
    """Nodes and initialisers in the order in which they are needed.

    `dtype` is that of all real numbers; `taken` are the names of inputs and outputs, which no other value may have.
    """

    dtype: str
    taken: set[str]
    nodes: list[Node] = field(default_factory=list)
    initializers: dict[str, Tensor] = field(default_factory=dict)
    known: dict[tuple[object, ...], str] = field(default_factory=dict)

    @property
    def kind(self) -> int:
        """The element type of real numbers."""
        return KINDS[self.dtype]

    def add(self, op: str, *inputs: str, **attributes: int) -> str:
        """The name of the value of an operation, which is added unless the graph has it."""
        key = (op, inputs, *sorted(attributes.items()))
        if key not in self.known:
            self.known[key] = name = self._fresh(op.lower())
            self.nodes.append(Node(op, inputs, name, attributes))
        return self.known[key]

    def named(self, value: str, name: str) -> None:
        """Give a value the name of an output."""
        self.nodes.append(Node("Identity", (value,), name))

    def number(self, value: float) -> str:
        """A real scalar. Raises LossTypeError (L342) for a number that the dtype makes 0 or infinite."""
        rounded = self._rounded(value)
        return self._initializer("c", self.kind, (), (rounded,))

    def integers(self, *values: int, scalar: bool = False) -> str:
        """A vector of whole numbers (or one as a scalar): axes, shapes, indices."""
        return self._initializer("axis" if values == (1,) else "k", INT64, () if scalar else (len(values),), values)

    def parameter(self, name: str, value: float) -> None:
        """A scalar that keeps its name: a hyper-parameter with its default."""
        self.initializers[name] = Tensor(name, self.kind, (), (self._rounded(value),))

    def cast(self, value: str) -> str:
        """A value in the dtype of real numbers."""
        return self.add("Cast", value, to=self.kind)

    def run(self, lines: Iterable[str], names: Mapping[str, str]) -> dict[str, str]:
        """Add a program of assignments `v0 = Mul(y, 2.0)`; gives the name in the graph of each name in the program."""
        found = dict(names)
        for line in lines:
            called = _CALL.fullmatch(line)
            if called is None:
                raise AssertionError(f"not a call of an operator: {line}")
            target, op, inside = called.groups()
            inputs, attributes = [], {}
            for part in (p.strip() for p in inside.split(",")):
                given = _ATTRIBUTE.fullmatch(part)
                if given:
                    attributes[given[1]] = int(given[2])
                else:
                    inputs.append(self.operand(part, found))
            found[target] = self.add(op, *inputs, **attributes)
        return found

    def operand(self, text: str, found: Mapping[str, str]) -> str:
        """The value that a name or a number of the program stands for."""
        if text in found:
            return found[text]
        if text in ("True", "False"):
            return self._initializer("b", BOOL, (), (float(text == "True"),))
        return self.number(math.nan if text == "math.nan" else float(text))

    def _rounded(self, value: float) -> float:
        form = FORMATS[self.dtype]
        if math.isfinite(value) and value != 0 and not form.smallest / 2 < abs(value) < form.overflow:
            raise LossTypeError(
                "L342", f"the constant `{value!r}` is {'0' if abs(value) < 1 else 'infinite'} in {self.dtype}",
                hint='emit the model with dtype="float64"',
            )  # fmt: skip
        return value

    def _initializer(self, stem: str, kind: int, shape: tuple[int, ...], values: tuple[float, ...]) -> str:
        key = ("constant", kind, shape, tuple(repr(v) for v in values))
        if key not in self.known:
            self.known[key] = name = self._fresh(stem)
            self.initializers[name] = Tensor(name, kind, shape, values)
        return self.known[key]

    def _fresh(self, stem: str) -> str:
        count = len(self.known)
        name = f"{stem}_{count}"
        while name in self.taken:
            name = f"{stem}_{count}_"
        self.taken.add(name)
        return name
