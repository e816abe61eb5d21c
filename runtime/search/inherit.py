"""Coefficients that a child takes over from its parents: learning goes on where theirs ended (Lamarckian inheritance).

A child shares most of its tree with its parents. Every edge that it shares has the parent's learned coefficient, every
other one starts at 1, as in a loss that is new.
"""

from __future__ import annotations

from collections.abc import Sequence

from lossc.compiler.ir import Expr

Learned = tuple[Expr, Sequence[float | None]]
"""An expression, and for every node of its tree, in prefix order, the coefficient of the edge above it."""


def inherited(child: Expr, parents: Sequence[Learned]) -> list[float | None]:
    """For every node of the child's tree, in prefix order, the coefficient that a parent has learned for its edge.

    From the root down as long as child and first parent agree; below the first difference a subtree that some parent
    has keeps its coefficients, and what no parent has gets None.
    """
    pool: dict[Expr, Sequence[float | None]] = {}
    for tree, values in parents:
        for start, here in _places(tree):
            pool.setdefault(here, values[start : start + here.tree_size])
    out: list[float | None] = []
    stack: list[tuple[Expr, Learned | None]] = [(child, parents[0] if parents else None)]
    while stack:
        here, twin = stack.pop()
        if (twin is None or twin[0] is not here) and here.args and here in pool:
            twin = (here, pool[here])
        if twin is not None and twin[0] is here:
            out += twin[1]
            continue
        if twin is not None and (twin[0].op != here.op or not here.args):
            twin = None
        out.append(None if twin is None else twin[1][0])
        stack += reversed(list(zip(here.args, _below(twin, len(here.args)), strict=True)))
    return out


def _places(tree: Expr) -> list[tuple[int, Expr]]:
    """Every node with its number in prefix order."""
    out: list[tuple[int, Expr]] = []
    stack = [tree]
    while stack:
        here = stack.pop()
        out.append((len(out), here))
        stack += reversed(here.args)
    return out


def _below(twin: Learned | None, arity: int) -> list[Learned | None]:
    """The operands of a node with their parts of its coefficients."""
    if twin is None:
        return [None] * arity
    tree, values = twin
    out: list[Learned | None] = []
    place = 1
    for a in tree.args:
        out.append((a, values[place : place + a.tree_size]))
        place += a.tree_size
    return out
