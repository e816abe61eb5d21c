"""What float32 arithmetic makes of an expression, and how far that is from the truth, in ulps; and other formats.

The model is ideal: every operator is computed in float64, from the numpy form on its record, and rounded once to
float32 (or float16, or bfloat16). What it shows is the error that a *formula* has on any machine (cancellation,
overflow, underflow), not that of one library's `exp`. Hyper-parameters stay float64 until they meet y or f, as in an
emitted file. In float64 nothing is rounded, so that the errors of the numpy forms themselves show too.

The forms are read with `ast` and turned into closures: no text is ever executed.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

from lossc.compiler import ops
from lossc.compiler.formats import FLOAT32, FLOAT64, Format
from lossc.compiler.ir import ARG, COEF, CONST, LEAF_OPS, Expr, postorder
from lossc.compiler.sampling import Points

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[np.float64]"
Form: TypeAlias = Callable[[Mapping[str, Any]], Any]


def rounded(values: Array, form: Format) -> Array:
    """The numbers of a format nearest to float64 `values`, ties to even, subnormal and infinite ones too."""
    import numpy as np

    if form is FLOAT64:
        return values
    _, exponent = np.frexp(values)
    grain = np.maximum(exponent - form.digits, form.least - form.digits + 1)
    near = np.ldexp(np.rint(np.ldexp(values, -grain)), grain)
    out: Array = np.where(np.abs(near) > float(form.largest), np.copysign(np.inf, near), near)
    return out


def evaluate32(roots: Sequence[Expr], points: Points) -> list[Array]:
    """The float32 values of each root at every point, as float64: shape [n], or [n, C] / [n, 1] if classwise."""
    return evaluate_in(FLOAT32, roots, points)


def evaluate_in(form: Format, roots: Sequence[Expr], points: Points) -> list[Array]:
    """The values of each root at every point in a format, as float64: shape [n], or [n, C] / [n, 1] if classwise."""
    import numpy as np

    values: dict[Expr, Any] = {}
    varying: set[Expr] = set()
    with np.errstate(all="ignore"):
        for here in postorder(*roots):
            if here.op in (ARG, COEF) or any(a in varying for a in here.args):
                varying.add(here)
            args = [_rounded(values[a], form) if here in varying else values[a] for a in here.args]
            made = _leaf(here, points) if here.op in LEAF_OPS else _apply(ops.OPS[here.op], args, points)
            values[here] = _rounded(made, form) if here in varying else made
        count = (len(points),) if points.num_classes is None else (len(points), 1)
        out = [np.asarray(_rounded(values[r], form), dtype=np.float64) for r in roots]
        return [np.broadcast_to(v, np.broadcast_shapes(v.shape, count)) for v in out]


def ulps(values: Array, truth: Array, form: Format = FLOAT32) -> Array:
    """The distance of `values` from `truth` in ulps of the truth (in float32, or `form`); inf where not finite."""
    import numpy as np

    with np.errstate(all="ignore"):
        _, exponent = np.frexp(np.abs(truth))
        ulp = np.ldexp(1.0, np.maximum(exponent - 1, form.least) - form.digits + 1)
        error = np.abs(values - truth) / ulp
    out: Array = np.where(np.isfinite(values), error, np.inf)
    return out


def _rounded(value: Any, form: Format) -> Any:
    import numpy as np

    array = np.asarray(value)
    return array if array.dtype == np.bool_ else rounded(array.astype(np.float64), form)


def _leaf(here: Expr, points: Points) -> Any:
    if here.op != CONST:
        return points.array(here)
    try:
        return float(here.number)
    except OverflowError:
        return float("inf") if here.number > 0 else float("-inf")


def _apply(record: ops.OpRecord, args: list[Any], points: Points) -> Any:
    import numpy as np

    if record.axis in (ops.REDUCE, ops.MAP):
        shape = np.broadcast_shapes(np.shape(args[0]), (len(points), points.num_classes or 1))
        args = [np.broadcast_to(args[0], shape)]
    names = {f"a{i}": a for i, a in enumerate(args)}
    return _form(record.lower["numpy"])({**names, "num_classes": float(points.num_classes or 0)})


# -- the numpy forms of the records, as closures ---------------------------------------------------------------------

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


@cache
def _form(template: str) -> Form:
    """The closure of a template such as `np.maximum({0}, 0.0)`, over the names a0, a1, ... and num_classes."""
    return _closure(ast.parse(re.sub(r"\{(\d)\}", r"(a\1)", template), mode="eval").body)


def _closure(tree: ast.expr) -> Form:
    match tree:
        case ast.Constant(value=value):
            return lambda names: value
        case ast.Name(id="axis"):
            return lambda names: 1
        case ast.Name(id=name):
            return lambda names: names[name]
        case ast.Attribute(value=ast.Name(id=module), attr=attr):
            return _from_module(module, attr)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _closure(operand)
            return lambda names: -inner(names)
        case ast.BinOp(left=left, op=op, right=right):
            return _infix(_BINARY[type(op)], left, right)
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _infix(_COMPARE[type(op)], left, right)
        case ast.Call(func=func, args=args, keywords=keywords):
            return _call(func, args, keywords)
    raise ValueError(f"a numpy form may not contain {type(tree).__name__}")


def _from_module(module: str, attr: str) -> Form:
    home = import_module({"np": "numpy", "special": "scipy.special"}[module])  # scikit-learn depends on SciPy
    value = getattr(home, attr)
    return lambda names: value


def _infix(apply: Callable[[Any, Any], Any], left: ast.expr, right: ast.expr) -> Form:
    first, second = _closure(left), _closure(right)
    return lambda names: apply(first(names), second(names))


def _call(func: ast.expr, args: Sequence[ast.expr], keywords: Sequence[ast.keyword]) -> Form:
    function, inner = _closure(func), [_closure(a) for a in args]
    named = {k.arg: _closure(k.value) for k in keywords if k.arg is not None}
    return lambda names: function(names)(*(a(names) for a in inner), **{k: v(names) for k, v in named.items()})
