"""Operands kept away from the singular edges of operators, by choice (docs/numerics.md, G8 and G9).

With the policy "add" a logarithm log(u) becomes log(u + eps), with "clamp" log(max(u, eps)), where u is certainly not
negative; elsewhere the same of |u|. Quotients, roots, powers and the inverse functions with an edge follow. What facts
prove to stay away from the edge is left alone, and so are hyper-parameters, which the caller chooses.
"""

from __future__ import annotations

from collections.abc import Callable

from lossc.compiler.ir import CONST, ONE, ZERO, Expr, const, is_live, live_nodes, node, postorder, rebuild
from lossc.compiler.loss import Loss
from lossc.compiler.ops import call
from lossc.compiler.passes.branches import LEAST
from lossc.compiler.passes.guard import GuardFacts, whole_products
from lossc.compiler.passes.removable import Filler, factors
from lossc.compiler.passes.rewrite import Applied

EPS = call("eps")
ADD, CLAMP = "add", "clamp"


def protected(loss: Loss, policy: str) -> tuple[Loss, list[Applied]]:
    """The loss with `policy` ("add" or "clamp") at every edge that y or f can reach."""
    keeper = _Keeper(loss, policy)
    done: dict[Expr, Expr] = {}
    live = live_nodes(loss.body)
    applied: list[Applied] = []
    for here in postorder(loss.body):
        made = rebuild(here, (done[a] for a in here.args))
        if here in live:
            kept = keeper.apply(here, made)
            if kept is not made:
                applied.append(Applied("G8" if here.op in ("div", "pow") else "G9", here))
            made = kept
        done[here] = made
    return loss.with_body(done[loss.body]), applied


class _Keeper:
    def __init__(self, loss: Loss, policy: str) -> None:
        self.policy = policy
        self.facts = GuardFacts(loss)
        self.harmless = _holes(loss.body, self.facts)

    def apply(self, written: Expr, made: Expr) -> Expr:
        """The operation away from its edge; `written` is the same before its operands changed."""
        if written.op in OTHER_FORM[self.policy]:
            return node(OTHER_FORM[self.policy][written.op], *made.args)
        rule = EDGES.get(written.op)
        return made if rule is None else rule(self, written, made)

    # -- one operand, from above 0 ------------------------------------------------------------------------------------

    def above_zero(self, u: Expr) -> Expr:
        """u, away from 0 and on its right side; a protection that is written already gets the form of the policy."""
        u = self._unprotected(u)
        if self.facts.nonnegative(u) and self.facts.surely_nonzero(u):
            return u
        size = u if self.facts.nonnegative(u) else call("abs", u)
        return size + EPS if self.policy == ADD else call("max", size, EPS)

    def _unprotected(self, u: Expr) -> Expr:
        """v, where u is v + eps or max(v, eps) for a v that is not negative, and not what the policy would write."""
        if u.op != ("max" if self.policy == ADD else "add") or EPS not in u.args:
            return u
        v = u.args[1] if u.args[0] is EPS else u.args[0]
        return v if self.facts.nonnegative(v) else u

    def unary(self, written: Expr, made: Expr) -> Expr:
        return node(made.op, self.above_zero(made.args[0]))

    def second(self, written: Expr, made: Expr) -> Expr:
        """xlogy(x, y); xlogy(x, x) is 0 at its edge by itself."""
        if made.args[0] is made.args[1]:
            return made
        return node(made.op, made.args[0], self.above_zero(made.args[1]))

    def ratio(self, written: Expr, made: Expr) -> Expr:
        """logratio(x, y) is log(x) - log(y), and stays what it is where nothing is protected."""
        operands = [self.above_zero(a) for a in made.args]
        return node(made.op, *operands)

    def base(self, written: Expr, made: Expr) -> Expr:
        """hypotm(x, c) needs c > 0; over_hypot(x, y) some distance from the origin."""
        if made.op == "hypotm":
            return node(made.op, made.args[0], self.above_zero(made.args[1]))
        return made.args[0] / self.above_zero(call("hypot", *made.args))

    def log1p(self, written: Expr, made: Expr) -> Expr:
        (u,) = made.args
        whole = ONE + u
        if self.facts.range(whole).lo >= LEAST:
            return made
        if self.facts.range(u).lo < -1:
            return call("log", self.above_zero(whole))
        return call("log1p", u + EPS if self.policy == ADD else call("max", u, EPS - 1))

    def log1mexp(self, written: Expr, made: Expr) -> Expr:
        return node(made.op, -self.above_zero(-made.args[0])) if self.facts.range(made.args[0]).hi > -LEAST else made

    # -- between -1 and 1, above 1 ------------------------------------------------------------------------------------

    def inside_one(self, written: Expr, made: Expr) -> Expr:
        (u,) = made.args
        if self.facts.range(u).within(LEAST - 1, 1 - LEAST):
            return made
        if self.policy == CLAMP:
            return node(made.op, call("clamp", u, EPS - 1, 1 - EPS))
        return node(made.op, (1 - EPS) * (u if self.facts.range(u).within(-1, 1) else call("clamp", u, -1, 1)))

    def above_one(self, written: Expr, made: Expr) -> Expr:
        (u,) = made.args
        if self.facts.range(u).lo >= 1 + LEAST:
            return made
        if self.policy == CLAMP:
            return node(made.op, call("max", u, 1 + EPS))
        return node(made.op, (u if self.facts.range(u).lo >= 1 else call("max", u, ONE)) + EPS)

    # -- quotients and powers -----------------------------------------------------------------------------------------

    def quotient(self, written: Expr, made: Expr) -> Expr:
        a, b = made.args
        if written in self.harmless or not is_live(b):
            return made
        b = self._unprotected(b)
        if self.facts.surely_nonzero(b):
            return made if b is made.args[1] else a / b
        if self.facts.nonnegative(b) or self.facts.nonpositive(b):
            return a / self._outward(b)
        if self.policy == CLAMP:
            return a / _with_least_size(b)
        away = call("hypot", b, EPS)
        return a * (b / away) / away

    def _outward(self, b: Expr) -> Expr:
        """b, which has one sign, further from 0."""
        if self.facts.nonnegative(b):
            return b + EPS if self.policy == ADD else call("max", b, EPS)
        return b - EPS if self.policy == ADD else call("min", b, -EPS)

    def power(self, written: Expr, made: Expr) -> Expr:
        x, p = made.args
        if not is_live(x):
            return made
        x = self._unprotected(x)
        signed, safe = not self.facts.nonnegative(x), self.facts.surely_nonzero(x)
        if p.op == CONST and p.number.denominator == 1:
            if p.number >= 0 or (safe and x is made.args[0]):
                return made
            return self._negative_power(x, p)
        at_least_one = self.facts.range(p).lo >= 1
        if not signed and (safe or at_least_one):
            return made
        if signed and p.op != CONST:
            return made if safe or at_least_one else node("pow", _with_least_size(x), p)
        return node("pow", self.above_zero(x), p)

    def _negative_power(self, x: Expr, p: Expr) -> Expr:
        if self.facts.surely_nonzero(x):
            return node("pow", x, p)
        if self.facts.nonnegative(x) or self.facts.nonpositive(x):
            return node("pow", self._outward(x), p)
        if self.policy == CLAMP:
            return node("pow", _with_least_size(x), p)
        away = call("hypot", x, EPS)
        return node("pow", x / away / away, const(-p.number))


def _with_least_size(x: Expr) -> Expr:
    """x, or eps with its sign (+ for 0) where |x| is smaller: no pole, and no change anywhere else."""
    if x.op == "where" and x.args[0] is call("lt", call("abs", x.args[2]), EPS):
        return x
    return call("where", call("lt", call("abs", x), EPS), call("where", call("lt", x, ZERO), -EPS, EPS), x)


def _holes(body: Expr, facts: GuardFacts) -> set[Expr]:
    """The quotients whose denominators vanish only where a limit exists: the guards fill them (G8, G12)."""
    out: set[Expr] = set()
    filler, wholes = Filler(facts.surely_nonzero), whole_products(body)
    for whole in (n for n in postorder(body) if n in wholes):  # in order: the work of the filler is limited
        made = filler.filled(whole)
        if not made:
            continue
        left = factors(made[-1][1])[1]
        for here in _quotients(whole):
            if not any(x in left for x in factors(here.args[1])[0]):
                out.add(here)
    return out


def _quotients(whole: Expr) -> list[Expr]:
    out, stack = [], [whole]
    while stack:
        here = stack.pop()
        if here.op in ("mul", "div", "neg"):
            out += [here] if here.op == "div" else []
            stack += here.args
    return out


EDGES: dict[str, Callable[[_Keeper, Expr, Expr], Expr]] = {
    **dict.fromkeys(("log", "log2", "log10", "sqrt", "lgamma", "digamma", "trigamma"), _Keeper.unary),
    "xlogy": _Keeper.second,
    "logratio": _Keeper.ratio,
    **dict.fromkeys(("hypotm", "over_hypot"), _Keeper.base),
    "log1p": _Keeper.log1p,
    "log1mexp": _Keeper.log1mexp,
    **dict.fromkeys(("asin", "acos", "atanh"), _Keeper.inside_one),
    "acosh": _Keeper.above_one,
    "div": _Keeper.quotient,
    "pow": _Keeper.power,
}
"""Every operator with an edge at which its value or slope is infinite, and what keeps its operand away."""

OTHER_FORM: dict[str, dict[str, str]] = {
    ADD: {"clog": "plog", "csqrt": "psqrt"},
    CLAMP: {"plog": "clog", "psqrt": "csqrt"},
}
"""The protected operators in the form of the other policy."""
