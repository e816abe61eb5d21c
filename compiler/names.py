"""Which names a loss and its hyper-parameters may have, and the names that always mean y or f."""

from __future__ import annotations

import re

from lossc.compiler.errors import LimitError, LossTypeError, Span

MAX_NAME = 64
"""Characters that a name may have (docs/language.md, limits)."""

ARGUMENTS: dict[str, str] = {
    **dict.fromkeys(("y", "y_true", "ytrue", "target", "targets", "label", "labels"), "y"),
    **dict.fromkeys(("f", "y_pred", "ypred", "y_hat", "yhat", "pred", "prediction", "predictions", "input", "fx"), "f"),
}
"""Every written name of the two arguments of a loss. They cannot be given to anything else."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def is_name(text: str) -> bool:
    """Whether the text is an identifier of the language: ASCII letters, digits and underscores."""
    return _NAME.fullmatch(text) is not None


def check_name(text: str, what: str, span: Span | None = None) -> str:
    """The name itself, if a loss, hyper-parameter, local value or helper may have it.

    `what` says which of these it names. Raises LimitError (L108) for long names, LossTypeError (L304) for other shapes,
    (L313) for `__names`, (L309) for those that mean y or f.
    """
    if len(text) > MAX_NAME:
        raise LimitError("L108", f"a name may have {MAX_NAME} characters; this one has {len(text)}", span)
    if not is_name(text):
        expected = "ASCII letters, digits and underscores, not beginning with a digit"
        raise LossTypeError("L304", f"{text!r} is not a name for {what}", span, expected=expected)
    if text.startswith("__"):
        message = f"`{text}` cannot be used: names that begin with two underscores are reserved"
        raise LossTypeError("L313", message, span)
    if text in ARGUMENTS:
        meaning = "the target y" if ARGUMENTS[text] == "y" else "the prediction f"
        message = f"`{text}` means {meaning}: it cannot name {what}"
        raise LossTypeError("L309", message, span, hint="choose another name")
    return text
