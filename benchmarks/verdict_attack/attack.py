"""All attacks on the verdicts of one loss."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice

from benchmarks.verdict_attack.claims import Claims
from benchmarks.verdict_attack.floats import FloatClaims
from benchmarks.verdict_attack.function import Function
from benchmarks.verdict_attack.row_claims import RowClaims
from lossc.compiler.analysis.verdicts.judge import Verdicts, judge
from lossc.compiler.analysis.verdicts.verdict import Verdict
from lossc.compiler.ir import const, node, param, substitute
from lossc.compiler.loss import Loss

COUNT = 100_000
SHOWN = 2


@dataclass
class Result:
    """What an attack found: verdicts by status, wrong ones, witnesses that torch does not show."""

    name: str
    kind: str
    seconds: float
    proved: int = 0
    refuted: int = 0
    unknown: list[str] = field(default_factory=list)
    attacked: int = 0
    wrong: list[str] = field(default_factory=list)
    unshown: list[str] = field(default_factory=list)


def attacked(
    loss: Loss, *, count: int = COUNT, seed: int = 0, classes: int | None = None, timeout: float = 10
) -> Result:
    """Judge a loss, attack every proof, replay every witness."""
    found = judge(loss, classes=classes, timeout=timeout)
    result = Result(loss.name, found.kind, found.seconds)
    attack = Attack(loss, found, count, seed)
    for name, verdict in found.found.items():
        if verdict.status == "unknown":
            result.unknown.append(name)
        elif verdict.status == "refuted":
            result.refuted += 1
            result.unshown += [f"{name}: {why}" for why in replayed(loss, verdict, found.classes)]
        else:
            result.proved += 1
            lines = attack.on(name, verdict)
            if lines is not None:
                result.attacked += 1
                result.wrong += [f"{name}: {line}" for line in islice(lines, SHOWN)]
    return result


def replayed(loss: Loss, verdict: Verdict, classes: int) -> Iterator[str]:
    """What is wrong with a witness, replayed in torch: nothing, if all is well."""
    from lossc.runtime.replay import replay

    if verdict.witness is None:
        yield "no witness"
        return
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        try:
            numbers = replay(loss, verdict.witness, classes)
        except Exception as problem:
            yield f"{type(problem).__name__}: {problem}"
            return
    if not verdict.witness.holds(numbers):
        yield f"{numbers} are not {verdict.witness.relation}: {verdict.witness}"
    for one in raised[:1]:
        yield f"warning: {one.message}"


class Attack:
    """The attacks on the proofs of one loss, by property."""

    def __init__(self, loss: Loss, found: Verdicts, count: int, seed: int) -> None:
        self.loss, self.found, self.count, self.seed = loss, found, count, seed
        self.function = Function(loss, found.classes)
        self.is_row = found.kind == "row"

    def on(self, name: str, verdict: Verdict) -> Iterable[str] | None:
        """Lines that speak against a proof; None for a property that is not attacked."""
        if name.startswith(("finite-", "autograd-")):
            return self._floats(name)
        value = _number(verdict.value)
        if name == "convex-in-scores":
            scores = Function(self.loss, self.found.classes, self.loss.link)
            scores.loss = replace(self.loss, f="logit")
            return (RowClaims(scores, self.count, self.seed) if self.loss.link == "softmax" else
                    Claims(scores, self.found.kind, self.count, self.seed)).convex()  # fmt: skip
        rows = RowClaims(self.function, self.count, self.seed)
        if name == "proper":
            return Claims(self.function, self.found.kind, self.count, self.seed).proper_label() if (
                self.found.kind == "label") else rows.proper()  # fmt: skip
        sums = self.found.kind in ("classes", "soft") and self.loss.f == "prob"
        if self.is_row or (sums and name in ("nonnegative", "minimum-at-target")):
            return self._of_rows(rows, name, value)
        return self._of_points(Claims(self.function, self.found.kind, self.count, self.seed), name, value, verdict)

    def _of_rows(self, rows: RowClaims, name: str, value: float | None) -> Iterable[str] | None:
        by_name = {
            "convex": rows.convex, "bounded-below": lambda: rows.bounded_below(value), "nonnegative": rows.nonnegative,
            "lipschitz": lambda: rows.lipschitz(value), "gradient-sign": rows.gradient_sign,
            "minimum-at-target": rows.minimum_at_target, "continuous": lambda: rows.of_class(0),
            "C1": lambda: rows.of_class(1), "C2": lambda: rows.of_class(2),
        }  # fmt: skip
        return by_name[name]() if name in by_name else None

    def _of_points(self, c: Claims, name: str, value: float | None, verdict: Verdict) -> Iterable[str] | None:
        by_name = {
            "convex": c.convex, "strictly-convex": c.strictly_convex,
            "strongly-convex": lambda: c.convex(value or 1e-6) if self.found.kind not in ("classes",) else _each(c, value),
            "quasi-convex": c.quasi_convex, "monotone": c.monotone, "bounded-below": lambda: c.bounded_below(value),
            "nonnegative": c.nonnegative, "lipschitz": lambda: c.lipschitz(value), "smooth": lambda: c.smooth(value),
            "robust": c.robust, "redescending": c.redescending, "no-dead-zone": c.no_dead_zone,
            "continuous": lambda: c.of_class(0), "C1": lambda: c.of_class(1), "C2": lambda: c.of_class(2),
            "gradient-sign": c.gradient_sign, "minimum-at-target": c.minimum_at_target,
            "mean-consistent": c.mean_consistent, "median-consistent": c.median_consistent, "calibrated": c.calibrated,
            "distance": c.distance, "margin": c.margin, "symmetric": c.symmetric,
            "homogeneous": lambda: c.homogeneous(Fraction(verdict.value)),
        }  # fmt: skip
        return by_name[name]() if name in by_name else None

    def _floats(self, name: str) -> Iterable[str] | None:
        values = {param(p.name): const(p.default) for p in self.loss.params if p.default is not None}
        values[node("num_classes")] = const(self.found.classes)
        plain = Loss(substitute(self.loss.body, values), self.loss.name, self.loss.y, self.loss.f)
        claims = FloatClaims(self.found, plain, self.count, self.seed)
        if name in ("finite-gradient", "finite-hessian"):
            return claims.closed(self.function, 1 if name == "finite-gradient" else 2)
        return claims.finite({"finite-value": 0, "autograd-gradient": 1, "autograd-hessian": 2}[name])


def _each(c: Claims, modulus: float | None) -> Iterator[str]:
    """Of a class that f enters."""
    for y in (0.0, 1.0):
        if not c.constant(y):
            yield from Claims(c.function, c.kind, c.count // 2, 5, y).convex(modulus or 1e-6)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


