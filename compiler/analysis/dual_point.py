"""Learning-rule decomposition and dual-point analysis (thesis, sections 4.4.2 and 4.4.3), of any classification loss.

The learning rule θ <- θ + α·δ·∂f/∂θ isolates what a loss contributes, δ = -∂L/∂f (eq. 4.8). It is looked at at two
points: the null epoch, where every prediction is 1/C (eq. 4.11), and near zero training error, where the target has
1 - ε(C - 1), every other class ε, and ε goes to 0 (eq. 4.12). Beside the thesis's δ stands the error of the scores,
-∂L/∂z through the softmax or sigmoid, which is what moves the model: there the classes no longer hide each other.

    >>> print(dual_point(lossc.parse("-y*log(f)", y="onehot", f="prob")).explain())

Values are exact expressions in C and the hyper-parameters, by cases where they depend on signs. Each is checked against
numbers at points of its case. One that cannot be derived in time is looked for in numbers, and marked so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import Any, TypeVar

from lossc.compiler.analysis.asymptotics import Lead, Limit, lead, limit
from lossc.compiler.analysis.cases import Case, TooManyCases, decide
from lossc.compiler.analysis.numbers import contradicts, last_change, numeric_limit
from lossc.compiler.analysis.rational import Tidier
from lossc.compiler.analysis.row import LEAVES, Point, Row, row_of
from lossc.compiler.analysis.world import Domain, OutOfTime, Unsolved, World, context, number
from lossc.compiler.errors import UsageError
from lossc.compiler.ir import COEF, ZERO, Expr, leaves, param, postorder, substitute
from lossc.compiler.loss import CLASSWISE, Loss, Parameter
from lossc.compiler.roles import ROLES
from lossc.compiler.verify import verify

A = TypeVar("A")

MAX_CLASSES = 10**9
SHOWN_CLASSES = 10
"""C for numbers where it is not given."""
MAX_TREE = 5_000
"""Nodes of a tree beyond which nothing is derived: numbers only."""
CHECKED = 3
"""Points of a case at which its value is checked."""
TIMEOUT = 10.0


@dataclass(frozen=True)
class Quantity:
    """An error at one of the two points.

    expr      the error as an expression in ε, C and hyper-parameters
    cases     its value or limit; the condition of a case stands with it
    leads     its leading terms as ε goes to 0, with their signs; None if these were not found
    at        its value at the given C and hyper-parameters; NaN if there is none
    """

    expr: Expr
    cases: tuple[Case[Limit], ...]
    leads: tuple[Case[Lead | None], ...] | None
    at: float

    @property
    def numeric(self) -> bool:
        """Whether it was found in numbers only."""
        return any(case.answer.numeric for case in self.cases)

    def answer(self, values: Mapping[Expr, Any], classes: int) -> Limit:
        """The value for numbers."""
        return next((c.answer for c in self.cases if c.holds(values, classes)), Limit("unknown"))


@dataclass(frozen=True)
class AtPoint:
    """The errors at one point: the thesis's δ at the target and at another class, and those of the scores."""

    point: Point
    target: Quantity
    other: Quantity
    score_target: Quantity
    score_other: Quantity

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        return self.target, self.other, self.score_target, self.score_other


@dataclass(frozen=True)
class DualPoint:
    """What a loss contributes to the learning rule, at the null epoch and near zero training error.

    loss         as given; coefficients φ are hyper-parameters here
    row          δ at the target and at another class, anywhere (eq. 4.10, 4.14, 4.20)
    null, end    the two points
    classes      C as given, or None
    shown        C for numbers
    values       the hyper-parameters for numbers
    turning      the target's prediction at which the error of its score last changes its sign, in numbers; or None
    seconds      how long it took
    """

    loss: Loss
    row: Row
    null: AtPoint
    end: AtPoint
    classes: int | None
    shown: int
    values: Mapping[Expr, Fraction]
    turning: float | None
    notes: tuple[str, ...] = ()
    seconds: float = field(default=0.0, compare=False)

    @property
    def points(self) -> tuple[AtPoint, AtPoint]:
        return self.null, self.end

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        """What the loss does, in words, beside cross-entropy."""
        from lossc.compiler.analysis.dual_words import sentences

        return tuple(sentences(self))

    def explain(self) -> str:
        """The tables and the sentences, as `lossc rule` prints them."""
        from lossc.compiler.analysis.dual_text import explain

        return explain(self)

    def latex(self) -> str:
        """δ at both points, by cases as in the thesis, in LaTeX for math mode."""
        from lossc.compiler.analysis.dual_text import latex

        return latex(self)

    def data(self) -> dict[str, Any]:
        """All of it as plain data."""
        from lossc.compiler.analysis.dual_text import data

        return data(self)


def dual_point(loss: Loss, num_classes: int | None = None, *, timeout: float = TIMEOUT) -> DualPoint:
    """The dual-point analysis of a classification loss: y onehot (or prob), binary or sign, f prob, logit or real.

    C stays a symbol without `num_classes`. Raises UsageError: L206 for a loss that is none, L207 for a number of
    classes that cannot be; LossTypeError (L310) where an operator has no derivative.
    """
    start = time.monotonic()
    _check(loss, num_classes)
    loss = _with_coefficients(verify(loss))
    row = row_of(loss, num_classes)
    analysis = _Analysis(row, num_classes, start + timeout)
    analysis.check_value()
    null, end = (analysis.at(point) for point in row.points())
    return DualPoint(
        loss=loss,
        row=row,
        null=null,
        end=end,
        classes=num_classes,
        shown=analysis.shown,
        values=analysis.domain.given,
        turning=analysis.turning(),
        notes=tuple(dict.fromkeys(analysis.notes)),
        seconds=time.monotonic() - start,
    )


def _check(loss: Loss, num_classes: int | None) -> None:
    if num_classes is None:
        return
    if not 2 <= num_classes <= MAX_CLASSES:
        raise UsageError("L207", f"a row has between 2 and {MAX_CLASSES:,} classes, not {num_classes}")
    if loss.layout != CLASSWISE:
        raise UsageError(
            "L207", f"`{loss.name}` judges each label on its own: it has no number of classes",
            hint="leave the number out, or declare y: onehot",
        )  # fmt: skip


def _with_coefficients(loss: Loss) -> Loss:
    """The loss with its coefficients φ_i as hyper-parameters phi_i, which start at 1 (thesis, section 3.2.3)."""
    taken = {p.name for p in loss.params}
    mapping, params = {}, []
    for here in leaves(loss.body, COEF):
        name = f"phi_{here.index}"
        while name in taken:
            name += "_"
        taken.add(name)
        mapping[here] = param(name)
        params.append(Parameter(name, "real", Fraction(1)))
    return replace(loss.with_body(substitute(loss.body, mapping)), params=(*loss.params, *params)) if params else loss


class _Analysis:
    """The state of one analysis."""

    def __init__(self, row: Row, num_classes: int | None, deadline: float) -> None:
        self.row, self.deadline = row, deadline
        self.notes: list[str] = []
        self.shown = num_classes or SHOWN_CLASSES
        params = [p for p in row.loss.params if param(p.name) in postorder(row.loss.body)]
        given = {param(p.name): self._value(p) for p in params}
        roles = {param(p.name): ROLES[p.role] for p in params}
        self.domain = Domain(roles, row.facts, num_classes or _no_classes(row), given, deadline)
        self.tidy = Tidier(row.facts)

    def _value(self, p: Parameter) -> Fraction:
        if p.default is not None:
            return p.default
        value = Fraction(1, 2) if p.role == "unit" else Fraction(1)
        self.notes.append(f"`{p.name}` has no value: numbers are for {p.name} = {value}")
        return value

    def check_value(self) -> None:
        """UsageError (L206) unless the loss has a value on ordinary rows, and a prediction enters it."""
        loss, row = self.row.loss, self.row
        if not any(leaf in postorder(row.body) for leaf in LEAVES):
            raise UsageError("L206", f"`{loss.name}` does not depend on the prediction")
        ctx = context()
        rows = [(0.6, 0.2), (0.3, 0.1), (0.9, 0.3)] if loss.f == "prob" else [(0.5, -0.5), (2.0, -1.0), (-1.0, 0.25)]
        seen = []
        for t, j in rows:
            there = {**self.domain.given, LEAVES[0]: t, LEAVES[1]: j, LEAVES[2]: j}
            seen.append(number(row.body, there, self.shown, ctx))
        if all(ctx.isnan(v) for v in seen):
            raise UsageError(
                "L206", f"`{loss.name}` has no value where a target is known",
                expected="a loss that is defined for targets of 0 and 1",
                hint="xlogy(y, y) is 0 at y = 0, where y*log(y) has no value",
            )  # fmt: skip

    def at(self, point: Point) -> AtPoint:
        """The four errors at a point."""
        target, other = (self.quantity(e) for e in self.row.errors(point))
        if self.row.link == "scores":
            return AtPoint(point, target, other, target, other)
        return AtPoint(point, target, other, *(self.quantity(e) for e in self.row.score_errors(point)))

    def quantity(self, expr: Expr) -> Quantity:
        """The value or limit of an expression, checked, with its leading terms."""
        cases, leads = self._limits(expr), None
        if cases is None:
            found = numeric_limit(expr, self.domain.given, self.shown, self.deadline + 5)
            cases = [Case((), found)]
        else:
            leads = self._leads(expr)
        out = Quantity(expr, tuple(cases), None if leads is None else tuple(leads), float("nan"))
        return replace(out, at=self._number(out))

    def _limits(self, expr: Expr) -> list[Case[Limit]] | None:
        found = self._derived(expr, limit, _same_limit)
        if found is None or all(self._agrees(expr, case) for case in found):
            return found
        self.notes.append("a derived limit disagrees with numbers, which are shown instead")
        return None

    def _leads(self, expr: Expr) -> list[Case[Lead | None]] | None:
        return self._derived(expr, lead, _same_lead)

    def _derived(
        self, expr: Expr, ask: Callable[[Expr, World], A], same: Callable[[World, A, A], bool]
    ) -> list[Case[A]] | None:
        if expr.tree_size > MAX_TREE:
            self.notes.append("the formula is too large for limits to be derived")
            return None
        try:
            return decide(lambda world: ask(expr, world), World(self.domain, self.tidy), same)
        except Unsolved as problem:
            self.notes.append(f"not derived: {problem}")
        except TooManyCases:
            self.notes.append("not derived: there are too many cases")
        except OutOfTime:
            self.notes.append("not derived: the time was over")
        return None

    def _agrees(self, expr: Expr, case: Case[Limit]) -> bool:
        """Whether numbers bear a case out, at the first few points that are in it."""
        tried = 0
        for classes, values in self.domain.points():
            if time.monotonic() > self.deadline or tried == CHECKED:
                break
            if case.holds(values, classes):
                tried += 1
                if contradicts(case.answer, expr, values, classes):
                    return False
        return True

    def _number(self, quantity: Quantity) -> float:
        ctx = context()
        found = quantity.answer(self.domain.given, self.shown)
        if found.kind == "infinite":
            return float(found.sign * ctx.inf)
        if found.kind != "finite":
            return float("nan")
        return float(number(found.value, self.domain.given, self.shown, ctx))

    def turning(self) -> float | None:
        """The prediction at the target from which its score's error is of the sign that it has near certainty."""
        expr, _ = self.row.score_errors(self.row.points()[1])
        others = 1 if self.row.labels else self.shown - 1
        if time.monotonic() > self.deadline:
            return None
        last = last_change(expr, self.domain.given, self.shown, Fraction(1, others + 1))
        return None if last is None else float(1 - others * last)


def _no_classes(row: Row) -> int | None:
    """Labels of their own have no C: any number will do."""
    return None if row.loss.layout == CLASSWISE else 2


def _same_limit(world: World, a: Limit, b: Limit) -> bool:
    return (a.kind, a.sign) == (b.kind, b.sign) and world(a.value - b.value) is ZERO


def _same_lead(world: World, a: Lead | None, b: Lead | None) -> bool:
    if a is None or b is None:
        return a is b
    return (a.sign, a.grows) == (b.sign, b.grows) and world(a.term - b.term) is ZERO
