"""What is certainly true of an expression, given the roles of a loss: its range, and whether it is always defined."""

from __future__ import annotations

from lossc.compiler import interval as iv
from lossc.compiler import ops
from lossc.compiler.interval import Interval
from lossc.compiler.ir import ARG, COEF, CONST, PARAM, Expr, postorder
from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.roles import ROLES


class Facts:
    """Interval facts under the declared roles, computed once a node.

    `range(e)` bounds every value of `e`; its `total` says that `e` is a finite real number everywhere on the declared
    domain. Both are conservative: an answer of "not certain" is always allowed.
    """

    def __init__(self, loss: Loss) -> None:
        self.loss = loss
        self._leaf: dict[Expr, Interval] = {}
        self._done: dict[Expr, Interval] = {}
        self._roles = {"y": loss.y, "f": loss.f}
        self._params = {p.name: p.role for p in loss.params}
        self._classwise = loss.layout == CLASSWISE

    @property
    def key(self) -> tuple[object, ...]:
        """Losses with equal keys have equal facts."""
        return (self._classwise, *sorted(self._roles.items()), *sorted(self._params.items()))

    def range(self, root: Expr) -> Interval:
        """Where the value of `root` lies."""
        found = self._done.get(root)
        if found is not None:
            return found
        for here in postorder(root):
            if here not in self._done:
                self._done[here] = self._compute(here)
        return self._done[root]

    def total(self, root: Expr) -> bool:
        """Whether `root` certainly has a finite value on the whole declared domain."""
        return self.range(root).total

    def positive(self, root: Expr) -> bool:
        return self.range(root).lo > 0

    def nonnegative(self, root: Expr) -> bool:
        return self.range(root).lo >= 0

    def nonpositive(self, root: Expr) -> bool:
        return self.range(root).hi <= 0

    def nonzero(self, root: Expr) -> bool:
        return self.range(root).nonzero

    def is_label(self, root: Expr) -> bool:
        """Whether `root` is the target, and 0 or 1 by its role (softly, something between)."""
        return root.op == ARG and self._roles[root.name] in ("binary", "onehot")

    def sums_to_one(self, root: Expr) -> bool:
        """Whether the values over the classes certainly sum to 1: probabilities, one-hot targets, a softmax."""
        if root.op == "softmax":
            return True
        return self._classwise and root.op == ARG and self._roles[root.name] in ("onehot", "prob")

    def _compute(self, here: Expr) -> Interval:
        if here.op == CONST:
            return constant_range(here)
        if here.op == ARG:
            return ROLES[self._roles.get(here.name, "real")].range
        if here.op == PARAM:
            return ROLES[self._params.get(here.name, "real")].range
        if here.op == COEF:
            return iv.REAL
        return self._refine(here, ops.OPS[here.op].interval(*(self._done[a] for a in here.args)))

    def _refine(self, here: Expr, found: Interval) -> Interval:
        """Sharper than term by term where both operands are the same node: x*x >= 0, x - x = 0."""
        if len(here.args) == 2 and here.args[0] is here.args[1]:
            x = self._done[here.args[0]]
            if here.op == "mul":
                return iv.square(x)
            if here.op in ("sub", "lt", "gt", "ne"):
                return Interval(0.0, 0.0, x.total)
            if here.op in ("le", "ge", "eq"):
                return Interval(1.0, 1.0, x.total)
        return found


def constant_range(here: Expr) -> Interval:
    """The least interval of floats that holds a constant."""
    number = here.number
    try:
        near = float(number)
    except OverflowError:
        return Interval(iv.down(iv.INF), iv.INF) if number > 0 else Interval(-iv.INF, iv.up(-iv.INF))
    return Interval(near if near <= number else iv.down(near), near if near >= number else iv.up(near))
