"""Expressions as GP sees them: trees whose nodes are numbered in prefix order. All functions are pure.

The IR shares equal parts; a tree counts each occurrence. Node 0 is the root. Everything is O(depth) or O(size).
"""

from __future__ import annotations

from lossc.compiler.ir import LEAF_OPS, Expr, node, preorder


def height(root: Expr) -> int:
    """Edges on the longest way down, as DEAP counts: a leaf has 0."""
    return root.depth - 1


def subtree(root: Expr, index: int) -> Expr:
    """The subtree at a node. Raises IndexError for a number that no node has."""
    return _way(root, index)[1]


def replaced(root: Expr, index: int, new: Expr) -> Expr:
    """The tree with another subtree at a node; other occurrences of what was there stay. IndexError as `subtree`."""
    made = new
    for parent, i in reversed(_way(root, index)[0]):
        made = node(parent.op, *parent.args[:i], made, *parent.args[i + 1 :])
    return made


def _way(root: Expr, index: int) -> tuple[list[tuple[Expr, int]], Expr]:
    """The nodes above a node, each with the place of the child that leads on, and the node."""
    if not 0 <= index < root.tree_size:
        raise IndexError(f"the tree has {root.tree_size} nodes, and none at {index}")
    above: list[tuple[Expr, int]] = []
    here = root
    while index:
        index -= 1
        for i, child in enumerate(here.args):
            if index < child.tree_size:
                above.append((here, i))
                here = child
                break
            index -= child.tree_size
    return above, here


def indices(root: Expr, *, leaves: bool | None = None) -> list[int]:
    """The numbers of all nodes, or of the leaves or of the operations alone."""
    return [i for i, here in enumerate(preorder(root)) if leaves is None or (here.op in LEAF_OPS) == leaves]
