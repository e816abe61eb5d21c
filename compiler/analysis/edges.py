"""Inputs on the sides of kinks and conditions that no other input has met: there losses may differ in a sliver.

`where(abs(y - f - 3.14) < 1e-3, 1, 0)` is 0 at any few hundred inputs. Each kink and comparison of a formula is the
zero of an expression; where inputs have met one sign of it only, and its interval does not rule out the other, a search
from the nearest of them looks for that.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

from lossc.compiler import ops
from lossc.compiler.analysis.fingerprint import evaluated
from lossc.compiler.analysis.frames import Frame, simplex
from lossc.compiler.facts import Facts
from lossc.compiler.ir import LEAF_OPS, Expr, F, Y, postorder
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.sampling import Points

ROUNDS, KEPT, CHILDREN, BATCHES = 20, 8, 8, 2
"""Rounds of a search, the inputs that are kept of each, those made from each of them, and batches to start in."""
MOST_EDGES = 40
"""Formulas with more are not looked at: each costs a search."""


def edges(roots: Sequence[Expr]) -> list[Expr]:
    """The expressions at whose zeros formulas go from one piece to another."""
    out: dict[Expr, None] = {}
    for here in postorder(*roots):
        if here.op in LEAF_OPS:
            continue
        record = ops.record(here)
        if record.gives == ops.BOOL_KIND and record.kind_of(0) == ops.REAL_KIND:
            out[here.args[0] - here.args[1]] = None
        out |= dict.fromkeys(record.kinks(*here.args))
    return list(out)


class Edges:
    """The search for inputs of a frame's domain on sides that were not met; what was found is kept."""

    def __init__(self, frame: Frame) -> None:
        self.frame, self.facts = frame, Facts(frame.loss)
        self._found: dict[tuple[Expr, int], list[Points]] = {}

    def beyond(self, roots: Sequence[Expr], met: Sequence[Points]) -> list[Points]:
        """Inputs on those sides of the edges of some formulas that none of `met` is on, where any are found."""
        found = edges([canonical_expr(root, self.facts) for root in roots])
        out: list[Points] = []
        for edge in found if len(found) <= MOST_EDGES else ():
            range_ = self.facts.range(edge)
            for sign in (1, -1):
                if (range_.hi <= 0) if sign > 0 else (range_.lo >= 0):
                    continue
                if (edge, sign) not in self._found:
                    heights = [_heights(edge, sign, batch) for batch in met]
                    if any(h > 0 for batch in heights for h in batch):
                        continue
                    self._found[edge, sign] = _searched(self.frame, edge, sign, met, heights)
                out += self._found[edge, sign]
        return out


def _heights(edge: Expr, sign: int, batch: Points) -> list[float]:
    """How far points are on one side of an edge, for any of the classes; -inf where there is no number."""
    import numpy as np

    values = sign * evaluated(edge, batch).reshape(len(batch), -1)
    return [float(h) for h in np.max(np.where(np.isfinite(values), values, -np.inf), axis=1)]


def _searched(
    frame: Frame, edge: Expr, sign: int, met: Sequence[Points], heights: Sequence[Sequence[float]]
) -> list[Points]:
    """Points on one side of an edge, by a random search that starts where the edge is nearest."""
    rng = random.Random(0)
    for batch, at in sorted(zip(met, heights, strict=True), key=lambda pair: -max(pair[1]))[:BATCHES]:
        order = sorted(range(len(batch)), key=lambda k: -at[k])[:KEPT]
        kept = [(at[k], batch.columns[Y][k], batch.columns[F][k]) for k in order if math.isfinite(at[k])]
        for _ in range(ROUNDS if kept else 0):
            made = [_moved(frame, y, f, -height, rng) for height, y, f in kept for _ in range(CHILDREN)]
            ys, fs = (tuple(column) for column in zip(*made, strict=True))
            new = _heights(edge, sign, Points({Y: ys, F: fs}, ("near",) * len(ys), batch.num_classes))
            kept = sorted([*kept, *zip(new, ys, fs, strict=True)], key=lambda k: -k[0])[:KEPT]
            there = [k for k in kept if k[0] > 0]
            if there:
                columns = {Y: tuple(k[1] for k in there), F: tuple(k[2] for k in there)}
                return [Points(columns, ("near",) * len(there), batch.num_classes)]
    return []


def _moved(frame: Frame, y: Any, f: Any, apart: float, rng: random.Random) -> tuple[Any, Any]:
    """An input near another, in the domain: by a step of any size, or of about the height that is left."""
    step = 10 ** rng.uniform(-6, 1) if rng.random() < 0.4 else apart * 10 ** rng.uniform(-2, 0.5)
    which = rng.randrange(3)
    return (
        y if which == 0 else _stepped(y, frame.loss.y, step, rng),
        f if which == 1 else _stepped(f, frame.loss.f, step, rng),
    )


def _stepped(value: Any, role: str, step: float, rng: random.Random) -> Any:
    """A number or row of a role, moved; targets of few values stay."""
    if isinstance(value, tuple):
        if role == "prob":
            scores = [math.log(v + 1e-12) + step * rng.gauss(0, 1) for v in value]
            return simplex([max(s - max(scores), -40.0) for s in scores])
        return tuple(_stepped(v, role, step, rng) for v in value)
    by = step * rng.gauss(0, 1)
    if role in ("real", "logit"):
        return value + by
    if role == "positive":
        return min(max(value * math.exp(min(max(by, -30.0), 30.0)), 1e-30), 1e20)
    if role == "prob" and 0 < value < 1:
        odds = math.log(value / (1 - value)) + by
        return min(max(1 / (1 + math.exp(-min(max(odds, -40.0), 40.0))), 1e-12), 1 - 2.0**-40)
    return value
