"""Target "fpcore": a loss and its derivatives as FPCore 2.0, the format of floating-point tools such as Herbie.

The body is the stable form that lossc compiles, `:spec` the formula as it is written, `:pre` what the roles promise.
The gradient and the second derivative in f are functions of their own. A loss over the classes is written out for a
number of classes. Hyper-parameters are arguments.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lossc._version import __version__
from lossc.compiler import ops
from lossc.compiler.errors import LossTypeError, UsageError
from lossc.compiler.ir import COEF, CONST, Expr, F, Y, param, postorder, substitute
from lossc.compiler.literals import write_number
from lossc.compiler.loss import CLASSWISE, IDENTITY, Loss
from lossc.compiler.ops import call
from lossc.compiler.passes.unroll import MAX_CLASSES, PLAIN, leaf_of, unrolled
from lossc.compiler.roles import ROLES, Role
from lossc.compiler.targets.closed_form import in_parts, value_only
from lossc.compiler.targets.derivatives import bend_of, slope_of
from lossc.compiler.targets.fallback import EQUAL, refused, support_of, without
from lossc.compiler.targets.folded import folded
from lossc.compiler.targets.golden import CLASSES, golden
from lossc.compiler.targets.identifiers import identifiers, prose, words_of
from lossc.compiler.targets.options import DEFAULT, Options
from lossc.compiler.targets.pipeline import Stages, prepare
from lossc.compiler.targets.torch_header import about

KEY = "fpcore"

_RESERVED = frozenset({
    "E", "PI", "LN2", "NAN", "TRUE", "FALSE", "INFINITY", "let", "if", "while", "for", "tensor", "array", "cast", "and",
    "or", "not", "digits", "dim", "size", "ref",
    *(re.sub(r"[( ].*", "", r.lower[KEY].lstrip("(")) for r in ops.OPS.values() if KEY in r.lower),
})  # fmt: skip


def emit(loss: Loss, *, classes: int = CLASSES, options: Options = DEFAULT) -> str:
    """The FPCore text of a loss: the value, the gradient and the second derivative in what the model gives.

    Raises UsageError (L207) for a number of classes beyond 2 to 20; LossTypeError: L310 for an operator without a
    derivative in closed form, L341 for learnable coefficients, L345 for an operator that FPCore cannot express.
    """
    if not 2 <= classes <= MAX_CLASSES:
        raise UsageError("L207", f"a loss is written out for 2 to {MAX_CLASSES} classes, not {classes}")
    if any(n.op == COEF for n in postorder(loss.body)):
        raise LossTypeError("L341", "learnable coefficients cannot be exported", hint="substitute them first")
    stages = prepare(loss, options)
    form = _form(stages, classes)
    spec = _single(_linked(stages.written), stages.written, classes, PLAIN)[0]
    slopes = _entries(slope_of(stages), form)
    bends = _entries(bend_of(stages), form)
    value = _single(value_only(stages.guarded.body), stages.guarded, classes, EQUAL)[0]
    parts = [_core(form, "", value, spec)]
    for end, entries in (("gradient", slopes), ("hessian", bends)):
        numbers = [f"-{i}" for i in range(1, classes + 1)] if form.classwise else [""]
        parts += [_core(form, f"-{end}{n}", e, None) for n, e in zip(numbers, entries, strict=True)]
    return "\n\n".join(["\n".join(_comments(stages, form, options)), *parts]) + "\n"


@dataclass(frozen=True, slots=True)
class _Form:
    """The name, the leaves with their identifiers and roles, and how many classes there are."""

    loss: Loss
    name: str
    names: Mapping[Expr, str]
    roles: Mapping[str, Role]
    hyperparameters: Mapping[str, str]
    classes: int

    @property
    def classwise(self) -> bool:
        return self.loss.layout == CLASSWISE


def _form(stages: Stages, classes: int) -> _Form:
    loss = stages.written
    z = "f" if loss.link == IDENTITY else "z"
    roles: dict[str, Role] = {}
    names: dict[Expr, str] = {}
    for leaf, letter, role in ((Y, "y", loss.y), (F, z, stages.guarded.f)):
        each = {leaf: letter}
        if loss.layout == CLASSWISE:
            each = {leaf_of(leaf.name, i): f"{letter}{i}" for i in range(1, classes + 1)}
        names |= each
        roles |= dict.fromkeys(each.values(), ROLES[role])
    called = identifiers((p.name for p in loss.params), {*_RESERVED, *names.values(), "y", "f", "z"})
    names |= {param(n): code for n, code in called.items()}
    roles |= {called[p.name]: ROLES[p.role] for p in loss.params}
    return _Form(loss, "-".join(words_of(loss.name)), names, roles, called, classes)


def _linked(loss: Loss) -> Expr:
    """The formula as it is written, of what the model gives."""
    return loss.body if loss.link == IDENTITY else substitute(loss.body, {F: call(loss.link, F)})


def _single(body: Expr, loss: Loss, classes: int, forms: Mapping[str, object]) -> Sequence[Expr]:
    """The loss of a sample as an expression of single numbers, of operators that FPCore has."""
    if loss.layout != CLASSWISE:
        return without(KEY, body)
    rows = unrolled(in_parts(body) if forms is EQUAL else body, classes, forms)  # type: ignore[arg-type]
    first, *rest = rows
    for row in rest if not loss.reduces_itself else ():
        first = first + row
    return without(KEY, first)


def _entries(slope: Expr, form: _Form) -> Sequence[Expr]:
    """A derivative at each class, or the one of an elementwise loss."""
    if not form.classwise:
        return without(KEY, value_only(slope))
    return without(KEY, *unrolled(in_parts(slope), form.classes, EQUAL))


def lacking() -> Mapping[str, str]:
    """The operators that cannot be written; those along the class axis are written out for a number of classes."""
    missing = (r.name for r in ops.OPS.values() if not r.axis and support_of(KEY, r.name) == "none")
    return dict.fromkeys(missing, "no form in FPCore")


# -- text -------------------------------------------------------------------------------------------------------------


def _core(form: _Form, end: str, root: Expr, spec: Expr | None) -> str:
    """One function; its name and all else that is said of it are properties."""
    loss = form.loss
    words = prose(" ".join(loss.doc.split("\n\n")[0].split())) or loss.name
    rows = [
        f"(FPCore {form.name}{end} ({' '.join(form.names.values())})",
        f" :name {_string(loss.name + end.replace('-', ' '))}",
        f" :description {_string(words)}",
        *([f" :cite ({' '.join(cited(loss.source))})"] if cited(loss.source) else []),
        " :precision binary64",
        *([f" :pre {precondition(form.roles)}"] if precondition(form.roles) else []),
        *([" :spec " + _expression(spec, form, 7)] if spec is not None else []),
        " " + _expression(root, form, 1) + ")",
    ]
    return "\n".join(rows)


def _expression(root: Expr, form: _Form, by: int) -> str:
    """An expression, in a `let*` where something is used more than once."""
    found = folded([root], _template, lambda here: _leaf(here, form.names), name=f"{_free(form)}{{0}}")
    if not found.bindings:
        return found.results[0]
    pad = "\n" + " " * (by + 7)
    bound = pad.join(f"[{name} {text}]" for name, text in found.bindings)
    return f"(let* ({bound})\n{' ' * (by + 2)}{found.results[0]})"


def _free(form: _Form) -> str:
    """What bindings begin with: no argument has such a name."""
    letter = "t"
    while any(re.fullmatch(letter + r"\d+", name) for name in form.names.values()):
        letter += "t"
    return letter


def _template(here: Expr) -> str:
    made = ops.OPS[here.op].lower.get(KEY)
    if made is None:
        raise refused(here, KEY)
    return made


def _leaf(here: Expr, names: Mapping[Expr, str]) -> str:
    return write_number(here.number) if here.op == CONST else names[here]


def precondition(roles: Mapping[str, Role]) -> str:
    """What the roles promise of the arguments, as a condition; "" if nothing."""
    found = [text for name, role in roles.items() if (text := _promise(name, role))]
    return found[0] if len(found) == 1 else f"(and {' '.join(found)})" if found else ""


def _promise(name: str, role: Role) -> str:
    if role.name == "sign":
        return f"(or (== {name} -1) (== {name} 1))"
    low, high = role.range.lo, role.range.hi
    if low > 0:
        return f"(< 0 {name})"
    if role.integer:
        return f"(and (<= 0 {name}) (== {name} (trunc {name})))"
    below, above = low > float("-inf"), high < float("inf")
    shown = [f"{low:g}" if below else "", name, f"{high:g}" if above else ""]
    return f"(<= {' '.join(s for s in shown if s)})" if below or above else ""


def cited(source: str) -> list[str]:
    """The sources as symbols: "thesis, eq. 4.37; Lin et al. (2017)" is thesis-eq-4-37 and lin-et-al-2017."""
    keys = (re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") for part in source.split(";"))
    return list(dict.fromkeys(k if k[0].isalpha() else f"s-{k}" for k in keys if k))


def _string(text: str) -> str:
    plain = "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _comments(stages: Stages, form: _Form, options: Options) -> list[str]:
    """The head: where it comes from, and values to compare with."""
    lines = about(stages, form.name, form.hyperparameters, __version__)
    found = golden(form.loss if options.eps == "none" else stages.protected)
    if not form.classwise or form.classes == CLASSES:
        settings = [found.hyperparameters[p.name] for p in form.loss.params]
        for y, f, value in zip(found.targets, found.inputs, found.values, strict=True):
            point = [*_flat(y), *_flat(f), *settings]
            shown = ", ".join(f"{n} = {v!r}" for n, v in zip(form.names.values(), point, strict=True))
            lines.append(f"{'value':<14}{value!r} at {shown}")
    return [f"; {line}".rstrip() for line in lines]


def _flat(value: float | tuple[float, ...]) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)
