"""Target "lightning": a small `nn.Module` for Lightning and for timm's training loop, around a plain function.

    self.loss = FocalLoss(gamma=2.0, smoothing=0.1)       # in a LightningModule; hparams for its logger
    train_loss_fn = FocalLoss(smoothing=0.1).cuda()       # in timm: class indices, or the rows that mixup makes

As in timm, smoothing is for class indices: rows have been softened by whoever made them. A loss of 0 and 1 at each
element also takes class indices [N] for scores [N, C], as timm's BinaryCrossEntropy does.
"""

from __future__ import annotations

from lossc.compiler.loss import Loss
from lossc.compiler.roles import ROLES
from lossc.compiler.targets.options import DEFAULT, Options
from lossc.compiler.targets.torch_function import shapes
from lossc.compiler.targets.torch_layout import call_line, indent, signature
from lossc.compiler.targets.torch_plain import Plain, assembled, compared, hyperparameters, plain


def emit(loss: Loss, *, selftest: bool = True, options: Options = DEFAULT) -> str:
    """The source text of a file with the module and its function; with `selftest`, running the file checks it.

    Raises LossTypeError as the target "torch-function" does.
    """
    file = plain(loss, options)
    cls = file.form.names.cls
    made = call_line(f"module = {cls}", [*file.settings, "reduction=reduction"], within=8).split("\n")
    test = compared(file, [*made, "return module(input, target)"]) if selftest else []
    imports = ["from torch import Tensor, nn"]
    return assembled(file, imports, [cls, "Loss", file.name], [_module(file), f"Loss = {cls}"], test)


def _softens(file: Plain) -> bool:
    """Whether class indices become rows, that can be smoothed."""
    return file.form.labels or file.form.binary


def _module(file: Plain) -> str:
    form = file.form
    given = ["self", *hyperparameters(form), *(["smoothing: float = 0.0"] if _softens(file) else [])]
    given += ['reduction: str = "mean"', *(["ignore_index: int = -100"] if form.labels else [])]
    plain_values = [*form.values, *(["smoothing"] if _softens(file) else []), "reduction"]
    plain_values += ["ignore_index"] if form.labels else []
    shown = call_line("return ", [f'"{n}": self.{n}' for n in plain_values], by=8, brackets="{}")
    return "\n".join([
        f"class {form.names.cls}(nn.Module):",
        f'    """{shapes(form)}',
        "",
        indent(_doc(file)),
        '    """',
        "",
        signature("__init__", given, "None", by=4),
        "        super().__init__()",
        *(["        _check(" + ", ".join(form.values) + ")"] if form.values else []),
        '        if reduction not in ("mean", "sum", "none"):',
        '            raise ValueError(f"reduction must be mean, sum or none, got {reduction}")',
        *(_smoothing_check() if _softens(file) else []),
        *(f"        self.{n} = {f'float({n})' if n in (*form.values, 'smoothing') else n}" for n in plain_values),
        "",
        "    def forward(self, input: Tensor, target: Tensor) -> Tensor:",
        *indent(_forward(file), 8).split("\n"),
        "",
        "    @property",
        "    def hparams(self) -> dict[str, float | int | str]:",
        '        """The settings, for a logger: `logger.log_hyperparams(loss.hparams)`."""',
        shown,
        "",
        "    def extra_repr(self) -> str:",
        '        return ", ".join(f"{name}={value!r}" for name, value in self.hparams.items())',
    ])  # fmt: skip


def _smoothing_check() -> list[str]:
    return [
        "        if not 0.0 <= smoothing < 1.0:",
        '            raise ValueError(f"smoothing must be 0 or greater and below 1, got {smoothing}")',
    ]


def _doc(file: Plain) -> list[str]:
    form = file.form
    lines = [f"{form.names.hyperparameters[p.name]}: {ROLES[p.role].doc}." for p in form.loss.params]
    if _softens(file):
        lines.append("smoothing: class indices become rows of 1 - smoothing, and smoothing / C at each class more.")
        lines.append("Rows, as Mixup and CutMix make them, are taken as they are.")
    lines.append("reduction: mean, sum or none.")
    if form.labels:
        lines.append("ignore_index: a class index whose samples count nothing.")
    return lines


def _forward(file: Plain) -> list[str]:
    form = file.form
    values = [f"self.{v}" for v in form.values]
    called = ["input", "target", *values, "self.reduction", *(["self.ignore_index"] if form.labels else [])]
    last = call_line(f"return {form.names.function}", called, within=8)
    rows = [
        "input = input.to(torch.promote_types(input.dtype, torch.float32))",
        "share = self.smoothing / input.shape[dim]",
        "rows = torch.full_like(input, share)",
    ]
    if form.labels:
        return [
            "if self.smoothing > 0.0 and target.shape != input.shape:",
            "    dim = 1 if input.dim() > 1 else 0",
            "    used = target != self.ignore_index",
            "    labels = torch.where(used, target, 0).unsqueeze(dim)",
            *(f"    {line}" for line in rows),
            "    rows = rows.scatter(dim, labels, 1.0 - self.smoothing + share)",
            "    scores = torch.where(used.unsqueeze(dim), input, 0.0)",
            *indent(
                call_line("loss = " + form.names.function, ["scores", "rows", *values, '"none"']).split("\n")
            ).split("\n"),
            "    loss = torch.where(used, loss, 0.0)",
            '    if self.reduction == "mean":',
            "        return torch.sum(loss) / torch.sum(used)",
            "    return _reduce(loss, self.reduction)",
            *last.split("\n"),
        ]
    if form.binary:
        return [
            "if target.shape != input.shape:",
            "    dim = 1 if input.dim() > 1 else 0",
            *(f"    {line}" for line in rows),
            "    target = rows.scatter(dim, target.to(torch.int64).unsqueeze(dim), 1.0 - self.smoothing + share)",
            *last.split("\n"),
        ]
    return last.split("\n")
