"""The meta-loss of many outputs at once, and its derivatives: in closed form for the usual ones, else by autograd."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lossc.runtime.meta.episode import MetaLoss


def value_and_errors(meta_loss: MetaLoss, answers: Tensor, y: Tensor) -> tuple[list[float], Tensor]:
    """The meta-loss for each of the answers [K, n, C], and the derivatives of their sum, without a graph."""
    if meta_loss is functional.mse_loss and answers.shape[1:] == y.shape:
        errors = answers - y
        values = errors.square().mean(dim=(1, 2))
        return values.tolist(), errors.mul_(2.0 / y.numel())
    if meta_loss is functional.cross_entropy and y.dtype == torch.int64 and y.shape == answers.shape[1:2]:
        return _cross_entropy(answers, y)
    with torch.enable_grad():
        leaf = answers.detach().requires_grad_()
        values = torch.stack([meta_loss(leaf[k], y) for k in range(len(leaf))])
        (errors,) = torch.autograd.grad(values.sum(), leaf)
    return values.tolist(), errors


def _cross_entropy(answers: Tensor, y: Tensor) -> tuple[list[float], Tensor]:
    if bool((y < 0).any()):  # what `ignore_index` leaves out
        return value_and_errors(lambda a, b: functional.cross_entropy(a, b), answers, y)
    share = 1.0 / len(y)
    places = y.expand(len(answers), -1)[:, :, None]
    logs = torch.log_softmax(answers, dim=2)
    values = logs.gather(2, places).sum(dim=(1, 2)).mul_(-share)
    errors = logs.exp_().mul_(share)
    return values.tolist(), errors.scatter_add_(2, places, torch.full_like(errors[:, :, :1], -share))
