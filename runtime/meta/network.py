"""`LossNetwork`: a representation with its coefficients, as an `nn.Module` that is called like any loss of torch.

>>> network = loss.to_network(seed=0)
>>> network(model(x), y).backward()        # gradients in the model and in network.phi
>>> learned = network.fold()               # a Loss again
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lossc.compiler.errors import UsageError
from lossc.runtime.meta.representation import LossRepresentation

if TYPE_CHECKING:
    from lossc.compiler.loss import Loss


class LossNetwork(nn.Module):
    """M_φ(input, target), the mean over the rows; `phi` is a parameter, float64 [size] (thesis, section 3.2.3).

    input    [n, 1] predictions or [n, C, ...] scores; target  [n, 1] values, class indices [n, ...] or rows [n, C, ...]

    It can be copied, pickled, compiled and transformed like any module; `state_dict` holds φ.
    """

    def __init__(self, family: LossRepresentation, phi: Tensor) -> None:
        super().__init__()
        if phi.shape != (family.size,):
            raise UsageError("L252", f"the loss has {family.size} coefficients, got {list(phi.shape)}")
        self.family = family
        self.phi = nn.Parameter(phi.detach().clone().double())

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of a batch, differentiable any number of times in `input` and in `phi`."""
        encoded = self.family.encode(target, input)
        if encoded.shape != input.shape:
            raise UsageError(
                "L222", f"the target has shape {list(target.shape)}, and the model's output {list(input.shape)}"
            )
        return self.family.loss(input, encoded, self.phi)

    def fold(self) -> Loss | None:
        """The loss with its coefficients as numbers; None for a neural network, which has no formula."""
        return self.family.fold(self.phi.detach())

    def extra_repr(self) -> str:
        """The formula, with rounded coefficients."""
        with torch.no_grad():
            return self.family.describe(self.phi)
