"""Recognising losses: named ones as themselves, rewritten ones, near ones, duplicates; and no false claims."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest

from benchmarks.identify import cases, found, holds, random_losses
from lossc.compiler.analysis import fingerprint
from lossc.compiler.analysis.constants import recognised
from lossc.compiler.analysis.duplicates import duplicates
from lossc.compiler.analysis.fingerprint import fixed_grid
from lossc.compiler.analysis.frames import Frame, frames
from lossc.compiler.analysis.identify import identify, without_parameters
from lossc.compiler.analysis.identity import Identity
from lossc.compiler.analysis.witnesses import witnesses
from lossc.compiler.errors import LosscError, UsageError
from lossc.compiler.evaluate import evaluate
from lossc.compiler.ir import F, Y, coef, const
from lossc.compiler.loss import Loss
from lossc.compiler.printing import to_text
from lossc.grammar import parse
from lossc.grammar.library import named, named_losses

KNOWN = tuple(named_losses().values())
CROSS_ENTROPIES = {
    "ace", "ace_phi", "cross_entropy", "cross_entropy_logits", "focal", "focal_sparse_lsr", "kl_divergence",
    "label_smoothing", "poly_cross_entropy", "sparse_lsr",
}  # fmt: skip
"""Named losses that are the cross-entropy of one-hot targets at some values of their hyper-parameters."""
ALIKE = (
    {"mse", "l2", "expectile"}, {"mae", "quantile"}, {"huber", "smooth_l1"},
    {"pseudo_huber", "charbonnier"}, {"cauchy", "student_t"},
)  # fmt: skip
TWINS = {
    **{name: group for group in ALIKE for name in group},
    "bce": {"bce", "bce_logits", "focal_binary"},
    "bce_logits": {"bce", "bce_logits", "focal_binary"},
    "ace": CROSS_ENTROPIES,
    "ace_phi": CROSS_ENTROPIES,
    "cross_entropy": CROSS_ENTROPIES,
    "cross_entropy_logits": CROSS_ENTROPIES,
    "focal": {"focal", "focal_sparse_lsr"},
    "sparse_lsr": {"sparse_lsr", "focal_sparse_lsr"},
    "mae_classes": {"mae_classes", "generalized_cross_entropy", "multi_margin", "nll"},
    "nll": {"nll", "generalized_cross_entropy"},
}
"""The named losses that one is too, up to scale and offset, at its defaults; others are nothing else."""


def of(text: str, y: str = "real", f: str = "real", **options: Any) -> Identity:
    """What a formula is among the named losses."""
    return identify(parse(text, y=y, f=f), KNOWN, **options)


def plain(identity: Identity) -> dict[str, Any]:
    """An identity without the time that it took."""
    return {k: v for k, v in identity.as_json().items() if k != "seconds"}


# -- exact matches ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", named_losses())
def test_named_losses_are_themselves(name: str) -> None:
    """Each named loss is recognised as itself at its defaults, and as its twins and nothing else; each claim is true at
    random inputs."""
    loss = named(name)
    identity = identify(loss, KNOWN)
    match = identity.exact
    assert match is not None and match.name == name and match.plain
    assert {n: c.exact for n, c in match.params} == {p.name: const(p.default or 0) for p in loss.params}
    matches = [match, *identity.also]
    assert {m.name for m in matches} == TWINS.get(name, {name})
    fixed = without_parameters(loss)
    assert all(holds(fixed, m, named(m.name), count=20) for m in matches)


@pytest.mark.parametrize(
    ("text", "roles", "headline"),
    [
        ("sqrt(1 + (y - f)^2) - 1", "", "pseudo_huber, delta = 1, exactly"),
        ("3/7*(y^2 - 2*y*f + f^2) + log(2)", "", "(3/7)*mse + log(2), exactly"),
        ("sqrt(2 + (y - f)^2)", "", "charbonnier, epsilon0 = sqrt(2), exactly"),
        ("sqrt(pi^2 + (f - y)^2)/pi", "", "(1/pi)*charbonnier, epsilon0 = pi, exactly"),
        ("log10(1 + 2*(y - f)^2)", "", "(1/log(10))*cauchy, delta = 0.5, exactly"),
        ("1 - exp(-(y - f)^2/18)", "", "(2/9)*welsch, delta = 3, exactly"),
        ("where(abs(y - f) < 1.7, 0.5*(y - f)^2, 1.7*abs(y - f) - 1.445)", "", "huber, delta = 1.7, exactly"),
        ("max(0.9*(y - f), 0.1*(f - y))", "", "quantile, tau = 0.9, exactly"),
        ("log(exp(y - f) + exp(f - y))", "", "log_cosh + log(2), exactly"),
        ("f - y*log(f + 1e-6)", "count positive", "poisson_rate, offset = 1e-6, exactly"),
        ("exp(0.7*f)/0.7 + y*exp(-0.3*f)/0.3", "positive real", "tweedie, p = 1.3, exactly"),
        ("log(1 + exp(f)) - y*f", "binary logit", "bce_logits, exactly"),
        ("log(1 + exp(-(2*y - 1)*f))", "binary logit", "bce_logits, exactly, for y = 0 or 1"),
        ("-y*log(f) - (1 - y)*log(1 - f)", "", "bce, exactly"),
        ("where(y > 0.5, -log(f), -log(1 - f))", "binary prob", "bce, exactly, for y = 0 or 1"),
        ("(1 - y*f + abs(1 - y*f))/2", "sign real", "hinge, exactly"),
        ("-log(sum_c(y*f))", "onehot prob", "cross_entropy, exactly"),
        ("-0.1*(1 - f)^3.5*log(f)*y", "onehot prob", "0.1*focal, gamma = 3.5, exactly"),
        ("logsumexp_c(f) - sum_c(y*f)", "onehot logit", "cross_entropy_logits, exactly"),
        ("1 - 2*sum_c(y*f) + sum_c(f^2)", "onehot prob", "brier, exactly"),
        ("20/7*y*abs(log(2.75*f))", "onehot prob", "(20/7)*ace_phi, phi0 = 1, phi1 = 2.75, exactly"),
        ("max((f - y)^2, min(-1, y))", "", "mse, exactly"),
        ("1e400*(y - f)^2 - 3e390", "", "1e400*mse - 3e390, exactly"),
        ("1e-390*(y - f)^2 + 1e-370", "", "1e-390*mse + 1e-370, exactly"),
    ],
)
def test_formulas_in_other_clothes(text: str, roles: str, headline: str) -> None:
    """Hyper-parameters, scale and offset come out exactly, rational or not; what holds for 0 and 1 only is said."""
    identity = of(text, *roles.split())
    assert identity.headline() == headline
    assert identity.nearest == () and identity.notes == ()


def test_constants_without_a_simple_form_are_numbers() -> None:
    """A scale and an offset that are not recognised are given as numbers; the proof takes them from two inputs."""
    match = of("(2^(1/3) + 1)*(y - f)^2 + exp(sqrt(2))").exact
    assert match is not None and match.name == "mse" and match.scale.exact is match.offset.exact is None
    assert match.scale.value == pytest.approx(2 ** (1 / 3) + 1, rel=1e-15)
    assert match.offset.value == pytest.approx(np.exp(np.sqrt(2)), rel=1e-15)
    assert match.proof.how == "points" and match.proof.points >= 200
    assert of("2*sqrt(2^(1/3) + (y - f)^2)").headline() == "2*charbonnier, epsilon0 = ≈1.12246204831, to 30 digits"


def test_great_scales_have_no_digits_too_many() -> None:
    """1e36 times a ratio may have more than the 40 digits of a constant."""
    match = of("1e36*(y - f)^2").exact
    assert match is not None and match.formula == "1e36*mse"


def test_a_scale_is_exact_if_it_is() -> None:
    """A scale that is 1 to 32 digits is not 1."""
    match = of("(1 + 1e-32)*(y - f)^2").exact
    assert match is not None and match.formula == "≈1*mse" and match.scale.exact is None and match.scale.value == 1


@pytest.mark.parametrize(
    ("text", "roles", "near"),
    [
        ("(y - f)^2*(1 + 1e-45*sin(y))", "", "mse huber"),
        ("(y - f)^2 + 1e-9*f", "", "mse cauchy"),
        ("abs(y - f)^2.0000000001", "", "mse pseudo_huber"),
        ("-(y - f)^2", "", "mse expectile"),
        ("(y - f)^2 + y^2", "", "mse welsch"),
        ("sqrt(1 + (y - f)^2) + 1e-20*abs(y - f)", "", "charbonnier mae"),
        ("where(abs(y - f) < 1e6, 0.5*(y - f)^2, 0)", "", "mse tukey"),
        ("mean_c((y - f)^2)", "onehot prob", "brier"),
        ("-y*log(f)*num_classes", "onehot prob", "cross_entropy focal"),
        ("-y*log(f + 1e-12)", "onehot prob", "cross_entropy kl_divergence"),
        ("softplus(f) - y*f + y", "binary logit", "bce_logits bce"),
        ("(y - f)^2 + y*(1e300*exp(f))/(1e300*exp(f))", "", "mse huber"),
        ("(y - f)^2 + relu(1e-9 - abs(y + f - 77.137))", "", "mse"),
        ("-y*log(f) + where(abs(f - 0.61237) < 1e-8, 0.1, 0)", "onehot prob", "cross_entropy"),
    ],
)
def test_closeness_is_no_proof(text: str, roles: str, near: str) -> None:
    """What differs by as little as 10^-45, only far out, by the sign, by a term in y, with the number of classes,
    beside great numbers that cancel, or in a sliver behind a kink or a condition is no exact match."""
    identity = identify(parse(text, **dict(zip("yf", roles.split(), strict=False))), list(map(named, near.split())))
    assert identity.exact is None and identity.also == ()


def test_holes_are_said() -> None:
    """A loss that lacks a value where the named one has one is the same where both do, and no more is claimed."""
    identity = of("(y - f)^4/(y - f)^2")
    assert identity.exact is not None and not identity.exact.proof.everywhere
    assert identity.headline() == "mse, exactly, where both have a value"
    assert of("((y - f)^4 + 1)/((y - f)^2 + 1)").exact is None


def test_rewritten_losses_are_found() -> None:
    """10 randomly rewritten, scaled and shifted named losses are found under their name, and every claim about them,
    twins included, is true at random inputs. (200, and how many are found: `benchmarks/identify.py`.)"""
    for one in cases(10, seed=5):
        identity = identify(one.loss, KNOWN)
        assert found(identity, one.name) is not None, str(one)
        matches = [] if identity.exact is None else [identity.exact, *identity.also]
        assert all(holds(one.loss, m, named(m.name), count=40) for m in matches), str(one)


def test_random_losses_are_taken_for_nothing_else() -> None:
    """Of 12 random losses of a search, those that are claimed to be named ones are, at random inputs."""
    for loss in random_losses(12, seed=6):
        match = identify(loss, KNOWN, timeout=60).exact
        assert match is None or holds(loss, match, named(match.name)), str(loss)


def test_the_oracle_of_these_tests_can_say_no() -> None:
    """`holds` refuses a scale, an offset, a hyper-parameter and a loss that are wrong."""
    loss = parse("2*(sqrt(1 + (y - f)^2) - 1)")
    match = identify(loss, KNOWN).exact
    assert match is not None and match.name == "pseudo_huber" and holds(loss, match, named("pseudo_huber"))
    assert not holds(loss, replace(match, scale=match.params[0][1]), named("pseudo_huber"))
    assert not holds(loss, replace(match, offset=match.scale), named("pseudo_huber"))
    assert not holds(loss, replace(match, params=(("delta", match.scale),)), named("pseudo_huber"))
    assert not holds(parse("2*(sqrt(1 + (y - f)^2) - 1) + 1e-9*y"), match, named("pseudo_huber"))


def test_points_of_proofs_keep_the_roles() -> None:
    """One-hot targets are one-hot, probabilities strictly inside and of sum 1, hard binary targets 0 or 1; and there
    are enough points."""
    loss = Loss(-Y * F, y="onehot", f="prob")
    for batch in witnesses(Frame(loss), loss, 220):
        for y, f in zip(batch.columns[Y], batch.columns[F], strict=True):
            assert sorted(y) == [0.0] * (len(y) - 1) + [1.0]  # type: ignore[arg-type]
            assert all(0 < v < 1 for v in f) and sum(map(Fraction, f)) == 1  # type: ignore[union-attr, arg-type]
    soft, hard = (f for f in frames(Loss(Y * F, y="binary", f="logit")))
    assert {v for b in witnesses(hard, hard.loss, 220) for v in b.columns[Y]} == {0.0, 1.0}
    assert len({v for b in witnesses(soft, soft.loss, 220) for v in b.columns[Y]}) > 20
    assert sum(len(b) for b in witnesses(soft, soft.loss, 220)) >= 200


# -- constants -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["0", "1", "-7/3", "0.001", "1e-8", "123456.789", "3e25", "-1e-31", "sqrt(2)", "-sqrt(0.6)", "pi", "2*pi", "0.5/pi",
     "sqrt(pi)", "e", "0.25*e", "log(2)", "3*log(10)", "1/log(2)", "-log(3)", "exp(0.4)", "1/sqrt(2*pi)"],
)  # fmt: skip
def test_constants_are_recognised(text: str) -> None:
    """A number of 60 digits is given back as an expression of the same value."""
    with mpmath.workdps(60):
        value = evaluate(parse(text).body, {}, dps=60)
        written = recognised(mpmath.mp, value)
        assert written is not None
        assert abs(evaluate(written, {}, dps=60) - value) < mpmath.mpf(10) ** -50
        assert len(to_text(written)) <= len(text) + 8


@pytest.mark.parametrize("value", ["zeta(3)", "euler", "sqrt(2) + sqrt(3)", "mpf(1)/3 + mpf(10)**-20", "pi**pi"])
def test_other_numbers_are_not(value: str) -> None:
    """A number that is none of the forms is not taken for one, also if it is near one to 20 digits."""
    known: dict[str, Callable[[], Any]] = {
        "zeta(3)": lambda: mpmath.zeta(3),
        "euler": lambda: +mpmath.euler,
        "sqrt(2) + sqrt(3)": lambda: mpmath.sqrt(2) + mpmath.sqrt(3),
        "mpf(1)/3 + mpf(10)**-20": lambda: mpmath.mpf(1) / 3 + mpmath.mpf(10) ** -20,
        "pi**pi": lambda: mpmath.pi**mpmath.pi,
    }
    with mpmath.workdps(60):
        assert recognised(mpmath.mp, known[value]()) is None


# -- near losses -----------------------------------------------------------------------------------------------------


def test_the_distance_is_that_of_its_definition() -> None:
    """Against a projection of the slopes by hand, on the points of the grid."""
    loss = parse("abs(y - f)^1.5")
    (near,) = identify(loss, [named("mae")]).nearest
    where = fixed_grid(Frame(loss))
    e = where.array(F) - where.array(Y)
    mine, its = 1.5 * np.sqrt(np.abs(e)) * np.sign(e), np.sign(e)
    a = mine @ its / (its @ its)
    expected = np.linalg.norm(mine - a * its) / np.linalg.norm(mine)
    assert near.distance == pytest.approx(expected, rel=1e-12) and near.scale == pytest.approx(a, rel=1e-12)
    assert len(where) == 128


def test_near_losses_come_in_order_with_fitted_parameters() -> None:
    """A disturbed Huber loss is nearest to Huber's, with nearly its delta; twins share a line; five lines at most."""
    near = of("where(abs(y - f) <= 2, 0.5*(y - f)^2, 2*abs(y - f) - 2) + 0.001*sin(f)").nearest
    assert near[0].name in ("huber", "smooth_l1") and near[0].params[0][1] == pytest.approx(2, abs=0.01)
    assert set(near[0].twins) == {"huber", "smooth_l1"} - {near[0].name}
    assert [n.distance for n in near] == sorted(n.distance for n in near)
    assert 0 < near[0].distance < 1e-3 < near[1].distance <= 1 and len(near) <= 5


def test_a_kink_is_found() -> None:
    """Slopes that jump with a hyper-parameter have no derivative in it; a search still finds it."""
    (near,) = of_one("y*abs(log(4*f)) + 0.001*f^2", "ace_phi", "onehot", "prob").nearest
    assert dict(near.params)["phi1"] == pytest.approx(4, rel=0.05) and near.distance < 0.01


def of_one(text: str, name: str, y: str = "real", f: str = "real") -> Identity:
    """What a formula is, held against one named loss only."""
    return identify(parse(text, y=y, f=f), [named(name)])


def test_same_slopes_are_said() -> None:
    """A loss that differs from a named one by a term in y only is not it, but has distance 0, and a note says why."""
    identity = of("(y - f)^2 + sin(y)")
    assert identity.exact is None and identity.nearest[0].distance < 1e-12
    assert "mse" in (identity.nearest[0].name, *identity.nearest[0].twins)
    assert any("a part without f" in n for n in identity.notes)


def test_forgotten_roles_are_pointed_out() -> None:
    """A formula that is a named loss but for its roles is compared with its like only; a note has the roles."""
    identity = of("-y*log(f)")
    assert identity.exact is None
    assert any("it is cross_entropy" in n and "--y onehot --f prob" in n for n in identity.notes)
    assert of("-y*log(f)", "onehot", "prob").exact is not None


def test_a_loss_without_slopes_is_near_nothing() -> None:
    """Constants, losses without f and losses without any value: no match, no distances, a note."""
    for text in ("3", "y^2", "sqrt(-1 - y^2 - f^2)", "where(y > f, 1, 2)"):
        identity = of(text)
        assert identity.exact is None and identity.nearest == () and len(identity.notes) == 1
        assert identity.headline() == "no exact match found"


# -- duplicates ------------------------------------------------------------------------------------------------------


def test_duplicates_are_grouped() -> None:
    """Exact and affine copies, in logits too, form groups; a negative scale does not."""
    texts = ["(y - f)^2", "abs(y - f)", "3*y^2 - 6*y*f + 3*f^2 - 1", "(f - y)^2", "-(y - f)^2", "sqrt((y - f)^2)"]
    made = duplicates([parse(t) for t in texts])
    assert [[m.index for m in g] for g in made.groups] == [[0, 2, 3], [1, 5], [4]]
    assert [[m.relation for m in g] for g in made.repeated] == [["", "affine", "exactly"], ["", "exactly"]]
    match = made.groups[0][1].match
    assert match is not None and match.line("L") == "3*L - 1"
    mixed = duplicates([named("bce"), named("mse"), parse("softplus(f) - y*f", y="binary", f="logit")])
    assert [[m.index for m in g] for g in mixed.groups] == [[0, 2], [1]]
    assert json.dumps(mixed.as_json(["a", "b", "c"]), allow_nan=False)


def test_duplicates_use_the_values_of_hyper_parameters() -> None:
    """Two losses of one formula are the same at equal values only."""
    one = named("huber")
    other = one.with_defaults(delta=2)
    groups = duplicates([one, other, named("smooth_l1"), replace(one, name="again")]).groups
    assert [[m.index for m in g] for g in groups] == [[0, 2, 3], [1]]


# -- bounds ----------------------------------------------------------------------------------------------------------

HOSTILE = {
    "deep": ("(" + "sin(" * 90 + "y - f" + ")" * 90 + ")", "real", "real"),
    "tower": ("exp(" * 60 + "f - y" + ")" * 60, "real", "real"),
    "digamma": ("+".join(f"digamma({k} + y^2 + f^2)" for k in range(1, 150)), "real", "real"),
    "lgamma": ("lgamma(" * 40 + "3 + y^2 + f^2" + ")" * 40, "real", "real"),
    "product": ("*".join(["(y - f + 0.001)"] * 300), "real", "real"),
    "powers": ("((y - f)^64)^2 + (y - f)^64", "real", "real"),
    "f^y": ("f^y^f^y", "real", "real"),
    "huge": ("1e400*(y - f)^2", "real", "real"),
    "tiny": ("1e-400*(y - f)^2", "real", "real"),
    "nowhere": ("log(f) + log(-f)", "real", "real"),
    "sums": ("sum_c(" * 60 + "y*f" + ")" * 60, "onehot", "prob"),
    "maps": ("softmax(" * 60 + "y*f" + ")" * 60, "onehot", "prob"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_losses_are_harmless(name: str) -> None:
    """Deep, tall, long, huge and undefined formulas: an answer in bounded time that JSON can hold."""
    began = time.process_time()
    identity = of(*HOSTILE[name], timeout=5)
    assert time.process_time() - began < 30  # the limit, and what one point or one derivative may take beyond it
    assert json.dumps(identity.as_json(), allow_nan=False)


def test_time_is_limited() -> None:
    """Without time nothing is claimed, neither that the loss is a named one nor that it is none."""
    identity = of("y^2 - 2*y*f + f^2", timeout=1e-9)
    assert identity.exact is None and identity.stopped and any("time limit" in n for n in identity.notes)
    assert identity.headline().startswith("not decided in time; nearest: mse")
    grouped = duplicates([parse("(y - f)^2"), parse("y^2 - 2*y*f + f^2")], timeout=1e-9)
    assert len(grouped.groups) == 2 and len(grouped.notes) == 1


def test_results_do_not_depend_on_what_was_asked_before() -> None:
    """The same with tables that are there already and with none."""
    texts = ("abs(y - f)^1.5", "2*sqrt(3 + (f - y)^2)", "tanh(y*f)^2")
    first = [plain(of(t)) for t in texts]
    for cache in (fingerprint._models, fingerprint._clouds, fingerprint._grids):
        cache.clear()
    assert [plain(of(t)) for t in reversed(texts)] == first[::-1]


def test_open_values_are_refused() -> None:
    """A hyper-parameter without a default, or a coefficient, is the call's fault; both have a code."""
    with pytest.raises(UsageError) as refused:
        identify(parse("delta*(y - f)^2", params={"delta": None}), KNOWN)
    assert refused.value.diagnostic.code == "L242"
    with pytest.raises(LosscError) as refused_too:
        identify(Loss(coef(0) * (Y - F) ** 2), KNOWN)
    assert refused_too.value.diagnostic.code == "L252"
