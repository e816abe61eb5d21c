"""What an emitted PyTorch file offers, decided once: which arguments a call takes, and which kernels there are."""

from __future__ import annotations

from dataclasses import dataclass

from lossc.compiler import ops
from lossc.compiler.ir import ARG, Expr, Y, postorder
from lossc.compiler.loss import CLASSWISE, Loss, varies
from lossc.compiler.targets.options import Options
from lossc.compiler.targets.torch_names import Names


@dataclass(frozen=True, slots=True)
class Form:
    """The shape of an emitted file.

    classwise    input [N, C, ...] with classes on axis 1; else input and target have one shape
    labels       the target may be class indices; class weights, ignore_index and label_smoothing are offered
    binary       the target is 0 or 1 at each element; pos_weight and label_smoothing are offered
    per_class    a class weight multiplies the term of its class, as torch has it; else the samples of that class
    fused        there is a gradient in closed form, evaluated block by block
    target       how class indices need the prediction at the target only: its "margin", its "score", or "" if not so
    target_fused that has a gradient in closed form
    upcast       half precision is computed in float32
    """

    loss: Loss
    names: Names
    classwise: bool
    labels: bool
    binary: bool
    per_class: bool
    fused: bool
    target: str
    target_fused: bool
    upcast: bool

    @property
    def prediction(self) -> str:
        return self.names.prediction

    @property
    def values(self) -> list[str]:
        """The identifiers of the hyper-parameters."""
        return list(self.names.hyperparameters.values())

    @property
    def blocks(self) -> bool:
        """Whether anything is evaluated block by block."""
        return self.fused or self.target_fused

    @property
    def typed_values(self) -> list[str]:
        """The hyper-parameters as arguments of a private function."""
        return [f"{v}: float" for v in self.values]

    @property
    def class_weights(self) -> bool:
        """Whether a weight for each class is offered."""
        return self.classwise and (self.labels or (self.per_class and self.loss.y == "binary"))


def form_of(lowered: Loss, loss: Loss, names: Names, options: Options) -> Form:
    """What the file of a loss offers, its kernels aside; `lowered` is the loss on its way to code, after its link."""
    classwise = loss.layout == CLASSWISE
    return Form(
        loss=loss,
        names=names,
        classwise=classwise,
        labels=classwise and loss.y in ("onehot", "prob"),
        binary=not classwise and loss.y == "binary",
        per_class=classwise and weighs_terms(lowered),
        fused=False,
        target="",
        target_fused=False,
        upcast=options.dtype not in ("float16", "bfloat16"),
    )


def weighs_terms(loss: Loss) -> bool:
    """Whether the loss is a sum over the classes of terms that are affine in their own y: -Σ_c y_c log f_c and its kin.

    Only then does it mean something to weigh the terms of a sample by the weights of their classes, as
    torch.nn.CrossEntropyLoss does for soft and for smoothed targets.
    """
    inner = [n for n in postorder(loss.body) if n.op in ops.OPS and ops.OPS[n.op].axis in (ops.REDUCE, ops.MAP)]
    return varies(loss.body) and not any(Y in postorder(n) for n in inner) and _affine(loss.body)


def _affine(body: Expr) -> bool:
    """Whether y enters by sums, and by products with what does not hold y, only."""
    degree: dict[Expr, int] = {}
    for here in postorder(body):
        inner = [degree[a] for a in here.args]
        if here.op == ARG:
            degree[here] = int(here is Y)
        elif not any(inner):
            degree[here] = 0
        elif here.op in ("add", "sub", "neg"):
            degree[here] = max(inner)
        elif here.op == "mul":
            degree[here] = sum(inner)
        elif here.op == "div" and not inner[1]:
            degree[here] = inner[0]
        else:
            degree[here] = 2
    return degree[body] <= 1
