"""Every operator record against mpmath: its derivative, interval rule, shape claims and exact values are facts."""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction

import mpmath
import pytest

from lossc.compiler import ops
from lossc.compiler.evaluate import evaluate
from lossc.compiler.interval import Interval
from lossc.compiler.ir import Expr, const, node, param
from lossc.compiler.passes.differentiate import derivative

DIGITS = 60
ELEMENTWISE = [r for r in ops.OPS.values() if r.arity and not r.axis and r.gives == ops.REAL_KIND and r.name != "where"]
CLASSWISE = [r for r in ops.OPS.values() if r.axis in (ops.REDUCE, ops.MAP)]
TARGETS = ("torch", "numpy", "math")
VARIABLES = tuple(param(f"x{i}") for i in range(3))


@pytest.fixture(autouse=True)
def _precision() -> Iterator[None]:
    """All mpmath arithmetic of these tests in 60 digits."""
    with mpmath.workdps(DIGITS):
        yield


def drawn(record: ops.OpRecord, seed: int) -> list[Fraction]:
    """A point of the record's own sample box, off the kinks with probability one."""
    rng = random.Random(f"{record.name}/{seed}")
    return [Fraction(rng.uniform(*record.sample_of(i))).limit_denominator(10**6) for i in range(record.arity)]


def at(record: ops.OpRecord, point: list[Fraction]) -> dict[Expr, Fraction]:
    return dict(zip(VARIABLES[: record.arity], point, strict=True))


def applied(record: ops.OpRecord) -> Expr:
    return node(record.name, *VARIABLES[: record.arity])


@pytest.mark.parametrize("record", [r for r in ELEMENTWISE if r.partials], ids=lambda r: r.name)
def test_partials_are_the_derivatives(record: ops.OpRecord) -> None:
    """∂/∂x_i of the record equals mpmath's numerical derivative of its meaning to 25 digits, at eight points."""
    for seed in range(8):
        point = drawn(record, seed)
        for i, leaf in enumerate(VARIABLES[: record.arity]):
            with mpmath.workdps(DIGITS):
                ours = evaluate(derivative(applied(record), leaf), at(record, point))
                values = [mpmath.mpf(v.numerator) / v.denominator for v in point]

                def along(t: object, i: int = i, values: list[object] = values) -> object:
                    return record.meaning(mpmath.mp, *values[:i], t, *values[i + 1 :])

                true = mpmath.diff(along, values[i])
                assert mpmath.almosteq(ours, true, rel_eps=mpmath.mpf(10) ** -25, abs_eps=mpmath.mpf(10) ** -25)


@pytest.mark.parametrize("record", ELEMENTWISE, ids=lambda r: r.name)
def test_interval_rule_encloses_every_value(record: ops.OpRecord) -> None:
    """On random boxes every defined value lies in the interval, and a `total` interval has no undefined point."""
    rng = random.Random(record.name)
    for _ in range(60):
        boxes = []
        for i in range(record.arity):
            ends = sorted(
                rng.choice([rng.uniform(-4, 4), rng.uniform(*record.sample_of(i)), 0.0, 1.0, -1.0]) for _ in "ab"
            )
            boxes.append(Interval(*ends))
        if record.name == "pow" and rng.random() < 0.7:
            boxes[1] = Interval(*[float(rng.choice([-2, -1, 0, 0.5, 1, 2, 3, 4]))] * 2)
        found = record.interval(*boxes)
        for _ in range(12):
            point = [Fraction(rng.choice([b.lo, b.hi, rng.uniform(b.lo, b.hi)])) for b in boxes]
            value = evaluate(applied(record), at(record, point), dps=30)
            if mpmath.isnan(value):
                assert not found.total, (boxes, point)
            else:
                assert found.lo <= value <= found.hi, (boxes, point, value, found)


@pytest.mark.parametrize("record", [r for r in ELEMENTWISE if r.arity == 1], ids=lambda r: r.name)
def test_claims_of_shape(record: ops.OpRecord) -> None:
    """Parity, monotonicity, curvature, idempotence and exact values hold on the sample box."""
    for seed in range(20):
        (a,), (b,) = drawn(record, seed), drawn(record, seed + 100)

        def value(x: Fraction) -> mpmath.mpf:
            return evaluate(applied(record), {VARIABLES[0]: x}, dps=DIGITS)

        slack = mpmath.mpf(10) ** -30
        if record.parity:
            sign = 1 if record.parity == "even" else -1
            assert abs(value(-a) - sign * value(a)) < slack
        if record.monotone:
            low, high = sorted((a, b))
            assert record.monotone[0] * (value(high) - value(low)) >= -slack
        if record.curvature == "convex":
            assert value((a + b) / 2) <= (value(a) + value(b)) / 2 + slack
        if record.curvature == "concave":
            assert value((a + b) / 2) >= (value(a) + value(b)) / 2 - slack
        if record.idempotent:
            assert evaluate(node(record.name, applied(record)), {VARIABLES[0]: a}, dps=DIGITS) == value(a)
    for x, y in record.exact.items():
        value_there = evaluate(applied(record), {VARIABLES[0]: x}, dps=DIGITS)
        assert abs(value_there - mpmath.mpf(y.numerator) / y.denominator) < mpmath.mpf(10) ** -55


@pytest.mark.parametrize("record", [r for r in ELEMENTWISE if r.arity == 2], ids=lambda r: r.name)
def test_claims_of_two_arguments(record: ops.OpRecord) -> None:
    """Commutativity, associativity and idempotence hold on the sample box."""
    for seed in range(20):
        a, b = drawn(record, seed)
        c = drawn(record, seed + 100)[0]

        def value(x: object, y: object) -> mpmath.mpf:
            return evaluate(applied(record), {VARIABLES[0]: x, VARIABLES[1]: y}, dps=DIGITS)

        if record.commutative:
            assert value(a, b) == value(b, a)
        if record.associative:
            with mpmath.workdps(40):
                assert abs(value(value(a, b), c) - value(a, value(b, c))) < mpmath.mpf(10) ** -30
        if record.idempotent:
            assert value(a, a) == mpmath.mpf(a.numerator) / a.denominator


@pytest.mark.parametrize("record", CLASSWISE, ids=lambda r: r.name)
def test_classwise_derivative(record: ops.OpRecord) -> None:
    """The gradient of Σ_i v_i u_i over the classes, for u = op(f), equals mpmath's numerical derivative."""
    from lossc.compiler.ir import F, Y
    from lossc.compiler.passes.differentiate import gradient

    body = Y * node(record.name, F * F + const("0.3") * F)
    scores, weights = [0.4, -1.3, 2.1, 0.7], [0.2, 1.5, -0.6, 0.9]
    with mpmath.workdps(DIGITS):
        ours = evaluate(gradient(body, F, summed=True), {F: scores, Y: weights}, num_classes=4)
        for j in range(4):

            def total(t: object, j: int = j) -> object:
                moved = [*scores[:j], t, *scores[j + 1 :]]
                return mpmath.fsum(evaluate(body, {F: moved, Y: weights}, num_classes=4))

            assert mpmath.almosteq(ours[j], mpmath.diff(total, scores[j]), rel_eps=mpmath.mpf(10) ** -25)


@pytest.mark.parametrize("record", list(ops.OPS.values()), ids=lambda r: r.name)
def test_record_is_complete(record: ops.OpRecord) -> None:
    """Every record has a doc line, a lowering for every target it can have, and kinds for all its arguments."""
    assert record.doc
    assert record.name.islower()
    wanted = TARGETS if not record.axis or record.axis == ops.SIZE else TARGETS[:2]
    for target in wanted:
        template = record.lower[target]
        assert all(f"{{{i}}}" in template for i in range(record.arity)), (target, template)
    assert not record.takes or len(record.takes) == record.arity
    assert not record.sample or len(record.sample) == record.arity
    assert record.cost >= (0 if record.arity == 0 else 1)
    if record.axis == ops.REDUCE:
        assert record.weight is not None
    if record.axis == ops.MAP:
        assert record.centre is not None


def test_aliases_are_unambiguous() -> None:
    """No alias means two operators, and `lookup` finds each by every name."""
    assert len(ops.names()) == len(set(ops.names()))
    for record in ops.OPS.values():
        assert all(ops.lookup(n) is record for n in (record.name, *record.aliases))
    assert ops.lookup("nothing") is None
