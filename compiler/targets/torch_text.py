"""The parts of an emitted PyTorch file around its functions: imports, names, kernels."""

from __future__ import annotations

from lossc.compiler.targets.torch_form import Form
from lossc.compiler.targets.torch_layout import call_line, indent, signature
from lossc.compiler.targets.torch_names import Names


def imports(code: str) -> str:
    """The imports that the code below them needs."""
    lines = ["from __future__ import annotations", ""]
    if "math." in code:
        lines.append("import math")
    if "ctx: Any" in code:
        lines.append("from typing import Any")
    lines += [""] if lines[-1] else []
    return "\n".join([*lines, "import torch", "from torch import Tensor, nn"])


def exports(names: Names) -> str:
    """The `__all__` of the file."""
    items = [f'"{n}"' for n in sorted({"Loss", names.cls, names.function})]
    return call_line("__all__ = ", items, brackets="[]")


def kernel_function(form: Form, body: list[str]) -> str:
    """The private function that computes the loss, before the reduction over the batch."""
    weight = ["weight: Tensor | None = None"] if form.class_weights and form.per_class else []
    arguments = ["y: Tensor", f"{form.prediction}: Tensor", *(["dim: int"] if form.classwise else [])]
    per = "sample, without the class axis" if form.classwise else "element"
    return _definition("_value", [*arguments, *form.typed_values, *weight], "Tensor", f"The loss of each {per}.", body)


def slope_function(form: Form, body: list[str]) -> str:
    """The private function that computes loss and gradient together."""
    arguments = ["y: Tensor", f"{form.prediction}: Tensor", *(["dim: int"] if form.classwise else [])]
    per = "sample" if form.classwise else "element"
    doc = f"The loss of each {per} and its gradient, in closed form; no graph is recorded of it."
    return _definition("_value_and_slope", [*arguments, *form.typed_values], "tuple[Tensor, Tensor]", doc, body)


def target_functions(form: Form, value: list[str], slope: list[str]) -> list[str]:
    """The same two for class indices, from one number a sample."""
    number = "the margin" if form.target == "margin" else "the input"
    arguments = [f"{form.target}: Tensor", "others: float", *form.typed_values]
    doc = f"The loss of each sample, from {number} of its target and the number of the other classes."
    parts = [_definition("_target_value", arguments, "Tensor", doc, value)]
    if slope:
        doc = f"The same, and its derivative with respect to {number}; no graph is recorded of it."
        parts.append(_definition("_target_value_and_slope", arguments, "tuple[Tensor, Tensor]", doc, slope))
    return parts


def _definition(name: str, arguments: list[str], returns: str, doc: str, body: list[str]) -> str:
    return "\n".join([signature(name, arguments, returns), f'    """{doc}"""', indent(body)])
