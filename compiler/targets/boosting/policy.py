"""Which second derivative a booster is given: chosen from what is proved of the loss in raw scores, with the reason.

A booster takes Newton steps -G/(H + λ), so H must be positive and not too small. The exact L'' will do where the loss
is convex. Where it is flat or concave, something greater takes its place:

exact            L'' where convexity is proved and nothing is flat
majoriser        a constant, the greatest L'': each step lowers the loss (smoothness is proved with that bound)
half-quadratic   L'(r)/r for a loss of the residual that rises away from the target: the parabola that touches it there
                 and at -r (Geman & Reynolds, 1992), as in iteratively reweighted least squares
gauss-newton     the curvature of the loss in the prediction, through the link: without the link's own curvature, which
                 may be negative
clip             the greater of L'' and |L'|: no single example asks for a step of more than one unit of the score
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from lossc.compiler import ops
from lossc.compiler.errors import LosscError
from lossc.compiler.facts import Facts
from lossc.compiler.ir import ARG, ONE, Expr, F, Y, const, leaves, postorder, substitute
from lossc.compiler.loss import CLASSWISE, IDENTITY, Loss
from lossc.compiler.ops import call
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.passes.differentiate import derivative
from lossc.compiler.passes.link import apply_link
from lossc.compiler.passes.stabilize import stable_expr
from lossc.compiler.targets.derivatives import Roots
from lossc.compiler.targets.lowering import lower

EXACT, MAJORISER, HALF_QUADRATIC, GAUSS_NEWTON, CLIP = "exact", "majoriser", "half-quadratic", "gauss-newton", "clip"
TIMEOUT = 60.0
"""Seconds for the proofs: far more than they take, so that no verdict depends on the machine."""
_LONGEST_STEP = 10
_PROPERTIES = ("convex", "strictly-convex", "smooth", "gradient-sign", "distance")


@dataclass(frozen=True, slots=True)
class Policy:
    """The second derivative that is printed, and why.

    curvature   what is printed instead of L'' (raw scores), before it is kept above a floor; None for L'' itself
    constant    the constant of a majoriser, else 0
    because     one sentence for the file
    factor      what an exact curvature is times L'' with three classes, for the self-test
    judged      whether the choice was proved at the default hyper-parameters, so that at others the file clips
    """

    name: str
    because: str
    curvature: Expr | None = None
    constant: float = 0.0
    judged: bool = False
    factor: float = 1.0


def in_scores(loss: Loss) -> Loss:
    """The loss whose predictions are unbounded: a positive prediction is the exponential of the score.

    Probabilities keep their role, and with it their link (sigmoid or softmax), which the passes apply.
    """
    if loss.f != "positive":
        return loss
    return replace(loss, body=substitute(loss.body, {F: call("exp", F)}), f="real", spans={}, text=None)


def choose(loss: Loss, found: Roots) -> Policy:
    """The policy for a loss; `found` are the roots of `in_scores(loss)`."""
    if loss.layout == CLASSWISE:
        return _of_classes(loss, found)
    raw = apply_link(in_scores(loss))
    known = proofs(raw)
    convex, flat, smooth = known.get("convex"), known.get("strictly-convex"), known.get("smooth")
    bound = _number(smooth[1]) if smooth and smooth[0] == "proved" else 0.0
    if convex and convex[0] == "proved":
        if flat is None or flat[0] != "refuted":
            return Policy(EXACT, "L is convex in the score (proved), so this is L'' itself.", judged=True)
        if bound > 0:
            return _majoriser(bound, "L is convex, but flat in places where L'' = 0 (proved)")
        return Policy(CLIP, "L is convex with straight pieces, where L'' = 0: |L'| takes its place.", _clip(found))
    linked = (raw.f == "logit" and loss.link != IDENTITY) or loss.f == "positive"
    if linked and _proved(loss, "convex"):
        why = "L is convex in the prediction, not in the score: the curvature of the link is left out."
        return Policy(GAUSS_NEWTON, why, _gauss_newton(loss, found))
    if _is(known, "distance") and _is(known, "gradient-sign"):
        why = "L is not convex, and a function of the residual r that rises away from 0 (proved): L'(r)/r bounds L''."
        return Policy(HALF_QUADRATIC, why, _half_quadratic(found))
    if bound > 0:
        return _majoriser(bound, "L is not convex")
    return Policy(
        CLIP, "convexity in the score is refuted or not proved: where L'' < |L'|, |L'| is used.", _clip(found)
    )


def proofs(raw: Loss, names: tuple[str, ...] = _PROPERTIES) -> dict[str, tuple[str, str]]:
    """Property -> its status and value, of an elementwise loss in scores, at the default hyper-parameters."""
    return dict(_proofs(raw, names))


@lru_cache(maxsize=64)
def _proofs(raw: Loss, names: tuple[str, ...]) -> tuple[tuple[str, tuple[str, str]], ...]:
    from lossc.compiler.analysis.verdicts.judge import judge

    if any(p.default is None for p in raw.params):
        return ()
    try:
        found = judge(raw, names=names, timeout=TIMEOUT)
    except LosscError:
        return ()
    return tuple((name, (found[name].status, found[name].value)) for name in found)


def _is(known: dict[str, tuple[str, str]], name: str) -> bool:
    return known.get(name, ("", ""))[0] == "proved"


def _proved(loss: Loss, name: str) -> bool:
    """Whether one property is proved of a loss as it is given, its link not applied."""
    return _is(proofs(loss, (name,)), name)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _majoriser(bound: float, why: str) -> Policy:
    text = f"{why}: the greatest L'', {bound!r}, bounds it everywhere, so that a full step never raises L."
    return Policy(MAJORISER, text, constant=bound, judged=True)


def _of_classes(loss: Loss, found: Roots) -> Policy:
    """Over classes: the diagonal, times C/(C - 1) where the softmax makes rows of the Hessian sum to 0."""
    if loss.link != IDENTITY and _proved(loss, "convex-in-scores"):
        why = (
            "L is convex in the scores (proved): the diagonal of its Hessian, times C/(C - 1), since scores that all "
            "move together change nothing (Friedman, 2001, algorithm 6)."
        )
        grown = call("num_classes") / (call("num_classes") - 1)
        return Policy(EXACT, why, found.hessian * grown, factor=1.5)
    if loss.link == IDENTITY and _curved(loss, found) and _proved(loss, "convex"):
        why = "L is convex in the scores (proved), and analytic: twice the Hessian's diagonal, as in XGBoost's softmax."
        return Policy(EXACT, why, found.hessian * 2, factor=2.0)
    proof = "L is convex in the scores (proved)" if loss.link == IDENTITY and _proved(loss, "convex") else ""
    proof = proof or "convexity in the scores is not proved"
    why = f"{proof}: where the diagonal of the Hessian is below |L'|, |L'| is used."
    return Policy(CLIP, why, _clip(found))


def _curved(loss: Loss, found: Roots) -> bool:
    """Whether the second derivative is not 0 on whole pieces, as far as seen: no operator bends, and f is in it."""
    smooth = all(n.op != "where" and not ops.record(n).kinks(*n.args) for n in postorder(loss.body) if n.args)
    return smooth and bool(leaves(found.hessian, ARG))


# -- curvatures -------------------------------------------------------------------------------------------------------


def _clip(found: Roots) -> Expr:
    return call("max", found.hessian, call("abs", found.gradient))


def _half_quadratic(found: Roots) -> Expr:
    """L'(r)/r, which is L''(0) at r = 0; and L'' where that is greater after all."""
    r = F - Y
    at_target = call("eq", r, 0)
    weight = call("abs", found.gradient / call("where", at_target, ONE, r))
    return call("max", call("where", at_target, found.hessian, weight), found.hessian)


def _gauss_newton(loss: Loss, found: Roots) -> Expr:
    """L_ff h'^2 for f = h(z); not below L'' and a tenth of |L'|, so that no step is longer than ten units."""
    link = "exp" if loss.f == "positive" else loss.link
    through = call(link, F)
    bend = derivative(derivative(loss.body, F), F)
    made = substitute(bend, {F: through}) * call("square", derivative(through, F))
    facts = Facts(found.loss)
    stable, _ = stable_expr(canonical_expr(made, facts), facts)
    kept = lower(found.loss.with_body(stable)).body
    least = call("max", found.hessian, call("abs", found.gradient) / const(_LONGEST_STEP))
    return call("max", kept, least)
