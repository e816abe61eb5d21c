"""Target "xgboost": objective and metric for XGBoost, with the link, a fitting Hessian and the best constant."""

from __future__ import annotations

from lossc.compiler.loss import Loss
from lossc.compiler.targets.boosting.file import emit as emit_for
from lossc.compiler.targets.options import DEFAULT, Options


def emit(loss: Loss, *, selftest: bool = True, options: Options = DEFAULT) -> str:
    """The source text of a file for XGBoost; raises LossTypeError (L346, L310, L345) for a loss it cannot have."""
    return emit_for(loss, "xgboost", selftest=selftest, options=options)
