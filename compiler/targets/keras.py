"""Target "keras": a `keras.losses.Loss` and its function, of `keras.ops` alone, for every backend of Keras 3.

    >>> print(lossc.parse("(y - f)^2", name="mse").emit("keras"))

The class is registered as serialisable and reduces as Keras names it ("sum_over_batch_size", "sum", "none", ...).
As Keras's own losses, `call(y_true, y_pred)` gives one value a sample: the mean over the last axis of an elementwise
loss, the loss over the classes (last axis) of another, where labels may be class indices.

The backend differentiates the guarded loss: `keras.ops.custom_gradient` would tie the closed forms to it, but takes no
symbolic tensors, and on JAX it shuts out forward mode (docs/targets.md).
"""

from __future__ import annotations

from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.targets.derivatives import Roots, roots
from lossc.compiler.targets.golden import Golden, golden
from lossc.compiler.targets.identifiers import class_name
from lossc.compiler.targets.options import DEFAULT, Options
from lossc.compiler.targets.printer import Syntax, build
from lossc.compiler.targets.python_file import (
    FileNames,
    definition,
    given,
    golden_lines,
    head,
    names_for,
    options_of,
)
from lossc.compiler.targets.torch_layout import indent, signature

SYNTAX = Syntax(
    key="keras",
    wrapped={"*": None, **dict.fromkeys(("add", "sub", "mul", "div"), ())},
    value="ops.convert_to_tensor({0}, f.dtype)",
    whole=False,
)

_TAKEN = frozenset({
    "keras", "ops", "y_true", "y_pred", "axis", "y", "f", "num_classes", "dtype", "out", "name", "reduction", "self",
    "call", "get_config", "from_config", "made", "config", "numbers", "wanted", "again", "losses", "narrow",
})  # fmt: skip

_EXPECT = '''
def _expect(what: str, got: object, expected: object, tolerance: float) -> None:
    """Leave with exit code 1 and a message if `got` is not `expected`, relative to the largest number there."""
    have, want = ops.cast(got, "float64"), ops.convert_to_tensor(expected, "float64")
    right = tuple(have.shape) == tuple(want.shape)
    limit = tolerance * max(1e-3, float(ops.max(ops.abs(want))))
    if not right or not float(ops.max(ops.abs(have - want))) <= limit:
        raise SystemExit(f"self-test failed: {what}: expected {expected}, got {have}")
'''


def emit(loss: Loss, *, selftest: bool = True, options: Options = DEFAULT) -> str:
    """The source text of a Keras file for `loss`; with `selftest`, running the file checks it.

    Raises LossTypeError: L340 for constants that float64 cannot hold, L341 for learnable coefficients, L345 for an
    operator without a form.
    """
    found = roots(loss, SYNTAX.key, options)
    loss = found.stages.written
    names = names_for(loss, _TAKEN)
    cls = class_name(loss.name)
    top = [
        head(found.stages, names, _conventions(found.loss, loss)),
        "from __future__ import annotations",
        "import keras\nfrom keras import ops",
        f'__all__ = ["{cls}", "{names.function}"]',
    ]
    test = _self_test(loss, cls, names, golden(loss if options.eps == "none" else found.stages.protected))
    parts = [_function(found, names), _class(loss, cls, names), *([test] if selftest else [])]
    return "\n\n".join(top) + "\n\n\n" + "\n\n\n".join(parts) + "\n"


def _conventions(linked: Loss, loss: Loss) -> list[tuple[str, str]]:
    scores = (
        "scores (from_logits=True in Keras's words)" if linked is not loss and linked.f == "logit" else "predictions"
    )
    if loss.layout == CLASSWISE:
        indices = ", or class indices: without that axis, or with 1 there" if loss.y in ("onehot", "prob") else ""
        return [("arguments", f"y_pred: {scores}, classes on the last axis; y_true: the same shape{indices}")]
    return [("arguments", f"y_pred: {scores}, y_true: the same shape; the class takes the mean over the last axis")]


def _function(found: Roots, names: FileNames) -> str:
    loss = found.loss
    classwise = loss.layout == CLASSWISE
    program = build(loss, SYNTAX, {"y": "y", "f": "f", **names.hyperparameters}, found.guarded)
    arguments = ["y_true: object", "y_pred: object", *options_of(loss, names)]
    body = [
        "y, f = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)",
        'narrow = keras.backend.standardize_dtype(f.dtype) not in ("float32", "float64")',
        'f = ops.cast(f, "float32") if narrow else f',
    ]
    if loss.y in ("onehot", "prob"):
        body += [
            "if len(y.shape) == len(f.shape) and y.shape[-1] == 1 != f.shape[-1]:",
            "    y = ops.squeeze(y, -1)",
            "if len(y.shape) == len(f.shape) - 1:",
            '    y = ops.one_hot(ops.cast(y, "int32"), f.shape[-1])',
        ]
    elif not classwise:
        body += [
            "if len(y.shape) == len(f.shape) - 1 and f.shape[-1] == 1:",
            "    y = ops.expand_dims(y, -1)",
        ]
    body += [
        "y = ops.cast(y, f.dtype)",
        "if len(y.shape) != len(f.shape) or any(a != b for a, b in zip(y.shape, f.shape, strict=True) if a and b):",
        '    raise ValueError(f"y_true has the shape {y.shape}, y_pred {f.shape}: they must be equal")',
    ]
    text = "\n".join([*program.lines, *program.results])
    body += [f"{n} = ops.convert_to_tensor({n}, f.dtype)" for n in names.mentioned(text)]
    body += ["axis = -1"] if "axis=axis" in text else []
    body += ["num_classes = ops.cast(f.shape[-1], f.dtype)"] if "num_classes" in program.uses else []
    body += program.lines
    body.append(f"out = ops.broadcast_to(ops.convert_to_tensor({program.results[0]}, f.dtype), ops.shape(f))")
    if classwise:
        body.append("return out[..., 0]" if loss.reduces_itself else "return ops.sum(out, axis=-1)")
    else:
        body[-1] = body[-1].replace("out = ", "return ", 1)
    doc = f"The loss of each {'sample' if classwise else 'element'}, not reduced."
    return definition(names.function, arguments, "keras.KerasTensor", doc, body)


def _class(loss: Loss, cls: str, names: FileNames) -> str:
    """The Loss, with what Keras needs to save and load it."""
    own = list(names.hyperparameters.values())
    arguments = [
        "self", *options_of(loss, names), 'reduction: str = "sum_over_batch_size"',
        f'name: str = "{names.function}"', "dtype: object = None",
    ]  # fmt: skip
    options = "".join(f", self.{n}" for n in _in_order(loss, names))
    body = [
        f'"""{cls} for `model.compile(loss=...)`: one value a sample, then the reduction."""',
        "",
        *signature("__init__", arguments, "None", by=4).replace("\n    ", "\n").lstrip().split("\n"),
        "    super().__init__(name=name, reduction=reduction, dtype=dtype)",
        *(f"    self.{n} = {n}" for n in own),
        "",
        "def call(self, y_true: object, y_pred: object) -> keras.KerasTensor:",
        '    """The loss of each sample."""',
        *(_called(f"{names.function}(y_true, y_pred{options})", loss)),
        "",
        "def get_config(self) -> dict[str, object]:",
        '    """What `from_config` makes the same loss of."""',
        f"    return {{**super().get_config(){''.join(f', {chr(34)}{n}{chr(34)}: self.{n}' for n in own)}}}",
    ]
    top = ['@keras.saving.register_keras_serializable(package="lossc")', f"class {cls}(keras.losses.Loss):"]
    return "\n".join([*top, indent(body)])


def _in_order(loss: Loss, names: FileNames) -> list[str]:
    """The hyper-parameters in the order of the signature: those without a default first."""
    return [names.hyperparameters[p.name] for p in sorted(loss.params, key=lambda p: p.default is not None)]


def _called(code: str, loss: Loss) -> list[str]:
    if loss.layout == CLASSWISE:
        return [f"    return {code}"]
    return [
        f"    losses = {code}",
        "    return ops.mean(losses, axis=-1) if len(losses.shape) > 1 else losses",
    ]


def _self_test(loss: Loss, cls: str, names: FileNames, found: Golden) -> str:
    """The code of `_self_test` and of the `__main__` block."""
    f, options = names.function, given(loss, names, found)
    settings = options.removeprefix(", ")
    if found.values:
        body = [
            '"""Compare with what the reference interpreter of lossc found with 50 digits."""',
            *golden_lines(found, "inputs", "targets", "values"),
            'numbers, wanted = ops.convert_to_tensor(inputs, "float64"), ops.convert_to_tensor(targets, "float64")',
            f'_expect("values", {f}(wanted, numbers{options}), values, 1e-9)',
            *(
                [f'_expect("class indices", {f}({list(found.labels)}, numbers{options}), values, 1e-9)']
                if found.labels
                else []
            ),
            f'made = {cls}({settings}{", " if settings else ""}dtype="float64")',
            '_expect("mean", made(targets, inputs), sum(values) / len(values), 1e-9)',
            "config = keras.losses.serialize(made)",
            "again = keras.losses.deserialize(config)",
            '_expect("saved and loaded", again(targets, inputs), made(targets, inputs), 1e-5)',
            f'print("ok: {cls}: {len(found.values)} values equal the reference to 1e-9")',
        ]
    else:
        body = [
            '"""Nothing to compare: see the message."""',
            f'print("ok: {cls} (nothing to compare: defined at no point tried)")',
        ]
    test = ["def _self_test() -> None:", indent(body), "", "", 'if __name__ == "__main__":', "    _self_test()"]
    return "\n".join([*([_EXPECT.strip("\n"), "", ""] if found.values else []), *test])
