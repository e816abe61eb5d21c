"""Target "huggingface": `compute_loss_func` for the Trainer of Hugging Face transformers.

    trainer = Trainer(model, args, train_dataset=data, compute_loss_func=compute_loss_func)
    trainer = Trainer(..., compute_loss_func=partial(compute_loss_func, causal=True, gamma=1.0))

The sum of the losses is divided by `num_items_in_batch`, the number of labels that count over all the batches of a
gradient step, as the Trainer's own losses do; without it the loss is the mean. Nothing is imported but torch.
"""

from __future__ import annotations

from lossc.compiler.loss import Loss
from lossc.compiler.targets.options import DEFAULT, Options
from lossc.compiler.targets.torch_layout import call_line, indent, signature
from lossc.compiler.targets.torch_plain import Plain, assembled, called, compared, hyperparameters, plain

_LOGITS = '''
def _logits(outputs: Any) -> Tensor:
    """The scores of a model output: its `logits`, or the first of a tuple."""
    if isinstance(outputs, dict):
        return outputs["logits"]
    return outputs.logits if hasattr(outputs, "logits") else outputs[0]
'''


def emit(loss: Loss, *, selftest: bool = True, options: Options = DEFAULT) -> str:
    """The source text of a file with `compute_loss_func`; with `selftest`, running the file checks it.

    Raises LossTypeError as the target "torch-function" does.
    """
    file = plain(loss, options)
    test = [*compared(file, called(file)), *_checked(file)] if selftest else []
    imports = ["from typing import Any", "from torch import Tensor"]
    return assembled(file, imports, ["compute_loss_func", file.name], [_LOGITS.strip("\n"), _function(file)], test)


def _checked(file: Plain) -> list[str]:
    f = file.form.prediction
    labels = "labels" if file.golden.labels else "y"
    given = ["outputs", labels, *file.settings]
    return [
        f'outputs = {{"logits": {f}}}',
        *call_line("mean = compute_loss_func", given, within=4).split("\n"),
        '_expect("the mean", mean, sum(values) / len(values), 1e-9)',
        f"items = torch.tensor({_items(file, labels)})",
        *call_line("share = compute_loss_func", [*given, "num_items_in_batch=items"], within=4).split("\n"),
        '_expect("the share of a batch", share, sum(values) / 10.0, 1e-9)',
    ]


def _items(file: Plain, labels: str) -> int:
    """What the Trainer counts where there are ten samples: the labels, and a row has one for each class."""
    return 10 * (len(file.golden.inputs[0]) if file.form.classwise and labels == "y" else 1)


def _function(file: Plain) -> str:
    form = file.form
    given = ["outputs: Any", "labels: Tensor", "num_items_in_batch: Tensor | int | None = None", "*"]
    given += [*hyperparameters(form), *(["causal: bool = False", "ignore_index: int = -100"] if form.labels else [])]
    doc = ['"""The loss of a batch, for `Trainer(compute_loss_func=...)`.', "", *_doc(file), '"""']
    body = [*doc, "logits = _logits(outputs)", *(_labelled(file) if form.labels else _plain(file))]
    arguments = given if len(given) > 4 else given[:-1]
    return "\n".join([signature("compute_loss_func", arguments, "Tensor"), indent(body)])


def _doc(file: Plain) -> list[str]:
    if not file.form.labels:
        return [
            "num_items_in_batch: the number of labels of a whole gradient step; the sum is divided by it.",
            "Logits [N, 1] belong to labels [N].",
        ]
    return [
        "num_items_in_batch: the number of labels that count in a whole gradient step; the sum is divided by it.",
        "labels: class indices [N] or [N, T] (logits [N, C] or [N, T, C]), or rows of the shape of the logits.",
        "causal: the logits at a place predict the label of the next one, as in a causal language model.",
        "ignore_index: labels that count nothing.",
    ]


def _last(file: Plain, arguments: list[str], count: str) -> list[str]:
    name = file.form.names.function
    return [
        "if num_items_in_batch is None:",
        *indent(call_line(f"return {name}", arguments, within=8).split("\n")).split("\n"),
        *call_line(f"loss = {name}", [*arguments, 'reduction="sum"'], within=4).split("\n"),
        f"return loss / torch.as_tensor(num_items_in_batch, device=loss.device){count}",
    ]


def _plain(file: Plain) -> list[str]:
    values = [f"{v}={v}" for v in file.form.values]
    count = " * logits.shape[-1]" if file.form.classwise else ""
    lines = [
        "labels = labels.to(logits.device)",
        "if logits.shape != labels.shape and logits.shape == (*labels.shape, 1):",
        "    logits = logits.squeeze(-1)",
    ]
    if file.form.classwise:
        lines += ["logits, labels = logits.flatten(0, -2), labels.flatten(0, -2)"]
    return [*lines, *_last(file, ["logits", "labels", *values], count)]


def _labelled(file: Plain) -> list[str]:
    values = [f"{v}={v}" for v in file.form.values]
    arguments = ["logits", "labels", *values, "ignore_index=ignore_index"]
    return [
        "labels = labels.to(logits.device)",
        "rows = labels.shape == logits.shape  # which the Trainer counts once for each class",
        "if causal:",
        "    logits, labels = logits[..., :-1, :], labels[..., 1:, :] if rows else labels[..., 1:]",
        "classes = logits.shape[-1]",
        "logits = logits.reshape(-1, classes)",
        "labels = labels.reshape(-1, classes) if rows else labels.reshape(-1)",
        *_last(file, arguments, " * (classes if rows else 1)"),
    ]
