"""The ONNX model of a loss: value, gradient and Hessian diagonal as one graph, from the closed forms.

    model = loss.emit("onnx")                                       # bytes: write them to loss.onnx
    session = onnxruntime.InferenceSession(model)
    value, slope = session.run(None, {"prediction": f, "target": y})

Inputs are `prediction` (`scores` where a link is applied) and `target`, or `labels` for losses of class indices; all
axes are symbolic, classes are on axis 1. Outputs are `loss` (reduced as ONNX's own losses name it) and `gradient`, that
of the `loss` output in the prediction; with `hessian`, its second derivatives. Hyper-parameters are initialisers,
or, with `parameters="inputs"`, inputs with a default. Opset 18, IR version 8: any ONNX Runtime since 1.14 loads it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from lossc._version import __version__
from lossc.compiler.analysis.dtypes import check_constants
from lossc.compiler.errors import LossTypeError, UsageError
from lossc.compiler.ir import ARG, Expr, leaves
from lossc.compiler.loss import CLASSWISE, IDENTITY, SIGMOID, SOFTMAX, Loss, varies
from lossc.compiler.printing import to_text
from lossc.compiler.targets.derivatives import Roots, roots
from lossc.compiler.targets.golden import golden
from lossc.compiler.targets.identifiers import identifiers, words_of
from lossc.compiler.targets.onnx.graph import KINDS, Graph
from lossc.compiler.targets.onnx.proto import INT64, Model, Value
from lossc.compiler.targets.options import DEFAULT, Options
from lossc.compiler.targets.printer import Syntax, build
from lossc.compiler.targets.scalars import literal

OPSET, IR_VERSION = 18, 8
KEYS = {"float32": "onnx", "float64": "onnx-double"}
REDUCTIONS = ("mean", "sum", "none")
_OWN = {"prediction", "scores", "target", "labels", "loss", "gradient", "hessian", "axis", "num_classes"}
_AXES = ("C", "D1", "D2", "D3")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """What the model is called for: see `emit`."""

    dtype: str
    reduction: str
    labels: bool
    overridable: bool
    rank: int
    classwise: bool
    linked: bool

    @property
    def prediction(self) -> str:
        return "scores" if self.linked else "prediction"

    @property
    def target(self) -> str:
        return "labels" if self.labels else "target"

    @property
    def shape(self) -> tuple[str, ...]:
        """The axes of the prediction."""
        return ("N", *(_AXES if self.classwise else _AXES[1:])[: self.rank - 1])

    @property
    def samples(self) -> tuple[str, ...]:
        """The axes of the losses before they are reduced."""
        return tuple(a for a in self.shape if a != "C")


def emit(
    loss: Loss, *, dtype: str = "float32", reduction: str = "mean", gradient: bool = True, hessian: bool = False,
    labels: bool | None = None, parameters: str = "constants", rank: int | None = None, options: Options = DEFAULT,
) -> bytes:  # fmt: skip
    """The bytes of an ONNX model of the loss; the same bytes for the same loss and options.

    dtype       "float32" or "float64", of all real inputs and outputs
    reduction   "mean" (over the samples), "sum" or "none"
    gradient    whether there is an output `gradient`; `hessian` likewise, the diagonal
    labels      whether the target is class indices (int64) instead of one row over the classes; the default is yes for
                `y: onehot`
    parameters  "constants", or "inputs" for hyper-parameters that the caller may set; one without a default is an input
    rank        the number of axes of the prediction: 1 by default, 2 for a loss over classes

    Raises UsageError (L241, L245) for an option that cannot be; LossTypeError for a loss that ONNX cannot express:
    L345 for an operator, L340 and L342 for a constant, L310 for one without a derivative, L341 for coefficients.
    """
    form = _form(loss, dtype, reduction, labels, parameters, rank, options)
    found = roots(loss, KEYS[dtype], options)
    _check_constants(found, dtype)
    names = identifiers((p.name for p in loss.params), _OWN)
    graph = Graph(dtype, {*_OWN, *names.values()})
    for p in loss.params:
        if p.default is not None:
            graph.parameter(names[p.name], float(p.default))
    wanted = [found.value, *([found.gradient] if gradient else []), *([found.hessian] if hessian else [])]
    outputs = _outputs(graph, form, found, names, wanted, ["loss", *["gradient"] * gradient, *["hessian"] * hessian])
    used = {name for node in graph.nodes for name in node.inputs}
    for name in set(names.values()) - used:  # a runtime warns of initialisers without a use
        graph.initializers.pop(name, None)
    given = [p for p in loss.params if names[p.name] in used and (form.overridable or p.default is None)]
    inputs = [
        Value(form.prediction, graph.kind, form.shape, _prediction_doc(loss)),
        Value(form.target, *((INT64, form.samples) if form.labels else (graph.kind, form.shape)), f"{loss.y}"),
        *(Value(names[p.name], graph.kind, (), f"hyper-parameter, {p.role}") for p in given),
    ]
    return Model(
        name="_".join(words_of(loss.name)), doc=_doc(loss), nodes=graph.nodes,
        initializers=list(graph.initializers.values()), inputs=inputs, outputs=outputs, opset=OPSET,
        ir_version=IR_VERSION, producer="lossc", version=__version__, metadata=_metadata(loss, found, form),
    ).serialize()  # fmt: skip


def _check_constants(found: Roots, dtype: str) -> None:
    """Refuse what the dtype cannot hold (L342), and say how the other one is asked for."""
    try:
        check_constants(found.stages.written, found.stages.guarded, dtype=dtype)
    except LossTypeError as problem:
        if dtype == "float32":
            hint = 'emit the model with dtype="float64" (`lossc export --option dtype=float64`)'
            problem.diagnostic = replace(problem.diagnostic, hint=hint)
        raise


def _form(
    loss: Loss, dtype: str, reduction: str, labels: bool | None, parameters: str, rank: int | None, options: Options
) -> _Form:
    classwise = loss.layout == CLASSWISE
    _one_of("dtype", dtype, tuple(KINDS), "L245")
    _one_of("reduction", reduction, REDUCTIONS, "L241")
    _one_of("parameters", parameters, ("constants", "inputs"), "L245")
    if labels and loss.y != "onehot":
        raise UsageError("L245", f"labels are for losses with `y: onehot`, not `y: {loss.y}`")
    least, most = (2, len(_AXES) + 1) if classwise else (1, len(_AXES))
    if rank is not None and not least <= rank <= most:
        raise UsageError("L245", f"a model of this loss has predictions of {least} to {most} axes, not {rank}")
    return _Form(
        dtype=dtype, reduction=reduction, labels=loss.y == "onehot" if labels is None else labels,
        overridable=parameters == "inputs", rank=rank or least, classwise=classwise,
        linked=loss.link != IDENTITY and options.from_logits,
    )  # fmt: skip


def _one_of(what: str, value: str, known: tuple[str, ...], code: str) -> None:
    if value not in known:
        raise UsageError(code, f"`{value}` is not a {what} of an ONNX model", expected="one of: " + ", ".join(known))


# -- the graph --------------------------------------------------------------------------------------------------------


def _outputs(
    graph: Graph, form: _Form, found: Roots, names: dict[str, str], wanted: list[Expr], called: list[str]
) -> list[Value]:
    """Add the program and what reduces its values; the model's outputs."""
    syntax = Syntax(key=KEYS[form.dtype], number=literal, comment="")
    program = build(found.loss, syntax, {"y": "y", "f": "f", **names}, *wanted)
    given = {"f": form.prediction, "y": _dense(graph, form), **{n: n for n in names.values()}}
    if form.classwise:
        given["axis"] = graph.integers(1)
    if "num_classes" in program.uses:
        given["num_classes"] = graph.cast(_count(graph, form))
    where = graph.run(program.lines, given)
    held = [graph.operand(text, where) for text in program.results]
    losses = _samples(graph, form, wanted[0], held[0])
    out = [_reduced(graph, form, losses)]
    for root, value in zip(wanted[1:], held[1:], strict=True):
        whole = value if _full(root, form) else graph.add("Expand", value, graph.add("Shape", form.prediction))
        out.append(graph.add("Div", whole, _size(graph, losses)) if form.reduction == "mean" else whole)
    for name, value in zip(called, out, strict=True):
        graph.named(value, name)
    shapes = [form.samples if form.reduction == "none" else (), *[form.shape] * len(wanted)]
    return [Value(name, graph.kind, shape) for name, shape in zip(called, shapes, strict=False)]


def _dense(graph: Graph, form: _Form) -> str:
    """The target with a number for each number of the prediction."""
    if not form.labels:
        return form.target
    hot = graph.add("OneHot", form.target, _count(graph, form), _levels(graph), axis=1)
    return graph.cast(hot)


def _levels(graph: Graph) -> str:
    return graph.integers(0, 1)


def _count(graph: Graph, form: _Form) -> str:
    """The number of classes, a whole number."""
    return graph.add("Gather", graph.add("Shape", form.prediction), graph.integers(1, scalar=True))


def _full(root: Expr, form: _Form) -> bool:
    """Whether the value has the shape of the prediction already."""
    return varies(root) if form.classwise else bool(leaves(root, ARG))


def _samples(graph: Graph, form: _Form, root: Expr, value: str) -> str:
    """The loss of each sample: summed over the classes, unless the formula has done so."""
    if not form.classwise:
        return value if _full(root, form) else graph.add("Expand", value, graph.add("Shape", form.prediction))
    axis = graph.integers(1)
    if varies(root):
        return graph.add("ReduceSum", value, axis, keepdims=0)
    column = graph.add("Shape", graph.add("ReduceMax", form.prediction, axis, keepdims=1))
    return graph.add("Squeeze", graph.add("Expand", value, column), axis)


def _reduced(graph: Graph, form: _Form, losses: str) -> str:
    if form.reduction == "none":
        return losses
    return graph.add("ReduceMean" if form.reduction == "mean" else "ReduceSum", losses, keepdims=0)


def _size(graph: Graph, losses: str) -> str:
    return graph.cast(graph.add("Size", losses))


# -- what it says of itself -------------------------------------------------------------------------------------------


def _prediction_doc(loss: Loss) -> str:
    if loss.link == SOFTMAX:
        return "scores: f = softmax(scores) over axis 1"
    return "scores: f = sigmoid(scores)" if loss.link == SIGMOID else loss.f


def _doc(loss: Loss) -> str:
    return "\n".join([loss.doc.strip() or f"The loss {loss.name}.", *([f"Source: {loss.source}"] * bool(loss.source))])


def _metadata(loss: Loss, found: Roots, form: _Form) -> dict[str, str]:
    """Provenance, and the golden values of the self-test (`lossc.compiler.targets.onnx.selftest`)."""
    points = golden(loss)
    test = {
        "hyperparameters": points.hyperparameters, "inputs": points.inputs, "targets": points.targets,
        "values": points.values, "gradients": points.gradients, "labels": points.labels,
        "reduction": form.reduction,
    }  # fmt: skip
    return {
        "formula": to_text(loss.body),
        "definition": loss.definition(),
        "canonical": found.stages.canonical.body.digest.hex(),
        "lossc": __version__,
        "self_test": json.dumps(test, sort_keys=True),
    }
