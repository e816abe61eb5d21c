"""Runs the PyTorch files of the targets torch-function, lightning and huggingface: values, and autograd's gradient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lossc.compiler.loss import Loss
from lossc.compiler.targets.identifiers import function_name
from tests.targets.parity import Answer, load


def run(path: Path, loss: Loss, y: np.ndarray, f: np.ndarray) -> Answer:
    """The value of each element or sample, and the gradient of their sum; a file offers no Hessian."""
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
    (slope,) = torch.autograd.grad(value.sum(), given)
    return Answer(value.detach().numpy(), slope.numpy(), None)
