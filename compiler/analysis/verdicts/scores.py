"""Convexity in the scores that a model gives, for losses of probabilities: through the softmax or the sigmoid."""

from __future__ import annotations

from dataclasses import replace

from lossc.compiler.analysis.verdicts import row_rules, shape
from lossc.compiler.analysis.verdicts.rows import Rows
from lossc.compiler.analysis.verdicts.study import Study
from lossc.compiler.analysis.verdicts.subject import Subject
from lossc.compiler.analysis.verdicts.verdict import REFUTED, SCORES, UNKNOWN, Verdict, Witness, unknown
from lossc.compiler.analysis.verdicts.written import Written
from lossc.compiler.passes.link import apply_link


def in_scores(subject: Subject, written: Written) -> Verdict:
    """L is convex in the scores."""
    linked = apply_link(subject.source)
    inner = Subject(linked, dtype=subject.dtype, classes=subject.classes)
    here = Written(inner)
    if inner.pointwise:
        found = [shape.convex(Study(c, here)) for c in inner.cases]
        verdict = next((v for v in found if v.status == REFUTED), None) or next(
            (v for v in found if v.status == UNKNOWN), found[0]
        )
    else:
        verdict = row_rules.convex(Rows(inner, here))
    if verdict.witness is None:
        return verdict
    renamed = _renamed(verdict.witness)
    if not written.shows(renamed):
        return unknown(f"{verdict.because}, fused with its link; float64 does not show it as written")
    return replace(verdict, witness=renamed)


def _renamed(witness: Witness) -> Witness:
    points = tuple({("y" if k == "y" else SCORES): v for k, v in p.items()} for p in witness.points)
    return replace(witness, points=points)
