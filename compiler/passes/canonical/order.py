"""The order of canonical forms: the same in every process, and pleasant to read (y before f, small before large)."""

from __future__ import annotations

from lossc.compiler.ir import Expr

_LEAF_RANK = {"const": 0, "coef": 1, "param": 2, "arg": 3}


def sort_key(x: Expr) -> tuple[int, int, str, int, bytes]:
    """Where `x` stands among its siblings."""
    rank = _LEAF_RANK.get(x.op, 4)
    if rank == 3:
        return (rank, 0, "", 0 if x.value == "y" else 1, b"")
    if rank < 3:
        return (rank, 0, "" if rank == 1 else str(x.value), x.value if rank == 1 else 0, b"")  # type: ignore[return-value]
    return (rank, x.tree_size, x.op, 0, x.digest)
