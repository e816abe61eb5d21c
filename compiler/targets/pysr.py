"""Target "pysr": a loss as the Julia text that PySR and SymbolicRegression.jl take as `elementwise_loss`.

    model = PySRRegressor(elementwise_loss=lossc.parse("log(cosh(y - f))").emit("pysr"))

It is one function of a prediction and a target (and a weight, with `weighted=True`: for a `fit` with weights), whose
hyper-parameters are numbers. It computes in the type of its arguments, so a search in Float32 stays in Float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lossc._version import __version__
from lossc.compiler import ops
from lossc.compiler.errors import LossTypeError, UsageError
from lossc.compiler.ir import const, param, postorder, substitute
from lossc.compiler.loss import Loss
from lossc.compiler.ops.forms.julia import KEY, SPECIAL
from lossc.compiler.targets.closed_form import value_only
from lossc.compiler.targets.fallback import support_of, without
from lossc.compiler.targets.julia import lines_of, mentions, pointwise
from lossc.compiler.targets.options import DEFAULT, Options
from lossc.compiler.targets.pipeline import prepare
from lossc.compiler.targets.torch_header import about


def emit(loss: Loss, *, weighted: bool = False, options: Options = DEFAULT) -> str:
    """The text of one Julia function, `loss(prediction, target)`.

    Raises UsageError (L242) for a hyper-parameter without a default; LossTypeError: L345 for a loss over the classes,
    and for functions that are not Julia's own (erf, lgamma and their kin), L341 for learnable coefficients.
    """
    pointwise(loss, "pysr")
    for p in loss.params:
        if p.default is None:
            hint = f"give it one: --param {p.name}=1.0, or `loss.with_defaults({p.name}=1.0)`"
            raise UsageError("L242", f"`{p.name}` needs a value: the text has no hyper-parameters", hint=hint)
    fixed = {param(p.name): const(p.default) for p in loss.params if p.default is not None}
    stages = prepare(replace(loss, body=substitute(loss.body, fixed), params=()), options)
    (value,) = without(KEY, value_only(stages.guarded.body))
    for here in postorder(value):
        if here.op in SPECIAL:
            raise LossTypeError(
                "L345",
                f"`{here.op}` is a function of SpecialFunctions.jl, which the text of a loss cannot import",
                expected="operators that `lossc targets` shows for pysr",
                hint="export it with the target julia, and define it where PySR runs",
            )
    body = lines_of(stages.guarded, {}, value)
    head = about(stages, "loss", {}, __version__, [(p.name, repr(float(p.default or 0))) for p in loss.params])
    given = [f"{n} = T({a})" for n, a in (("f", "prediction"), ("y", "target")) if mentions("\n".join(body), n)]
    *lines, result = body
    lines = [
        "T = float(promote_type(typeof(prediction), typeof(target)))",
        *given,
        *lines,
        f"weight * {result}" if weighted else result,
    ]
    arguments = "prediction, target, weight" if weighted else "prediction, target"
    comments = [f"# {line}".rstrip() for line in head]
    return "\n".join([f"function loss({arguments})", *(f"    {c}" for c in (*comments, *lines)), "end"]) + "\n"


def lacking() -> Mapping[str, str]:
    """The operators that the text cannot have: those along the class axis, and those of SpecialFunctions.jl."""
    missing = {r.name: "no form in Julia" for r in ops.OPS.values() if support_of(KEY, r.name) == "none"}
    return missing | dict.fromkeys(SPECIAL, "a function of SpecialFunctions.jl")
