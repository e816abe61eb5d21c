"""The properties that are judged: one record each, in the order of reports (numerics.md, section 6c)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from lossc.compiler.analysis.verdicts import (
    bounds,
    form,
    proper,
    row_rules,
    shape,
    size,
    smooth,
    statistics,
    sums,
    towards,
    valleys,
)
from lossc.compiler.analysis.verdicts.clock import tick
from lossc.compiler.analysis.verdicts.floats import Floats
from lossc.compiler.analysis.verdicts.pieces import Unclear
from lossc.compiler.analysis.verdicts.rows import Rows
from lossc.compiler.analysis.verdicts.scores import in_scores
from lossc.compiler.analysis.verdicts.signs import NIL, true
from lossc.compiler.analysis.verdicts.study import Study, comparable
from lossc.compiler.analysis.verdicts.subject import CLASS, LABEL, MARGIN, REGRESSION, ROW, SOFT, Subject
from lossc.compiler.analysis.verdicts.verdict import PROVED, REFUTED, UNKNOWN, Verdict, proved
from lossc.compiler.analysis.verdicts.written import Written
from lossc.compiler.errors import LosscError


class Bench:
    """A subject with the studies that its properties share."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.written = Written(subject)
        self.studies = tuple(Study(c, self.written) for c in subject.cases)
        self.rows = Rows(subject, self.written)
        self.floats = Floats(subject)

    @cached_property
    def has_values(self) -> bool:
        """Whether the loss has a value at some point that is tried."""
        if self.subject.kind == ROW:
            return any(not math.isnan(self.rows.true(row)) for row in self.rows.draws)
        return any(not math.isnan(true(s.case.body, p)) for s in self.studies for p in s.grid)

    def all(
        self,
        decide: Callable[[Study], Verdict],
        *,
        skip_constant: bool = False,
        least: bool = False,
        towards: bool = False,
    ) -> Verdict:
        """A property of every case: refuted by one, proved by all; `towards` if it asks where the target is.

        `skip_constant` leaves out terms of a sum over the classes that f does not enter; of several values the least or
        the greatest is kept.
        """
        skip = skip_constant and self.subject.kind in (CLASS, SOFT)
        studies = [s for s in self.studies if not (skip and _is_constant(s))]
        found = []
        for study in studies or self.studies:
            tick()
            verdict = decide(study)
            if verdict.status == UNKNOWN and study.free:
                verdict = self._by_parts(study, decide, least, towards) or verdict
            found.append(verdict)
            if verdict.status == REFUTED:
                return verdict
        return _joined(found, least)

    def _by_parts(self, study: Study, decide: Callable[[Study], Verdict], least: bool, towards: bool) -> Verdict | None:
        """Proved for y = 1 where that stands for all, or for targets of each sign; None if it is not."""
        shifted = None if towards else self.subject.shifted
        ways = [(Study(shifted, self.written),)] if shifted is not None else []
        for parts in (*ways, study.parts):
            found: list[Verdict] = []
            for part in parts:
                found.append(decide(part))
                if found[-1].status != PROVED:
                    break
            else:
                if found:
                    joined = _joined(found, least)
                    return joined if _is_number(joined.value) else proved(joined.because)
        return None

    def either(self, of_case: Callable[[Study], Verdict], of_row: Callable[[Rows], Verdict],
               *, least: bool = False, towards: bool = False) -> Verdict:  # fmt: skip
        """Case by case, or for rows as a whole."""
        if self.subject.kind == ROW:
            return of_row(self.rows)
        return self.all(of_case, least=least, towards=towards)


def _is_constant(study: Study) -> bool:
    """Whether f does not enter the case: the loss leaves that prediction alone."""
    try:
        return not study.free and all(study.sign(p, 1).kind == NIL for p in study.line)
    except (LosscError, Unclear):
        return False


def _joined(found: Sequence[Verdict], least: bool) -> Verdict:
    open_ones = [v for v in found if v.status != PROVED]
    if open_ones:
        return open_ones[0]
    reasons = list(dict.fromkeys(v.because for v in found))
    values = list(dict.fromkeys(v.value for v in found))
    values = values if all(values) else []  # a constant of one case is none of the loss
    return proved("; ".join(reasons), _value(values, least))


def _value(values: Sequence[str], least: bool) -> str:
    """One value for several cases: the least or the greatest of numbers, else all words."""
    try:
        return (min if least else max)(values, key=float) if values else ""
    except ValueError:
        return ", ".join(values)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


@dataclass(frozen=True)
class Property:
    """A property: its name, what it says, its group in reports, whom it applies to, and how it is decided."""

    name: str
    means: str
    group: str
    applies: Callable[[Subject], bool]
    decide: Callable[[Bench], Verdict]


def _any(_: Subject) -> bool:
    return True


def _pointwise(s: Subject) -> bool:
    return s.kind != ROW


def _real_line(s: Subject) -> bool:
    """Whether a single prediction ranges over the real line, and may be far from its target."""
    return s.kind in (REGRESSION, MARGIN, LABEL) and s.loss.f in ("real", "logit")


def _numbers(s: Subject) -> bool:
    return s.kind == REGRESSION


def _one_kind(s: Subject) -> bool:
    return s.kind == REGRESSION and comparable(s.loss)


def _towards(s: Subject) -> bool:
    if s.kind == ROW:
        return s.loss.y in ("onehot", "binary")
    return s.kind in (MARGIN, LABEL, CLASS) or _one_kind(s)


def _both_real(s: Subject) -> bool:
    return s.kind == REGRESSION and s.loss.y == s.loss.f == "real"


def _probabilities(s: Subject) -> bool:
    if s.kind == ROW:
        return s.loss.y == "onehot" and s.loss.f in ("prob", "logit")
    return (s.kind in (LABEL, CLASS) and s.loss.f in ("prob", "logit")) or (s.kind == SOFT and s.loss.f == "prob")


def _signs(s: Subject) -> bool:
    return s.kind == MARGIN or (s.kind == LABEL and s.loss.f == "logit")


SHAPE, SIZE, SMOOTH, TOWARDS, STATISTICS, FORM, FLOATS = (
    "shape", "size", "smoothness", "target", "statistics", "form", "floating point",
)  # fmt: skip

PROPERTIES: tuple[Property, ...] = (
    Property("convex", "L is convex in f", SHAPE, _any, lambda b: b.either(shape.convex, row_rules.convex)),
    Property("strictly-convex", "L is strictly convex in f", SHAPE, _pointwise,
             lambda b: b.all(shape.strictly_convex, skip_constant=True)),
    Property("strongly-convex", "L'' >= m for some m >= 1e-6", SHAPE, _pointwise,
             lambda b: b.all(shape.strongly_convex, skip_constant=True, least=True)),
    Property("convex-in-scores", "L is convex in the scores before the softmax or sigmoid", SHAPE,
             lambda s: s.loss.f == "prob", lambda b: in_scores(b.subject, b.written)),
    Property("quasi-convex", "L falls to a minimum in f and rises after it", SHAPE, _pointwise,
             lambda b: b.all(valleys.quasiconvex)),
    Property("monotone", "L never rises, or never falls, in f", SHAPE, _pointwise, lambda b: b.all(valleys.monotone)),
    Property("bounded-below", "L(y, .) has a lower bound for every y", SIZE, _any,
             lambda b: b.either(bounds.bounded_below, row_rules.bounded_below, least=True)),
    Property("nonnegative", "L >= 0", SIZE, _any,
             lambda b: sums.nonnegative(b, lambda: b.either(bounds.nonnegative, row_rules.nonnegative))),
    Property("lipschitz", "L is continuous, with a bounded slope", SIZE, _any,
             lambda b: b.either(size.lipschitz, row_rules.lipschitz)),
    Property("smooth", "the slope is continuous, with a bounded derivative", SIZE, _pointwise,
             lambda b: b.all(size.smooth)),
    Property("robust", "the slope stays bounded far from the target", SIZE, _real_line, lambda b: b.all(size.robust)),
    Property("redescending", "the slope vanishes far from the target", SIZE, _both_real,
             lambda b: b.all(size.redescending)),
    Property("no-dead-zone", "there is no interval of f with slope 0", SIZE, _pointwise,
             lambda b: b.all(size.no_dead_zone, skip_constant=True)),
    Property("continuous", "L has no jumps", SMOOTH, _any, lambda b: b.either(smooth.continuous, row_rules.continuous)),
    Property("C1", "L has a continuous slope", SMOOTH, _any,
             lambda b: b.either(smooth.differentiable, row_rules.differentiable)),
    Property("C2", "L has a continuous second derivative", SMOOTH, _any,
             lambda b: b.either(smooth.twice_differentiable, row_rules.twice_differentiable)),
    Property("gradient-sign", "the gradient never leads away from the target", TOWARDS, _towards,
             lambda b: b.either(towards.gradient_sign, row_rules.gradient_sign, towards=True)),
    Property("minimum-at-target", "L is least where the prediction is right", TOWARDS, _towards,
             lambda b: sums.minimum_at_target(
                 b, lambda: b.either(towards.minimum_at_target, row_rules.minimum_at_target, towards=True))),
    Property("mean-consistent", "the best constant is the mean, through a link", STATISTICS, _numbers,
             lambda b: statistics.mean_consistent(b.subject, b.studies[0])),
    Property("median-consistent", "the best constant is a median", STATISTICS, _one_kind,
             lambda b: statistics.median_consistent(b.subject, b.studies[0])),
    Property("proper", "the expected loss is least at the true probabilities", STATISTICS, _probabilities,
             lambda b: proper.proper(b.subject, b.studies, b.rows)),
    Property("calibrated", "the sign of the best score is that of the likelier class", STATISTICS, _signs,
             lambda b: proper.calibrated(b.subject, b.studies, b.rows)),
    Property("distance", "L is a function of y - f", FORM, _both_real, lambda b: form.distance(b.subject, b.written)),
    Property("margin", "L is a function of y*f", FORM, lambda s: s.kind == MARGIN,
             lambda b: form.margin(b.subject, b.written)),
    Property("symmetric", "L(y, f) = L(f, y)", FORM, _one_kind, lambda b: form.symmetric(b.subject, b.studies[0])),
    Property("homogeneous", "L(t*y, t*f) = t^k L(y, f)", FORM, _one_kind,
             lambda b: form.homogeneous(b.subject, b.studies[0])),
    Property("finite-value", "as written, the value is finite on the box", FLOATS, _any, lambda b: b.floats.value()),
    Property("finite-gradient", "the gradient itself is finite on the box", FLOATS, _any,
             lambda b: b.floats.gradient_value(1)),
    Property("finite-hessian", "the second derivative itself is finite on the box", FLOATS, _any,
             lambda b: b.floats.gradient_value(2)),
    Property("autograd-gradient", "as written, autograd's gradient is finite on the box", FLOATS, _any,
             lambda b: b.floats.autograd_gradient()),
    Property("autograd-hessian", "as written, autograd's second derivative is finite on the box", FLOATS, _any,
             lambda b: b.floats.autograd_hessian()),
)  # fmt: skip
"""Every property that is judged."""

BY_NAME = {p.name: p for p in PROPERTIES}
