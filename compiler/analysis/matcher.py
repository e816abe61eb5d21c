"""Exact matches of a loss with known ones: candidates by signature, hyper-parameters by fits, and then a proof."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

from lossc.compiler import ops
from lossc.compiler.analysis.constants import DIGITS, as_float, is_short, literal, recognised, rounded
from lossc.compiler.analysis.fingerprint import Model, model
from lossc.compiler.analysis.fit import ENOUGH, NEWTON_DIGITS, Fit, Fitter, Solver, telling
from lossc.compiler.analysis.frames import Frame, closed
from lossc.compiler.analysis.identity import Constant, Match
from lossc.compiler.analysis.outline import Outline
from lossc.compiler.analysis.same import CANONICAL, LOOSE, Line, Proof, Prover, canonical
from lossc.compiler.analysis.sight import Sight
from lossc.compiler.errors import LosscError
from lossc.compiler.ir import LEAF_OPS, ONE, ZERO, Expr, const, param, postorder, substitute
from lossc.compiler.loss import Loss

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[np.float64]"
Starts: TypeAlias = dict[Loss, tuple[Model, Fit]]

MOST_FITS, MOST_UNLIKELY = 12, 4
"""Known losses, the likeliest by signature, whose hyper-parameters are fitted, and how many of these are unlikely."""
ROUGH, LIKELY, PLAIN, FINE = 1.0, 0.5, 0.1, 5e-6
"""Signatures that differ by more are not fitted (a grid may pass a good place by), only if none else is the same, or,
without hyper-parameters, not looked at; and what nearly all residuals of a fit must be below."""
NEARLY = 1e-6
"""A fitted number as near to a simple ratio is taken for that first."""
ELSEWHERE = 0.05
"""The part of a signature that must be shared with a known loss of other roles."""


class Matcher:
    """A loss in one frame, and the search for known losses that it is exactly."""

    def __init__(self, frame: Frame, deadline: float) -> None:
        self.frame = frame
        self.outline = Outline(frame, deadline)
        self.prover = Prover(frame, deadline, self.outline.ctx)

    def matches(self, known: Sequence[Loss], starts: Starts | None = None) -> Iterator[Match]:
        """The known losses that the loss is, as they are found; with `starts`, from fits of another kind.

        Raises OutOfTime.
        """
        import numpy as np

        if not (np.nan_to_num(self.outline.target.values) != 0).any():
            yield from _found(map(self._verbatim, known))
        elif starts is not None:
            models = filter(None, map(self._model, known))
            yield from _found(self._from(m, starts[m.known]) for m in models)
        else:
            ranked = self._ranked(known)
            plain = [(m, start) for _, m, start in ranked if not m.axes]
            fitted = [r for r in ranked if r[1].axes][:MOST_FITS]
            likely = [(m, start) for error, m, start in fitted if error < LIKELY]
            some = False
            for match in _found(self._match(*r) for r in (*plain, *likely)):
                some = True
                yield match
            if not some:
                yield from _found(self._match(m, start) for _, m, start in fitted[len(likely) :][:MOST_UNLIKELY])

    def _ranked(self, known: Sequence[Loss]) -> list[tuple[float, Model, tuple[float, ...]]]:
        """The known losses that the loss may be, the likeliest first, and where fits begin."""
        ranked: list[tuple[float, int, Model, tuple[float, ...]]] = []
        for k, loss in enumerate(known):
            self.prover.check_time()
            m = self._model(loss)
            if m is None:
                continue
            errors = self.outline.target.against(m.secant_table, self._enough(m))[0]
            best = int(errors.argmin())
            if errors[best] < ROUGH and (m.axes or errors[best] < PLAIN):
                ranked.append((float(errors[best]), k, m, tuple(m.grid[best])))
        ranked.sort(key=lambda r: r[:2])
        return [(error, m, start) for error, _, m, start in ranked]

    def _from(self, m: Model, start: tuple[Model, Fit]) -> Match | None:
        """The match from a fit of slopes."""
        theta = dict(zip((a.name for a in start[0].axes), start[1].theta, strict=True))
        if set(theta) != {a.name for a in m.axes}:
            return None
        return self._fitted(m, tuple(theta[a.name] for a in m.axes))

    def _model(self, loss: Loss) -> Model | None:
        try:
            return model(self.frame, loss)
        except LosscError:
            return None

    def _verbatim(self, loss: Loss) -> Match | None:
        """The match with a known loss at its defaults, of a loss of which values say nothing: if both are the same."""
        m = self._model(loss)
        if m is None or any(p.default is None for p in loss.params):
            return None
        values = {param(p.name): const(p.default or 0) for p in loss.params}
        value = substitute(m.value, values)
        if not canonical(self.frame, self.frame.target, value, value, Line(ONE, ZERO)):
            return None
        return self._made(m, values, (self._constant(ONE), self._constant(ZERO)), Proof(CANONICAL))

    def _enough(self, m: Model) -> float:
        """How much of the signature must be shared: little where the known loss speaks of another domain."""
        roles = (self.frame.loss.y, self.frame.loss.f)
        return ENOUGH if roles == (m.known.y, m.known.f) else ELSEWHERE

    def _match(self, m: Model, start: Sequence[float]) -> Match | None:
        """The proven match with a known loss: at its defaults, or with fitted hyper-parameters."""
        here = Fitter(self.outline.target, lambda _: m.secant_table[:1], (), self._enough(m)).fit(())
        if here is not None and _good(here):
            match = self._proved(m, {param(p.name): const(p.default) for p in m.known.params if p.default is not None})
            if match is not None or not m.axes:
                return match
        return self._fitted(m, start) if m.axes else None

    def _fitted(self, m: Model, start: Sequence[float]) -> Match | None:
        """The match with hyper-parameters that are fitted from `start`."""
        fit = Fitter(self.outline.target, m.secants, m.axes, self._enough(m)).fit(start)
        if fit is None or not _good(fit):
            return None
        match = self._simply(m, fit)
        if match is not None:
            return match
        values = self._solved(m, fit)
        return None if values is None else self._proved(m, values)

    def _simply(self, m: Model, fit: Fit) -> Match | None:
        """The match with the simplest ratios near the fitted hyper-parameters, if they are as near as a fit can say."""
        near = [rounded(v) for v in fit.theta]
        if any(abs(float(r) - v) > NEARLY * max(abs(v), NEARLY) for r, v in zip(near, fit.theta, strict=True)):
            return None
        simple = {param(a.name): const(r) for a, r in zip(m.axes, near, strict=True)}
        return self._proved(m, simple | self._left(m))

    def _solved(self, m: Model, fit: Fit) -> dict[Expr, Expr] | None:
        """The hyper-parameters as constants, by Newton's method from a fit."""
        rows = self._jacobian(m, fit)
        chosen = telling(rows)
        near = {param(a.name): const(rounded(v)) for a, v in zip(m.axes, fit.theta, strict=True)}
        near |= self._left(m)
        if chosen is None:
            return near
        value = substitute(m.value, self._left(m))
        solver = Solver(self.outline.sight, self.frame.target, value, [a.name for a in m.axes])
        found = solver.newton([self.outline.cloud.place(k) for k in chosen], fit.theta, fit.scale * self.outline.shift)
        if found is None:
            return near
        with self.outline.ctx.workdps(NEWTON_DIGITS):
            return self._left(m) | {
                param(a.name): recognised(self.outline.ctx, x) or const(literal(self.outline.ctx, x))
                for a, x in zip(m.axes, found, strict=True)
            }

    def _left(self, m: Model) -> dict[Expr, Expr]:
        """The hyper-parameters that are not fitted."""
        return {param(p.name): const(1 if p.default is None else p.default) for p in m.known.params
                if p.name in m.fixed}  # fmt: skip

    def _jacobian(self, m: Model, fit: Fit) -> Array:
        """[points, unknowns]: how the known loss changes with its hyper-parameters, scale and offset."""
        import numpy as np

        theta = np.array([fit.theta] * (1 + len(m.axes)))
        for k in range(len(m.axes)):
            theta[k + 1, k] += 1e-5 * max(abs(theta[k + 1, k]), 1e-9)
        values = m.at(theta, m.value, self.outline.cloud.batches)
        with np.errstate(all="ignore"):
            moved = (values[1:] - values[0]) * 1e5
        rows = np.concatenate([moved, values[:1], np.ones_like(values[:1])]).T
        rows[~np.isfinite(self.outline.values)] = np.nan
        out: Array = rows
        return out

    def _proved(self, m: Model, values: dict[Expr, Expr]) -> Match | None:
        """The match with these hyper-parameters, if scale and offset are found and it is proven."""
        if len(values) < len(m.known.params) or not _suit(m.known, values, self.outline.sight):
            return None
        value = substitute(m.value, values)
        exact = all(map(is_short, values.values()))
        line = self.outline.line(value, DIGITS if exact else LOOSE)
        if line is None:
            return None
        fixed = closed(m.known, values)
        proof = self.prover.prove(fixed, value, line, exact)
        if proof is None:
            return None
        return self._made(m, values, self._numbers(value, line), proof)

    def _made(self, m: Model, values: dict[Expr, Expr], line: tuple[Constant, Constant], proof: Proof) -> Match:
        """The match with a known loss at these hyper-parameters."""
        known, frame = m.known, self.frame
        params = tuple((p.name, self._constant(values[param(p.name)])) for p in known.params)
        alike = frame.asis and (known.y, known.f) == (frame.loss.y, frame.loss.f)
        return Match(known.name, params, *line, proof, frame.domain, not frame.asis, _complexity(known), alike, known)

    def _numbers(self, value: Expr, line: Line) -> tuple[Constant, Constant]:
        """Scale and offset for a reader."""
        if line.scale is not None and line.offset is not None:
            return self._constant(line.scale), self._constant(line.offset)
        numbers = line.numbers(self.frame.target, value, self.outline.ctx, NEWTON_DIGITS)
        assert numbers is not None
        scale, offset = (Constant(e, as_float(x)) for e, x in zip((line.scale, line.offset), numbers, strict=True))
        return scale, offset

    def _constant(self, written: Expr) -> Constant:
        value = as_float(self.outline.sight.number(written, NEWTON_DIGITS))
        return Constant(written if is_short(written) else None, value)


def _found(matches: Iterable[Match | None]) -> Iterator[Match]:
    return (match for match in matches if match is not None)


def _good(fit: Fit) -> bool:
    """Whether nearly all of a signature is met to a few digits: what rounding spoils may be left."""
    import numpy as np

    return fit.scale > 0 and float(np.quantile(np.abs(fit.residuals), 0.8)) < FINE


def _suit(known: Loss, values: dict[Expr, Expr], sight: Sight) -> bool:
    """Whether the hyper-parameters are such as the known loss says."""
    for p in known.params:
        role = known.role_of(param(p.name))
        x = sight.number(values[param(p.name)], NEWTON_DIGITS)
        if not sight.ctx.isfinite(x) or not role.range.lo <= x <= role.range.hi:
            return False
    return True


def _complexity(loss: Loss) -> tuple[int, int]:
    """Nodes of a formula as it is written, and how many of them have kinks."""
    kinks = sum(n.op not in LEAF_OPS and bool(ops.record(n).kinks(*n.args)) for n in postorder(loss.body))
    return loss.body.tree_size, kinks
