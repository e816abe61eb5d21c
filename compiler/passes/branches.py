"""Branches of `where` made harmless where they are not taken (docs/numerics.md, G3).

`where` has the right value whatever its unused branch does, but reverse mode multiplies that branch's slopes by 0,
and 0 * inf is NaN. So a branch that is not certainly tame gets its inputs from a safe point wherever the other side is
taken.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lossc.compiler import ops
from lossc.compiler.errors import LosscError
from lossc.compiler.evaluate import evaluate_all
from lossc.compiler.facts import Facts
from lossc.compiler.ir import (
    ARG,
    COEF,
    CONST,
    LEAF_OPS,
    PARAM,
    Expr,
    coef,
    const,
    is_live,
    live_nodes,
    node,
    postorder,
    rebuild,
    substitute,
)
from lossc.compiler.loss import Loss, varies
from lossc.compiler.roles import ROLES

LEAST = 2.0**-24
"""The least positive float16: what lies below it may be 0 in some dtype."""
_GROWTH = 2.0
_LARGEST_EXPONENT = 10.0
_TRIALS = (1.0, 0.5, 2.0, 0.0, -0.5, -1.0, 3.0, 0.25)
_CLASSES = 3


def mask_branch(branch: Expr, condition: Expr, taken_if: bool, loss: Loss, facts: Facts) -> Expr:
    """The branch, equal wherever `condition` is `taken_if`, and with finite slopes everywhere else."""
    if not is_live(condition) or tame(branch, facts) or is_masked(branch, condition):
        return branch
    atoms = _atoms(branch, condition)
    safe = _safe_point(branch, atoms, loss, facts)
    if safe is None:
        return _mask_operands(branch, condition, taken_if, facts)
    return substitute(branch, {a: _choose(condition, taken_if, a, const(v)) for a, v in safe.items()})


def is_masked(branch: Expr, condition: Expr) -> bool:
    """Whether y and f enter the branch through where(condition, ...) only: then it has been seen to."""
    stack, seen = [branch], set()
    while stack:
        here = stack.pop()
        if here.op == ARG:
            return False
        if here not in seen and not (here.op == "where" and here.args[0] is condition):
            seen.add(here)
            stack += here.args
    return True


def _choose(condition: Expr, taken_if: bool, used: Expr, safe: Expr) -> Expr:
    return node("where", condition, used, safe) if taken_if else node("where", condition, safe, used)


# -- what is tame -----------------------------------------------------------------------------------------------------

_SAME_GROWTH = frozenset({
    "add", "sub", "neg", "abs", "max", "min", "clamp", "where", "relu", "softplus", "logsigmoid", "logcosh", "psqrt",
    "csqrt", "asinh", "sum_c", "mean_c", "max_c", "logsumexp_c", "log_softmax",
})  # fmt: skip
_BOUNDED = frozenset({"sign", "heaviside", "sigmoid", "tanh", "atan", "erf", "erfc", "softmax", "plog", "clog"})
_WILD = 9.0


def tame(branch: Expr, facts: Facts) -> bool:
    """Whether every slope in the branch is certainly finite for all finite y and f, in any dtype.

    Bounds how fast each node grows in its inputs: up to their square, so that slopes grow no faster than the inputs.
    """
    growth: dict[Expr, float] = {}
    live = live_nodes(branch)
    for here in postorder(branch):
        growth[here] = 1.0 if here.op == ARG else 0.0
        if here in live and here.args:
            inner = [growth[a] for a in here.args if ops.kind_of(a) == ops.REAL_KIND]
            growth[here] = _growth(here, inner, facts)
        if growth[here] > _GROWTH:
            return False
    return True


def _growth(here: Expr, inner: list[float], facts: Facts) -> float:
    """The growth of an operation that y or f enters, from that of its operands (numbers do not grow)."""
    if here.op in _SAME_GROWTH:
        return max(inner)
    if here.op in _BOUNDED:
        return 0.0
    if here.op in ("mul", "square"):
        return sum(inner) if here.op == "mul" else 2 * inner[0]
    if here.op == "pow":
        p = here.args[1]
        whole = p.op == CONST and p.number.denominator == 1 and p.number >= 1
        if whole or (p.op == CONST and p.number > 0 and facts.nonnegative(here.args[0])):
            return inner[0] * float(p.number)
        return _WILD
    return _guarded_growth(here, inner, facts)


def _guarded_growth(here: Expr, inner: list[float], facts: Facts) -> float:
    """Operators that are tame only where facts keep their argument away from trouble (a sqrt at 0 gets a guard, G1)."""
    last = facts.range(here.args[-1])
    away = last.total and max(last.lo, -last.hi) >= LEAST
    if here.op in ("sin", "cos"):
        return 0.0 if inner[0] <= 1 else _WILD
    if here.op in ("exp", "expm1"):
        return 0.0 if last.total and last.hi <= _LARGEST_EXPONENT else _WILD
    if here.op == "sqrt":
        return inner[0] / 2 if last.total and last.lo >= 0 else _WILD
    if here.op in ("log", "log2", "log10"):
        return 0.0 if away and last.lo > 0 else _WILD
    if here.op == "log1p":
        return 0.0 if last.total and last.lo >= LEAST - 1 else _WILD
    if here.op == "div":
        numbers_only = not is_live(here.args[1])
        return inner[0] if numbers_only or (away and inner[1] <= 1) else _WILD
    if here.op == "aq":
        return inner[0] if inner[1] <= 1 else _WILD
    return _WILD


# -- a safe point -----------------------------------------------------------------------------------------------------


def _atoms(branch: Expr, condition: Expr) -> list[Expr]:
    """What to replace in the branch: y and f; but whole class-axis values if the condition differs between classes."""
    if not varies(condition):
        return [n for n in postorder(branch) if n.op == ARG]
    out: dict[Expr, None] = {}
    seen: set[Expr] = set()
    stack = [branch]
    while stack:
        here = stack.pop()
        if here in seen:
            continue
        seen.add(here)
        along_classes = here.op not in LEAF_OPS and ops.record(here).axis in (ops.REDUCE, ops.MAP)
        if here.op == ARG or (along_classes and is_live(here)):
            out[here] = None
        else:
            stack.extend(reversed(here.args))
    return list(out)


_FRESH = 10**6
"""Indices of coefficients from here on stand for atoms."""


def _safe_point(branch: Expr, atoms: list[Expr], loss: Loss, facts: Facts) -> dict[Expr, float] | None:
    """Values of the atoms at which the branch and all its slopes are finite, for every hyper-parameter tried."""
    from lossc.compiler.passes.differentiate import gradient

    fresh = {a: a if a.op == ARG else coef(_FRESH + i) for i, a in enumerate(atoms)}
    plain = substitute(branch, fresh)
    try:
        roots = [plain, *(gradient(plain, leaf, summed=True) for leaf in fresh.values())]
    except LosscError:
        roots = [plain]
    settings = list(_settings(plain, loss))
    for values in itertools.product(*(_trials(a, facts) for a in atoms)):
        env: dict[Expr, Any] = dict(zip(fresh.values(), values, strict=True))
        if all(_finite(roots, {**env, **setting}) for setting in settings):
            return dict(zip(atoms, values, strict=True))
    return None


def _trials(atom: Expr, facts: Facts) -> list[float]:
    """Candidates that the atom can really take, the plainest first."""
    bound = facts.range(atom)
    return [v for v in _TRIALS if v in bound and not (v == 0 == bound.lo)] or [1.0]


def _settings(root: Expr, loss: Loss) -> Iterator[Mapping[Expr, float]]:
    """Hyper-parameters to try: the defaults, and values across the whole of each role; coefficients near 1."""
    params = [n for n in postorder(root) if n.op == PARAM]
    weights = [n for n in postorder(root) if n.op == COEF and n.index < _FRESH]
    defaults = {p: loss.parameter(p.name).default for p in params}
    usual = {p: float(d) if d is not None else _spread(loss, p)[0] for p, d in defaults.items()}
    yield usual | dict.fromkeys(weights, 1.0)
    if weights:
        yield usual | {w: (0.8, 1.3, 0.9)[w.index % 3] for w in weights}
    for values in itertools.islice(itertools.product(*(_spread(loss, p) for p in params)), 32 if params else 0):
        yield dict(zip(params, values, strict=True)) | dict.fromkeys(weights, 1.0)


def _spread(loss: Loss, p: Expr) -> list[float]:
    bound = ROLES[loss.parameter(p.name).role].range
    return [v for v in (1.0, 0.3, 30.0, 0.03, 2.0, -2.0, -0.3) if v in bound]


def _finite(roots: Iterable[Expr], env: Mapping[Expr, Any]) -> bool:
    values = evaluate_all(list(roots), env, num_classes=_CLASSES, dps=15)
    flat = itertools.chain.from_iterable(v if isinstance(v, list) else [v] for v in values)
    return all(abs(v) < 1e4 for v in flat)


# -- the fallback: mask the operands ----------------------------------------------------------------------------------

_HARMLESS: dict[str, tuple[int, int]] = {
    **dict.fromkeys(("log", "log2", "log10", "sqrt", "lgamma", "digamma", "trigamma", "pow"), (0, 1)),
    **dict.fromkeys(("log1p", "exp", "expm1", "sinh", "cosh", "asin", "acos", "atanh", "tan"), (0, 0)),
    "acosh": (0, 2),
    "div": (1, 1),
    "xlogy": (1, 1),
    "atan2": (1, 1),
}
"""For operators that can fail: the operand to replace, and a value at which they do not."""


def _mask_operands(branch: Expr, condition: Expr, taken_if: bool, facts: Facts) -> Expr:
    """Where no one point is safe for every hyper-parameter: replace the operand of each operator that can fail."""
    done: dict[Expr, Expr] = {}
    for here in postorder(branch):
        args = [done[a] for a in here.args]
        if here.op in _HARMLESS and is_live(here) and not tame(node(here.op, *here.args), facts):
            index, value = _HARMLESS[here.op]
            if is_live(args[index]):
                args[index] = _choose(condition, taken_if, args[index], const(value))
        done[here] = rebuild(here, args)
    return done[branch]
