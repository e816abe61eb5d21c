"""A loss network as straight-line code: its value, its gradient in f, and its second-order products, in closed form.

The functions that a meta-gradient needs of a loss (`passes/adjoint.py`), printed for NumPy or for torch:

    value(y, f, phi)         the loss, entry by entry
    slope(y, f, phi)         the same, and its derivative with respect to f
    second(y, f, u, phi)     H u in f, and for each coefficient a list of factors (a, b) with Σ ab = ∂⟨u, slope⟩/∂φ_i
    linearize(y, f, phi)     the derivative with respect to f, and a function of u that gives those lists: all that
                             one inner step needs, and what the two share is computed once
    kinks(y, f, phi)         what is 0 where the loss has a kink, for each operator that has one

On a batch of some hundred entries a NumPy call costs a fraction of one of torch, and no graph is built: a small loss is
three to five times faster than what autograd makes of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lossc.compiler import ops
from lossc.compiler.ir import COEF, ONE, Expr, is_live, leaves, postorder
from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.passes.adjoint import DIRECTION, second_order, slope_in_f
from lossc.compiler.passes.guard import guard
from lossc.compiler.passes.link import apply_link
from lossc.compiler.targets.kernel import Dialect, build_kernel
from lossc.compiler.targets.lowering import lower
from lossc.compiler.targets.torch import TORCH

NUMPY = Dialect(
    template="numpy",
    numbers=dict.fromkeys(ops.OPS, None),
    to_tensor="np.asarray({0}, dtype={f}.dtype)",
    spread="np.broadcast_to({0}, {f}.shape)",
    held="{0} ** {1}",
    limits=("np.maximum({0}, {1})", "np.minimum({0}, {1})"),
    coefficient="p{0}",
)
TORCH_NETWORK = replace(TORCH, coefficient="p{0}")
_WORD = re.compile(r"\w+")
FUNCTIONS = ("value", "slope", "second", "linearize", "kinks")
DIALECTS = {"numpy": NUMPY, "torch": TORCH_NETWORK}


@dataclass(frozen=True, slots=True)
class NetworkProgram:
    """The loss whose code it is, of scores (the link is inside), and the number of its coefficients."""

    loss: Loss
    slope: Expr
    size: int
    hessian: Expr
    mixed: tuple[tuple[Expr, ...], ...]

    def source(self, target: str = "numpy", functions: Sequence[str] = FUNCTIONS) -> str:
        """The text of a module with these functions; the same text for the same loss."""
        dialect = DIALECTS[target]
        printers = {
            "value": self._value,
            "slope": self._slope,
            "second": self._second,
            "linearize": self._linearize,
            "kinks": self._kinks,
        }
        code = "\n\n\n".join(printers[name](dialect) for name in functions)
        head = ["import math"] if "math." in code else []
        head += ["import numpy as np"] if target == "numpy" else ["import torch"]
        head += ["from scipy import special"] if "special." in code else []
        return "\n".join(head) + f"\n\n\n{code}\n"

    def _value(self, dialect: Dialect) -> str:
        return _function("value", ("y", "f", "phi"), self.loss, dialect, [], "{0}")

    def _slope(self, dialect: Dialect) -> str:
        return _function("slope", ("y", "f", "phi"), self.loss, dialect, [self.slope], "{0}, {1}")

    def _second(self, dialect: Dialect) -> str:
        more, lists = self._lists(first=1)
        last = "{0}, " + lists
        return _function("second", ("y", "f", "u", "phi"), self.loss.with_body(self.hessian), dialect, more, last)

    def _linearize(self, dialect: Dialect) -> str:
        """`slope` without the loss itself, and inside it the function of u: the lines that u has a part in."""
        more, lists = self._lists(first=1)
        loss = self.loss.with_body(self.slope)
        head, *lines, last = _function("linearize", ("y", "f", "phi"), loss, dialect, more, "{0}, " + lists).split("\n")
        outside, inside = [], []
        moving = {"u"}
        for line in lines:
            name, _, value = line.strip().partition(" = ")
            if moving.isdisjoint(_WORD.findall(value)):
                outside.append(line)
            else:
                moving.add(name)
                inside.append("    " + line)
        slope, _, lists = last.strip().removeprefix("return ").partition(", ")
        end = ["    def mixed(u):", *inside, f"        return {lists}", f"    return {slope}, mixed"]
        return "\n".join([head, *outside, *end])

    def _lists(self, first: int) -> tuple[list[Expr], str]:
        """The factors of the mixed derivative, and how they are put together, the first of them being value `first`."""
        values: list[Expr] = []
        shape: list[str] = []
        for parts in self.mixed:
            pairs = []
            for part in parts:
                sign, a, b = factors(part)
                pairs.append(f"({sign}, {{{first + len(values)}}}, {{{first + len(values) + 1}}})")
                values += [a, b]
            shape.append("[" + ", ".join(pairs) + "]")
        return values, "[" + ", ".join(shape) + "]"

    def _kinks(self, dialect: Dialect) -> str:
        found = [
            k
            for n in postorder(self.loss.body)
            if n.args and is_live(n)
            for k in ops.record(n).kinks(*n.args)
            if is_live(k)
        ]
        last = "(" + "".join(f"{{{i}}}, " for i in range(1, len(found) + 1)) + ")"
        return _function("kinks", ("y", "f", "phi"), self.loss, dialect, found, last)


def factors(part: Expr) -> tuple[int, Expr, Expr]:
    """The part as sign * a * b: a sum of products is one call of a linear algebra library."""
    sign = 1
    while part.op == "neg":
        sign, part = -sign, part.args[0]
    a, b = part.args if part.op == "mul" else (part, ONE)
    return sign, a, b


def network_program(loss: Loss) -> NetworkProgram:
    """The program of a parameterised loss: link, cheap operations, guards, then reverse mode twice.

    Raises LossTypeError (L310) where an operator has no second derivative in closed form.
    """
    scored = guard(lower(apply_link(loss)))
    coefficients = sorted(leaves(loss.body, COEF), key=lambda n: n.index)
    slope = slope_in_f(scored)
    hessian, mixed = second_order(scored, slope, coefficients)
    return NetworkProgram(scored, slope, len(coefficients), hessian, tuple(tuple(m) for m in mixed))


def _function(name: str, args: Sequence[str], loss: Loss, dialect: Dialect, more: Sequence[Expr], last: str) -> str:
    kernel = build_kernel(loss, {"y": "y", "f": "f", DIRECTION.name: "u"}, dialect, *more)
    used = sorted({n.index for n in postorder(loss.body, *more) if n.op == COEF})
    lines = [f"p{i} = phi[{i}]" for i in used]
    if loss.layout == CLASSWISE or "num_classes" in kernel.uses:
        lines.append("axis = dim = 1")
    if "num_classes" in kernel.uses:
        lines.append("num_classes = f.shape[axis]")
    lines += [line.partition("  # ")[0] for line in kernel.lines]
    lines.append("return " + last.format(*kernel.results))
    return f"def {name}({', '.join(args)}):\n" + "\n".join("    " + line for line in lines)
