"""What a loss and its parts are called in an emitted PyTorch file."""

from __future__ import annotations

from dataclasses import dataclass

from lossc.compiler.loss import IDENTITY, Loss
from lossc.compiler.targets.identifiers import class_name, function_name, identifiers

MODULE_NAMES = frozenset({
    "T_destination", "add_module", "apply", "bfloat16", "buffers", "call_super_init", "children", "compile", "cpu",
    "cuda", "double", "dump_patches", "eval", "extra_repr", "float", "forward", "get_buffer", "get_extra_state",
    "get_parameter", "get_submodule", "half", "ipu", "load_state_dict", "modules", "mtia", "named_buffers",
    "named_children", "named_modules", "named_parameters", "parameters", "register_backward_hook", "register_buffer",
    "register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook",
    "register_full_backward_pre_hook", "register_load_state_dict_post_hook", "register_load_state_dict_pre_hook",
    "register_module", "register_parameter", "register_state_dict_post_hook", "register_state_dict_pre_hook",
    "requires_grad_", "set_extra_state", "set_submodule", "share_memory", "state_dict", "to", "to_empty", "train",
    "training", "type", "xpu", "zero_grad",
})  # fmt: skip
"""Attributes of `torch.nn.Module` that a hyper-parameter must not hide."""

FILE_NAMES = frozenset({
    "math", "torch", "nn", "Tensor", "Loss", "self", "input", "target", "reduction", "y", "f", "z", "dim",
    "num_classes", "loss", "weight", "weights", "sample_weight", "pos_weight", "ignore_index", "label_smoothing",
    "terms", "whole", "nothing", "rows", "total", "labelled", "labels", "share", "scale", "slope", "sloped", "steep",
    "smoothing", "part", "start", "step", "w", "ctx", "grad", "margin", "Any", "autocast", "device", "each", "every",
    "hit", "index", "jit", "least", "mass", "one", "others", "ready", "score", "settings", "shape", "tensor", "top",
    "unpacked", "unused", "used", "values", "work", "inputs", "targets", "gradients", "single", "mean",
})  # fmt: skip
"""Names that the emitted file uses itself."""


@dataclass(frozen=True, slots=True)
class Names:
    """The identifiers that a loss gets in the emitted file."""

    cls: str
    function: str
    prediction: str
    hyperparameters: dict[str, str]


def names_of(loss: Loss) -> Names:
    """The identifiers of the class, the function, the prediction (z for scores) and the hyper-parameters."""
    cls, function = class_name(loss.name), function_name(loss.name)
    taken = {*MODULE_NAMES, *FILE_NAMES, cls, function}
    prediction = "f" if loss.link == IDENTITY else "z"
    return Names(cls, function, prediction, identifiers((p.name for p in loss.params), taken))
