"""Target "torch": a standalone file with an `nn.Module`, its functional twin and a self-test, that needs torch alone.

    >>> print(lossc.parse("(y - f)^2", name="mse").emit("torch"))

The file is a pure function of the loss: deterministic to the byte, typed, and formatted as `ruff format` leaves it.
"""

from __future__ import annotations

from lossc._version import __version__
from lossc.compiler.ir import Expr, const
from lossc.compiler.loss import CLASSWISE, Loss, varies
from lossc.compiler.targets import torch_text as text
from lossc.compiler.targets.golden import golden
from lossc.compiler.targets.kernel import Dialect, Kernel, build_kernel
from lossc.compiler.targets.options import DEFAULT, Options
from lossc.compiler.targets.pipeline import prepare
from lossc.compiler.targets.scalars import POWER_HELPER, constant_value
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
    held="torch.where({0} < 0.0, {1}.detach(), {1})",
    limits=("torch.where({0} < {1}, {1}, {0})", "torch.where({0} > {1}, {1}, {0})"),
)

lower_for_torch = prepare
"""The stages of a loss on its way to PyTorch: what `lossc compile --show-passes` shows."""


def emit(loss: Loss, *, selftest: bool = True, options: Options = DEFAULT) -> str:
    """The source text of a standalone PyTorch file for `loss`; with `selftest`, running the file checks it.

    Raises LossTypeError for a loss that is not well formed, that has learnable coefficients, or whose constants
    float64 cannot hold.
    """
    stages = prepare(loss, options)
    loss = stages.written
    names = names_of(loss)
    for p in loss.params:
        constant_value(const(p.default or 0))  # refuses what float64 cannot hold
    kernel = build_kernel(stages.guarded, _operands(names), TORCH)
    parts = [
        text.kernel_function(loss, names, _body(kernel, loss, stages.guarded.body, names)),
        POWER_HELPER.strip("\n") if "_power" in kernel.uses else "",
        text.arguments(loss),
        text.checks(loss, names),
        text.reduce_function(),
        text.function(loss, names),
        text.module(loss, names),
        f"Loss = {names.cls}",
        self_test(names, golden(loss)) if selftest else "",
    ]
    code = "\n\n\n".join(p for p in parts if p)
    head = [header(stages, names, __version__), text.imports(code), text.exports(names)]
    return "\n\n".join(head) + f"\n\n\n{code}\n"


def _operands(names: Names) -> dict[str, str]:
    return {"y": "y", "f": names.prediction, **names.hyperparameters}


def _body(kernel: Kernel, loss: Loss, body: Expr, names: Names) -> list[str]:
    """The lines of the kernel with the last ones: one value an element, or a sample, even where f does not enter."""
    f, lines, result = names.prediction, list(kernel.lines), kernel.result
    if "num_classes" in kernel.uses:
        lines.insert(0, f"num_classes = {f}.shape[dim]")
    if not kernel.reached:
        nothing = f"torch.sum({f}, dim=dim, keepdim=True)" if loss.reduces_itself else f
        lines.append(f"nothing = 0.0 * {nothing}  # the gradient of f exists, and is 0")
        lines.append(f"total = {result} + nothing")
        result = "total"
    if loss.reduces_itself:
        result = f"torch.squeeze({result}, dim)"
    elif loss.layout == CLASSWISE:
        spread = result if varies(body) else f"torch.broadcast_to({result}, {f}.shape)"
        result = f"torch.sum({spread}, dim=dim)"
    return [*lines, f"return {result}"]
