"""Defence in depth: emitted Python is checked, node by node, against what the printer can write, before it is run here.

The printer writes code from the IR alone, so nothing else should ever come out; this says so again from the other end.
Allowed are plain definitions, arithmetic, and calls of a short list of names. No imports but torch, NumPy,
scipy.special and the standard library's math, no attribute that begins with an underscore, no lambda, no comprehension.
"""

from __future__ import annotations

import ast
import re
from functools import cache

from lossc.compiler import ops
from lossc.compiler.errors import UsageError
from lossc.compiler.targets.inplace import METHODS

IMPORTS = frozenset({
    "from __future__ import annotations", "import math", "from typing import Any", "import torch",
    "from torch import Tensor, nn", "import numpy as np", "from scipy import special",
})  # fmt: skip

_NAMES = frozenset({
    "TypeError", "ValueError", "SystemExit", "abs", "bool", "float", "isinstance", "len", "max", "min", "print",
    "range", "slice", "sum", "super", "tuple", "type", "each", "unpacked", "whole",
})  # fmt: skip
_METHODS = frozenset({
    "all", "any", "backward", "broadcast_to", "copy_", "detach", "dim", "element_size", "float", "is_complex",
    "is_floating_point", "is_tracing", "masked_fill_", "numel", "register_buffer", "reshape",
    "save_for_backward", "scatter", "scatter_",
    "squeeze", "sum", "to", "tolist", "unsqueeze", "view", "zero_", "__init__",
}) | METHODS  # fmt: skip
_TORCH = frozenset({
    "torch.amax", "torch.arange", "torch.autograd.grad", "torch.broadcast_to", "torch.compiler.is_compiling",
    "torch.empty_like", "torch.exp", "torch.finfo", "torch.full", "torch.func.debug_unwrap", "torch.gather",
    "torch.is_autocast_enabled", "torch.is_grad_enabled", "torch.isfinite", "torch.log", "torch.logsumexp",
    "torch.mean", "torch.movedim", "torch.mul", "torch.ones_like", "torch.softmax", "torch.squeeze", "torch.sum",
    "torch.tensor", "torch.where", "torch.zeros", "torch.zeros_like", "math.copysign", "math.log2", "math.pow",
    "np.asarray", "np.broadcast_to", "np.sum", "np.vdot",
})  # fmt: skip
_VALUES = frozenset({
    "torch.autograd.Function", "torch.autograd.forward_ad.unpack_dual", "torch.bfloat16", "torch.bool",
    "torch.contiguous_format", "torch.dtype", "torch.float16", "torch.float32", "torch.float64", "torch.int16",
    "torch.int32", "torch.int64", "torch.jit", "math.inf", "math.nan",
    "math.pi", "math.e", "nn.Module", "nn.Parameter", "np.inf", "np.pi", "np.e",
})  # fmt: skip
_ATTRIBUTES = frozenset({
    "__name__", "apply", "device", "dtype", "grad", "min", "requires_grad", "saved_tensors", "settings", "shape",
    "slope", "tangent", "type",
})  # fmt: skip
_BASES = (["nn.Module"], ["torch.autograd.Function"])
_DECORATORS: tuple[list[str], ...] = ([], ["staticmethod"])

_NODES: tuple[type[ast.AST], ...] = (
    ast.Module, ast.Import, ast.ImportFrom, ast.alias, ast.FunctionDef, ast.ClassDef, ast.arguments, ast.arg,
    ast.Return, ast.Assign, ast.AnnAssign, ast.AugAssign, ast.For, ast.Continue, ast.Starred,
    ast.If, ast.Raise, ast.Expr, ast.Call, ast.keyword, ast.Name, ast.Attribute,
    ast.Constant, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Tuple, ast.List, ast.Subscript,
    ast.Slice, ast.JoinedStr, ast.FormattedValue, ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
)  # fmt: skip
_PLAIN = (ast.Constant, ast.expr_context, ast.operator, ast.BinOp, ast.Assign, ast.Tuple)
"""The commonest nodes, which are only what they hold."""


@cache
def allowed_calls() -> frozenset[str]:
    """Dotted names that emitted code may call: those of the operator records, and the few of the frame around them."""
    keys = ("torch", "fused", "numpy", "math")
    text = " ".join(t for r in ops.OPS.values() for key in keys for t in [r.lower.get(key, "")])
    return _TORCH | frozenset(re.findall(r"\b((?:torch|math|np|special)(?:\.\w+)+)\(", text))


def audit(source: str) -> ast.Module:
    """The syntax tree of `source`, if it is code that lossc can have emitted; UsageError (L244) if not."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as problem:
        raise _refused(f"it is not Python: {problem}") from None
    nodes = _nodes(tree)
    local = {n.name for n in nodes if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    for here in nodes:
        if not _allowed(type(here)):
            raise _refused(f"it holds a {type(here).__name__}", here)
        if not isinstance(here, _PLAIN):
            _check(here, local)
    return tree


def _nodes(tree: ast.Module) -> list[ast.AST]:
    """All nodes, as `ast.walk` gives them, in a fraction of its time."""
    found: list[ast.AST] = [tree]
    for here in found:  # which grows meanwhile
        for name in here._fields:
            value = getattr(here, name, None)
            if isinstance(value, list):
                found += [v for v in value if isinstance(v, ast.AST)]
            elif isinstance(value, ast.AST):
                found.append(value)
    return found


_KNOWN: dict[type[ast.AST], bool] = {}


def _allowed(kind: type[ast.AST]) -> bool:
    found = _KNOWN.get(kind)
    if found is None:
        found = _KNOWN[kind] = issubclass(kind, _NODES)
    return found


def _check(here: ast.AST, local: set[str]) -> None:
    if isinstance(here, (ast.Import, ast.ImportFrom)) and ast.unparse(here) not in IMPORTS:
        raise _refused(f"`{ast.unparse(here)}`", here)
    if isinstance(here, ast.ClassDef) and here.decorator_list:
        raise _refused("it holds a decorator", here)
    if isinstance(here, ast.FunctionDef) and [ast.unparse(d) for d in here.decorator_list] not in _DECORATORS:
        raise _refused("it holds a decorator", here)
    if isinstance(here, ast.ClassDef) and [ast.unparse(b) for b in here.bases] not in _BASES:
        raise _refused(f"the class {here.name} is neither an nn.Module nor an autograd function", here)
    if isinstance(here, ast.Attribute):
        _check_attribute(here)
    if isinstance(here, ast.Name) and here.id.startswith("__") and here.id not in ("__all__", "__name__"):
        raise _refused(f"it uses `{here.id}`", here)
    if isinstance(here, ast.Call):
        _check_call(here, local)


def _check_attribute(here: ast.Attribute) -> None:
    whole = _dotted(here)
    if here.attr.startswith("_") and here.attr not in ("__init__", "__name__"):
        raise _refused(f"it uses `.{here.attr}`", here)
    root = whole.split(".")[0]
    if root in ("torch", "math", "nn", "np", "special"):
        known = allowed_calls() | _VALUES
        if whole not in known and not any(k.startswith(whole + ".") for k in known):
            raise _refused(f"it uses `{whole}`", here)
    elif root != "self" and here.attr not in _ATTRIBUTES | _METHODS:
        raise _refused(f"it uses `.{here.attr}`", here)


def _dotted(here: ast.expr) -> str:
    """`a.b.c` for a chain of plain names, else nothing before the last name."""
    names: list[str] = []
    while isinstance(here, ast.Attribute):
        names.append(here.attr)
        here = here.value
    return ".".join(reversed([*names, here.id if isinstance(here, ast.Name) else ""]))


def _check_call(here: ast.Call, local: set[str]) -> None:
    function = here.func
    if isinstance(function, ast.Name):
        allowed = function.id in _NAMES or function.id in local
    elif isinstance(function, ast.Attribute):
        allowed = function.attr in _METHODS or _dotted(function) in allowed_calls()
    else:  # the module that make(...) returned, in the self-test
        allowed = isinstance(function, ast.Call) and isinstance(function.func, ast.Name) and function.func.id == "make"
    if not allowed:
        raise _refused(f"it calls `{ast.unparse(function)}`", here)


def _refused(why: str, at: ast.AST | None = None) -> UsageError:
    place = f" (line {at.lineno})" if at is not None and hasattr(at, "lineno") else ""
    return UsageError("L244", f"this source is not code that lossc emits: {why}{place}")
