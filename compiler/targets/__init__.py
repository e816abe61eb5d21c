"""Targets: what a loss can be printed as. One file a target; each is imported when it is first asked for.

>>> from lossc.compiler.targets import emit
>>> source = emit(loss, "torch")
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lossc.compiler.errors import UsageError

if TYPE_CHECKING:
    from lossc.compiler.loss import Loss

TARGETS: dict[str, tuple[str, str, str]] = {
    "torch": ("lossc.compiler.targets.torch", "emit", "a standalone PyTorch file: nn.Module, function, self-test"),
    "latex": ("lossc.compiler.targets.latex", "to_latex", "the formula in LaTeX"),
}
"""Name -> module, function and one line for the command line."""


def emit(loss: Loss, target: str = "torch", **options: Any) -> str:
    """The source text of `loss` for `target`; `options` are those of the target (torch: `selftest=False`).

    Raises UsageError (L240) for an unknown target, and what the target raises for a loss that it cannot express.
    """
    if target not in TARGETS:
        raise UsageError("L240", f"`{target}` is not a target", expected="one of: " + ", ".join(TARGETS))
    module, name, _ = TARGETS[target]
    function: Callable[..., str] = getattr(import_module(module), name)
    return function(loss, **options)
