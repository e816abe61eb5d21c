"""Value rewrites: the same real function in a form that floating point keeps accurate and finite (numerics.md, V1-V32).

The rules are data over the canonical form; each is equal on the reals wherever its left side is defined (the test suite
proves that at 60 digits, and that the right side is right at the input where the left side fails). Applied before and
after the link is pulled in, and again on derivatives, until nothing changes.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

from lossc.compiler.facts import Facts
from lossc.compiler.ir import CONST, Expr, const, postorder, rebuild
from lossc.compiler.loss import Loss
from lossc.compiler.ops import call
from lossc.compiler.passes.canonical.sums import is_sum, signed_parts, split_coefficient
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.passes.link import LINK_RULES
from lossc.compiler.passes.rewrite import A, Applied, B, Bindings, Rule, rewrite

_exp, _log, _sqrt = call("exp", A), call("log", A), call("sqrt", A)


def _both_positive(facts: Facts, bound: Bindings) -> bool:
    return facts.positive(bound[A]) and facts.positive(bound[B])


def _b_positive(facts: Facts, bound: Bindings) -> bool:
    return facts.positive(bound[B])


def _not_a_whole_number(facts: Facts, bound: Bindings) -> bool:
    """An exponent that is not a literal whole number: those stay powers, which are exact and cheap."""
    return not (bound[B].op == CONST and bound[B].number.denominator == 1)


def _log_of_the_others(x: Expr) -> Expr:
    """log(1 - softmax(x)): at a class with p > 1/2 the log-sum-exp of the others, else log1mexp of the log-softmax.

    The class itself is pushed 100 below the least score, where it is lost beside the others in any precision.
    """
    log_p = call("log_softmax", x)
    likely = call("gt", log_p, _MINUS_LOG_2)
    others = call("logsumexp_c", call("where", likely, -call("max_c", -x) - 100, x))
    return call("where", likely, others - call("logsumexp_c", x), call("log1mexp", call("where", likely, -1, log_p)))


_MINUS_LOG_2 = const(-0.6931471805599453)
_softmax = call("softmax", A)

STABLE_RULES: tuple[Rule, ...] = (
    Rule("V13", call("log", 1 - _softmax), _log_of_the_others(A), "1 - p is 0 where the target is almost certain"),
    Rule("V13", call("log1p", -_softmax), _log_of_the_others(A), "1 - p is 0 where the target is almost certain"),
    Rule(
        "V13", call("log", (1 - _softmax) / B), _log_of_the_others(A) - call("log", B),
        "1 - p is 0 where the target is almost certain",
    ),
    Rule("V3", call("log", _exp + 1), call("softplus", A), "exp overflows, and vanishes beside 1"),
    Rule("V12", call("log", _exp + call("exp", B)), call("logaddexp", A, B), "exp overflows or underflows"),
    Rule("V12", call("log", call("sum_c", _exp)), call("logsumexp_c", A), "exp overflows or underflows"),
    Rule("V13", call("log", 1 - _exp), call("log1mexp", A), "1 - exp(x) cancels near 0 and is 1 far out"),
    Rule("V13", call("log1p", -_exp), call("log1mexp", A), "the same, once log(1 - u) has become log1p(-u)"),
    Rule("V13", call("log", -call("expm1", A)), call("log1mexp", A), "the same, once 1 - exp(x) has become -expm1(x)"),
    Rule("V16", call("log", call("cosh", A)), call("logcosh", A), "cosh overflows; its logarithm cancels near 0"),
    Rule("V1", call("log", A + 1), call("log1p", A), "1 + x forgets a small x"),
    Rule("V1", call("log", 1 - A), call("log1p", -A), "1 - x forgets a small x"),
    Rule("V2", _exp - 1, call("expm1", A), "cancels near 0"),
    Rule("V20", 1 - _exp, -call("expm1", A), "cancels near 0"),
    Rule("V7", _exp / (_exp + 1), call("sigmoid", A), "inf/inf"),
    Rule("V7", 1 / (_exp + 1), call("sigmoid", -A), "overflow, and a gradient of NaN"),
    Rule("V7", B / (_exp + 1), B * call("sigmoid", -A), "overflow, and a gradient of NaN"),
    Rule("V8", (_exp - call("exp", -A)) / (_exp + call("exp", -A)), call("tanh", A), "inf/inf"),
    Rule("V9", 1 - call("tanh", A) ** 2, 4 * call("sigmoid", 2 * A) * call("sigmoid", -2 * A), "cancels far out"),
    Rule("V17", call("sqrt", A + 1) - 1, A / (call("sqrt", A + 1) + 1), "cancels near 0"),
    Rule(
        "V18", call("sqrt", A + B) - call("sqrt", B), A / (call("sqrt", A + B) + call("sqrt", B)), "cancels near 0",
        _b_positive,
    ),
    Rule("V23", A**2 - B**2, (A - B) * (A + B), "cancels where |a| is near |b|"),
    Rule("V24", A**2 + B**2 - 2 * A * B, (A - B) ** 2, "cancels where a is near b, and can be negative"),
    Rule("V25", call("log", A / B), call("log", A) - call("log", B), "the quotient overflows", _both_positive),
    Rule("V25", call("log", A * B), call("log", A) + call("log", B), "the product overflows", _both_positive),
    Rule("V27", 1 - call("erf", A), call("erfc", A), "cancels for large x"),
    Rule("V28", 1 - call("cos", A), 2 * call("sin", A / 2) ** 2, "cancels near 0"),
    Rule(
        "V29", call("pow", call("sigmoid", A), B), call("exp", B * call("logsigmoid", A)),
        "0 to a power below 1 has an infinite slope", _not_a_whole_number,
    ),
    Rule(
        "V29", call("pow", call("softmax", A), B), call("exp", B * call("log_softmax", A)),
        "0 to a power below 1 has an infinite slope", _not_a_whole_number,
    ),
)  # fmt: skip
"""In the order in which they are tried at a node: the more special first."""


def _heads(a: Expr, b: Expr) -> frozenset[str]:
    """The operators of two terms, their coefficients aside ("const" for a number)."""
    return frozenset(base.op for base in (split_coefficient(a)[1], split_coefficient(b)[1]))


def _with_mirrors(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """The rules, and for a - b -> c the rule b - a -> -c where nothing is said of b - a."""
    known = {r.before for r in rules}
    pairs = [(r, call("sub", *reversed(r.before.args))) for r in rules if r.before.op == "sub"]
    return (*rules, *(replace(r, before=turned, after=-r.after) for r, turned in pairs if turned not in known))


RULES: tuple[Rule, ...] = _with_mirrors((*LINK_RULES, *STABLE_RULES))
SUM_RULES: tuple[Rule, ...] = tuple(r for r in RULES if r.before.op in ("add", "sub"))
ROUNDS = 8
PAIRS = frozenset(_heads(*r.before.args) for r in SUM_RULES)
"""Which two kinds of terms some rule is about: no other pair is tried."""
MAX_TERMS = 24
"""Sums longer than this are not searched for pairs."""


def stabilize(loss: Loss) -> Loss:
    """The same loss in a form that floating point keeps accurate: the V rules, to their fixed point, canonical."""
    return stabilize_report(loss)[0]


def stabilize_report(loss: Loss, *, canonical: bool = False) -> tuple[Loss, list[Applied]]:
    """`stabilize`, with the list of the rules that fired; `canonical` says that the loss is in canonical form."""
    facts = Facts(loss)
    body, applied = stable_expr(loss.body if canonical else canonical_expr(loss.body, facts), facts)
    made = replace(loss, body=body)
    same = (made.layout, made.reduces_itself) == (loss.layout, loss.reduces_itself)
    return (made, applied) if same else (loss, [])


def stable_expr(root: Expr, facts: Facts) -> tuple[Expr, list[Applied]]:
    """The rules applied to a canonical expression until none fires, canonical between rounds."""
    everything: list[Applied] = []
    here = root
    for _ in range(ROUNDS):
        made, applied = rewrite(here, RULES, facts)
        made, paired = _rewrite_pairs(made, facts)
        applied += paired
        if not applied:
            break
        everything += applied
        made = canonical_expr(made, facts)
        if made is here:
            break
        here = made
    return here, everything


def _rewrite_pairs(root: Expr, facts: Facts) -> tuple[Expr, list[Applied]]:
    """Apply the rules to pairs of terms inside longer sums: the sqrt(u + 1) - 1 in sqrt(u + 1) + v - 1."""
    applied: list[Applied] = []
    done: dict[Expr, Expr] = {}
    order = postorder(root)
    inner = {a for n in order if is_sum(n) for a in n.args if is_sum(a)}
    for here in order:
        made = rebuild(here, (done[a] for a in here.args))
        if is_sum(here) and here not in inner:
            made = _one_pair(made, facts, applied)
        done[here] = made
    return done[root], applied


def _one_pair(total: Expr, facts: Facts, applied: list[Applied]) -> Expr:
    parts = signed_parts(total)
    if not 2 < len(parts) <= MAX_TERMS:
        return total
    for i, j in combinations(range(len(parts)), 2):
        if _heads(parts[i][0], parts[j][0]) not in PAIRS:
            continue
        for sign in (1, -1):
            pair = canonical_expr(_added([(parts[k][0], sign * parts[k][1]) for k in (i, j)]), facts)
            made, fired = rewrite(pair, SUM_RULES, facts)
            if fired:
                applied += fired
                return _added([*(p for k, p in enumerate(parts) if k not in (i, j)), (made, sign)])
    return total


def _added(parts: list[tuple[Expr, int]]) -> Expr:
    out = parts[0][0] if parts[0][1] > 0 else -parts[0][0]
    for x, sign in parts[1:]:
        out = out + x if sign > 0 else out - x
    return out
