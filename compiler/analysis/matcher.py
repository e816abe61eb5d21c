"""Exact matches of a loss with known ones: candidates by signature, hyper-parameters by fits, and then a proof."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from lossc.compiler import ops
from lossc.compiler.analysis.constants import as_float, is_short, literal, recognised, rounded
from lossc.compiler.analysis.fingerprint import Model, evaluated, fixed_cloud, model, secants, trusted
from lossc.compiler.analysis.fit import ENOUGH, NEWTON_DIGITS, Fit, Fitter, Solver, Target, telling
from lossc.compiler.analysis.frames import Frame, closed
from lossc.compiler.analysis.identity import Constant, Match
from lossc.compiler.analysis.same import CANONICAL, Line, Proof, Prover, canonical
from lossc.compiler.analysis.sight import Place, Sight
from lossc.compiler.equivalence import DEFINED
from lossc.compiler.errors import LosscError
from lossc.compiler.ir import LEAF_OPS, ONE, ZERO, Expr, const, param, postorder, substitute
from lossc.compiler.loss import Loss

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[np.float64]"
Starts: TypeAlias = dict[str, tuple[Model, Fit]]

MOST_FITS, MOST_UNLIKELY = 12, 4
"""Known losses, the likeliest by signature, whose hyper-parameters are fitted, and how many of these are unlikely."""
ROUGH, LIKELY, PLAIN, FINE = 1.0, 0.5, 0.1, 5e-6
"""Signatures that differ by more are not fitted (a grid may pass a good place by), only if none else is the same, or,
without hyper-parameters, not looked at; and what nearly all residuals of a fit must be below."""
VISIBLE = 1e-6
"""Differences of a loss must typically be greater than this part of it, or float64 does not see them."""
SMALL = 1e-30
"""Values of this size may be rounding errors of a sum that is 0."""
NEARLY = 1e-6
"""A fitted number as near to a simple ratio is taken for that first."""
LINE_DIGITS = 120
"""Digits with which scale and offset are computed from two inputs."""
ELSEWHERE = 0.05
"""The part of a signature that must be shared with a known loss of other roles."""


class Matcher:
    """A loss in one frame, and the search for known losses that it is exactly."""

    def __init__(self, frame: Frame, deadline: float) -> None:
        self.frame = frame
        self.cloud = fixed_cloud(frame)
        self.sight = Sight(self.cloud.batches, deadline)
        self.ctx = self.sight.ctx
        self.prover = Prover(frame, deadline, self.ctx)
        self.shift = self.ctx.one
        self.values = self._values()
        self.target = Target.relative(secants(self.cloud, self.values[None, :])[0])

    def _values(self) -> Array:
        """The loss at the points of the cloud, in float64 where that has its digits, or else rounded once.

        Of a loss that float64 cannot hold, or holds nothing of beside its offset: differences in units of `shift`.
        """
        import numpy as np

        values = trusted(self.frame.target, self.cloud.batches)
        for k in np.flatnonzero(~np.isfinite(values)):
            values[k] = self._looked(self.cloud.place(int(k)))
        apart = np.abs(secants(self.cloud, values[None, :])[0])
        apart, sizes = apart[apart > 0], np.abs(values[np.isfinite(values)])
        if len(apart) and np.median(apart) > VISIBLE * np.median(sizes):
            return values
        return self._differences()

    def _differences(self) -> Array:
        """The differences of the loss from its value at some point, with many digits and in units of a typical one."""
        import numpy as np

        places = [self.cloud.place(k) for k in range(len(self.cloud))]
        looks = [self.sight.look(self.frame.target, place, NEWTON_DIGITS) for place in places]
        values = sorted(k.value for k in looks if k.state == DEFINED)
        with self.ctx.workdps(NEWTON_DIGITS):
            middle = values[len(values) // 2] if values else self.ctx.zero
            least = abs(middle) * self.ctx.mpf(10) ** (10 - NEWTON_DIGITS)
            apart = sorted(abs(v - middle) for v in values if abs(v - middle) > least)
            if apart:
                self.shift = self.ctx.ldexp(1, self.ctx.mag(apart[len(apart) // 2]))
            return np.array([
                as_float((k.value - middle) / self.shift) if k.state == DEFINED and abs(k.value - middle) > least
                else 0.0 if k.state == DEFINED else np.nan
                for k in looks
            ])  # fmt: skip

    def _looked(self, place: Place) -> float:
        """The loss at a point in mpmath; what is small, and much smaller with twice as many digits, is 0."""
        few = self.sight.look(self.frame.target, place, NEWTON_DIGITS)
        if few.state != DEFINED:
            return float("nan")
        if abs(few.value) < SMALL:
            more = self.sight.look(self.frame.target, place, 2 * NEWTON_DIGITS)
            if more.state == DEFINED and abs(more.value) <= abs(few.value) * SMALL:
                return 0.0
        return as_float(few.value)

    def matches(self, known: Sequence[Loss], starts: Starts | None = None) -> Iterator[Match]:
        """The known losses that the loss is, as they are found; with `starts`, from fits of another kind.

        Raises OutOfTime.
        """
        import numpy as np

        if not (np.nan_to_num(self.target.values) != 0).any():
            yield from _found(map(self._verbatim, known))
        elif starts is not None:
            models = filter(None, map(self._model, known))
            yield from _found(self._from(m, starts[m.known.name]) for m in models)
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

    def _ranked(self, known: Sequence[Loss]) -> list[tuple[float, Model, Array]]:
        """The known losses that the loss may be, the likeliest first, and where fits begin."""
        ranked: list[tuple[float, int, Model, Array]] = []
        for k, loss in enumerate(known):
            self.prover.check_time()
            m = self._model(loss)
            if m is None:
                continue
            errors = self.target.against(m.secant_table, self._enough(m))[0]
            best = int(errors.argmin())
            if errors[best] < ROUGH and (m.axes or errors[best] < PLAIN):
                ranked.append((float(errors[best]), k, m, m.grid[best]))
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
        here = Fitter(self.target, lambda _: m.secant_table[:1], (), self._enough(m)).fit(())
        if here is not None and _good(here):
            match = self._proved(m, {param(p.name): const(p.default) for p in m.known.params if p.default is not None})
            if match is not None or not m.axes:
                return match
        return self._fitted(m, start) if m.axes else None

    def _fitted(self, m: Model, start: Sequence[float]) -> Match | None:
        """The match with hyper-parameters that are fitted from `start`."""
        fit = Fitter(self.target, m.secants, m.axes, self._enough(m)).fit(start)
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
        solver = Solver(self.sight, self.frame.target, value, [a.name for a in m.axes])
        found = solver.newton([self.cloud.place(k) for k in chosen], fit.theta, fit.scale * self.shift)
        if found is None:
            return near
        with self.ctx.workdps(NEWTON_DIGITS):
            return self._left(m) | {
                param(a.name): recognised(self.ctx, x) or const(literal(self.ctx, x))
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
        values = m.at(theta, m.value, self.cloud.batches)
        with np.errstate(all="ignore"):
            moved = (values[1:] - values[0]) * 1e5
        rows = np.concatenate([moved, values[:1], np.ones_like(values[:1])]).T
        rows[~np.isfinite(self.values)] = np.nan
        out: Array = rows
        return out

    def _proved(self, m: Model, values: dict[Expr, Expr]) -> Match | None:
        """The match with these hyper-parameters, if scale and offset are found and it is proven."""
        if len(values) < len(m.known.params) or not _suit(m.known, values, self.sight):
            return None
        value = substitute(m.value, values)
        line = self._line(value)
        if line is None:
            return None
        fixed = closed(m.known, values)
        proof = self.prover.prove(fixed, value, line, all(map(is_short, values.values())))
        if proof is None:
            return None
        return self._made(m, values, self._numbers(value, line), proof)

    def _made(self, m: Model, values: dict[Expr, Expr], line: tuple[Constant, Constant], proof: Proof) -> Match:
        """The match with a known loss at these hyper-parameters."""
        known, frame = m.known, self.frame
        params = tuple((p.name, self._constant(values[param(p.name)])) for p in known.params)
        alike = frame.asis and (known.y, known.f) == (frame.loss.y, frame.loss.f)
        return Match(known.name, params, *line, proof, frame.domain, not frame.asis, _complexity(known), alike)

    def _line(self, value: Expr) -> Line | None:
        """Scale and offset from two inputs, as exact constants where they are recognised."""
        import numpy as np

        known = _values(value, self.cloud.batches)
        good = np.isfinite(known) & np.isfinite(self.values)
        if np.count_nonzero(good) < 4:
            return None
        ends = [self.cloud.place(k) for k in _ends(known, good)]
        ctx = self.ctx
        with ctx.workdps(LINE_DIGITS):
            l0, l1 = (self.sight.look(self.frame.target, p, LINE_DIGITS).value for p in ends)
            k0, k1 = (self.sight.look(value, p, LINE_DIGITS).value for p in ends)
            if not all(ctx.isfinite(v) for v in (l0, l1, k0, k1)) or k0 == k1:
                return None
            a = (l1 - l0) / (k1 - k0)
            b = l0 - a * k0
            if a <= 0:
                return None
            written = (recognised(ctx, a, 0), recognised(ctx, b, max(abs(l0), abs(a * k0), abs(l1))))
        anchors = tuple((self.cloud.batches[p[0]], p[1]) for p in ends)
        return Line(*written, anchors, abs(l1 - l0))

    def _numbers(self, value: Expr, line: Line) -> tuple[Constant, Constant]:
        """Scale and offset for a reader."""
        if line.scale is not None and line.offset is not None:
            return self._constant(line.scale), self._constant(line.offset)
        numbers = line.numbers(self.frame.target, value, self.ctx, NEWTON_DIGITS)
        assert numbers is not None
        scale, offset = (Constant(e, as_float(x)) for e, x in zip((line.scale, line.offset), numbers, strict=True))
        return scale, offset

    def _constant(self, written: Expr) -> Constant:
        value = as_float(self.sight.number(written, NEWTON_DIGITS))
        return Constant(written if is_short(written) else None, value)


def _values(value: Expr, batches: Sequence[Any]) -> Array:
    """An expression without hyper-parameters at all points of some batches, in float64."""
    import numpy as np

    return np.concatenate([evaluated(value, batch)[0] for batch in batches])


def _found(matches: Iterable[Match | None]) -> Iterator[Match]:
    return (match for match in matches if match is not None)


def _ends(values: Array, good: NDArray[np.bool_]) -> tuple[int, int]:
    """Two inputs for scale and offset: where a known loss is nearest to 0, and where it differs from that typically."""
    import numpy as np

    places = np.flatnonzero(good)
    first = int(places[np.argmin(np.abs(values[places]))])
    apart = np.abs(values[places] - values[first])
    order = places[np.argsort(apart, kind="stable")][np.count_nonzero(apart == 0) :]
    return first, int(order[len(order) // 2]) if len(order) else first


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
