"""The measurement: two programs of one loss, run where the truth is known, in every dtype and under both measures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lossc.compiler.errors import UsageError
from lossc.compiler.formats import FORMATS
from lossc.compiler.loss import CLASSWISE, ELEMENTWISE, IDENTITY, Loss
from lossc.compiler.printing import to_text
from lossc.compiler.targets.options import DTYPES, Options
from lossc.compiler.verify import verify
from lossc.runtime.accuracy.dead import biased, clamped
from lossc.runtime.accuracy.formats import bits, holds, ulps, vanishes
from lossc.runtime.accuracy.points import MEASURES, Batch, batches
from lossc.runtime.accuracy.report import (
    AFTER,
    BEFORE,
    GRADIENT,
    VALUE,
    AccuracyReport,
    Entry,
    Point,
    Skipped,
)
from lossc.runtime.accuracy.truth import KINK, UNDEFINED, UNRESOLVED, Oracle, Truth
from lossc.runtime.compiled import to_torch

POINTS, FEWEST, MOST = 200, 12, 100_000
AFFORDABLE = {ELEMENTWISE: 15_000, CLASSWISE: 1_200}
"""Nodes times points that one dtype and measure may cost; a larger formula is measured at fewer points by default."""
SHOWN_DIGITS = 17


def accuracy(loss: Loss, *, dtypes: Sequence[str] = DTYPES, points: int | None = None, seed: int = 0) -> AccuracyReport:
    """The error of value and gradient of a loss against mpmath, before and after compilation.

    `before` is the formula as it is written, printed literally; `after` what `Loss.to_torch` gives. Both are
    differentiated by torch. `points` is the number of inputs for each dtype and measure (default 200, fewer for large
    formulas); hyper-parameters are at their defaults.

    Raises UsageError for an unknown dtype or a number of points that cannot be (L235), and for a hyper-parameter
    without a default (L242); LossTypeError for a loss that cannot be compiled.
    """
    _check(loss, dtypes, points)
    oracle = Oracle(verify(loss))
    count = points or max(FEWEST, min(POINTS, AFFORDABLE[loss.layout] // oracle.size))
    notes = [] if points or count == POINTS else [f"measured at {count} points, not {POINTS}, to take a few seconds"]
    programs = both(loss)
    entries: list[Entry] = []
    skipped: list[Skipped] = []
    known: list[tuple[Batch, list[Truth]]] = []
    for dtype in dict.fromkeys(dtypes):
        for measure in MEASURES:
            found = [(batch, oracle.truths(batch)) for batch in batches(loss, dtype, measure, count, seed)]
            known += found
            skipped.append(_skipped(dtype, measure, found))
            for program, module in programs.items():
                try:
                    entries += _entries(loss, oracle, program, module, found)
                except (RuntimeError, NotImplementedError) as problem:
                    notes.append(f"{program}, {dtype}: torch does not run it: {str(problem).splitlines()[0]}")
    return AccuracyReport(
        loss.name, to_text(loss.body), tuple(dict.fromkeys(dtypes)), count, seed, tuple(entries), tuple(skipped),
        tuple(clamped(loss, known, oracle)), tuple(biased(loss, known, oracle)), tuple(dict.fromkeys(notes)),
    )  # fmt: skip


def _check(loss: Loss, dtypes: Sequence[str], points: int | None) -> None:
    for dtype in dtypes:
        if dtype not in DTYPES:
            raise UsageError("L235", f"`{str(dtype)[:40]}` is not a dtype", expected="one of: " + ", ".join(DTYPES))
    if not dtypes:
        raise UsageError("L235", "no dtype to measure in", expected="some of: " + ", ".join(DTYPES))
    if points is not None and not 1 <= points <= MOST:
        raise UsageError("L235", f"the number of points must be between 1 and {MOST:,}, got {points}")
    for p in loss.params:
        if p.default is None:
            raise UsageError(
                "L242", f"{loss.name} needs a value for `{p.name}` to be measured",
                hint=f"--set {p.name}=1, or in Python loss.with_defaults({p.name}=1)",
            )  # fmt: skip


def both(loss: Loss) -> dict[str, nn.Module]:
    """The two programs, unreduced."""
    return {
        BEFORE: to_torch(loss, "none", options=Options(literal=True)),
        AFTER: to_torch(loss, "none"),
    }


def run(module: nn.Module, batch: Batch) -> tuple[list[float], list[list[float]]]:
    """The values at every point, and the gradients with respect to each entry of the input, as exact float64."""
    dtype = getattr(torch, batch.dtype)
    given = _tensor(batch.inputs, batch.classes).to(dtype).requires_grad_()
    target = _tensor(batch.targets, batch.classes)
    target = target.argmax(1) if batch.one_hot else target.to(dtype)
    loss = module(given, target)
    (slope,) = torch.autograd.grad(loss, given, torch.ones_like(loss))
    slopes = slope.to(torch.float64).reshape(len(batch), -1)
    return loss.detach().to(torch.float64).tolist(), slopes.tolist()


def _tensor(rows: Sequence[Sequence[float]], classes: int | None) -> Tensor:
    flat = torch.tensor(rows, dtype=torch.float64)
    return flat[:, 0].clone() if classes is None else flat


@dataclass(frozen=True, slots=True)
class Result:
    """One number that a program gave, beside its truth (mpf)."""

    batch: Batch
    index: int
    entry: int
    got: float
    truth: Any
    ulps: float

    @property
    def bits(self) -> float:
        return bits(self.ulps, FORMATS[self.batch.dtype])

    def shown(self, name: str, mp: Any) -> Point:
        """The result in words and plain numbers; `name` is what the input is called."""
        batch, i = self.batch, self.index
        truth = mp.nstr(self.truth, SHOWN_DIGITS) if _printable(self.truth, mp) else "0 (far below the smallest number)"
        at = batch.describe(i, name)
        return Point(
            at, batch.targets[i], batch.inputs[i], self.entry, self.got, truth, min(self.ulps, 1e300), self.bits
        )


def _printable(truth: Any, mp: Any) -> bool:
    return truth == 0 or bool(mp.mag(truth) > -10_000)


def compare(oracle: Oracle, module: nn.Module, batch: Batch, truths: Sequence[Truth]) -> dict[str, list[Result]]:
    """The values and gradient entries of a batch whose truth is a number that the dtype holds."""
    form, mp = FORMATS[batch.dtype], oracle.mp
    values, slopes = run(module, batch)
    out: dict[str, list[Result]] = {VALUE: [], GRADIENT: []}
    with mp.workdps(60):
        for i, truth in enumerate(truths):
            pairs = [(VALUE, 0, values[i], truth.value)]
            pairs += [(GRADIENT, j, slopes[i][j], slope) for j, slope in enumerate(truth.slopes)]
            for of, j, got, true in pairs:
                if not isinstance(true, str) and mp.isfinite(true) and holds(true, form):
                    out[of].append(Result(batch, i, j, got, true, ulps(got, true, form, mp)))
    return out


def _entries(
    loss: Loss, oracle: Oracle, program: str, module: nn.Module, found: Sequence[tuple[Batch, list[Truth]]]
) -> Iterator[Entry]:
    name, first = "f" if loss.link == IDENTITY else "z", found[0][0]
    form, mp = FORMATS[first.dtype], oracle.mp
    compared = [compare(oracle, module, batch, truths) for batch, truths in found]
    for of in (VALUE, GRADIENT):
        results = [r for c in compared for r in c[of]]
        wrong = [r for r in results if not math.isfinite(r.got)]
        dead = [r for r in results if of == GRADIENT and r.got == 0 and not vanishes(r.truth, form)]
        worst = max(results, key=lambda r: (r.bits, r.ulps), default=None)
        deadest = max(dead, key=lambda r: abs(r.truth), default=None)
        yield Entry(
            first.dtype, first.measure, of, program, len(results),
            sum(r.bits for r in results) / len(results) if results else None, worst.bits if worst else None,
            worst.shown(name, mp) if worst else None, len(wrong), len(dead),
            deadest.shown(name, mp) if deadest else None, tuple(r.shown(name, mp) for r in wrong),
        )  # fmt: skip


def _skipped(dtype: str, measure: str, found: Sequence[tuple[Batch, list[Truth]]]) -> Skipped:
    form = FORMATS[dtype]
    truths = [t for _, some in found for t in some]
    values = [t.value for t in truths]
    slopes = [s for t in truths if not isinstance(t.value, str) for s in t.slopes]
    return Skipped(
        dtype,
        measure,
        points=len(truths),
        undefined=values.count(UNDEFINED),
        overflow=sum(not isinstance(v, str) and not holds(v, form) for v in values),
        unresolved=sum(UNRESOLVED in (t.value, *t.slopes) for t in truths),
        kinks=sum(s == KINK for s in slopes),
        steep=sum(not isinstance(s, str) and not holds(s, form) for s in slopes),
    )
