"""Target "torch-function": the loss as one plain PyTorch function, in the manner of torch.nn.functional.

No module, no autograd function, no state: what torch.jit.script, torch.compile, torch.export and torch.func take.
"""

from __future__ import annotations

from lossc.compiler.loss import Loss
from lossc.compiler.targets.options import DEFAULT, Options
from lossc.compiler.targets.torch_plain import assembled, called, compared, plain


def emit(loss: Loss, *, selftest: bool = True, options: Options = DEFAULT) -> str:
    """The source text of a file with the function; with `selftest`, running the file checks it.

    Raises LossTypeError: L340 for constants that float64 cannot hold, L341 for learnable coefficients, L342 for
    constants that the dtype of the options cannot hold.
    """
    file = plain(loss, options)
    test = compared(file, called(file)) if selftest else []
    return assembled(file, ["from torch import Tensor"], [file.name], [], test)
