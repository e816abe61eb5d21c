"""The targets: what each is called, who emits it, how its file tests itself. One record a target, found by name.

The built-in ones are listed here. A package adds others through the entry point group `lossc.targets`, whose objects
are `Target` records (docs/targets.md has an example); they are loaded when a target is first asked for by a name that
is not built in, or when all are listed. A plug-in that fails to load is a warning that names it, and never more.

    jax = "lossc_jaxy:TARGET"        # in its pyproject.toml, under [project.entry-points."lossc.targets"]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

from lossc.compiler.errors import UsageError
from lossc.compiler.plugins import load_entry_points, warn_of
from lossc.compiler.targets.settings import SELFTEST, Option

if TYPE_CHECKING:
    from lossc.compiler.loss import Loss

GROUP = "lossc.targets"
Emitter: TypeAlias = "Callable[..., str | bytes]"
NATIVE, FALLBACK, NONE = "native", "fallback", "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One target.

    name      how it is asked for: `lossc export LOSS --to NAME`
    title     what it is, in one line
    suffix    how the name of its file ends
    emit      `(loss, **options) -> str | bytes`: the whole file, the same to the byte for the same loss; or where
              that is, as "module:function", imported when it is first needed. Raises LossTypeError for a loss that it
              cannot express, and never gives wrong code
    key       which template of an operator record it prints (`OpRecord.lower`); "" if it prints none
    lacks     operator -> why there is no form of it; only for a target without a key
    library   what its file imports, as (module, distribution); ("", "") if nothing has to be installed
    check     the command line that runs the self-test of a file, () if it has none: "{python}" and "{file}" are filled
              in, "{out}" is a path for a program, "{checker}" the module of lossc that tests a file which cannot run
              by itself; commands are separated by "&&"
    options   the keyword options that `emit` takes: `Option` records for those that `lossc export --option` gives too
              and `lossc targets` lists, bare names for those that only Python gives
    """

    name: str
    title: str
    suffix: str
    emit: Emitter | str
    key: str = ""
    lacks: Mapping[str, str] | Callable[[], Mapping[str, str]] | None = None
    library: tuple[str, str] = ("", "")
    check: tuple[str, ...] = ()
    options: tuple[str | Option, ...] = ()

    @property
    def takes(self) -> tuple[str, ...]:
        """The names of the keyword options of `emit`."""
        return tuple(o if isinstance(o, str) else o.name for o in self.options)

    @property
    def declared(self) -> tuple[Option, ...]:
        """The options that the command line gives."""
        return tuple(o for o in self.options if not isinstance(o, str))

    def emitter(self) -> Emitter:
        """The function that emits, imported now if need be."""
        if not isinstance(self.emit, str):
            return self.emit
        module, _, name = self.emit.partition(":")
        found: Emitter = getattr(import_module(module), name)
        return found

    def support(self, op: str) -> str:
        """How the target has an operator: "native", "fallback" (by means of others) or "none"."""
        from lossc.compiler.targets.fallback import support

        return support(self, op)


_PYTHON = ("{python}", "{file}")
_CLASSES = Option("classes", "how many classes a loss over classes is written out for", int)
_HERE = "lossc.compiler.targets."


def _lacking(module: str) -> Callable[[], Mapping[str, str]]:
    """The `lacks` of a target without a key: what its module says, imported when asked for."""
    return lambda: dict(import_module(_HERE + module).lacking())


BUILT_IN: dict[str, Target] = {
    t.name: t
    for t in (
        Target(
            name="torch",
            title="a standalone PyTorch file: nn.Module, function, self-test",
            suffix=".py",
            emit=_HERE + "torch:emit",
            key="torch",
            library=("torch", "torch"),
            check=_PYTHON,
            options=(SELFTEST, "options"),
        ),
        Target(
            name="numpy",
            title="value, gradient and Hessian diagonal as functions of NumPy arrays",
            suffix=".py",
            emit=_HERE + "numpy:emit",
            key="np",
            library=("numpy", "numpy"),
            check=_PYTHON,
            options=(SELFTEST, "options"),
        ),
        Target(
            name="jax",
            title="a pure JAX function with optax's conventions",
            suffix=".py",
            emit=_HERE + "jax:emit",
            key="jax",
            library=("jax", "jax"),
            check=_PYTHON,
            options=(SELFTEST, "options"),
        ),
        Target(
            name="c",
            title="a header of C99, C++ and CUDA: float and double, scalars and arrays",
            suffix=".h",
            emit=_HERE + "c99:emit",
            key="c",
            library=("", "a C compiler"),
            check=("{cc}", "-std=c99", "-x", "c", "-DLOSSC_SELF_TEST", "{file}", "-o", "{out}", "-lm", "&&", "{out}"),
            options=(SELFTEST, "options"),
        ),
        Target(
            name="tensorflow",
            title="a TensorFlow function for eager mode, tf.function and XLA",
            suffix=".py",
            emit=_HERE + "tensorflow:emit",
            key="tensorflow",
            library=("tensorflow", "tensorflow-cpu"),
            check=_PYTHON,
            options=(SELFTEST, "options"),
        ),
        Target(
            name="keras",
            title="a keras.losses.Loss of keras.ops, for every backend of Keras 3",
            suffix=".py",
            emit=_HERE + "keras:emit",
            key="keras",
            library=("keras", "keras"),
            check=_PYTHON,
            options=(SELFTEST, "options"),
        ),
        Target(
            name="onnx",
            title="an ONNX model of the loss and its gradient, opset 18",
            suffix=".onnx",
            emit=_HERE + "onnx.emit:emit",
            key="onnx",
            library=("onnxruntime", "onnxruntime"),
            check=("{python}", "-m", "{checker}", "{file}"),
            options=(
                Option("dtype", "of all real numbers", choices=("float32", "float64")),
                Option("reduction", "of the output `loss`", choices=("mean", "sum", "none")),
                Option("gradient", "whether there is an output `gradient`", bool),
                Option("hessian", "whether there is an output `hessian`, the diagonal", bool),
                Option("labels", "class indices as targets, not rows; for y: onehot", bool),
                Option("parameters", "what hyper-parameters are", choices=("constants", "inputs")),
                Option("rank", "the number of axes of the prediction", int),
                "options",
            ),
        ),
        Target(
            name="xgboost",
            title="objective and metric for XGBoost, of NumPy alone",
            suffix=".py",
            emit=_HERE + "boosting.xgboost:emit",
            key="np",
            library=("numpy", "numpy"),
            check=_PYTHON,
            options=(SELFTEST, "options"),
        ),
        Target(
            name="lightgbm",
            title="objective and metric for LightGBM, of NumPy alone",
            suffix=".py",
            emit=_HERE + "boosting.lightgbm:emit",
            key="np",
            library=("numpy", "numpy"),
            check=_PYTHON,
            options=(SELFTEST, "options"),
        ),
        Target(
            name="catboost",
            title="objective and metric for CatBoost, of NumPy alone",
            suffix=".py",
            emit=_HERE + "boosting.catboost:emit",
            key="np",
            library=("numpy", "numpy"),
            check=_PYTHON,
            options=(SELFTEST, "options"),
        ),
        Target(
            name="torch-function",
            title="one plain PyTorch function, as torch.nn.functional has them",
            suffix=".py",
            emit=_HERE + "torch_plain_function:emit",
            key="torch",
            library=("torch", "torch"),
            check=_PYTHON,
            options=(SELFTEST, "options"),
        ),
        Target(
            name="lightning",
            title="a small nn.Module for Lightning and timm: smoothing, and the rows of Mixup",
            suffix=".py",
            emit=_HERE + "lightning:emit",
            key="torch",
            library=("torch", "torch"),
            check=_PYTHON,
            options=(SELFTEST, "options"),
        ),
        Target(
            name="huggingface",
            title="compute_loss_func for the Trainer of Hugging Face transformers",
            suffix=".py",
            emit=_HERE + "huggingface:emit",
            key="torch",
            library=("torch", "torch"),
            check=_PYTHON,
            options=(SELFTEST, "options"),
        ),
        Target(
            name="latex",
            title="the formula in LaTeX, or an equation with its gradient",
            suffix=".tex",
            emit=_HERE + "latex:to_latex",
            options=(
                Option(
                    "environment",
                    "what the equation stands in",
                    choices=("", "equation", "equation*", "align", "align*", "aligned"),
                ),
                Option("name", "an index of the left-hand side"),
                Option("gradient", "whether the derivative in f follows", bool),
            ),
        ),
        Target(
            name="markdown",
            title="a page: formula, roles, hyper-parameters, gradient, source, values",
            suffix=".md",
            emit=_HERE + "markdown:emit",
            options=(
                Option("gradient", "whether the derivative in f is shown", bool),
                Option("values", "whether there is a table of values", bool),
            ),
        ),
        Target(
            name="sympy",
            title="the formula and its derivatives as SymPy expressions",
            suffix=".py",
            emit=_HERE + "sympy:emit",
            lacks=_lacking("sympy"),
            library=("sympy", "sympy"),
            check=_PYTHON,
            options=(
                _CLASSES,
                Option("from_logits", "f is the scores: the link is part of the formula", bool),
                SELFTEST,
            ),
        ),
        Target(
            name="julia",
            title="a type of LossFunctions.jl with derivatives and traits",
            suffix=".jl",
            emit=_HERE + "julia:emit",
            key="julia",
            library=("", "Julia with LossFunctions.jl"),
            check=("julia", "{file}"),
            options=(SELFTEST, "options"),
        ),
        Target(
            name="pysr",
            title="the elementwise_loss of PySR and SymbolicRegression.jl",
            suffix=".jl",
            emit=_HERE + "pysr:emit",
            lacks=_lacking("pysr"),
            options=(Option("weighted", "whether it takes the weight of an example too", bool), "options"),
        ),
        Target(
            name="fpcore",
            title="FPCore 2.0, the benchmark format of floating-point tools",
            suffix=".fpcore",
            emit=_HERE + "fpcore:emit",
            lacks=_lacking("fpcore"),
            options=(_CLASSES, "options"),
        ),
    )
}
"""The targets of lossc itself, in the order in which they are shown."""


@cache
def plugins() -> Mapping[str, Target]:
    """The targets of installed plug-ins, by name. Those that cannot be loaded are warned of and left out."""
    found: dict[str, Target] = {}
    for origin, record in load_entry_points(GROUP, Target):
        if record.name in BUILT_IN or record.name in found:
            warn_of(origin, f"there is a target `{record.name}` already")
        else:
            found[record.name] = record
    return found


def all_targets() -> dict[str, Target]:
    """Every target by name: the built-in ones, then those of plug-ins."""
    return {**BUILT_IN, **plugins()}


def target_of(name: str) -> Target:
    """The target of that name. Raises UsageError (L240) if there is none."""
    found = BUILT_IN.get(name) or plugins().get(name)
    if found is None:
        from difflib import get_close_matches

        known = list(all_targets())
        close = get_close_matches(name, known, n=1)
        hint = f"did you mean `{close[0]}`?" if close else "`lossc targets` shows them"
        raise UsageError("L240", f"`{name[:64]}` is not a target", expected="one of: " + ", ".join(known), hint=hint)
    return found


def emit(loss: Loss, target: str = "torch", **options: Any) -> str | bytes:
    """The file of `loss` for `target`; `options` are those of the target (torch: `selftest=False`).

    Raises UsageError for an unknown target (L240) or option (L245), and what the target raises for a loss that it
    cannot express.
    """
    record = target_of(target)
    unknown = [name for name in options if name not in record.takes]
    if unknown:
        expected = "one of: " + ", ".join(record.takes) if record.takes else "none"
        raise UsageError("L245", f"`{unknown[0]}` is not an option of the target {target}", expected=expected)
    return record.emitter()(loss, **options)
