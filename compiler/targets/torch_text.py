"""The parts of an emitted PyTorch file, as text: all but the lines of the kernel."""

from __future__ import annotations

from collections.abc import Iterable

from lossc.compiler.loss import CLASSWISE, SIGMOID, SOFTMAX, Loss, Parameter
from lossc.compiler.roles import ROLES
from lossc.compiler.targets.torch_names import Names

WIDTH = 120


def indent(lines: Iterable[str], by: int = 4) -> str:
    """The lines with a margin, but for empty ones."""
    return "\n".join(" " * by + line if line else "" for line in lines)


def imports(code: str) -> str:
    """The imports that the code below them needs."""
    lines = ["from __future__ import annotations", ""]
    if "math." in code:
        lines += ["import math", ""]
    return "\n".join([*lines, "import torch", "from torch import Tensor, nn"])


def exports(names: Names) -> str:
    """The `__all__` of the file."""
    items = [f'"{n}"' for n in sorted({"Loss", names.cls, names.function})]
    return call_line("__all__ = ", items, brackets="[]")


def kernel_function(loss: Loss, names: Names, body: list[str]) -> str:
    """The private function that computes the loss, before the reduction over the batch."""
    values = [*names.hyperparameters.values()]
    arguments = ["y: Tensor", f"{names.prediction}: Tensor", *(["dim: int"] if loss.layout == CLASSWISE else [])]
    per = "sample, without the class axis" if loss.layout == CLASSWISE else "element"
    return "\n".join([
        signature("_value", [*arguments, *(f"{v}: float" for v in values)], "Tensor"),
        f'    """The loss of each {per}."""',
        indent(body),
    ])  # fmt: skip


def signature(name: str, arguments: list[str], returns: str, by: int = 0) -> str:
    """A `def` line, one argument a line where it would be too long, as ruff has it."""
    one = f"def {name}({', '.join(arguments)}) -> {returns}:"
    pad = " " * by
    if len(pad) + len(one) <= WIDTH:
        return pad + one
    inner = f"{pad}    {', '.join(arguments)}"
    if len(inner) <= WIDTH:
        return f"{pad}def {name}(\n{inner}\n{pad}) -> {returns}:"
    return "\n".join([f"{pad}def {name}(", *(f"{pad}    {a}," for a in arguments), f"{pad}) -> {returns}:"])


_ELEMENTWISE_ARGUMENTS = '''
def _arguments(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The target and the input, as floating-point tensors of one shape."""
    if not isinstance(input, Tensor) or not isinstance(target, Tensor):
        raise TypeError(f"input and target must be tensors, got {type(input).__name__} and {type(target).__name__}")
    if not input.is_floating_point() or target.is_complex():
        raise TypeError(f"input must be floating-point and target real, got {input.dtype} and {target.dtype}")
    if target.shape != input.shape:
        raise ValueError(f"input and target must have one shape, got {tuple(input.shape)} and {tuple(target.shape)}")
    return target.to(input.dtype), input
'''

_CLASSWISE_ARGUMENTS = '''
def _arguments(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor, int]:
    """The target and the input, as floating-point tensors of one shape, and their class axis."""
    if not isinstance(input, Tensor) or not isinstance(target, Tensor):
        raise TypeError(f"input and target must be tensors, got {type(input).__name__} and {type(target).__name__}")
    if not input.is_floating_point() or target.is_complex():
        raise TypeError(f"input must be floating-point and target real, got {input.dtype} and {target.dtype}")
    if input.dim() == 0:
        raise ValueError("input must have the shape [C] or [N, C, ...], with C classes, got a scalar")
    dim = 1 if input.dim() > 1 else 0
    if target.shape == input.shape:
        return target.to(input.dtype), input, dim
'''

_SAME_SHAPE_ONLY = """
    raise ValueError(f"input and target must have one shape, got {tuple(input.shape)} and {tuple(target.shape)}")
"""

_CLASS_INDICES = """
    labels = input.shape[:dim] + input.shape[dim + 1 :]
    if target.shape != labels:
        raise ValueError(
            f"target must have the shape {tuple(labels)} (class indices) or {tuple(input.shape)} (one value a class)"
            f" for input {tuple(input.shape)}, got target {tuple(target.shape)}"
        )
    if target.is_floating_point() or target.dtype == torch.bool:
        raise TypeError(f"class indices must be integers, got {target.dtype}")
    onehot = torch.zeros_like(input).scatter(dim, target.to(torch.int64).unsqueeze(dim), 1.0)
    return onehot, input, dim
"""


def arguments(loss: Loss) -> str:
    """The function that checks and brings together input and target."""
    if loss.layout != CLASSWISE:
        return _ELEMENTWISE_ARGUMENTS.strip("\n")
    takes_labels = loss.y in ("onehot", "prob")
    return _CLASSWISE_ARGUMENTS.strip("\n") + (_CLASS_INDICES if takes_labels else _SAME_SHAPE_ONLY).rstrip("\n")


def checks(loss: Loss, names: Names) -> str:
    """The function that refuses hyper-parameters outside their role; empty if there are none."""
    if not loss.params:
        return ""
    lines: list[str] = []
    for p in loss.params:
        name = names.hyperparameters[p.name]
        lines.append(f"if not {_test(p, name)}:")
        message = f'f"{name} must be {_wanted(p)}, got {{{name}}}"'
        lines.extend(call_line("raise ValueError", [message], by=4, within=4).split("\n"))
    values = [f"{names.hyperparameters[p.name]}: float" for p in loss.params]
    doc = '    """Raise ValueError for a hyper-parameter that its role does not allow."""'
    return "\n".join([signature("_check", values, "None"), doc, indent(lines)])


def _test(p: Parameter, name: str) -> str:
    bound = ROLES[p.role].range
    if bound.lo > 0:
        return f"0.0 < {name} < math.inf"
    low = repr(bound.lo) if bound.lo > float("-inf") else "-math.inf"
    high = repr(bound.hi) if bound.hi < float("inf") else "math.inf"
    return f"{low} {'<' if 'inf' in low else '<='} {name} {'<' if 'inf' in high else '<='} {high}"


def _wanted(p: Parameter) -> str:
    bound = ROLES[p.role].range
    return f"{ROLES[p.role].doc}{' and finite' if bound.hi == float('inf') and bound.lo >= 0 else ''}"


def reduce_function() -> str:
    """The text of `_reduce`, which every emitted file has."""
    return '''
def _reduce(loss: Tensor, reduction: str) -> Tensor:
    """The mean or the sum over the batch, or the loss itself for "none"."""
    if reduction == "mean":
        return torch.mean(loss)
    if reduction == "sum":
        return torch.sum(loss)
    if reduction == "none":
        return loss
    raise ValueError(f"{reduction} is not a valid value for reduction")
'''.strip("\n")


def keywords(loss: Loss, names: Names) -> list[str]:
    """The hyper-parameters as keyword-only arguments with their defaults."""
    if not loss.params:
        return []
    shown = []
    for p in loss.params:
        name = names.hyperparameters[p.name]
        shown.append(f"{name}: float" if p.default is None else f"{name}: float = {float(p.default)!r}")
    return ["*", *shown]


def function(loss: Loss, names: Names) -> str:
    """The functional twin."""
    values = list(names.hyperparameters.values())
    given = "y, {}, dim" if loss.layout == CLASSWISE else "y, {}"
    given = given.format(names.prediction)
    head = signature(
        names.function, ["input: Tensor", "target: Tensor", 'reduction: str = "mean"', *keywords(loss, names)], "Tensor"
    )
    return "\n".join([
        head,
        f'    """{shapes(loss, names)}',
        "",
        f"    See `{names.cls}`.",
        '    """',
        *([call_line("_check", values, by=4)] if values else []),
        f"    {given} = _arguments(input, target)",
        call_line("loss = _value", [*given.split(", "), *values], by=4),
        "    return _reduce(loss, reduction)",
    ])  # fmt: skip


def shapes(loss: Loss, names: Names) -> str:
    """One line for the docstrings: what the shapes are."""
    what = "Scores" if names.prediction == "z" else "Input"
    if loss.layout != CLASSWISE:
        return f"{what} [...] and target [...]; the loss is [...] if it is not reduced."
    labels = "class indices [N, ...] or rows [N, C, ...]" if loss.y in ("onehot", "prob") else "target [N, C, ...]"
    return f"{what} [N, C, ...], {labels}; the loss is [N, ...] if it is not reduced."


def module(loss: Loss, names: Names) -> str:
    """The `nn.Module`."""
    values = list(names.hyperparameters.values())
    init = signature("__init__", ["self", 'reduction: str = "mean"', *keywords(loss, names)], "None", by=4)
    passed = [f"{v}=self.{v}" for v in values]
    shown = ["reduction={self.reduction!r}", *(f"{v}={{self.{v}}}" for v in values)]
    return "\n".join([
        f"class {names.cls}(nn.Module):",
        f'    """{shapes(loss, names)}',
        "",
        indent(_module_doc(loss, names)),
        '    """',
        "",
        init,
        "        super().__init__()",
        '        if reduction not in ("mean", "sum", "none"):',
        '            raise ValueError(f"{reduction} is not a valid value for reduction")',
        *([call_line("_check", values, by=8)] if values else []),
        "        self.reduction = reduction",
        *(f"        self.{v} = float({v})" for v in values),
        "",
        "    def forward(self, input: Tensor, target: Tensor) -> Tensor:",
        call_line(f"return {names.function}", ["input", "target", "self.reduction", *passed], by=8),
        "",
        "    def extra_repr(self) -> str:",
        *_repr_lines(shown),
    ])  # fmt: skip


def _module_doc(loss: Loss, names: Names) -> list[str]:
    described = (f"{names.hyperparameters[p.name]}: {ROLES[p.role].doc}." for p in loss.params)
    lines = ["reduction: mean, sum or none.", *described]
    if loss.link == SOFTMAX:
        lines.append("The input is the scores before the softmax, as for nn.CrossEntropyLoss.")
    if loss.link == SIGMOID:
        lines.append("The input is the scores before the sigmoid, as for nn.BCEWithLogitsLoss.")
    return lines


def call_line(function: str, arguments: list[str], by: int = 0, within: int = 0, brackets: str = "()") -> str:
    """A call, one argument a line where it would be too long, as ruff has it; `within` is added around it later."""
    pad, left, right = " " * by, brackets[0], brackets[1]
    one = f"{pad}{function}{left}{', '.join(arguments)}{right}"
    if len(one) + within <= WIDTH:
        return one
    inner = f"{pad}    {', '.join(arguments)}"
    if (len(inner) + within <= WIDTH and brackets == "()") or len(arguments) == 1:
        return f"{pad}{function}{left}\n{inner}\n{pad}{right}"
    return "\n".join([f"{pad}{function}{left}", *(f"{pad}    {a}," for a in arguments), f"{pad}{right}"])


def _repr_lines(shown: list[str]) -> list[str]:
    one = f'        return f"{", ".join(shown)}"'
    if len(one) <= WIDTH:
        return [one]
    pieces = [f'            f"{s}, "' for s in shown[:-1]] + [f'            f"{shown[-1]}"']
    return ["        return (", *pieces, "        )"]
