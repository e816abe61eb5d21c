"""The redistributed-loss trick: SparseLSR and Focal+SparseLSR come out of it, and what it says of its error is true."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import Any

import mpmath
import pytest
import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st

from lossc.compiler.errors import LossTypeError, UsageError
from lossc.compiler.ir import ONE, ZERO, Expr, F, Y, param, substitute
from lossc.compiler.loss import Loss, Parameter
from lossc.compiler.passes.canonicalize import canonical_expr, canonicalize
from lossc.compiler.passes.redistribute import EQUAL, LOWER, UNKNOWN, UPPER, reflected
from lossc.compiler.passes.simplex import TARGET, SimplexFacts
from lossc.compiler.passes.sparsify import DEFAULT_XI, F_J, F_T, Sparsified, smooth, sparsify
from lossc.compiler.passes.target_only import target_only
from lossc.compiler.verify import verify
from lossc.grammar import parse, parse_expr, parse_losses
from lossc.grammar.library import named, names
from tests.compiler.simplex_support import Overflow, Row, agree, look, row, total
from tests.strategies import PARAMS, exprs

PROB = [n for n in names() if named(n).y == "onehot" and named(n).f == "prob"]


@pytest.fixture(autouse=True)
def _precision() -> Iterator[None]:
    """All mpmath arithmetic of these tests in 60 digits."""
    with mpmath.workdps(60):
        yield


def one_hot(formula: str, **params: str) -> Loss:
    """A loss of one-hot targets and probabilities, with hyper-parameters of these roles."""
    made = {name: Parameter(name, role, Fraction(1)) for name, role in params.items()}
    return parse(formula, y="onehot", f="prob", params=made)


# -- the two losses of the thesis -------------------------------------------------------------------------------------


def test_label_smoothing_becomes_sparse_lsr() -> None:
    """Eq. 4.32: the very node of the library's sparse_lsr, from label smoothing and from smoothed cross-entropy."""
    expected = canonicalize(named("sparse_lsr")).body
    assert sparsify(named("label_smoothing")).loss.body is expected
    assert sparsify(named("cross_entropy"), xi=0.1).loss.body is expected
    assert sparsify(smooth(named("cross_entropy"))).loss.body is expected
    assert sparsify(named("ace"), xi=0.1).loss.body is expected
    assert sparsify(one_hot("-log(sum_c(y*f))"), xi=0.1) is not None
    assert sparsify(named("label_smoothing")).loss.params == named("sparse_lsr").params


def test_smoothed_focal_loss_becomes_focal_sparse_lsr() -> None:
    """Eq. 4.38: the very node that the library's focal_sparse_lsr is. So is what the trick gives,
    with nothing reflected, where all non-targets count as one class in the focusing factor; with a factor for each of
    them it is another loss."""
    expected = canonicalize(named("focal_sparse_lsr")).body
    assert sparsify(named("focal"), xi=0.1).loss.body is expected
    written = one_hot("-sum_c((y*(1 - xi) + xi/C)*(1 - f)^gamma*log(f))", gamma="nonnegative", xi="unit")
    assert sparsify(written).loss.body is expected
    grouped = "(y*(1 - f)^gamma + (1 - y)*sum_c(y*f)^gamma)"
    written = one_hot(f"-sum_c((y*(1 - xi) + xi/C)*{grouped}*log(f))", gamma="nonnegative", xi="unit")
    assert sparsify(written, focus="own").loss.body is expected
    own = sparsify(named("focal"), xi=0.1, focus="own").loss
    by_hand = (
        "-y*((1 - f)^gamma*(1 - xi + xi/C)*log(f) + (1 - (1 - f)/(C - 1))^gamma*(xi*(C - 1)/C)*log((1 - f)/(C - 1)))"
    )
    assert own.body is canonicalize(one_hot(by_hand, gamma="nonnegative", xi="unit")).body
    assert own.body is not expected
    assert [p.name for p in own.params] == ["gamma", "xi"]


SPARSE = {
    "label_smoothing": lambda: sparsify(named("label_smoothing")),
    "--smooth": lambda: sparsify(named("cross_entropy"), xi=0.1),
}


@pytest.mark.parametrize("how", SPARSE)
@pytest.mark.parametrize("classes", [2, 4, 10])
def test_equal_to_torch_where_the_others_are_equal(how: str, classes: int) -> None:
    """Where the non-target logits are equal, value and gradient are those of torch's label smoothing."""
    module = SPARSE[how]().loss.to_torch(reduction="none", xi=0.2)
    for margin in (-6.0, -0.5, 0.0, 1.0, 8.0):
        logits = torch.full((1, classes), 0.3, dtype=torch.float64)
        logits[0, 1] += margin
        found, truth = (logits.clone().requires_grad_() for _ in range(2))
        label = torch.tensor([1])
        value = module(found, label)
        expected = torch.nn.functional.cross_entropy(truth, label, label_smoothing=0.2)
        torch.autograd.backward(value.sum())
        torch.autograd.backward(expected)
        assert found.grad is not None and truth.grad is not None
        assert math.isclose(value.item(), expected.item(), rel_tol=1e-12)
        assert torch.allclose(found.grad, truth.grad, rtol=1e-10, atol=1e-13)


def test_not_the_sign_error_of_the_public_code() -> None:
    """C = 4, xi = 0.2, logits (8, 0, 0, 0): 1.2010, as label smoothing has it; the public code's sign gives -1.1993."""
    logits, label = torch.tensor([[8.0, 0, 0, 0]], dtype=torch.float64), torch.tensor([0])
    value = sparsify(named("label_smoothing")).loss.to_torch(xi=0.2)(logits, label).item()
    assert round(value, 4) == 1.2010
    p = torch.softmax(logits, 1)[0, 0]
    wrong = (-(1 - 0.2 + 0.05) * p.log() + 0.2 * 3 / 4 * ((1 - p) / 3).log()).item()
    assert round(wrong, 4) == -1.1993


def test_the_relaxed_form_is_the_same_loss_rescaled() -> None:
    """Footnote 2, -(log f + xi' log(1 - f)): SparseLSR is A times that plus a constant, at xi' = B/A, where A and B are
    its two coefficients."""
    rng, sparse = random.Random("footnote"), sparsify(named("label_smoothing")).loss
    for _ in range(50):
        c, xi = rng.randint(2, 50), Fraction(rng.randint(1, 999), 1000)
        p = mpmath.mpf(rng.randint(1, 9999)) / 10_000
        a = 1 - mpmath.mpf(xi.numerator) / xi.denominator * (c - 1) / c
        b = 1 - a
        relaxed = -(mpmath.log(p) + b / a * mpmath.log(1 - p))
        value = look(sparse.body, {Y: 1, F: p, param("xi"): xi}, c)[0]
        assert abs(value - (a * relaxed + b * mpmath.log(c - 1))) < mpmath.mpf(10) ** -50


# -- what is said of the error ----------------------------------------------------------------------------------------


def cases() -> list[Any]:
    """Every named loss of probabilities, as it is and smoothed, with both kinds of focus."""
    out = [pytest.param(named(n), None, "own", id=n) for n in PROB]
    return out + [
        pytest.param(named(n), DEFAULT_XI, focus, id=f"{n}-smooth-{focus}")
        for n in PROB for focus in (("own", "reflected") if "focal" in n else ("own",))
    ]  # fmt: skip


@pytest.mark.parametrize(("loss", "xi", "focus"), cases())
def test_bounds_hold(loss: Loss, xi: float | None, focus: str) -> None:
    """On 60 random rows the sparse form is below, above or equal to the loss, as claimed; and it is target-only."""
    found = sparsify(loss, xi=xi, focus=focus)
    verify(found.loss)
    assert target_only(found.loss) is not None
    seen = check_bound(found, loss if xi is None else smooth(loss, xi), random.Random(loss.name), 60)
    assert seen >= 40
    assert found.exact == (found.bound == EQUAL)
    assert found.unchanged == (found.redistributed is ZERO)


def check_bound(found: Sparsified, loss: Loss, rng: random.Random, rows: int) -> int:
    """Attack a claim; returns the number of rows on which both have a value."""
    seen = 0
    for _ in range(rows):
        at = row(loss, rng)
        try:
            exact, sparse = total(loss, at), total(found.loss, at)
            if found.exact:
                assert agree(partial(total, loss, at), partial(total, found.loss, at)), at
        except Overflow:
            continue
        if mpmath.isnan(exact) or mpmath.isnan(sparse):
            continue
        seen += 1
        slack = mpmath.mpf(10) ** -25 * (1 + abs(exact))
        assert found.bound != LOWER or sparse <= exact + slack, at
        assert found.bound != UPPER or sparse >= exact - slack, at
    return seen


def test_bounds_that_are_known() -> None:
    """Which way each is off, as Jensen's inequality says: a straight miss is exact, a convex one gives a lower bound, a
    concave one an upper one; a kink, a changing curvature or an unknown sign of it gives none."""
    known = {
        "sum_c(f^2)": LOWER, "(1 - y)*sqrt(f)": UPPER, "abs(y - f)": EQUAL, "(1 - y)*(f - f^3)": UPPER,
        "(1 - y)*f^2*(1 - f)^3": UNKNOWN, "(1 - y)*abs(f - 0.5)": UNKNOWN, "(1 - y)*relu(f - 0.25)": UNKNOWN,
        "(1 - y)*where(f > 0.5, 1, 0)": UNKNOWN, "(1 - y)*sign(f - 0.5)": UNKNOWN, "(1 - y)*lgamma(f)": UNKNOWN,
        "-(1 - y)*log(1 - f)": LOWER, "(1 - y)*max(f, 0.1)": UNKNOWN, "(1 - y)*2": EQUAL, "((y - f)/f)^4": EQUAL,
        "(1 - y)*f*sum_c(y*f)": EQUAL, "(1 - y)*f^2*sum_c(y*f)": LOWER, "f": EQUAL, "y - f": EQUAL,
        "(1 - y)*digamma(f)": UNKNOWN, "(1 - y)*trigamma(f)": UNKNOWN, "-(1 - y)*f^delta": UNKNOWN,
    }  # fmt: skip
    for formula, bound in known.items():
        loss = one_hot(formula, **({"delta": "positive"} if "delta" in formula else {}))
        found = sparsify(loss, focus="own")
        assert found.bound == bound, formula
        assert check_bound(found, loss, random.Random(formula), 40) >= 30


def test_reflection_is_a_lower_bound_of_a_loss_that_is_not_negative() -> None:
    """f_t < 1 - f_j for more than two classes: eq. 4.38 is below its own-focus form, which the smoothed loss is not."""
    loss = named("focal")
    assert sparsify(loss, xi=0.1).bound == LOWER
    assert sparsify(loss, xi=0.1, focus="own").bound == UNKNOWN
    assert sparsify(one_hot("(1 - y)*(1 - f)*log(1 - f)")).bound == UPPER  # negative, so that less of it is more
    assert sparsify(one_hot("(1 - y)*(1 - f)^p*f^2", p="real")).bound == UNKNOWN  # a negative p would not shrink
    mixed = one_hot("(1 - y)*((1 - f)^2*f^2 - (1 - f)*sqrt(f))")
    assert sparsify(mixed).bound in (LOWER, UNKNOWN)
    check_bound(sparsify(mixed), mixed, random.Random("mixed"), 60)


@pytest.mark.parametrize(("loss", "xi", "focus"), cases())
def test_two_classes_lose_nothing(loss: Loss, xi: float | None, focus: str) -> None:
    """For C = 2 there is one other class, whose prediction is 1 - f_t: the sparse form is the loss, whatever it is."""
    found, given_loss = sparsify(loss, xi=xi, focus=focus), loss if xi is None else smooth(loss, xi)
    rng = random.Random("two " + loss.name)
    for _ in range(20):
        at = row(given_loss, rng, classes=2)
        assert agree(partial(total, given_loss, at), partial(total, found.loss, at)), at


def spread_row(loss: Loss, rng: random.Random, spread: Fraction) -> tuple[Row, Fraction]:
    """A row of five classes whose others are off their mean by `spread` times fixed amounts that sum to 0."""
    at = row(loss, rng, classes=5)
    mean = (1 - Fraction(1, 3)) / 4
    off = [Fraction(3), Fraction(-1), Fraction(-4), Fraction(2)]
    others = [mean * (1 + spread * d / 8) for d in off]
    f = [*others[: at.target], Fraction(1, 3), *others[at.target :]]
    rest = {leaf: Fraction(3, 10) for leaf in at.rest}
    return Row(at.target, tuple(f), rest), sum(((x - mean) ** 2 for x in others), Fraction(0))


KINKED = {"ace_phi", "mae_classes"}
"""Once smoothed, what the others lose has a kink: |log(phi1*f)|, |f - xi/C|."""


@pytest.mark.parametrize("xi", [None, DEFAULT_XI])
@pytest.mark.parametrize("name", PROB)
def test_error_is_second_order_and_as_said(name: str, xi: float | None) -> None:
    """As the spread of the others halves, the error quarters, and its ratio to `second_order`*S goes to 1."""
    loss = named(name)
    given_loss = loss if xi is None else smooth(loss, xi)
    found = sparsify(given_loss, focus="own")
    assert (found.second_order is None) == (xi is not None and name in KINKED)
    if found.second_order is None:
        return
    errors, said = [], []
    for k in (10, 11, 12):
        at, size = spread_row(given_loss, random.Random(f"order {loss.name}"), Fraction(1, 2**k))
        errors.append(total(given_loss, at) - total(found.loss, at))
        factor = look(found.second_order, {F_T: at.f[at.target], **at.rest}, 5)[0]
        said.append(factor * mpmath.mpf(size.numerator) / size.denominator)
    if found.exact:
        assert all(abs(e) < mpmath.mpf(10) ** -50 for e in errors)
        return
    for e, s in zip(errors, said, strict=True):
        assert abs(e / s - 1) < mpmath.mpf(1) / 100
    assert all(abs(a / b - 4) < mpmath.mpf(4) / 100 for a, b in pairwise(errors))


def test_own_focus_is_closer_than_the_reflection() -> None:
    """What docs/sparsify.md says of eq. 4.38: for ten classes with standard normal logits, the reflected factor misses
    more than nine tenths of what the others lose, the class's own less than three tenths."""
    rng, values = random.Random("focus"), {param("gamma"): Fraction(2), param("xi"): Fraction(1, 10)}
    smoothed = smooth(named("focal"), 0.1)
    own, mirrored = (sparsify(named("focal"), xi=0.1, focus=focus).loss for focus in ("own", "reflected"))
    lost, own_gap, mirrored_gap = (mpmath.mpf(0) for _ in range(3))
    for _ in range(200):
        scores = [math.exp(rng.gauss(0, 1)) for _ in range(10)]
        f = [Fraction(s) / sum(map(Fraction, scores)) for s in scores]
        at = Row(0, tuple(f), values)
        truth = total(smoothed, at)
        lost += mpmath.fsum(look(smoothed.body, at.env(), 10)[1:])
        own_gap += abs(total(own, at) - truth)
        mirrored_gap += abs(total(mirrored, at) - truth)
    assert own_gap < 0.3 * lost
    assert mirrored_gap > 0.9 * lost


@given(
    exprs(names=("add", "sub", "mul", "div", "neg", "square", "exp", "log", "sqrt", "abs", "max", "relu", "tanh"),
          class_axis=False, exotic=False, max_leaves=8),
    st.sampled_from(["own", "reflected"]),
    st.sampled_from([None, "0.25"]),
)  # fmt: skip
@settings(max_examples=120)
def test_claims_hold_for_random_losses(body: Expr, focus: str, xi: str | None) -> None:
    """For any elementwise expression as the loss of each class: the sparse form is well formed and target-only or
    undefined somewhere, and exactness and bounds are true."""
    loss = Loss(ONE * body, "drawn", "onehot", "prob", tuple(Parameter(n, "unit") for n in PARAMS))
    found = sparsify(loss, xi=xi, focus=focus)
    verify(found.loss)
    event(found.bound)
    check_bound(found, loss if xi is None else smooth(loss, xi), random.Random(body.digest), 5)


# -- the focusing factor ----------------------------------------------------------------------------------------------


def test_what_a_focusing_factor_is() -> None:
    """A factor (1 - F)^p of a term that depends on F otherwise; a complement inside of something stays."""
    loss = one_hot("y*f", gamma="nonnegative")
    facts = SimplexFacts(loss)
    expected = {
        "(1 - f)^gamma*log(f)": "TARGET^gamma*log(f)",
        "-2*log(f)*(1 - f)": "-2*log(f)*TARGET",
        "(1 - f)*log(1 - f)": "TARGET*log(1 - f)",
        "(1 - f)^2*f/gamma": "TARGET^2*f/gamma",
        "(1 - f)^2*f - log(f)*(1 - f)": "TARGET^2*f - log(f)*TARGET",
        "(1 - f)^2/f": "TARGET^2/f",
    }
    for before, after in expected.items():
        sides = (parse_expr(text.replace("TARGET", "t"), params={"gamma": 1, "t": 1}) for text in (before, after))
        left, right = (canonicalize(loss.with_body(Y * side)).body for side in sides)
        miss = canonical_expr(substitute(left, {Y: ONE}), facts)
        wanted = canonical_expr(substitute(right, {Y: ONE, param("t"): TARGET}), facts)
        assert reflected(miss, facts) is wanted, before
    for kept in ("log(f)", "(1 - f)^gamma", "3*(1 - f)", "(1 - f)^f*f", "log(1 - f)*f", "f/(1 - f)", "2"):
        miss = canonical_expr(parse_expr(kept, params={"gamma": 1}), facts)
        assert reflected(miss, facts) is miss, kept


# -- the report -------------------------------------------------------------------------------------------------------


def test_derivation_follows_the_thesis() -> None:
    """The equations in their order, each with a formula; assumptions and error are said in words."""
    found = sparsify(named("label_smoothing"))
    assert [s.equation for s in found.steps] == ["4.27", "4.27", "4.29", "4.30", "4.31", "4.32"]
    assert found.redistributed is canonicalize_like("-xi*log(f_j)/C")
    assert len(found.assumptions) == 2
    assert (found.exact, found.bound) == (False, LOWER)
    text = found.explain()
    assert text.startswith("result     y*(")
    assert all(step.formula in text for step in found.steps)
    assert all(assumption in text and assumption in found.loss.doc for assumption in found.assumptions)
    focal = sparsify(named("focal"), xi=0.1)
    assert [s.equation for s in focal.steps] == ["4.27", "4.27", "4.27", "4.29", "4.38", "4.30", "4.31", "4.38"]
    assert len(focal.assumptions) == 3
    assert "equal for every row" in sparsify(named("mae_classes")).explain()


def canonicalize_like(text: str) -> Expr:
    """A formula in f_j and xi, canonical under the facts of label smoothing."""
    body = parse_expr(text.replace("f_j", "f"), params={"xi": 1})
    return substitute(canonical_expr(body, SimplexFacts(named("label_smoothing"))), {F: F_J})


def test_nothing_to_redistribute() -> None:
    """A loss that is target-only already stays the object it is, exact and without assumptions."""
    for name in ("focal", "cross_entropy", "sparse_lsr", "focal_sparse_lsr", "ace_phi", "poly_cross_entropy"):
        found = sparsify(named(name))
        assert found.loss is named(name)
        assert (found.unchanged, found.exact, found.bound, found.assumptions) == (True, True, EQUAL, ())
        assert "already target-only: nothing to redistribute" in found.explain()


def test_smoothed_targets() -> None:
    """y becomes y*(1 - xi) + xi/C, with xi beside the other hyper-parameters under a free name; twice smooths twice."""
    loss = smooth(named("cross_entropy"), 0.25)
    assert str(loss) == "-(y*(1 - xi) + xi/num_classes)*log(f)"
    assert loss.params == (Parameter("xi", "unit", Fraction(1, 4)),)
    assert [p.name for p in smooth(smooth(loss)).params] == ["xi", "xi2", "xi3"]
    assert smooth(named("cross_entropy")).params[0].default == Fraction(1, 10)
    assert (loss.name, loss.y, loss.f) == ("smooth_cross_entropy", "onehot", "prob")
    long = Loss(Y * F, "a" * 60, "onehot", "prob")
    assert smooth(long).name == sparsify(long, xi=0.1).loss.name == "a" * 60


def test_the_result_is_a_definition_that_reads_back() -> None:
    """Its text parses to an equal loss, whatever the hyper-parameters are called."""
    for name in PROB:
        loss = sparsify(named(name), xi=0.1).loss
        assert parse_losses(loss.definition())[0] == loss
    for clash in ("C", "num_classes", "f_t", "f_j", "eps"):
        loss = sparsify(one_hot(f"(y - f)^2*{clash}", **{clash: "positive"})).loss
        assert parse_losses(loss.definition())[0] == loss


@pytest.mark.parametrize(
    ("loss", "why"),
    [
        (named("mse"), "`y: real`"),
        (named("kl_divergence"), "`y: prob`"),
        (named("cross_entropy_logits"), "`f: logit`"),
        (named("multi_margin"), "`f: real`"),
        (one_hot("max_c(y*f)"), "not a sum"),
        (one_hot("(1 - y)*f*sum_c(f^2)"), "not a sum"),
        (one_hot("(1 - y)*softmax(f)"), "not a sum"),
        (one_hot("max_c(f)*y"), "depends on the other classes"),
        (one_hot("y*log_softmax(f)"), "depends on the other classes"),
    ],
    ids=str,
)
def test_losses_that_it_does_not_apply_to(loss: Loss, why: str) -> None:
    """L321 with the reason and a hint."""
    with pytest.raises(LossTypeError) as caught:
        sparsify(loss)
    found = caught.value.diagnostic
    assert (found.code, bool(found.hint)) == ("L321", True)
    assert why in found.message


def test_wrong_calls() -> None:
    """xi outside of 0 to 1 or no number, another focus, smoothing without one-hot targets."""
    for xi in (-0.1, 1.5, float("nan"), float("inf"), "x"):
        with pytest.raises(UsageError) as caught:
            sparsify(named("cross_entropy"), xi=xi)
        assert caught.value.diagnostic.code == "L202"
    with pytest.raises(UsageError):
        sparsify(named("cross_entropy"), focus="mine")
    with pytest.raises(LossTypeError):
        smooth(named("bce"))
    for xi in (0, 1):
        assert verify(sparsify(named("cross_entropy"), xi=xi).loss)


def test_large_losses_end() -> None:
    """A loss at the limit of the language is sparsified without its second derivative, and its report stays short."""
    loss = one_hot("y*(" + "*".join(f"sin(f + {i})" for i in range(300)) + ")")
    found = sparsify(loss, xi=0.1)
    assert (found.bound, found.second_order) == (UNKNOWN, None)
    assert "nodes)" in found.explain()
    assert len(found.explain()) < 50_000
