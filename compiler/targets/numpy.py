"""Target "numpy": the value, the gradient and the Hessian diagonal of a loss as functions of arrays; only NumPy.

    >>> print(lossc.parse("(y - f)^2", name="mse").emit("numpy"))

Functions take `(y_true, y_pred)` in scikit-learn's order, and give one value an element, or a sample: the reduction is
the caller's. They compute in the dtype of y_pred.
"""

from __future__ import annotations

from lossc.compiler.ir import Expr
from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.targets.derivatives import Roots, roots
from lossc.compiler.targets.golden import Golden, golden
from lossc.compiler.targets.options import DEFAULT, Options
from lossc.compiler.targets.printer import Syntax, build
from lossc.compiler.targets.python_file import (
    FileNames,
    conventions,
    definition,
    given,
    golden_lines,
    head,
    names_for,
    options_of,
)
from lossc.compiler.targets.torch_layout import call_line, indent

SYNTAX = Syntax(key="np", wrapped={"where": (1, 2)}, value="f.dtype.type({0})", whole=True, indent=8)

_TAKEN = frozenset({
    "np", "math", "y_true", "y_pred", "y", "f", "z", "axis", "num_classes", "dtype", "index", "whole",
})  # fmt: skip

_ARRAYS = '''
def _arrays(y_true: object, y_pred: object) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays of the floating dtype of y_pred (float64 if it has none), of one shape."""
    f = np.asarray(y_pred)
    f = f if f.dtype in (np.float32, np.float64) else f.astype(np.float64)
    y = np.asarray(y_true)
    if y.shape != f.shape:
        raise ValueError(f"y_true has the shape {y.shape}, y_pred {f.shape}: they must be equal")
    return y.astype(f.dtype), f
'''

_ROWS = '''
def _arrays(y_true: object, y_pred: object, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays of the floating dtype of y_pred (float64 if it has none), of one shape."""
    f = np.asarray(y_pred)
    f = f if f.dtype in (np.float32, np.float64) else f.astype(np.float64)
    y = np.asarray(y_true)
    if y.shape != f.shape:
        raise ValueError(f"y_true has the shape {y.shape}, y_pred {f.shape}: they must be equal")
    return y.astype(f.dtype), f
'''

_LABELS = '''
def _arrays(y_true: object, y_pred: object, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays of the floating dtype of y_pred (float64 if it has none), class indices as one-hot rows."""
    f = np.asarray(y_pred)
    f = f if f.dtype in (np.float32, np.float64) else f.astype(np.float64)
    y = np.asarray(y_true)
    if y.ndim == f.ndim - 1 and np.issubdtype(y.dtype, np.integer):
        if y.size and not (0 <= y.min() and y.max() < f.shape[axis]):
            raise ValueError(f"y_true has class indices beyond 0 to {f.shape[axis] - 1}")
        index = np.expand_dims(np.arange(f.shape[axis]), [i for i in range(f.ndim) if i != axis % f.ndim])
        y = np.expand_dims(y, axis) == index
    if y.shape != f.shape:
        raise ValueError(f"y_true has the shape {y.shape}, y_pred {f.shape}: they must be equal")
    return y.astype(f.dtype), f
'''

_EACH = '''
def _each(function: Callable[[float], float], x: np.ndarray) -> np.ndarray:
    """A function of Python's math, at every element: NumPy has none of its own."""
    x = np.asarray(x)
    return np.asarray([function(v) for v in x.ravel().tolist()], x.dtype).reshape(x.shape)
'''

_LGAMMA = '''
def _lgamma(x: float) -> float:
    """The logarithm of the gamma function for x > 0, NaN elsewhere."""
    return math.lgamma(x) if 0.0 < x < 1e305 else math.inf if x > 0.0 else math.nan
'''

_EXPECT = '''
def _expect(what: str, got: np.ndarray, expected: object, tolerance: float) -> None:
    """Leave with exit code 1 and a message if `got` is not `expected`, relative to the largest number there."""
    want = np.asarray(expected, np.float64)
    right = got.shape == want.shape and np.max(np.abs(got - want)) <= tolerance * max(1e-3, np.max(np.abs(want)))
    if not right:
        raise SystemExit(f"self-test failed: {what}: expected {expected}, got {got.tolist()}")
'''


def emit(loss: Loss, *, selftest: bool = True, options: Options = DEFAULT) -> str:
    """The source text of a NumPy file for `loss`; with `selftest`, running the file checks it.

    Raises LossTypeError: L310 for an operator without a derivative in closed form, L340 for constants that float64
    cannot hold, L341 for learnable coefficients, L345 for an operator without a form.
    """
    found = roots(loss, SYNTAX.key, options)
    loss = found.stages.written
    names = names_for(loss, _TAKEN)
    functions = [
        _function(found, names, "", found.value),
        _function(found, names, "_gradient", found.gradient),
        _function(found, names, "_hessian", found.hessian),
    ]
    code = "\n".join(functions)
    helpers = [_LABELS if loss.y in ("onehot", "prob") else _ROWS if loss.layout == CLASSWISE else _ARRAYS]
    helpers += [_LGAMMA] if "_lgamma" in code else []
    helpers += [_EACH] if "_each(" in code else []
    rows = conventions(loss, "y_pred", "y_true", "`axis`")
    exported = [f'"{names.function}{end}"' for end in ("", "_gradient", "_hessian")]
    top = [
        head(found.stages, names, rows),
        _imports("_each(" in code),
        call_line("__all__ = ", exported, brackets="[]"),
    ]
    test = self_test(loss, names, golden(loss if options.eps == "none" else found.stages.protected))
    parts = [*(h.strip("\n") for h in helpers), *functions, *([test] if selftest else [])]
    return "\n\n".join(top) + "\n\n\n" + "\n\n\n".join(parts) + "\n"


def _imports(each: bool) -> str:
    standard = ["import math", "from collections.abc import Callable", ""] if each else []
    return "\n".join(["from __future__ import annotations", "", *standard, "import numpy as np"])


_DOCS = {
    "": "The loss of each {per}.",
    "_gradient": "The derivative of the loss of each {per} with respect to y_pred, of the shape of y_pred.",
    "_hessian": "The second derivative: of each {per} the diagonal of its Hessian in y_pred.",
}


def _function(found: Roots, names: FileNames, end: str, root: Expr) -> str:
    """One of the three functions."""
    loss = found.loss
    classwise = loss.layout == CLASSWISE
    operands = {"y": "y", "f": "f", **names.hyperparameters}
    program = build(loss, SYNTAX, operands, root)
    arguments = ["y_true: object", "y_pred: object", "*" if classwise or loss.params else ""]
    arguments += [*options_of(loss, names), *(["axis: int = -1"] if classwise else [])]
    body = [f"y, f = _arrays(y_true, y_pred{', axis' if classwise else ''})"]
    body += [f"{n} = f.dtype.type({n})" for n in names.mentioned("\n".join(program.lines))]
    if "num_classes" in program.uses:
        body.append("num_classes = f.dtype.type(f.shape[axis])")
    held = program.results[0]
    held = f"f.dtype.type({held})" if root in program.numbers else held
    lines = [*program.lines, f"whole = np.broadcast_to({held}, f.shape)"]
    if end or not classwise:
        lines.append("return whole.astype(f.dtype)")
    else:
        lines.append(
            "return np.take(whole, 0, axis=axis)" if loss.reduces_itself else "return np.sum(whole, axis=axis)"
        )
    body += ['with np.errstate(all="ignore"):', *(f"    {line}" for line in lines)]
    doc = _DOCS[end].format(per="sample" if classwise else "element")
    return definition(names.function + end, [a for a in arguments if a], "np.ndarray", doc, body)


def self_test(loss: Loss, names: FileNames, found: Golden) -> str:
    """The code of `_self_test` and of the `__main__` block."""
    f, options = names.function, given(loss, names, found)
    ends = (("", "values"), ("_gradient", "gradients"), ("_hessian", "curvatures"))
    body = ['"""Compare with what the reference interpreter of lossc found with 50 digits."""']
    if found.values:
        body += golden_lines(found, "inputs", "targets", "values", "gradients", "curvatures")
        body += [f'_expect("{what}", {f}{end}(targets, inputs{options}), {what}, 1e-9)' for end, what in ends]
        body.append(f"single = {f}(targets, np.asarray(inputs, np.float32){options})")
        body.append("if single.dtype != np.float32:")
        body.append('    raise SystemExit("self-test failed: float32 gave another dtype")')
        body.append('_expect("float32 values", single, values, 1e-2)')
        if found.labels:
            body.append(f'_expect("class indices", {f}({list(found.labels)}, inputs{options}), values, 1e-9)')
        body.append(f'print("ok: {f}: {len(found.values)} values, gradients and Hessians equal the reference to 1e-9")')
    else:
        body = ['"""Nothing to compare: see the message."""']
        body.append(f'print("ok: {f} (nothing to compare: defined at no point tried)")')
    test = ["def _self_test() -> None:", indent(body), "", "", 'if __name__ == "__main__":', "    _self_test()"]
    return "\n".join([*([_EXPECT.strip("\n"), "", ""] if found.values else []), *test])
