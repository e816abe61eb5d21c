"""What would help where a formula fails, by the operator to blame (rewrites V, guards G of docs/numerics.md)."""

from __future__ import annotations

from collections.abc import Mapping

from lossc.compiler.analysis.verdicts.verdict import VALUE
from lossc.compiler.ir import Expr
from lossc.compiler.loss import IDENTITY, Loss

_FUSE = "compile it: the {link} is fused into the loss, which takes scores and stays finite (V4, V5, V10, V11)"
_VALUES: Mapping[str, str] = {
    "log": "keep the operand above 0: plog(x), --eps add, or log1p for log(1 + x) (V1)",
    "log1p": "keep the operand above -1",
    "log1mexp": "keep the operand below 0",
    "sqrt": "keep the operand at 0 or above: psqrt(x), --eps clamp (G1)",
    "div": "keep the divisor away from 0: aq(x, y), --eps add (G2)",
    "exp": "softplus(x) for log(1 + exp(x)), sigmoid(x) for 1/(1 + exp(-x)), or clamp the exponent (V2, V3)",
    "pow": "keep the base positive, or the exponent whole (G4)",
    "lgamma": "keep the operand above 0",
}
_SLOPES: Mapping[str, str] = {
    "sqrt": "the slope of a root is infinite at 0: lossc compiles it with a guard (G1); in a formula, sqrt(x + d)",
    "log": "keep the operand away from 0: --eps add; lossc compiles a guard where the factor is 0 (G2)",
    "pow": "an exponent below 1 has an infinite slope at 0: lossc compiles it with a guard (G4)",
    "div": "keep the divisor away from 0: aq(x, y), --eps add (G2)",
    "hypot": "lossc compiles it with a guard at 0 (G1)",
    "xlogy": "keep the second operand above 0",
}


def repair_of(here: Expr, loss: Loss, quantity: str) -> str:
    """What to do about an operation that is not finite, or whose slope is not; "" where nothing is known."""
    if loss.link != IDENTITY and here.op in ("log", "log1p", "log2", "log10", "div", "xlogy"):
        return _FUSE.format(link=loss.link)
    table = _VALUES if quantity == VALUE else {**_VALUES, **_SLOPES}
    return table.get(here.op, "")
