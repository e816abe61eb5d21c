"""Target "tensorflow": a loss as a plain function of tensors, for eager mode, tf.function and XLA.

    >>> print(lossc.parse("(y - f)^2", name="mse").emit("tensorflow"))

The function takes `(y_true, y_pred, *, ...)` and gives one value an element, or a sample: the reduction is the
caller's, as with tf.nn's losses. Its first and second derivative in y_pred are the closed forms that the NumPy and C
files have (`tf.custom_gradient`, twice); other derivatives are TensorFlow's own, of the guarded loss.
"""

from __future__ import annotations

from collections.abc import Sequence

from lossc.compiler.ir import Expr
from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.targets.golden import Golden, golden
from lossc.compiler.targets.options import DEFAULT, Options
from lossc.compiler.targets.pipeline import Stages, prepare
from lossc.compiler.targets.printer import Program, Syntax
from lossc.compiler.targets.products import printed, whole
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
from lossc.compiler.targets.torch_layout import indent

SYNTAX = Syntax(
    key="tensorflow",
    wrapped={"*": None, **dict.fromkeys(("add", "sub", "mul", "div", "pow"), ())},
    value="tf.constant({0}, f.dtype)",
    whole=True,
)

_TAKEN = frozenset({
    "tf", "y_true", "y_pred", "axis", "y", "f", "num_classes", "dtype", "out", "tape", "outer", "z", "t", "value",
    "slope", "bend", "single", "once", "_value", "_loss", "_gradient", "_slope", "_hessian", "_tied",
})  # fmt: skip

_EXPECT = '''
def _expect(what: str, got: tf.Tensor, expected: object, tolerance: float) -> None:
    """Leave with exit code 1 and a message if `got` is not `expected`, relative to the largest number there."""
    want = tf.constant(expected, tf.float64)
    right = got.shape == want.shape
    if not right or not float(tf.reduce_max(tf.abs(tf.cast(got, tf.float64) - want))) <= tolerance * max(
        1e-3, float(tf.reduce_max(tf.abs(want)))
    ):
        raise SystemExit(f"self-test failed: {what}: expected {expected}, got {got.numpy().tolist()}")
'''


_TIED = """
def _tied(function: Callable, plain: Callable, in_f: Callable, *at: tf.Tensor) -> tf.Tensor:
    \"\"\"`function` at these arguments: its gradient in f, the first, is `in_f`; in others that of `plain`.\"\"\"

    @tf.custom_gradient
    def tied(*at: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
            with tf.GradientTape() as tape:
                tape.watch(at[1:])
                out = plain(*at)
            others = tape.gradient(out, at[1:], upstream, tf.UnconnectedGradients.ZERO)
            return in_f(upstream, *at), *others

        return function(*at), gradient

    return tied(*at)
"""

_ELEMENTWISE = """
def _gradient(*at: tf.Tensor) -> tf.Tensor:
    \"\"\"The derivative of the loss in f, which has the closed form of its own derivative.\"\"\"

    def own(*at: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(at[0])
            out = _value(*at)
        return tape.gradient(out, at[0], unconnected_gradients=tf.UnconnectedGradients.ZERO)

    return _tied(_slope, own, lambda upstream, *at: upstream * _hessian(*at), *at)


def _loss(*at: tf.Tensor) -> tf.Tensor:
    \"\"\"The loss of each element, which has the closed form of its derivative.\"\"\"
    return _tied(_value, _value, lambda upstream, *at: upstream * _gradient(*at), *at)
"""

_ROWS = """
def _gradient(axis: int, *at: tf.Tensor) -> tf.Tensor:
    \"\"\"The derivative of the loss in f, which has the closed form of its own derivative.\"\"\"

    def own(*at: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(at[0])
            out = _value(axis, *at)
        return tape.gradient(out, at[0], unconnected_gradients=tf.UnconnectedGradients.ZERO)

    def in_f(upstream: tf.Tensor, *at: tf.Tensor) -> tf.Tensor:
        diagonal, *outer = _hessian(axis, *at)
        out = diagonal * upstream
        for a, b in zip(outer[::2], outer[1::2], strict=True):
            out += b * (tf.reduce_sum(a * upstream, axis, True) - a * upstream)
        return out

    return _tied(lambda *at: _slope(axis, *at), own, in_f, *at)


def _loss(axis: int, *at: tf.Tensor) -> tf.Tensor:
    \"\"\"The loss of each sample, which has the closed form of its derivative.\"\"\"

    def value(*at: tf.Tensor) -> tf.Tensor:
        return _value(axis, *at)

    return _tied(value, value, lambda upstream, *at: tf.expand_dims(upstream, axis) * _gradient(axis, *at), *at)
"""


def emit(loss: Loss, *, selftest: bool = True, options: Options = DEFAULT) -> str:
    """The source text of a TensorFlow file for `loss`; with `selftest`, running the file checks it.

    Raises LossTypeError: L340 for constants that float64 cannot hold, L341 for learnable coefficients, L345 for an
    operator without a form.
    """
    stages = prepare(loss, options)
    loss = stages.written
    names = names_for(loss, _TAKEN)
    rows = conventions(loss, "y_pred", "y_true", "`axis`")
    functions = _functions(stages, names)
    top = [
        head(stages, names, rows),
        "from __future__ import annotations",
        *(["from collections.abc import Callable"] if len(functions) > 2 else []),
        "import tensorflow as tf",
        f'__all__ = ["{names.function}"]',
    ]
    test = _self_test(loss, names, golden(loss if options.eps == "none" else stages.protected))
    parts = [*functions, *([test] if selftest else [])]
    return "\n\n".join(top) + "\n\n\n" + "\n\n\n".join(parts) + "\n"


def _functions(stages: Stages, names: FileNames) -> list[str]:
    """`_value`, and where there are closed forms `_slope`, `_hessian` and what ties them; then what is called."""
    loss, classwise = stages.guarded, stages.guarded.layout == CLASSWISE
    code = printed(stages, SYNTAX, names)
    used = code.hyperparameters
    arguments = [*(["axis: int"] if classwise else []), *(f"{n}: tf.Tensor" for n in ("f", "y", *used))]
    per = "sample" if classwise else "element"
    second = "Its Hessian in f: the diagonal, then a and b of each a[i] b[j] beside it."
    docs = [
        ("_value", "tf.Tensor", f"The loss of each {per}."),
        ("_slope", "tf.Tensor", "Its derivative in f, in closed form: TensorFlow's own has fewer digits."),
        ("_hessian", "tuple[tf.Tensor, ...]", second)
        if classwise
        else ("_hessian", "tf.Tensor", "Its second derivative in f."),
    ]
    found = []
    for (name, returns, doc), program, roots in zip(docs, code.programs, code.roots, strict=False):
        body = ["num_classes = tf.cast(tf.shape(f)[axis], f.dtype)"] if "num_classes" in program.uses else []
        body += [*program.lines, f"return {_result(loss, program, roots, name)}"]
        found.append(definition(name, arguments, returns, doc, body))
    found += [text.strip("\n") for text in (_TIED, _ROWS if classwise else _ELEMENTWISE)] if code.tied else []
    call = f"{'_loss' if code.tied else '_value'}({', '.join([*(['axis'] if classwise else []), 'f', 'y', *used])})"
    return [*found, _called(loss, names, used, call)]


def _result(loss: Loss, program: Program, roots: Sequence[Expr], name: str) -> str:
    """What a function returns: tensors of the shape of f, or the loss of each sample."""
    found = [
        text if whole(root, loss) else f"tf.broadcast_to(tf.convert_to_tensor({text}, f.dtype), tf.shape(f))"
        for text, root in zip(program.results, roots, strict=True)
    ]
    if loss.layout != CLASSWISE or name == "_slope":
        return found[0]
    if name == "_hessian":
        return ", ".join(found) if len(found) > 1 else f"({found[0]},)"
    return f"tf.gather({found[0]}, 0, axis=axis)" if loss.reduces_itself else f"tf.reduce_sum({found[0]}, axis)"


def _called(loss: Loss, names: FileNames, used: Sequence[str], call: str) -> str:
    """The function of the file: it checks and converts."""
    classwise = loss.layout == CLASSWISE
    arguments = ["y_true: object", "y_pred: object", *(["*"] if classwise or loss.params else [])]
    arguments += [*options_of(loss, names, "float | tf.Tensor"), *(["axis: int = -1"] if classwise else [])]
    body = [
        "y, f = tf.convert_to_tensor(y_true), tf.convert_to_tensor(y_pred)",
        "dtype = f.dtype if f.dtype.is_floating else tf.float32",
        "f = tf.cast(f, tf.float32 if dtype.size < 4 else dtype)",
    ]
    if loss.y in ("onehot", "prob"):
        body += [
            "if y.dtype.is_integer and y.shape.rank != f.shape.rank:",
            "    y = tf.one_hot(y, tf.shape(f)[axis], axis=axis, dtype=f.dtype)",
        ]
    body += ["y = tf.cast(y, f.dtype)", "y.shape.assert_is_compatible_with(f.shape)"]
    body += [f"{n} = tf.convert_to_tensor({n}, f.dtype)" for n in used]
    per = "sample" if classwise else "element"
    doc = f"The loss of each {per}, not reduced; it can be differentiated twice."
    return definition(names.function, arguments, "tf.Tensor", doc, [*body, f"return tf.cast({call}, dtype)"])


def _self_test(loss: Loss, names: FileNames, found: Golden) -> str:
    """The code of `_self_test` and of the `__main__` block."""
    f = names.function
    if not found.values:
        body = [
            '"""Nothing to compare: see the message."""',
            f'print("ok: {f} (nothing to compare: defined at no point tried)")',
        ]
    else:
        body = _compared(loss, names, found)
    test = ["def _self_test() -> None:", indent(body), "", "", 'if __name__ == "__main__":', "    _self_test()"]
    return "\n".join([*([_EXPECT.strip("\n"), "", ""] if found.values else []), *test])


def _compared(loss: Loss, names: FileNames, found: Golden) -> list[str]:
    f, options = names.function, given(loss, names, found)
    return [
        '"""Compare with what the reference interpreter of lossc found with 50 digits, in eager mode and compiled."""',
        "",
        "@tf.function",
        "def once(z: tf.Tensor, t: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:",
        "    with tf.GradientTape() as tape:",
        "        tape.watch(z)",
        f"        value = {f}(t, z{options})",
        "    return value, tape.gradient(value, z)",
        "",
        *golden_lines(found, "inputs", "targets", "values", "gradients"),
        "z, t = tf.constant(inputs, tf.float64), tf.constant(targets, tf.float64)",
        "value, slope = once(z, t)",
        '_expect("values", value, values, 1e-9)',
        '_expect("gradients", tf.zeros_like(z) if slope is None else slope, gradients, 1e-9)',
        f"single = {f}(tf.cast(t, tf.float32), tf.cast(z, tf.float32){options})",
        "if single.dtype != tf.float32:",
        '    raise SystemExit(f"self-test failed: float32 input gave {single.dtype}")',
        '_expect("float32 values", single, values, 1e-2)',
        *(
            [f'_expect("class indices", {f}(tf.constant({list(found.labels)}), z{options}), values, 1e-9)']
            if found.labels
            else []
        ),
        f'print("ok: {f}: {len(found.values)} values and gradients equal the reference to 1e-9")',
    ]
