"""An expression as a flat list of nodes, for the pipe to the SymPy worker: children first, referred to by number."""

from __future__ import annotations

from fractions import Fraction

from lossc.compiler.ir import ARG, COEF, CONST, PARAM, Expr, arg, coef, const, node, param, postorder

Nodes = list[list[str | int]]


def encode(root: Expr) -> Nodes:
    """The distinct nodes under `root`: `["const", "1/2"]`, `["arg", "y"]`, `["add", 0, 1]`; the root comes last."""
    number: dict[Expr, int] = {}
    out: Nodes = []
    for here in postorder(root):
        number[here] = len(out)
        if here.op == CONST:
            out.append([CONST, str(here.number)])
        elif here.value is not None:
            out.append([here.op, here.value if isinstance(here.value, int) else str(here.value)])
        else:
            out.append([here.op, *(number[a] for a in here.args)])
    return out


def decode(nodes: Nodes) -> Expr:
    """The expression that `encode` wrote."""
    made: list[Expr] = []
    for op, *rest in nodes:
        if op == CONST:
            made.append(const(Fraction(str(rest[0]))))
        elif op == ARG:
            made.append(arg(str(rest[0])))
        elif op == PARAM:
            made.append(param(str(rest[0])))
        elif op == COEF:
            made.append(coef(int(rest[0])))
        else:
            made.append(node(str(op), *(made[int(i)] for i in rest)))
    return made[-1]
