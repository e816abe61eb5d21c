"""A loss as the subject of verdicts: the functions of one prediction that it consists of, and where they live.

    regression    L(y, f); if it is a function of y - f alone, y = 0 stands for every y
    margin        y is -1 or +1; if L(-1, f) = L(1, -f), y = 1 stands for both
    label         y is 0 or 1
    classes       one-hot targets and a sum over the classes: the term of the target (y = 1), and that of another class
    soft          targets that are probabilities, and a sum over the classes: any y between 0 and 1, y = 0, and y = 1
    row           the classes depend on each other: bounds hold for any row. Witnesses are rows with one value at the
                  target, one at another class, and one at all the rest: functions of three numbers

Hyper-parameters are at given values. The *domain* is what the roles say, open where a softmax or sigmoid never gives
the end; the *box* is a bounded part of it, its ends included, on which floating point is judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from lossc.compiler import ops
from lossc.compiler.analysis.verdicts.levers import JUMPING
from lossc.compiler.analysis.verdicts.proposals import vanishes
from lossc.compiler.analysis.verdicts.ranges import INSIDE, Box, Ranges
from lossc.compiler.analysis.verdicts.row_spread import spread
from lossc.compiler.errors import LosscError, UsageError
from lossc.compiler.facts import Facts
from lossc.compiler.interval import NONNEGATIVE, POSITIVE, REAL, UNIT, Interval, point
from lossc.compiler.ir import ARG, COEF, ONE, PARAM, ZERO, Expr, F, Y, const, param, postorder, substitute
from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.ops import call
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.passes.differentiate import derivative, differentiate
from lossc.compiler.passes.rewrite import rewrite
from lossc.compiler.passes.simplex import CLASSES
from lossc.compiler.passes.stable_rules import STABLE_RULES

REGRESSION, MARGIN, LABEL, CLASS, SOFT, ROW = "regression", "margin", "label", "classes", "soft", "row"
DEFAULT_CLASSES = 10
MOST_CLASSES = 1000
"""Classes of the longest rows that witnesses are."""

BOXES: Mapping[str, Interval] = {
    "real": Interval(-100.0, 100.0), "logit": Interval(-100.0, 100.0), "positive": Interval(1e-6, 100.0),
    "count": Interval(0.0, 100.0), "prob": UNIT, "binary": UNIT, "onehot": UNIT, "sign": Interval(-1.0, 1.0),
}  # fmt: skip
"""Where floating point is judged, unless another box is given."""
_DOMAINS: Mapping[str, Interval] = {
    "real": REAL, "logit": REAL, "positive": POSITIVE, "count": NONNEGATIVE, "prob": INSIDE,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """L as a function of f for one target, or of y and f if `target` is None.

    words   "y = 1", "the target class"; "" if there is no other case
    target  the target that `body` has in place of y
    every   whether it stands for all targets: L depends on y - f (or y*f) alone
    turned  whether y and f stand for -y and -f: the case is one of negative targets
    tried   the role whose targets are tried, if it is not that of y
    """

    body: Expr
    loss: Loss
    words: str = ""
    target: float | None = None
    every: bool = False
    turned: bool = False
    tried: str = ""

    @property
    def free(self) -> bool:
        """Whether y is a variable."""
        return self.target is None

    @cached_property
    def facts(self) -> Facts:
        return Facts(self.loss)

    @cached_property
    def domain(self) -> Box:
        """All values of the variables."""
        if self.free:
            return {F: _DOMAINS[self.loss.f], Y: _DOMAINS[self.loss.y]}
        return {F: _DOMAINS[self.loss.f]}

    @cached_property
    def inside(self) -> frozenset[Expr]:
        roles = ((F, self.loss.f), (Y, self.loss.y))
        return frozenset(leaf for leaf, role in roles if role == "prob")

    @cached_property
    def slope(self) -> Expr:
        """∂L/∂f. Raises LosscError where an operator has no derivative."""
        return canonical_expr(derivative(self.body, F), self.facts)

    @cached_property
    def curve(self) -> Expr:
        """∂²L/∂f²."""
        return canonical_expr(derivative(self.slope, F), self.facts)

    def ranges(self, root: Expr) -> Ranges:
        """An expression of this case as a program on intervals."""
        return Ranges(root, None, self.inside)

    def here(self, f: float, y: float | None = None) -> dict[str, float]:
        """A point as a witness has it."""
        target = self.target if y is None else y
        return {"y": 0.0 if target is None else target, "f": f}

    @property
    def clause(self) -> str:
        """`, at the target class`, for sentences."""
        return f", {self.words}" if self.words else ""


class Subject:
    """A loss with values of its hyper-parameters, and all that verdicts ask of it more than once.

    Raises UsageError (L208) where a hyper-parameter has no value, or the loss has coefficients φ.
    """

    def __init__(
        self, loss: Loss, *, box: Mapping[str, tuple[float, float]] | None = None, dtype: str = "float32",
        classes: int | None = None,
    ) -> None:  # fmt: skip
        self.source, self.dtype = loss, dtype
        self.classes = classes or DEFAULT_CLASSES
        self.loss = at_values(loss, self.classes)
        self.box = self._box(box or {})
        self.kind = kind_of(self.loss)

    def _box(self, given: Mapping[str, tuple[float, float]]) -> Box:
        out = {}
        for leaf, role in ((Y, self.loss.y), (F, self.loss.f)):
            low, high = given.get(leaf.name, (BOXES[role].lo, BOXES[role].hi))
            out[leaf] = Interval(low, high)
        return out

    @property
    def pointwise(self) -> bool:
        """Whether the loss is one of single predictions, whose cases say everything."""
        return self.kind != ROW

    @cached_property
    def distance(self) -> Expr | None:
        """L at y = 0 as a function of f, if L is certainly a function of y - f alone."""
        if self.kind != REGRESSION or self.loss.y != "real" or self.loss.f != "real":
            return None
        if not _is_of_residual(self.loss.body, Facts(self.loss)):
            return None
        return self._plain(substitute(self.loss.body, {Y: ZERO}))

    @cached_property
    def shifted(self) -> Case | None:
        """L(1, f), if y > 0 and L is certainly a function of f - log(y) alone.

        It stands for all targets, but for where the target is.
        """
        if self.kind != REGRESSION or (self.loss.y, self.loss.f) != ("positive", "real"):
            return None
        facts = Facts(replace(self.loss, y="real"))
        body = canonical_expr(substitute(self.loss.body, {Y: call("exp", Y)}), facts)
        return self._fixed(1, "for y = 1", True) if _is_of_residual(body, facts) else None

    @cached_property
    def margin(self) -> bool:
        """Whether L is certainly a function of y*f alone, for y = -1 and +1."""
        if self.kind != MARGIN:
            return False
        facts = Facts(self.loss)
        right = canonical_expr(substitute(self.loss.body, {Y: const(1)}), facts)
        left = canonical_expr(substitute(self.loss.body, {Y: const(-1), F: -F}), facts)
        return right is left

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """The functions of one prediction; none for a row."""
        body = self.loss.body
        if self.kind == ROW:
            return ()
        if self.kind == REGRESSION and self.distance is not None:
            return (Case(self.distance, self.loss, "", 0.0, True),)
        if self.kind in (REGRESSION, SOFT):
            free = Case(self._plain(body), self.loss)
            ends = (self._fixed(0, "for y = 0"), self._fixed(1, "for y = 1")) if self.loss.y == "prob" else ()
            return (free, *ends)
        if self.kind == MARGIN and self.margin:
            return (self._fixed(1, "", True),)
        if self.kind == CLASS:
            return (self._fixed(1, "at the target class"), self._fixed(0, "at another class"))
        low = -1 if self.kind == MARGIN else 0
        return (self._fixed(1, "for y = 1"), self._fixed(low, f"for y = {low}"))

    def _fixed(self, y: int, words: str, every: bool = False) -> Case:
        return Case(self._plain(substitute(self.loss.body, {Y: const(y)})), self.loss, words, float(y), every)

    def _plain(self, body: Expr) -> Expr:
        """The canonical form, with bounded functions for quotients of exponentials: equal for all numbers."""
        facts = Facts(self.loss)
        made, applied = rewrite(canonical_expr(body, facts), _BOUNDED, facts)
        return canonical_expr(made, facts) if applied else made

    # -- rows -------------------------------------------------------------------------------------------------------

    @cached_property
    def row_classes(self) -> int:
        """The number of classes of the rows that witnesses are."""
        return min(self.classes, MOST_CLASSES)

    @cached_property
    def row_leaves(self) -> tuple[Expr, ...]:
        """The predictions of a row: at the target, at another class, and (one for all) at the rest."""
        return ROW_F[: min(self.row_classes, 3)]

    @cached_property
    def row_weights(self) -> tuple[int, ...]:
        """How many classes each of them stands for."""
        return (1, 1, self.row_classes - 2)[: len(self.row_leaves)]

    def row_of(self, values: Sequence[float]) -> tuple[float, ...]:
        """The whole row, from a value for each leaf."""
        return tuple(v for v, times in zip(values, self.row_weights, strict=True) for _ in range(times))

    @cached_property
    def row_targets(self) -> tuple[float, ...]:
        """The targets of the whole row: the first class is the right one."""
        return self.row_of((1.0, *[-1.0 if self.loss.y == "sign" else 0.0] * (len(self.row_leaves) - 1)))

    @cached_property
    def row(self) -> Expr:
        """The loss of a row, in the leaves `row_leaves`; a one-hot target is the first class."""
        return canonical_expr(self.spread, Facts(self.loss))

    @cached_property
    def spread(self) -> Expr:
        """The same as it is written."""
        loss = at_values(self.source, self.row_classes)
        return spread(loss, {F: self.row_leaves, Y: self._target_leaves}, self.row_weights)

    @cached_property
    def spread_scores(self) -> Expr:
        """The same, in the scores before the softmax or sigmoid."""
        loss = at_values(self.source, self.row_classes)
        linked = loss.with_body(substitute(loss.body, {F: call(loss.link, F)}))
        return spread(linked, {F: self.row_leaves, Y: self._target_leaves}, self.row_weights)

    @property
    def _target_leaves(self) -> tuple[Expr, ...]:
        low = const(-1 if self.loss.y == "sign" else 0)
        return (ONE, low, low)[: len(self.row_leaves)]

    @cached_property
    def slopes(self) -> Loss:
        """∂L/∂f at every class, as a loss. Raises LosscError where an operator has no derivative."""
        return differentiate(self.loss)

    def pair(self, root: Expr) -> Ranges:
        """An expression along the class axis as a program on intervals: at the target, and at another class."""
        return Ranges(root, self.classes, frozenset({F} if self.loss.f == "prob" else ()))

    def pair_boxes(self, f: Interval | None = None) -> tuple[Box, Box]:
        """The domain (or another range of f), at the target and at another class."""
        domain = f or _DOMAINS[self.loss.f]
        if self.loss.y == "onehot":
            return {F: domain, Y: point(1.0)}, {F: domain, Y: point(0.0)}
        y = BOXES[self.loss.y] if self.loss.y in ("binary", "sign", "prob") else _DOMAINS[self.loss.y]
        return {F: domain, Y: y}, {F: domain, Y: y}


_BOUNDED = tuple(r for r in STABLE_RULES if r.id in ("V3", "V7"))
"""log(1 + exp(x)) is softplus(x), exp(x)/(1 + exp(x)) is sigmoid(x): of which bounds are known."""
ROW_F = tuple(param(f"?f{i}") for i in range(3))


def at_values(loss: Loss, classes: int) -> Loss:
    """The loss with its hyper-parameters and the number of classes put in."""
    for n in postorder(loss.body):
        if n.op == COEF:
            raise UsageError("L208", f"{loss.name} has coefficients φ: there is no one loss to judge",
                             hint="write numbers for them")  # fmt: skip
        if n.op == PARAM and loss.parameter(n.name).default is None:
            raise UsageError("L208", f"`{n.name}` has no value", hint=f"--set {n.name}=1")
    values = {param(p.name): const(p.default) for p in loss.params if p.default is not None}
    values[CLASSES] = const(classes)
    return replace(loss, body=substitute(loss.body, values), params=(), spans={}, text=None)


def kind_of(loss: Loss) -> str:
    """How a loss is looked at: "regression", "margin", "label", "classes", "soft" or "row"."""
    if any(n.op in ops.OPS and ops.OPS[n.op].axis for n in postorder(loss.body)):
        return ROW
    if loss.y == "sign":
        return MARGIN
    if loss.y == "binary":
        return LABEL
    if loss.layout == CLASSWISE:
        return CLASS if loss.y == "onehot" else SOFT
    return REGRESSION


def _is_of_residual(body: Expr, facts: Facts) -> bool:
    """Whether an expression in real y and f is certainly a function of y - f: by form, or by its derivatives."""
    residual = param("?residual")
    named = substitute(body, {Y - F: residual, F - Y: -residual, Y + -F: residual, F + -Y: -residual})
    if not any(n.op == ARG for n in postorder(named)):
        return True
    if any(n.op in JUMPING for n in postorder(body)) or not facts.total(body):
        return False  # a function that jumps, or ends, may have this derivative on each part
    try:
        moved = derivative(body, Y) + derivative(body, F)
    except LosscError:
        return False
    return vanishes(moved, facts)
