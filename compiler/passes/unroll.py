"""A loss over the classes written out for a number of classes: what a target prints that knows single numbers only.

Each argument becomes one leaf a class, each operator along the class axis a chain of sums or maxima. Leaves are
hyper-parameters named `y[1]`, `f[1]`, ..., names that no loss can declare.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lossc.compiler import ops
from lossc.compiler.ir import ARG, LEAF_OPS, Expr, const, node, param, postorder, rebuild
from lossc.compiler.ops import call

MAX_CLASSES = 20

PLAIN: Mapping[str, Callable[[Expr], Expr]] = {
    "mean_c": lambda x: call("sum_c", x) / call("num_classes"),
    "logsumexp_c": lambda x: call("log", call("sum_c", call("exp", x))),
    "softmax": lambda x: call("exp", x) / call("sum_c", call("exp", x)),
    "log_softmax": lambda x: x - call("log", call("sum_c", call("exp", x))),
    "cosoftmax": lambda x: 1 - call("exp", x) / call("sum_c", call("exp", x)),
    "log_cosoftmax": lambda x: call("log", 1 - call("exp", x) / call("sum_c", call("exp", x))),
}
"""The class-axis operators as mathematics has them, for targets that compute with symbols."""


def leaf_of(argument: str, index: int) -> Expr:
    """The leaf for an argument (`y` or `f`) at a class; classes count from 1."""
    return param(f"{argument}[{index}]")


def unrolled(root: Expr, classes: int, forms: Mapping[str, Callable[..., Expr]] = PLAIN) -> list[Expr]:
    """The value of `root` at each class, of single numbers: what is the same at all of them is the same node.

    `forms` gives the operators along the class axis by means of `sum_c`, `max_c` and `num_classes`.
    """
    expanded = _expanded(root, forms)
    rows: dict[Expr, list[Expr]] = {}
    for here in postorder(expanded):
        rows[here] = _row(here, rows, classes)
    return rows[expanded]


def _expanded(root: Expr, forms: Mapping[str, Callable[..., Expr]]) -> Expr:
    done: dict[Expr, Expr] = {}
    for here in postorder(root):
        made = rebuild(here, (done[a] for a in here.args))
        if made.op in ops.OPS and ops.OPS[made.op].axis in (ops.REDUCE, ops.MAP) and made.op in forms:
            made = _inside(forms[made.op](*made.args), made.args, forms)
        done[here] = made
    return done[root]


def _inside(made: Expr, known: tuple[Expr, ...], forms: Mapping[str, Callable[..., Expr]]) -> Expr:
    """A definition with the class-axis operators that it uses itself written out too."""
    done: dict[Expr, Expr] = {n: n for k in known for n in postorder(k)}
    for here in postorder(made):
        if here not in done:
            new = rebuild(here, (done[a] for a in here.args))
            axis = ops.OPS[new.op].axis if new.op in ops.OPS else ""
            done[here] = _inside(forms[new.op](*new.args), new.args, forms) if axis and new.op in forms else new
    return done[made]


def _row(here: Expr, rows: Mapping[Expr, list[Expr]], classes: int) -> list[Expr]:
    if here.op == ARG:
        return [leaf_of(here.name, i) for i in range(1, classes + 1)]
    if here.op in LEAF_OPS:
        return [here] * classes
    if here.op == "num_classes":
        return [const(classes)] * classes
    if here.op in ("sum_c", "max_c"):
        first, *rest = rows[here.args[0]]
        for one in rest:
            first = node("add" if here.op == "sum_c" else "max", first, one)
        return [first] * classes
    return [rebuild(here, row) for row in zip(*(rows[a] for a in here.args), strict=True)] or [here] * classes
