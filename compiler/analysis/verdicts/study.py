"""What several decisions ask of one case: its pieces, signs on them, true values at points, slices at fixed targets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

from lossc.compiler.analysis.verdicts.curvature import Shape, shape
from lossc.compiler.analysis.verdicts.levers import JUMPING, levers
from lossc.compiler.analysis.verdicts.pieces import Break, Jump, Piece, Unclear, joins, jump, pieces
from lossc.compiler.analysis.verdicts.ranges import Ranges
from lossc.compiler.analysis.verdicts.signs import Sign, samples, sign_on, true
from lossc.compiler.analysis.verdicts.subject import Case
from lossc.compiler.analysis.verdicts.verdict import VALUE, Verdict, Witness, refuted, unknown
from lossc.compiler.analysis.verdicts.written import Written
from lossc.compiler.errors import LosscError
from lossc.compiler.facts import Facts
from lossc.compiler.ir import Expr, F, Y, const, postorder, substitute
from lossc.compiler.loss import Loss
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.passes.differentiate import derivative

_TARGETS: Mapping[str, tuple[float, ...]] = {
    "real": (0.0, 1.0, -1.0, 3.0, -0.5, 20.0), "positive": (1.0, 0.25, 4.0, 60.0, 1e-30),
    "count": (0.0, 1.0, 3.0, 40.0), "prob": (0.5, 0.125, 0.9, 1e-9), "counted": (1.0, 3.0, 40.0),
}  # fmt: skip
"""Targets at which a loss of y and f is looked at as a function of f."""
_MORE: Mapping[str, tuple[float, ...]] = {
    "real": (-7.0, 150.0, 1e4, 1e7, -1e7, 1e-4), "positive": (0.01, 7.0, 1e4, 1e7), "count": (7.0, 1e4, 1e7),
    "counted": (7.0, 1e4, 1e7), "prob": (),
}  # fmt: skip
"""Targets at which only numbers are tried."""
_BESIDE = (1 - 1e-9, 1 + 1e-9, 1 - 1e-3, 1 + 1e-3)
"""Predictions beside the target, relative to it."""


@dataclass
class Study:
    """A case, and everything known of it so far."""

    case: Case
    written: Written

    @property
    def free(self) -> bool:
        """Whether the target is a variable."""
        return self.case.free

    @cached_property
    def ranges(self) -> Ranges:
        """The value as a program on intervals."""
        return self.case.ranges(self.case.body)

    @cached_property
    def shape(self) -> Shape:
        """The curvature in f by the rules of composition."""
        return shape(self.ranges, (dict(self.case.domain),))

    @cached_property
    def total(self) -> bool:
        """Whether the loss certainly has a value for every f, at every y at which the parts without f have one.

        There must be such a y, too.
        """
        found = Ranges(self.case.body, None, self.case.inside, in_f=True)(self.case.domain).total
        return found and any(not math.isnan(true(self.case.body, p)) for p in self.grid)

    # -- pieces ------------------------------------------------------------------------------------------------------

    @cached_property
    def line(self) -> list[Piece]:
        """The analytic pieces in f, cut at f = 0, too. Raises Unclear (also where the target is free), LosscError."""
        if self.free:
            raise Unclear("y is free")
        if isinstance(self._line, Exception):
            raise self._line
        return self._line

    @cached_property
    def _line(self) -> list[Piece] | Exception:
        try:
            return self.cut_at(Fraction(0))
        except (Unclear, LosscError) as problem:
            return problem

    def cut_at(self, *places: Fraction) -> list[Piece]:
        """The pieces, cut at these places. Raises Unclear, LosscError."""
        case = self.case
        return pieces(case.body, case.loss, case.domain[F], case.inside, places)

    def jumps(self, order: int) -> Iterator[tuple[Piece, Piece, Jump]]:
        """The derivative of an order at every place where two pieces meet."""
        for before, after in zip(self.line, self.line[1:], strict=False):
            yield before, after, self._jump(before, after, order)

    def _jump(self, before: Piece, after: Piece, order: int) -> Jump:
        key = (id(before), order)
        if key not in self._jumps:
            self._jumps[key] = jump(before, after, order)
        return self._jumps[key]

    @cached_property
    def _jumps(self) -> dict[tuple[int, int], Jump]:
        return {}

    @cached_property
    def breaks(self) -> list[Break]:
        """Where pieces meet."""
        return [p.right for p in self.line if p.right is not None]

    @cached_property
    def continuous(self) -> bool:
        """Whether the function of f certainly has a value everywhere, and no jumps. Raises Unclear, LosscError."""
        if self.total and not self.may_jump:
            return True
        return not self.free and all(p.total for p in self.line) and all(
            j.none and self.joins(before) for before, _, j in self.jumps(0)
        )  # fmt: skip

    @cached_property
    def may_jump(self) -> bool:
        """Whether an operator that jumps is in use, in f."""
        live = {F}
        for here in postorder(self.case.body):
            if any(a in live for a in here.args):
                live.add(here)
                if here.op in JUMPING:
                    return True
        return False

    def joins(self, before: Piece) -> bool:
        """Whether the value itself, where two pieces meet, is that to which the left one tends. Raises Unclear."""
        return not self.may_jump or joins(self.case.body, before)

    def sign(self, piece: Piece, order: int) -> Sign:
        """The sign of a derivative on a piece."""
        root = piece.order(order)
        key = (id(piece), root)
        if key not in self._signs:
            self._signs[key] = sign_on(piece, root)
        return self._signs[key]

    @cached_property
    def _signs(self) -> dict[tuple[int, Expr], Sign]:
        return {}

    @cached_property
    def analytic(self) -> bool:
        """Whether no operator bends, jumps or ends on the domain of y and f, so that derivatives tell everything."""
        for k in levers(self.case.body, self.case.facts):
            r = self.case.ranges(k)(self.case.domain)
            if not (r.total and r.nonzero):
                return False
        return self.total

    # -- points --------------------------------------------------------------------------------------------------------

    @cached_property
    def slices(self) -> tuple[Study, ...]:
        """The case at a few targets, if the target is free."""
        return tuple(self.at(y) for y in _TARGETS[self.case.tried or self.case.loss.y]) if self.free else ()

    @cached_property
    def parts(self) -> tuple[Study, ...]:
        """The case for targets of one sign each: for proofs where all together leave something open."""
        loss, body = self.case.loss, self.case.body
        if not self.free or loss.y not in ("real", "count") or self.case.tried:
            return ()
        above = replace(loss, y="positive")
        out = [self.at(0.0), self._part(body, above, "positive" if loss.y == "real" else "counted")]
        if loss.y == "real" and loss.f == "real":
            out.append(self._part(substitute(body, {Y: -Y, F: -F}), above, "positive", turned=True))
        return tuple(out) if loss.y == "count" or len(out) == 3 else ()

    def _part(self, body: Expr, loss: Loss, tried: str, turned: bool = False) -> Study:
        made = canonical_expr(body, Facts(loss))
        return Study(replace(self.case, body=made, loss=loss, tried=tried, turned=turned), self.written)

    def at(self, y: float) -> Study:
        """The case at one target."""
        body = canonical_expr(substitute(self.case.body, {Y: const(y)}), self.case.facts)
        return Study(replace(self.case, body=body, words=f"for y = {y:g}", target=y), self.written)

    @cached_property
    def grid(self) -> list[dict[Expr, float]]:
        """Points that the loss may be asked for: targets that the role allows, and predictions."""
        domain = self.case.domain[F]
        fs = samples(domain)[::3]
        if not self.free:
            return [{F: f} for f in fs]
        role = self.case.tried or self.case.loss.y
        ys = (*_TARGETS[role], *_MORE[role])
        beside = [{Y: y, F: y * s} for y in ys for s in _BESIDE if comparable(self.case.loss) and domain.lo < y * s]
        return [*({Y: y, F: f} for y in ys for f in fs), *beside]

    def value(self, f: float) -> float:
        """The true loss at a prediction, for a fixed target."""
        return true(self.case.body, {F: f})

    def points(self, fs: Iterable[float]) -> tuple[dict[str, float], ...]:
        """Predictions as a witness has them."""
        return tuple(self.case.here(f) for f in fs)

    def by_values(self, fs: tuple[float, ...], relation: str, bound: float = 0.0) -> Witness:
        """A witness of the loss at some predictions."""
        return Witness(self.points(fs), VALUE, tuple(self.value(f) for f in fs), relation, bound)

    def by_slope(
        self, f: float, root: Expr, quantity: str, relation: str, bound: float = 0.0, y: float | None = None
    ) -> Witness:
        """A witness of a derivative, given as an expression, at one prediction."""
        there = {F: f} if y is None else {F: f, Y: y}
        return Witness((self.case.here(f, y),), quantity, (true(root, there),), relation, bound)

    def refuted(self, because: str, candidates: Iterable[Witness | None], value: str = "", fault: str = "",
                repair: str = "") -> Verdict | None:  # fmt: skip
        """Refuted by the first of these witnesses that holds and that float64 shows; None if none does."""
        found = self.written.first(candidates)
        return None if found is None else refuted(because.replace("{at}", at_f(found)), found, value, fault, repair)


def at_f(witness: Witness) -> str:
    """`f = 0.5` of the middle point of a witness."""
    f = witness.points[len(witness.points) // 2]["f"]
    return f"f = {f:.6g}" if isinstance(f, float) else f"f = {f}"


def hidden(because: str) -> Verdict:
    """Not so, as far as is known; but no point was found that shows it in float64."""
    return unknown(f"{because}, it seems; but no point was found at which float64 shows it")


def comparable(loss: Loss) -> bool:
    """Whether y and f are numbers of one kind, so that f = y is a good prediction."""
    return (loss.y, loss.f) in (("real", "real"), ("positive", "positive"), ("positive", "real"), ("count", "positive"))


def uses(root: Expr, leaf: Expr) -> bool:
    """Whether a leaf enters."""
    return any(n is leaf for n in postorder(root))


def slope_in_y(case: Case) -> Expr:
    """∂²L/∂f∂y."""
    return canonical_expr(derivative(case.slope, Y), case.facts)
