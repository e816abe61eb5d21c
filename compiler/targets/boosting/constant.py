"""The best constant prediction, where a booster starts: in closed form where that is proved, else by a search.

A loss whose slope is straight in y depends on the mean of y alone (`mean-consistent`): its best constant c solves
L'(mean, c) = 0. A loss of two values of y is straight in the share of either. The solution is looked for among a few
functions of the mean, and taken if it is one to 40 digits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lossc.compiler.evaluate import evaluate
from lossc.compiler.ir import Expr, F, Y, param
from lossc.compiler.loss import CLASSWISE, SOFTMAX, Loss
from lossc.compiler.passes.differentiate import derivative
from lossc.compiler.passes.link import apply_link
from lossc.compiler.targets.boosting.policy import in_scores, proofs

_DIGITS = 50
_SHARES = ("0.137", "0.5", "0.83")
_MEANS = {"real": ("-1.7", "0.37", "2.9"), "positive": ("0.21", "1.3", "4.7"), "count": ("0.21", "1.3", "4.7")}


@dataclass(frozen=True, slots=True)
class Constant:
    """How the best constant is found.

    how      "mean", "median", "priors" or "search"
    code     for "mean": the score, as NumPy code of `mean`; for two-valued targets `mean` is the share of the greater
    because  the reason, for the docstring of the emitted function
    """

    how: str
    because: str
    code: str = ""


_OF_MEAN: tuple[tuple[str, str, Callable[[Any, Any], Any]], ...] = (
    ("mean", "the mean", lambda ctx, m: m),
    ("np.log(max(mean, 1e-16))", "the logarithm of the mean", lambda ctx, m: ctx.log(m)),
)
_OF_SHARE: tuple[tuple[str, str, Callable[[Any, Any], Any]], ...] = (
    ("np.log(share / (1.0 - share))", "the logit of the share", lambda ctx, m: ctx.log(m / (1 - m))),
    ("0.5 * np.log(share / (1.0 - share))", "half the logit of the share", lambda ctx, m: ctx.log(m / (1 - m)) / 2),
    ("share", "the share", lambda ctx, m: m),
    ("2.0 * share - 1.0", "the mean of the signs", lambda ctx, m: 2 * m - 1),
)


def best_constant(loss: Loss) -> Constant:
    """How the emitted file finds the best constant score of `loss`."""
    if loss.layout == CLASSWISE:
        if loss.link == SOFTMAX and proofs(loss, ("proper",)).get("proper", ("", ""))[0] == "proved":
            return Constant("priors", "the logarithms of the class frequencies: the loss is proper (proved)")
        return Constant("search", "class by class from the logarithms of the class frequencies, by search")
    raw = apply_link(in_scores(loss))
    if any(p.default is None for p in raw.params):
        return _SEARCH
    if loss.y in ("binary", "sign"):
        return _of_share(raw)
    known = proofs(raw, ("mean-consistent", "median-consistent"))
    if known.get("mean-consistent", ("", ""))[0] == "proved":
        return _of_mean(raw)
    if known.get("median-consistent", ("", ""))[0] == "proved" and loss.f != "positive":
        return Constant("median", "a median of the targets: the slope has two values of one size (proved)")
    return _SEARCH


_SEARCH = Constant("search", "by search: the mean loss on a grid, then by golden sections between neighbours")


def _of_mean(raw: Loss) -> Constant:
    slope = derivative(raw.body, F)
    for code, words, inverse in _OF_MEAN:
        if all(_vanishes(lambda ctx, m, f: _at(slope, raw, ctx, m, f), inverse, m) for m in _MEANS.get(raw.y, ())):
            return Constant("mean", f"{words} of the targets: the slope is straight in y (proved)", code)
    return _SEARCH


def _of_share(raw: Loss) -> Constant:
    slope = derivative(raw.body, F)
    low = -1 if raw.y == "sign" else 0

    def expected(ctx: Any, share: Any, f: Any) -> Any:
        return share * _at(slope, raw, ctx, ctx.mpf(1), f) + (1 - share) * _at(slope, raw, ctx, ctx.mpf(low), f)

    for code, words, inverse in _OF_SHARE:
        if all(_vanishes(expected, inverse, share) for share in _SHARES):
            return Constant("mean", f"{words} of positive targets, where the expected slope is 0", code)
    return _SEARCH


def _vanishes(slope: Callable[[Any, Any, Any], Any], inverse: Callable[[Any, Any], Any], mean: str) -> bool:
    """Whether the expected slope is 0 at the constant, to 40 digits, and falls and rises around it."""
    import mpmath

    ctx = mpmath.mp
    with ctx.workdps(_DIGITS):
        m = ctx.mpf(mean)
        try:
            c = inverse(ctx, m)
            here, below, above = slope(ctx, m, c), slope(ctx, m, c - 0.01), slope(ctx, m, c + 0.01)
            return bool(abs(here) < ctx.mpf("1e-40") * (abs(below) + abs(above)) and below < 0 < above)
        except (ValueError, ZeroDivisionError, TypeError):
            return False


def _at(slope: Expr, raw: Loss, ctx: Any, y: Any, f: Any) -> Any:
    env = {Y: y, F: f, **{param(p.name): ctx.mpf(p.default.numerator) / p.default.denominator
                          for p in raw.params if p.default is not None}}  # fmt: skip
    return evaluate(slope, env, ctx=ctx)
