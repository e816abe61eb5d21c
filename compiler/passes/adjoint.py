"""Reverse mode on the IR: the derivatives of one number with respect to many leaves, in one pass over the DAG.

`differentiate` goes forward, once for each leaf, and gives short formulas for people. A loss network has dozens of
coefficients, and its second-order products are needed at every meta-step: here the cost is a small multiple of the
loss, whatever their number (Baur and Strassen 1983), and the result is a DAG that shares its parts with
the loss. What comes out is printed as straight-line code (`targets/network.py`).

Every value has a level: it differs from entry to entry, or it is the same for all classes of a sample. An adjoint has
the level of its value: where an entry's contribution flows into a value that the classes share, it is summed over them.
Coefficients and hyper-parameters are shared by the whole batch; their adjoints come as a list of parts, each to be
summed over all its entries.
"""

from __future__ import annotations

from collections.abc import Sequence

from lossc.compiler import ops
from lossc.compiler.errors import LossTypeError
from lossc.compiler.ir import ARG, COEF, LEAF_OPS, ONE, PARAM, ZERO, Expr, F, arg, node, postorder
from lossc.compiler.loss import CLASSWISE, Loss, class_varying
from lossc.compiler.passes.differentiate import class_sum, plus, times

DIRECTION = arg("u")
"""The vector of a second-order product, of the shape of f; it is data, like y."""


class Adjoints:
    """The adjoints of everything under a root, for a seed at the root of the root's level.

    classwise   whether values have a class axis; without one every entry stands for itself
    """

    def __init__(self, root: Expr, seed: Expr, *, classwise: bool) -> None:
        self.classwise = classwise
        self.varying = class_varying(root, seed) if classwise else set()
        self._found: dict[Expr, Expr] = {root: seed}
        self.parts: dict[Expr, list[Expr]] = {}
        for here in reversed(postorder(root)):
            bar = self._found.get(here, ZERO)
            if here.args and bar is not ZERO:
                self._spread(here, bar)

    def of(self, leaf: Expr) -> Expr:
        """The derivative with respect to an argument, entry by entry; 0 if it does not enter."""
        return self._found.get(leaf, ZERO)

    def shared(self, leaf: Expr) -> list[Expr]:
        """The parts whose sums over all entries add up to the derivative with respect to a coefficient."""
        return self.parts.get(leaf, [])

    def _varies(self, here: Expr) -> bool:
        if not self.classwise:
            return True
        if here not in self.varying:
            self.varying |= class_varying(here)
        return here in self.varying

    def _give(self, to: Expr, amount: Expr, *, entrywise: bool) -> None:
        """Add to the adjoint of `to`; `entrywise` says that each class contributes on its own."""
        if amount is ZERO:
            return
        if to.op in (COEF, PARAM):
            spread = entrywise and not self._varies(amount)
            self.parts.setdefault(to, []).append(class_sum(amount) if spread else amount)
            return
        if entrywise and not self._varies(to):
            amount = class_sum(amount)
        self._found[to] = plus(self._found.get(to, ZERO), amount)

    def _spread(self, here: Expr, bar: Expr) -> None:
        record = ops.record(here)
        if record.axis in (ops.REDUCE, ops.MAP):
            self._spread_along_classes(here, bar)
            return
        entrywise = self._varies(here)
        if here.op == "where":
            condition, then, otherwise = here.args
            if _worth(then):
                self._give(then, node("where", condition, bar, ZERO), entrywise=entrywise)
            if _worth(otherwise):
                self._give(otherwise, node("where", condition, ZERO, bar), entrywise=entrywise)
            return
        if not any(_worth(a) for a in here.args) or ops.kind_of(here) == ops.BOOL_KIND:
            return
        if record.partials is None:
            raise LossTypeError("L310", f"`{here.op}` has no closed-form derivative here", hint="use another operator")
        for a, partial in zip(here.args, record.partials(*here.args), strict=True):
            if partial is not None and _worth(a):
                self._give(a, times(bar, partial), entrywise=entrywise)

    def _spread_along_classes(self, here: Expr, bar: Expr) -> None:
        record, (x,) = ops.record(here), here.args
        if record.axis == ops.MAP:
            assert record.partials is not None and record.centre is not None
            own, through = record.partials(x)
            assert own is not None and through is not None
            self._give(x, times(bar, own), entrywise=self._varies(here))
            centre = record.centre(x)
            pulled = times(bar, through)
            pulled = class_sum(pulled) if self._varies(here) else pulled
            self._reduce(x, centre, pulled)
        else:
            self._reduce(x, here, bar)

    def _reduce(self, x: Expr, r: Expr, bar: Expr) -> None:
        """∂r/∂x_k is the weight at class k; an x that the classes share moves r by all of them."""
        weight = ops.record(r).weight
        if weight is None:
            raise LossTypeError("L310", f"`{r.op}` has no closed-form derivative")
        w = weight(x, r)
        if self._varies(x) and x.op not in (COEF, PARAM):
            self._found[x] = plus(self._found.get(x, ZERO), times(bar, w))
        else:
            self._give(x, times(bar, class_sum(w)), entrywise=False)


def _worth(here: Expr) -> bool:
    """Whether a derivative can go further than this: numbers and conditions end it."""
    return here.op in (ARG, COEF, PARAM) or (here.op not in LEAF_OPS and bool(here.args))


def slope_in_f(loss: Loss) -> Expr:
    """∂L/∂f, L the sum of the loss over all entries (one value a sample if it reduces itself), not simplified."""
    return Adjoints(loss.body, ONE, classwise=loss.layout == CLASSWISE).of(F)


def second_order(loss: Loss, slope: Expr, coefficients: Sequence[Expr]) -> tuple[Expr, list[list[Expr]]]:
    """The derivatives of ⟨u, ∂L/∂f⟩ with respect to f and to the coefficients; `slope` is `slope_in_f(loss)`.

    The first is the product of the Hessian in f with u. The second, a list of parts for each coefficient, is that of
    the mixed derivative with u: all that a meta-gradient needs of the loss (thesis, eq. 3.9).
    """
    if slope is ZERO:
        return ZERO, [[] for _ in coefficients]
    found = Adjoints(times(DIRECTION, slope), ONE, classwise=loss.layout == CLASSWISE)
    return found.of(F), [found.shared(c) for c in coefficients]
