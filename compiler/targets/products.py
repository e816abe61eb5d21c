"""Closed forms for libraries that differentiate: they are tied to the loss, so that its derivatives are these.

    forms = closed_forms(prepare(loss), "jax")
    forms.gradient, forms.diagonal, forms.outer

The Hessian of an elementwise loss is its diagonal. Where classes depend on each other, the gradient g depends on other
classes through reductions r over them (`passes/differentiate.py`), each of which adds an outer product:

    (H u)_j = H_jj u_j + Σ_r (∂g_j/∂r) Σ_{k≠j} (∂r/∂f_k) u_k

The diagonal is the one that NumPy and C files have; with a unit vector u it comes out as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from lossc.compiler.errors import LossTypeError
from lossc.compiler.ir import ARG, CONST, PARAM, ZERO, Expr, F, node, postorder, rebuild
from lossc.compiler.loss import CLASSWISE, Loss, varies
from lossc.compiler.ops import call
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.passes.differentiate import couplings, gradient
from lossc.compiler.passes.guard import guard_value
from lossc.compiler.passes.stabilize import stable_expr
from lossc.compiler.targets.closed_form import LARGEST, Cautious, always_defined, decided, value_only
from lossc.compiler.targets.derivatives import bend_of, slope_of
from lossc.compiler.targets.fallback import without
from lossc.compiler.targets.lowering import lower
from lossc.compiler.targets.other_classes import opened
from lossc.compiler.targets.pipeline import Stages
from lossc.compiler.targets.printer import Program, Syntax, build
from lossc.compiler.targets.python_file import FileNames


@dataclass(frozen=True, slots=True)
class ClosedForms:
    """The gradient in f and the diagonal of the Hessian; `outer` has the pairs (∂g_j/∂r, ∂r/∂f_k)."""

    gradient: Expr
    diagonal: Expr
    outer: tuple[tuple[Expr, Expr], ...]

    @property
    def second(self) -> tuple[Expr, ...]:
        """The parts of the Hessian in a row: the diagonal, then the pairs."""
        return (self.diagonal, *(part for pair in self.outer for part in pair))


def closed_forms(stages: Stages, key: str) -> ClosedForms | None:
    """The derivatives of a loss in f, of operators that `key` prints.

    None where an operator has no derivative in closed form, or the target lacks one that is needed for it.
    """
    try:
        pairs = _outer_products(stages) if stages.guarded.layout == CLASSWISE else []
        parts = [slope_of(stages), bend_of(stages), *(part for pair in pairs for part in pair)]
        slope, bend, *rest = without(key, *map(zeros_kept, parts))
    except LossTypeError:
        return None
    return ClosedForms(slope, bend, tuple(zip(rest[::2], rest[1::2], strict=True)))


@dataclass(frozen=True, slots=True)
class Printed:
    """The loss, and where there are closed forms its gradient and Hessian, as programs of a target.

    `roots` are what each program computes; `hyperparameters` are the names that any of them reads.
    """

    roots: tuple[tuple[Expr, ...], ...]
    programs: tuple[Program, ...]
    text: str
    hyperparameters: tuple[str, ...]

    @property
    def tied(self) -> bool:
        """Whether there are closed forms."""
        return len(self.programs) > 1


def printed(stages: Stages, syntax: Syntax, names: FileNames) -> Printed:
    """What a file has to print. Raises LossTypeError as `printer.build` and `fallback.without` do."""
    forms = closed_forms(stages, syntax.key)
    roots: list[tuple[Expr, ...]] = [without(syntax.key, stages.guarded.body)]
    roots += [(forms.gradient,), forms.second] if forms else []
    operands = {"y": "y", "f": "f", **names.hyperparameters}
    programs = tuple(build(stages.guarded, syntax, operands, *those) for those in roots)
    text = "\n".join(line for program in programs for line in (*program.lines, *program.results))
    return Printed(tuple(roots), programs, text, names.mentioned(text))


def whole(root: Expr, loss: Loss) -> bool:
    """Whether a value has the shape of f as it is printed: it differs between classes, or between elements."""
    return varies(root) if loss.layout == CLASSWISE else any(n.op == ARG for n in postorder(root))


def zeros_kept(root: Expr) -> Expr:
    """The same with 0 for q x^(q - k) where the hyper-parameter q is 0 (k > 0), at x = 0 too.

    x^q is 1 there, and has the slope 0; floating point would multiply 0 by an infinity.
    """
    done: dict[Expr, Expr] = {}
    for here in postorder(root):
        made = rebuild(here, (done[a] for a in here.args))
        if here.op == "mul":
            for q in _that_win(here):
                made = node("where", call("eq", q, ZERO), ZERO, made)
        done[here] = made
    return done[root]


def _that_win(product: Expr) -> list[Expr]:
    """The factors q of a product with x^(q - k)."""
    factors = _factors(product)
    exponents = [_shifted(x.args[1]) for x in factors if x.op == "pow"]
    found = [(q, *_shifted(q)) for q in factors if q.op in (PARAM, "add", "sub")]
    return [q for q, leaf, shift in found if leaf.op == PARAM and any(leaf is e and k < shift for e, k in exponents)]


def _factors(product: Expr) -> list[Expr]:
    found, left = [], [product]
    while left:
        here = left.pop()
        if here.op in ("mul", "neg"):
            left.extend(here.args)
        else:
            found.append(here)
    return list(dict.fromkeys(found))


def _shifted(here: Expr) -> tuple[Expr, Fraction]:
    """What is x + shift, as (x, shift)."""
    shift = Fraction(0)
    while here.op in ("add", "sub") and CONST in (here.args[0].op, here.args[1].op):
        left, right = here.args
        if right.op == CONST:
            shift += right.number if here.op == "add" else -right.number
            here = left
        elif here.op == "add":
            shift += left.number
            here = right
        else:
            break
    return here, shift


def _outer_products(stages: Stages) -> list[tuple[Expr, Expr]]:
    """∂g_j/∂r and ∂r/∂f_k, ready to print, of the first form of the loss whose have a value wherever the loss has
    one; else those of the guarded loss, guarded again."""
    for form in _forms(stages):
        facts = Cautious(form)
        pairs = couplings(canonical_expr(_first(form), facts), F)
        if all(part.tree_size <= LARGEST for pair in pairs for part in pair):
            found = [(_stable(through, facts), _stable(column, facts)) for through, column in pairs]
            if all(always_defined(part, stages.guarded) for pair in found for part in pair):
                return [(_printed(a, stages), _printed(b, stages)) for a, b in found]
    apart = opened(stages.guarded)
    pairs = couplings(_first(apart.loss), F)
    return [(_last(apart.closed(a), stages), _last(apart.closed(b), stages)) for a, b in pairs]


def _forms(stages: Stages) -> Iterator[Loss]:
    """Forms of the loss with the same slopes: before the guards too, unless a guard or a policy has a say in them."""
    if not any(one.rule.startswith("G") for one in stages.applied):
        yield from (stages.stable, stages.linked)
    yield stages.guarded


def _first(loss: Loss) -> Expr:
    return gradient(loss.body, F, summed=not loss.reduces_itself)


def _stable(part: Expr, facts: Cautious) -> Expr:
    plain = canonical_expr(decided(canonical_expr(part, facts)), facts)
    return stable_expr(plain, facts)[0]


def _printed(part: Expr, stages: Stages) -> Expr:
    return value_only(lower(stages.guarded.with_body(part)).body)


def _last(part: Expr, stages: Stages) -> Expr:
    """What is 0/0 is given its limit."""
    return value_only(guard_value(lower(replace(stages.guarded, body=decided(part)))).body)
