"""Losses that are a sum over the classes: what is claimed of the sum is shown by rows, not by one of its terms.

A term of the Kullback-Leibler divergence, y log(y/f), is negative where f > y; the sum over a row of probabilities
never is. So a refutation by a term counts only if some row confirms it.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from lossc.compiler.analysis.verdicts.proper import proper
from lossc.compiler.analysis.verdicts.signs import true
from lossc.compiler.analysis.verdicts.subject import CLASS, SOFT, Subject
from lossc.compiler.analysis.verdicts.verdict import (
    PROVED,
    REFUTED,
    VALUE,
    Entry,
    Verdict,
    Witness,
    proved,
    refuted,
    unknown,
)
from lossc.compiler.facts import Facts
from lossc.compiler.ir import ZERO, F, Y, postorder, substitute
from lossc.compiler.ops import call
from lossc.compiler.passes.canonicalize import canonical_expr

if TYPE_CHECKING:
    from lossc.compiler.analysis.verdicts.catalogue import Bench

DRAWS = 40
_EDGES = ((0.98, 0.01, 0.01), (0.01, 0.98, 0.01), (1 / 3, 1 / 3, 1 / 3), (0.5, 0.3, 0.2), (1 - 2e-6, 1e-6, 1e-6))

Shares = tuple[float, ...]
"""Probabilities of the groups of a row: the first class, the second, and all the rest together."""


def nonnegative(bench: Bench, of_terms: Callable[[], Verdict]) -> Verdict:
    """L >= 0, for the sum over a row."""
    subject = bench.subject
    found = of_terms()
    if subject.kind not in (CLASS, SOFT) or subject.loss.f != "prob" or found.status != REFUTED:
        return found

    def below() -> Iterator[Witness]:
        for target, row in _rows(subject):
            value = _total(subject, target, row)
            yield Witness((_point(subject, target, row),), VALUE, (value,), "below", min(value / 2, 0.0))

    witness = bench.written.first(below())
    if witness is not None:
        return refuted(f"L = {witness.values[0]:.4g}", witness)
    if (
        subject.kind == SOFT
        and _is_zero_at_target(subject)
        and proper(subject, bench.studies, bench.rows).status == PROVED
    ):
        return proved("it is proper, so that L(y, f) >= L(y, y), which is 0 (Gibbs' inequality)")
    return unknown("a term can be negative; the sum was so at no row that was tried")


def minimum_at_target(bench: Bench, of_terms: Callable[[], Verdict]) -> Verdict:
    """L is least where the target class is certain, for the sum over a row."""
    subject = bench.subject
    found = of_terms()
    if subject.kind != CLASS or subject.loss.f != "prob" or found.status != REFUTED:
        return found
    target = (1.0, 0.0, 0.0)

    def better() -> Iterator[Witness]:
        for certain in ((1 - 2e-6, 1e-6, 1e-6), (1 - 2e-9, 1e-9, 1e-9)):
            best = _total(subject, target, certain)
            for _, row in _rows(subject):
                points = (_point(subject, target, row), _point(subject, target, certain))
                yield Witness(points, VALUE, (_total(subject, target, row), best), "smaller than")

    witness = bench.written.first(better())
    if witness is not None:
        return refuted("L is smaller elsewhere than where the target is certain", witness)
    return unknown("a term leads away from certainty; the sum was smaller at no row that was tried")


def _rows(subject: Subject) -> Iterator[tuple[Shares, Shares]]:
    """Targets and predictions: special rows and random ones, the same every time."""
    rng = random.Random(11)
    near = [(1 - 2 * d, d, d) for d in (0.2, 0.05, 0.01, 1e-3, 1e-4, 1e-5, 1e-6, 3e-7, 1e-7, 5e-8, 2e-8)]
    rows = [*_EDGES, *near, *(_drawn(rng) for _ in range(DRAWS))]
    if subject.kind == CLASS:
        yield from (((1.0, 0.0, 0.0), row) for row in rows)
        return
    targets = [*_EDGES[:4], *(_drawn(rng) for _ in range(6))]
    yield from itertools.product(targets, rows)


def _drawn(rng: random.Random) -> Shares:
    low, high = sorted((rng.uniform(1e-4, 1 - 1e-4), rng.uniform(1e-4, 1 - 1e-4)))
    return low, high - low, 1 - high


def _groups(subject: Subject, shares: Shares) -> Shares:
    """A value for each group: of two classes, the second has all the rest."""
    weights = subject.row_weights
    kept = shares if len(weights) == 3 else (shares[0], sum(shares[1:]))
    return tuple(s / w for s, w in zip(kept, weights, strict=True))


def _point(subject: Subject, target: Shares, row: Shares) -> dict[str, Entry]:
    return {name: subject.row_of(_groups(subject, shares)) for name, shares in (("y", target), ("f", row))}


def _total(subject: Subject, target: Shares, row: Shares) -> float:
    """The sum of the terms of a row."""
    pairs = zip(_groups(subject, target), _groups(subject, row), subject.row_weights, strict=True)
    return math.fsum(times * true(subject.loss.body, {Y: y, F: f}) for y, f, times in pairs)


def _is_zero_at_target(subject: Subject) -> bool:
    """Whether the term is 0 where f = y > 0; at f = y = 0 a term of a row that has a value adds nothing."""
    case = subject.cases[0]
    there = substitute(case.body, {F: Y})
    logs = {n: n.args[0] * call("log", n.args[1]) for n in postorder(there) if n.op == "xlogy"}
    inside = Facts(replace(case.loss, y="positive", f="positive"))
    return canonical_expr(substitute(there, logs), inside) is ZERO
