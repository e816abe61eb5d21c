"""Operators by means of others: what a target prints where it has no form of its own for an operator.

Each definition is the same real function, in a form that floating point keeps accurate, whose slopes are those of the
record also for a target that differentiates it automatically. They are used again and again until only operators are
left that the target has; an operator with neither a form nor a definition is an error, never wrong code.

    >>> without(body, "onnx")        # an equal expression of operators whose record has a form for "onnx"
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING

from lossc.compiler import ops
from lossc.compiler.errors import LossTypeError
from lossc.compiler.ir import HALF, LEAF_OPS, ONE, TWO, ZERO, Expr, const, node, param, postorder, rebuild
from lossc.compiler.ops import call

if TYPE_CHECKING:
    from lossc.compiler.loss import Loss
    from lossc.compiler.targets.registry import Target

_LN2 = call("log", TWO)


def _abs(x: Expr) -> Expr:
    return call("abs", x)


def _where(condition: Expr, then: Expr, otherwise: Expr) -> Expr:
    return node("where", condition, then, otherwise)


def _greater(x: Expr, bound: Expr | int) -> Expr:
    return call("gt", x, bound)


def _decay(x: Expr) -> Expr:
    """exp(-|x|), which never overflows."""
    return call("exp", -_abs(x))


def _sigmoid(x: Expr) -> Expr:
    return _where(call("ge", x, 0), ONE / (1 + _decay(x)), _decay(x) / (1 + _decay(x)))


def _relu(x: Expr) -> Expr:
    return _where(_greater(x, 0), x, ZERO)


def _log1mexp(x: Expr) -> Expr:
    near = _greater(x, -_LN2)
    close, far = _where(near, x, const(-1)), _where(near, const(-1), x)
    return _where(near, call("log", -call("expm1", close)), call("log1p", -call("exp", far)))


def _within(x: Expr) -> Expr:
    return call("clamp", x, -1, 1)


def _logcosh(x: Expr) -> Expr:
    small = call("log1p", 2 * call("square", call("sinh", _within(x) * HALF)))
    large = _abs(x) + call("log1p", call("exp", -2 * _abs(x))) - _LN2
    return _where(call("lt", _abs(x), 1), small, large)


def _at_least_one(x: Expr) -> Expr:
    """x where |x| > 1, else 1: what a reciprocal may be taken of."""
    return _where(_greater(_abs(x), 1), x, ONE)


def _log1psq(x: Expr) -> Expr:
    far = call("max", _abs(x), 1)
    large = 2 * call("log", far) + call("log1p", call("square", 1 / far))
    return _where(_greater(_abs(x), 1), large, call("log1p", call("square", _within(x))))


def _div1psq(x: Expr) -> Expr:
    far, near = _at_least_one(x), _within(x)
    return _where(_greater(_abs(x), 1), 1 / (far + 1 / far), near / (1 + call("square", near)))


def _sqdiv1psq(x: Expr) -> Expr:
    far, near = _at_least_one(x), call("square", _within(x))
    return _where(_greater(_abs(x), 1), 1 / (1 + call("square", 1 / far)), near / (1 + near))


def _logratio(x: Expr, y: Expr) -> Expr:
    near = call("log1p", call("clamp", (x - y) / y, -HALF, HALF))
    return _where(call("lt", _abs(x - y), HALF * y), near, call("log", x) - call("log", y))


def _hypot(x: Expr, y: Expr) -> Expr:
    """max(|x|, |y|) times a root of something between 1 and 2; 0 where both are 0."""
    top, low = call("max", _abs(x), _abs(y)), call("min", _abs(x), _abs(y))
    nothing = call("eq", top, 0)
    safe = _where(nothing, ONE, top)
    return _where(nothing, ZERO, safe * call("sqrt", 1 + call("square", low / safe)))


def _xlogy(x: Expr, y: Expr) -> Expr:
    return _where(call("eq", x, 0), ZERO, x * call("log", _where(call("eq", x, 0), ONE, y)))


def _clamp(x: Expr, lo: Expr, hi: Expr) -> Expr:
    raised = _where(call("lt", x, lo), lo, x)
    return _where(call("gt", raised, hi), hi, raised)


def _sign(x: Expr) -> Expr:
    return _where(_greater(x, 0), ONE, _where(call("lt", x, 0), const(-1), ZERO))


def _floor(x: Expr) -> Expr:
    """max(|x|, ε), with slope 0 below ε."""
    return _where(call("lt", _abs(x), call("eps")), call("eps"), _abs(x))


def _heaviside(x: Expr) -> Expr:
    return _where(_greater(x, 0), ONE, _where(call("lt", x, 0), ZERO, HALF))


def _log1p(x: Expr) -> Expr:
    """2 artanh(x/(2 + x)) near 0, and the logarithm itself elsewhere."""
    near = _where(call("lt", _abs(x), HALF), x, ZERO)
    far = _where(call("lt", _abs(x), HALF), ONE, 1 + x)
    return _where(call("lt", _abs(x), HALF), 2 * call("atanh", near / (2 + near)), call("log", far))


def _expm1(x: Expr) -> Expr:
    """tanh(x/2)(e^x + 1), which loses no digit near 0."""
    near = call("clamp", x, -1, 1)
    return _where(call("lt", _abs(x), 1), call("tanh", near * HALF) * (call("exp", near) + 1), call("exp", x) - 1)


def _sinh(x: Expr) -> Expr:
    grown = call("expm1", _abs(x))
    return call("sign", x) * HALF * (grown + grown / (grown + 1))


def _cosh(x: Expr) -> Expr:
    return HALF * (call("exp", _abs(x)) + _decay(x))


def _tanh(x: Expr) -> Expr:
    shrunk = call("expm1", -2 * _abs(x))
    return -(call("sign", x) * shrunk / (shrunk + 2))


def _asinh(x: Expr) -> Expr:
    size = _abs(x)
    return call("sign", x) * call("log1p", size + size * (size / (1 + call("hypot", ONE, size))))


def _acosh(x: Expr) -> Expr:
    t = x - 1
    return call("log1p", t + call("sqrt", t) * call("sqrt", t + 2))


def _atanh(x: Expr) -> Expr:
    size = _abs(x)
    return call("sign", x) * HALF * call("log1p", 2 * size / (1 - size))


_SHIFT = 8
_LGAMMA = (Fraction(1, 12), Fraction(-1, 360), Fraction(1, 1260), Fraction(-1, 1680), Fraction(1, 1188),
           Fraction(-691, 360360), Fraction(1, 156), Fraction(-3617, 122400))  # fmt: skip
"""B_2k/(2k(2k - 1)) of Stirling's series, from k = 1 on: at z >= 8 the rest is below 1e-15 of the value."""


def _polynomial(coefficients: list[Fraction], x: Expr) -> Expr:
    """Horner's scheme."""
    out = const(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        out = const(c) + x * out
    return out


def _shifted(x: Expr, term: Callable[[Expr], Expr]) -> Expr:
    """The sum of term(x + k) for k from 0 below 8: what a recurrence takes off."""
    out = term(x)
    for k in range(1, _SHIFT):
        out = out + term(x + k)
    return out


def _near(x: Expr) -> Expr:
    """The logarithm of the gamma function by Stirling's series at x + 8."""
    z, product = x + _SHIFT, x
    for k in range(1, _SHIFT):
        product = product * (x + k)
    series = _polynomial(list(_LGAMMA), 1 / call("square", z)) / z
    return (z - HALF) * call("log", z) - z + HALF * call("log", 2 * call("pi")) + series - call("log", product)


def _lgamma(x: Expr) -> Expr:
    far = _where(call("lt", x, 1000), const(1000), x)  # where the product would overflow, and there is nothing to shift
    large = (far - HALF) * call("log", far) - far + HALF * call("log", 2 * call("pi")) + 1 / (12 * far)
    return _where(call("lt", x, 1000), _near(_where(call("lt", x, 1000), x, ONE)), large)


def _digamma(x: Expr) -> Expr:
    z = x + _SHIFT
    square = 1 / call("square", z)
    series = _polynomial([(2 * k - 1) * c for k, c in enumerate(_LGAMMA, 1)], square) * square
    return call("log", z) - HALF / z - series - _shifted(x, lambda v: 1 / v)


def _trigamma(x: Expr) -> Expr:
    z = x + _SHIFT
    square = 1 / call("square", z)
    series = _polynomial([(2 * k - 1) * 2 * k * c for k, c in enumerate(_LGAMMA, 1)], square) * square / z
    return 1 / z + HALF * square + series + _shifted(x, lambda v: 1 / call("square", v))


def _logsumexp_c(x: Expr) -> Expr:
    top = call("max_c", x)
    return call("log", call("sum_c", call("exp", x - top))) + top


def _softmax(x: Expr) -> Expr:
    grown = call("exp", x - call("max_c", x))
    return grown / call("sum_c", grown)


def _log_softmax(x: Expr) -> Expr:
    shifted = x - call("max_c", x)
    return shifted - call("log", call("sum_c", call("exp", shifted)))


def _cosoftmax(x: Expr) -> Expr:
    p = call("softmax", x)
    likely = _greater(p, HALF)
    return _where(likely, call("sum_c", _where(likely, ZERO, p)), 1 - p)


def _log_cosoftmax(x: Expr) -> Expr:
    """The log-sum-exp of the other classes where p > 1/2 (at one class at most), else log(1 - p)."""
    share = call("log_softmax", x)
    likely = _greater(share, -_LN2)
    top = call("max_c", _where(likely, -call("max_c", -share), share))  # of the others: the least is one of them
    others = call("log", call("sum_c", _where(likely, ZERO, call("exp", share - top)))) + top
    return _where(likely, others, call("log1p", -call("exp", _where(likely, const(-1), share))))


EQUAL: dict[str, Callable[..., Expr]] = {
    "square": lambda x: x * x,
    "abs": lambda x: call("max", x, -x),
    "sign": _sign,
    "heaviside": _heaviside,
    "expm1": _expm1,
    "log1p": _log1p,
    "log2": lambda x: call("log", x) / _LN2,
    "log10": lambda x: call("log", x) / call("log", 10),
    "log1mexp": _log1mexp,
    "sigmoid": _sigmoid,
    "logsigmoid": lambda x: -call("softplus", -x),
    "softplus": lambda x: call("max", x, ZERO) + call("log1p", _decay(x)),
    "relu": _relu,
    "logcosh": _logcosh,
    "tan": lambda x: call("sin", x) / call("cos", x),
    "sinh": _sinh,
    "cosh": _cosh,
    "tanh": _tanh,
    "asinh": _asinh,
    "acosh": _acosh,
    "atanh": _atanh,
    "lgamma": _lgamma,
    "digamma": _digamma,
    "trigamma": _trigamma,
    "clamp": _clamp,
    "hypot": _hypot,
    "logaddexp": lambda x, y: call("max", x, y) + call("log1p", _decay(x - y)),
    "xlogy": _xlogy,
    "aq": lambda x, y: x / call("hypot", ONE, y),
    "plog": lambda x: call("log", _abs(x) + call("eps")),
    "psqrt": lambda x: call("sqrt", _abs(x) + call("eps")),
    "clog": lambda x: call("log", _floor(x)),
    "csqrt": lambda x: call("sqrt", _floor(x)),
    "log1psq": _log1psq,
    "div1psq": _div1psq,
    "sqdiv1psq": _sqdiv1psq,
    "hypotm": lambda x, c: x * (x / (call("hypot", x, c) + c)),
    "over_hypot": lambda x, y: x / call("hypot", x, y),
    "logratio": _logratio,
    "mean_c": lambda x: call("sum_c", x) / call("num_classes"),
    "logsumexp_c": _logsumexp_c,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "cosoftmax": _cosoftmax,
    "log_cosoftmax": _log_cosoftmax,
}
"""Operator -> the same function in other operators."""


def without(key: str, *roots: Expr) -> tuple[Expr, ...]:
    """Equal expressions of operators that have a form for `key` (a template of their record).

    Raises LossTypeError (L345) for an operator that has none, and that no others make up.
    """
    done: dict[Expr, Expr] = {}
    for here in postorder(*roots):
        made = rebuild(here, (done[a] for a in here.args))
        done[here] = made if _has(key, made.op) else _expanded(key, made)
    return tuple(done[root] for root in roots)


def _expanded(key: str, here: Expr) -> Expr:
    if support_of(key, here.op) == "none":
        raise refused(here, key)
    made = EQUAL[here.op](*here.args)
    done = {a: a for n in here.args for a in postorder(n)}  # these are done
    for n in postorder(made):
        if n not in done:
            new = rebuild(n, (done[a] for a in n.args))
            done[n] = new if _has(key, new.op) else _expanded(key, new)
    return done[made]


def refused(here: Expr, key: str) -> LossTypeError:
    """That an operator has no form in a target."""
    doc = ops.OPS[here.op].doc if here.op in ops.OPS else here.op
    return LossTypeError(
        "L345",
        f"`{here.op}` ({doc}) has no form for the target {key}",
        expected="operators that `lossc targets` shows for it",
        hint="write the loss without it, or choose another target",
    )


def _has(key: str, op: str) -> bool:
    """Whether the target prints the operator itself: constants are numbers by then."""
    if op in LEAF_OPS:
        return True
    record = ops.OPS.get(op)
    return record is not None and (key in record.lower or not (record.arity or record.axis))


def support_of(key: str, op: str) -> str:
    """How a table of templates has an operator: "native", "fallback" or "none"."""
    return "native" if _has(key, op) else "fallback" if op in _made_up(key) else "none"


def _made_up(key: str) -> set[str]:
    """The operators without a form for the key that others make up: the least set, so that no two need each other."""
    missing = {op: _parts(op) for op in EQUAL if not _has(key, op)}
    found: set[str] = set()
    while new := {op for op in missing.keys() - found if all(_has(key, n) or n in found for n in missing[op])}:
        found |= new
    return found


@cache
def _parts(op: str) -> frozenset[str]:
    """The operators of a definition."""
    variables = [param(f"x{i}") for i in range(ops.OPS[op].arity)]
    return frozenset(n.op for n in postorder(EQUAL[op](*variables)))


def support(target: Target, op: str) -> str:
    """How a target has an operator: "native", "fallback" (by means of others) or "none"."""
    if target.key:
        return support_of(target.key, op)
    lacks = target.lacks() if callable(target.lacks) else target.lacks
    return "none" if op in (lacks or {}) else "native"


def expressible(loss: Loss, key: str) -> bool:
    """Whether every operator of the body has a form for the key, or is made of others that have."""
    return all(support_of(key, n.op) != "none" for n in postorder(loss.body))
