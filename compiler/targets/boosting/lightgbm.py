"""Target "lightgbm": objective and metric for LightGBM, with the link, the choice of the Hessian and the best constant."""

from __future__ import annotations

from lossc.compiler.loss import Loss
from lossc.compiler.targets.boosting.file import emit as emit_for
from lossc.compiler.targets.options import DEFAULT, Options


def emit(loss: Loss, *, selftest: bool = True, options: Options = DEFAULT) -> str:
    """The source text of a file for LightGBM; raises LossTypeError for a loss that it cannot be given (L346, L310, L345)."""
    return emit_for(loss, "lightgbm", selftest=selftest, options=options)
