"""The IR: one immutable, interned node class, and the few iterative traversals that everything uses.

An `Expr` is an operation `(op, args)` or a leaf: an argument of the loss (`Arg`), a hyper-parameter (`Param`), a
learnable coefficient φ (`Coef`) or an exact rational constant (`Const`). Equal trees are the same object, so equality
is `is`, hashing is O(1), and a DAG is just sharing. What an `op` means is said in `lossc.compiler.ops`, nowhere here.

No function here recurses: an expression 10,000 levels deep is as safe as a short one.
"""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any, NoReturn, TypeAlias, TypeVar

T = TypeVar("T")
Leaf: TypeAlias = "str | int | Fraction | None"
Operand: TypeAlias = "Expr | int | float | Fraction"

ARG, PARAM, COEF, CONST = "arg", "param", "coef", "const"
LEAF_OPS = frozenset({ARG, PARAM, COEF, CONST})

MAX_DIGITS = 40
"""Digits that a literal may have, and that exact folding may grow to (docs/language.md, limits)."""
MAX_EXP10 = 400
"""Decimal exponent that a literal may have, either sign."""


class Expr:
    """One node. Never constructed directly: use `node`, `arg`, `param`, `coef`, `const`, or operators on nodes.

    `op` names an operator record or a leaf kind, `args` are the children, `value` is the payload of a leaf (a name, an
    index or a `Fraction`). `depth` counts levels (a leaf is 1), `tree_size` the nodes of the tree that the DAG unfolds
    to, `digest` is a stable 128-bit fingerprint of the structure: the same in every process.
    """

    __slots__ = ("__weakref__", "args", "depth", "digest", "op", "tree_size", "value")

    op: str
    args: tuple[Expr, ...]
    value: Leaf
    depth: int
    tree_size: int
    digest: bytes

    def __new__(cls, *_: object) -> Expr:
        raise TypeError("nodes are interned: build them with lossc.compiler.ir.node, arg, param, coef or const")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"Expr is immutable: cannot set {name!r}")

    def __copy__(self) -> Expr:
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> Expr:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("an Expr is not pickled: send its JSON form (lossc.compiler.serialize) instead")

    def __repr__(self) -> str:
        return f"<Expr {summary(self)}>"

    def __add__(self, other: Operand) -> Expr:
        return node("add", self, as_expr(other))

    def __radd__(self, other: Operand) -> Expr:
        return node("add", as_expr(other), self)

    def __sub__(self, other: Operand) -> Expr:
        return node("sub", self, as_expr(other))

    def __rsub__(self, other: Operand) -> Expr:
        return node("sub", as_expr(other), self)

    def __mul__(self, other: Operand) -> Expr:
        return node("mul", self, as_expr(other))

    def __rmul__(self, other: Operand) -> Expr:
        return node("mul", as_expr(other), self)

    def __truediv__(self, other: Operand) -> Expr:
        return node("div", self, as_expr(other))

    def __rtruediv__(self, other: Operand) -> Expr:
        return node("div", as_expr(other), self)

    def __pow__(self, other: Operand) -> Expr:
        return node("pow", self, as_expr(other))

    def __rpow__(self, other: Operand) -> Expr:
        return node("pow", as_expr(other), self)

    def __neg__(self) -> Expr:
        return node("neg", self)

    @property
    def is_leaf(self) -> bool:
        return self.op in LEAF_OPS

    @property
    def name(self) -> str:
        """The name of an `Arg` or `Param` leaf."""
        if self.op not in (ARG, PARAM):
            raise TypeError(f"{self!r} has no name")
        return str(self.value)

    @property
    def index(self) -> int:
        """The index of a `Coef` leaf."""
        if not isinstance(self.value, int):
            raise TypeError(f"{self!r} is not a coefficient")
        return self.value

    @property
    def number(self) -> Fraction:
        """The value of a `Const` leaf."""
        if not isinstance(self.value, Fraction):
            raise TypeError(f"{self!r} is not a constant")
        return self.value


_interned: weakref.WeakValueDictionary[tuple[str, tuple[Expr, ...], Leaf], Expr] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def _intern(op: str, args: tuple[Expr, ...], value: Leaf) -> Expr:
    key = (op, args, value)
    found = _interned.get(key)
    if found is not None:
        return found
    with _lock:
        found = _interned.get(key)
        if found is not None:
            return found
        made: Expr = object.__new__(Expr)
        put = object.__setattr__
        put(made, "op", op)
        put(made, "args", args)
        put(made, "value", value)
        depth, size, tail = 0, 1, b""
        for a in args:
            depth = a.depth if a.depth > depth else depth
            size += a.tree_size
            tail += a.digest
        put(made, "depth", depth + 1)
        put(made, "tree_size", size)
        text = op.encode() + b"\0\0" if value is None else f"{op}\0{value}\0".encode()
        put(made, "digest", hashlib.blake2b(text + tail, digest_size=16).digest())
        _interned[key] = made
        return made


def node(op: str, *args: Expr) -> Expr:
    """The interned node `op(*args)`. Arity is checked by `lossc.compiler.verify`, not here: this must stay cheap."""
    return _intern(op, args, None)


def arg(name: str) -> Expr:
    """The argument `name` of the loss: `y` (target) or `f` (prediction)."""
    return _intern(ARG, (), name)


def param(name: str) -> Expr:
    """The hyper-parameter `name`."""
    return _intern(PARAM, (), name)


def coef(index: int) -> Expr:
    """The learnable coefficient φ_index (thesis, section 3.2.3)."""
    return _intern(COEF, (), index)


def const(value: int | float | Fraction | str) -> Expr:
    """An exact constant. A float stands for its shortest decimal form, so `float(const(x).number) == x` always.

    Raises ValueError for NaN, infinities and numbers beyond the limits of a literal.
    """
    return _intern(CONST, (), as_fraction(value))


def as_fraction(value: int | float | Fraction | str) -> Fraction:
    """`value` as an exact rational, refused (ValueError) if it is not finite or could not be written as a literal."""
    if isinstance(value, float):
        if value - value != 0.0:
            raise ValueError(f"a constant must be finite, got {value}")
        value = repr(float(value))  # float(): a NumPy scalar has another repr
    if isinstance(value, str) and (len(value) > 1000 or len(value.lower().partition("e")[2].lstrip("+-0")) > 3):
        raise ValueError(f"a constant must have at most {MAX_DIGITS} digits and an exponent within ±{MAX_EXP10}")
    number = Fraction(value)
    if not is_writable(number):
        raise ValueError(f"a constant must have at most {MAX_DIGITS} digits and an exponent within ±{MAX_EXP10}")
    return number


def is_writable(number: Fraction) -> bool:
    """Whether the number can be written, exactly, within the limits of literals (as a decimal or as n/d)."""
    bound = 10**MAX_DIGITS
    if abs(number.numerator) < bound and number.denominator < bound:
        return True
    return decimal_parts(number) is not None


def decimal_parts(number: Fraction) -> tuple[int, int] | None:
    """`(digits, exponent)` with number = digits * 10**exponent, if that is exact and within the limits; else None."""
    twos, fives, rest = 0, 0, number.denominator
    if rest.bit_length() > 4 * MAX_EXP10 or abs(number.numerator).bit_length() > 4 * (MAX_EXP10 + MAX_DIGITS):
        return None
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest != 1:
        return None
    exponent = -max(twos, fives)
    digits = number.numerator * 10**-exponent // number.denominator
    while digits and digits % 10 == 0:
        digits, exponent = digits // 10, exponent + 1
    if abs(digits) >= 10**MAX_DIGITS or abs(exponent) > MAX_EXP10:
        return None
    return digits, exponent


def as_expr(value: Operand) -> Expr:
    """`value` itself if it is a node, else the constant."""
    return value if isinstance(value, Expr) else const(value)


ZERO, ONE, TWO, HALF = const(0), const(1), const(2), const(Fraction(1, 2))
Y, F = arg("y"), arg("f")


def postorder(*roots: Expr) -> list[Expr]:
    """Every distinct node under the roots, children before parents, in a deterministic order."""
    seen: set[Expr] = set()
    out: list[Expr] = []
    stack: list[Expr | None] = list(reversed(roots))
    while stack:
        here = stack.pop()
        if here is None:  # the children of the node below are done
            done = stack.pop()
            assert done is not None
            out.append(done)
        elif here not in seen:
            seen.add(here)
            if here.args:
                stack.append(here)
                stack.append(None)
                stack.extend(here.args[::-1])
            else:
                out.append(here)
    return out


def fold(root: Expr, visit: Callable[[Expr, list[T]], T]) -> T:
    """Bottom-up evaluation: `visit(node, results of its children)`, once a distinct node."""
    done: dict[Expr, T] = {}
    for here in postorder(root):
        done[here] = visit(here, [done[a] for a in here.args])
    return done[root]


def preorder(root: Expr) -> Iterator[Expr]:
    """The nodes of the *tree* (shared ones as often as they occur), parents first, as DEAP lists them."""
    stack = [root]
    while stack:
        here = stack.pop()
        yield here
        stack.extend(reversed(here.args))


def rebuild(here: Expr, args: Iterable[Expr]) -> Expr:
    """The same operation on other children."""
    new = tuple(args)
    return here if new == here.args else _intern(here.op, new, here.value)


def substitute(root: Expr, mapping: Mapping[Expr, Expr]) -> Expr:
    """Replace every occurrence of the keys (whole sub-expressions) by their values, all at once."""

    def visit(here: Expr, args: list[Expr]) -> Expr:
        return mapping[here] if here in mapping else rebuild(here, args)

    return fold(root, visit)


def leaves(root: Expr, op: str) -> list[Expr]:
    """The distinct leaves of one kind, in order of first appearance."""
    return [n for n in postorder(root) if n.op == op]


def live_nodes(*roots: Expr) -> set[Expr]:
    """The nodes under the roots that an argument of the loss, y or f, enters: the others are numbers at run time."""
    out: set[Expr] = set()
    for here in postorder(*roots):
        if here.op == ARG or any(a in out for a in here.args):
            out.add(here)
    return out


def is_live(root: Expr) -> bool:
    """Whether y or f enters."""
    return any(n.op == ARG for n in postorder(root))


def dag_size(*roots: Expr) -> int:
    """Distinct nodes: what a compiled form computes."""
    return len(postorder(*roots))


def summary(root: Expr, limit: int = 80) -> str:
    """A short prefix form for messages and `repr`, cut at `limit` characters."""
    out: list[str] = []
    length = 0
    stack: list[Expr | str] = [root]
    while stack and length <= limit:
        here = stack.pop()
        if isinstance(here, str):
            piece = here
        elif not here.args:
            piece = here.op if here.value is None else f"φ{here.value}" if here.op == COEF else str(here.value)
        else:
            piece = f"{here.op}("
            stack.append(")")
            for i, child in enumerate(reversed(here.args)):
                stack.extend([", ", child] if i else [child])
        out.append(piece)
        length += len(piece)
    text = "".join(out)
    return text if len(text) <= limit and not stack else text[:limit] + "…"
