"""The sections of a card that torch computes: where the formula breaks, what the compiled one gives, and accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from lossc.compiler.analysis.analyze import Analysis
from lossc.compiler.analysis.verdicts.catalogue import BY_NAME, FLOATS
from lossc.compiler.analysis.verdicts.subject import at_values
from lossc.compiler.analysis.verdicts.verdict import GRADIENT, REFUTED, VALUE, Entry, Witness, at
from lossc.compiler.errors import LosscError
from lossc.compiler.loss import Loss
from lossc.runtime.accuracy import accuracy
from lossc.runtime.accuracy.report import AccuracyReport
from lossc.runtime.accuracy.report import Entry as Measured
from lossc.runtime.compiled import to_torch
from lossc.runtime.page.markup import Cell, Column, Markup, code, joined, numeric, table, tag
from lossc.runtime.replay import replay

POINTS = 60
"""Inputs for each dtype and measure: enough for a picture of the accuracy, in about a second."""
DTYPES = ("float32", "bfloat16")


def breaks_section(found: Analysis) -> Markup:
    """Points at which the formula, as written, is not finite; and what the compiled loss gives there."""
    failing = [
        (name, v.witness, v.fault, v.repair) for name, v in found.verdicts.found.items()
        if BY_NAME[name].group == FLOATS and v.status == REFUTED and v.witness is not None
    ]  # fmt: skip
    if not failing:
        return tag("p", "No point was found at which the formula, or autograd through it, is not finite.")
    rows: list[list[Cell | str]] = []
    for name, witness, fault, repair in failing:
        written = replay(found.loss, witness, found.verdicts.classes)[0]
        where = at(witness.points[0]).replace(" = ", "\u00a0=\u00a0")  # lines are broken at commas only
        rows.append([name, where, Cell(_shown(written)), _compiled(found, witness),
                     code(fault) if fault else "", repair])  # fmt: skip
    columns = [Column("property"), Column("at"), Column("as written"), Column("compiled"), Column("at fault"),
               Column("what helps")]  # fmt: skip
    return table(f"Replayed by torch in {found.verdicts.dtype}.", columns, rows)


def _shown(value: float) -> str:
    return "NaN" if math.isnan(value) else f"{value:.6g}".replace("inf", "∞").replace("-", "−")


def _compiled(found: Analysis, witness: Witness) -> str:
    """Value or gradient of the compiled loss at the point; of scores, where f is a probability."""
    if witness.quantity not in (VALUE, GRADIENT) or found.loss.link != "identity":
        return "takes scores" if found.loss.link != "identity" else "–"
    try:
        return _shown(_at_point(found.loss, witness.points[0], witness.quantity, found))
    except (LosscError, RuntimeError, ValueError):
        return "–"


def _at_point(loss: Loss, point: Mapping[str, Entry], quantity: str, found: Analysis) -> float:
    plain = at_values(loss, found.verdicts.classes)
    module = to_torch(plain, "none")
    dtype = getattr(torch, found.verdicts.dtype)
    given = torch.tensor(point["f"], dtype=torch.float64).to(dtype).requires_grad_()
    target = torch.tensor(point["y"], dtype=torch.float64).to(dtype)
    row = given.ndim > 0
    value = module(given[None] if row else given, target.argmax()[None] if row else target).sum()
    if quantity == VALUE:
        return float(value.detach())
    (slope,) = torch.autograd.grad(value, given)
    return float(slope.reshape(-1)[0])


def accuracy_section(found: Analysis) -> Markup:
    """Bits of error of value and gradient against mpmath, as written and compiled."""
    try:
        report = accuracy(found.loss, dtypes=DTYPES, points=POINTS)
    except LosscError as problem:
        return tag("p", f"Not measured: {problem.diagnostic.message}", class_="note")
    heads = ("written: mean", "max", "not finite", "compiled: mean", "max", "not finite")
    columns = [Column("dtype"), Column("inputs"), Column("of"), *(Column(h, numeric=True) for h in heads)]
    caption = (
        f"Bits of error, log2(1 + ulps), at {POINTS} inputs each: 0.6 is correctly rounded, 24 is no digit in float32."
    )
    return joined(tag("p", report.verdict()), table(caption, columns, _rows(report)))


def _rows(report: AccuracyReport) -> list[list[Cell | str]]:
    rows: list[list[Cell | str]] = []
    for after in report.select(program="after"):
        before = report.select(dtype=after.dtype, measure=after.measure, of=after.of, program="before")
        cells = [*_cells(before[0] if before else None), *_cells(after)]
        rows.append([after.dtype, after.measure, after.of, *cells])
    return rows


def _cells(entry: Measured | None) -> list[Cell | str]:
    if entry is None:
        return [Cell("–"), Cell("–"), Cell("–")]
    return [numeric(entry.mean_bits, 2), numeric(entry.max_bits, 1), Cell(str(entry.not_finite), entry.not_finite)]
