"""The cost of a formula: work over the DAG, scalar work at a sixteenth, powers by their products."""

from __future__ import annotations

import pytest

from lossc.compiler.cost import Cost, cost
from lossc.compiler.ir import F, Y, const, node, param
from lossc.compiler.ops import OPS


def test_cost_counts_shared_work_once_and_scalar_work_little() -> None:
    """(y-f)^2 + (y-f)^2 computes y-f once; what depends on hyper-parameters only counts a sixteenth."""
    e = Y - F
    assert cost(e * e + e) == Cost(3.0, 11)
    assert cost(node("log", param("d")) * Y).work == 1 + OPS["log"].cost / 16
    assert cost(Y).work == 0.0


@pytest.mark.parametrize(("n", "work"), [(2, 1), (3, 2), (4, 2), (7, 4), (8, 3), (-1, 4), (-2, 5), (64, 6)])
def test_integer_powers_cost_their_products(n: int, work: int) -> None:
    """x^n by repeated squaring, and a division if n is negative."""
    assert cost(Y**n).work == work


def test_powers_never_cost_more_than_a_general_power() -> None:
    """A constant exponent never makes a power dearer than `pow` itself; halves are square roots."""
    assert all(cost(Y ** const(n)).work <= cost(Y**F).work for n in range(-64, 65))
    assert cost(Y ** const("0.5")).work == cost(node("sqrt", Y)).work
