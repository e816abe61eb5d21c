"""Target "torch": a standalone file with an `nn.Module`, its functional twin and a self-test, that needs torch alone.

    >>> print(lossc.parse("(y - f)^2", name="mse").emit("torch"))

The file is a pure function of the loss: deterministic to the byte, typed, and formatted as `ruff format` leaves it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lossc._version import __version__
from lossc.compiler.analysis.dtypes import check_constants
from lossc.compiler.ir import const
from lossc.compiler.loss import CLASSWISE, Loss, varies
from lossc.compiler.targets import torch_call as call
from lossc.compiler.targets import torch_text as text
from lossc.compiler.targets.closed_form import closed_form, in_parts, value_only
from lossc.compiler.targets.golden import golden
from lossc.compiler.targets.inplace import fills, overwrite, shared
from lossc.compiler.targets.kernel import Dialect, Kernel, build_kernel
from lossc.compiler.targets.options import DEFAULT, Options
from lossc.compiler.targets.pipeline import Stages, prepare
from lossc.compiler.targets.scalars import POWER_HELPER, constant_value
from lossc.compiler.targets.target_form import OTHERS, target_form
from lossc.compiler.targets.torch_form import Form, form_of
from lossc.compiler.targets.torch_function import function, module
from lossc.compiler.targets.torch_fused import SELECT, fused
from lossc.compiler.targets.torch_header import header
from lossc.compiler.targets.torch_names import Names, names_of
from lossc.compiler.targets.torch_selftest import self_test

TORCH = Dialect(
    template="torch",
    numbers={
        **dict.fromkeys(("add", "sub", "mul", "div", "pow", "lt", "le", "gt", "ge", "eq", "ne", "xlogy"), None),
        "aq": (0,),
    },
    to_tensor="torch.full((), {0}, dtype={f}.dtype, device={f}.device)",
    spread="torch.broadcast_to({0}, {f}.shape)",
    held=(
        "torch.where({0} > 0.0, torch.where({0} > 0.0, {0}, 1.0) ** {1}, torch.where({0} > 0.0, 1.0, {0})"
        " ** {1}.detach())"
    ),
    limits=("torch.where({0} < {1}, {1}, {0})", "torch.where({0} > {1}, {1}, {0})"),
)

FUSED = replace(TORCH, preferred="fused")
"""The same for kernels that no gradient is taken of."""

lower_for_torch = prepare
"""The stages of a loss on its way to PyTorch: what `lossc compile --show-passes` shows."""


def emit(loss: Loss, *, selftest: bool = True, options: Options = DEFAULT) -> str:
    """The source text of a standalone PyTorch file for `loss`; with `selftest`, running the file checks it.

    Raises LossTypeError for a loss that is not well formed, that has learnable coefficients (L341), or whose constants
    float64 (L340) or the dtype of the options (L342) cannot hold.
    """
    stages = prepare(loss, options)
    loss = stages.written
    names = names_of(loss)
    for p in loss.params:
        constant_value(const(p.default or 0))  # refuses what float64 cannot hold
    if options.dtype is not None:
        check_constants(loss, stages.guarded, dtype=options.dtype)
    form = form_of(stages.lowered, loss, names, options)
    kernels, form = _kernels(stages, form, options)
    parts = [
        *kernels,
        POWER_HELPER.strip("\n") if any("_power(" in k for k in kernels) else "",
        SELECT if any("_select(" in k for k in kernels) else "",
        call.working(form),
        call.arguments(form),
        call.checks(loss, names),
        call.weights(form),
        call.reduce_function(),
        fused(form) if form.blocks else "",
        function(form),
        module(form),
        f"Loss = {names.cls}",
        self_test(names, golden(loss if options.eps == "none" else stages.protected)) if selftest else "",
    ]
    code = "\n\n\n".join(p for p in parts if p)
    head = [header(stages, names, __version__), text.imports(code), text.exports(names)]
    return "\n\n".join(head) + f"\n\n\n{code}\n"


def _kernels(stages: Stages, form: Form, options: Options) -> tuple[list[str], Form]:
    """The private functions that compute the loss, and the form with what they offer."""
    names = operands(form.names)
    kernel = build_kernel(stages.guarded, names, TORCH)
    slope = _slope_kernel(stages, names, options)
    functions = [text.kernel_function(form, value_lines(kernel, stages.guarded, form))]
    if slope:
        functions.append(text.slope_function(form, slope))
    target = target_form(stages.canonical) if form.labels and not options.literal else None
    if target is None:
        return functions, replace(form, fused=bool(slope))
    number = "margin" if target.margin else "score"
    named = {**names, "f": number, OTHERS: "others"}
    found = prepare(target.loss, options)
    value = build_kernel(found.guarded, named, TORCH)
    steep = _slope_kernel(found, named, options)
    form = replace(form, fused=bool(slope), target=number, target_fused=bool(steep))
    return [*functions, *text.target_functions(form, [*value.lines, f"return {value.result}"], steep)], form


def _slope_kernel(stages: Stages, names: Mapping[str, str], options: Options) -> list[str]:
    """The lines that compute the loss and its gradient together; none where that is not wanted, or does not win."""
    if options.fused is False or options.literal:
        return []
    slope = closed_form(stages)
    if slope is None:
        return []
    loss = stages.guarded
    body, slope = in_parts(value_only(loss.body)), in_parts(slope)
    kernel = build_kernel(loss.with_body(body), names, FUSED, slope)
    if (
        not all(kernel.tensors)
        or not kernel.reached
        or not (options.fused or _wins(kernel, loss.with_body(body), names))
    ):
        return []
    if loss.layout == CLASSWISE and not (varies(slope) and (varies(body) or loss.reduces_itself)):
        return []
    lines, (value, steep) = shared(kernel.lines, kernel.results)
    lines = [line.replace("torch.where(", "_select(") for line in lines]
    if "num_classes" in kernel.uses:
        lines.insert(0, f"num_classes = {names['f']}.shape[dim]")
    if loss.reduces_itself:
        last = f"torch.squeeze({value}, dim)"
    else:
        last = f"torch.sum({value}, dim=dim)" if loss.layout == CLASSWISE else value
    tensors = ["y", names["f"]]
    slant = steep if fills(lines, steep, tensors) else TORCH.spread.format(steep, f=names["f"])
    return [*overwrite(lines, [value, steep], tensors), f"return {last}, {slant}"]


def _wins(kernel: Kernel, loss: Loss, names: Mapping[str, str]) -> bool:
    """Whether loss and gradient together are less work than what autograd makes of the loss: about three times it."""
    alone = build_kernel(loss, names, FUSED)
    return len(kernel.lines) <= 3 * len(alone.lines)


def operands(names: Names) -> dict[str, str]:
    """The identifiers of y, f and the hyper-parameters."""
    return {"y": "y", "f": names.prediction, **names.hyperparameters}


def value_lines(kernel: Kernel, loss: Loss, form: Form) -> list[str]:
    """The lines of the kernel with the last ones: one value an element, or a sample, even where f does not enter."""
    f, lines, result = form.prediction, list(kernel.lines), kernel.result
    if "num_classes" in kernel.uses:
        lines.insert(0, f"num_classes = {f}.shape[dim]")
    if not kernel.reached:
        nothing = f"torch.sum({f}, dim=dim, keepdim=True)" if loss.reduces_itself else f
        lines.append(f"nothing = 0.0 * {nothing}  # the gradient of f exists, and is 0")
        lines.append(f"whole = {result} + nothing")
        result = "whole"
    if loss.reduces_itself:
        result = f"torch.squeeze({result}, dim)"
    elif loss.layout == CLASSWISE:
        spread = result if varies(loss.body) else f"torch.broadcast_to({result}, {f}.shape)"
        if form.class_weights and form.per_class:
            lines += [f"terms = {spread}", "if weight is not None:", "    terms = weight * terms"]
            spread = "terms"
        result = f"torch.sum({spread}, dim=dim)"
    return [*lines, f"return {result}"]
