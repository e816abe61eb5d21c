"""Every V rule, on five samplers and in four formats: equal at 60 digits, and no less accurate than what it replaces.

How accuracy is measured: both sides are computed with ideal operators, each rounded to the format, and compared with
the exact value, in ulps of that value (of the least normal number's, below it). All errors at which no digit is left
count as one. Points whose exact value the format cannot hold are passed over. A rule must be

safe      finite wherever the left side is finite and within 1 ulp of the exact value
no worse  its greatest error over the points of a sampler is at most 1 ulp above the left side's
better    at some point its error is smaller by half an ulp or more

`TRADES` lists the rules that give up some of this for something worth more, and says for what and how much.
"""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest

from lossc.compiler.evaluate import evaluate_all
from lossc.compiler.float32 import ulps
from lossc.compiler.formats import FLOAT64, FORMATS, Format
from lossc.compiler.ir import postorder, summary
from lossc.compiler.passes.rewrite import Rule
from lossc.compiler.passes.stabilize import RULES
from lossc.compiler.sampling import Points
from tests.compiler.rule_support import SAMPLERS, Case, case, computed, sampled, truth

TRADES: dict[str, str] = {
    "log(mul(?b, sigmoid(?a)))": "two logarithms cancel near b*sigmoid(a) = 1; the product underflows",
    "log(mul(?b, cosh(?a)))": "two logarithms cancel near b*cosh(a) = 1; the product overflows",
    "log(mean_c(exp(?a)))": "two logarithms cancel near a mean of 1; the mean overflows",
    "log(mul(?a, ?b))": "1/b is rounded, which shows near a*b = 1; the product overflows",
    "div(?b, pow(cosh(?a), 2))": "4*sigmoid(2*a) is a few ulps off where it is subnormal; the slope was NaN",
    "pow(sigmoid(?a), ?b)": "exp(b*log p) is |b*log p| ulps off; p^b is 0 with an infinite slope where p underflows",
    "sqrt(sigmoid(?a))": "exp(log p/2) is |log p|/2 ulps off; sqrt(p) has no second derivative where p underflows",
    "sqrt(softmax(?a))": "exp(log p/2) is |log p|/2 ulps off; sqrt(p) has no second derivative where p underflows",
    "sqrt(mul(?b, sigmoid(?a)))": "exp(log p/2) is |log p|/2 ulps off; b*p underflows",
    "sqrt(mul(?b, softmax(?a)))": "exp(log p/2) is |log p|/2 ulps off; b*p underflows",
    "pow(softmax(?a), ?b)": "exp(b*log p) is |b*log p| ulps off; p^b is 0 with an infinite slope where p underflows",
}
"""Left sides of rules whose greatest error may grow, and why it is worth it."""
STRUCTURAL: dict[str, str] = {
    "div(?a, hypot(?a, ?b))": "one operator for x/hypot(x, c), whose slope does not cancel",
    "add(max(?a, 0), softplus(neg(abs(?a))))": "no kinks at 0, where the second derivative of the sum was lost",
    "add(relu(?a), softplus(neg(abs(?a))))": "no kinks at 0, where the second derivative of the sum was lost",
    "logaddexp(?a, 0)": "softplus(a), whose difference from b*a another rule sees",
    "aq(?a, ?b)": "the square that overflows is inside the operator, where an ideal model does not see it",
}
"""Left sides of rules whose gain the model cannot see."""


def left_side(rule: Rule) -> str:
    return summary(rule.before)


def name(rule: Rule) -> str:
    return f"{rule.id} {left_side(rule)} {' '.join(rule.heads)}"


def batches(one: Case, form: Format) -> list[Points]:
    return [sampled(one, sampler, form, 12 if form is FLOAT64 else 40) for sampler in SAMPLERS]


def settled(one: Case, batch: Points, index: int) -> bool:
    """Whether no intermediate value overflows the interpreter: else it says nothing of the rule."""
    nodes = postorder(one.before, one.after)
    seen = evaluate_all(nodes, batch.env(index), num_classes=batch.num_classes, dps=60)
    flat = [v for s in seen for v in (s if isinstance(s, list) else [s]) if not isinstance(v, bool)]
    return not any(mpmath.isinf(v) for v in flat)


@pytest.mark.parametrize("rule", RULES, ids=name)
def test_rule_is_an_identity(rule: Rule) -> None:
    """Where the left side has a value the right side has the same one, to 30 digits, on each of the five samplers."""
    one = case(rule)
    for batch in batches(one, FLOAT64):
        before, after = truth(one.before, batch), truth(one.after, batch)
        seen = 0
        for i, (row, other) in enumerate(zip(before, after, strict=True)):
            if not settled(one, batch, i):
                continue
            with mpmath.workdps(60):
                for a, b in zip(row, other, strict=True):
                    if mpmath.isfinite(a):
                        seen += 1
                        assert abs(a - b) <= mpmath.mpf(10) ** -30 * abs(a) + mpmath.mpf(10) ** -130, batch.describe(i)
        assert seen, batch.kinds[0]


def errors(one: Case, form: Format, batch: Points) -> tuple[Any, Any, Any]:
    """The errors of both sides in ulps where the format holds the exact value (elsewhere 0), and where that is."""
    rows = truth(one.before, batch)
    exact = np.array([[float(v) if mpmath.isfinite(v) else np.nan for v in row] for row in rows])
    meant = np.isfinite(exact) & (np.abs(exact) <= float(form.largest))
    target = np.where(meant, exact, 0.0)
    sides = (ulps(computed(side, batch, form), target, form) for side in (one.before, one.after))
    before, after = (np.where(meant, error, 0.0) for error in sides)
    return before, after, meant


@pytest.mark.parametrize("rule", RULES, ids=name)
def test_rule_is_safe_in_four_formats(rule: Rule) -> None:
    """On every sampler, in float64, float32, bfloat16 and float16: finite where the left side is finite and right, no
    worse at its worst, and better somewhere."""
    one, better = case(rule), False
    key = left_side(rule)
    for form in FORMATS.values():
        none_left = 2.0 ** (form.digits - 1)
        for batch in batches(one, form):
            before, after, meant = errors(one, form, batch)
            where = f"{form.name}, {batch.kinds[0]}"
            assert meant.any(), where
            broken = meant & (before <= 1) & ~np.isfinite(after)
            assert not broken.any(), (where, batch.describe(int(np.argwhere(broken)[0][0])))
            old, new = np.minimum(before, none_left), np.minimum(after, none_left)
            better = better or bool((new < old - 0.5).any())
            if key not in TRADES:
                worst = int(np.unravel_index(int(np.argmax(new)), new.shape)[0])
                assert new.max() <= old.max() + 1, (where, batch.describe(worst), old.max(), new.max())
    assert better or key in STRUCTURAL


def test_trades_are_of_rules_that_there_are() -> None:
    """No entry outlives its rule."""
    keys = {left_side(r) for r in RULES}
    assert set(TRADES) | set(STRUCTURAL) <= keys
