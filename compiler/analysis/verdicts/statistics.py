"""What a loss estimates: the mean or the median of the targets; probabilities (proper); the better class (calibrated).

mean         a loss elicits the mean, through some link, only if ∂L/∂f is straight in y (Osband's principle)
median       0 is a subgradient of E L at every median
proper       E L, for targets with probabilities p, is least at f = p (Gneiting & Raftery 2007)
calibrated   the sign of the best score is that of the likelier class (Bartlett, Jordan & McAuliffe 2006)
"""

from __future__ import annotations

import itertools
import math

from lossc.compiler import ops
from lossc.compiler.analysis.rational import Tidier
from lossc.compiler.analysis.verdicts.pieces import Unclear
from lossc.compiler.analysis.verdicts.rows import Rows
from lossc.compiler.analysis.verdicts.shape import convex, strictly_convex
from lossc.compiler.analysis.verdicts.study import MINUS, NIL, Study, true, uses
from lossc.compiler.analysis.verdicts.subject import LABEL, SOFT, Subject
from lossc.compiler.analysis.verdicts.verdict import GRADIENT, VALUE, Entry, Verdict, Witness, proved, refuted, unknown
from lossc.compiler.errors import LosscError
from lossc.compiler.facts import Facts
from lossc.compiler.ir import CONST, ONE, ZERO, Expr, F, Y, postorder, substitute
from lossc.compiler.loss import Loss
from lossc.compiler.ops import call
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.passes.differentiate import derivative

_TRIPLES = ((0.0, 1.0, 2.0), (0.5, 2.5, 4.5), (1.0, 2.0, 3.0), (2.0, 8.0, 14.0))
_REAL_TRIPLES = ((-2.0, 0.0, 2.0), (-1.0, 0.5, 2.0), *_TRIPLES)
_AT = (0.25, 1.25, 3.5)
_FOUR = ((0.5, 1.0, 2.0, 7.0), (0.25, 1.0, 1.5, 30.0))
_BETWEEN = (1.25, 1.75)
_ODDS = (0.05, 0.2, 0.35, 0.5, 0.6, 0.75, 0.9)


# -- mean and median --------------------------------------------------------------------------------------------------


def mean_consistent(subject: Subject) -> Verdict:
    """The best constant prediction is the mean of the targets, or a function of it (a link)."""
    loss = subject.loss
    slope = _slope(loss)
    smooth = all(not _bends(n) for n in postorder(loss.body))
    if smooth and canonical_expr(derivative(derivative(slope, Y), Y), Study(subject.cases[0]).case.facts) is ZERO:
        if canonical_expr(derivative(slope, Y), Study(subject.cases[0]).case.facts) is ZERO:
            return unknown("∂L/∂f does not depend on y")
        return proved("∂L/∂f is straight in y: its expectation depends on the mean of y alone")
    triples = _REAL_TRIPLES if loss.y == "real" else _TRIPLES
    for f, ys in itertools.product(_AT, triples):
        points: tuple[dict[str, Entry], ...] = tuple({"y": y, "f": f} for y in ys)
        values = tuple(true(slope, {Y: y, F: f}) for y in ys)
        witness = Witness(points, GRADIENT, values, "not straight")
        if all(map(math.isfinite, values)) and witness.holds():
            return refuted(f"∂L/∂f at f = {f:g} is not straight in y: other things than the mean matter", witness)
    return unknown("∂L/∂f is straight in y wherever it was tried; the identity is not seen in form")


def _bends(here: Expr) -> bool:
    """Whether an operator that y or f enters is not analytic everywhere."""
    if not here.args or not (uses(here, Y) or uses(here, F)):
        return False
    record = ops.record(here)
    return record.gives == ops.BOOL_KIND or bool(record.kinks(*here.args)) or here.op == "where"


def _slope(loss: Loss) -> Expr:
    return derivative(loss.body, F)


def median_consistent(subject: Subject) -> Verdict:
    """The best constant prediction is a median of the targets."""
    if subject.distance is not None:
        found = _two_values(Study(subject.cases[0]))
        if found is not None:
            return proved(f"∂L/∂f is -{found} where f < y and {found} where f > y")
    slope = _slope(subject.loss)
    for ys, f in itertools.product(_FOUR, _BETWEEN):
        if not ys[1] < f < ys[2]:
            continue
        points: tuple[dict[str, Entry], ...] = tuple({"y": y, "f": f} for y in ys)
        values = tuple(true(slope, {Y: y, F: f}) for y in ys)
        witness = Witness(points, GRADIENT, values, "sum is not zero")
        if all(map(math.isfinite, values)) and witness.holds():
            return refuted(f"of these four targets f = {f:g} is a median, and the gradient is not 0 there", witness)
    return unknown("the gradient is 0 at the medians that were tried; no rule applies")


def _two_values(study: Study) -> str | None:
    try:
        line = study.line
    except (Unclear, LosscError):
        return None
    if len(line) != 2 or line[0].right is None or line[0].right.exact != 0:
        return None
    left, right = line[0].slope, line[1].slope
    if left.op == right.op == CONST and left.number == -right.number and right.number > 0:
        return f"{float(right.number):g}"
    return None


# -- probabilities ----------------------------------------------------------------------------------------------------


def proper(subject: Subject) -> Verdict:
    """The expected loss is least at the true probabilities (for scores, through the link)."""
    try:
        found = _proper_label(subject) if subject.kind == LABEL else _proper_classes(subject)
    except (Unclear, LosscError) as problem:
        found = unknown(str(problem))
    if found.status == "proved":
        return found
    witness = _better_lie(subject)
    if witness is not None:
        return refuted("another prediction than the true probabilities has a smaller expected loss", witness)
    return found


def _proper_label(subject: Subject) -> Verdict:
    """p L'(1, f) + (1 - p) L'(0, f) = 0 at f = p, and both terms convex."""
    one, zero = (Study(c) for c in subject.cases)
    p = call("sigmoid", F) if subject.loss.f == "logit" else F
    rest = call("sigmoid", -F) if subject.loss.f == "logit" else ONE - F
    gap = Tidier(one.case.facts)(p * one.case.slope + rest * zero.case.slope)
    if gap is not ZERO:
        return unknown("p L'(1, f) + (1 - p) L'(0, f) is not seen to be 0 at f = p")
    return _with_convexity([one, zero], "p L'(1, f) + (1 - p) L'(0, f) = 0 at f = p")


def _proper_classes(subject: Subject) -> Verdict:
    if subject.kind == SOFT:
        study = Study(subject.cases[0])
        if subject.loss.f != "prob":
            return unknown("f is no probability")
        gap = canonical_expr(substitute(study.case.slope, {F: Y}), study.case.facts)
        if uses(gap, Y) and Tidier(study.case.facts)(derivative(gap, Y)) is not ZERO:
            return unknown("∂L/∂f at f = y is not seen to be the same for every class")
        return _with_convexity([study], "∂L/∂f at f = y is the same for every class")
    if subject.pointwise:
        target, other = (Study(c) for c in subject.cases)
        slope = F * target.case.slope + (1 - F) * other.case.slope
        if Tidier(target.case.facts)(derivative(slope, F)) is not ZERO:
            return unknown("p L'(1, p) + (1 - p) L'(0, p) is not seen to be constant")
        return _with_convexity([target, other], "p L'(1, p) + (1 - p) L'(0, p) is the same for every class")
    if subject.loss.f == "prob":
        return unknown("the classes depend on each other")
    at_truth = substitute(subject.slopes.body, {Y: call("softmax", F)})
    if canonical_expr(_with_unit_sums(at_truth), Facts(subject.loss)) is not ZERO:
        return unknown("the expected gradient is not seen to be 0 at the true probabilities")
    rows = Rows(subject)
    if rows.shape.convex and _straight_in_y(subject):
        return proved("the expected gradient is 0 at p = softmax(f), and L is convex in f", "strictly")
    return unknown("convexity is open")


def _with_unit_sums(root: Expr) -> Expr:
    """Probabilities over the classes sum to 1."""
    total = {n: ONE for n in postorder(root) if n.op == "sum_c" and n.args[0].op in ("softmax",)}
    total |= {n: ONE for n in postorder(root) if n.op == "sum_c" and n.args[0] is Y}
    return substitute(root, total)


def _straight_in_y(subject: Subject) -> bool:
    """Whether L is straight in y, so that its expectation is L at the expected target."""
    body = subject.loss.body
    return not any(_bends(n) and uses(n, Y) for n in postorder(body)) and not any(
        n.op in ("mul", "div", "pow", "square") and sum(uses(a, Y) for a in n.args) > 1 for n in postorder(body)
    )


def _with_convexity(studies: list[Study], why: str) -> Verdict:
    if any(convex(s).status != "proved" for s in studies):
        return unknown(f"{why}; but convexity is open, so that it may not be the least")
    strict = any(strictly_convex(s).status == "proved" for s in studies)
    return proved(f"{why}, and L is convex in f", "strictly" if strict else "")


def _better_lie(subject: Subject) -> Witness | None:
    """A distribution and a prediction that beats the truth, in expectation."""
    if subject.kind == LABEL:
        return _label_lie(subject)
    rows = Rows(subject)
    truths: list[tuple[float, ...]] = [(0.6, 0.3, 0.1), (0.9, 0.06, 0.04), (0.4, 0.35, 0.25)]
    lies: list[tuple[float, ...]] = [
        (0.998, 0.001, 0.001),
        *truths,
        (1 / 3, 1 / 3, 1 / 3),
        (0.7, 0.2, 0.1),
        (0.97, 0.02, 0.01),
        (0.5, 0.3, 0.2),
    ]
    if subject.kind == SOFT:
        return _soft_lie(subject, truths, lies)
    for p in truths:
        for q in lies:
            fs = [_turned(k, row, subject) for row in (p, q) for k in range(3)]
            values = tuple(rows.true(f) for f in fs)
            points = tuple(rows.here(f) for f in fs)
            witness = Witness(points, VALUE, values, "sum is positive", weights=(*p, *(-v for v in p)))
            if all(map(math.isfinite, values)) and witness.holds():
                return witness
    return None


def _turned(k: int, row: tuple[float, ...], subject: Subject) -> tuple[float, ...]:
    """The row with class k put first, where the target is; as scores, if those are asked for."""
    scores = row if subject.loss.f == "prob" else tuple(math.log(v) for v in row)
    return (scores[k], *(v for i, v in enumerate(scores) if i != k))


def _label_lie(subject: Subject) -> Witness | None:
    one, zero = (c.body for c in subject.cases)
    for p in _ODDS:
        for q in _ODDS:
            if p == q:
                continue
            fs = [v if subject.loss.f == "prob" else math.log(v / (1 - v)) for v in (p, q)]
            values = tuple(true(body, {F: f}) for f in fs for body in (one, zero))
            points: tuple[dict[str, Entry], ...] = tuple({"y": y, "f": f} for f in fs for y in (1.0, 0.0))
            witness = Witness(points, VALUE, values, "sum is positive", weights=(p, 1 - p, -p, p - 1))
            if all(map(math.isfinite, values)) and witness.holds():
                return witness
    return None


def _soft_lie(subject: Subject, truths: list[tuple[float, ...]], lies: list[tuple[float, ...]]) -> Witness | None:
    body = subject.cases[0].body
    for p, q in itertools.product(truths, lies):
        values = tuple(true(body, {Y: y, F: f}) for row in (p, q) for y, f in zip(p, row, strict=True))
        points: tuple[dict[str, Entry], ...] = tuple(
            {"y": y, "f": f} for row in (p, q) for y, f in zip(p, row, strict=True)
        )
        witness = Witness(points, VALUE, values, "sum is positive", weights=(1.0,) * 3 + (-1.0,) * 3)
        if all(map(math.isfinite, values)) and witness.holds():
            return witness
    return None


# -- the better class -------------------------------------------------------------------------------------------------


def calibrated(subject: Subject) -> Verdict:
    """For a label with probability above 1/2, the best score is positive (and negative below 1/2)."""
    if subject.kind == LABEL:
        if subject.loss.f == "prob":
            found = proper(subject)
            return proved("it is proper") if found.status == "proved" else _misled(subject) or unknown(found.because)
        if proper(subject).status == "proved":
            return proved("it is proper through the sigmoid")
        return _misled(subject) or unknown("no rule applies to two scores that are not each other's mirror image")
    if not subject.margin:
        return _misled(subject) or unknown("it is no function of the margin")
    try:
        return _calibrated_margin(Study(subject.cases[0])) or _misled(subject) or unknown("no rule applies")
    except (Unclear, LosscError) as problem:
        return unknown(str(problem))


def _calibrated_margin(study: Study) -> Verdict | None:
    """Falling, and with a negative slope at 0: then C(f) < C(-f) for every f > 0, and 0 is no minimum either.

    For a convex loss a derivative at 0 that is negative is necessary, too (Bartlett et al., theorem 2).
    """
    if not study.continuous():
        return None
    jump = next((j for b, _, j in study.jumps(1) if b.right is not None and b.right.exact == 0), None)
    if jump is None:
        return None
    falls = all(study.sign(p, 1).kind in (MINUS, NIL) for p in study.line)
    if jump.none and jump.left < 0 and falls:
        return proved(f"it never rises, and its slope at 0 is {float(jump.left):.4g} < 0")
    if convex(study).status != "proved":
        return None
    if jump.none and jump.left < 0:
        return proved(f"convex, with the slope {float(jump.left):.4g} < 0 at 0 (Bartlett et al.)")
    h = 2.0**-20
    points = (study.case.here(-h), study.case.here(h))
    slopes = tuple(true(next(p.slope for p in study.line if p.box.lo <= x <= p.box.hi), {F: x}) for x in (-h, h))
    if not jump.none:
        witness = Witness(points, GRADIENT, slopes, "differ")
        return refuted(
            "convex, with a kink at 0: a score of 0 may be best for a likelier class (Bartlett et al.)", witness
        )
    return None


def _misled(subject: Subject) -> Verdict | None:
    """A probability of the label for which a score of the wrong sign beats all of the right sign that were tried."""
    one, other = (c.body for c in subject.cases) if len(subject.cases) == 2 else (None, None)
    if one is None or other is None:
        return None
    scores = [0.01, 0.1, 0.3, 0.7, 1.0, 1.5, 2.5, 4.0, 8.0, 20.0, 50.0]
    if subject.loss.f == "prob":
        return None
    low = -1.0 if subject.loss.y == "sign" else 0.0
    for eta in (0.55, 0.65, 0.8, 0.95):
        right = min((_risk(one, other, eta, f), f) for f in scores)
        wrong = min((_risk(one, other, eta, -f), -f) for f in scores)
        if wrong[0] < right[0] - 1e-6:
            points: tuple[dict[str, Entry], ...] = tuple(
                {"y": y, "f": f} for f in (right[1], wrong[1]) for y in (1.0, low)
            )
            values = tuple(true(b, {F: f}) for f in (right[1], wrong[1]) for b in (one, other))
            witness = Witness(points, VALUE, values, "sum is positive", weights=(eta, 1 - eta, -eta, eta - 1))
            return refuted(
                f"with a probability of {eta:g} of the label, f = {wrong[1]:g} beats every positive score tried",
                witness,
            )
    return None


def _risk(one: Expr, other: Expr, eta: float, f: float) -> float:
    value = eta * true(one, {F: f}) + (1 - eta) * true(other, {F: f})
    return value if math.isfinite(value) else math.inf
