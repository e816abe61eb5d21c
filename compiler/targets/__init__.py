"""Targets: what a loss can be printed as. One file a target; each is imported when it is first asked for.

>>> from lossc.compiler.targets import emit
>>> source = emit(loss, "torch")

`registry.py` lists them, `printer.py` prints programs, `derivatives.py` says what there is to print.
"""

from lossc.compiler.targets.registry import BUILT_IN, Target, all_targets, emit, target_of
from lossc.compiler.targets.settings import Option

TARGETS = BUILT_IN
"""The targets of lossc itself, by name."""

__all__ = ["BUILT_IN", "TARGETS", "Option", "Target", "all_targets", "emit", "target_of"]
