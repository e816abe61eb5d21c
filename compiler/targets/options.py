"""How a loss becomes code: the choices that a caller may make, one value for all of them."""

from __future__ import annotations

from dataclasses import dataclass, fields

from lossc.compiler.errors import UsageError
from lossc.compiler.formats import FORMATS


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The choices of `lossc compile` and `Loss.to_torch`; the defaults suit nearly everybody.

    eps          what protects operands at the edge of an operator's domain: "none", "add" or "clamp" (guard G9)
    kinks        the slope at a kink: "torch", "zero", "left", "right" or "mid" (guard G10)
    dtype        the dtype that the code computes in, and that constants must survive in; None for any dtype, where
                 half precision is computed in float32 (docs/numerics.md, V33 and V34)
    fused        a gradient in closed form, evaluated block by block: True, False, or None for wherever it wins
    from_logits  a loss of probabilities takes scores and applies the softmax or sigmoid itself; False: it takes
                 probabilities
    literal      the formula as it is written, with no stable forms and no guards: what a plain printer would make of
                 it, for comparison only
    """

    eps: str = "none"
    kinks: str = "torch"
    dtype: str | None = None
    fused: bool | None = None
    from_logits: bool = True
    literal: bool = False

    def __post_init__(self) -> None:
        """Raise UsageError (L245) for a dtype that does not exist."""
        if self.dtype is not None and self.dtype not in FORMATS:
            known = "one of: " + ", ".join(FORMATS)
            raise UsageError("L245", f"`{self.dtype}` is not a dtype that a loss is computed in", expected=known)


DTYPES = tuple(FORMATS)
NAMES = tuple(f.name for f in fields(Options))
DEFAULT = Options()
