"""The canonical form: one representative for all the ways in which a formula can be written.

Flattens and orders sums, products and chains of min/max; folds exact constants; collects like terms and powers; applies
the identities of every operator, under the facts that the roles state. What it never does: expand a power or a product
(numerics.md V24: that loses accuracy), round a constant, or enlarge a domain (`log(f)/log(f)` is not 1 at f = 1).

    >>> print(lossc.parse("log(exp(y)*exp(f)) + 0*y + (f - y) - f").canonicalize())
    f
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lossc.compiler.facts import Facts
from lossc.compiler.ir import CONST, LEAF_OPS, ONE, TWO, Expr, const, fold, node, postorder, rebuild
from lossc.compiler.loss import Loss
from lossc.compiler.passes.canonical.identities import apply
from lossc.compiler.passes.canonical.powers import power
from lossc.compiler.passes.canonical.products import Product
from lossc.compiler.passes.canonical.sums import TooLong, collect

_SUM, _PRODUCT = frozenset({"add", "sub", "neg"}), frozenset({"mul", "div"})


def canonicalize(loss: Loss) -> Loss:
    """The loss with its body in canonical form: equal on the declared domain, defined exactly where the body was.

    A body that only seems to vary over the classes (`f - f + sum_c(y*f)`) stays as written: without `f - f` the loss
    would be reduced in another way.
    """
    made = loss.with_body(canonical_expr(loss.body, Facts(loss)))
    same = (made.layout, made.reduces_itself) == (loss.layout, loss.reduces_itself)
    return made if same else loss


def canonical_expr(root: Expr, facts: Facts) -> Expr:
    """The canonical form of an expression under `facts`. Idempotent; two forms are the same object if they agree.

    A formula whose exact numbers outgrow the limit of literals where nothing can be left unfolded is returned as it is.
    """
    return canonical_exprs([root], facts)[0]


def canonical_exprs(roots: Iterable[Expr], facts: Facts) -> list[Expr]:
    """The canonical form of each of many expressions; what they share is worked on once."""
    canonicalizer = _Canonicalizer(facts)
    return [canonicalizer.of(root) for root in roots]


class _Canonicalizer:
    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.done: dict[Expr, Expr] = {}

    def of(self, root: Expr) -> Expr:
        """The canonical form, or the expression itself where its numbers grow too long."""
        try:
            return polish(self.run(root))
        except TooLong:
            return root

    def run(self, root: Expr) -> Expr:
        order = postorder(root)
        inside = _interior(order, root)
        for here in order:
            if here not in inside and here not in self.done:
                self.done[here] = self._node(here)
        return self.done[root]

    def _node(self, here: Expr) -> Expr:
        if here.op in LEAF_OPS:
            return here
        if here.op in _SUM:
            return self._sum(here)
        if here.op in _PRODUCT:
            return self._product(here)
        args = tuple(self.done[a] for a in here.args)
        if here.op == "square":
            return power(args[0], TWO, self.facts)
        if here.op == "pow":
            return power(args[0], args[1], self.facts)
        return apply(here.op, args, self.facts)

    def _sum(self, root: Expr) -> Expr:
        """Collect the terms of a whole region of + and -, each shared node once, then of what its leaves became."""
        weights: dict[Expr, int] = {root: 1}
        items: dict[Expr, int] = {}
        for here in reversed(_region(root, _SUM)):
            n = weights[here]
            if here.op not in _SUM:
                items[self.done[here]] = items.get(self.done[here], 0) + n
                continue
            signs = (-1,) if here.op == "neg" else (1, 1 if here.op == "add" else -1)
            for a, s in zip(here.args, signs, strict=True):
                weights[a] = weights.get(a, 0) + s * n
        return collect(items, self.facts)

    def _product(self, root: Expr) -> Expr:
        """Collect the factors of a whole region of * and /, counted above and below the bar."""
        counts: dict[Expr, tuple[int, int, bool]] = {root: (1, 0, False)}
        product = Product(self.facts)
        for here in reversed(_region(root, _PRODUCT)):
            up, down, under = counts[here]
            if here.op not in _PRODUCT:
                product.put(self.done[here], up, down, under)
                continue
            below = (down, up, True) if here.op == "div" else (up, down, under)
            for a, (u, d, b) in zip(here.args, ((up, down, under), below), strict=True):
                old = counts.get(a, (0, 0, False))
                counts[a] = (old[0] + u, old[1] + d, old[2] or b)
        return product.build()


def _region(root: Expr, inner: frozenset[str]) -> list[Expr]:
    """The nodes reachable from root through `inner` operators only, children before parents."""
    seen: set[Expr] = set()
    out: list[Expr] = []
    stack: list[tuple[Expr, bool]] = [(root, False)]
    while stack:
        here, left = stack.pop()
        if left:
            out.append(here)
        elif here not in seen:
            seen.add(here)
            stack.append((here, True))
            if here.op in inner:
                stack += [(a, False) for a in reversed(here.args)]
    return out


def _interior(order: list[Expr], root: Expr) -> set[Expr]:
    """Nodes that only ever occur inside a larger sum or product, so that their own form is never asked for."""
    inside = {n for n in order if n.op in _SUM or n.op in _PRODUCT}
    inside.discard(root)
    for here in order:
        region = _SUM if here.op in ("add", "sub", "neg") else _PRODUCT if here.op in _PRODUCT else frozenset()
        for a in here.args:
            if a.op not in region:
                inside.discard(a)
    return inside


def polish(root: Expr) -> Expr:
    """Signs and numbers where one would write them: x*(f - y), 3*y*f, -y*log(f). Canonicalising it changes nothing."""

    def visit(here: Expr, args: list[Expr]) -> Expr:
        made = rebuild(here, args)
        if made.op == "neg":
            flipped = _flip(made.args[0])
            return flipped if flipped is not None else _to_front(made.args[0], lambda x: node("neg", x))
        if made.op == "mul" and made.args[0].op == CONST:
            c, rest = made.args
            flipped = _flip(rest) if c.number < 0 else None
            if flipped is not None:
                c, rest = const(-c.number), flipped
            return rest if c is ONE else _to_front(rest, lambda x: node("mul", c, x))
        return made

    return fold(root, visit)


def _to_front(x: Expr, wrap: Callable[[Expr], Expr]) -> Expr:
    """Apply `wrap` to the first factor of a product or quotient."""
    path: list[Expr] = []
    while x.op in _PRODUCT:
        path.append(x)
        x = x.args[0]
    out = const(-x.number) if x.op == CONST and wrap(x).op == "neg" else wrap(x)
    for parent in reversed(path):
        out = node(parent.op, out, parent.args[1])
    return out


def _flip(x: Expr) -> Expr | None:
    """-x by exchanging the sides of one difference that is a factor of x, or None."""
    path: list[tuple[Expr, int]] = []
    here = x
    while here.op in _PRODUCT:
        if here.args[1].op == "sub":
            path.append((here, 1))
            here = here.args[1]
        else:
            path.append((here, 0))
            here = here.args[0]
    if here.op != "sub":
        return None
    out = node("sub", here.args[1], here.args[0])
    for parent, index in reversed(path):
        out = node(parent.op, *(out if i == index else a for i, a in enumerate(parent.args)))
    return out
