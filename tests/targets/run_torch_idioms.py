"""Runs the PyTorch files of the targets torch-function, lightning and huggingface: values, and autograd twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.targets.identifiers import function_name
from tests.targets.parity import Answer, load


def run(path: Path, loss: Loss, y: np.ndarray, f: np.ndarray) -> Answer:
    """The value of each element or sample; gradient and Hessian diagonal of their sum."""
    import torch

    module, target = load(path), torch.from_numpy(y)
    given = torch.from_numpy(f).requires_grad_()

    def each(z: Any) -> Any:
        if path.stem.endswith("lightning"):
            return module.Loss(reduction="none")(z, target)
        if path.stem.endswith("huggingface"):
            return torch.stack(
                [module.compute_loss_func((a,), b) for a, b in zip(z[:, None], target[:, None], strict=True)]
            )
        return getattr(module, function_name(loss.name))(z, target, reduction="none")

    value = each(given)
    (slope,) = torch.autograd.grad(value.sum(), given, create_graph=True)
    columns = [slope[:, i] for i in range(f.shape[1])] if loss.layout == CLASSWISE else [slope]
    bends = [_second(c, given) for c in columns]
    bend = torch.stack([b[:, i] for i, b in enumerate(bends)], 1) if loss.layout == CLASSWISE else bends[0]
    return Answer(*(t.detach().numpy() for t in (value, slope, bend)))


def _second(slope: Any, given: Any) -> Any:
    import torch

    if not slope.requires_grad:
        return torch.zeros_like(given)
    (found,) = torch.autograd.grad(slope.sum(), given, retain_graph=True, allow_unused=True)
    return torch.zeros_like(given) if found is None else found
