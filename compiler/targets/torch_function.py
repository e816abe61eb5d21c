"""The public face of an emitted PyTorch file, as text: the function, and the module that calls it."""

from __future__ import annotations

from lossc.compiler.loss import SIGMOID, SOFTMAX
from lossc.compiler.roles import ROLES
from lossc.compiler.targets.torch_form import Form
from lossc.compiler.targets.torch_layout import WIDTH, call_line, indent, signature


def keywords(form: Form, *, of_module: bool = False) -> list[str]:
    """The keyword-only arguments with their defaults: torch's own, then the hyper-parameters."""
    shown = []
    if form.class_weights:
        shown.append("weight: Tensor | None = None")
    if form.binary:
        shown.append("pos_weight: Tensor | None = None")
    if not of_module:
        shown.append("sample_weight: Tensor | None = None")
    if form.labels:
        shown.append("ignore_index: int = -100")
    if form.labels or form.binary:
        shown.append("label_smoothing: float = 0.0")
    for p in form.loss.params:
        name = form.names.hyperparameters[p.name]
        shown.append(f"{name}: float" if p.default is None else f"{name}: float = {float(p.default)!r}")
    return ["*", *shown] if shown else []


def function(form: Form) -> str:
    """The functional form."""
    given = ["input: Tensor", "target: Tensor", 'reduction: str = "mean"', *keywords(form)]
    lines = [
        signature(form.names.function, given, "Tensor"),
        f'    """{shapes(form)}',
        "",
        f"    See `{form.names.cls}`.",
        '    """',
        *([call_line("_check", form.values, by=4)] if form.values else []),
    ]
    if form.labels or form.binary:
        lines += [
            "    if not 0.0 <= label_smoothing <= 1.0:",
            '        raise ValueError(f"label_smoothing must be between 0.0 and 1.0, got {label_smoothing}")',
        ]
    body = _elementwise(form) if not form.classwise else _labelled(form) if form.labels else _rows(form)
    return "\n".join([
        *lines, *body,
        "    device = input.device.type",
        '    autocast = device != "meta" and torch.is_autocast_enabled(device)',
        "    return loss if autocast else loss.to(input.dtype)",
    ])  # fmt: skip


def _weighing(form: Form, shape: str) -> list[str]:
    """Weights of samples or elements, and what a mean divides by."""
    f = form.prediction
    return [
        "    weights = sample_weight",
        "    if weights is not None:",
        f"        weights = weights.to(_working({f})).broadcast_to({shape})",
        "    total = None if weights is None else torch.sum(weights)",
    ]


def _elementwise(form: Form) -> list[str]:
    f, values, deep = form.prediction, form.values, 8 if form.fused else 4
    lines = [f"    y, {f} = _arguments(input, target)"]
    if form.binary:
        lines += [
            "    if label_smoothing != 0.0:",
            "        y = y * (1.0 - label_smoothing) + 0.5 * label_smoothing",
        ]
    lines += _weighing(form, f"{f}.shape")
    plain = [
        "if weights is not None:",
        f"    {f} = torch.where(weights != 0.0, {f}, 0.0)",
        f"y, {f} = y.to(_working({f})), {f}.to(_working({f}))",
        _called("loss = _value", ["y", f, *values], deep),
    ]
    if form.binary:
        ones = _called("loss = loss + (pos_weight - 1.0) * y * _value", ["torch.ones_like(y)", f, *values], deep + 4)
        plain += [
            "if pos_weight is not None:",
            *_indented(["pos_weight = pos_weight.to(y.dtype).broadcast_to(y.shape)", ones], 4),
        ]
    plain.append("loss = _reduce(loss, weights, total, reduction)")
    ready = f"_eager({f}, y, weights){' and pos_weight is None' if form.binary else ''}"
    return [*lines, *_choice(_fused_case(form, ready), plain)]


def _fused_case(form: Form, ready: str) -> list[tuple[str, list[str]]]:
    arguments = ["y", form.prediction, "weights", "total", "reduction", *form.values]
    return [(ready, [_called("loss = _in_blocks", arguments, 8)])] if form.fused else []


def _indented(lines: list[str], by: int) -> list[str]:
    return indent([part for line in lines for part in line.split("\n")], by).split("\n")


def _called(name: str, arguments: list[str], within: int) -> str:
    """The call without a margin, broken as it has to be inside blocks of that indentation."""
    return "\n".join(line[within:] for line in call_line(name, arguments, by=within).split("\n"))


def _labelled(form: Form) -> list[str]:
    f, values = form.prediction, form.values
    kept = "rows" if form.per_class else "weights"
    in_blocks = _called("loss = _in_blocks", ["y", f, "weights", "total", "reduction", "label_smoothing", *values], 8)
    deep = 8 if form.target or form.fused else 4
    cases: list[tuple[str, list[str]]] = []
    if form.target:
        only = f"labelled and label_smoothing == 0.0 and {f}.shape[dim] > 1"
        number = [f"_{form.target}(y, {f}, dim)", f"{f}.shape[dim] - 1.0", *values]
        lines = [
            f"{f} = _masked({f}, weights, dim)",
            _called("loss = _target_value", number, 8),
            "loss = _reduce(loss, weights, total, reduction)",
        ]
        if form.target_fused:
            cases.append((f"{only} and _eager({f}, y, weights)", [in_blocks]))
        cases.append((only, lines))
    if form.fused:
        ready = f"_eager({f}, y, weights)" + (" and weight is None" if form.per_class else "")
        cases.append((ready, [in_blocks]))
    extra = [f"None if weight is None else _along(weight, {f}, dim)"] if form.per_class else []
    dense = [
        f"{f} = _masked({f}, {kept}, dim)",
        f"y = _onehot(y, {f}, dim, label_smoothing)",
        _called("loss = _value", ["y", f, "dim", *values, *extra], deep),
        f"loss = _reduce(loss, {kept}, total, reduction)",
    ]
    return [*_labelled_weights(form), *_choice(cases, dense)]


def _weight_check(form: Form) -> list[str]:
    """One weight a class, neither fewer (which would broadcast) nor more."""
    f = form.prediction
    return [
        f"    if weight is not None and weight.shape != {f}.shape[dim : dim + 1]:",
        f'        raise ValueError(f"weight must have the shape ({{{f}.shape[dim]}},), got {{tuple(weight.shape)}}")',
    ]


def _labelled_weights(form: Form) -> list[str]:
    f = form.prediction
    lines = [f"    y, {f}, dim = _arguments(input, target)", *_weight_check(form)]
    if form.target or not form.per_class:
        lines.append(f"    labelled = y.shape != {f}.shape")
    rows = "rows" if form.per_class else "_"
    lines += [
        "    if sample_weight is not None:",
        f"        sample_weight = sample_weight.broadcast_to({f}.shape[:dim] + {f}.shape[dim + 1 :])",
        f"    y, {rows}, weights = _sample_weights(y, {f}, sample_weight, weight, ignore_index)",
        "    total = None if weights is None else torch.sum(weights)",
    ]
    if not form.per_class:
        lines += [
            "    if weight is not None and not labelled:",
            f"        share = torch.sum(y * _along(weight, {f}, dim), dim=dim)",
            "        weights = share if weights is None else weights * share",
        ]
    return lines


def _choice(cases: list[tuple[str, list[str]]], otherwise: list[str]) -> list[str]:
    """An if for the cases in order."""
    if not cases:
        return _indented(otherwise, 4)
    lines: list[str] = []
    for i, (test, body) in enumerate(cases):
        lines += [f"    {'elif' if i else 'if'} {test}:", *_indented(body, 8)]
    return [*lines, "    else:", *_indented(otherwise, 8)]


def _rows(form: Form) -> list[str]:
    f, values = form.prediction, form.values
    lines = [
        f"    y, {f}, dim = _arguments(input, target)",
        *(_weight_check(form) if form.class_weights else []),
        *_weighing(form, f"{f}.shape[:dim] + {f}.shape[dim + 1 :]"),
    ]
    extra = [f"None if weight is None else _along(weight, {f}, dim)"] if form.class_weights else []
    plain = [
        f"{f} = _masked({f}, weights, dim)",
        _called("loss = _value", [f"y.to({f}.dtype)", f, "dim", *values, *extra], 8 if form.fused else 4),
        "loss = _reduce(loss, weights, total, reduction)",
    ]
    ready = f"_eager({f}, y, weights){' and weight is None' if form.class_weights else ''}"
    return [*lines, *_choice(_fused_case(form, ready), plain)]


# -- the module -------------------------------------------------------------------------------------------------------


def shapes(form: Form) -> str:
    """One line for the docstrings: what the shapes are."""
    what = "Scores" if form.prediction == "z" else "Input"
    if not form.classwise:
        return f"{what} [...] and target [...]; the loss is [...] if it is not reduced."
    labels = "class indices [N, ...] or rows [N, C, ...]" if form.labels else "target [N, C, ...]"
    return f"{what} [N, C, ...], {labels}; the loss is [N, ...] if it is not reduced."


def module(form: Form) -> str:
    """The `nn.Module`."""
    values = form.values
    given = keywords(form, of_module=True)
    init = signature("__init__", ["self", 'reduction: str = "mean"', *given], "None", by=4)
    buffers = [n for n, has in (("weight", form.class_weights), ("pos_weight", form.binary)) if has]
    plain = [n for n, has in (("ignore_index", form.labels), ("label_smoothing", form.labels or form.binary)) if has]
    passed = [*(f"{n}=self.{n}" for n in buffers), "sample_weight=sample_weight"]
    passed += [*(f"{n}=self.{n}" for n in plain), *(f"{v}=self.{v}" for v in values)]
    shown = ["reduction={self.reduction!r}", *(f"{n}={{self.{n}}}" for n in (*plain, *values))]
    return "\n".join([
        f"class {form.names.cls}(nn.Module):",
        f'    """{shapes(form)}',
        "",
        indent(_module_doc(form)),
        '    """',
        "",
        *(f"    {n}: Tensor | None" for n in buffers),
        *([""] if buffers else []),
        init,
        "        super().__init__()",
        '        if reduction not in ("mean", "sum", "none"):',
        '            raise ValueError(f"{reduction} is not a valid value for reduction")',
        *([call_line("_check", values, by=8)] if values else []),
        "        self.reduction = reduction",
        *(f'        self.register_buffer("{n}", {n})' for n in buffers),
        *(f"        self.{n} = {n}" for n in plain),
        *(f"        self.{v} = float({v})" for v in values),
        "",
        signature(
            "forward", ["self", "input: Tensor", "target: Tensor", "sample_weight: Tensor | None = None"], "Tensor",
            by=4,
        ),
        call_line(f"return {form.names.function}", ["input", "target", "self.reduction", *passed], by=8),
        "",
        "    def extra_repr(self) -> str:",
        *_repr_lines(shown),
    ])  # fmt: skip


def _module_doc(form: Form) -> list[str]:
    loss = form.loss
    lines = ["reduction: mean, sum or none. A mean divides by the sum of the weights where there are any."]
    if form.class_weights:
        lines.append("weight: one for each class, [C].")
    if form.binary:
        lines.append("pos_weight: of the targets that are 1, of a shape that broadcasts.")
    if form.labels:
        lines.append("ignore_index: a class index whose samples count nothing, whatever the input is there.")
    if form.labels or form.binary:
        share = "C" if form.labels else "2"
        lines.append(f"label_smoothing: the target becomes (1 - label_smoothing) * y + label_smoothing / {share}.")
    lines.append(f"sample_weight: of the shape of the {'unreduced loss' if form.classwise else 'input'}, or a mask.")
    lines += [f"{form.names.hyperparameters[p.name]}: {ROLES[p.role].doc}." for p in loss.params]
    if loss.link == SOFTMAX:
        lines.append("The input is the scores before the softmax, as for nn.CrossEntropyLoss.")
    if loss.link == SIGMOID:
        lines.append("The input is the scores before the sigmoid, as for nn.BCEWithLogitsLoss.")
    return lines


def _repr_lines(shown: list[str]) -> list[str]:
    one = f'        return f"{", ".join(shown)}"'
    if len(one) <= WIDTH:
        return [one]
    joined = f'            f"{", ".join(shown)}"'  # which ruff would do
    if len(joined) <= WIDTH:
        return ["        return (", joined, "        )"]
    pieces = [f'            f"{s}, "' for s in shown[:-1]] + [f'            f"{shown[-1]}"']
    return ["        return (", *pieces, "        )"]
