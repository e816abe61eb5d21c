"""The accept test: SymPy proposes, we dispose.

`sympy.simplify` makes stable losses unstable and enlarges domains in silence (docs/numerics.md, finding 2), so a
proposal takes the place of a formula only if it passes every check here, cheapest first:

    form       it is well formed, over the same names, and varies over the classes exactly if the formula does
    cost       it costs strictly less (`lossc.compiler.cost`)
    domain     it is still certain to have a value everywhere if that was certain
    agreement  at every point it has a value if the formula has one, and mpmath gives the same one
               (`lossc.compiler.equivalence`; a difference in the first counts as "domain")
    domain     its operators put the same conditions on their operands (`lossc.compiler.passes.domain`)
    accuracy   in float32 it is finite wherever the formula is, and nowhere further from the truth but for an allowance
    slope      the same finiteness for its derivative with respect to f

Each refusal names a witness. Points come from `lossc.compiler.sampling`: boundaries and special values of the declared
roles included, all of them float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from lossc.compiler.cost import Cost, cost
from lossc.compiler.equivalence import MIN_DEFINED, Agreement, OutOfTime, Reference, equivalent
from lossc.compiler.errors import LosscError
from lossc.compiler.facts import Facts
from lossc.compiler.formats import FLOAT32
from lossc.compiler.ir import ARG, COEF, PARAM, Expr, F, postorder
from lossc.compiler.loss import CLASSWISE, Loss, varies
from lossc.compiler.passes.domain import conditions, unimplied
from lossc.compiler.sampling import Points, points
from lossc.compiler.verify import verify_expr

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["AcceptTest", "Agreement", "OutOfTime", "Verdict", "equivalent"]

Array: TypeAlias = "NDArray[np.float64]"

Check: TypeAlias = "Callable[[Expr, dict[str, float]], Verdict | None]"

POINT_ALLOWANCE, MEDIAN_ALLOWANCE = 8.0, 1.5
"""A point may have 8 (ulps of the formula's error + 1); the median 1.5 times the formula's + 1/2 ulp."""
NO_DIGIT = 2.0**23
"""An error of this many ulps leaves no digit."""


@dataclass(frozen=True)
class Verdict:
    """Whether a proposal is accepted: the check that decided, the reason as a sentence, and what was measured."""

    accepted: bool
    check: str
    reason: str
    witness: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.reason} (at {self.witness})" if self.witness else self.reason


class AcceptTest:
    """The test for proposals that would replace one formula. What it knows of the formula is computed once.

    `deadline` is a `time.monotonic()` moment after which `judge` raises `OutOfTime`.
    """

    def __init__(self, loss: Loss, *, deadline: float | None = None, count: int = 220) -> None:
        self.loss, self.deadline, self.count = loss, deadline, count
        self.facts = Facts(loss)
        self.cost: Cost = cost(loss.body)

    @cached_property
    def _reference(self) -> Reference:
        return Reference(self.loss.body, points(self.loss, count=self.count), self.deadline)

    @cached_property
    def _float32(self) -> list[Array]:
        from lossc.compiler.float32 import evaluate32

        return [evaluate32([self.loss.body], batch)[0] for batch in self._reference.batches]

    def judge(self, candidate: Expr, *, same_domain: bool = False) -> Verdict:
        """The verdict on a candidate, which should be in canonical form already. Raises OutOfTime.

        With `same_domain` the conditions of its operators are not compared: they are known to be equivalent.
        """
        numbers: dict[str, float] = {}
        checks: list[Check] = [self._form, self._cheaper, self._domain, self._agrees, self._accurate, self._slope]
        if not same_domain:
            checks.insert(4, self._conditions)
        for check in checks:
            refusal = check(candidate, numbers)
            if refusal is not None:
                return refusal
        reason = (
            f"cost {self.cost} -> {cost(candidate)}; equal at {numbers['points']:g} points; float32 error at most "
            f"{_bits(numbers['max ulp after'])} (was: {_bits(numbers['max ulp before'])})"
        )
        return Verdict(True, "all", reason, numbers=numbers)

    def _form(self, candidate: Expr, numbers: dict[str, float]) -> Verdict | None:
        try:
            verify_expr(candidate)
        except LosscError as problem:
            return Verdict(False, "form", f"is not well formed: {problem.diagnostic.message}")
        names, known = _leaves(candidate), _leaves(self.loss.body)
        if not names <= known:
            return Verdict(False, "form", "brings in a name that the formula does not have")
        if self.loss.layout == CLASSWISE and varies(candidate) != varies(self.loss.body):
            return Verdict(False, "form", "changes whether the formula varies over the classes")
        return None

    def _cheaper(self, candidate: Expr, numbers: dict[str, float]) -> Verdict | None:
        new = cost(candidate)
        numbers |= {"cost before": self.cost.work, "cost after": new.work}
        if new < self.cost:
            return None
        return Verdict(False, "cost", f"costs {new}, not less than {self.cost}", numbers=numbers)

    def _domain(self, candidate: Expr, numbers: dict[str, float]) -> Verdict | None:
        if self.facts.total(self.loss.body) and not self.facts.total(candidate):
            return Verdict(False, "domain", "is no longer certain to have a value everywhere", numbers=numbers)
        return None

    def _conditions(self, candidate: Expr, numbers: dict[str, float]) -> Verdict | None:
        mine, other = conditions(self.loss.body, self.facts), conditions(candidate, self.facts)
        lost, gained = unimplied(mine, other), unimplied(other, mine)
        if lost:
            return Verdict(False, "domain", f"no longer asks that {lost[0]}", numbers=numbers)
        if gained:
            return Verdict(False, "domain", f"asks that {gained[0]}, which the formula does not", numbers=numbers)
        return None

    def _agrees(self, candidate: Expr, numbers: dict[str, float]) -> Verdict | None:
        for batch, index in self._reference.all_points():
            found = self._reference.disagreement(candidate, batch, index)
            if found is not None:
                witness = self._reference.batches[batch].describe(index)
                return Verdict(False, found[0], found[1], witness, numbers)
        numbers["points"] = self._reference.count_defined()
        if numbers["points"] < MIN_DEFINED:
            reason = f"cannot be tested: the formula has a value at {numbers['points']:g} points only"
            return Verdict(False, "domain", reason, numbers=numbers)
        return None

    def _accurate(self, candidate: Expr, numbers: dict[str, float]) -> Verdict | None:
        import numpy as np

        from lossc.compiler.float32 import evaluate32, ulps

        before, after = [], []
        for b, batch in enumerate(self._reference.batches):
            arrays = (self._reference.truth(b), self._float32[b], evaluate32([candidate], batch)[0])
            truth, old, new = np.broadcast_arrays(*arrays)
            meant = np.isfinite(truth) & (np.abs(truth) <= float(FLOAT32.largest))
            error, new_error = ulps(old, truth), ulps(new, truth)
            worse = meant & (new_error > POINT_ALLOWANCE * (error + 1))
            if worse.any():
                return self._worse(batch, (truth, old, new, error, new_error), worse, numbers)
            before.append(error[meant])
            after.append(new_error[meant])
        return _quantiles(np.concatenate(before), np.concatenate(after), numbers)

    def _worse(self, batch: Points, arrays: tuple[Array, ...], worse: Any, numbers: dict[str, float]) -> Verdict:
        """The refusal for the worst point: where the new error is greatest, and then where the old is least."""
        import numpy as np

        truth, old, new, error, new_error = arrays
        score = np.where(worse, np.log2(np.clip(new_error, 1, 1e30)) - np.log2(np.minimum(error, 1e30) + 1), -np.inf)
        at = np.unravel_index(int(np.argmax(score)), score.shape)
        reason = f"is less accurate in float32: {new[at]:.6g}, formula {old[at]:.6g}, true value {truth[at]:.6g}"
        numbers |= {"ulp before": float(error[at]), "ulp after": float(new_error[at])}
        return Verdict(False, "accuracy", reason, batch.describe(int(at[0])), numbers)

    def _slope(self, candidate: Expr, numbers: dict[str, float]) -> Verdict | None:
        """No new infinite or undefined derivative with respect to f in float32."""
        import numpy as np

        from lossc.compiler.float32 import evaluate32
        from lossc.compiler.passes.differentiate import differentiate

        if F not in _leaves(self.loss.body):
            return None
        try:
            slopes = [differentiate(self.loss.with_body(body), "f").body for body in (self.loss.body, candidate)]
        except LosscError:
            return None  # no closed form: nothing that a target could emit either
        for batch in self._reference.batches:
            old, new = np.broadcast_arrays(*evaluate32(slopes, batch))
            broken = np.isfinite(old) & ~np.isfinite(new)
            if broken.any():
                at = int(np.argwhere(broken)[0][0])
                reason = "has no finite float32 derivative where the formula has one"
                return Verdict(False, "slope", reason, batch.describe(at), numbers)
        return None


def _leaves(root: Expr) -> set[Expr]:
    return {n for n in postorder(root) if n.op in (ARG, PARAM, COEF)}


def _quantiles(before: Array, after: Array, numbers: dict[str, float]) -> Verdict | None:
    import numpy as np

    if not before.size:
        return Verdict(False, "accuracy", "cannot be tested: no value is within float32", numbers=numbers)
    (mid, top), (new_mid, new_top) = ((float(np.median(e)), float(np.max(e))) for e in (before, after))
    numbers |= {"median ulp before": mid, "median ulp after": new_mid, "max ulp before": top, "max ulp after": new_top}
    if new_mid > MEDIAN_ALLOWANCE * mid + 0.5:
        reason = f"is less accurate in float32: median {new_mid:.2g} ulp, was {mid:.2g}"
        return Verdict(False, "accuracy", reason, numbers=numbers)
    return None


def _bits(ulp: float) -> str:
    return f"{ulp:.2g} ulp" if ulp < NO_DIGIT else "no digit right"
