"""The float32 model: each operator right to an ulp, errors of formulas visible."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from lossc.compiler.evaluate import evaluate
from lossc.compiler.float32 import evaluate32, ulps
from lossc.compiler.ir import ARG, COEF, CONST, F, Y, arg, const, node, param, postorder
from lossc.compiler.loss import Loss, Parameter
from lossc.compiler.ops import OPS
from lossc.compiler.sampling import points
from lossc.grammar import parse


@pytest.mark.parametrize("op", sorted(r.name for r in OPS.values() if r.arity and not r.axis and r.gives == "real"))
def test_float32_forms_mean_what_mpmath_means(op: str) -> None:
    """Every record's numpy form is within an ulp of mpmath at points of its sample."""
    record = OPS[op]
    if op == "where":
        body = node("where", node("lt", Y, F), Y, F)
    else:
        leaves = [Y, F, param("p")][: record.arity]
        lo_hi = [record.sample_of(i) for i in range(record.arity)]
        squeezed = [const(str(lo)) + const(str(hi - lo)) * leaf for leaf, (lo, hi) in zip(leaves, lo_hi, strict=True)]
        body = node(op, *squeezed)
    loss = Loss(body, y="binary", f="prob", params=(Parameter("p", "unit"),))
    loss = Loss(loss.body, y="binary", f="real", params=loss.params) if op == "where" else loss
    (batch,) = points(Loss(loss.body, y="binary", f="prob", params=loss.params), seed=3)
    inner = [n for n in postorder(body) if n.op not in (ARG, COEF, CONST, "param")]
    got = evaluate32(inner, batch)[-1]
    for i in range(len(batch)):
        with mpmath.workdps(40):
            env = {leaf: float(v) for leaf, v in batch.env(i).items()}  # type: ignore[arg-type]
            args = [float(evaluate32([a], batch)[0][i]) for a in body.args] if op != "where" else None
            exact = evaluate(body, env) if args is None else _at(op, args)
        if mpmath.isnan(exact):
            continue
        assert float(ulps(np.array([got[i]]), np.array([float(exact)]))[0]) <= 1.0, (args, got[i], exact)


def _at(op: str, args: list[float]) -> object:
    leaves = [arg("y"), arg("f"), param("p")][: len(args)]
    return evaluate(node(op, *leaves), dict(zip(leaves, args, strict=True)))


@pytest.mark.parametrize("op", sorted(r.name for r in OPS.values() if r.axis in ("reduce", "map")))
def test_float32_class_forms_mean_what_mpmath_means(op: str) -> None:
    """The same along the class axis, up to double precision of the greatest entry (sums may cancel)."""
    loss = Loss(node(op, F), y="onehot", f="logit")
    for batch in points(loss, reach=50.0):
        (got,) = evaluate32([loss.body], batch)
        for i in range(len(batch)):
            exact = evaluate(loss.body, batch.env(i), num_classes=batch.num_classes, dps=40)
            truth = np.array([float(v) for v in exact])
            size = max(1e-30, float(np.abs(batch.array(F)[i]).max()))
            assert np.abs(got[i] - truth).max() <= 1e-14 * size + 2.0**-24 * np.abs(truth).max()


def test_float32_sees_cancellation_and_overflow() -> None:
    """The model shows what float32 does: (y-f)^2 expanded loses every digit, exp(100) is infinite."""
    loss = parse("y^2-2*y*f+f^2")
    (batch,) = points(loss)
    truth = np.array([(float(batch.env(i)[Y]) - float(batch.env(i)[F])) ** 2 for i in range(len(batch))])  # type: ignore[arg-type]
    inside = np.abs(truth) < 3e38
    bad, good = evaluate32([loss.body, parse("(y-f)^2").body], batch)
    assert ulps(bad, truth)[inside].max() > 1e6
    assert ulps(good, truth)[inside].max() < 4
    (batch,) = points(parse("exp(f)"))
    (value,) = evaluate32([node("exp", F)], batch)
    assert np.isinf(value[list(batch.columns[F]).index(100.0)])


def test_hyper_parameters_stay_float64_until_used() -> None:
    """(d + 1) - d, of a hyper-parameter, is computed in double precision; of an argument, in single."""
    loss = Loss((param("d") + 1) - param("d") + 0 * Y, params=(Parameter("d", "real"),))
    (batch,) = points(loss)
    scalar, array = evaluate32([(param("d") + 1) - param("d"), (Y + 1) - Y], batch)
    at = int(np.argmax(np.abs(batch.array(param("d"))) * (np.abs(batch.array(param("d"))) < 1e9)))
    assert scalar[at] == pytest.approx(1.0, abs=1e-6)
    where = int(np.argmax(np.abs(batch.array(Y)) * (np.abs(batch.array(Y)) < 1e12)))
    assert array[where] != pytest.approx(1.0, abs=1e-2)
