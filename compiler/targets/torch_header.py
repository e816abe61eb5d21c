"""The docstring at the head of an emitted file: what it computes, where that comes from, and what was done to it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping

from lossc.compiler.errors import LimitError
from lossc.compiler.ir import Expr, summary
from lossc.compiler.loss import SIGMOID, SOFTMAX, Loss, Parameter
from lossc.compiler.printing import to_text
from lossc.compiler.roles import ROLES
from lossc.compiler.targets.identifiers import prose
from lossc.compiler.targets.pipeline import Stages
from lossc.compiler.targets.torch_names import Names

WIDTH = 120
_LABEL = 14
_LONGEST_FORMULA = 2_000


def header(stages: Stages, names: Names, version: str) -> str:
    """The docstring of the file: what it computes, where that comes from, and what was done to it."""
    lines = about(stages, names.cls, names.hyperparameters, version)
    return "\n".join(['"""' + lines[0], *lines[1:], '"""'])


def about(
    stages: Stages, what: str, hyperparameters: Mapping[str, str], version: str, more: Iterable[tuple[str, str]] = ()
) -> list[str]:
    """The lines at the head of a file of any target, without the signs of a comment.

    `what` is what the loss is called in the file, `hyperparameters` gives the names of its parameters there, and
    `more` are further rows (label, text): the conventions of the target.
    """
    loss = stages.written
    claim = prose(loss.doc.strip().split("\n\n")[0]) or f"{what}, compiled from a formula."
    rows = [
        *_row("formula", _formula(loss.body)),
        *(_row("compiled", _formula(stages.canonical.body)) if stages.canonical.body is not loss.body else []),
        *_row("target y", f"{loss.y}: {ROLES[loss.y].doc}"),
        *_row("prediction f", f"{loss.f}: {ROLES[loss.f].doc}{_link_note(loss)}"),
        *(line for p in loss.params for line in _row("parameter", _parameter_note(p, hyperparameters))),
        *(line for label, text in more for line in _row(label, text)),
        *(_row("source", prose(loss.source)) if loss.source.strip() else []),
        *_rewrites(stages),
        *_row("lossc", f"{version}, canonical form {stages.canonical.body.digest.hex()}"),
    ]
    return [*textwrap.wrap(claim, WIDTH - 3), "", *rows]


def _row(label: str, value: str) -> list[str]:
    wrapped = textwrap.wrap(value, WIDTH - _LABEL, break_on_hyphens=False) or [""]
    return [f"{label:<{_LABEL}}{wrapped[0]}", *(" " * _LABEL + line for line in wrapped[1:])]


def _formula(body: Expr) -> str:
    try:
        text = to_text(body) if body.tree_size <= _LONGEST_FORMULA else summary(body, 400)
    except LimitError:
        text = summary(body, 400)
    return prose(text)


def _link_note(loss: Loss) -> str:
    if loss.link == SOFTMAX:
        return "; input = scores z, f = softmax(z) over the classes"
    return "; input = scores z, f = sigmoid(z)" if loss.link == SIGMOID else ""


def _parameter_note(p: Parameter, names: Mapping[str, str]) -> str:
    name = names[p.name]
    renamed = "" if name == p.name else f" (here {name})"
    default = "" if p.default is None else f"; default {float(p.default)!r}"
    return f"{prose(p.name)}{renamed}: {ROLES[p.role].doc}{default}"


def _rewrites(stages: Stages) -> list[str]:
    seen: dict[str, int] = {}
    for one in stages.applied:
        text = f"{one.rule} {_formula(one.where) if one.where.tree_size <= 60 else prose(summary(one.where))}"
        seen[text] = seen.get(text, 0) + 1
    rows = [line for text in list(seen)[:8] for line in _row("rewritten", text)]
    return rows + (_row("", f"and {len(seen) - 8} more") if len(seen) > 8 else [])
