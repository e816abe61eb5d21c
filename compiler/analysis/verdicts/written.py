"""Witnesses in floating point: what the formula as it is written gives at their points, emulated.

A witness of true numbers must also be one that a reader can see: `lossc.runtime.replay` computes it in float64 as the
formula is written, by torch. Where cancellation or 0 times infinity hides what is true, another point has to be found.
"""

from __future__ import annotations

from collections.abc import Iterable

from lossc.compiler.analysis.verdicts.reverse import as_run, backward
from lossc.compiler.analysis.verdicts.subject import Subject, at_values
from lossc.compiler.analysis.verdicts.verdict import GRADIENT, HESSIAN, SCORES, VALUE, Entry, Witness
from lossc.compiler.errors import LosscError
from lossc.compiler.float32 import evaluate_in
from lossc.compiler.formats import FLOAT64
from lossc.compiler.ir import Expr, F, Y, postorder, substitute
from lossc.compiler.loss import varies
from lossc.compiler.ops import call
from lossc.compiler.sampling import Points

LARGEST = 20_000
"""Nodes of the graph of a derivative that is still emulated."""


class Written:
    """The formula of a subject as it is written, in float64."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._roots: dict[tuple[str, Expr, bool], Expr] = {}

    def first(self, candidates: Iterable[Witness | None]) -> Witness | None:
        """The first witness that holds in true numbers and in float64."""
        return next((w for w in candidates if w is not None and w.is_sound() and self.shows(w)), None)

    def shows(self, witness: Witness) -> bool:
        """Whether the relation of a witness holds of what float64 gives."""
        try:
            return witness.holds(self.numbers(witness))
        except (LosscError, OverflowError, ValueError, ZeroDivisionError):
            return False

    def numbers(self, witness: Witness) -> list[float]:
        """The numbers of a witness, computed as written. Raises LosscError, ValueError (a graph too large)."""
        first = witness.points[0]
        scores = SCORES in first
        name = SCORES if scores else "f"
        if isinstance(first[name], tuple):
            return self._values_of_rows(witness, name, scores) if witness.quantity == VALUE else (
                self._slopes_of_rows(witness, name, scores))  # fmt: skip
        columns = {
            Y: tuple(_number(p["y"]) for p in witness.points),
            F: tuple(_number(p[name]) for p in witness.points),
        }
        return self._evaluated(self._root(witness.quantity, F, scores), columns)

    def _values_of_rows(self, witness: Witness, name: str, scores: bool) -> list[float]:
        """Rows of any values, along the class axis."""
        classes = self.subject.row_classes
        loss = at_values(self.subject.source, classes)
        body = substitute(loss.body, {F: call(loss.link, F)}) if scores else loss.body
        columns = {Y: tuple(p["y"] for p in witness.points), F: tuple(p[name] for p in witness.points)}
        (values,) = evaluate_in(FLOAT64, [body], Points(columns, ("",) * len(witness.points), classes))
        return [float(v) for v in (values.sum(axis=1) if varies(body) else values[:, 0])]

    def _slopes_of_rows(self, witness: Witness, name: str, scores: bool) -> list[float]:
        """Rows of a few values, as functions of these."""
        leaves = self.subject.row_leaves
        rows = [p[name] for p in witness.points]
        columns = {leaf: tuple(r[k] for r in rows if isinstance(r, tuple)) for k, leaf in enumerate(leaves)}
        entry = min(witness.entry, len(leaves) - 1)
        values = self._evaluated(self._root(witness.quantity, leaves[entry], scores), columns)
        return [v / self.subject.row_weights[entry] for v in values]

    def _root(self, quantity: str, leaf: Expr, scores: bool) -> Expr:
        key = (quantity, leaf, scores)
        if key not in self._roots:
            self._roots[key] = self._made(quantity, leaf, scores)
        return self._roots[key]

    def _made(self, quantity: str, leaf: Expr, scores: bool) -> Expr:
        loss = self.subject.loss
        if leaf is F:
            root = substitute(loss.body, {F: call(loss.link, F)}) if scores else loss.body
        else:
            root = self.subject.spread_scores if scores else self.subject.spread
        root = as_run(root)
        for _ in range({VALUE: 0, GRADIENT: 1, HESSIAN: 2}[quantity]):
            root = backward(root, leaf)
            if len(postorder(root)) > LARGEST:
                raise ValueError("the graph of the derivative is too large")
        return root

    def _evaluated(self, root: Expr, columns: dict[Expr, tuple[float, ...]]) -> list[float]:
        count = len(next(iter(columns.values())))
        (values,) = evaluate_in(FLOAT64, [root], Points(dict(columns), ("",) * count))
        return [float(v) for v in values.reshape(count, -1)[:, 0]]


def _number(value: Entry) -> float:
    if isinstance(value, tuple):
        raise ValueError("a row where a number should be")
    return value
