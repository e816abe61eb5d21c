"""The fused form of an emitted PyTorch file, as text: a closed-form gradient, evaluated block by block.

Autograd records one node an operation and keeps what each needs; every operation reads and writes the whole batch. Here
the loss and its gradient are computed together for one block at a time, so that what lies between stays in the cache,
and nothing is kept but the inputs and, for a reduced loss, the ready gradient. Where a gradient is to be differentiated
again, the plain form takes its place: so the fused one can be differentiated as often as that.
"""

from __future__ import annotations

from lossc.compiler.targets.torch_form import Form
from lossc.compiler.targets.torch_layout import call_line, signature

BLOCK = 2**18
"""Elements of a block: a mebibyte of float32."""


def fused(form: Form) -> str:
    """All functions and classes of the fused form."""
    parts = [_eager(), f"_BLOCK = {BLOCK}  # elements at a time: what is computed on the way stays in the cache"]
    if form.target_fused:
        parts.append(_target_block(form))
    parts += [_block(form), _each(form), _sweep(form), _classes(form), _in_blocks(form)]
    return "\n\n\n".join(p.strip("\n") for p in parts)


def _eager() -> str:
    return '''
def _eager(input: Tensor, *others: Tensor | None) -> bool:
    """Whether plain tensors are computed with here and now, and a gradient is wanted of the input at most."""
    jit: Any = torch.jit
    unpacked: Any = torch.autograd.forward_ad.unpack_dual
    if torch.compiler.is_compiling() or jit.is_tracing() or input.numel() == 0:
        return False
    for tensor in (input, *others):
        if tensor is None:
            continue
        if type(tensor) not in (Tensor, nn.Parameter) or torch.func.debug_unwrap(tensor) is not tensor:
            return False
        if (tensor is not input and tensor.requires_grad) or unpacked(tensor).tangent is not None:
            return False
    return True
'''


SELECT = '''
def _select(condition: Tensor, one: Tensor | float, other: Tensor | float) -> Tensor:
    """torch.where, bit by bit where that is several times faster: for large tensors on a CPU."""
    if condition.device.type != "cpu" or condition.numel() < 4096:
        return torch.where(condition, one, other)
    like = one if isinstance(one, Tensor) else other
    if not isinstance(like, Tensor):
        return torch.where(condition, one, other)
    bits = torch.int64 if like.element_size() == 8 else torch.int32 if like.element_size() == 4 else torch.int16
    first = one if isinstance(one, Tensor) else torch.tensor(one, dtype=like.dtype, device=like.device)
    second = other if isinstance(other, Tensor) else torch.tensor(other, dtype=like.dtype, device=like.device)
    x, y = first.view(bits), second.view(bits)
    return ((x ^ y) * condition ^ y).view(like.dtype)
'''.strip("\n")
"""What fused kernels call for torch.where."""


def _extra(form: Form) -> list[str]:
    """The arguments that private functions take after the tensors: label smoothing, then hyper-parameters."""
    return [*(["smoothing: float"] if form.labels else []), *form.typed_values]


def _passed(form: Form) -> list[str]:
    return [a.partition(":")[0] for a in _extra(form)]


def _settings(items: list[str]) -> str:
    """What is kept for the gradient beside tensors."""
    if len(items) < 2:
        return f"        ctx.settings = ({items[0]},)" if items else "        ctx.settings = ()"
    return call_line("ctx.settings = ", items, by=8, brackets="( )")


def _no_more(count: int) -> str:
    """What follows the gradient of the input: nothing for any other argument."""
    return ", None" * count if count <= 12 else f", *([None] * {count})"


_LABELLED = "y.shape != {f}.shape and smoothing == 0.0 and {f}.shape[1] > 1"
"""When a block is one of class indices that needs the prediction at the target only."""


def _block(form: Form) -> str:
    f = form.prediction
    arguments = ["y: Tensor", f"{f}: Tensor", "weight: Tensor | None", "scale: Tensor | float", "slope: Tensor | None"]
    lines = [
        signature("_block", [*arguments, *_extra(form)], "Tensor"),
        '    """The losses of a block; scale * weight times their gradient goes into `slope`."""',
        f"    {f} = {f}.to(_working({f}))",
    ]
    by_target = call_line("return _target_block", ["y", f, "weight", "scale", "slope", *form.values], by=8)
    if form.target_fused and not form.fused:
        return "\n".join([*lines, by_target[4:]])
    if form.target_fused:
        lines += [f"    if {_LABELLED.replace('{f}', f)}:", by_target]
    given = ["y", f, *(["1"] if form.classwise else []), *form.values]
    return "\n".join([
        *lines,
        f"    y = _onehot(y, {f}, 1, smoothing)" if form.labels else f"    y = y.to({f}.dtype)",
        "    if slope is None:",
        call_line("return _value", given, by=8),
        call_line("loss, steep = _value_and_slope", given, by=4),
        "    if weight is None:",
        "        torch.mul(steep, scale, out=slope)",
        "    else:",
        *(["        weight = weight.unsqueeze(1)"] if form.classwise else []),
        "        slope.copy_(torch.where(weight != 0.0, weight * scale * steep, 0.0))",
        "    return loss",
    ])  # fmt: skip


def _target_block(form: Form) -> str:
    f = form.prediction
    arguments = ["y: Tensor", f"{f}: Tensor", "weight: Tensor | None", "scale: Tensor | float", "slope: Tensor | None"]
    given = [form.target, f"{f}.shape[1] - 1.0", *form.values]
    if form.target == "margin":
        number = [
            f"    others = {f}.scatter(1, index, torch.finfo({f}.dtype).min)",
            "    top = torch.amax(others, dim=1, keepdim=True)",
            f"    if {f}.shape[1] >= 64:  # torch's softmax is fast along many classes, and slow along few",
            "        share = torch.softmax(others, dim=1)",
            "        mass = 1.0 / torch.amax(share, dim=1, keepdim=True)",
            "    else:",
            "        share = others.sub_(top).exp_()",
            "        mass = torch.sum(share, dim=1, keepdim=True)",
            "        share.div_(mass)",
            f"    margin = torch.gather({f}, 1, index).sub_(top).sub_(torch.log(mass)).squeeze(1)",
        ]
        spread = ["    torch.mul(share, -steep, out=slope)"]
    else:
        number, spread = [f"    score = torch.gather({f}, 1, index).squeeze(1)"], ["    slope.zero_()"]
    return "\n".join([
        signature("_target_block", [*arguments, *form.typed_values], "Tensor"),
        '    """The losses of a block with class indices, from one number a sample."""',
        "    index = y.unsqueeze(1)",
        *number,
        "    if slope is None:",
        call_line("return _target_value", given, by=8),
        call_line("loss, steep = _target_value_and_slope", given, by=4),
        "    if weight is not None:",
        "        steep = torch.where(weight != 0.0, weight * steep, 0.0)",
        "    steep = (steep * scale).unsqueeze(1)",
        *spread,
        "    slope.scatter_(1, index, steep.to(slope.dtype))",
        "    if weight is not None:",
        "        unused = (weight == 0.0).unsqueeze(1)",
        '        if slope.device.type != "cpu" or bool(unused.any()):',
        "            slope.masked_fill_(unused, 0.0)",
        "    return loss",
    ])  # fmt: skip


def _step(form: Form) -> list[str]:
    """How many elements, or samples, a block has."""
    f = form.prediction
    size = f"max(1, _BLOCK * len({f}) // {f}.numel())" if form.classwise else "_BLOCK"
    return [f'    step = {size} if {f}.device.type == "cpu" else len({f})']


def _each(form: Form) -> str:
    f = form.prediction
    shape = f"{f}[:, 0]" if form.classwise else f
    return "\n".join([
        signature("_each", ["y: Tensor", f"{f}: Tensor", *_extra(form)], "Tensor"),
        f'    """The loss of each {"sample" if form.classwise else "element"}."""',
        f"    loss = torch.empty_like({shape}, dtype=_working({f}))",
        *_step(form),
        f"    for start in range(0, len({f}), step):",
        "        part = slice(start, start + step)",
        call_line("loss[part] = _block", ["y[part]", f"{f}[part]", "None", "1.0", "None", *_passed(form)], by=8),
        "    return loss",
    ])  # fmt: skip


def _sweep(form: Form) -> str:
    f = form.prediction
    arguments = ["y: Tensor", f"{f}: Tensor", "weight: Tensor | None", "scale: Tensor | float", "sloped: bool"]
    inner = ["y[part]", f"{f}[part]", "w", "scale", "None if slope is None else slope[part]", *_passed(form)]
    return "\n".join([
        signature("_sweep", [*arguments, *_extra(form)], "tuple[Tensor, Tensor | None]"),
        '    """Scale times the weighted sum of the losses, and (if `sloped`) its gradient."""',
        f"    slope = torch.empty_like({f}, memory_format=torch.contiguous_format) if sloped else None",
        f"    total = torch.zeros((), dtype=_working({f}), device={f}.device)",
        *_step(form),
        f"    for start in range(0, len({f}), step):",
        "        part = slice(start, start + step)",
        "        w = None if weight is None else weight[part]",
        call_line("loss = _block", inner, by=8),
        "        if w is not None:",
        "            loss = torch.where(w != 0.0, w * loss, 0.0)",
        "        total += torch.sum(loss)",
        "    return total * scale, slope",
    ])  # fmt: skip


def _classes(form: Form) -> str:
    """The plain form, and the two autograd functions that fall back on it."""
    return f"{_plain(form)}\n\n\n{_unreduced(form)}\n\n\n{_reduced(form)}"


def _unreduced(form: Form) -> str:
    """The autograd function of the loss of each element or sample."""
    f, extra, passed = form.prediction, _extra(form), _passed(form)
    one, many = (f"{f}[:, 0]", "grad.unsqueeze(1)") if form.classwise else (f, "grad")
    return "\n".join([
        "class _Each(torch.autograd.Function):",
        '    """The loss of each element, without a reduction. Only the inputs are kept."""',
        "",
        "    @staticmethod",
        signature(
            "forward", ["ctx: Any", f"{f}: Tensor", "y: Tensor", "weight: Tensor | None", *extra], "Tensor", by=4
        ),
        f"        ctx.save_for_backward({f}, y, weight)",
        _settings(passed),
        call_line("return _each", ["y", f, *passed], by=8),
        "",
        "    @staticmethod",
        "    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:",
        f"        {f}, y, weight = ctx.saved_tensors",
        "        if torch.is_grad_enabled():  # the gradient will be differentiated again",
        f"            loss = _plain(y, {f}, weight, *ctx.settings)",
        f"            (slope,) = torch.autograd.grad(loss, {f}, grad, create_graph=True)",
        f"            return slope{_no_more(2 + len(passed))}",
        "        if torch.func.debug_unwrap(grad) is not grad:  # many gradients at once, by vmap",
        f"            every: Any = _sweep(y, {f}, torch.ones_like({one}), 1.0, True, *ctx.settings)[1]",
        f"            return every * {many}{_no_more(2 + len(passed))}",
        f"        slope = _sweep(y, {f}, grad, 1.0, True, *ctx.settings)[1]",
        f"        return slope{_no_more(2 + len(passed))}",
    ])  # fmt: skip


def _reduced(form: Form) -> str:
    """The autograd function of a weighted sum."""
    f, extra, passed = form.prediction, _extra(form), _passed(form)
    return "\n".join([
        "class _Sum(torch.autograd.Function):",
        '    """Scale times the weighted sum of the losses. Keeps the inputs, and the gradient until asked for it."""',
        "",
        "    @staticmethod",
        signature(
            "forward",
            ["ctx: Any", f"{f}: Tensor", "y: Tensor", "weight: Tensor | None", "scale: Tensor | float", "sloped: bool",
             *extra],
            "Tensor", by=4,
        ),
        call_line("loss, slope = _sweep", ["y", f, "weight", "scale", "sloped", *passed], by=8),
        f"        ctx.save_for_backward({f}, y, weight)",
        "        ctx.slope = slope",
        _settings(["scale", *passed]),
        "        return loss",
        "",
        "    @staticmethod",
        "    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:",
        f"        {f}, y, weight = ctx.saved_tensors",
        "        scale, *values = ctx.settings",
        "        if torch.is_grad_enabled():  # the gradient will be differentiated again",
        f'            loss = scale * _reduce(_plain(y, {f}, weight, *values), weight, None, "sum")',
        f"            (slope,) = torch.autograd.grad(loss, {f}, grad, create_graph=True)",
        f"            return slope{_no_more(4 + len(passed))}",
        "        if torch.func.debug_unwrap(grad) is not grad:  # many gradients at once, by vmap",
        f"            every: Any = _sweep(y, {f}, weight, scale, True, *values)[1]",
        f"            return every * grad{_no_more(4 + len(passed))}",
        "        slope, ctx.slope = ctx.slope, None  # it is the caller's now, to change as well",
        "        if slope is None:",
        f"            slope = _sweep(y, {f}, weight, scale * grad, True, *values)[1]",
        '        elif grad.device.type != "cpu" or float(grad) != 1.0:',
        "            slope.mul_(grad)",
        f"        return slope{_no_more(4 + len(passed))}",
    ])  # fmt: skip


def _plain(form: Form) -> str:
    """The loss of each element or sample by operations that autograd records."""
    f = form.prediction
    lines = [
        signature("_plain", ["y: Tensor", f"{f}: Tensor", "weight: Tensor | None", *_extra(form)], "Tensor"),
        f'    """The loss of each {"sample" if form.classwise else "element"}, by operations that autograd records."""',
    ]
    if form.classwise:
        lines.append(f"    {f} = _masked({f}, weight, 1)")
    else:
        lines += [
            "    if weight is not None:",
            f"        {f} = torch.where(weight != 0.0, {f}, 0.0)",
            f"    {f} = {f}.to(_working({f}))",
        ]
    number = [f"_{form.target}(y, {f}, 1)", f"{f}.shape[1] - 1.0", *form.values]
    if form.target_fused and not form.fused:
        return "\n".join([*lines, call_line("return _target_value", number, by=4)])
    if form.target_fused:
        lines += [f"    if {_LABELLED.replace('{f}', f)}:", call_line("return _target_value", number, by=8)]
    lines.append(f"    y = _onehot(y, {f}, 1, smoothing)" if form.labels else f"    y = y.to({f}.dtype)")
    given = ["y", f, *(["1"] if form.classwise else []), *form.values]
    return "\n".join([*lines, call_line("return _value", given, by=4)])


def _in_blocks(form: Form) -> str:
    f, passed = form.prediction, _passed(form)
    arguments = ["y: Tensor", f"{f}: Tensor", "weight: Tensor | None", "total: Tensor | None", "reduction: str"]
    count = "y.numel()" if not form.classwise else f"{f}.numel() // {f}.shape[1]"
    lines = [
        signature("_in_blocks", [*arguments, *_extra(form)], "Tensor"),
        '    """The reduced loss, with its gradient in closed form."""',
    ]
    if form.classwise:
        lines += [
            f"    if {f}.dim() == 1:",
            "        weight = None if weight is None else weight.unsqueeze(0)",
            call_line(
                "one = _in_blocks",
                ["y.unsqueeze(0)", f"{f}.unsqueeze(0)", "weight", "total", "reduction", *passed], by=8,
            ),
            "        return torch.squeeze(one, 0)",
        ]  # fmt: skip
    else:
        lines += [
            f"    shape, y, {f} = {f}.shape, y.reshape(-1), {f}.reshape(-1)",
            "    weight = None if weight is None else weight.reshape(-1)",
        ]
    back = "" if form.classwise else ".reshape(shape)"
    if form.labels:
        lines += [
            f'    if weight is not None and {f}.device.type == "cpu" and bool((weight == 1.0).all()):',
            "        weight = total = None  # nothing is ignored or weighted",
        ]
    lines += [
        '    if reduction not in ("mean", "sum"):',
        "        each: Any = _Each.apply",
        call_line("loss: Tensor = each", [f, "y", "weight", *passed], by=8),
        f"        return _reduce(loss, weight, total, reduction){back}",
        "    scale: Tensor | float = 1.0",
        '    if reduction == "mean":',
        f"        scale = 1.0 / ({count}) if total is None else 1.0 / total",
        f"    ready = {f}.dtype == _working({f})  # half precision is scaled before it is rounded",
        f"    sloped = ready and torch.is_grad_enabled() and {f}.requires_grad",
        "    whole: Any = _Sum.apply",
        call_line("loss = whole", [f, "y", "weight", "scale", "sloped", *passed], by=4),
        "    return loss",
    ]
    return "\n".join(lines)
