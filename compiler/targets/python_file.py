"""What emitted Python files of several targets share: names, signatures, the head, golden values.

A target gives its own body; all text of the user comes through `identifiers.py` and `about`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lossc._version import __version__
from lossc.compiler.ir import const
from lossc.compiler.loss import CLASSWISE, IDENTITY, Loss
from lossc.compiler.targets.golden import Golden
from lossc.compiler.targets.identifiers import class_name, function_name, identifiers
from lossc.compiler.targets.pipeline import Stages
from lossc.compiler.targets.scalars import constant_value
from lossc.compiler.targets.torch_header import about
from lossc.compiler.targets.torch_layout import indent, signature
from lossc.compiler.targets.torch_selftest import assignment

TEST_NAMES = frozenset({"inputs", "targets", "values", "gradients", "curvatures", "labels", "loss"})
"""Local names of a self-test."""


@dataclass(frozen=True, slots=True)
class FileNames:
    """What a loss and its hyper-parameters are called in a file."""

    function: str
    hyperparameters: Mapping[str, str]

    def mentioned(self, text: str) -> tuple[str, ...]:
        """The hyper-parameters that code reads."""
        return tuple(n for n in self.hyperparameters.values() if re.search(rf"\b{re.escape(n)}\b", text))


def names_for(loss: Loss, taken: Iterable[str]) -> FileNames:
    """The identifiers of the function and of the hyper-parameters; `taken` are names that the file uses itself.

    Raises LossTypeError (L340) for a default that float64 cannot hold.
    """
    for p in loss.params:
        constant_value(const(p.default or 0))
    function = function_name(loss.name)
    used = {*taken, *TEST_NAMES, function, class_name(loss.name)}
    return FileNames(function, identifiers((p.name for p in loss.params), used))


def options_of(loss: Loss, names: FileNames, kind: str = "float") -> list[str]:
    """The hyper-parameters as keyword arguments: `delta: float = 1.0`, without a default where the loss has none.

    Those without one come first, so that the list is good for positional arguments too.
    """
    ordered = sorted(loss.params, key=lambda p: p.default is not None)
    return [
        f"{names.hyperparameters[p.name]}: {kind}" + ("" if p.default is None else f" = {float(p.default)!r}")
        for p in ordered
    ]


def head(stages: Stages, names: FileNames, more: Iterable[tuple[str, str]]) -> str:
    """The docstring of a module."""
    lines = about(stages, names.function, names.hyperparameters, __version__, more)
    return "\n".join(['"""' + lines[0], *lines[1:], '"""'])


def definition(name: str, arguments: list[str], returns: str, doc: str, body: Iterable[str]) -> str:
    """A function with a docstring of one line or more."""
    words = doc.split("\n")
    docs = [f'"""{doc}"""'] if len(words) == 1 else [f'"""{words[0]}', *words[1:], '"""']
    return "\n".join([signature(name, arguments, returns), indent(docs), indent(body)])


def given(loss: Loss, names: FileNames, golden: Golden) -> str:
    """The settings of the golden values as keyword arguments of a call: `, delta=1.0`."""
    return "".join(f", {names.hyperparameters[p.name]}={golden.hyperparameters[p.name]!r}" for p in loss.params)


def golden_lines(golden: Golden, *columns: str) -> list[str]:
    """The golden values as assignments: `inputs = [...]`."""
    return [line for column in columns for line in assignment(column, getattr(golden, column))]


def conventions(loss: Loss, prediction: str, target: str, axis: str) -> list[tuple[str, str]]:
    """The rows of the head that say what the arguments are."""
    given_by = "probabilities or values" if loss.link == IDENTITY else "scores (logits)"
    if loss.layout == CLASSWISE:
        shape = f"{prediction}: {given_by}, classes on {axis}; {target}: the same shape"
        indices = ", or class indices without that axis" if loss.y in ("onehot", "prob") else ""
        return [("arguments", shape + indices), ("result", "one value a sample; the reduction is the caller's")]
    return [
        ("arguments", f"{prediction}: {given_by}, any shape; {target}: the same shape"),
        ("result", "one value an element; the reduction is the caller's"),
    ]
