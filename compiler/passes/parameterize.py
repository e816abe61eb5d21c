"""The transition procedure: a symbolic loss becomes a loss network, with a coefficient φ on every edge.

Thesis, section 3.2.3 and algorithm 2: the edges of the expression tree are turned round and each gets a weight, so that
the value of a child arrives at its parent as φ_i times that value. Here the transposed graph needs no structure of its
own: it is the same IR, with `φ_i * child` where `child` stood, in one pass over the nodes of the tree.

Two things differ from the thesis's public code. The edge from the root to the output carries a live coefficient (there
it has one that nothing depends on), and no edge has a coefficient that cannot be learned: below a sign, a comparison or
a condition, on the constant exponent of a power (where 2.001 instead of 2 would make the power of a negative residual
undefined), and on terms that do not reach the gradient with respect to f at all.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from lossc.compiler import ops
from lossc.compiler.errors import LimitError, UsageError
from lossc.compiler.evaluate import evaluate_all
from lossc.compiler.ir import (
    COEF,
    CONST,
    ONE,
    PARAM,
    Expr,
    F,
    Y,
    coef,
    const,
    leaves,
    node,
    postorder,
    rebuild,
    substitute,
)
from lossc.compiler.loss import Loss
from lossc.compiler.ops import call
from lossc.compiler.passes.adjoint import DIRECTION, second_order, slope_in_f
from lossc.compiler.passes.link import apply_link
from lossc.compiler.sampling import points

MAX_EDGES = 1_000
"""Edges of the expression tree that can carry a coefficient."""

LEAK, SHARPNESS = 0.01, 10
"""γ and β of the smooth leaky ReLU (thesis, section 5.2.3)."""


def smooth_leaky_relu(x: Expr, leak: float = LEAK, sharpness: float = SHARPNESS) -> Expr:
    """log(exp(βx) + 1)(1 - γ)/β + γx: smooth, unbounded, nowhere flat (thesis, eq. 5.7)."""
    return const(1 - leak) * (call("softplus", const(sharpness) * x) / const(sharpness)) + const(leak) * x


OUTPUTS: dict[str, Callable[[Expr], Expr]] = {
    "identity": lambda x: x,
    "softplus": lambda x: call("softplus", x),
    "smooth-leaky-relu": smooth_leaky_relu,
}
"""What the root's value goes through. The thesis's softplus (section 3.2.2, constraint 2) makes a loss positive; its
public code never applies it."""


def parameterize(loss: Loss, *, output: str = "identity") -> Loss:
    """The loss with a coefficient φ_i on every edge that can be learned, numbered 0, 1, ... in prefix order.

    With all coefficients 1 it is the loss itself, after the output activation. Hyper-parameters become their defaults.

    Raises UsageError for an unknown output activation (L250), a hyper-parameter without a value (L242) or coefficients
    that are there already (L251); LimitError (L113) for a tree of more than 1,000 nodes.
    """
    if output not in OUTPUTS:
        raise UsageError("L250", f"`{output}` is not an output activation", expected="one of: " + ", ".join(OUTPUTS))
    loss = _bound(loss)
    if leaves(loss.body, COEF):
        raise UsageError("L251", f"{loss.name} has learnable coefficients already")
    if loss.body.tree_size > MAX_EDGES:
        raise LimitError(
            "L113",
            f"the tree of {loss.name} has {loss.body.tree_size:,} nodes; a loss network has at most {MAX_EDGES:,}",
            hint="simplify it first",
        )
    body = OUTPUTS[output](_weighted(loss.body))
    return replace(loss, body=_without_dead(replace(loss, body=body)), params=(), spans={}, text=None)


def edge_coefficients(original: Loss, weighted: Loss, *, output: str = "identity") -> tuple[int | None, ...]:
    """For every node of the tree of `original`, in prefix order, which coefficient the edge above it has; None: none.

    `weighted` is what `parameterize` made of it with this output activation.
    """
    hole = coef(MAX_EDGES)
    found: list[int | None] = []
    stack = [(original.body, _at_hole(OUTPUTS[output](hole), weighted.body, hole))]
    while stack:
        here, there = stack.pop()
        index = None
        if there.op == "mul" and there.args[0].op == COEF:
            index, there = there.args[0].index, there.args[1]
        found.append(index)
        stack += reversed(list(zip(here.args, there.args, strict=True)))
    return tuple(found)


def _at_hole(pattern: Expr, body: Expr, hole: Expr) -> Expr:
    """What stands in the body where the pattern has its hole."""
    stack = [(pattern, body)]
    while stack:
        wanted, here = stack.pop()
        if wanted is hole:
            return here
        stack += zip(wanted.args, here.args, strict=True)
    raise ValueError("the body is not an instance of the pattern")


def count_coefficients(loss: Loss) -> int:
    """How many φ a parameterised loss has."""
    return len(leaves(loss.body, COEF))


def fold_coefficients(loss: Loss, phi: Sequence[float]) -> Loss:
    """The loss with its coefficients turned into numbers, exactly: `phi[i]` for φ_i.

    Raises UsageError (L252) if the numbers are not as many as the coefficients, or one is not finite.
    """
    found = leaves(loss.body, COEF)
    if len(phi) != len(found):
        raise UsageError("L252", f"{loss.name} has {len(found)} coefficients, got {len(phi)} numbers")
    try:
        values = {leaf: const(float(phi[leaf.index])) for leaf in found}
    except ValueError as problem:
        raise UsageError("L252", f"a coefficient of {loss.name} cannot be written: {problem}") from None
    return loss.with_body(substitute(loss.body, values))


def _bound(loss: Loss) -> Loss:
    """The loss with its hyper-parameters at their defaults."""
    missing = [p.name for p in loss.params if p.default is None and leaves(loss.body, PARAM)]
    if missing:
        raise UsageError("L242", f"{loss.name} needs a value for `{missing[0]}`", hint=f"--set {missing[0]}=1.0")
    values = {leaf: const(loss.parameter(leaf.name).default or 0) for leaf in leaves(loss.body, PARAM)}
    return loss.with_body(substitute(loss.body, values))


def _weighted(root: Expr) -> Expr:
    """φ on the edge out of the root and on every edge below that a gradient can follow, over the tree, not the DAG."""
    numbers = _count_from_zero()
    done: list[Expr] = []
    stack: list[tuple[Expr, bool, Expr | None]] = [(root, True, None)]
    while stack:
        here, carries, weight = stack.pop()
        if weight is None and carries:  # on the way down, in prefix order
            weight = next(numbers)
            if here.args:
                stack.append((here, False, weight))
                stack += [(a, _carries(here, i), None) for i, a in reversed(list(enumerate(here.args)))]
                continue
        elif weight is not None:  # its operands are done
            args = done[len(done) - len(here.args) :]
            del done[len(done) - len(here.args) :]
            here = node(here.op, *args)
        done.append(here if weight is None else weight * here)
    return done[0]


def _count_from_zero() -> Iterator[Expr]:
    index = 0
    while True:
        yield coef(index)
        index += 1


def _carries(parent: Expr, i: int) -> bool:
    """Whether the edge into argument `i` is one that a gradient follows."""
    record = ops.record(parent)
    if record.kind_of(i) == ops.BOOL_KIND or record.name in _FLAT:
        return False
    return not (parent.op == "pow" and i == 1 and parent.args[1].op == CONST)


_FLAT = frozenset({r.name for r in ops.OPS.values() if r.gives == ops.BOOL_KIND} | {"sign", "heaviside"})
"""Operators whose slope is 0 wherever it exists."""


def _without_dead(loss: Loss) -> Expr:
    """The body without the coefficients that its gradient with respect to f does not depend on; the rest renumbered."""
    scored = apply_link(loss)
    slope = slope_in_f(scored)
    live = set(leaves(slope, COEF))
    if any(n.op in _INVARIANT for n in postorder(loss.body)):
        live -= _cancelling(scored, slope, sorted(live, key=lambda n: n.index))
    order = sorted(leaves(loss.body, COEF), key=lambda n: n.index)
    kept = [n for n in order if n in live]
    gone = {
        n: n.args[1] for n in postorder(loss.body) if n.op == "mul" and n.args[0].op == COEF and n.args[0] not in live
    }
    return substitute(_substitute_inside(loss.body, gone), {n: coef(i) for i, n in enumerate(kept)})


_INVARIANT = frozenset({"log", "log2", "log10", "logratio", "xlogy", "logaddexp"} | {
    r.name for r in ops.OPS.values() if r.centre is not None or r.name == "logsumexp_c"
})  # fmt: skip
"""Operators that turn a factor, or a shift, into an added constant: its coefficient is in the gradient and cancels."""
_TRIES, _DIGITS, _NOTHING = 4, 40, 1e-25


def _cancelling(loss: Loss, slope: Expr, coefficients: list[Expr]) -> set[Expr]:
    """Those whose parts of the mixed derivative are there and cancel, at every point tried, to 25 digits."""
    import mpmath

    rng = random.Random(0)
    unweighted = loss.with_body(substitute(loss.body, dict.fromkeys(coefficients, ONE)))
    mixed = second_order(loss, slope, coefficients)[1]
    seen: set[Expr] = set()
    alive: set[Expr] = set()
    for batch in points(unweighted, Y, F, count=11 * _TRIES, seed=1)[:2]:
        count = batch.num_classes
        rows = [i for i, kind in enumerate(batch.kinds) if kind != "corner"][:_TRIES]
        for i in rows:
            env: dict[Expr, Any] = {leaf: values[i] for leaf, values in batch.columns.items()}
            env |= {c: rng.uniform(0.8, 1.2) for c in coefficients}
            env[DIRECTION] = rng.uniform(-1, 1) if count is None else [rng.uniform(-1, 1) for _ in range(count)]
            with mpmath.workdps(_DIGITS):
                for c, parts in zip(coefficients, mixed, strict=True):
                    terms = _entries(evaluate_all(parts, env, num_classes=count))
                    size = mpmath.fsum(abs(t) for t in terms)
                    if mpmath.isfinite(size) and size > 0:
                        (seen if abs(mpmath.fsum(terms)) <= _NOTHING * size else alive).add(c)
    return seen - alive


def _entries(values: Iterable[Any]) -> list[Any]:
    return [entry for v in values for entry in (v if isinstance(v, list) else [v])]


def _substitute_inside(root: Expr, gone: dict[Expr, Expr]) -> Expr:
    """The root with each key replaced by its value, in which the same is done."""
    done: dict[Expr, Expr] = {}
    for here in postorder(root):
        done[here] = done[gone[here]] if here in gone else rebuild(here, (done[a] for a in here.args))
    return done[root]
