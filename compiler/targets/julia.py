"""Target "julia": a loss as a type of LossFunctions.jl, with value, derivatives and traits.

    include("pseudo_huber.jl")
    loss = PseudoHuberLoss(2.0)
    loss(output, target), deriv(loss, output, target), deriv2(loss, output, target), isconvex(loss)

A loss that is proved to be a function of f - y is a `DistanceLoss`, one of y*f a `MarginLoss`, and then its method of
one number is what is printed; every other one is a `SupervisedLoss` of an output and a target. Traits are verdicts
(`analysis/verdicts`): `true` where proved at the defaults of the hyper-parameters, else `false`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lossc._version import __version__
from lossc.compiler.errors import LossTypeError
from lossc.compiler.ir import ONE, ZERO, Expr, Y, const, substitute
from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.ops.forms.julia import DEFINED, FORMS, KEY, SPECIAL
from lossc.compiler.passes.guard import GuardFacts
from lossc.compiler.roles import ROLES
from lossc.compiler.targets.derivatives import Roots, roots
from lossc.compiler.targets.golden import Golden, golden
from lossc.compiler.targets.identifiers import class_name, identifiers
from lossc.compiler.targets.options import DEFAULT, Options
from lossc.compiler.targets.printer import Syntax, build
from lossc.compiler.targets.scalars import constant_value
from lossc.compiler.targets.templates import fill
from lossc.compiler.targets.torch_header import about

_LARGEST_JUDGED = 500
"""Nodes (unfolded) of a loss whose traits are looked for."""
_PATIENCE = 5.0
"""Seconds for the verdicts, ten times what named losses need; what is not known then counts as `false`."""

DISTANCE, MARGIN, SUPERVISED = "DistanceLoss", "MarginLoss", "SupervisedLoss"

TRAITS = {
    "isconvex": "convex",
    "isstrictlyconvex": "strictly-convex",
    "isstronglyconvex": "strongly-convex",
    "isdifferentiable": "C1",
    "istwicedifferentiable": "C2",
    "islipschitzcont": "lipschitz",
    "issymmetric": "symmetric",
    "isclasscalibrated": "calibrated",
}
"""Traits of LossFunctions.jl and the properties that decide them; those that do not apply are left to its defaults."""

_KEYWORDS = frozenset({
    "baremodule", "begin", "break", "catch", "const", "continue", "do", "else", "elseif", "end", "export", "false",
    "finally", "for", "function", "global", "if", "import", "let", "local", "macro", "module", "quote", "return",
    "struct", "true", "try", "using", "while", "where", "in", "isa", "outer", "mutable", "abstract", "primitive",
    "type",
})  # fmt: skip
_NAMES = frozenset({
    "T", "y", "f", "z", "r", "a", "loss", "output", "target", "difference", "agreement", "deriv", "deriv2", "pi",
    "Float64", "NaN", "zero", "one", "float", "promote_type", "typeof", "error", "isinteger", "isinf", "ifelse", "sign",
    *TRAITS, *FORMS, *SPECIAL.values(),
})  # fmt: skip


def number(value: float | bool) -> str:
    """A constant of the working type; small whole numbers need no conversion."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value.is_integer() and abs(value) < 1e6:
        return str(int(value))
    return "T(NaN)" if value != value else f"T({value!r})"


SYNTAX = Syntax(key=KEY, number=number, split=False, whole=True, comment="# {0}", indent=4)


def emit(loss: Loss, *, selftest: bool = True, options: Options = DEFAULT) -> str:
    """The source text of a Julia file; with `selftest`, `julia file.jl` compares it with golden values.

    Raises LossTypeError: L310 for an operator without a derivative in closed form, L341 for learnable coefficients,
    L345 for a loss over the classes or an operator that Julia has no form for.
    """
    pointwise(loss, KEY)
    form = _form(loss, options)
    special = sorted(used_special(" ".join(line for body in form.bodies for line in body)))
    parts = [
        "\n".join(f"# {line}".rstrip() for line in form.head),
        _imports(form, special),
        _struct(form),
        *(_method(form, kind, body) for kind, body in zip(_KINDS, form.bodies, strict=True)),
        "\n".join(_traits(form)),
        _self_test(form, golden(loss if options.eps == "none" else form.found.stages.protected)) if selftest else "",
    ]
    return "\n\n".join(p for p in parts if p) + "\n"


def pointwise(loss: Loss, target: str) -> None:
    """Raise LossTypeError (L345) for a loss over the classes: the target has losses of single numbers only."""
    if loss.layout == CLASSWISE:
        raise LossTypeError(
            "L345",
            f"`{loss.name[:64]}` runs over the classes, and the target {target} has losses of single numbers only",
            expected="a loss without operators over the classes, and a target y that is no row",
            hint="sympy and fpcore write such a loss out for a number of classes",
        )


def used_special(code: str) -> set[str]:
    """The functions of SpecialFunctions.jl that the code calls."""
    return {name for name in SPECIAL.values() if f"{name}(" in code.replace("_", " ")}


@dataclass(frozen=True, slots=True)
class _Form:
    """What a file holds: the base type, the names, the lines of value, first and second derivative, the verdicts."""

    loss: Loss
    cls: str
    base: str
    found: Roots
    names: Mapping[str, str]
    bodies: Sequence[Sequence[str]]
    head: Sequence[str]
    traits: Mapping[str, str]


def _form(loss: Loss, options: Options) -> _Form:
    for p in loss.params:
        constant_value(const(p.default or 0))
    cls = class_name(loss.name)
    names = identifiers((p.name for p in loss.params), {*_KEYWORDS, *_NAMES, cls})
    whole = roots(loss, KEY, options)
    judged = _judged(whole.stages.linked)
    base = DISTANCE if _proved(judged, "distance") else MARGIN if _proved(judged, "margin") else SUPERVISED
    found = whole if base == SUPERVISED else roots(_of_one_number(loss, base), KEY, options)
    bodies = [lines_of(found.loss, names, root) for root in (found.value, found.gradient, found.hessian)]
    head = about(whole.stages, cls, names, __version__)
    return _Form(loss, cls, base, found, names, bodies, head, judged)


def _of_one_number(loss: Loss, base: str) -> Loss:
    """ψ of L(y, f) = ψ(f - y) or ψ(y*f): the loss at y = 0 or y = 1."""
    return replace(loss, body=substitute(loss.body, {Y: ZERO if base == DISTANCE else ONE}), y="real")


def _judged(linked: Loss) -> Mapping[str, str]:
    """Property -> proved, refuted or unknown; nothing for a loss too large, or with hyper-parameters without values."""
    if any(p.default is None for p in linked.params) or linked.body.tree_size > _LARGEST_JUDGED:
        return {}
    from lossc.compiler.analysis.verdicts.judge import judge

    found = judge(linked, names=[*TRAITS.values(), "distance", "margin"], timeout=_PATIENCE)
    return {name: found[name].status for name in found}


def _proved(judged: Mapping[str, str], name: str) -> bool:
    return judged.get(name) == "proved"


def lines_of(loss: Loss, names: Mapping[str, str], root: Expr) -> list[str]:
    """The lines of a function body: one operation each, the last one the value."""
    program = build(loss, SYNTAX, {"y": "y", "f": "f", **names}, root)
    facts = GuardFacts(loss)
    plain: dict[str, str] = {}
    for step in program.steps:
        low, high, form = DEFINED.get(step.node.op, (1.0, 0.0, ""))
        if low <= high and facts.range(step.node.args[0]).within(low, high):
            plain[step.name] = fill(form, list(step.operands))
    lines = []
    for line in program.lines:
        name = line.split(" = ", 1)[0]
        lines.append(f"{name} = {plain[name]}" if name in plain else line)
    return [*lines, f"T({program.results[0]})"]


# -- text -------------------------------------------------------------------------------------------------------------

_KINDS = ("value", "deriv", "deriv2")


def _imports(form: _Form, special: Sequence[str]) -> str:
    shown = [t for t, name in TRAITS.items() if name in form.traits]
    lines = [
        "using LossFunctions",
        f"import LossFunctions.Traits: {form.base}, deriv, deriv2" + "".join(f", {t}" for t in shown),
    ]
    if special:
        lines.append(f"using SpecialFunctions: {', '.join(special)}")
    return "\n".join(lines)


def _struct(form: _Form) -> str:
    loss = form.loss
    if not loss.params:
        return f"struct {form.cls} <: {form.base} end"
    fields = [form.names[p.name] for p in loss.params]
    checks = [
        f"        {_test(name, p.role)} || error({_text(f'{name} must be {ROLES[p.role].doc}')})"
        for name, p in zip(fields, loss.params, strict=True)
    ]
    given = ", ".join(fields)
    if all(p.default is not None for p in loss.params):
        given = ", ".join(f"{n}={float(p.default or 0)!r}" for n, p in zip(fields, loss.params, strict=True))
    return "\n".join([
        f"struct {form.cls} <: {form.base}",
        *(f"    {n}::Float64" for n in fields),
        f"    function {form.cls}({given})",
        *checks,
        f"        new({', '.join(fields)})",
        "    end",
        "end",
    ])  # fmt: skip


def _test(name: str, role: str) -> str:
    """The condition of a role, for a finite number."""
    bound = ROLES[role].range
    if bound.lo > 0:
        return f"0 < {name} < Inf"
    if bound.lo > float("-inf"):
        return f"{bound.lo:g} <= {name} " + (f"<= {bound.hi:g}" if bound.hi < float("inf") else "< Inf")
    return f"isfinite({name})"


def _text(words: str) -> str:
    return '"' + words.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'


def _method(form: _Form, kind: str, body: Sequence[str]) -> str:
    if form.base == SUPERVISED:
        arguments, working = "output::Number, target::Number", "float(promote_type(typeof(output), typeof(target)))"
        given = ["f = T(output)", "y = T(target)"]
    else:
        one = "difference" if form.base == DISTANCE else "agreement"
        arguments, working, given = f"{one}::Number", f"float(typeof({one}))", [f"f = T({one})"]
    used = "\n".join(body)
    given = [g for g in given if mentions(used, g[0])]
    given += [f"{n} = T(loss.{n})" for n in form.names.values() if mentions(used, n)]
    called = (
        f"function (loss::{form.cls})({arguments})"
        if kind == "value"
        else f"function {kind}(loss::{form.cls}, {arguments})"
    )
    return "\n".join([called, f"    T = {working}", *(f"    {line}" for line in (*given, *body)), "end"])


def mentions(code: str, name: str) -> bool:
    """Whether a name is used in the code, and not as a function."""
    return re.search(rf"(?<![\w.]){re.escape(name)}(?![\w(])", code) is not None


def _traits(form: _Form) -> list[str]:
    defaults = [f"loss.{form.names[p.name]} == {float(p.default)!r}" for p in form.loss.params if p.default is not None]
    at_defaults = " && ".join(defaults)
    lines = []
    for trait, name in TRAITS.items():
        status = form.traits.get(name)
        if status is None:
            continue
        holds = status == "proved"
        if holds and at_defaults:
            code, why = f"{trait}(loss::{form.cls}) = {at_defaults}", "proved there; not judged elsewhere"
        else:
            code = f"{trait}(::{form.cls}) = {'true' if holds else 'false'}"
            why = "proved" if holds else "refuted" if status == "refuted" else "not known to be"
            why += " at the defaults" if status == "refuted" and at_defaults else ""
        lines.append(f"{code}  # {why}")
    return lines


def _self_test(form: _Form, found: Golden) -> str:
    given = ", ".join(repr(found.hyperparameters[p.name]) for p in form.loss.params)
    rows = [
        f"        ({f!r}, {y!r}, {value!r}, {slope!r}),"
        for f, y, value, slope in zip(found.inputs, found.targets, found.values, found.gradients, strict=True)
    ]
    if not rows:
        return "# No self-test: the loss is defined at no point tried."
    return "\n".join([
        "if abspath(PROGRAM_FILE) == @__FILE__",
        f"    loss = {form.cls}({given})",
        "    agrees(a, b) = abs(a - b) <= 1e-9 * max(1e-3, abs(b))",
        "    for (output, target, value, slope) in (",
        *rows,
        "    )",
        "        agrees(loss(output, target), value) || error(\"self-test failed: value at $output\")",
        "        agrees(deriv(loss, output, target), slope) || error(\"self-test failed: slope at $output\")",
        "    end",
        f'    println("ok: {form.cls}: {len(rows)} values and gradients equal the reference to 1e-9")',
        "end",
    ])  # fmt: skip
