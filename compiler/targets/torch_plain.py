"""PyTorch as plain functions: what the targets "torch-function", "lightning" and "huggingface" have in common.

The kernel is the one of the target "torch" (`kernel.py`). Around it there are functions and nothing else: no autograd
function, no module, no state, so that TorchScript, torch.compile, torch.export and torch.func take them as they are.

    focal_loss(input, target, gamma=2.0, reduction="mean", ignore_index=-100)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lossc._version import __version__
from lossc.compiler.analysis.dtypes import check_constants
from lossc.compiler.ir import const
from lossc.compiler.loss import Loss
from lossc.compiler.targets import torch_text as text
from lossc.compiler.targets.golden import Golden, golden
from lossc.compiler.targets.kernel import build_kernel
from lossc.compiler.targets.options import DEFAULT, Options
from lossc.compiler.targets.pipeline import prepare
from lossc.compiler.targets.scalars import POWER_HELPER, constant_value
from lossc.compiler.targets.target_form import OTHERS, target_form
from lossc.compiler.targets.torch import TORCH, operands, value_lines
from lossc.compiler.targets.torch_call import checks
from lossc.compiler.targets.torch_form import Form, form_of
from lossc.compiler.targets.torch_function import shapes
from lossc.compiler.targets.torch_header import about
from lossc.compiler.targets.torch_layout import call_line, indent, signature
from lossc.compiler.targets.torch_names import names_of
from lossc.compiler.targets.torch_selftest import EXPECT, assignment

_WORK = "torch.promote_types(input.dtype, torch.float32)"

_REDUCE = '''
def _reduce(loss: Tensor, reduction: str) -> Tensor:
    """The mean or the sum over the batch, or each loss for "none"."""
    if reduction == "mean":
        return torch.mean(loss)
    if reduction == "sum":
        return torch.sum(loss)
    if reduction != "none":
        raise ValueError("reduction must be mean, sum or none")
    return loss
'''

_MARGIN = '''
def _margin(labels: Tensor, {f}: Tensor, dim: int) -> Tensor:
    """The target's score less the log-sum-exp of the others: softmax({f}) at the target is its sigmoid."""
    index = labels.unsqueeze(dim)
    others = {f}.scatter(dim, index, -math.inf)
    return torch.squeeze(torch.gather({f}, dim, index), dim) - torch.logsumexp(others, dim=dim)
'''

_SCORE = '''
def _score(labels: Tensor, {f}: Tensor, dim: int) -> Tensor:
    """The input at the target."""
    return torch.squeeze(torch.gather({f}, dim, labels.unsqueeze(dim)), dim)
'''


@dataclass(frozen=True, slots=True)
class Plain:
    """The parts of a file: what the loss is, its head, and the text of its functions."""

    form: Form
    head: list[str]
    functions: list[str]
    golden: Golden

    @property
    def name(self) -> str:
        return self.form.names.function

    @property
    def settings(self) -> list[str]:
        """The hyper-parameters of the golden values as keyword arguments."""
        names = self.form.names.hyperparameters
        return [f"{names[n]}={v!r}" for n, v in self.golden.hyperparameters.items()]


def hyperparameters(form: Form) -> list[str]:
    """The hyper-parameters as arguments, those without a default first: `gamma: float = 2.0`."""
    ordered = sorted(form.loss.params, key=lambda p: p.default is not None)
    names = form.names.hyperparameters
    return [f"{names[p.name]}: float" + ("" if p.default is None else f" = {float(p.default)!r}") for p in ordered]


def plain(loss: Loss, options: Options = DEFAULT) -> Plain:
    """The functions of a loss. Raises LossTypeError as the target "torch" does (L340, L341, L342)."""
    stages = prepare(loss, options)
    loss = stages.written
    names = names_of(loss)
    for p in loss.params:
        constant_value(const(p.default or 0))  # refuses what float64 cannot hold
    if options.dtype is not None:
        check_constants(loss, stages.guarded, dtype=options.dtype)
    form = replace(form_of(stages.lowered, loss, names, options), per_class=False)
    kernel = build_kernel(stages.guarded, operands(names), TORCH)
    functions = [text.kernel_function(form, value_lines(kernel, stages.guarded, form))]
    target = target_form(stages.canonical) if form.labels and not options.literal else None
    if target is not None:
        form = replace(form, target="margin" if target.margin else "score")
        found = prepare(target.loss, options)
        at_target = build_kernel(found.guarded, {**operands(names), "f": form.target, OTHERS: "others"}, TORCH)
        functions += text.target_functions(form, [*at_target.lines, f"return {at_target.result}"], [])
        helper = _MARGIN if target.margin else _SCORE
        functions.append(helper.strip("\n").replace("{f}", form.prediction))
    if any("_power(" in f for f in functions):
        functions.insert(0, POWER_HELPER.strip("\n"))
    functions += [checks(loss, names), _REDUCE.strip("\n"), _function(form)]
    expected = golden(loss if options.eps == "none" else stages.protected)
    head = about(stages, names.function, names.hyperparameters, __version__)
    return Plain(form, head, [f for f in functions if f], expected)


def assembled(file: Plain, imports: list[str], exported: list[str], more: list[str], selftest: list[str]) -> str:
    """The whole file: head, imports, names, functions, what else there is, and the self-test (none if empty)."""
    code = [*file.functions, *more, *([_self_test(file, selftest)] if selftest else [])]
    body = "\n\n\n".join(code)
    standard = ["import math"] if "math." in body else []
    lines = ["from __future__ import annotations", "", *standard, *(i for i in imports if i.startswith("from typing"))]
    lines += [*([""] if lines[-1] else []), "import torch", *(i for i in imports if not i.startswith("from typing"))]
    listed = call_line("__all__ = ", [f'"{n}"' for n in sorted(exported)], brackets="[]")
    head = "\n".join(['"""' + file.head[0], *file.head[1:], '"""'])
    return "\n\n".join([head, "\n".join(lines), listed]) + f"\n\n\n{body}\n"


# -- the function -----------------------------------------------------------------------------------------------------


def _function(form: Form) -> str:
    """The function itself: elementwise, with class indices, or with rows only."""
    arguments = ["input: Tensor", "target: Tensor", *hyperparameters(form), 'reduction: str = "mean"']
    arguments += ["ignore_index: int = -100"] if form.labels else []
    doc = [
        shapes(form),
        "",
        "reduction: mean, sum or none. Half precision is computed, and the loss returned, in float32.",
        *(["ignore_index: a class index whose samples count nothing."] if form.labels else []),
    ]
    lines = [
        signature(form.names.function, arguments, "Tensor"),
        indent(['"""' + doc[0], *doc[1:], '"""']),
        *([f"    _check({', '.join(form.values)})"] if form.values else []),
        *(indent(_labelled(form) if form.labels else _rows(form)).split("\n")),
    ]
    return "\n".join(lines)


def _rows(form: Form) -> list[str]:
    f = form.prediction
    dim = ["dim"] if form.classwise else []
    return [
        "if input.shape != target.shape:",
        '    raise ValueError("input and target must have one shape")',
        *(["dim = 1 if input.dim() > 1 else 0"] if form.classwise else []),
        f"{f} = input.to({_WORK})",
        call_line("return _reduce", [_call("_value", [f"target.to({f}.dtype)", f, *dim, *form.values]), "reduction"]),
    ]


def _call(name: str, arguments: list[str]) -> str:
    return f"{name}({', '.join(arguments)})"


def _labelled(form: Form) -> list[str]:
    f = form.prediction
    value = _call("_value", ["y", f, "dim", *form.values])
    dense = [
        f"y = torch.zeros_like({f}).scatter(dim, labels.unsqueeze(dim), 1.0)",
        f"loss = {value}",
    ]
    found = dense
    if form.target:
        margin = _call(f"_{form.target}", ["labels", f, "dim"])
        at_target = _call("_target_value", [margin, f"{f}.shape[dim] - 1.0", *form.values])
        found = [f"if {f}.shape[dim] > 1:", f"    loss = {at_target}", "else:", *(f"    {line}" for line in dense)]
    return [
        "dim = 1 if input.dim() > 1 else 0",
        f"{f} = input.to({_WORK})",
        "if target.shape == input.shape:",
        f"    y = target.to({f}.dtype)",
        f"    return _reduce({value}, reduction)",
        "if target.is_floating_point() or target.shape != input.shape[:dim] + input.shape[dim + 1 :]:",
        '    raise ValueError("target must be class indices [N, ...] or rows of the shape of the input [N, C, ...]")',
        "used = target != ignore_index",
        "labels = torch.where(used, target, 0).to(torch.int64)",
        f"{f} = torch.where(used.unsqueeze(dim), {f}, 0.0)",
        *found,
        "loss = torch.where(used, loss, 0.0)",
        'if reduction == "mean":',
        "    return torch.sum(loss) / torch.sum(used)",
        "return _reduce(loss, reduction)",
    ]


# -- the self-test ----------------------------------------------------------------------------------------------------


def _self_test(file: Plain, body: list[str]) -> str:
    """The code of `_self_test`: `body` has `inputs`, `targets`, `values`, `gradients` and `labels` to compare with."""
    found, f = file.golden, file.form.prediction
    main = ["", "", 'if __name__ == "__main__":', "    _self_test()"]
    if not found.values:
        lines = ['"""Nothing to compare: the loss is defined at no point tried."""', 'print("ok: nothing to compare")']
        return "\n".join(["def _self_test() -> None:", indent(lines), *main])
    lines = [
        '"""Compare with values and gradients that the reference interpreter of lossc found with 50 digits."""',
        *assignment("inputs", found.inputs),
        *assignment("targets", found.targets),
        *assignment("values", found.values),
        *assignment("gradients", found.gradients),
        "y = torch.tensor(targets, dtype=torch.float64)",
        f"{f} = torch.tensor(inputs, dtype=torch.float64, requires_grad=True)",
        *body,
        f'print("ok: {file.name}: {len(found.values)} values and gradients equal the reference to 1e-9")',
    ]
    return "\n".join([EXPECT.strip("\n"), "", "", "def _self_test() -> None:", indent(lines), *main])


def compared(file: Plain, call: list[str]) -> list[str]:
    """The lines of a self-test; `call` is the body of a function of `input`, `target` and `reduction`."""
    f = file.form.prediction
    lines = [
        "",
        "def call(input: Tensor, target: Tensor, reduction: str) -> Tensor:",
        *indent(call).split("\n"),
        "",
        f'loss = call({f}, y, "none")',
        f"(slope,) = torch.autograd.grad(loss.sum(), {f})",
        '_expect("values", loss, values, 1e-9)',
        '_expect("gradients", slope, gradients, 1e-9)',
        f'_expect("mean", call({f}, y, "mean"), sum(values) / len(values), 1e-9)',
        f'_expect("float32", call({f}.detach().float(), y.float(), "none"), values, 1e-2)',
    ]
    if file.golden.labels:
        lines += [
            f"labels = torch.tensor({list(file.golden.labels)})",
            f'_expect("class indices", call({f}, labels, "none"), values, 1e-9)',
        ]
    return lines


def called(file: Plain) -> list[str]:
    """The body for `compared` that calls the function."""
    given = ["input", "target", *file.settings, "reduction=reduction"]
    return call_line(f"return {file.name}", given, within=8).split("\n")
