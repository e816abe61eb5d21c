"""Target "jax": a loss as a pure function with optax's conventions; jit, vmap, grad and hessian go through it.

    >>> print(lossc.parse("(y - f)^2", name="mse").emit("jax"))

The function takes `(predictions, targets, *, ..., where=None)`, and `axis=-1` if it has classes, and gives one value an
element, or a sample: the reduction is the caller's, as with optax.losses. Its first and second derivative in the
predictions are the closed forms (`jax_rules.py`); the others are JAX's own, of the guarded loss.
"""

from __future__ import annotations

from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.targets.golden import Golden, golden
from lossc.compiler.targets.jax_rules import Core, core
from lossc.compiler.targets.options import DEFAULT, Options
from lossc.compiler.targets.pipeline import prepare
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

_TAKEN = frozenset({
    "jax", "jnp", "predictions", "targets", "where", "axis", "y", "f", "v", "num_classes", "dtype", "some", "out",
    "total", "one", "each", "ArrayLike", "present", "z", "t", "value", "slope", "bend", "single",
    "_value", "_loss", "_gradient", "_hessian", "_tangent",
})  # fmt: skip

_EXPECT = '''
def _expect(what: str, got: jax.Array, expected: object, tolerance: float) -> None:
    """Leave with exit code 1 and a message if `got` is not `expected`, relative to the largest number there."""
    want = jnp.asarray(expected, jnp.float64)
    right = got.shape == want.shape and jnp.max(jnp.abs(got - want)) <= tolerance * max(1e-3, jnp.max(jnp.abs(want)))
    if not right:
        raise SystemExit(f"self-test failed: {what}: expected {expected}, got {got.tolist()}")
'''


def emit(loss: Loss, *, selftest: bool = True, options: Options = DEFAULT) -> str:
    """The source text of a JAX file for `loss`; with `selftest`, running the file checks it.

    Raises LossTypeError: L340 for constants that float64 cannot hold, L341 for learnable coefficients, L345 for an
    operator without a form.
    """
    stages = prepare(loss, options)
    loss = stages.written
    names = names_for(loss, _TAKEN)
    made = core(stages, names)
    rows = conventions(loss, "predictions", "targets", "`axis`")
    what = "classes (samples without any are 0)" if loss.layout == CLASSWISE else "elements (others are 0)"
    rows.append(("where", f"a mask of the {what} to include, or None"))
    top = [
        head(stages, names, rows),
        "from __future__ import annotations",
        *(["\n".join(f"from {a} import {b}" for a, b in made.imports)] if made.imports else []),
        "import jax\nimport jax.numpy as jnp\nfrom jax.typing import ArrayLike",
        f'__all__ = ["{names.function}"]',
    ]
    test = self_test(loss, names, golden(loss if options.eps == "none" else stages.protected))
    parts = [*made.definitions, _function(stages.guarded, names, made), *([test] if selftest else [])]
    return "\n\n".join(top) + "\n\n\n" + "\n\n\n".join(parts) + "\n"


def _function(loss: Loss, names: FileNames, made: Core) -> str:
    """What is called: it checks and converts, and leaves out what is masked."""
    classwise = loss.layout == CLASSWISE
    arguments = ["predictions: ArrayLike", "targets: ArrayLike", "*", *options_of(loss, names, "ArrayLike")]
    arguments += ["where: ArrayLike | None = None", *(["axis: int = -1"] if classwise else [])]
    body = [
        *_arguments(loss),
        *(f"{n} = jnp.asarray({n}, f.dtype)" for n in made.hyperparameters),
        f"out = {made.call}",
        f"out = out if where is None else jnp.where({'some' if classwise else 'where'}, out, 0.0)",
        "return out.astype(dtype)",
    ]
    per = "sample" if classwise else "element"
    doc = f"The loss of each {per}, not reduced; it can be differentiated twice."
    return definition(names.function, arguments, "jax.Array", doc, body)


def _arguments(loss: Loss) -> list[str]:
    """The arguments as arrays of one dtype; what is masked out becomes harmless."""
    body = [
        "predictions, targets = jnp.asarray(predictions), jnp.asarray(targets)",
        "dtype = predictions.dtype if jnp.issubdtype(predictions.dtype, jnp.floating) else jnp.result_type(float)",
        "f = predictions.astype(jnp.promote_types(dtype, jnp.float32))",
    ]
    if loss.y in ("onehot", "prob"):
        body += [
            "if targets.ndim == f.ndim - 1 and jnp.issubdtype(targets.dtype, jnp.integer):",
            "    targets = jax.nn.one_hot(targets, f.shape[axis], axis=axis, dtype=f.dtype)",
        ]
    body += [
        "if targets.shape != f.shape:",
        '    raise ValueError(f"targets have the shape {targets.shape}, predictions {f.shape}: they must be equal")',
        "y = targets.astype(f.dtype)",
    ]
    if loss.layout == CLASSWISE:
        body += [
            "if where is not None:",
            "    where = jnp.broadcast_to(jnp.asarray(where, bool), f.shape)",
            "    some = jnp.any(where, axis=axis)",
            "    y, f = jnp.where(where, y, 0.0), jnp.where(where, f, 0.5)",
            "    where = where | ~jnp.expand_dims(some, axis)  # a sample without classes is computed, and left out",
        ]
    else:
        body += [
            "if where is not None:",
            "    y, f = jnp.where(where, y, 1.0), jnp.where(where, f, 0.5)",
        ]
    return body


def self_test(loss: Loss, names: FileNames, found: Golden) -> str:
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
    f = names.function
    classwise = loss.layout == CLASSWISE
    bend = "jax.numpy.diagonal(jax.hessian(one)(z, t))" if classwise else "jax.grad(jax.grad(one))(z, t)"
    return [
        '"""Compare with what the reference interpreter of lossc found with 50 digits."""',
        'jax.config.update("jax_enable_x64", True)',
        "",
        "def one(z: jax.Array, t: jax.Array) -> jax.Array:",
        f"    return {f}(z, t{given(loss, names, found)})",
        "",
        "def each(z: jax.Array, t: jax.Array) -> tuple[jax.Array, ...]:",
        f"    return one(z, t), jax.grad(one)(z, t), {bend}",
        "",
        *golden_lines(found, "inputs", "targets", "values", "gradients", "curvatures"),
        "z, t = jnp.asarray(inputs, jnp.float64), jnp.asarray(targets, jnp.float64)",
        "value, slope, bend = jax.jit(jax.vmap(each))(z, t)",
        '_expect("values", value, values, 1e-9)',
        '_expect("gradients", slope, gradients, 1e-9)',
        '_expect("Hessians", bend, curvatures, 1e-9)',
        "single = one(z.astype(jnp.float32), t.astype(jnp.float32))",
        "if single.dtype != jnp.float32:",
        '    raise SystemExit(f"self-test failed: float32 input gave {single.dtype}")',
        '_expect("float32 values", single, values, 1e-2)',
        *(
            [f'_expect("class indices", one(z, jnp.asarray({list(found.labels)})), values, 1e-9)']
            if found.labels
            else []
        ),
        f'print("ok: {f}: {len(found.values)} values, gradients and Hessians equal the reference to 1e-9")',
    ]
