"""The reference interpreter: what an expression means, in mpmath arithmetic of any precision.

It is the oracle for every pass and target, so it does nothing clever: one operator at a time, by the `meaning` of its
record, undefined where the record says so. A value is a number, or the list of its values over the classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from lossc.compiler import ops
from lossc.compiler.ir import COEF, CONST, LEAF_OPS, Expr, postorder

Value: TypeAlias = Any
"""A number of the context, a bool (conditions), or a list of these over the classes."""

OVERFLOW_MAG = 4096
"""Numbers beyond 2**4096 count as infinite: no target holds them, and towers of exp must end."""


def evaluate(
    root: Expr, env: Mapping[Expr, Value], *, num_classes: int | None = None, dps: int | None = None, ctx: Any = None
) -> Value:
    """The value of `root` where each leaf has the value that `env` gives it.

    Numbers in `env` may be int, float, Fraction or mpf, or sequences of these over `num_classes` classes. The result is
    NaN where an operator that matters is undefined. `dps` sets decimal digits (default: the context's own).
    """
    return evaluate_all([root], env, num_classes=num_classes, dps=dps, ctx=ctx)[0]


def evaluate_all(
    roots: Sequence[Expr],
    env: Mapping[Expr, Value],
    *,
    num_classes: int | None = None,
    dps: int | None = None,
    ctx: Any = None,
    each: Callable[[Value], Value] | None = None,
) -> list[Value]:
    """The values of several roots that share their sub-expressions; `each` is applied to every number on the way."""
    if ctx is None:
        import mpmath

        ctx = mpmath.mp
    if dps is None:
        return _run(roots, env, num_classes, ctx, each)
    with ctx.workdps(dps):
        return _run(roots, env, num_classes, ctx, each)


def _run(
    roots: Sequence[Expr],
    env: Mapping[Expr, Value],
    num_classes: int | None,
    ctx: Any,
    each: Callable[[Value], Value] | None,
) -> list[Value]:
    values: dict[Expr, Value] = {}
    for here in _order(tuple(roots)):
        if here.op in LEAF_OPS:
            values[here] = _leaf(here, env, ctx)
        else:
            values[here] = _apply(ops.OPS[here.op], [values[a] for a in here.args], num_classes, ctx)
        if each is not None:
            found = values[here]
            values[here] = [each(v) for v in found] if isinstance(found, list) else each(found)
    return [values[r] for r in roots]


@lru_cache(maxsize=64)
def _order(roots: tuple[Expr, ...]) -> list[Expr]:
    """The nodes in the order that they are computed in, kept for the next point."""
    return postorder(*roots)


def _leaf(here: Expr, env: Mapping[Expr, Value], ctx: Any) -> Value:
    if here.op == CONST:
        return number(ctx, here.number)
    if here not in env:
        raise KeyError(f"no value given for {'coefficient' if here.op == COEF else 'name'} {here.value!r}")
    value = env[here]
    return [number(ctx, v) for v in value] if isinstance(value, (list, tuple)) else number(ctx, value)


def number(ctx: Any, value: Any) -> Any:
    """A number of the context."""
    if hasattr(value, "numerator") and not isinstance(value, int):
        return ctx.mpf(value.numerator) / value.denominator
    return ctx.mpf(value)


def _apply(record: ops.OpRecord, args: list[Value], num_classes: int | None, ctx: Any) -> Value:
    if record.axis == ops.SIZE:
        if num_classes is None:
            raise ValueError("the number of classes is not known here: pass num_classes")
        return record.meaning(ctx, num_classes)
    if record.axis:
        if num_classes is None:
            raise ValueError(f"`{record.name}` needs the class axis: pass num_classes")
        (values,) = args
        spread = values if isinstance(values, list) else [values] * num_classes
        if any(_isnan(ctx, v) for v in spread):
            return [ctx.nan] * num_classes
        return [_limit(ctx, v) for v in record.meaning(ctx, spread)]
    lists = [a for a in args if isinstance(a, list)]
    if not lists:
        return _scalar(record, args, ctx)
    rows = [[a[i] if isinstance(a, list) else a for a in args] for i in range(len(lists[0]))]
    return [_scalar(record, row, ctx) for row in rows]


def _scalar(record: ops.OpRecord, args: list[Value], ctx: Any) -> Value:
    if record.name == "where":
        condition, then, otherwise = args
        return ctx.nan if _isnan(ctx, condition) else then if condition else otherwise
    for a in args:
        if _isnan(ctx, a):
            return ctx.nan
    try:
        if not record.defined(*args):
            return ctx.nan
        return _limit(ctx, record.meaning(ctx, *args))
    except (ValueError, ZeroDivisionError, OverflowError):  # inf - inf, 0 * inf, and the like: no value
        return ctx.nan


def _isnan(ctx: Any, value: Value) -> bool:
    return not isinstance(value, bool) and _mag(ctx, value) is None and bool(ctx.isnan(value))


def _limit(ctx: Any, value: Value) -> Value:
    if isinstance(value, bool) or (_mag(ctx, value) or 0) <= OVERFLOW_MAG:
        return value
    if ctx.mag(value) <= OVERFLOW_MAG:  # of a context with its own idea of what is too large
        return value
    return ctx.inf if value > 0 else -ctx.inf


def _mag(ctx: Any, value: Value) -> int | None:
    """The binary exponent, as `ctx.mag` has it but in a fraction of its time: no function here is called more often.
    None of 0, infinities and NaN, which have no mantissa."""
    _, mantissa, exponent, bits = (value if hasattr(value, "_mpf_") else ctx.convert(value))._mpf_
    return exponent + bits if mantissa else None
