"""The numbers of a picture: a loss, its gradient and its second derivative along a line of predictions.

What is drawn depends on the kind of the loss (`lossc.compiler.analysis.verdicts.subject`):

    a residual      y - f is all that matters: one panel over f - y
    a margin        y*f is all that matters: one panel over it
    two targets     two panels: the target (y = 1) and the other one, over a probability or a score
    many targets    one panel, a line for each of a few targets
    a row           the target's probability or score, the other classes sharing the rest evenly: the loss of the row,
                    and ∂L/∂f at the target and at another class
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from lossc.compiler.analysis.row import J, R, T, row_of
from lossc.compiler.analysis.verdicts.pieces import Unclear
from lossc.compiler.analysis.verdicts.study import Study
from lossc.compiler.analysis.verdicts.subject import CLASS, LABEL, MARGIN, ROW, Subject
from lossc.compiler.errors import LosscError, UsageError
from lossc.compiler.float32 import evaluate_in
from lossc.compiler.formats import FLOAT64
from lossc.compiler.ir import Expr, F, Y, const, substitute
from lossc.compiler.loss import Loss
from lossc.compiler.passes.differentiate import derivative
from lossc.compiler.passes.target_only import per_class_terms
from lossc.compiler.sampling import Points

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[np.float64]"

LOSS, GRAD, HESS = "loss", "grad", "hess"
QUANTITIES: Mapping[str, str] = {LOSS: "loss L", GRAD: "gradient ∂L/∂f", HESS: "second derivative ∂²L/∂f²"}
"""What can be drawn, and what its axis is called."""
COUNT = 801
RANGES: Mapping[str, tuple[float, float]] = {
    "prob": (0.0, 1.0),
    "logit": (-6.0, 6.0),
    "real": (-4.0, 4.0),
    "positive": (0.0, 6.0),
}
TARGETS: Mapping[str, tuple[float, ...]] = {
    "real": (-1.0, 0.5, 2.0), "positive": (0.5, 1.0, 3.0), "count": (0.0, 1.0, 4.0), "prob": (0.2, 0.5, 1.0),
}  # fmt: skip
MOST_TARGETS = 8


@dataclass(frozen=True)
class Line:
    """One line of a panel: NaN where there is no value; `kinks` are places where the slope jumps."""

    label: str
    x: Array
    values: Mapping[str, Array]
    kinks: tuple[float, ...] = ()


@dataclass(frozen=True)
class Panel:
    """One column of a picture: what its horizontal axis is, and what it shows."""

    title: str
    axis: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class View:
    """All that is drawn of one or several losses."""

    panels: tuple[Panel, ...]
    what: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())


def view_of(
    losses: Sequence[Loss], what: Sequence[str] = (LOSS, GRAD), *, labels: Sequence[str] | None = None,
    span: tuple[float, float] | None = None, targets: Sequence[float] | None = None, classes: int | None = None,
) -> View:  # fmt: skip
    """The numbers for a picture of losses of one kind.

    `what` are keys of `QUANTITIES`, `span` is the range of the horizontal axis, `targets` are those of a loss of y and
    f that is no function of the residual. Raises UsageError (L260) where the losses cannot share axes, or nothing can be
    drawn.
    """
    _check(what, span, targets)
    names = list(labels) if labels is not None else [one.name for one in losses]
    subjects = [Subject(_by_class(one), classes=classes) for one in losses]
    _same_axes(subjects, names)
    columns: dict[tuple[str, str], list[Line]] = {}
    for subject, name in zip(subjects, names, strict=True):
        for title, axis, line in _lines(subject, name if len(losses) > 1 else "", what, span, targets):
            columns.setdefault((title, axis), []).append(line)
    panels = tuple(Panel(title, axis, tuple(lines)) for (title, axis), lines in columns.items())
    if not any(math.isfinite(v) for p in panels for line in p.lines for v in line.values[what[0]].tolist()):
        raise UsageError("L260", "there is nothing to draw: the loss has no finite value there", hint="another --range")
    return View(panels, tuple(what))


def _by_class(loss: Loss) -> Loss:
    """A loss that is a sum over the classes as the term of one class, where it is one."""
    terms = per_class_terms(loss) if loss.y == "onehot" else None
    return loss if terms is None else loss.with_body(terms)


def _check(what: Sequence[str], span: tuple[float, float] | None, targets: Sequence[float] | None) -> None:
    for one in what:
        if one not in QUANTITIES:
            raise UsageError("L260", f"`{one[:40]}` cannot be drawn", expected="some of: " + ", ".join(QUANTITIES))
    if not what:
        raise UsageError("L260", "nothing to draw", expected="some of: " + ", ".join(QUANTITIES))
    if span is not None and not (all(map(math.isfinite, span)) and span[0] < span[1] and span[1] - span[0] > 1e-9):
        raise UsageError(
            "L260", f"the range {span[0]:g} to {span[1]:g} cannot be drawn", expected="LOW..HIGH, LOW < HIGH"
        )
    if targets is not None and not 1 <= len(targets) <= MOST_TARGETS:
        raise UsageError("L260", f"{len(targets)} targets cannot be drawn", expected=f"1 to {MOST_TARGETS}")


def _same_axes(subjects: Sequence[Subject], names: Sequence[str]) -> None:
    first = subjects[0]
    for subject, name in zip(subjects, names, strict=True):
        if _axes(subject) != _axes(first):
            raise UsageError(
                "L260", f"{names[0]} and {name} cannot share axes: {_axes(first)}, and {_axes(subject)}",
                hint="draw them one by one",
            )  # fmt: skip


def _axes(subject: Subject) -> str:
    loss = subject.loss
    if subject.distance is not None:
        return "a loss of the residual"
    if subject.margin:
        return "a loss of the margin"
    family = "classes" if loss.y in ("onehot", "binary", "prob") else loss.y
    return f"y is {family}, f is {loss.f}"


def _lines(
    subject: Subject, name: str, what: Sequence[str], span: tuple[float, float] | None, targets: Sequence[float] | None
) -> list[tuple[str, str, Line]]:
    """(title of the panel, its axis, line) for each line of a loss."""
    low, high = span or RANGES[subject.loss.f]
    if subject.kind == ROW:
        return _row_lines(subject, name, what, (low, high))
    out = []
    axis = _axis_name(subject)
    for study, title, suffix in _studies(subject, targets):
        values, x = _values(study, what, low, high)
        label = ", ".join(part for part in (name, suffix) if part)
        out.append((title, axis, Line(label, x, values, _kinks(study, low, high))))
    return out


def _axis_name(subject: Subject) -> str:
    if subject.distance is not None:
        return "residual f - y"
    if subject.margin:
        return "margin y·f"
    return {"prob": "probability f", "logit": "score f"}.get(subject.loss.f, "prediction f")


def _studies(subject: Subject, targets: Sequence[float] | None) -> list[tuple[Study, str, str]]:
    """(study with a fixed target, title of its panel, its name in the legend)."""
    if subject.kind in (LABEL, CLASS) or (subject.kind == MARGIN and not subject.margin):
        low = "y = -1" if subject.kind == MARGIN else "y = 0"
        words = ("target (y = 1)", "non-target (y = 0)") if subject.kind == CLASS else ("y = 1", low)
        return [(Study(c), w, "") for c, w in zip(subject.cases, words, strict=True)]
    (case,) = subject.cases
    if not case.free:
        return [(Study(case), "", "")]
    out = []
    for y in targets or TARGETS[subject.loss.y]:
        body = substitute(case.body, {Y: const(y)})
        out.append((Study(replace(case, body=body, words=f"for y = {y:g}", target=y)), "", f"y = {y:g}"))
    return out


def _values(study: Study, what: Sequence[str], low: float, high: float) -> tuple[dict[str, Array], Array]:
    """The quantities along the line, computed in float64; kinks are cut into two sides."""
    import numpy as np

    x = np.linspace(low, high, COUNT)
    breaks = {*_kinks(study, low, high), *_kinks(study, low, high, 2)}
    near = [b + s * 1e-9 * max(1.0, abs(b)) for b in breaks for s in (-1, 1)]
    x = np.unique(np.concatenate([x, np.asarray(near, dtype=np.float64)]))
    points = Points({F: tuple(x.tolist())}, ("",) * len(x))
    out: dict[str, Array] = {}
    for one in what:
        try:
            root = {LOSS: lambda: study.case.body, GRAD: lambda: study.case.slope, HESS: lambda: study.case.curve}[
                one
            ]()
        except LosscError:
            out[one] = np.full_like(x, np.nan)
            continue
        (values,) = evaluate_in(FLOAT64, [root], points)
        out[one] = np.where(np.isfinite(values), values, np.nan)
    return out, x


def _kinks(study: Study, low: float, high: float, order: int = 1) -> tuple[float, ...]:
    """Where the derivative of an order jumps."""
    try:
        found = [float(b.right.at) for b, _, j in study.jumps(order) if b.right is not None and not j.none]
    except (Unclear, LosscError):
        return ()
    return tuple(k for k in found if low < k < high)


def _row_lines(
    subject: Subject, name: str, what: Sequence[str], span: tuple[float, float]
) -> list[tuple[str, str, Line]]:
    """A loss whose classes depend on each other, along the line on which the other classes are equal."""
    import numpy as np

    try:
        row = row_of(subject.loss, subject.classes)
    except LosscError as problem:
        raise UsageError("L260", f"{subject.loss.name} cannot be drawn: {problem.diagnostic.message}") from None
    x = np.linspace(*span, COUNT)
    if subject.loss.f == "prob":
        x = x[(x > 0) & (x < 1)]
        others, axis = (1 - x) / (subject.classes - 1), "probability of the target"
    else:
        others, axis = np.zeros_like(x), "score of the target (of the others: 0)"
    columns = {T: tuple(x.tolist()), J: tuple(others.tolist()), R: tuple(others.tolist())}
    points = Points(columns, ("",) * len(x))
    target: dict[str, Array] = {}
    other: dict[str, Array] = {}
    for one in what:
        first, second = _row_roots(row.body, row.target, row.other, one)
        a, b = evaluate_in(FLOAT64, [first, second], points)
        target[one], other[one] = (np.where(np.isfinite(v), v, np.nan) for v in (a, b))
    return [("target", axis, Line(name, x, target)), ("another class", axis, Line(name, x, other))]


def _row_roots(body: Expr, target: Expr, other: Expr, what: str) -> tuple[Expr, Expr]:
    if what == LOSS:
        return body, body
    if what == GRAD:
        return -target, -other
    return -derivative(target, T), -derivative(other, J)
