"""The dual-point analysis: the thesis's equations, finite differences, and the sum of the softmax's errors.

The equations of thesis sections 4.4.2 to 4.4.5 stand here as formulas of their own. All that are tested are right as
printed. Two remarks on their text: the condition 2 > φ1 > 1 is more than they need (eq. 4.23 holds for φ1 < C and eq.
4.26 for every φ1 > 1), and eq. 4.26 inserts 1 - ε(C - 1) + ε where eq. 4.12 has 1 - ε(C - 1), with the same limit.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import mpmath
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from lossc.compiler.analysis.asymptotics import EPSILON, Limit, lead, limit
from lossc.compiler.analysis.cases import decide
from lossc.compiler.analysis.dual_point import DualPoint, Quantity, dual_point
from lossc.compiler.analysis.numbers import contradicts
from lossc.compiler.analysis.rational import Tidier
from lossc.compiler.analysis.row import row_of
from lossc.compiler.analysis.world import Domain, Unsolved, World, context, number
from lossc.compiler.errors import LosscError, LossTypeError, UsageError
from lossc.compiler.evaluate import evaluate
from lossc.compiler.facts import Facts
from lossc.compiler.interval import TINY, Interval
from lossc.compiler.ir import ZERO, Expr, F, Y, param, substitute
from lossc.compiler.loss import Loss, Parameter, varies
from lossc.compiler.passes.differentiate import differentiate
from lossc.compiler.passes.link import apply_link
from lossc.compiler.passes.simplex import SimplexFacts
from lossc.compiler.roles import ROLES
from lossc.compiler.sympy_bridge import Bridge
from lossc.grammar import parse, parse_expr
from lossc.grammar.library import named, names
from tests.strategies import PARAMS, REAL_OPS, exprs

CLASSIFYING = [n for n in names() if named(n).y in ("onehot", "binary", "sign") or named(n).y == named(n).f == "prob"]
CLASSWISE = [n for n in CLASSIFYING if named(n).layout == "classwise" and n != "multilabel_soft_margin"]
KINKED = {"multiclass_perceptron", "crammer_singer"}
"""Ties at the null epoch: finite differences see both sides of the kink."""
COUNTS = (3, 4, 5, 10, 1000)


def said(text: str, **params: float) -> Expr:
    """A formula of the thesis, in C and hyper-parameters."""
    return parse_expr(text, params=params)


def at(quantity: Quantity, classes: int, values: Mapping[Expr, Any]) -> Any:
    """The value that an analysis states, in mpmath: the first case that holds."""
    found = quantity.answer(values, classes)
    if found.kind == "infinite":
        return found.sign * context().inf
    assert found.kind == "finite" and not found.numeric
    return number(found.value, values, classes, context(), 60)


def is_everywhere(
    quantity: Quantity, formula: str, ranges: Mapping[str, tuple[float, float]], counts: tuple[int, ...] = COUNTS
) -> None:
    """Assert that the value is the formula, to 50 digits, at 40 random points of the open ranges for each C."""
    rng = random.Random(formula)
    wanted = None if formula in ("+inf", "-inf") else said(formula, **dict.fromkeys(ranges, 1))
    for classes in counts:
        for _ in range(40):
            values = {
                param(k): Fraction(rng.randint(1, 10**6 - 1), 10**6) * Fraction(b - a) + Fraction(a)
                for k, (a, b) in ranges.items()
            }
            value = at(quantity, classes, values)
            if wanted is None:
                assert value == mpmath.mpf(formula)
                continue
            truth = number(wanted, values, classes, context(), 60)
            assert abs(value - truth) <= mpmath.mpf(10) ** -36 * max(1, abs(truth)), (formula, classes, values)


# -- the equations of the thesis --------------------------------------------------------------------------------------


def test_equations_of_cross_entropy() -> None:
    """Eq. 4.14, 4.15 and 4.17: δ is y/f; 0 and C at the null epoch, 0 and 1 at zero training error."""
    found = dual_point(named("cross_entropy"))
    assert substitute(found.row.target, {param("?t"): F}) is said("1/f")
    assert found.row.other is ZERO
    is_everywhere(found.null.other, "0", {})
    is_everywhere(found.null.target, "C", {})
    is_everywhere(found.end.other, "0", {})
    is_everywhere(found.end.target, "1", {})


ONE = {"phi0": (1, 1), "phi1": (1, 1)}
"""The thesis's φ0 = φ1 = 1."""
BETWEEN = {"phi0": (1, 1), "phi1": (1, 2)}
"""The thesis's φ0 = 1 and 2 > φ1 > 1."""


def test_equations_of_absolute_cross_entropy() -> None:
    """Eq. 4.16 and 4.18 for φ1 = 1, eq. 4.23 and 4.26 for 2 > φ1 > 1, from one analysis with symbols; and beyond."""
    found = dual_point(named("ace_phi"))
    for ranges in (ONE, BETWEEN):
        is_everywhere(found.null.other, "0", ranges)
        is_everywhere(found.null.target, "C", ranges)
        is_everywhere(found.end.other, "0", ranges)
    is_everywhere(found.end.target, "1", ONE)
    is_everywhere(found.end.target, "-1", BETWEEN)
    is_everywhere(found.null.target, "C*phi0", {"phi0": (0, 5), "phi1": (0, 3)})
    is_everywhere(found.null.target, "-C*phi0", {"phi0": (0, 5), "phi1": (10, 50)}, (2, 3, 10))
    is_everywhere(found.null.target, "0", {"phi0": (0, 5), "phi1": (4, 4)}, (4,))
    is_everywhere(found.end.target, "phi0", {"phi0": (0, 5), "phi1": (0, 1)})
    is_everywhere(found.end.target, "-phi0", {"phi0": (0, 5), "phi1": (1, 99)}, (2, 3, 10))


def test_the_cases_of_absolute_cross_entropy() -> None:
    """Eq. 4.10 and the piecewise tables: the sign changes at φ1 = C at the null epoch, at φ1 = 1 at the end."""
    found = dual_point(named("ace_phi"))
    formula = substitute(found.row.target, {param("?t"): param("f")})
    thesis = said("-phi0*log(phi1*f)/(f*abs(log(phi1*f)))", phi0=1, phi1=1)
    rng = random.Random(3)
    for _ in range(50):
        point = {param(k): Fraction(rng.randint(1, 999), 333) for k in ("phi0", "phi1")}
        p = Fraction(rng.randint(1, 999), 1000)
        mine = evaluate(formula, {**point, param("f"): p}, dps=60)
        truth = evaluate(thesis, {**point, F: p}, dps=60)
        assert mpmath.isnan(truth) or abs(mine - truth) < mpmath.mpf(10) ** -50
    told = found.explain()
    assert " C*phi0 if phi1 < C   [10]\n" in told and " 0 if phi1 = C\n" in told and " -C*phi0 if phi1 > C\n" in told
    assert " phi0 if phi1 <= 1   [1]\n" in told and " -phi0 if phi1 > 1\n" in told


def test_equations_of_label_smoothing() -> None:
    """Eq. 4.20, 4.21 and 4.24, with the rate (ξ/C)/ε at which the non-target's δ grows, for 1 > ξ > 0."""
    found = dual_point(named("label_smoothing"))
    inside = {"xi": (0, 1)}
    is_everywhere(found.null.other, "xi", inside)
    is_everywhere(found.null.target, "C - C*xi + xi", inside)
    is_everywhere(found.end.other, "+inf", inside)
    is_everywhere(found.end.target, "1 - xi + xi/C", inside)
    tidy = Tidier(found.row.facts)
    assert tidy(substitute(found.row.target, {param("?t"): F}) - said("(1 - xi + xi/C)/f", xi=1)) is ZERO
    assert tidy(substitute(found.row.other, {param("?j"): F}) - said("xi/C/f", xi=1)) is ZERO
    leads = found.end.other.leads
    assert leads is not None
    rates = [c.answer.term for c in leads if c.answer is not None and c.answer.sign]
    assert [tidy(rate - said("xi/C", xi=1) / EPSILON) for rate in rates] == [ZERO]


def test_symbolic_identities_of_the_equations() -> None:
    """The same as identities of rational functions of C and ξ, proved by expansion."""
    found = dual_point(named("label_smoothing"))
    tidy = Tidier(found.row.facts)
    for quantity, formula in [
        (found.null.target, "C - C*xi + xi"),
        (found.null.other, "xi"),
        (found.end.target, "1 - xi + xi/C"),
        (found.null.score_target, "(1 - xi)*(1 - 1/C)"),
        (found.end.score_target, "-xi*(C - 1)/C"),
        (found.end.score_other, "xi/C"),
    ]:
        (case,) = quantity.cases
        assert not case.conditions
        assert tidy(case.answer.value - said(formula, xi=1)) is ZERO, formula


def test_sparse_label_smoothing_moves_scores_like_label_smoothing() -> None:
    """Section 4.5: another δ, but the same errors of the scores, at both points and everywhere on a symmetric row."""
    one, other = row_of(named("label_smoothing")), row_of(named("sparse_lsr"))
    tidy = Tidier(one.facts)
    for point in one.points():
        for mine, its in zip(one.score_errors(point), other.score_errors(point), strict=True):
            assert tidy(mine - its) is ZERO
    (_, end) = one.points()
    assert tidy(one.errors(end)[1]) is not tidy(other.errors(end)[1])


# -- every named loss, against the loss itself ------------------------------------------------------------------------


def settled(loss: Loss) -> dict[Expr, Any]:
    """Values of the hyper-parameters: their defaults."""
    return {param(p.name): p.default for p in loss.params}


def row_value(linked: Loss, scores: list[Any], target: list[int], values: Mapping[Expr, Any]) -> Any:
    """The loss of one row of scores, in mpmath."""
    env = {**values, Y: target, F: scores}
    if linked.layout == "classwise":
        value = evaluate(linked.body, env, num_classes=len(scores))
        return mpmath.fsum(value) if varies(linked.body) else value[0] if isinstance(value, list) else value
    return mpmath.fsum(evaluate(linked.body, {**values, Y: y, F: z}) for y, z in zip(target, scores, strict=True))


def slopes(linked: Loss, scores: list[Any], target: list[int], values: Mapping[Expr, Any]) -> list[Any]:
    """-∂L/∂z by central differences."""
    h = mpmath.mpf(10) ** -60
    out = []
    for i in range(len(scores)):
        up, down = list(scores), list(scores)
        up[i], down[i] = up[i] + h, down[i] - h
        above, below = (row_value(linked, z, target, values) for z in (up, down))
        out.append(-(above - below) / (2 * h))
    return out


def scores_of(loss: Loss, epsilon: Any, classes: int) -> tuple[list[Any], list[int]]:
    """A row of scores with the target's last, and the row of labels."""
    if loss.layout != "classwise" or loss.y in ("binary", "sign"):
        z = mpmath.log((1 - epsilon) / epsilon)
        count = classes if loss.layout == "classwise" else 2
        no = -1 if loss.y == "sign" else 0
        return [-z] * (count - 1) + [z], [no] * (count - 1) + [1]
    return [mpmath.log(epsilon)] * (classes - 1) + [mpmath.log(1 - (classes - 1) * epsilon)], [0] * (classes - 1) + [1]


@pytest.mark.parametrize("name", CLASSIFYING)
@pytest.mark.parametrize("classes", [2, 5])
def test_errors_of_scores_are_those_of_finite_differences(name: str, classes: int) -> None:
    """At the null epoch and at ε = 1e-9 the errors of the scores are the slopes of the linked loss, to 20 digits."""
    loss = named(name)
    row, values = row_of(loss), settled(loss)
    linked = apply_link(loss)
    with mpmath.workdps(160):
        start = mpmath.mpf(1) / (2 if row.labels else classes)
        for point, epsilon in zip(row.points(), (start, mpmath.mpf(10) ** -9), strict=True):
            if point.key == "null" and (name in KINKED or name == "perceptron"):
                continue
            scores, target = scores_of(loss, epsilon, classes)
            truth = slopes(linked, scores, target, values)
            there = {**values, EPSILON: epsilon}
            mine = [number(e, there, classes, mpmath.mp, 160) for e in row.score_errors(point)]
            for value, wanted in zip(mine, (truth[-1], truth[0]), strict=True):
                assert abs(value - wanted) <= mpmath.mpf(10) ** -20 * max(1, abs(wanted)), (point.name, value, wanted)


@pytest.mark.parametrize("name", CLASSIFYING)
def test_every_named_loss_is_analysed_exactly_and_in_time(name: str) -> None:
    """Nothing is numeric, nothing is open, within 20 seconds; stated numbers are the limits of the slopes."""
    loss, start = named(name), time.monotonic()
    found = dual_point(loss)
    assert found.sentences
    assert time.monotonic() - start < 20
    assert found.notes == ()
    for point in found.points:
        for quantity in point.quantities:
            assert quantity.leads is not None and not quantity.numeric
    expr, _ = found.row.score_errors(found.end.point)
    far = number(expr, {**found.values, EPSILON: mpmath.mpf(10) ** -80}, found.shown, context(), 300)
    assert abs(far - found.end.score_target.at) < 1e-12


@pytest.mark.parametrize("name", CLASSWISE)
def test_ties_are_shared_as_the_derivative_shares_them(name: str) -> None:
    """Where scores tie, the errors are those of the closed-form gradient, which are torch's."""
    loss = named(name)
    row, values = row_of(loss), settled(loss)
    slope = differentiate(apply_link(loss)).body
    with mpmath.workdps(60):
        scores, target = scores_of(loss, mpmath.mpf(1) / 4, 4)
        truth = evaluate(slope, {**values, Y: target, F: scores}, num_classes=4)
        mine = [number(e, values, 4, mpmath.mp, 60) for e in row.score_errors(row.points()[0])]
        pairs = [(m, -t) for m, t in zip(mine, (truth[-1], truth[0]), strict=True) if not mpmath.isnan(t)]
        assert all(abs(m - t) < mpmath.mpf(10) ** -40 for m, t in pairs)
    assert pairs or name == "evomal_a"  # whose gradient has a root of 0 off the target, until it is guarded


# -- any loss ---------------------------------------------------------------------------------------------------------

CALM = exprs(names=[n for n in REAL_OPS if n != "trigamma"], total=True, exotic=False, max_leaves=6)
"""With a value everywhere, and a derivative: trigamma has none in closed form."""


def drawn(body: Expr, y: str = "onehot", f: str = "prob") -> Loss:
    """A loss of a drawn expression."""
    return Loss(body, "drawn", y, f, tuple(Parameter(p, "positive", Fraction(3, 2)) for p in PARAMS))


@settings(max_examples=120)
@given(CALM, st.sampled_from([2, 3, 7]))
def test_errors_of_scores_sum_to_zero(body: Expr, classes: int) -> None:
    """Softmax invariance: at the null epoch the target's and C - 1 non-targets' slopes of any loss sum to 0, whether
    computed by the analysis or by the closed-form gradient of the linked loss; and the two are the same."""
    loss = drawn(body)
    row, values = row_of(loss), settled(loss)
    mine = [number(e, values, classes, mpmath.mp, 60) for e in row.score_errors(row.points()[0])]
    if any(not mpmath.isfinite(v) for v in mine):
        return
    with mpmath.workdps(60):
        scale = max(1, *map(abs, mine))
        assert abs(mine[0] + (classes - 1) * mine[1]) <= mpmath.mpf(10) ** -40 * scale
        scores, target = scores_of(loss, mpmath.mpf(1) / classes, classes)
        slope = differentiate(apply_link(loss)).body
        truth = evaluate(slope, {**values, Y: target, F: scores}, num_classes=classes)
        truth = truth if isinstance(truth, list) else [truth] * classes
        if all(mpmath.isfinite(v) for v in truth):
            biggest = max(1, *map(abs, truth))
            assert abs(mpmath.fsum(truth)) <= mpmath.mpf(10) ** -30 * biggest
            assert abs(mine[0] + truth[-1]) <= mpmath.mpf(10) ** -30 * biggest


@settings(max_examples=25)
@given(exprs(params=(), exotic=False, max_leaves=5), st.sampled_from([("onehot", "prob"), ("binary", "prob")]))
def test_any_loss_gets_an_answer_or_an_error(body: Expr, roles: tuple[str, str]) -> None:
    """No traceback and no hang, and a text, LaTeX and plain data, for whatever can be written."""
    start = time.monotonic()
    try:
        found = dual_point(Loss(body, "drawn", *roles), timeout=1.0)
    except (UsageError, LossTypeError):
        return
    assert found.explain() and found.latex() and found.data()["sentences"]
    assert time.monotonic() - start < 60


@settings(max_examples=150)
@given(exprs(names=("add", "sub", "mul", "div", "neg", "square"), exotic=False, max_leaves=8))
def test_tidy_forms_mean_the_same(body: Expr) -> None:
    """A tidy form of sums, products and quotients has the value of the formula wherever that has one."""
    tidy = Tidier(SimplexFacts(drawn(body)))
    made = tidy(body)
    rng = random.Random(str(body))
    for _ in range(4):
        env = {leaf: Fraction(rng.randint(1, 999), 1000) for leaf in (Y, F, *map(param, PARAMS))}
        truth = evaluate(body, env, num_classes=5, dps=80)
        truth = truth[0] if isinstance(truth, list) else truth
        if mpmath.isfinite(truth):
            mine = evaluate(made, env, num_classes=5, dps=80)
            mine = mine[0] if isinstance(mine, list) else mine
            assert abs(mine - truth) <= mpmath.mpf(10) ** -50 * max(1, abs(truth))


# -- limits -----------------------------------------------------------------------------------------------------------

LIMITS = [
    "(1 - x)^(1/x)", "x*log(x)", "log(1 + x)/x", "(exp(x) - 1 - x)/x^2", "sin(x)/x", "(1 - cos(x))/x^2", "x^x",
    "log(x + x^2)/log(x)", "log(-log(x))/log(x)", "(tan(x) - x)/x^3", "1/x - 1/sin(x)", "exp(-1/x)/x^9",
    "log(log(1/x))", "sqrt(1/x + 1) - sqrt(1/x)", "atan(1/x)", "tanh(1/x)*2", "(1 + 3*x)^(2/x)", "abs(log(x))*x - 1/x",
    "exp(2*log(x))*log(x)/x^2", "(x^3 - x)/(x^2*(1 - x))", "1/(x - x^2) - 1/x",
]  # fmt: skip


@pytest.mark.parametrize("text", LIMITS)
def test_limits_are_those_of_sympy(text: str) -> None:
    """Limits at 0 from above, and signs of leading terms, of functions that are hard enough, against SymPy's."""
    root = substitute(said(text, x=1), {param("x"): EPSILON})
    facts = SimplexFacts(drawn(F), {EPSILON: Interval(TINY, 0.5)})
    (case,) = decide(lambda w: limit(root, w), World(Domain({}, facts, 2)), lambda *_: False)
    bridge = Bridge([root], {EPSILON: ROLES["positive"]})
    truth = sympy.limit(bridge.to_sympy(root).doit(), bridge.symbol(EPSILON), 0, "+")
    if case.answer.kind == "infinite":
        assert truth == case.answer.sign * sympy.oo
    else:
        with mpmath.workdps(50):
            value = number(case.answer.value, {}, 2, mpmath.mp, 50)
            assert abs(value - mpmath.mpf(str(sympy.N(truth, 50)))) < mpmath.mpf(10) ** -40 * max(1, abs(value))
    if text.startswith("exp(-1/x)"):
        with pytest.raises(Unsolved, match="faster than every power"):
            lead(root, World(Domain({}, facts, 2)))
        return
    (top,) = decide(lambda w: lead(root, w), World(Domain({}, facts, 2)), lambda *_: False)
    near = evaluate(root, {EPSILON: mpmath.mpf(10) ** -60}, dps=200)
    assert top.answer is not None and top.answer.sign == mpmath.sign(near)


def test_limits_branch_on_exponents() -> None:
    """q*ε^(q - 1): infinite below q = 1, 1 at 1, 0 above; and coefficients that cancel are looked through."""
    q = param("q")
    loss = Loss(F, "x", "onehot", "prob", (Parameter("q", "positive", Fraction(1)),))
    domain = Domain({q: ROLES["positive"]}, SimplexFacts(loss, {EPSILON: Interval(TINY, 0.5)}))
    table = decide(lambda w: limit(q * EPSILON ** (q - 1), w), World(domain), lambda *_: False)
    assert [(c.conditions[0].relation, c.answer.kind, c.answer.sign) for c in table] == [
        ("<", "infinite", 1), ("=", "finite", 0), (">", "finite", 0),
    ]  # fmt: skip
    assert [str(c.answer.value.number) for c in table[1:]] == ["1", "0"]
    table = decide(lambda w: limit((q - 1) / EPSILON + 7, w), World(domain), lambda *_: False)
    assert [c.answer.kind for c in table] == ["infinite", "finite", "infinite"]


def test_cases_that_agree_are_one() -> None:
    """A table that branched at an end of a range keeps the formula that holds beyond it: q, not 0."""
    q = param("q")
    facts = SimplexFacts(Loss(F, "x", "onehot", "prob", (Parameter("q", "nonnegative", Fraction(1)),)))

    def ask(world: World) -> Expr:
        world.sign(q)
        return world(q)

    table = decide(ask, World(Domain({q: ROLES["nonnegative"]}, facts)), lambda w, a, b: w(a - b) is ZERO)
    assert [(c.conditions, c.answer) for c in table] == [((), q)]


@pytest.mark.parametrize(
    ("text", "right", "wrong"),
    [
        ("x", Limit("finite"), [Limit("finite", said("1")), Limit("infinite", sign=1), Limit("undefined")]),
        ("1/x", Limit("infinite", sign=1), [Limit("infinite", sign=-1), Limit("finite"), Limit("undefined")]),
        ("1/log(x)", Limit("finite"), [Limit("finite", said("-1/100")), Limit("infinite", sign=-1)]),
        ("C + x", Limit("finite", said("C")), [Limit("finite", said("C + 1"))]),
        ("log(-x)", Limit("undefined"), [Limit("finite")]),
    ],
)
def test_numbers_contradict_wrong_limits(text: str, right: Limit, wrong: list[Limit]) -> None:
    """The check of derived limits refuses what the numbers do not approach, and only that."""
    root = substitute(said(text, x=1), {param("x"): EPSILON})
    assert not contradicts(right, root, {}, 7)
    assert all(contradicts(found, root, {}, 7) for found in wrong)


def test_a_limit_that_numbers_contradict_is_not_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a derivation were wrong, numbers would take its place, and a note would say so."""
    monkeypatch.setattr("lossc.compiler.analysis.dual_point.limit", lambda *_: Limit("finite", said("3")))
    found = dual_point(named("cross_entropy"))
    assert found.end.target.numeric and found.end.target.at == 1
    assert "a derived limit disagrees with numbers" in found.notes[0]


def test_what_cannot_be_derived_is_numeric_and_says_so() -> None:
    """lgamma at infinity is not expanded: the limit is what numbers settle on, marked, with the reason."""
    found = dual_point(parse("-y*log(f) + (1 - y)*lgamma(1/f)*f^3", y="onehot", f="prob"))
    assert not found.null.target.numeric
    assert found.end.other.numeric and found.end.other.at == 0
    assert any("digamma" in note or "lgamma" in note for note in found.notes)
    assert "(numeric)" in found.explain() and r"\approx" in found.latex()
    grows = dual_point(parse("-y*log(f) + (1 - y)*lgamma(1/f)", y="onehot", f="prob"))
    assert grows.end.other.numeric and grows.end.other.at == float("inf")
    swings = dual_point(parse("-y*log(f) + (1 - y)*sin(1/f)*f^2", y="onehot", f="prob"))
    assert [c.answer.kind for c in swings.end.other.cases] == ["unknown"]


# -- words ------------------------------------------------------------------------------------------------------------


def told(text: str, y: str = "onehot", f: str = "prob", **params: float) -> str:
    """The sentences of a formula."""
    return "\n".join(dual_point(parse(text, y=y, f=f, params=params)).sentences)


def test_words_follow_from_values() -> None:
    """Losses that are written otherwise, under no name, get the sentences of what they are."""
    same = told("y*log(1/f)")
    assert same == told("log(1/sum_c(y*f))") or "exactly like cross-entropy" in same
    assert "at the null epoch it learns exactly like cross-entropy" in same.lower()
    assert "still pushed up, exactly like with cross-entropy" in same
    assert "penalises" not in same
    smooth = told("-(0.8*y + 0.2/C)*log(f)")
    assert "0.8 times as strongly" in smooth and "penalises over-confidence, as label smoothing does" in smooth
    assert "where the target has 0.82." in smooth
    assert "penalises" not in told("y*f") and "the opposite of cross-entropy" in told("y*f")
    assert "it stops" in told("y*relu(0.5 - f)")
    assert "ever less than with cross-entropy" in told("-y*(1 - f)^2*log(f)")
    assert "ever more than with cross-entropy" in told("y*sqrt(1 - f)")


def test_words_of_absolute_cross_entropy_say_when() -> None:
    """Over-confidence is penalised if phi1 > 1, and only then."""
    lines = dual_point(named("ace_phi")).sentences
    (line,) = [s for s in lines if "penalises" in s]
    assert line.startswith("If phi1 > 1, near zero training error the target is pulled back")
    turned = dual_point(named("ace_phi").with_defaults(phi1=Fraction(5, 4)))
    assert turned.turning == pytest.approx(0.8, abs=1e-12)  # where phi1*f is 1


def test_labels_on_their_own() -> None:
    """Two classes by a sigmoid: δ of eq. 4.8 for positive and negative labels, and y - f through the sigmoid."""
    found = dual_point(named("bce"))
    assert (found.null.target.at, found.null.other.at) == (2, -2)
    assert (found.null.score_target.at, found.null.score_other.at) == (0.5, -0.5)
    assert (found.end.target.at, found.end.other.at) == (1, -1)
    logits = dual_point(named("bce_logits"))
    assert (logits.null.target.at, logits.end.target.at) == (0.5, 0)
    assert "exactly like cross-entropy" in logits.sentences[0]


# -- settings and errors ----------------------------------------------------------------------------------------------


def test_a_given_number_of_classes_and_parameters() -> None:
    """`num_classes` takes the place of C; defaults are what numbers are for; coefficients are parameters from 1."""
    found = dual_point(named("label_smoothing").with_defaults(xi=Fraction(1, 5)), 4)
    assert found.null.target.at == pytest.approx(4 - 0.8 + 0.2)
    assert "C" not in found.explain().split("numbers")[0].replace("sum_c", "").replace("num_classes", "")
    learned = dual_point(parse("phi[3]*-y*log(f)", y="onehot", f="prob"))
    assert learned.null.target.at == 10 and "phi_3" in learned.explain()
    unset = dual_point(parse("loss a(y: onehot, f: prob; q: positive):\n    -q*y*log(f)"))
    assert unset.null.target.at == 10 and "`q` has no value" in unset.notes[0]


HOSTILE = [
    ("(y - f)^2", "real", "real", "L206", "no classification loss"),
    ("y*f", "onehot", "positive", "L206", "f is `positive`"),
    ("y*f", "count", "prob", "L206", "y is `count`"),
    ("y", "onehot", "prob", "L206", "does not depend on the prediction"),
    ("y*f + log(y)", "onehot", "prob", "L206", "no value"),
    ("log(-f)", "onehot", "prob", "L206", "no value"),
    ("sum_c(f)", "onehot", "prob", "", ""),
]


@pytest.mark.parametrize(("text", "y", "f", "code", "message"), HOSTILE)
def test_unsuitable_losses_are_told_so(text: str, y: str, f: str, code: str, message: str) -> None:
    """A loss that is none of classification is a UsageError with its reason; a constant one learns nothing."""
    loss = parse(text, y=y, f=f)
    if not code:
        assert "it does not learn" in "\n".join(dual_point(loss).sentences)
        return
    with pytest.raises(UsageError) as caught:
        dual_point(loss)
    assert caught.value.diagnostic.code == code and message in caught.value.diagnostic.message


def test_unsuitable_numbers_of_classes() -> None:
    """One class, none, or more than fit is refused, and so is any for labels that are judged one by one."""
    for classes in (1, 0, -3, 10**12):
        with pytest.raises(UsageError, match="classes"):
            dual_point(named("ace"), classes)
    with pytest.raises(UsageError) as caught:
        dual_point(named("bce"), 10)
    assert caught.value.diagnostic.code == "L207"


@pytest.mark.parametrize("text", ["tanh(" * 90 + "f*y" + ")" * 90, "exp(" * 30 + "y*f" + ")" * 30, "y*f^f^f^f^f^f"])
def test_deep_losses_end_in_time(text: str) -> None:
    """Formulas on which symbols drown: numbers, within the time limit and a little."""
    start = time.monotonic()
    try:
        found = dual_point(parse(text, y="onehot", f="prob"), timeout=3.0)
        assert isinstance(found, DualPoint) and found.explain()
    except LosscError as problem:
        assert isinstance(problem, UsageError)
    assert time.monotonic() - start < 40


def test_facts_are_those_of_the_row() -> None:
    """The analysis never enlarges what roles promise: predictions and ε are strictly between 0 and 1."""
    facts = row_of(named("ace_phi")).facts
    assert facts.positive(EPSILON) and facts.positive(param("?t")) and facts.range(param("?t")).hi <= 1


def test_a_quotient_that_cannot_be_written_is_left_as_it_is() -> None:
    """Divided by f - 1 this has the coefficient 1e400 + 1e-400, of 801 digits."""
    loss = parse("1e400*f^3 + 1e-400*f^2 - 1e400*f - 1e-400")
    assert Tidier(Facts(loss))(loss.body) is loss.canonicalize().body
