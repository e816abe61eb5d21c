"""Losses of the target only: every proof is attacked with the reference interpreter on random one-hot rows."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import mpmath
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from lossc.compiler.facts import Facts
from lossc.compiler.ir import ONE, ZERO, Expr, F, Y, const, node, postorder
from lossc.compiler.loss import Loss, Parameter
from lossc.compiler.passes.canonicalize import canonicalize
from lossc.compiler.passes.simplex import CLASSES, TARGET, SimplexFacts
from lossc.compiler.passes.target_only import Split, TargetOnly, per_class_terms, split_by_target, target_only
from lossc.grammar import parse, parse_expr
from lossc.grammar.library import named, names
from tests.compiler.simplex_support import Overflow, Row, agree, look, row, total
from tests.strategies import PARAMS, exprs

ONE_HOT = [name for name in names() if named(name).y == "onehot"]
TARGET_ONLY = {
    "ace", "ace_phi", "cross_entropy", "cross_entropy_logits", "evomal_a", "evomal_b", "evomal_c", "evomal_e", "focal",
    "focal_sparse_lsr", "generalized_cross_entropy", "nll", "poly_cross_entropy", "sparse_lsr", "taylor_cross_entropy",
}  # fmt: skip
OF_ALL_CLASSES = {
    "brier", "crammer_singer", "evomal_d", "label_smoothing", "mae_classes", "multi_margin", "multiclass_perceptron",
}  # fmt: skip


def claimed(found: TargetOnly, at: Row) -> Any:
    """hit(f_t) + (C - 1)*miss."""
    hit, miss = (look(part, at.env(), at.classes)[at.target] for part in (found.hit, found.miss))
    return hit + (at.classes - 1) * miss


def attack(loss: Loss, seed: object, rows: int) -> int:
    """Hold a proof, a split and the terms of a loss against its value; returns the number of rows that had one."""
    rng = random.Random(str(seed))
    found, split, terms = target_only(loss), split_by_target(loss), per_class_terms(loss)
    seen = 0
    for _ in range(rows):
        at = row(loss, rng)
        truth = partial(total, loss, at)
        others: list[Callable[[], Any]] = []
        if found is not None:
            others.append(partial(claimed, found, at))
        if split is not None:
            others.append(partial(_put_together, split, at))
        if terms is not None:
            others.append(partial(_summed, terms, at))
        try:
            assert all(agree(truth, other) for other in others), (str(loss), at)
            seen += not mpmath.isnan(truth())
        except Overflow:
            continue
    return seen


def _summed(terms: Expr, at: Row) -> Any:
    """Σ_c t_c."""
    return mpmath.fsum(look(terms, at.env(), at.classes))


def _put_together(split: Split, at: Row) -> Any:
    """hit at the target and miss at every other class."""
    env = at.env()
    env[TARGET] = at.f[at.target]
    env |= {place: look(x, at.env(), at.classes)[at.target] for place, x in split.places.items()}
    misses = look(split.miss, env, at.classes)
    hit = look(split.hit, at.env(), at.classes)[at.target]
    return hit + mpmath.fsum(m for c, m in enumerate(misses) if c != at.target)


@pytest.mark.parametrize("name", ONE_HOT)
def test_named_losses_are_what_is_proved_of_them(name: str) -> None:
    """Which named losses are target-only is known, and on 60 random rows each has the value that was proved, to 30
    digits."""
    assert {*TARGET_ONLY, *OF_ALL_CLASSES} == set(ONE_HOT)
    found = target_only(named(name))
    assert (found is not None) == (name in TARGET_ONLY)
    if found is not None:
        leaves = postorder(found.hit, found.miss)
        assert Y not in leaves and F not in postorder(found.miss)
        assert all(n.op in ("log_softmax", "softmax") and n.args == (F,) for n in found.maps)
    assert attack(named(name), name, 60) >= 50


@pytest.mark.parametrize("name", [n for n in names() if named(n).y != "onehot"])
def test_other_targets_have_no_split(name: str) -> None:
    """Without one-hot targets there is nothing to prove."""
    assert split_by_target(named(name)) is None
    assert target_only(named(name)) is None


FORMULAS: list[tuple[str, str, str | None, str]] = [
    # formula, role of f, hit (None: not target-only), miss
    ("-log(sum_c(y*f))", "prob", "-log(f)", "0"),
    ("-(1 - sum_c(y*f))^2*log(sum_c(y*f))", "prob", "-(1 - f)^2*log(f)", "0"),
    ("sum_c(f) + sum_c(y*f)", "prob", "1 + f", "0"),
    ("y*exp(sum_c(f))", "prob", "exp(1)", "0"),
    ("y*exp(sum_c(f*y + f))", "prob", "exp(1 + f)", "0"),
    ("exp(mean_c(f))*sum_c(y*f^2)", "prob", "f^2*exp(1/C)", "0"),
    ("sum_c(y*f)/mean_c(y)", "prob", "f*C", "0"),
    ("where(y == 1, -log(f), 0)", "prob", "-log(f)", "0"),
    ("where(y > 0.5, -log(f), delta)", "prob", "-log(f)", "delta"),
    ("((y - f)/f)^4", "prob", "((1 - f)/f)^4", "1"),
    ("(y*f)^gamma", "prob", "f^gamma", "0^gamma"),
    ("-log_softmax(f)*y*2", "logit", "-2*log_softmax(f)", "0"),
    ("-sum_c(y*log_softmax(f))*sum_c(y*softmax(f))", "logit", "-log_softmax(f)*softmax(f)", "0"),
    ("-sum_c(y*log_softmax(f))", "real", "-log_softmax(f)", "0"),
    ("delta + sum_c(y*f)", "logit", "delta + f", "0"),
    ("y*f/(C - 1)", "real", "f/(C - 1)", "0"),
    # not, and why
    ("y*log(1 - 2*f)", "prob", None, "undefined elsewhere"),
    ("y*log(f)", "real", None, "undefined elsewhere"),
    ("y*f/(f - 1)", "real", None, "undefined elsewhere"),
    ("y*log(y) + f*y", "prob", None, "0*log(0)"),
    ("log(y)", "prob", None, "log(0)"),
    ("f/y", "prob", None, "f/0"),
    ("y*f/(C - 2)", "prob", None, "undefined for C = 2"),
    ("y*f + 1/log(delta)", "prob", None, "undefined for delta = 1"),
    ("(1 - y)*sum_c(y*f)", "prob", None, "the target's prediction counts C - 1 times, as a miss"),
    ("-log_softmax(f)*y", "prob", None, "a softmax of probabilities"),
    ("-log_softmax(2*f)*y", "logit", None, "a softmax of something else"),
    ("logsumexp_c(f) - sum_c(y*f)", "logit", None, "a reduction at the target"),
    ("max_c(y*f)", "prob", None, "no sum"),
    ("sqrt(sum_c((y - f)^2))", "prob", None, "no sum"),
    ("log_softmax(f + y)*y", "logit", None, "y in a softmax"),
    ("abs(y - f)", "prob", None, "straight, but not the same"),
]
ROLES_OF_PARAMS = {"delta": Parameter("delta", "positive"), "gamma": Parameter("gamma", "nonnegative")}


def loss_of(formula: str, f: str) -> Loss:
    """A loss of one-hot targets, with the hyper-parameters that it uses."""
    return parse(formula, y="onehot", f=f, params={k: p for k, p in ROLES_OF_PARAMS.items() if k in formula})


@pytest.mark.parametrize(("formula", "f", "hit", "miss"), FORMULAS, ids=lambda x: str(x))
def test_formulas(formula: str, f: str, hit: str | None, miss: str) -> None:
    """The hit and the miss of each are as worked out by hand, or there is no proof; and whatever is claimed is true."""
    loss = loss_of(formula, f)
    found = target_only(loss)
    assert (found is None) == (hit is None)
    if found is not None and hit is not None:
        assert canonicalize(loss.with_body(found.hit)).body is canonicalize(loss_of(hit, f)).body
        assert canonicalize(loss.with_body(found.miss)).body is canonicalize(loss_of(miss, f)).body
    attack(loss, formula, 40)


def test_terms_of_a_loss_that_reduces_itself() -> None:
    """Sums and means open through signs, coefficients and constants; roots and maxima of sums do not."""
    opened = {
        "-sum_c(y*f)": "-y*f",
        "mean_c(y*f)": "y*f/C",
        "2 - 3*mean_c(y*f)": "2/C - 3*y*f/C",
        "max_c(f)*sum_c(y*f)": "max_c(f)*y*f",
        "sum_c(y*f)/logsumexp_c(f)": "y*f/logsumexp_c(f)",
        "sum_c(y*f)": "y*f",
        "y*f": "y*f",
    }
    for formula, terms in opened.items():
        loss = parse(formula, y="onehot", f="logit")
        found = per_class_terms(loss)
        assert found is not None
        assert canonicalize(loss.with_body(found)).body is canonicalize(loss.with_body(parse_expr(terms))).body, formula
    for formula in ("sqrt(sum_c(y*f))", "max_c(f)", "max_c(f) - sum_c(y*f)", "logsumexp_c(f)"):
        assert per_class_terms(parse(formula, y="onehot", f="logit")) is None
    assert per_class_terms(named("mse")) is None


def test_nested_sums_end() -> None:
    """Sums within sums, each of which holds the one before, double with every level: they are left alone in time."""
    deep = Y * F
    for _ in range(200):
        deep = node("sum_c", deep + F)
    assert split_by_target(Loss(deep, "deep", "onehot", "prob")) is None
    few = Y * F
    for _ in range(3):
        few = node("sum_c", few + F)
    assert split_by_target(Loss(few, "few", "onehot", "prob")) is not None
    assert attack(Loss(few, "few", "onehot", "prob"), "few", 30) == 30


NAMES = (
    "add", "sub", "mul", "div", "neg", "pow", "square", "abs", "sign", "exp", "log", "log1p", "sqrt", "relu", "max",
    "min", "where", "xlogy", "plog", "aq", "sum_c", "mean_c", "max_c", "logsumexp_c", "softmax", "log_softmax",
)  # fmt: skip
SHAPES: dict[str, Callable[[Expr], Expr]] = {
    "as it is": lambda e: e,
    "y*e": lambda e: Y * e,
    "-sum_c(y*e)": lambda e: -node("sum_c", Y * e),
    "mean_c(e)": lambda e: node("mean_c", e),
    "e + y*e": lambda e: e + Y * e,
    "where(y > 0, e, 1)": lambda e: node("where", node("gt", Y, ZERO), e, ONE),
    "log(sum_c(y*f))*e": lambda e: node("log", node("sum_c", Y * F)) * e,
}


@given(
    exprs(names=NAMES, exotic=False, max_leaves=12),
    st.sampled_from(sorted(SHAPES)),
    st.sampled_from(["prob", "prob", "logit", "real", "positive"]),
    st.sampled_from(["real", "positive", "nonnegative", "unit"]),
)
@settings(max_examples=150)
def test_random_losses_are_what_is_proved_of_them(body: Expr, shape: str, f: str, role: str) -> None:
    """For any expression: whatever terms, split and proof there are have the loss's value on random rows, or none where
    it has none."""
    params = tuple(Parameter(name, role) for name in PARAMS)
    loss = Loss(SHAPES[shape](body), "drawn", "onehot", f, params)
    event(f"target-only: {target_only(loss) is not None}, split: {split_by_target(loss) is not None}")
    attack(loss, body.digest, 4)


@given(exprs(names=[n for n in NAMES if not n.endswith("_c") and "softmax" not in n], class_axis=False, exotic=False))
@settings(max_examples=150)
def test_sharper_facts_hold(body: Expr) -> None:
    """Wherever 0 < f < 1 and C >= 2, values lie within `SimplexFacts.range`, and where it says total there is one."""
    loss = Loss(body * ONE, "drawn", "onehot", "prob", tuple(Parameter(n, "nonnegative") for n in PARAMS))
    facts, rng = SimplexFacts(loss), random.Random(body.digest)
    for _ in range(4):
        at = row(loss, rng)
        with mpmath.workdps(60):
            try:
                values = look(body, at.env(), at.classes)
            except Overflow:
                continue
            known = facts.range(body)
            for value in values:
                if mpmath.isnan(value):
                    assert not known.total
                else:
                    slack = mpmath.mpf(10) ** -40 * (1 + abs(value))
                    assert known.lo - slack <= value <= known.hi + slack


def test_sharper_facts_are_sharper() -> None:
    """What they are for: logarithms of 1 - f and of (1 - f)/(C - 1) exist, powers of f are positive, log(f) is not."""
    loss = parse("y*f", y="onehot", f="prob", params={"gamma": Parameter("gamma", "nonnegative")})
    sharp, plain = SimplexFacts(loss), Facts(loss)
    for text in ("log(1 - f)", "log((1 - f)/(C - 1))", "1/f^3", "f^gamma", "1/(f*f)", "0^gamma", "log(f*f*f)"):
        body = parse_expr(text, params={"gamma": 1})
        assert sharp.total(body)
        assert not plain.total(body)
    assert sharp.positive(F**3)
    assert sharp.nonpositive(node("log", F))
    assert not sharp.total(node("log", 1 - CLASSES))
    assert not sharp.positive(const(1) - 2 * F)
    assert sharp.key != plain.key
