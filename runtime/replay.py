"""Witnesses replayed in torch: the formula as written, at the points of the witness, differentiated by autograd.

>>> replayed(judge(lossc.parse("log(1 + 0.5*(y - f)^2)"))).of("refuted")
['convex', ...]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace as replaced
from functools import lru_cache

import torch
from torch import Tensor

from lossc.compiler.analysis.verdicts.judge import Verdicts
from lossc.compiler.analysis.verdicts.subject import DEFAULT_CLASSES, at_values
from lossc.compiler.analysis.verdicts.verdict import GRADIENT, HESSIAN, SCORES, Entry, Witness, unknown
from lossc.compiler.ir import F, substitute
from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.ops import call
from lossc.compiler.targets.options import Options
from lossc.runtime.compiled import to_torch


def replay(loss: Loss, witness: Witness, classes: int = DEFAULT_CLASSES) -> list[float]:
    """The numbers of a witness, computed anew by torch in its dtype (float64 for true numbers): one a point.

    Hyper-parameters are at their defaults; single predictions of a classification loss are those of as many classes as
    were judged, rows have their own length. `witness.holds(replay(loss, witness))` is the test.
    """
    return [_one(loss, point, witness, classes) for point in witness.points]


def replayed(verdicts: Verdicts) -> Verdicts:
    """The same verdicts, where a refutation whose witness torch does not replay is unknown."""
    found = dict(verdicts.found)
    for name, verdict in verdicts.found.items():
        if verdict.witness is not None:
            told = replay(verdicts.loss, verdict.witness, verdicts.classes)
            if not verdict.witness.holds(told):
                numbers = ", ".join(f"{v:.6g}" for v in told)
                found[name] = unknown(f"a point was found ({verdict.witness}), but torch gives {numbers} there")
    return replaced(verdicts, found=found)


def _one(loss: Loss, point: Mapping[str, Entry], witness: Witness, classes: int) -> float:
    scores = SCORES in point
    f = point[SCORES if scores else "f"]
    row = isinstance(f, tuple)
    module, classwise = _module(loss, len(f) if isinstance(f, tuple) else classes, scores)
    dtype = getattr(torch, witness.dtype or "float64")
    given = _tensor(f, dtype).requires_grad_()
    target = _tensor(point["y"], dtype)
    whole = row or classwise
    value = module(given[None], target[None]).sum() if whole else module(given, target).sum()
    if witness.quantity not in (GRADIENT, HESSIAN):
        return float(value.detach())
    slope = _gradient(value, given, graph=witness.quantity == HESSIAN)
    entry = slope[witness.entry] if slope.ndim else slope
    if witness.quantity == GRADIENT:
        return float(entry.detach())
    curve = _gradient(entry, given, graph=False)
    return float((curve[witness.entry] if curve.ndim else curve).detach())


@lru_cache(maxsize=16)
def _module(loss: Loss, classes: int, scores: bool) -> tuple[torch.nn.Module, bool]:
    """The formula as written, of numbers of any kind, as a module; and whether it is of rows."""
    plain = at_values(loss, classes)
    if scores:
        plain = plain.with_body(substitute(plain.body, {F: call(loss.link, F)}))
    free = replaced(plain, y="real", f="real")
    return to_torch(free, "none", options=Options(literal=True)), free.layout == CLASSWISE


def _gradient(value: Tensor, given: Tensor, *, graph: bool) -> Tensor:
    if not value.requires_grad:
        return torch.zeros_like(given)
    (slope,) = torch.autograd.grad(value, given, create_graph=graph, allow_unused=True)
    return torch.zeros_like(given) if slope is None else slope


def _tensor(value: Entry, dtype: torch.dtype) -> Tensor:
    return torch.tensor(value, dtype=torch.float64).to(dtype)
