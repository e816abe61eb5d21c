"""The inner functions of a JAX file: the loss, its gradient, its Hessian, and the rules that tie them together.

    made = core(prepare(loss), names)
    made.definitions   # helpers, `_value`, `_gradient`, `_hessian` and their rules, as text
    made.call          # what gives the loss of each element or sample: "_loss(f, y, delta)"

`_value` is the guarded loss, which JAX can differentiate by anything. In the predictions JAX is given the closed forms
instead (`jax.custom_jvp`), as the NumPy and C files have them: twice, since the rule of the loss uses the gradient,
which has a rule of its own. Where there is no closed form, JAX's own derivatives are all there is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lossc.compiler.ir import Expr
from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.targets.pipeline import Stages
from lossc.compiler.targets.printer import Program, Syntax
from lossc.compiler.targets.products import printed, whole
from lossc.compiler.targets.python_file import FileNames, definition

SYNTAX = Syntax(key="jax", wrapped={"where": (1, 2)}, value="jnp.asarray({0}, f.dtype)")

_LOG_SOFTMAX = '''
def _log_softmax(x: jax.Array, axis: int, where: ArrayLike | None) -> jax.Array:
    """log(softmax(x)); 0 where a class is left out, so that nothing comes of it."""
    out = jax.nn.log_softmax(x, axis=axis, where=where)
    return out if where is None else jnp.where(where, out, 0.0)
'''

_EXPM1 = '''
@jax.custom_jvp
def _expm1(x: jax.Array) -> jax.Array:
    """exp(x) - 1, with the slope exp(x): JAX's own adds 1 again, which cancels far below 0."""
    return jnp.expm1(x)


_expm1.defjvps(lambda slope, out, x: slope * jnp.exp(x))
'''

_SIGMOID = '''
@jax.custom_jvp
def _sigmoid(x: jax.Array) -> jax.Array:
    """1/(1 + exp(-x)), with a slope that keeps its digits where the value is near 1."""
    return jax.nn.sigmoid(x)


_sigmoid.defjvps(lambda slope, out, x: slope * (_sigmoid(x) * _sigmoid(-x)))
'''

_POWER = '''
@jax.custom_jvp
def _power(x: jax.Array, p: jax.Array) -> jax.Array:
    """x to the power p, with slopes that are finite at x = 0 wherever they exist, also for p = 0."""
    return x**p


_power.defjvps(
    lambda slope, out, x, p: slope * jnp.where(p == 0.0, 0.0, p * _power(x, jnp.where(p == 0.0, 1.0, p - 1.0))),
    lambda slope, out, x, p: slope * jnp.where(x > 0.0, out * jnp.log(jnp.where(x > 0.0, x, 1.0)), 0.0),
)
'''

_HELPERS = {"_power": _POWER, "_log_softmax": _LOG_SOFTMAX, "_expm1": _EXPM1, "_sigmoid": _SIGMOID}
"""Functions of the file that its loss may call."""

_TANGENT = '''
def _tangent(function: Callable[..., jax.Array], in_f: Callable[[jax.Array], jax.Array], at: Any, by: Any) -> Any:
    """How `function` changes if its arguments `at` change by `by`: `in_f` says it for f, the first, JAX for others."""

    def moved(i: int) -> jax.Array:
        if i == 0:
            return in_f(by[0])
        return jax.jvp(lambda x: function(*at[:i], x, *at[i + 1 :]), at[i : i + 1], by[i : i + 1])[1]

    return sum(moved(i) for i, change in enumerate(by) if isinstance(change, jax.Array))  # not for symbolic zeros
'''

_ELEMENTWISE = """
@partial(_loss.defjvp, symbolic_zeros=True)
def _loss_jvp(at: Any, by: Any) -> tuple[jax.Array, jax.Array]:
    return _loss(*at), _tangent(_value, lambda v: _gradient(*at) * v, at, by)


@partial(_gradient.defjvp, symbolic_zeros=True)
def _gradient_jvp(at: Any, by: Any) -> tuple[jax.Array, jax.Array]:
    own = jax.grad(lambda *at: jnp.sum(_value(*at)))
    return _gradient(*at), _tangent(own, lambda v: _hessian(*at) * v, at, by)
"""

_ROWS = """
def _kept(x: jax.Array, where: jax.Array | None) -> jax.Array:
    return x if where is None else jnp.where(where, x, 0.0)


@partial(_loss.defjvp, symbolic_zeros=True)
def _loss_jvp(axis: int, at: Any, by: Any) -> tuple[jax.Array, jax.Array]:
    def in_f(v: jax.Array) -> jax.Array:
        return jnp.sum(_kept(_gradient(axis, *at), at[2]) * v, axis=axis)

    return _loss(axis, *at), _tangent(partial(_value, axis), in_f, at, by)


@partial(_gradient.defjvp, symbolic_zeros=True)
def _gradient_jvp(axis: int, at: Any, by: Any) -> tuple[jax.Array, jax.Array]:
    own = jax.grad(lambda *at: jnp.sum(_value(axis, *at)))

    def in_f(v: jax.Array) -> jax.Array:
        diagonal, *outer = (_kept(x, at[2]) for x in _hessian(axis, *at))
        out = diagonal * v
        for a, b in zip(outer[::2], outer[1::2], strict=True):
            out += a * (jnp.sum(b * v, axis=axis, keepdims=True) - b * v)
        return out

    return _gradient(axis, *at), _tangent(own, in_f, at, by)
"""


@dataclass(frozen=True, slots=True)
class Core:
    """The inner functions of a file, how the loss is called, and what they need."""

    definitions: tuple[str, ...]
    call: str
    hyperparameters: tuple[str, ...]
    imports: tuple[tuple[str, str], ...]


def core(stages: Stages, names: FileNames) -> Core:
    """The inner functions for a loss. Raises LossTypeError as `printer.build` and `fallback.without` do."""
    loss, classwise = stages.guarded, stages.guarded.layout == CLASSWISE
    code = printed(stages, SYNTAX, names)
    inputs = ["f", "y", *(["where"] if classwise else []), *code.hyperparameters]
    bodies = [
        [*_sizes(program), *program.lines, f"return {_result(loss, program, roots, i)}"]
        for i, (program, roots) in enumerate(zip(code.programs, code.roots, strict=True))
    ]
    helpers = [text.strip("\n") for name, text in _HELPERS.items() if re.search(rf"\b{name}\(", code.text)]
    call = f"{'_loss' if code.tied else '_value'}({', '.join([*(['axis'] if classwise else []), *inputs])})"
    imports = (("collections.abc", "Callable"), ("functools", "partial"), ("typing", "Any")) if code.tied else ()
    return Core((*helpers, *_functions(bodies, inputs, classwise)), call, code.hyperparameters, imports)


def _functions(bodies: Sequence[list[str]], inputs: list[str], classwise: bool) -> list[str]:
    """The definitions of `_value` and, where there are bodies for them, of the derivatives and the rules."""
    arguments = [f"{n}: jax.Array{' | None' if n == 'where' else ''}" for n in inputs]
    arguments = (["axis: int"] if classwise else []) + arguments
    static = ", nondiff_argnums=(0,)" if classwise else ""
    per = "sample" if classwise else "element"
    value = definition("_value", arguments, "jax.Array", f"The loss of each {per}.", bodies[0])
    if len(bodies) == 1:
        return [value]
    doc = "Its derivative in f, in closed form: JAX's own has fewer digits."
    gradient = definition("_gradient", arguments, "jax.Array", doc, bodies[1])
    wrapper = f"@partial(jax.custom_jvp{static})" if static else "@jax.custom_jvp"
    doc = (
        "Its Hessian in f: the diagonal, then a and b of each a[i] b[j] beside it."
        if classwise
        else ("Its second derivative in f.")
    )
    hessian = definition("_hessian", arguments, "tuple[jax.Array, ...]" if classwise else "jax.Array", doc, bodies[2])
    tied = f"_loss = jax.custom_jvp(_value{static})"
    rules = _ROWS if classwise else _ELEMENTWISE
    return [value, f"{wrapper}\n{gradient}", hessian, f"{tied}\n\n{_TANGENT.rstrip()}", rules.strip("\n")]


def _sizes(program: Program) -> list[str]:
    if "num_classes" not in program.uses:
        return []
    return [
        "present = f.shape[axis] if where is None else jnp.sum(where, axis=axis, keepdims=True)",
        "num_classes = jnp.asarray(present, f.dtype)",
    ]


def _result(loss: Loss, program: Program, roots: Sequence[Expr], which: int) -> str:
    """What a function returns: arrays of the shape and dtype of f, or the loss of each sample."""
    found = [_whole(loss, text, root) for text, root in zip(program.results, roots, strict=True)]
    if loss.layout != CLASSWISE or which == 1:
        return found[0]
    if which == 2:
        return ", ".join(found) if len(found) > 1 else f"({found[0]},)"
    return (
        f"jnp.take({found[0]}, 0, axis=axis)" if loss.reduces_itself else f"jnp.sum({found[0]}, axis=axis, where=where)"
    )


def _whole(loss: Loss, text: str, root: Expr) -> str:
    if not text.isidentifier():
        return f"jnp.full_like(f, {text})"
    return text if whole(root, loss) else f"jnp.broadcast_to({text}, f.shape)"
