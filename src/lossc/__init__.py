"""lossc: the loss compiler. Loss functions as programs.

    >>> import lossc
    >>> loss = lossc.parse("(y - f)^2")
    >>> print(loss.grad("f"))

Names are handed on lazily: `import lossc` imports neither torch nor SymPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lossc._version import __version__

if TYPE_CHECKING:
    from lossc.compiler.errors import LosscError as LosscError
    from lossc.compiler.loss import Loss as Loss
    from lossc.compiler.loss import Parameter as Parameter
    from lossc.grammar import parse as parse
    from lossc.grammar import parse_file as parse_file
    from lossc.runtime.accuracy import accuracy as accuracy
    from lossc.runtime.meta.adapt import adapt as adapt
    from lossc.runtime.meta.optimize import optimize as optimize
    from lossc.runtime.search.session import search as search
    from lossc.runtime.tasks import get_task as get_task

_HOME = {
    "Loss": "lossc.compiler.loss",
    "LosscError": "lossc.compiler.errors",
    "Parameter": "lossc.compiler.loss",
    "accuracy": "lossc.runtime.accuracy",
    "adapt": "lossc.runtime.meta.adapt",
    "get_task": "lossc.runtime.tasks",
    "optimize": "lossc.runtime.meta.optimize",
    "parse": "lossc.grammar",
    "parse_file": "lossc.grammar",
    "search": "lossc.runtime.search.session",
}

__all__ = [
    "Loss", "LosscError", "Parameter", "__version__", "accuracy", "adapt", "get_task", "optimize", "parse",
    "parse_file", "search",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lossc' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
