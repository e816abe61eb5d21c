"""What a call of an emitted PyTorch loss takes, as text: arguments and their checks, weights of samples, the reduction.

The words and the semantics are torch's: `weight` (one a class), `ignore_index`, `label_smoothing`, `pos_weight`, and a
mean that divides by the sum of the weights. `sample_weight` weighs single samples or elements, or is a mask. What has
weight 0 leaves no trace, NaN included (docs/numerics.md, G15).
"""

from __future__ import annotations

from lossc.compiler.loss import Loss, Parameter
from lossc.compiler.roles import ROLES
from lossc.compiler.targets.torch_form import Form
from lossc.compiler.targets.torch_layout import call_line, indent, signature
from lossc.compiler.targets.torch_names import Names

_TYPES = """
    if not isinstance(input, Tensor) or not isinstance(target, Tensor):
        raise TypeError(f"input and target must be tensors, got {type(input).__name__} and {type(target).__name__}")
    if not input.is_floating_point() or target.is_complex():
        raise TypeError(f"input must be floating-point and target real, got {input.dtype} and {target.dtype}")
""".strip("\n")

_ONE_SHAPE = """
    raise ValueError(f"input and target must have one shape, got {tuple(input.shape)} and {tuple(target.shape)}")
"""

_ELEMENTWISE_ARGUMENTS = f'''
def _arguments(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The target and the input, as floating-point tensors of one shape."""
{_TYPES}
    if target.shape == input.shape:
        return target.to(input.dtype), input
{_ONE_SHAPE.strip(chr(10))}
'''

_CLASSWISE_ARGUMENTS = f'''
def _arguments(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor, int]:
    """{{what}}"""
{_TYPES}
    if input.dim() == 0:
        raise ValueError("input must have the shape [C] or [N, C, ...], with C classes, got a scalar")
    dim = 1 if input.dim() > 1 else 0
    if target.shape == input.shape:
        return target.to(input.dtype), input, dim
'''

_CLASS_INDICES = """
    labels = input.shape[:dim] + input.shape[dim + 1 :]
    if target.shape != labels:
        raise ValueError(
            f"target must have the shape {tuple(labels)} (class indices) or {tuple(input.shape)} (one value a class)"
            f" for input {tuple(input.shape)}, got target {tuple(target.shape)}"
        )
    if target.is_floating_point() or target.dtype == torch.bool:
        raise TypeError(f"class indices must be integers, got {target.dtype}")
    return target.to(torch.int64), input, dim
"""


def arguments(form: Form) -> str:
    """The function that checks and brings together input and target."""
    if not form.classwise:
        return _ELEMENTWISE_ARGUMENTS.strip("\n")
    what = "The target (one value a class, or class indices), the input, and its class axis."
    if not form.labels:
        what = "The target and the input, as floating-point tensors of one shape, and their class axis."
    text = _CLASSWISE_ARGUMENTS.strip("\n").replace("{what}", what)
    return text + (_CLASS_INDICES if form.labels else _ONE_SHAPE).rstrip("\n")


# -- hyper-parameters -------------------------------------------------------------------------------------------------


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


# -- dtypes -----------------------------------------------------------------------------------------------------------


def working(form: Form) -> str:
    """The function that says in which dtype the loss is computed."""
    if not form.upcast:
        return '''
def _working(input: Tensor) -> torch.dtype:
    """The dtype to compute in: that of the input, as this file was compiled for half precision."""
    return input.dtype
'''.strip("\n")
    return '''
def _working(input: Tensor) -> torch.dtype:
    """The dtype to compute in: half precision is computed in float32."""
    return torch.float32 if input.dtype in (torch.float16, torch.bfloat16) else input.dtype
'''.strip("\n")


# -- weights ----------------------------------------------------------------------------------------------------------

_ONEHOT = '''
def _onehot(y: Tensor, {f}: Tensor, dim: int, smoothing: float) -> Tensor:
    """The target as one value a class, smoothed: each class gets smoothing / C of it."""
    if y.shape != {f}.shape:
        if torch.compiler.is_compiling():  # a comparison fuses with what follows
            y = torch.movedim(y.unsqueeze(-1) == torch.arange({f}.shape[dim], device={f}.device), -1, dim)
        else:
            y = torch.zeros_like({f}).scatter(dim, y.unsqueeze(dim), 1.0)
    y = y.to({f}.dtype)
    return y if smoothing == 0.0 else y * (1.0 - smoothing) + smoothing / {f}.shape[dim]
'''

_ALONG = '''
def _along(weight: Tensor, {f}: Tensor, dim: int) -> Tensor:
    """One weight a class, in a shape that broadcasts along the class axis."""
    return weight.to(_working({f})).reshape([-1] + [1] * ({f}.dim() - dim - 1))
'''

_MASKED = '''
def _masked({f}: Tensor, weight: Tensor | None, dim: int) -> Tensor:
    """The input in the dtype to compute in, and harmless where a sample does not count."""
    if weight is not None:
        {f} = torch.where((weight != 0.0).unsqueeze(dim), {f}, 0.0)
    return {f}.to(_working({f}))
'''

_MARGIN = '''
def _margin(labels: Tensor, {f}: Tensor, dim: int) -> Tensor:
    """The target's score less the log-sum-exp of the others: softmax({f}) at the target is its sigmoid."""
    index, least = labels.unsqueeze(dim), torch.finfo({f}.dtype).min
    if torch.compiler.is_compiling():  # a comparison fuses with what follows
        hit = torch.movedim(labels.unsqueeze(-1) == torch.arange({f}.shape[dim], device={f}.device), -1, dim)
        others = torch.where(hit, least, {f})
    else:
        others = {f}.scatter(dim, index, least)
    return torch.squeeze(torch.gather({f}, dim, index), dim) - torch.logsumexp(others, dim=dim)
'''

_SCORE = '''
def _score(labels: Tensor, {f}: Tensor, dim: int) -> Tensor:
    """The input at the target."""
    return torch.squeeze(torch.gather({f}, dim, labels.unsqueeze(dim)), dim)
'''

_SAMPLE_WEIGHTS = '''
def _sample_weights(
    y: Tensor, {f}: Tensor, sample_weight: Tensor | None, weight: Tensor | None, ignore_index: int
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The target without ignored labels, the weight of each sample, and that times the weight of its class.

    None stands for weights of 1; rows of probabilities have no class of their own.
    """
    work = _working({f})
    rows = None if sample_weight is None else sample_weight.to(work)
    if y.shape == {f}.shape:
        if ignore_index >= 0:
            raise ValueError("ignore_index is for class indices, and the target has one value a class")
        return y, rows, rows
    used = y != ignore_index
    y = torch.where(used, y, 0)
    rows = used.to(work) if rows is None else torch.where(used, rows, 0.0)
    return y, rows, rows if weight is None else rows * weight.to(work)[y]
'''


def weights(form: Form) -> str:
    """The functions that make one-hot rows, margins and weights of samples; empty for an elementwise loss."""
    parts = [_MASKED] if form.classwise else []
    if form.class_weights:
        parts.append(_ALONG)
    if form.labels:
        parts += [_ONEHOT, _SAMPLE_WEIGHTS]
    if form.target:
        parts.append(_MARGIN if form.target == "margin" else _SCORE)
    return "\n\n\n".join(p.strip("\n").replace("{f}", form.prediction) for p in parts)


def reduce_function() -> str:
    """The text of `_reduce`, which every emitted file has."""
    return '''
def _reduce(loss: Tensor, weight: Tensor | None, total: Tensor | None, reduction: str) -> Tensor:
    """The weighted mean or sum over the batch, or each weighted loss for "none"; a weight of 0 hides even a NaN."""
    if weight is not None:
        loss = torch.where(weight != 0.0, weight * loss, 0.0)
    if reduction == "mean":
        return torch.mean(loss) if total is None else torch.sum(loss) / total
    if reduction == "sum":
        return torch.sum(loss)
    if reduction == "none":
        return loss
    raise ValueError(f"{reduction} is not a valid value for reduction")
'''.strip("\n")
