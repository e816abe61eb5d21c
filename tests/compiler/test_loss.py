"""The `Loss` object itself: its methods take what a formula may be called, and say what they are asked."""

from __future__ import annotations

import pytest

from lossc.compiler.errors import UsageError
from lossc.compiler.targets.golden import golden
from lossc.grammar import parse


@pytest.mark.parametrize("name", ["self", "values", "loss"])
def test_a_hyperparameter_may_have_any_name(name: str) -> None:
    """Names of Python's own arguments are names like others."""
    loss = parse(f"{name}*(y - f)^2", params={name: 1})
    assert loss.with_defaults(**{name: 2}).parameter(name).default == 2


def test_defaults_must_suit_the_role() -> None:
    """A value outside the role is an error of the call."""
    loss = parse("loss a(y, f; delta: positive = 1.0): delta*(y - f)^2")
    with pytest.raises(UsageError, match="greater than 0"):
        loss.with_defaults(delta=-1)
    with pytest.raises(UsageError, match="no hyper-parameter"):
        loss.with_defaults(gamma=1)


@pytest.mark.parametrize("size", ["1e-10", "1", "1e10", "1e20"])
def test_self_tests_compare_something(size: str) -> None:
    """A loss of any ordinary size has golden values: no self-test passes for want of points."""
    assert golden(parse(f"{size}*(y - f)^2")).values
