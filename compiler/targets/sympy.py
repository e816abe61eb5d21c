"""Target "sympy": a Python file that builds the formula, its gradient and its second derivative with SymPy.

    loss, gradient, hessian         expressions, unevaluated: exactly the formula, until `.doit()` or `sp.simplify`
    arguments, defaults             the symbols in order, and the values of hyper-parameters
    function(gradient, "numpy")     any of them as a function of numbers (`sp.lambdify`)

Every symbol has the assumptions that its role allows, and every operator becomes what `lossc.compiler.sympy_bridge`
makes of it; those that SymPy does not have are written by means of functions that it has (`ops/forms/sympy.py`). A loss
over the classes is written out for a number of classes. Derivatives are ours, with our slopes at kinks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from lossc._version import __version__
from lossc.compiler import ops
from lossc.compiler.errors import LimitError, LossTypeError, UsageError
from lossc.compiler.ir import COEF, CONST, Expr, F, Y, param, postorder, substitute
from lossc.compiler.loss import CLASSWISE, IDENTITY, Loss
from lossc.compiler.ops import call
from lossc.compiler.passes.unroll import MAX_CLASSES, leaf_of, unrolled
from lossc.compiler.roles import ROLES, Role
from lossc.compiler.sympy_bridge import MAX_SYMPY_DEPTH, MAX_SYMPY_NODES, assumptions
from lossc.compiler.targets.folded import folded
from lossc.compiler.targets.golden import CLASSES, Golden, golden
from lossc.compiler.targets.identifiers import identifiers
from lossc.compiler.targets.options import Options
from lossc.compiler.targets.pipeline import of_probabilities, prepare
from lossc.compiler.targets.torch_header import about
from lossc.compiler.targets.torch_layout import call_line, indent
from lossc.compiler.targets.torch_selftest import assignment
from lossc.compiler.verify import verify

_TAKEN = frozenset({
    "sp", "y", "f", "z", "loss", "gradient", "hessian", "arguments", "defaults", "function", "Any", "Callable", "what",
    "values", "gradients", "points", "modules", "checked", "number", "wanted", "got", "call", "pairs", "scale",
    "evaluated",
})  # fmt: skip

_POWER = re.compile(r"(?<![\w.)])([\w.]+) \*\* ([\w.]+)(?![\w.(])")
"""A power of simple operands, that ruff writes without spaces."""


def emit(loss: Loss, *, classes: int = CLASSES, from_logits: bool = False, selftest: bool = True) -> str:
    """The text of a Python file that needs SymPy alone; running it compares it with golden values.

    classes      how many classes a loss over the classes is written out for
    from_logits  whether f is what a model gives, and the softmax or sigmoid part of the formula

    Raises UsageError (L207) for a number of classes beyond 2 to 20, LimitError (L111) for a formula that is too large
    for SymPy's recursion, LossTypeError (L341) for learnable coefficients.
    """
    verify(loss)
    if not 2 <= classes <= MAX_CLASSES:
        raise UsageError("L207", f"a loss is written out for 2 to {MAX_CLASSES} classes, not {classes}")
    if any(n.op == COEF for n in postorder(loss.body)):
        raise LossTypeError("L341", "learnable coefficients cannot be exported", hint="substitute them first")
    form = _form(loss, from_logits, classes)
    parts = [
        "\n".join(['"""' + form.head[0], *form.head[1:], '"""']),
        "from __future__ import annotations",
        "from collections.abc import Callable\nfrom typing import Any",
        "import sympy as sp",
        _symbols(form),
        *([_SLOPE] if form.slopes is None or form.bends is None else []),
        _expressions(form),
    ]
    tested = _self_test(form, golden(form.loss) if _comparable(form, classes) else None) if selftest else ""
    return "\n\n".join(parts) + "\n\n\n" + _FUNCTION.strip("\n") + (f"\n\n\n{tested}" if tested else "") + "\n"


def symbol_code(here: str, role: Role) -> str:
    """The code of a symbol with what may be assumed of it."""
    facts = "".join(f", {k}={v}" for k, v in assumptions(role).items() if k != "real" or len(assumptions(role)) == 1)
    return f'sp.Symbol("{here}"{facts})'


@dataclass(frozen=True, slots=True)
class _Form:
    """Leaves and their identifiers, the loss, its derivatives at each class (None: SymPy has to find them)."""

    loss: Loss
    head: list[str]
    names: Mapping[Expr, str]
    value: Expr
    slopes: Sequence[Expr] | None
    bends: Sequence[Expr] | None

    @property
    def classwise(self) -> bool:
        return self.loss.layout == CLASSWISE


def _linked(loss: Loss) -> Loss:
    """The loss of scores, the softmax or sigmoid written into it."""
    if loss.link == IDENTITY:
        return loss
    return replace(loss, body=substitute(loss.body, {F: call(loss.link, F)}), f="logit")


def heading(
    loss: Loss, names: Mapping[str, str], notes: Sequence[tuple[str, str]] = (), *, from_logits: bool = False
) -> list[str]:
    """The lines at the head of a text that holds the formula as it is written."""
    stages = prepare(loss, Options(literal=True, from_logits=from_logits))
    lines = about(stages, loss.name, names, __version__, notes)
    return [*lines[:-1], lines[-1].replace(stages.canonical.body.digest.hex(), loss.canonicalize().body.digest.hex())]


def _form(given: Loss, from_logits: bool, classes: int) -> _Form:
    loss = _linked(given) if from_logits else of_probabilities(given)
    letters = {"y": "y", "f": "z" if from_logits and given.link != IDENTITY else "f"}
    of_classes = {leaf_of(a, i): f"{letters[a]}_{i}" for a in letters for i in range(1, classes + 1)}
    called = identifiers([p.name for p in loss.params], {*_TAKEN, *of_classes.values()})
    leaves, value, notes = {Y: "y", F: letters["f"]}, loss.body, []
    if loss.layout == CLASSWISE:
        rows = unrolled(loss.body, classes)
        leaves, value = of_classes, rows[0]
        notes = [("classes", f"written out for {classes}: y_1, {letters['f']}_1, ...")]
        for row in rows[1:] if not loss.reduces_itself else ():
            value = value + row
    if not _fits(value):
        raise LimitError("L111", f"the formula is too large for SymPy: {value.tree_size:,} nodes, depth {value.depth}")
    names = {**leaves, **{param(n): code for n, code in called.items()}}
    head = heading(given, called, notes, from_logits=from_logits)
    return _Form(loss, head, names, value, _derivatives(loss, 1, classes), _derivatives(loss, 2, classes))


def _fits(root: Expr) -> bool:
    return root.depth <= MAX_SYMPY_DEPTH and root.tree_size <= MAX_SYMPY_NODES


def _derivatives(loss: Loss, order: int, classes: int) -> Sequence[Expr] | None:
    """∂L/∂f or ∂²L/∂f² at each class (one for an elementwise loss); None where SymPy has to find them."""
    try:
        body = loss.grad("f", order).body
    except LossTypeError:
        return None
    if body.tree_size > 10 * MAX_SYMPY_NODES:
        return None
    found = unrolled(body, classes) if loss.layout == CLASSWISE else [body]
    return found if all(e.depth <= MAX_SYMPY_DEPTH and e.tree_size <= 10 * MAX_SYMPY_NODES for e in found) else None


# -- text --------------------------------------------------------------------------------------------------------------


def _symbols(form: _Form) -> str:
    lines = [f"{name} = {symbol_code(name, _role(form.loss, leaf))}" for leaf, name in form.names.items()]
    given = [f"{form.names[param(p.name)]}: {_number(p.default)}" for p in form.loss.params if p.default is not None]
    lines.append(call_line("arguments = ", list(form.names.values()), brackets="()"))
    lines.append(call_line("defaults: dict[sp.Symbol, sp.Rational] = ", given, brackets="{}"))
    return "\n".join(lines)


def _role(loss: Loss, leaf: Expr) -> Role:
    """The role of an argument, at one class or not, or of a hyper-parameter."""
    name, bracket, _ = leaf.name.partition("[")
    return ROLES[loss.y if name == "y" else loss.f] if bracket else loss.role_of(leaf)


def _number(value: Fraction) -> str:
    if value.denominator == 1:
        return f"sp.Integer({value})"
    return f"sp.Rational({value.numerator}, {value.denominator})"


def _leaf(form: _Form, here: Expr) -> str:
    if here.op == CONST:
        whole = here.number.denominator == 1 and 0 <= here.number < 1000
        return str(here.number) if whole else _number(here.number)
    return form.names[here]


def template(here: Expr) -> str:
    """How an operator is written: by the name that its record has in SymPy, or by the form of `ops/forms/sympy.py`."""
    record = ops.OPS[here.op]
    made = record.lower.get("sympy")
    if made is not None:
        return made
    if not record.sympy:
        from lossc.compiler.targets.fallback import refused

        raise refused(here, "sympy")
    holes = ", ".join(f"{{{i}}}" for i in range(record.arity))
    return f"sp.{record.sympy}({holes})" if record.arity else f"sp.{record.sympy}"


def lacking() -> Mapping[str, str]:
    """The operators that cannot be written (those along the class axis are written out): of plug-ins, at most."""
    missing = (r.name for r in ops.OPS.values() if not (r.sympy or "sympy" in r.lower or r.axis))
    return dict.fromkeys(missing, "neither a name in SymPy nor a form")


def _expressions(form: _Form) -> str:
    roots = [form.value, *(form.slopes or ()), *(form.bends or ())]
    made = folded(roots, template, lambda here: _leaf(form, here), brackets=True, width=40)
    texts = iter(_POWER.sub(r"\1**\2", text) for text in made.results)
    lines = [f"{name} = " + _POWER.sub(r"\1**\2", text) for name, text in made.bindings]
    lines.append(f"loss = {_expression(next(texts))}")
    late = []
    for name, found, source in (("gradient", form.slopes, "loss"), ("hessian", form.bends, "gradient")):
        if found is None:
            of = [f"{source}[{i}]" if source != "loss" and form.classwise else source for i in range(len(form.names))]
            each = [f"_slope({one}, {v})" for one, v in zip(of, _variables(form), strict=False)]
            late.append(call_line(f"{name} = ", each, brackets="[]") if form.classwise else f"{name} = {each[0]}")
            continue
        shown = [_expression(next(texts)) for _ in found]
        listed = call_line(f"{name} = ", shown, within=4, brackets="[]")
        lines.append(listed if form.classwise else f"{name} = {shown[0]}")
    body = indent("\n".join(lines).split("\n"))
    return "\n".join(["with sp.evaluate(False):", body, *late])


def _expression(text: str) -> str:
    """A number alone as a number of SymPy."""
    return f"sp.Integer({text})" if text.lstrip("-").isdigit() else text


def _variables(form: _Form) -> list[str]:
    return [name for leaf, name in form.names.items() if leaf is F or leaf.name.startswith("f[")]


_FUNCTION = '''
def function(what: sp.Expr | list[sp.Expr] = loss, modules: str = "numpy") -> Callable[..., Any]:
    """An expression as a function of numbers, in the order of `arguments`; "mpmath" for any number of digits."""
    evaluated = [e.doit() for e in what] if isinstance(what, list) else what.doit()  # which SymPy prints right
    return sp.lambdify(arguments, evaluated, modules)
'''

_SLOPE = '''
def _slope(of: sp.Expr, by: sp.Symbol) -> sp.Expr:
    """A derivative by SymPy, with slope 0 where there is a jump."""
    return sp.diff(of, by).replace(sp.DiracDelta, lambda *_: sp.Integer(0))
'''


def _comparable(form: _Form, classes: int) -> bool:
    return not form.classwise or classes == CLASSES


def _self_test(form: _Form, found: Golden | None) -> str:
    doc = '"""Compare with values and gradients that the reference interpreter of lossc found with 50 digits."""'
    if found is None or not found.values:
        lines = ['"""Nothing to compare: see the message."""', 'print("ok: nothing to compare")']
    else:
        settings = tuple(found.hyperparameters.values())
        points = tuple((*_flat(y), *_flat(f), *settings) for y, f in zip(found.targets, found.inputs, strict=True))
        lines = [
            doc,
            "",
            *assignment("points", points),
            *assignment("values", found.values),
            *assignment("gradients", found.gradients),
            *_CHECKS.strip("\n").split("\n"),
        ]
    main = ["", "", 'if __name__ == "__main__":', "    _self_test()"]
    return "\n".join(["def _self_test() -> None:", indent(lines), *main])


def _flat(value: object) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (float(value),)  # type: ignore[arg-type]


_CHECKS = """
checked = 0
for what, wanted in ((loss, values), (gradient, gradients)):
    call = function(what, "mpmath")
    for point, number in zip(points, wanted):
        try:
            got = call(*point)
        except ZeroDivisionError:  # a formula without a value where its limit is one
            continue
        checked += 1
        pairs = zip(got, number) if isinstance(number, list) else [(got, number)]
        scale = max(1e-3, max(abs(n) for n in number) if isinstance(number, list) else abs(number))
        if not all(abs(float(a) - b) <= 1e-9 * scale for a, b in pairs):
            raise SystemExit(f"self-test failed: expected {number} at {point}, got {got}")
print(f"ok: {checked} values and gradients equal the reference to 1e-9")
"""
