"""The strategies keep their promises, so that the tests which use them test what they say."""

from __future__ import annotations

import mpmath
from hypothesis import given, settings
from hypothesis import strategies as st

from lossc.compiler import ops
from lossc.compiler.evaluate import evaluate
from lossc.compiler.ir import Expr, postorder
from lossc.compiler.loss import Loss
from lossc.compiler.verify import verify, verify_expr
from tests.strategies import CLASS_AXIS, environments, exprs, losses


@settings(max_examples=300)
@given(exprs(coefs=True))
def test_expressions_are_well_formed(root: Expr) -> None:
    """Operators, arities and kinds are right, and the size is within the language."""
    verify_expr(root, max_nodes=2_000)


@settings(max_examples=200)
@given(losses(class_axis=False, any_names=True))
def test_losses_are_valid(loss: Loss) -> None:
    """The verifier accepts them, and without a class axis nothing needs one."""
    assert verify(loss) is loss
    assert not {here.op for here in postorder(loss.body)} & set(CLASS_AXIS)


@settings(max_examples=300)
@given(losses(total=True), st.data())
def test_total_expressions_have_values(loss: Loss, data: st.DataObject) -> None:
    """`total=True`: a finite value at every drawn point, at every class."""
    environment = data.draw(environments(loss, num_classes=3))
    value = evaluate(loss.body, environment, num_classes=3, dps=30)
    assert all(mpmath.isfinite(v) for v in (value if isinstance(value, list) else [value]))


def test_every_operator_is_drawn() -> None:
    """A few thousand nodes contain each operator of the table at least once."""
    seen: set[str] = set()

    @settings(max_examples=800, database=None, derandomize=True)
    @given(exprs())
    def collect(root: Expr) -> None:
        seen.update(here.op for here in postorder(root))

    collect()
    assert not set(ops.OPS) - seen
