"""A boosting file: the numbers of the loss, a class with what a library calls, the default instance, and a self-test.

    >>> print(loss.emit("xgboost"))

The class is a frozen dataclass of the hyper-parameters, so that objectives can be pickled, compared and tuned. It needs
NumPy alone: nothing of the library is imported.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from lossc.compiler.errors import LossTypeError
from lossc.compiler.loss import CLASSWISE, IDENTITY, SIGMOID, Loss
from lossc.compiler.targets.boosting import parts
from lossc.compiler.targets.boosting.constant import Constant, best_constant
from lossc.compiler.targets.boosting.libraries import LIBRARIES, Library, methods
from lossc.compiler.targets.boosting.policy import MAJORISER, Policy, choose, in_scores
from lossc.compiler.targets.boosting.selftest import self_test
from lossc.compiler.targets.derivatives import Roots, roots
from lossc.compiler.targets.fallback import without
from lossc.compiler.targets.golden import golden
from lossc.compiler.targets.identifiers import class_name
from lossc.compiler.targets.numpy import _EACH as EACH
from lossc.compiler.targets.numpy import _LGAMMA as LGAMMA
from lossc.compiler.targets.options import Options
from lossc.compiler.targets.printer import Program, Syntax, build
from lossc.compiler.targets.python_file import FileNames, definition, head, names_for, options_of
from lossc.compiler.targets.torch_layout import indent, signature

SYNTAX = Syntax(key="np", wrapped={"where": (1, 2)}, value="np.float64({0})", whole=True, indent=8)
_FLOOR = "1e-16"
_ROLES_OF_CLASSES = ("onehot", "prob")


@dataclass(frozen=True, slots=True)
class Made:
    """All that is decided of a file before it is written."""

    library: Library
    loss: Loss
    found: Roots
    policy: Policy
    constant: Constant
    names: FileNames
    cls: str

    @property
    def classwise(self) -> bool:
        return self.loss.layout == CLASSWISE

    @property
    def has_default(self) -> bool:
        """Whether every hyper-parameter has a default, so that there is an instance to offer."""
        return all(p.default is not None for p in self.loss.params)


def emit(loss: Loss, library: str, *, selftest: bool = True, options: Options) -> str:
    """The source text of the file of `loss` for a library.

    Raises LossTypeError: L346 for a loss that no booster can be given, else what `derivatives.roots` raises.
    """
    if loss.layout == CLASSWISE and loss.y not in _ROLES_OF_CLASSES:
        raise LossTypeError(
            "L346", f"a booster has one score a class and one label; a loss with `y: {loss.y}` over classes has more",
            expected="a loss with `y: onehot`, or one without class-axis operators",
        )  # fmt: skip
    scored = in_scores(loss)
    found = roots(scored, SYNTAX.key, options)
    names = names_for(loss, parts.LIBRARY_NAMES)
    made = Made(LIBRARIES[library], loss, found, choose(loss, found), best_constant(loss), names, class_name(loss.name))
    code = _code(made)
    closed = made.constant.how != "search"
    test = self_test(made.cls, names, made.policy, golden(scored), scored, closed) if selftest else ""
    top = [head(found.stages, names, _conventions(made)), _imports(code)]
    return "\n\n".join(top) + "\n\n\n" + "\n\n\n".join([*code, *([test] if test else [])]) + "\n"


# -- the head ---------------------------------------------------------------------------------------------------------


def _conventions(made: Made) -> list[tuple[str, str]]:
    """The rows of the head that say what the file is for."""
    rows = [("library", f"{made.library.title}; nothing of it is imported")]
    if made.loss.f == "positive":
        rows.append(("link", "f = exp(score): in the formulas above, f is the score"))
    usage = made.library.usage_of_classes if made.classwise else made.library.usage
    if made.loss.y in ("binary", "sign") and made.library.usage_of_two:
        usage = made.library.usage_of_two
    lines = [line.replace("{{", "{").replace("}}", "}") for line in usage]
    return [*rows, ("usage", lines[0]), *(("", line.strip()) for line in lines[1:])]


def _imports(code: list[str]) -> str:
    """Imports; annotations are not made text, since dataclasses could not read it in a module loaded by its path."""
    text = "\n".join(code)
    standard = ["import math"] if "math." in text else []
    standard += ["from collections.abc import Callable"] if "Callable[" in text else []
    standard += ["from dataclasses import dataclass"]
    standard += ["from typing import Any"] if ": Any" in text else []
    return "\n".join([*standard, "", "import numpy as np"])


# -- the code ---------------------------------------------------------------------------------------------------------


def _code(made: Made) -> list[str]:
    kernels = [_kernel(made, "_value", "The loss of each example.", False), _derivatives(made)]
    text = "\n".join(kernels)
    cls = _class(made)
    arrays = parts.LABELS if made.classwise else parts.SIGNS if made.loss.y == "sign" else parts.ARRAYS
    helpers = [arrays, parts.WEIGHTED, *([parts.MEAN] if "_mean(" in cls else [])]
    helpers += [parts.MEDIAN] if "_median(" in cls else []
    helpers += [parts.SEARCH] if "_least(" in cls else []
    helpers += [LGAMMA] if "_lgamma" in text else []
    helpers += [EACH] if "_each(" in text else []
    return [*(h.strip("\n") for h in helpers), *kernels, cls, *([_offers(made)] if made.has_default else [])]


def _kernel(made: Made, name: str, doc: str, derivatives: bool) -> str:
    """A function of y, f and the hyper-parameters: the value, or the gradient and the curvature."""
    loss = made.found.loss
    roots_ = [made.found.value]
    if derivatives:
        bend = made.policy.curvature
        chosen = made.found.hessian if bend is None else without(SYNTAX.key, bend)[0]
        roots_ = [made.found.gradient, chosen]
    program = build(loss, SYNTAX, {"y": "y", "f": "f", **made.names.hyperparameters}, *roots_)
    lines = [*_before(program), *program.lines]
    spread = [f"np.broadcast_to({r}, f.shape)" for r in program.results]
    if derivatives:
        lines.append(f"return {spread[0]}, {spread[1]}")
    elif not made.classwise:
        lines.append(f"return {spread[0]}")
    else:
        lines.append(f"return {spread[0]}[:, 0]" if loss.reduces_itself else f"return np.sum({spread[0]}, axis=1)")
    returns = "tuple[np.ndarray, np.ndarray]" if derivatives else "np.ndarray"
    arguments = ["y: np.ndarray", "f: np.ndarray", *(f"{n}: float" for n in made.names.hyperparameters.values())]
    body = ['with np.errstate(all="ignore"):', *(f"    {line}" for line in lines)]
    return definition(name, arguments, returns, doc, body)


def _before(program: Program) -> list[str]:
    text = "\n".join(program.lines)
    found = ["axis = 1"] if "axis=axis" in text else []
    return found + (["num_classes = np.float64(f.shape[1])"] if "num_classes" in program.uses else [])


def _derivatives(made: Made) -> str:
    return _kernel(made, "_derivatives", "The gradient and the second derivative (see `derivatives`).", True)


def _class(made: Made) -> str:
    """The class with the hyper-parameters, what every file has, and the methods of the library."""
    fields = options_of(made.loss, made.names)
    doc = f'"""The loss, its derivatives and its best constant, in the conventions of {made.library.title}."""'
    settings = "".join(f", self.{n}" for n in made.names.hyperparameters.values())
    shared = [
        "def losses(self, y_true: object, raw: object) -> np.ndarray:",
        '    """The loss of each example."""',
        "    y, f = _arrays(y_true, raw)",
        f"    return _value(y, f{settings})",
        "",
        *_derivatives_method(made, settings),
        "",
        *_init_score(made),
        "",
        *_predict(made),
    ]
    own = methods(made.library, made.classwise, made.names.function)
    parts_ = [indent([doc]), *([indent(fields)] if fields else []), indent(shared), own]
    return "\n".join(
        [f"@dataclass{'(frozen=True)' if made.library.frozen else ''}", f"class {made.cls}:", "\n\n".join(parts_)]
    )


def _derivatives_method(made: Made, settings: str) -> list[str]:
    """Gradient and curvature with the weights, and why the curvature is what it is."""
    p = made.policy
    comment = textwrap.wrap(f"{p.name}: {p.because}", 104, break_on_hyphens=False)
    guarded = p.judged and bool(made.loss.params)
    lines = [
        "def derivatives("
        "self, y_true: object, raw: object, sample_weight: object = None) -> tuple[np.ndarray, np.ndarray]:",
        '    """The gradient and the (diagonal) second derivative in the raw scores, times the weights."""',
        "    y, f = _arrays(y_true, raw)",
        f"    slope, bend = _derivatives(y, f{settings})",
        *(f"    # {line}" for line in comment),
    ]
    if p.name == MAJORISER and not guarded:
        lines.append(f"    bend = np.full_like(slope, {p.constant!r})")
    elif guarded:
        given = f"np.full_like(slope, {p.constant!r})" if p.name == MAJORISER else "bend"
        lines.append("    # That is proved for the default hyper-parameters; with others |L'| is the least.")
        lines.append(f"    bend = {given} if self == {made.cls}() else np.maximum(bend, np.abs(slope))")
    lines.append(f"    return _weighted(slope, sample_weight), _weighted(np.maximum(bend, {_FLOOR}), sample_weight)")
    return lines


def _predict(made: Made) -> list[str]:
    loss = made.loss
    lines = ["def predict(self, raw: object) -> np.ndarray:"]
    if loss.f == "positive":
        return [
            *lines,
            '    """The prediction that raw scores stand for: their exponential."""',
            "    return np.exp(np.asarray(raw, np.float64))",
        ]
    if made.found.stages.written.link == IDENTITY:
        return [
            *lines,
            '    """The prediction that raw scores stand for: themselves."""',
            "    return np.asarray(raw, np.float64)",
        ]
    if loss.link == SIGMOID:
        return [
            *lines, '    """The probabilities that raw scores stand for."""',
            "    return np.exp(-np.logaddexp(0.0, -np.asarray(raw, np.float64)))",
        ]  # fmt: skip
    return [
        *lines, '    """The probabilities that raw scores stand for: a softmax over the classes."""',
        "    scores = np.asarray(raw, np.float64)",
        "    mass = np.exp(scores - np.max(scores, axis=1, keepdims=True))",
        "    return mass / np.sum(mass, axis=1, keepdims=True)",
    ]  # fmt: skip


def _offers(made: Made) -> str:
    """The default instance, and its methods as names of the module."""
    lines = [f"LOSS = {made.cls}()"]
    for name, method in made.library.offers:
        held = method.replace("{metric}", made.names.function)
        lines.append(f"{name} = LOSS.{held}" if held else f"{name} = LOSS")
    return "\n".join(lines)


# -- the constant -----------------------------------------------------------------------------------------------------


def _init_score(made: Made) -> list[str]:
    """The best constant score."""
    doc = f"The best constant score: {made.constant.because}."
    if made.classwise:
        return _init_scores(made, doc)
    lines = ["def init_score(self, y_true: object, sample_weight: object = None) -> float:", f'    """{doc}"""']
    closed = _closed(made)
    if closed and not made.loss.params:
        return [*lines, *(f"    {line}" for line in closed)]
    if closed:
        lines[1] = f'    """{doc[:-1]};'
        lines.append('    with other hyper-parameters than the default ones, by search."""')
        lines.append(f"    if self == {made.cls}():")
        lines += [f"        {line}" for line in closed]
    return [*lines, *(f"    {line}" for line in _search(made))]


def _closed(made: Made) -> list[str]:
    c = made.constant
    targets = "np.asarray(y_true, np.float64)"
    if c.how == "median":
        return [f"return _median({targets}, sample_weight)"]
    if c.how != "mean":
        return []
    if "share" not in c.code:
        line = f"mean = _mean({targets}, sample_weight)"
        return [f"return _mean({targets}, sample_weight)"] if c.code == "mean" else [line, f"return float({c.code})"]
    values = f"{targets} > 0.0" if made.loss.y == "sign" else targets
    return [
        f"share = min(max(_mean({values}, sample_weight), 1e-16), 1.0 - 1e-16)",
        f"return float({c.code})",
    ]


def _search(made: Made) -> list[str]:
    """The lines that look for the constant."""
    loss = made.loss
    grid = "scores" if loss.y in ("binary", "sign") or loss.f in ("prob", "logit") else "values"
    return [
        "values, index = np.unique(np.asarray(y_true, np.float64), return_inverse=True)",
        "given = sample_weight is not None and np.size(sample_weight) > 0",
        "mass = np.bincount(index, np.asarray(sample_weight, np.float64) if given else None)",
        *parts.GRIDS["logarithms" if loss.f == "positive" else grid],
        "return _least(lambda c: _mean(self.losses(values, np.full(len(values), c)), mass), grid)",
    ]


def _init_scores(made: Made, doc: str) -> list[str]:
    """For classes: one score a class."""
    arguments = ["self", "y_true: object", "sample_weight: object = None", "num_class: int | None = None"]
    lines = [
        *signature("init_score", arguments, "np.ndarray", by=4).replace("\n    ", "\n").lstrip().split("\n"),
        f'    """{doc}"""',
        "    labels = np.asarray(y_true).astype(np.int64)",
        "    given = sample_weight is not None and np.size(sample_weight) > 0",
        "    weight = np.asarray(sample_weight, np.float64) if given else None",
        "    mass = np.bincount(labels, weight, minlength=num_class or 0)",
        "    scores = np.log(np.maximum(mass / np.sum(mass), 1e-16))",
    ]
    if made.constant.how == "priors":
        return [*lines, "    return scores"]
    return [
        *lines,
        "    every = np.arange(len(scores))",
        "",
        "    def cost(one: int, c: float) -> float:",
        '        """The mean loss where class `one` has the score c."""',
        "        moved = np.where(every == one, c, scores)",
        "        return _mean(self.losses(every, np.tile(moved, (len(every), 1))), mass)",
        "",
        "    for _ in range(30):",
        "        old = scores.copy()",
        "        for one in range(len(scores)):",
        "            grid = scores[one] + np.linspace(-4.0, 4.0, 17)",
        "            scores[one] = _least(lambda c, one=one: cost(one, c), grid)",
        "        if np.max(np.abs(scores - old)) < 1e-9:",
        "            break",
        "    return scores",
    ]
