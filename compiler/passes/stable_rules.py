"""The V rules as data (docs/numerics.md): each equal on the reals wherever its left side is defined.

The test suite proves each at 60 digits and in four dtypes. In the order in which they are tried at a node: the more
special first.
"""

from __future__ import annotations

from fractions import Fraction

from lossc.compiler.facts import Facts
from lossc.compiler.ir import CONST
from lossc.compiler.loss import varies
from lossc.compiler.ops import call
from lossc.compiler.passes import cross_entropy, families
from lossc.compiler.passes.rewrite import A, B, Bindings, Rule


def _both_positive(facts: Facts, bound: Bindings) -> bool:
    return facts.positive(bound[A]) and facts.positive(bound[B])


def _worth_splitting(facts: Facts, bound: Bindings) -> bool:
    """Both positive, and none a plain number that cannot make a product overflow."""
    plain = any(x.op == CONST and _ORDINARY[0] <= x.number <= _ORDINARY[1] for x in (bound[A], bound[B]))
    return _both_positive(facts, bound) and not plain


_ORDINARY = (Fraction(1, 64), Fraction(64))


def _both_nonnegative(facts: Facts, bound: Bindings) -> bool:
    """Both nonnegative, and not what the rule itself makes."""
    made = any(x.op == "div" and x.args[0].op == "max" for x in (bound[A], bound[B]))
    return not made and facts.nonnegative(bound[A]) and facts.nonnegative(bound[B])


def _b_positive(facts: Facts, bound: Bindings) -> bool:
    return facts.positive(bound[B])


def _b_nonnegative(facts: Facts, bound: Bindings) -> bool:
    return facts.nonnegative(bound[B])


def _b_label(facts: Facts, bound: Bindings) -> bool:
    return facts.is_label(bound[B])


def _b_shared(facts: Facts, bound: Bindings) -> bool:
    """b is the same at every class."""
    return not varies(bound[B])


def _not_a_whole_number(facts: Facts, bound: Bindings) -> bool:
    """An exponent that is not a literal whole number: those stay powers, which are exact and cheap."""
    return not (bound[B].op == CONST and bound[B].number.denominator == 1)


_exp, _log, _sqrt = call("exp", A), call("log", A), call("sqrt", A)
_sigmoid, _softmax, _others = call("sigmoid", A), call("softmax", A), call("cosoftmax", A)
_steep = 4 * call("sigmoid", 2 * A) * call("sigmoid", -2 * A)

# The tables below are laid out by hand.
# fmt: off
LOGARITHMS: tuple[Rule, ...] = (
    Rule("V13", call("log", _others), call("log_cosoftmax", A), "1 - p is 0 where the target is almost certain"),
    Rule("V13", call("log1p", -_softmax), call("log_cosoftmax", A), "1 - p is 0 where the target is almost certain"),
    Rule("V13", call("log", _others / B), call("log_cosoftmax", A) - call("log", B), "1 - p is never 0, so b > 0"),
    Rule("V13", call("log", B * _others), call("log_cosoftmax", A) + call("log", B), "1 - p is never 0, so b > 0"),
    Rule("V3", call("log", _exp + 1), call("softplus", A), "exp overflows, and vanishes beside 1"),
    Rule("V3", call("log1p", _exp), call("softplus", A), "exp overflows"),
    Rule("V12", call("log", _exp + call("exp", B)), call("logaddexp", A, B), "exp overflows or underflows",
         family=families.log_of_exponentials, heads=("log", "log1p")),
    Rule("V12", call("log", call("sum_c", _exp)), call("logsumexp_c", A), "exp overflows or underflows"),
    Rule("V12", call("log", call("mean_c", _exp)), call("logsumexp_c", A) - call("log", call("num_classes")),
         "exp overflows or underflows"),
    Rule("V12", call("log", call("sum_c", B * _exp)), call("logsumexp_c", A + call("log", B)),
         "exp overflows or underflows", _b_positive),
    Rule("V13", call("log", 1 - _exp), call("log1mexp", A), "1 - exp(x) cancels near 0 and is 1 far out"),
    Rule("V13", call("log1p", -_exp), call("log1mexp", A), "the same, once log(1 - u) has become log1p(-u)"),
    Rule("V13", call("log", -call("expm1", A)), call("log1mexp", A), "the same, once 1 - exp(x) has become -expm1(x)"),
    Rule("V14", call("log", _exp - call("exp", B)), A + call("log1mexp", B - A), "inf - inf, and cancels near a = b"),
    Rule("V14", call("log", call("expm1", A)), A + call("log1mexp", -A), "expm1 overflows"),
    Rule("V14", call("log", 2 * call("sinh", A)), A + call("log1mexp", -2 * A), "sinh overflows"),
    Rule("V14", call("log", call("sinh", A)), A + call("log1mexp", -2 * A) - call("log", 2), "sinh overflows"),
    Rule("V16", call("log", call("cosh", A)), call("logcosh", A), "cosh overflows; its logarithm cancels near 0"),
    Rule("V16", call("log", B * call("cosh", A)), call("log", B) + call("logcosh", A), "cosh overflows"),
    Rule("V19", call("log", A**2 + 1), call("log1psq", A), "the square overflows, and vanishes beside 1; "
         "log(a^2 + b) becomes 2*log(hypot(a, sqrt(b)))", family=families.log_of_square),
    Rule("V19", call("log1p", A**2), call("log1psq", A), "the square overflows", family=families.log_of_square),
    Rule("V1", call("log", A + 1), call("log1p", A), "1 + x forgets a small x"),
    Rule("V1", call("log", 1 - A), call("log1p", -A), "1 - x forgets a small x"),
    Rule("V25", call("log", A / B), call("logratio", A, B), "the quotient overflows, and rounds off how near 1 it is",
         _worth_splitting),
    Rule("V25", call("log", A * B), call("logratio", A, 1 / B), "the product overflows", _worth_splitting),
    Rule("V25", call("log", A) - call("log", B), call("logratio", A, B), "cancels near a = b", _worth_splitting),
    Rule("V38", call("log1p", A) - call("log1p", B),
         call("log1p", call("max", A - B, 0) / (B + 1)) - call("log1p", call("max", B - A, 0) / (A + 1)),
         "cancels near a = b", _both_nonnegative),
)

EXPONENTIALS: tuple[Rule, ...] = (
    Rule("V8", call("expm1", A) / (_exp + 1), call("tanh", A / 2), "inf/inf"),
    Rule("V8", -call("expm1", A) / (_exp + 1), -call("tanh", A / 2), "inf/inf"),
    Rule("V8", 2 * _sigmoid - 1, call("tanh", A / 2), "cancels near 0"),
    Rule("V8", _exp - call("exp", -A), 2 * call("sinh", A), "cancels near 0"),
    Rule("V8", _exp + call("exp", -A), 2 * call("cosh", A), "one function, so that its ratios and logarithm are seen"),
    Rule("V8", call("sinh", A) / call("cosh", A), call("tanh", A), "inf/inf"),
    Rule("V2", _exp - 1, call("expm1", A), "cancels near 0"),
    Rule("V20", 1 - _exp, -call("expm1", A), "cancels near 0"),
    Rule("V7", _exp / (_exp + 1), call("sigmoid", A), "inf/inf"),
    Rule("V7", 1 / (_exp + 1), call("sigmoid", -A), "overflow, and a gradient of NaN"),
    Rule("V7", B / (_exp + 1), B * call("sigmoid", -A), "overflow, and a gradient of NaN"),
    Rule("V7", B / (_exp + 1) ** 2, B * call("sigmoid", -A) ** 2, "overflow, and a gradient of NaN"),
    Rule("V7", _exp * call("sigmoid", -A), call("sigmoid", A), "inf*0; sigmoid(a)/sigmoid(-a) becomes exp(a) (V31)",
         family=families.exponential_times_sigmoid, heads=("mul", "div")),
    Rule("V9", 1 - call("tanh", A) ** 2, _steep, "cancels far out"),
    Rule("V9", B / call("cosh", A) ** 2, B * _steep, "a gradient of NaN where cosh overflows"),
    Rule("V11", _exp / call("sum_c", _exp), call("softmax", A), "inf/inf"),
    Rule("V11", A - call("logsumexp_c", A), call("log_softmax", A), "cancels where a is large"),
    Rule("V11", call("exp", call("log_softmax", A)), call("softmax", A), "exp magnifies the error of log p"),
    Rule("V11", call("softmax", A - B), call("softmax", A), "b, the same at every class, rounds a off", _b_shared),
    Rule("V11", call("softmax", A + B), call("softmax", A), "b, the same at every class, rounds a off", _b_shared),
    Rule("V29", call("pow", _sigmoid, B), call("exp", B * call("logsigmoid", A)),
         "0 to a power below 1 has an infinite slope", _not_a_whole_number),
    Rule("V29", call("pow", _softmax, B), call("exp", B * call("log_softmax", A)),
         "0 to a power below 1 has an infinite slope", _not_a_whole_number),
    Rule("V29", call("sqrt", _sigmoid), call("exp", call("logsigmoid", A) / 2), "as for powers"),
    Rule("V29", call("sqrt", _softmax), call("exp", call("log_softmax", A) / 2), "as for powers"),
    Rule("V29", call("sqrt", B * _sigmoid), call("sqrt", B) * call("exp", call("logsigmoid", A) / 2), "as for powers",
         _b_nonnegative),
    Rule("V29", call("sqrt", B * _softmax), call("sqrt", B) * call("exp", call("log_softmax", A) / 2), "as for powers",
         _b_nonnegative),
)

DIFFERENCES: tuple[Rule, ...] = (
    Rule("V17", call("hypot", A, 1) - 1, call("hypotm", A, 1), "cancels near 0"),
    Rule("V18", call("hypot", A, B) - B, call("hypotm", A, B), "cancels near 0", _b_positive),
    Rule("V17", call("sqrt", A + 1) - 1, A / (call("sqrt", A + 1) + 1), "cancels near 0"),
    Rule("V18", call("sqrt", A + B) - call("sqrt", B), A / (call("sqrt", A + B) + call("sqrt", B)), "cancels near 0",
         _b_positive),
    Rule("V23", A**2 - B**2, (A - B) * (A + B), "cancels where |a| is near |b|"),
    Rule("V24", A**2 + B**2 - 2 * A * B, (A - B) ** 2, "cancels where a is near b, and can be negative"),
    Rule("V27", 1 - call("erf", A), call("erfc", A), "cancels for large x"),
    Rule("V28", 1 - call("cos", A), 2 * call("sin", A / 2) ** 2, "cancels near 0"),
    Rule("V37", 1 - (1 - A) ** 2, A * (2 - A), "cancels near 0"),
    Rule("V37", 1 - (1 - A) ** 3, A * (3 - A * (3 - A)), "cancels near 0"),
)

SQUARES: tuple[Rule, ...] = (
    Rule("V22", call("sqrt", A**2 + B**2), call("hypot", A, B), "the squares overflow or underflow; "
         "sqrt(a^2*b) becomes |a|*sqrt(b)", family=families.root_of_square),
    Rule("V22", A / call("hypot", A, B), call("over_hypot", A, B), "its slope cancels for large a"),
    Rule("V22", call("aq", A, B), A / call("hypot", B, 1), "the square overflows"),
    Rule("V21", A**2 / (A**2 + 1), call("sqdiv1psq", A), "inf/inf; its slope cancels for large a; a/(a^2 + 1) becomes "
         "div1psq(a)", family=families.quotient_of_square),
    Rule("V39", A / _sqrt, _sqrt, "0/0", family=families.over_root),
    Rule("V26", B * call("log", B / A), call("xlogy", B, B / A), "0*log(0), which is 0; for b <= 1 it becomes "
         "xlogy(b, b) - xlogy(b, a)",
         family=families.entropy, heads=("mul", "div")),
)

PROBABILITIES: tuple[Rule, ...] = (
    Rule("V10", call("softplus", A) - B * A, B * call("softplus", -A) + (1 - B) * call("softplus", A),
         "cancels where a is large and b is 1", family=cross_entropy.two_classes, heads=("add", "sub")),
    Rule("V10", call("logsumexp_c", A) - call("sum_c", B * A), -call("sum_c", B * call("log_softmax", A)),
         "cancels where the target is almost certain", family=cross_entropy.many_classes, heads=("add", "sub")),
    Rule("V10", call("logaddexp", A, 0), call("softplus", A), "one name for it, whose difference from b*a is seen"),
    Rule("V10", call("max", A, 0) + call("softplus", -call("abs", A)), call("softplus", A),
         "both have a kink at 0, which takes the second derivative"),
    Rule("V10", call("relu", A) + call("softplus", -call("abs", A)), call("softplus", A),
         "both have a kink at 0, which takes the second derivative"),
    Rule("V35", 1 - _softmax, _others, "cancels where softmax(x) is near 1"),
    Rule("V35", _softmax - B, _softmax * (1 - B) - B * _others, "cancels where both are near 1", _b_label),
    Rule("V35", _sigmoid - B, _sigmoid * (1 - B) - B * call("sigmoid", -A), "cancels where both are near 1", _b_label),
    Rule("V36", B - _softmax * call("sum_c", B),
         B * _others - _softmax * call("where", call("gt", _softmax, families.LIKELY),
                                       call("sum_c", call("where", call("gt", _softmax, families.LIKELY), 0, B)),
                                       call("sum_c", B) - B),
         "the slope through a softmax: cancels where softmax(x) is near 1",
         family=families.softmax_slope, heads=("add", "sub")),
)
# fmt: on

STABLE_RULES: tuple[Rule, ...] = (*PROBABILITIES, *LOGARITHMS, *EXPONENTIALS, *DIFFERENCES, *SQUARES)
