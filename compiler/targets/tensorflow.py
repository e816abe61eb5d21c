"""Target "tensorflow": a loss as a plain function of tensors, for eager mode, tf.function and XLA.

    >>> print(lossc.parse("(y - f)^2", name="mse").emit("tensorflow"))

The function takes `(y_true, y_pred, *, ...)` and gives one value an element, or a sample: the reduction is the
caller's, as with tf.nn's losses. TensorFlow differentiates the guarded loss, so that derivatives are finite wherever
the value is.
"""

from __future__ import annotations

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
from lossc.compiler.targets.torch_layout import indent

SYNTAX = Syntax(
    key="tensorflow",
    wrapped={"*": None, **dict.fromkeys(("add", "sub", "mul", "div", "pow"), ())},
    value="tf.constant({0}, f.dtype)",
    whole=True,
)

_TAKEN = frozenset({
    "tf", "y_true", "y_pred", "axis", "y", "f", "num_classes", "dtype", "out", "tape", "outer", "z", "t", "value",
    "slope", "bend", "single", "once",
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


def emit(loss: Loss, *, selftest: bool = True, options: Options = DEFAULT) -> str:
    """The source text of a TensorFlow file for `loss`; with `selftest`, running the file checks it.

    Raises LossTypeError: L340 for constants that float64 cannot hold, L341 for learnable coefficients, L345 for an
    operator without a form.
    """
    found = roots(loss, SYNTAX.key, options)
    loss = found.stages.written
    names = names_for(loss, _TAKEN)
    rows = conventions(loss, "y_pred", "y_true", "`axis`")
    top = [
        head(found.stages, names, rows),
        "from __future__ import annotations",
        "import tensorflow as tf",
        f'__all__ = ["{names.function}"]',
    ]
    test = _self_test(loss, names, golden(loss if options.eps == "none" else found.stages.protected))
    parts = [_function(found, names), *([test] if selftest else [])]
    return "\n\n".join(top) + "\n\n\n" + "\n\n\n".join(parts) + "\n"


def _function(found: Roots, names: FileNames) -> str:
    loss = found.loss
    classwise = loss.layout == CLASSWISE
    program = build(loss, SYNTAX, {"y": "y", "f": "f", **names.hyperparameters}, found.guarded)
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
    text = "\n".join([*program.lines, *program.results])
    body += [f"{n} = tf.convert_to_tensor({n}, f.dtype)" for n in names.hyperparameters.values() if _mentions(text, n)]
    if "num_classes" in program.uses:
        body.append("num_classes = tf.cast(tf.shape(f)[axis], f.dtype)")
    body += program.lines
    body.append(f"out = tf.broadcast_to(tf.convert_to_tensor({program.results[0]}, f.dtype), tf.shape(f))")
    if classwise:
        body.append("out = tf.gather(out, 0, axis=axis)" if loss.reduces_itself else "out = tf.reduce_sum(out, axis)")
    per = "sample" if classwise else "element"
    doc = f"The loss of each {per}, not reduced; it can be differentiated twice."
    return definition(names.function, arguments, "tf.Tensor", doc, [*body, "return tf.cast(out, dtype)"])


def _mentions(text: str, name: str) -> bool:
    import re

    return bool(re.search(rf"\b{re.escape(name)}\b", text))


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
