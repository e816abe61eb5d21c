"""A loss as functions of one number each: what the curves of a figure are of.

    residual      L depends on f - y alone: over f - y
    prediction    any other loss of numbers: over f, for some targets y
    margin        L depends on y*f alone, for y = -1 and +1: over y*f
    signs         any other loss of such targets: over f, for y = 1 and y = -1
    probability   classes: over the probability f of one class, for the target (y = 1) and for another class (y = 0)
    score         the same over its score

A loss that is a sum over the classes is drawn by what one class adds to it, as in the thesis (fig. 4.4 to 4.13). One
whose classes depend on each other is drawn as a whole along a line: one class has f, and the others share 1 - f evenly
(of scores, they have 0); gradient and Hessian are those of that class's entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from lossc.compiler.analysis.row import LEAVES, SCORES, J, Row, T, row_of
from lossc.compiler.analysis.verdicts.subject import CLASS, MARGIN, REGRESSION, ROW, SOFT, Subject
from lossc.compiler.errors import UsageError
from lossc.compiler.facts import Facts
from lossc.compiler.interval import REAL, Interval
from lossc.compiler.ir import ONE, ZERO, Expr, F, Y, const, postorder, substitute
from lossc.compiler.loss import Loss
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.passes.differentiate import derivative
from lossc.compiler.passes.simplex import CLASSES
from lossc.compiler.passes.stabilize import stable_expr
from lossc.compiler.passes.target_only import per_class_terms, works_along
from lossc.compiler.roles import ROLES

if TYPE_CHECKING:
    from collections.abc import Mapping

VALUE, GRADIENT, HESSIAN = "loss", "grad", "hess"
QUANTITIES = (VALUE, GRADIENT, HESSIAN)

RESIDUAL, PREDICTION, MARGINS, SIGNS, PROBABILITY, SCORE = (
    "residual", "prediction", "margin", "signs", "probability", "score",
)  # fmt: skip
_WIDER = {RESIDUAL: PREDICTION, MARGINS: SIGNS}
"""What a way of drawing gives way to beside a loss that it does not suit."""

_SHOWN: Mapping[str, tuple[float, float]] = {"prob": (0.0, 1.0), "positive": (0.0, 5.0)}
_REACH = (-4.0, 4.0)
_TARGETS: Mapping[str, tuple[float, ...]] = {
    "real": (-1.0, 0.5, 2.0), "positive": (0.5, 1.0, 3.0), "count": (0.0, 1.0, 4.0),
}  # fmt: skip


@dataclass(frozen=True)
class Track:
    """A function of F: value, gradient and Hessian of a loss along a line of its inputs.

    name   what it is for: "target (y = 1)", "y = 0.5"; "" if there is no other
    notes  what a reader must know of it: "C = 10"
    """

    name: str
    value: Expr
    loss: Loss
    notes: tuple[str, ...] = ()
    given: tuple[Expr, Expr] | None = None
    """Gradient and Hessian, where they are not the derivatives of the value."""

    @cached_property
    def facts(self) -> Facts:
        return Facts(self.loss)

    def expression(self, quantity: str) -> Expr:
        """A quantity as an expression of F, in a form that float64 keeps accurate. Raises LosscError (L310)."""
        if quantity not in self._made:
            place = QUANTITIES.index(quantity)
            if place == 0:
                root = self.value
            elif self.given is not None:
                root = self.given[place - 1]
            else:
                root = derivative(self.expression(QUANTITIES[place - 1]), F)
            self._made[quantity] = self._stable(root)
        return self._made[quantity]

    @cached_property
    def _made(self) -> dict[str, Expr]:
        return {}

    def _stable(self, root: Expr) -> Expr:
        return stable_expr(canonical_expr(root, self.facts), self.facts)[0]


@dataclass(frozen=True)
class Axis:
    """What a curve is drawn over: words for it, the range that is shown unless another is asked for, and its domain."""

    label: str
    shown: tuple[float, float]
    domain: Interval


class Ways:
    """The ways in which one loss can be drawn. Raises UsageError: L208 where a hyper-parameter has no value."""

    def __init__(self, loss: Loss, classes: int) -> None:
        self.source, self.classes = loss, classes
        self.subject = Subject(loss, classes=classes)
        self.row: Row | None = None
        if self.subject.kind == ROW:
            self._open()

    def _open(self) -> None:
        """A sum over the classes becomes what one class adds; any other loss of a row becomes its `Row`."""
        terms = per_class_terms(self.subject.loss)
        if terms is not None and not works_along(terms):
            self.subject = Subject(self.subject.loss.with_body(substitute(terms, {CLASSES: const(self.classes)})))
            return
        try:
            self.row = row_of(self.subject.loss, self.classes)
        except UsageError as problem:
            raise UsageError(
                "L260", f"`{self.source.name}` is a function of whole rows, so there is no curve to draw of it",
                expected="one-hot targets, or a loss of single numbers", hint=problem.diagnostic.hint,
            ) from None  # fmt: skip

    @property
    def way(self) -> str:
        """The narrowest way."""
        s = self.subject
        if s.kind == REGRESSION:
            return RESIDUAL if s.distance is not None else PREDICTION
        if s.kind == MARGIN:
            return MARGINS if s.margin else SIGNS
        return PROBABILITY if s.loss.f == "prob" else SCORE

    @property
    def counted(self) -> bool:
        """Whether the number of classes matters."""
        return self.row is not None or any(n is CLASSES for n in postorder(self.source.body))

    def axis(self, way: str) -> Axis:
        """What a curve is over."""
        role = ROLES[self.subject.loss.f]
        if way == RESIDUAL:
            return Axis("residual f − y", _REACH, REAL)
        if way == MARGINS:
            return Axis("margin y·f", _REACH, REAL)
        shown = _SHOWN.get(role.name, _REACH)
        return Axis({PROBABILITY: "probability f", SCORE: "score f"}.get(way, "prediction f"), shown, role.range)

    def targets(self, way: str) -> tuple[float, ...]:
        """The targets that are looked at unless others are asked for."""
        if way == PREDICTION:
            return _TARGETS[self.subject.loss.y]
        return {SIGNS: (1.0, -1.0), PROBABILITY: (1.0, 0.0), SCORE: (1.0, 0.0)}.get(way, ())

    def tracks(self, way: str, targets: Sequence[float] = ()) -> list[Track]:
        """The functions that it is drawn by. Raises UsageError (L260) for targets that it does not have."""
        loss = self.subject.loss
        notes = (f"C = {self.classes:,}",) if self.counted else ()
        if way == RESIDUAL:
            assert self.subject.distance is not None
            return [Track("", self.subject.distance, loss, notes)]
        if way == MARGINS:
            return [Track("", substitute(loss.body, {Y: ONE}), loss, notes)]
        chosen = tuple(targets) or self.targets(way)
        for y in chosen:
            if not self.has(y):
                expected = "0 or 1" if self.row is not None else f"y: {ROLES[self.source.y].doc}"
                raise UsageError("L260", f"`{self.source.name}` has no target {y:g}", expected=expected)
        if self.row is not None:
            return [self._along(y, notes) for y in chosen]
        return [Track(self.called(y), substitute(loss.body, {Y: const(y)}), loss, notes) for y in chosen]

    def called(self, y: float) -> str:
        """A target in words."""
        plain = f"y = {y:g}".replace("-", "−")
        if self.subject.kind in (CLASS, ROW, SOFT) and y in (0.0, 1.0):
            return f"target ({plain})" if y else f"non-target ({plain})"
        return plain

    def has(self, y: float) -> bool:
        """Whether y can be a target."""
        role = ROLES[self.subject.loss.y]
        if self.row is not None:
            return y in (0.0, 1.0)
        return role.range.lo <= y <= role.range.hi and (role.name != "sign" or abs(y) == 1)

    def _along(self, y: float, notes: tuple[str, ...]) -> Track:
        """The whole loss along the line of one class."""
        row = self.row
        assert row is not None
        others = (ONE - F) / const(self.classes - 1) if row.link != SCORES else ZERO
        mine, steep = (T, -row.target) if y else (J, -row.other)
        there = {leaf: F if leaf is mine else others for leaf in LEAVES}
        curve = derivative(steep, mine)
        line = f"others {f'(1 − f)/{self.classes - 1:,}' if row.link != SCORES else '0'} each"
        value, slope, bend = (substitute(e, there) for e in (row.body, steep, curve))
        return Track(self.called(y), value, self.subject.loss, (*notes, line), (slope, bend))


def common_way(ways: Sequence[Ways], *, at_targets: bool = False) -> str:
    """The way in which all of them can be drawn over one axis, and at chosen targets if that is wanted.

    Raises UsageError (L260) if there is none.
    """
    found = [w.way for w in ways]
    if len(set(found)) > 1 or at_targets:
        found = [_WIDER.get(way, way) for way in found]
    for w, way in zip(ways, found, strict=True):
        if way != found[0]:
            raise UsageError(
                "L260", f"`{ways[0].source.name}` and `{w.source.name}` have no axis in common: one is drawn over "
                f"{_OVER[found[0]]}, the other over {_OVER[way]}",
                hint="draw them in two figures, or with a panel for each loss (--panels losses)",
            )  # fmt: skip
    return found[0]


_OVER = {
    RESIDUAL: "residuals", PREDICTION: "predictions", MARGINS: "margins", SIGNS: "predictions of a sign",
    PROBABILITY: "probabilities", SCORE: "scores",
}  # fmt: skip
