"""Samplers: the points keep the promises of the roles, are exact in float32, cover the borders, and never change."""

from __future__ import annotations

import struct
from fractions import Fraction

import pytest

from lossc.compiler.ir import ARG, F, Y, coef, node, param
from lossc.compiler.loss import Loss, Parameter
from lossc.compiler.roles import ROLES, roles_for
from lossc.compiler.sampling import REACH, Points, points, special_values

ELEMENTWISE_Y = [r for r in roles_for("y") if r not in ("onehot", "prob")]


def flat(batch: Points, leaf: object) -> list[float]:
    return [v for value in batch.columns[leaf] for v in (value if isinstance(value, tuple) else (value,))]  # type: ignore[index]


@pytest.mark.parametrize("y", roles_for("y"))
@pytest.mark.parametrize("f", roles_for("f"))
def test_every_value_is_of_its_role(y: str, f: str) -> None:
    """Values lie in the role's range; whole numbers and signs are just that."""
    loss = Loss(Y * F, y=y, f=f)
    for batch in points(loss):
        for leaf in (Y, F):
            role = loss.role_of(leaf)
            values = flat(batch, leaf)
            assert all(role.range.lo <= v <= role.range.hi for v in values)
            assert not role.integer or all(v == int(v) for v in values)
            assert role.name != "sign" or set(values) == {-1.0, 1.0}


@pytest.mark.parametrize("y", roles_for("y"))
@pytest.mark.parametrize("f", roles_for("f"))
def test_every_row_is_of_its_role(y: str, f: str) -> None:
    """Along the class axis too: a row of signs is no row of probabilities, however close to f a point is to be."""
    loss = Loss(node("sum_c", Y * F), y=y, f=f)
    for batch in points(loss):
        for leaf in (Y, F):
            role = loss.role_of(leaf)
            assert all(role.range.lo <= v <= role.range.hi for v in flat(batch, leaf))
            if role.name == "prob":
                assert all(sum(row) == 1 for row in batch.columns[leaf])  # type: ignore[arg-type]


@pytest.mark.parametrize("y", roles_for("y"))
def test_values_are_float32(y: str) -> None:
    """Each value survives the trip through float32, so that no arithmetic sees another point than mpmath does."""
    loss = Loss(Y * F + param("delta"), y=y, f="prob", params=(Parameter("delta", "positive", Fraction(1, 3)),))
    for batch in points(loss):
        for leaf in batch.columns:
            for v in flat(batch, leaf):
                assert struct.unpack("f", struct.pack("f", v))[0] == v


def test_rows_of_probabilities_sum_to_exactly_one() -> None:
    """Over the class axis rows sum to 1 without rounding, and contain one-hot rows and saturated predictions."""
    for batch in points(Loss(Y * F, y="onehot", f="prob")):
        assert batch.num_classes in (2, 3)
        for leaf in (Y, F):
            rows = batch.columns[leaf]
            assert all(sum(Fraction(v) for v in row) == 1 for row in rows)  # type: ignore[union-attr]
            assert any(max(row) == 1.0 for row in rows)  # type: ignore[arg-type]
        soft = [row for row in batch.columns[Y] if max(row) < 1.0]  # type: ignore[arg-type]
        assert soft, "soft targets are targets too"


@pytest.mark.parametrize("y", ELEMENTWISE_Y)
def test_corners_are_covered(y: str) -> None:
    """Each special value of y meets each special value of f."""
    loss = Loss(Y * F, y=y, f="real")
    (batch,) = points(loss)
    seen = {(batch.columns[Y][i], batch.columns[F][i]) for i in range(len(batch))}
    wanted = {(a, b) for a in special_values(ROLES[y]) for b in special_values(ROLES["real"])}
    assert wanted <= seen


def test_cancellation_is_covered() -> None:
    """Among the points of a regression loss are y = f, and y next to f at a large magnitude."""
    (batch,) = points(Loss(Y - F))
    pairs = list(zip(batch.columns[Y], batch.columns[F], strict=True))
    assert any(y == f and abs(y) > 2 for y, f in pairs)  # type: ignore[arg-type,operator]
    assert any(abs(y) > 500 and 0 < abs(y - f) < 1e-5 * abs(y) for y, f in pairs)  # type: ignore[arg-type,operator]


def test_magnitudes_reach_beyond_float32_quotients_but_not_beyond_reach() -> None:
    """Products and quotients of drawn values leave float32's range; no value is greater than `reach`."""
    (batch,) = points(Loss(Y * F, y="positive", f="positive"))
    quotients = [a / b for a, b in zip(batch.columns[Y], batch.columns[F], strict=True)]  # type: ignore[operator]
    assert max(quotients) > 3.5e38
    assert min(quotients) < 1e-38
    (narrow,) = points(Loss(Y * F), reach=50.0)
    assert all(abs(v) <= 50.0 for leaf in (Y, F) for v in flat(narrow, leaf))
    assert all(abs(v) <= REACH for v in flat(batch, Y))


def test_hyper_parameters_are_often_at_their_default() -> None:
    """The default of a hyper-parameter, and its borders, are among the points."""
    loss = Loss(Y * param("q"), params=(Parameter("q", "unit", Fraction(1, 4)),))
    (batch,) = points(loss)
    values = list(batch.columns[param("q")])
    assert values.count(0.25) > 0.2 * len(values)
    assert {0.0, 1.0} <= set(values)


def test_points_are_deterministic() -> None:
    """The same call gives the same points; another seed gives others."""
    loss = Loss(Y * F + coef(0), y="onehot", f="prob")
    assert points(loss) == points(loss)
    assert points(loss) != points(loss, seed=1)


def test_only_used_leaves_are_drawn_and_shapes_fit() -> None:
    """`env` and `array` speak of the leaves that occur; arrays broadcast along the class axis."""
    loss = Loss(node("sum_c", Y * F) * param("w"), y="onehot", f="prob", params=(Parameter("w", "positive"),))
    for batch in points(loss):
        assert set(batch.env(0)) == {Y, F, param("w")}
        assert batch.array(Y).shape == (len(batch), batch.num_classes)
        assert batch.array(param("w")).shape == (len(batch), 1)
    (flat_batch,) = points(Loss(Y))
    assert all(leaf.op == ARG for leaf in flat_batch.columns)
    assert flat_batch.array(Y).shape == (len(flat_batch),)
    assert flat_batch.describe(0).startswith("y = ")
