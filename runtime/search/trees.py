"""Expressions as GP sees them: trees whose nodes are numbered in prefix order. All functions are pure.

The IR shares equal parts; a tree counts each occurrence. Node 0 is the root. Everything is O(depth) or O(size).
"""

from __future__ import annotations

from collections.abc import Iterator

from lossc.compiler.ir import LEAF_OPS, Expr, node


def height(root: Expr) -> int:
    """Edges on the longest way down, as DEAP counts: a leaf has 0."""
    return root.depth - 1


def subtree(root: Expr, index: int) -> Expr:
    """The subtree at a node. Raises IndexError for a number that no node has."""
    here = root
    if not 0 <= index < root.tree_size:
        raise IndexError(f"the tree has {root.tree_size} nodes, and none at {index}")
    while index:
        index -= 1
        for child in here.args:
            if index < child.tree_size:
                here = child
                break
            index -= child.tree_size
    return here


def replaced(root: Expr, index: int, new: Expr) -> Expr:
    """The tree with another subtree at a node; other occurrences of what was there stay."""
    path: list[tuple[Expr, int]] = []
    here = root
    if not 0 <= index < root.tree_size:
        raise IndexError(f"the tree has {root.tree_size} nodes, and none at {index}")
    while index:
        index -= 1
        for i, child in enumerate(here.args):
            if index < child.tree_size:
                path.append((here, i))
                here = child
                break
            index -= child.tree_size
    made = new
    for parent, i in reversed(path):
        made = node(parent.op, *parent.args[:i], made, *parent.args[i + 1 :])
    return made


def indices(root: Expr, *, leaves: bool | None = None) -> list[int]:
    """The numbers of all nodes, or of the leaves or of the operations alone."""
    return [i for i, here in enumerate(nodes(root)) if leaves is None or (here.op in LEAF_OPS) == leaves]


def nodes(root: Expr) -> Iterator[Expr]:
    """Every node of the tree, in prefix order."""
    stack = [root]
    while stack:
        here = stack.pop()
        yield here
        stack.extend(reversed(here.args))
