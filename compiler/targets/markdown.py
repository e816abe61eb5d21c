r"""Target "markdown": a loss as a page that people read: formula, roles, hyper-parameters, gradient, source, values.

The formulas are LaTeX in `$$`, as GitHub, Jupyter and most wikis show them. The values are those of the reference
interpreter at the points of the self-tests, so that an implementation by hand can be compared with them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lossc._version import __version__
from lossc.compiler.errors import LossTypeError
from lossc.compiler.ir import COEF, leaves
from lossc.compiler.literals import write_number
from lossc.compiler.loss import CLASSWISE, IDENTITY, SOFTMAX, Loss
from lossc.compiler.printing import to_text
from lossc.compiler.roles import ROLES
from lossc.compiler.targets.golden import golden
from lossc.compiler.targets.latex import equations, symbol
from lossc.compiler.targets.pipeline import of_probabilities

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$])")


def emit(loss: Loss, *, gradient: bool = True, values: bool = True) -> str:
    """A Markdown page on `loss`; `gradient` and `values` say whether these parts are wanted.

    Raises LimitError (L111) for a formula of more than 200,000 nodes.
    """
    parts = [
        f"# {escaped(loss.name)}",
        "\n\n".join(escaped(" ".join(p.split())) for p in re.split(r"\n\s*\n", loss.doc.strip()) if p.strip()),
        _math(equations(loss)),
        _code(to_text(loss.body)),
        _arguments(loss),
        _hyperparameters(loss),
        _notes(loss),
        _gradient(loss) if gradient else "",
        _values(loss) if values else "",
        f"Source: {escaped(' '.join(loss.source.split()))}" if loss.source.strip() else "",
        f"Written by lossc {__version__}; canonical form `{loss.canonicalize().body.digest.hex()}`.",
    ]
    return "\n\n".join(p for p in parts if p) + "\n"


def escaped(text: str) -> str:
    """Text of a user that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", "".join(c if c.isprintable() else " " for c in text))


def _math(sides: Sequence[tuple[str, str]]) -> str:
    return "\n".join(["$$", *(f"{left} = {right}" for left, right in sides), "$$"])


def _code(text: str) -> str:
    return f"```text\n{text}\n```"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _arguments(loss: Loss) -> str:
    rows = [
        (f"${symbol(letter)}$", what, role, ROLES[role].doc)
        for letter, what, role in (("y", "target", loss.y), ("f", "prediction", loss.f))
    ]
    return _table(("argument", "is the", "role", "values"), rows)


def _hyperparameters(loss: Loss) -> str:
    if not loss.params:
        return ""
    rows = [
        (
            f"${symbol(p.name)}$",
            escaped(p.name),
            ROLES[p.role].doc,
            "to be given" if p.default is None else write_number(p.default),
        )
        for p in loss.params
    ]
    return _table(("hyper-parameter", "name", "values", "default"), rows)


def _notes(loss: Loss) -> str:
    lines = []
    if loss.layout == CLASSWISE:
        lines.append("One loss a sample; the sum and all that is marked $c$ run over the $C$ classes.")
    else:
        lines.append("One loss for each element of $y$ and $f$.")
    if loss.link != IDENTITY:
        link = "softmax over the classes" if loss.link == SOFTMAX else "sigmoid"
        lines.append(f"A model that gives scores is joined to it by the {link}.")
    return " ".join(lines)


def _gradient(loss: Loss) -> str:
    try:
        found = equations(loss, gradient=True)[1:]
    except LossTypeError as problem:
        return f"The gradient has no closed form: {escaped(problem.diagnostic.message)}."
    return f"{_math(found)}"


def _values(loss: Loss) -> str:
    """A table of points; none where no point is defined, smooth and well conditioned, or coefficients are open."""
    if leaves(loss.body, COEF):
        return ""
    found = golden(of_probabilities(loss))
    if not found.values:
        return ""
    rows = [
        [_shown(y), _shown(f), repr(value), _shown(slope)]
        for y, f, value, slope in zip(found.targets, found.inputs, found.values, found.gradients, strict=True)
    ]
    at = ", ".join(f"${symbol(n)} = {write_number_of(v)}$" for n, v in found.hyperparameters.items())
    lead = f"Values{' at ' + at if at else ''}, to float64, from the reference interpreter:"
    slope = r"$\partial\mathcal{L}/\partial f$"
    return lead + "\n\n" + _table(("$y$", "$f$", r"$\mathcal{L}$", slope), rows)


def write_number_of(value: float) -> str:
    """A float64 as short as it can be: 1 for 1.0."""
    return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(map(_shown, value)) + ")"
    return write_number_of(value) if isinstance(value, float) else str(value)
