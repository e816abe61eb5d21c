"""What a loss of classes estimates: the probabilities (proper), or at least the better class (calibrated).

proper       E L, for targets with probabilities p, is least at f = p (Gneiting & Raftery 2007)
calibrated   the sign of the best score is that of the likelier class (Bartlett, Jordan & McAuliffe 2006)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from lossc.compiler.analysis.rational import Tidier
from lossc.compiler.analysis.verdicts.pieces import Unclear
from lossc.compiler.analysis.verdicts.ranges import Ranges, positive
from lossc.compiler.analysis.verdicts.rows import Rows
from lossc.compiler.analysis.verdicts.shape import convex, strictly_convex
from lossc.compiler.analysis.verdicts.signs import MINUS, NIL, true
from lossc.compiler.analysis.verdicts.study import Study, hidden, uses
from lossc.compiler.analysis.verdicts.subject import LABEL, SOFT, Subject
from lossc.compiler.analysis.verdicts.verdict import GRADIENT, VALUE, Entry, Verdict, Witness, proved, refuted, unknown
from lossc.compiler.errors import LosscError
from lossc.compiler.facts import Facts
from lossc.compiler.interval import POSITIVE
from lossc.compiler.ir import LEAF_OPS, ONE, Expr, F, Y, const, postorder, substitute
from lossc.compiler.ir import ZERO as NOTHING
from lossc.compiler.ops import call
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.passes.differentiate import derivative

_ODDS = (0.05, 0.2, 0.35, 0.5, 0.6, 0.75, 0.9)
_SCORES = (0.01, 0.1, 0.3, 0.7, 1.0, 1.5, 2.5, 4.0, 8.0, 20.0, 50.0)
_STRICTLY = "strictly"


def proper(subject: Subject, studies: Sequence[Study], rows: Rows) -> Verdict:
    """The expected loss is least at the true probabilities (for scores, through the link)."""
    try:
        if subject.kind == LABEL:
            found = _proper_label(subject, studies)
        elif subject.kind == SOFT:
            found = _proper_soft(subject, studies[0])
        elif subject.pointwise:
            found = _proper_classes(studies)
        else:
            found = _proper_row(subject, rows)
    except (Unclear, LosscError) as problem:
        found = unknown(str(problem))
    if found.status == "proved":
        return found
    witness = rows.written.first(_lies(subject, rows))
    if witness is not None:
        return refuted("another prediction than the true probabilities has a smaller expected loss", witness)
    return found


def _proper_label(subject: Subject, studies: Sequence[Study]) -> Verdict:
    """p L'(1, f) + (1 - p) L'(0, f) = 0 at f = p, and both terms convex."""
    one, zero = studies
    p = call("sigmoid", F) if subject.loss.f == "logit" else F
    rest = call("sigmoid", -F) if subject.loss.f == "logit" else ONE - F
    gap = Tidier(one.case.facts)(p * one.case.slope + rest * zero.case.slope)
    if gap is not NOTHING:
        return unknown("p L'(1, f) + (1 - p) L'(0, f) is not seen to be 0 at f = p")
    return _with_convexity([one, zero], "p L'(1, f) + (1 - p) L'(0, f) = 0 at f = p")


def _proper_soft(subject: Subject, study: Study) -> Verdict:
    if subject.loss.f != "prob":
        return unknown("f is no probability")
    gap = canonical_expr(substitute(study.case.slope, {F: Y}), study.case.facts)
    if not study.analytic or (uses(gap, Y) and Tidier(study.case.facts)(derivative(gap, Y)) is not NOTHING):
        return unknown("∂L/∂f at f = y is not seen to be the same for every class")
    return _with_convexity([study], "∂L/∂f at f = y is the same for every class")


def _proper_classes(studies: Sequence[Study]) -> Verdict:
    target, other = studies
    ends = [study.line[0] for study in studies if len(study.line) == 1 and study.line[0].total]
    if len(ends) < 2:
        return unknown("a term of a class has a kink, or may have no value")
    slope = F * ends[0].slope + (1 - F) * ends[1].slope
    if Tidier(ends[0].facts)(derivative(slope, F)) is not NOTHING:
        return unknown("p L'(1, p) + (1 - p) L'(0, p) is not seen to be constant")
    return _with_convexity([target, other], "p L'(1, p) + (1 - p) L'(0, p) is the same for every class")


def _with_convexity(studies: list[Study], why: str) -> Verdict:
    if any(convex(s).status != "proved" for s in studies):
        return unknown(f"{why}; but convexity is open, so that it may not be the least")
    strict = any(strictly_convex(s).status == "proved" for s in studies)
    return proved(f"{why}, and L is convex in f", _STRICTLY if strict else "")


def _proper_row(subject: Subject, rows: Rows) -> Verdict:
    if subject.loss.f == "prob":
        return unknown("the classes depend on each other")
    if not _straight_in_y(subject.loss.body):
        return unknown("L is not straight in y, so that its expectation is not L at the expected target")
    at_truth = substitute(subject.slopes.body, {Y: call("softmax", F)})
    if canonical_expr(_with_unit_sums(at_truth), Facts(subject.loss)) is not NOTHING:
        return unknown("the expected gradient is not seen to be 0 at the true probabilities")
    if not rows.shape.convex:
        return unknown("convexity is open")
    return proved("the expected gradient is 0 at p = softmax(f), and L is convex in f")


def _with_unit_sums(root: Expr) -> Expr:
    """Probabilities over the classes sum to 1."""
    total = {n: ONE for n in postorder(root) if n.op == "sum_c" and n.args[0].op == "softmax"}
    return substitute(root, total)


def _straight_in_y(body: Expr) -> bool:
    """Whether L is straight in y: y passes through sums, and products with what has none, only."""
    for n in postorder(body):
        if n.op in LEAF_OPS or not uses(n, Y) or n.op in ("add", "sub", "neg", "sum_c", "mean_c"):
            continue
        if not ((n.op == "mul" and sum(uses(a, Y) for a in n.args) == 1) or (n.op == "div" and not uses(n.args[1], Y))):
            return False
    return True


# -- a better lie -----------------------------------------------------------------------------------------------------


def _lies(subject: Subject, rows: Rows) -> Iterator[Witness]:
    """Distributions and predictions that beat the truth, in expectation."""
    if subject.kind == LABEL:
        yield from _label_lies(subject)
    elif len(subject.row_leaves) < 3:
        return
    elif subject.kind == SOFT:
        yield from _soft_lies(subject)
    else:
        yield from _row_lies(subject, rows)


_TRUTHS = ((0.6, 0.3, 0.1), (0.9, 0.06, 0.04), (0.4, 0.35, 0.25), (0.5, 0.25, 0.25), (0.98, 0.012, 0.008))
_LIES = ((0.998, 0.001, 0.001), *_TRUTHS, (1 / 3, 1 / 3, 1 / 3), (0.7, 0.2, 0.1), (0.97, 0.02, 0.01), (0.5, 0.3, 0.2),
         (0.2, 0.3, 0.5))  # fmt: skip


def _truths_and_lies() -> Iterator[tuple[Sequence[float], Sequence[float]]]:
    """Lies far from the truth, and lies that are more, or less, sure than it."""
    yield from itertools.product(_TRUTHS, _LIES)
    for p, by in itertools.product(_TRUTHS, (0.4, 0.8, 0.95, 1.05, 1.2, 2.5)):
        powers = [v**by for v in p]
        yield p, [v / sum(powers) for v in powers]


def _over(subject: Subject, three: Sequence[float]) -> list[float]:
    """Probabilities of all classes: the last of three shared by all the rest."""
    rest = subject.row_classes - 2
    return [three[0], three[1], *[three[2] / rest] * rest]


def _row_lies(subject: Subject, rows: Rows) -> Iterator[Witness]:
    """The expectation over the target: it is the first class, the second, or one of the rest."""
    if subject.row_classes > 12:
        return
    for p, q in _truths_and_lies():
        truth, lie = _over(subject, p), _over(subject, q)
        points, weights = [], []
        for row, sense in ((truth, 1), (lie, -1)):
            for k, chance in enumerate(truth):
                points.append({"y": subject.row_targets, "f": _turned(k, row, subject)})
                weights.append(sense * chance)
        none = (0.0,) * len(points)
        witness = Witness(tuple(points), VALUE, none, "sum is positive", weights=tuple(weights))
        if rows.written.shows(witness):  # only then is it computed with many digits
            yield replace(witness, values=tuple(rows.true_of(p["f"]) for p in points))


def _turned(k: int, row: Sequence[float], subject: Subject) -> tuple[float, ...]:
    """The row with class k put first, where the target is; as scores, if those are asked for."""
    scores = row if subject.loss.f == "prob" else [math.log(v) for v in row]
    return (scores[k], *(v for i, v in enumerate(scores) if i != k))


def _label_lies(subject: Subject) -> Iterator[Witness]:
    one, zero = (c.body for c in subject.cases)
    for p, q in itertools.permutations(_ODDS, 2):
        fs = [v if subject.loss.f == "prob" else math.log(v / (1 - v)) for v in (p, q)]
        values = tuple(true(body, {F: f}) for f in fs for body in (one, zero))
        points: tuple[dict[str, Entry], ...] = tuple({"y": y, "f": f} for f in fs for y in (1.0, 0.0))
        yield Witness(points, VALUE, values, "sum is positive", weights=(p, 1 - p, -p, p - 1))


def _soft_lies(subject: Subject) -> Iterator[Witness]:
    """The terms of a row, each as often as there are classes like it."""
    if subject.loss.f != "prob":
        return
    body, times = subject.cases[0].body, [float(w) for w in subject.row_weights]
    for p, q in _truths_and_lies():
        truth, lie = ([v / w for v, w in zip(row, times, strict=True)] for row in (p, q))
        pairs = [(y, f) for row in (truth, lie) for y, f in zip(truth, row, strict=True)]
        points: tuple[dict[str, Entry], ...] = tuple({"y": y, "f": f} for y, f in pairs)
        values = tuple(true(body, {Y: y, F: f}) for y, f in pairs)
        yield Witness(points, VALUE, values, "sum is positive", weights=(*times, *(-w for w in times)))


# -- the better class -------------------------------------------------------------------------------------------------


def calibrated(subject: Subject, studies: Sequence[Study], rows: Rows) -> Verdict:
    """For a label with probability above 1/2, the best score is positive (and negative below 1/2)."""
    if subject.kind == LABEL:
        found = proper(subject, studies, rows)
        if found.status == "proved" and found.value == _STRICTLY:
            return proved("it is strictly proper through the sigmoid")
        return _misled(subject, studies) or unknown("no rule applies to two scores that are no mirror images")
    if not subject.margin:
        return _misled(subject, studies) or unknown("it is no function of the margin")
    try:
        return _calibrated_margin(studies[0]) or _misled(subject, studies) or unknown("no rule applies")
    except (Unclear, LosscError) as problem:
        return unknown(str(problem))


def _calibrated_margin(study: Study) -> Verdict | None:
    """Falling, and with a negative slope at 0: then C(f) < C(-f) for every f > 0, and 0 is no minimum either.

    For a convex loss a derivative at 0 that is negative is necessary, too (Bartlett et al., theorem 2).
    """
    if not study.continuous:
        return None
    jump = next((j for b, _, j in study.jumps(1) if b.right is not None and b.right.exact == 0), None)
    if jump is None or not jump.finite:
        return None
    falls = all(study.sign(p, 1).kind in (MINUS, NIL) for p in study.line)
    if jump.none and jump.left < 0 and falls:
        return proved(f"it never rises, and its slope at 0 is {float(jump.left):.4g} < 0")
    if convex(study).status != "proved":
        return None
    if jump.none and jump.left < 0:
        return proved(f"convex, with the slope {float(jump.left):.4g} < 0 at 0 (Bartlett et al.)")
    h = 2.0**-20
    points = study.points((-h, h))
    slopes = tuple(true(next(p.slope for p in study.line if p.box.lo <= x <= p.box.hi), {F: x}) for x in (-h, h))
    if jump.same is False:
        because = "convex, with a kink at 0: a score of 0 may be best for a likelier class (Bartlett et al.)"
        return study.refuted(because, [Witness(points, GRADIENT, slopes, "differ")]) or hidden(because)
    if jump.none and jump.left >= 0:
        because = "convex, and it does not fall at 0: no positive score is better than 0 (Bartlett et al.)"
        right = [Witness(points[1:], GRADIENT, slopes[1:], relation) for relation in ("positive", "zero")]
        return study.refuted(because, right) or hidden(because)
    return None


def _misled(subject: Subject, studies: Sequence[Study]) -> Verdict | None:
    """A probability of the label for which a score of the wrong sign beats all of the right sign: by intervals."""
    bodies = [s.case.body for s in studies]
    if len(bodies) == 1:
        bodies.append(substitute(bodies[0], {F: -F}))
    one, other = bodies
    if subject.loss.f == "prob":
        return None
    low = -1.0 if subject.loss.y == "sign" else 0.0
    for eta, sense in itertools.product((0.65, 0.55, 0.8, 0.95), (1, -1)):
        chance = const(eta if sense > 0 else str(round(1 - eta, 2)))
        risk = chance * one + (1 - chance) * other
        right = min((_risk(risk, sense * f), sense * f) for f in _SCORES)
        wrong = min((_risk(risk, -sense * f), -sense * f) for f in _SCORES)
        if not wrong[0] < right[0] - 1e-6:
            continue
        excess = substitute(risk, {F: sense * F}) - const(wrong[0]) - const("1e-9")
        if positive(Ranges(canonical_expr(excess, Facts(subject.loss))), {F: POSITIVE}).status != "proved":
            continue
        weight = float(chance.number)
        points: tuple[dict[str, Entry], ...] = tuple({"y": y, "f": f} for f in (right[1], wrong[1]) for y in (1.0, low))
        values = tuple(true(b, {F: f}) for f in (right[1], wrong[1]) for b in (one, other))
        witness = Witness(points, VALUE, values, "sum is positive", weights=(weight, 1 - weight, -weight, weight - 1))
        sign = "positive" if sense > 0 else "negative"
        because = f"with a probability of {weight:g} of the label, f = {wrong[1]:g} beats every {sign} score"
        found = studies[0].refuted(f"{because}, by intervals", [witness])
        if found is not None:
            return found
    return None


def _risk(risk: Expr, f: float) -> float:
    value = true(risk, {F: f})
    return value if math.isfinite(value) else math.inf
