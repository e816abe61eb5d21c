"""Derivatives in closed form, from the partials of the operator records.

For an elementwise loss this is forward differentiation over the DAG, one pass for each leaf. Along the class axis it
uses that every expression is an elementwise function of its leaves and of a few reductions r_m, so that its Jacobian is
a diagonal plus one outer product for each reduction:

    ∂u_i/∂f_j = δ_ij ∂u_i/∂f_i + Σ_m (∂u_i/∂r_m) G_m[j],     G_m[j] = ∂r_m/∂f_j
    G_m = w_m ∂x_m/∂f + Σ_n sum_c(w_m ∂x_m/∂r_n) G_n          for r_m = R(x_m) with weight w_m

Gradients and Hessian diagonals of coupled losses (softmax cross-entropy and its kin) follow exactly, as expressions.
At kinks the value is the record's subgradient; `where` stays outermost, so an unused branch never leaks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from lossc.compiler import ops
from lossc.compiler.errors import LossTypeError, UsageError
from lossc.compiler.facts import Facts
from lossc.compiler.ir import CONST, LEAF_OPS, ONE, PARAM, ZERO, Expr, arg, node, param, postorder
from lossc.compiler.loss import CLASSWISE, Loss, varies
from lossc.compiler.ops import call
from lossc.compiler.passes.canonicalize import canonical_expr


def differentiate(loss: Loss, wrt: str = "f", order: int = 1) -> Loss:
    """The loss whose body is ∂L/∂wrt (order 1) or ∂²L/∂wrt² (order 2), for wrt `f`, `y` or a hyper-parameter.

    For `f` and `y` the result has the shape of that argument: entry j is the derivative of the sample's loss (summed
    over the classes, if it is classwise) with respect to entry j; order 2 is the diagonal of the Hessian. For a
    hyper-parameter it has the shape of the loss. The result is canonical.

    Raises UsageError for an unknown name or order, LossTypeError where an operator has no closed-form derivative.
    """
    if order not in (1, 2):
        raise UsageError("L203", f"derivatives of order 1 and 2 are offered, not {order}")
    leaf = arg(wrt) if wrt in ("y", "f") else param(loss.parameter(wrt).name)
    reduced = loss.reduces_itself or loss.layout != CLASSWISE
    body = gradient(loss.body, leaf, summed=not reduced)
    if order == 2:
        body = diagonal(body, leaf)
    name = f"{loss.name}_d{wrt}{'' if order == 1 else order}"
    return replace(loss, body=canonical_expr(body, Facts(loss)), name=name, spans={}, text=None)


def gradient(body: Expr, leaf: Expr, *, summed: bool = False) -> Expr:
    """The derivative of `body` (of its sum over the classes, if `summed`) with respect to `leaf`, not yet simplified.

    For an argument: at every class j the derivative with respect to entry j. For a shared leaf (hyper-parameter,
    coefficient): the derivative of each entry of `body`.
    """
    jacobian = _Jacobian(body, leaf)
    return jacobian.own(body, leaf) if not jacobian.reductions else jacobian.total(body, summed)


def diagonal(slopes: Expr, leaf: Expr) -> Expr:
    """∂slopes_j/∂leaf_j at every class j: of a gradient, the diagonal of the Hessian, not yet simplified."""
    return _Jacobian(slopes, leaf).diagonal(slopes)


def couplings(slopes: Expr, leaf: Expr) -> list[tuple[Expr, Expr]]:
    """(∂slopes_j/∂r, ∂r/∂leaf_k) of every reduction r: how entry j depends on entry k ≠ j, not yet simplified.

    Beside its diagonal, the Jacobian of `slopes` is the sum of these outer products.
    """
    jacobian = _Jacobian(slopes, leaf)
    pairs = [(jacobian.own(slopes, r), jacobian.column(r)) for r in jacobian.reductions]
    return [pair for pair in pairs if ZERO not in pair]


def derivative(root: Expr, leaf: Expr) -> Expr:
    """Elementwise derivative of an expression without class-axis operators, not yet simplified."""
    return gradient(root, leaf)


class _Jacobian:
    """The diagonal-plus-outer-products form of the derivative of everything under `body` with respect to `leaf`."""

    def __init__(self, body: Expr, leaf: Expr) -> None:
        self.leaf = leaf
        self.shared = leaf.op in (PARAM, "coef")
        self.reductions = _reductions(body)
        self._columns: dict[Expr, Expr] = {}
        for r in self.reductions:
            self._columns[r] = self._column(r)

    def total(self, body: Expr, summed: bool) -> Expr:
        """The gradient of the loss: of Σ_i body_i if `summed`, of the one value that body has otherwise."""
        out = self.own(body, self.leaf)
        for r in self.reductions:
            through = self.own(body, r)
            if not self.shared and (summed or varies(body)):
                through = class_sum(through)
            out = plus(out, times(through, self._columns[r]))
        return out

    def diagonal(self, body: Expr) -> Expr:
        """∂body_j/∂leaf_j, through the reductions too."""
        out = self.own(body, self.leaf)
        for r in self.reductions:
            out = plus(out, times(self.own(body, r), self._columns[r]))
        return out

    def column(self, r: Expr) -> Expr:
        """∂r/∂leaf_k of a reduction, at every class k."""
        return self._columns[r]

    def own(self, root: Expr, leaf: Expr) -> Expr:
        """The elementwise derivative of `root` with respect to `leaf`, all (other) reductions held fixed."""
        slopes: dict[Expr, Expr] = {}
        for here in postorder(root):
            slopes[here] = ONE if here is leaf else _slope(here, slopes, leaf)
        return slopes[root]

    def _column(self, r: Expr) -> Expr:
        """G_r: how the reduction r changes with the leaf at each class (or with a shared leaf)."""
        (x,) = r.args
        weight = ops.record(r).weight
        if weight is None:
            raise LossTypeError("L310", f"`{r.op}` has no closed-form derivative")
        w = weight(x, r)
        own = times(w, self.own(x, self.leaf))
        out = class_sum(own) if self.shared else own
        for n, column in self._columns.items():
            out = plus(out, times(class_sum(times(w, self.own(x, n))), column))
        return out


def _reductions(body: Expr) -> list[Expr]:
    """All reductions under `body`, the hidden ones of maps included, inner before outer."""
    hidden = [_centre(n) for n in postorder(body) if _is(n, ops.MAP)]
    return [n for n in postorder(*hidden, body) if _is(n, ops.REDUCE)]


def _is(here: Expr, axis: str) -> bool:
    return here.op not in LEAF_OPS and ops.record(here).axis == axis


def _centre(here: Expr) -> Expr:
    centre = ops.record(here).centre
    assert centre is not None
    return centre(here.args[0])


def _slope(here: Expr, slopes: dict[Expr, Expr], leaf: Expr) -> Expr:
    if here.op in LEAF_OPS:
        return ZERO
    record = ops.record(here)
    if record.axis in (ops.REDUCE, ops.SIZE):
        return ZERO
    inner = [slopes[a] for a in here.args]
    if here.op == "where":
        condition, then, otherwise = here.args[0], inner[1], inner[2]
        return then if then is otherwise else node("where", condition, then, otherwise)
    through_centre = record.axis == ops.MAP and _centre(here) is leaf
    if not through_centre and all(s is ZERO for s in inner):
        return ZERO
    if record.partials is None:
        raise LossTypeError(
            "L310", f"`{here.op}` has no closed-form derivative here", hint="differentiate it less often"
        )
    return _chain(record.partials(*here.args), [*inner, ONE] if through_centre else inner)


def _chain(partials: Iterable[Expr | None], inner: list[Expr]) -> Expr:
    out = ZERO
    for partial, slope in zip(partials, inner, strict=False):
        if partial is not None and slope is not ZERO:
            out = plus(out, times(partial, slope))
    return out


def class_sum(x: Expr) -> Expr:
    """sum_c(x), or C*x where x is the same at every class."""
    if x is ZERO:
        return ZERO
    return call("sum_c", x) if varies(x) else times(call("num_classes"), x)


def plus(a: Expr, b: Expr) -> Expr:
    """a + b, without zeros."""
    return b if a is ZERO else a if b is ZERO else a + b


def times(a: Expr, b: Expr) -> Expr:
    """a * b, without ones; an exact 0 wins (partials are finite wherever the record defines them)."""
    if a is ZERO or b is ZERO:
        return ZERO
    if a is ONE:
        return b
    if b is ONE:
        return a
    if a.op == CONST and a.number == -1:
        return -b
    return -a if b.op == CONST and b.number == -1 else a * b
