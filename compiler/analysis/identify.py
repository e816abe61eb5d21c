"""Which known loss a loss is, up to a scale, an offset and hyper-parameters; or which ones are near.

A known loss is the same if L = a*known + b with constants a > 0 and b. Signatures of values find the candidates and
their hyper-parameters, Newton's method finds those to many digits, and what they are exactly is recognised. None of
that counts: it is `same.Prover` that says whether they are the same.

The distance to another loss K is one of slopes, since training follows them and no offset: the root mean square of
dL/df - a*dK/df relative to that of dL/df, on a fixed grid, with the best a > 0 and hyper-parameters. It is 0 for the
same slopes and 1 where no multiple of dK/df is of use. f is what a model gives: scores, for a loss of probabilities.

    >>> from lossc.grammar.library import named_losses
    >>> identify(lossc.parse("sqrt(1 + (y - f)^2) - 1"), named_losses().values()).headline()
    'pseudo_huber, delta = 1, exactly'
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from lossc.compiler.analysis.fingerprint import Model, evaluated, fixed_grid, model, slope
from lossc.compiler.analysis.fit import Fit, Fitter, Target
from lossc.compiler.analysis.frames import Frame, closed, frames
from lossc.compiler.analysis.identity import Identity, Match, Near
from lossc.compiler.analysis.matcher import MOST_FITS, Matcher, Starts
from lossc.compiler.equivalence import OutOfTime
from lossc.compiler.errors import LosscError, UsageError
from lossc.compiler.facts import Facts
from lossc.compiler.ir import COEF, Expr, const, param, postorder
from lossc.compiler.loss import Loss
from lossc.compiler.passes.canonicalize import canonical_expr

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[np.float64]"

TIMEOUT = 10.0
"""Seconds after which what is not decided stays open."""
STOPPED = "stopped by the time limit: not all known losses were looked at"
MOST_NEAR = 5
CLOSE, SAME_SLOPES = 1e-3, 1e-9
"""Distances at which a known loss is tried exactly once more, and at which slopes count as the same."""


def identify(loss: Loss, candidates: Iterable[Loss], *, timeout: float = TIMEOUT) -> Identity:
    """Which of the candidates the loss is; if none, the nearest ones. Hyper-parameters of the loss have their defaults.

    Raises UsageError (L242, L252) for a loss with a hyper-parameter or coefficient that has no value.
    """
    begun = time.monotonic()
    search = _Search(without_parameters(loss), list(candidates), begun + timeout)
    found = search.exact()
    near = [] if found else search.fits()
    if not found:
        found = search.exact({m.known: (m, fit) for m, fit in near if fit.error < CLOSE and m.axes})
    nearest = () if found else _grouped(near)
    if not found:
        search.notes += search.remarks(nearest)
    seconds = time.monotonic() - begun
    exact, also = (found[0], tuple(found[1:])) if found else (None, ())
    return Identity(loss, exact, also, nearest, tuple(search.notes), seconds, search.stopped)


def without_parameters(loss: Loss) -> Loss:
    """The loss at the defaults of its hyper-parameters. Raises UsageError (L242, L252)."""
    values: dict[Expr, Expr] = {}
    for p in loss.params:
        if p.default is None:
            raise UsageError("L242", f"{loss.name} needs a value for `{p.name}`", hint=f"--set {p.name}=1.0")
        values[param(p.name)] = const(p.default)
    made = closed(loss, values)
    if any(n.op == COEF for n in postorder(made.body)):
        raise UsageError("L252", f"{loss.name} has coefficients φ without values", hint="write numbers for them")
    return made


class _Search:
    """One loss held against known ones."""

    def __init__(self, loss: Loss, known: Sequence[Loss], deadline: float) -> None:
        self.loss, self.known, self.deadline = loss, known, deadline
        self.frames = frames(loss)
        self.notes: list[str] = []
        self.stopped = False
        self._exact: dict[int, Matcher] = {}

    def exact(self, starts: Starts | None = None) -> list[Match]:
        """All known losses that the loss is, the plainest first; with `starts`, only those, from these fits."""
        found: dict[Loss | None, Match] = {}
        known = self.known if starts is None else [k for k in self.known if k in starts]
        try:
            for number, frame in enumerate(self.frames if known else ()):
                if frame.hard and found:
                    break
                if number not in self._exact:
                    self._exact[number] = Matcher(frame, self.deadline)
                for match in self._exact[number].matches(known, starts):
                    found.setdefault(match.known, match)
        except OutOfTime:
            if not self.stopped:
                self.notes.append(STOPPED)
            self.stopped = True
        return sorted(found.values(), key=lambda m: (m.name != self.loss.name, m.rank))

    def fits(self) -> list[tuple[Model, Fit]]:
        """The known losses with the nearest hyper-parameters, the nearest first."""
        frame = self.frames[0]
        mine = slope(frame, frame.target)
        if mine is None:
            self.notes.append("no distances: the loss has no (short) derivative in closed form")
            return []
        target = Target.plain(evaluated(mine, fixed_grid(frame))[0])
        if not target.weights.any():
            self.notes.append("no distances: its slope in f is 0, or is not finite, on the whole grid")
            return []
        return self._distances(frame, target)

    def remarks(self, nearest: Sequence[Near]) -> list[str]:
        """What may explain that no known loss is the same: a part without f, or other roles."""
        out = []
        if nearest and nearest[0].distance < SAME_SLOPES and not self.stopped:
            out.append(f"its slopes on the grid are those of {nearest[0].name}: it may differ by a part without f")
        mine: dict[tuple[str, ...], Expr] = {}
        alike = [k for k in self.known if k.layout != self.loss.layout and _reads_alike(self.loss, k, mine)]
        return out + [f"as a formula it is {k.name}, which has other roles: --y {k.y} --f {k.f}" for k in alike]

    def _distances(self, frame: Frame, target: Target) -> list[tuple[Model, Fit]]:
        ranked = []
        for k, loss in enumerate(self.known):
            for m in _models(frame, loss):
                table = m.slope_table
                if table is not None:
                    errors = target.against(table)[0]
                    best = int(errors.argmin())
                    if errors[best] < float("inf"):
                        ranked.append((float(errors[best]), k, m, best))
        ranked.sort(key=lambda r: r[:2])
        found = []
        for number, (_, _, m, best) in enumerate(ranked):
            in_time = number < MOST_FITS and time.monotonic() < self.deadline
            axes = m.axes if in_time else ()
            fit = Fitter(target, m.slopes, m.axes).searched(m.grid[best]) if axes else None
            if fit is None:
                errors, scales, rest = target.against(m.slopes(m.grid[best : best + 1]))  # type: ignore[arg-type]
                fit = Fit(tuple(m.grid[best]), float(scales[0]), float(errors[0]), rest[0])
            found.append((m, fit))
        found.sort(key=lambda pair: pair[1].error)
        return [(m, f) for m, f in found if f.scale > 0]


def _reads_alike(loss: Loss, known: Loss, mine: dict[tuple[str, ...], Expr]) -> bool:
    """Whether a loss would be a known one at its defaults, if it had its roles; `mine` is what it is under some."""
    its = _canonical_form(known)
    if its is None:
        return False
    roles = (known.y, known.f, known.layout)
    if roles not in mine:
        mine[roles] = canonical_expr(loss.body, Facts(known))
    return mine[roles] is its


@lru_cache(maxsize=1000)
def _canonical_form(known: Loss) -> Expr | None:
    """The canonical form of a known loss at its defaults; None if they are missing."""
    try:
        made = without_parameters(known)
    except LosscError:
        return None
    return canonical_expr(made.body, Facts(made))


def _models(frame: Frame, loss: Loss) -> list[Model]:
    """The forms of a known loss in the frame of a loss, or in that of its scores."""
    try:
        found = [model(fr, loss) for fr in frames(frame.loss) if not fr.hard]
    except LosscError:
        return []
    return [m for m in found if m is not None]


def _grouped(found: list[tuple[Model, Fit]]) -> tuple[Near, ...]:
    """The first few, those with the same slopes as one, of which the plainest stands for all."""
    import numpy as np

    groups: list[list[tuple[Model, Fit]]] = []
    for m, fit in found:
        for group in groups:
            first = group[0][1]
            if abs(first.error - fit.error) < 1e-9 and float(np.max(np.abs(first.residuals - fit.residuals))) < 1e-4:
                group.append((m, fit))
                break
        else:
            if len(groups) < MOST_NEAR:
                groups.append([(m, fit)])
    return tuple(map(_near, groups))


def _near(group: list[tuple[Model, Fit]]) -> Near:
    """Known losses with the same slopes as one of them: the one with few hyper-parameters and a short formula."""
    m, fit = min(group, key=lambda pair: (len(pair[0].axes), pair[0].known.body.tree_size, pair[0].known.name))
    params = tuple((a.name, v) for a, v in zip(m.axes, fit.theta, strict=True))
    twins = tuple(other.known.name for other, _ in group if other is not m)
    return Near(m.known.name, params, fit.error, fit.scale, twins)
