"""Between our IR and SymPy's, both ways, without ever evaluating text.

`Bridge.to_sympy` builds with `evaluate=False`, so that SymPy changes nothing on the way in (its automatic evaluation
turns `log(f)/log(f)` into 1 and would compute `9**9**9**9`). Names never cross: y and f become the symbols `y` and `f`,
the n-th hyper-parameter `p{n}`, a coefficient `c{n}`; SymPy pastes the names of symbols into code that it executes
(sympy#24990). An operator that SymPy does not have is an undefined function that it cannot look into.

`Bridge.from_sympy` gives an `Expr` or raises `BridgeRefusal` with the reason: a function that is not ours, a complex or
infinite number, a `Piecewise`, a constant or exponent beyond the limits of the language.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from functools import cached_property
from typing import Any, TypeAlias

from lossc.compiler import ops
from lossc.compiler.ir import ARG, COEF, CONST, HALF, LEAF_OPS, ONE, PARAM, Expr, const, is_writable, node, postorder
from lossc.compiler.roles import ROLES, Role
from lossc.compiler.verify import MAX_EXPONENT

SympyObject: TypeAlias = Any

MAX_SYMPY_DEPTH = 120
"""SymPy recurses (`str`, `diff`, hashing): deeper formulas are not handed to it (docs/numerics.md, finding 9)."""
MAX_SYMPY_NODES = 1_000
"""SymPy walks DAGs as trees, so the size that counts is the tree's."""

_OPAQUE = "op_"
_NOT_REAL = {
    "ImaginaryUnit": "a complex number",
    "NaN": "an undefined number",
    "ComplexInfinity": "an infinite number",
    "Infinity": "an infinite number",
    "NegativeInfinity": "an infinite number",
}
_PLAIN = frozenset({"add", "sub", "mul", "div", "neg", "pow", "square", "sqrt"})


class BridgeRefusal(ValueError):
    """An expression that cannot cross; `str()` is the reason."""


def to_sympy(root: Expr, roles: Mapping[Expr, Role] | None = None) -> SympyObject:
    """`root` as a SymPy expression (see `Bridge`)."""
    return Bridge([root], roles).to_sympy(root)


class Bridge:
    """One translation table: the leaves of some expressions and the symbols that stand for them.

    `roles` gives what SymPy may assume of a leaf (real without it). The assumptions only help SymPy to propose;
    nothing that it proposes is believed (`lossc.compiler.passes.accept`).
    """

    def __init__(self, roots: Iterable[Expr], roles: Mapping[Expr, Role] | None = None) -> None:
        self._roles = dict(roles or {})
        self._symbols: dict[Expr, SympyObject] = {}
        for here in postorder(*roots):
            if here.op in (ARG, PARAM, COEF):
                self._symbols[here] = self._symbol(here)
        self._leaves = {symbol: here for here, symbol in self._symbols.items()}
        self._opaque: dict[str, SympyObject] = {}

    @cached_property
    def _sympy(self) -> Any:
        import sympy

        return sympy

    def symbol(self, leaf: Expr) -> SympyObject | None:
        """The symbol that stands for a leaf, if the expressions had it."""
        return self._symbols.get(leaf)

    def _symbol(self, leaf: Expr) -> SympyObject:
        if leaf.op == ARG:
            name = leaf.name
        elif leaf.op == COEF:
            name = f"c{leaf.value}"
        else:
            name = f"p{sum(s.op == PARAM for s in self._symbols)}"
        return self._sympy.Symbol(name, **assumptions(self._roles.get(leaf, ROLES["real"])))

    # -- there ------------------------------------------------------------------------------------------------------

    def to_sympy(self, root: Expr) -> SympyObject:
        """The SymPy form of `root`, unevaluated. BridgeRefusal if it is too large or deep for SymPy's recursion."""
        if root.depth > MAX_SYMPY_DEPTH or root.tree_size > MAX_SYMPY_NODES:
            limits = f"{MAX_SYMPY_NODES:,} nodes, depth {MAX_SYMPY_DEPTH}"
            raise BridgeRefusal(f"too large for SymPy: {root.tree_size:,} nodes, depth {root.depth} (limits: {limits})")
        done: dict[Expr, SympyObject] = {}
        for here in postorder(root):
            done[here] = self._build(here, [done[a] for a in here.args])
            hash(done[here])  # cached bottom-up, so that no later hash has to recurse through the whole tree
        return done[root]

    def _build(self, here: Expr, args: list[SympyObject]) -> SympyObject:
        sympy = self._sympy
        if here.op == CONST:
            return sympy.Rational(here.number.numerator, here.number.denominator)
        if here.op in LEAF_OPS:
            return self._symbols[here]
        if here.op in _PLAIN:
            return self._build_plain(here.op, args)
        name = ops.OPS[here.op].sympy
        if name in ("pi", "E"):
            return getattr(sympy, name)
        if name:
            return getattr(sympy, name)(*args, evaluate=False)
        return self._undefined(here.op)(*args)

    def _build_plain(self, op: str, args: list[SympyObject]) -> SympyObject:
        sympy = self._sympy

        def times(a: SympyObject, b: SympyObject) -> SympyObject:
            return sympy.Mul(a, b, evaluate=False)

        def power(a: SympyObject, b: SympyObject) -> SympyObject:
            return sympy.Pow(a, b, evaluate=False)

        def pow_(a: SympyObject, b: SympyObject) -> SympyObject:
            return sympy.exp(b, evaluate=False) if a is sympy.E else power(a, b)  # as our canonical form has it

        build: dict[str, Callable[..., SympyObject]] = {
            "add": lambda a, b: sympy.Add(a, b, evaluate=False),
            "sub": lambda a, b: sympy.Add(a, times(sympy.Integer(-1), b), evaluate=False),
            "mul": times,
            "div": lambda a, b: times(a, power(b, sympy.Integer(-1))),
            "neg": lambda a: times(sympy.Integer(-1), a),
            "pow": pow_,
            "square": lambda a: power(a, sympy.Integer(2)),
            "sqrt": lambda a: power(a, sympy.Rational(1, 2)),
        }
        return build[op](*args)

    def _undefined(self, op: str) -> SympyObject:
        """An operator that SymPy does not have: a function, or for a nullary one a function of nothing."""
        if op not in self._opaque:
            positive = {"positive": True} if op in ("eps", "num_classes") else {"real": True}
            self._opaque[op] = self._sympy.Function(_OPAQUE + op, **positive)
        return self._opaque[op]

    # -- and back ---------------------------------------------------------------------------------------------------

    def from_sympy(self, obj: SympyObject) -> Expr:
        """The expression that a SymPy object stands for; BridgeRefusal with the reason if it is none of ours."""
        done: dict[int, Expr] = {}
        stack: list[tuple[SympyObject, bool]] = [(obj, False)]
        visited = 0
        while stack:
            here, ready = stack.pop()
            if ready:
                done[id(here)] = self._read(here, [done[id(a)] for a in self._operands(here)])
            elif id(here) not in done:
                visited += 1
                if visited > 4 * MAX_SYMPY_NODES:
                    raise BridgeRefusal(f"SymPy's form has more than {4 * MAX_SYMPY_NODES:,} nodes")
                stack.append((here, True))
                stack.extend((a, False) for a in reversed(self._operands(here)))
        return done[id(obj)]

    def _operands(self, obj: SympyObject) -> tuple[SympyObject, ...]:
        sympy = self._sympy
        if not isinstance(obj, sympy.Expr):
            raise BridgeRefusal(f"SymPy gave a {type(obj).__name__}, which is not a number")
        if isinstance(obj, sympy.Piecewise):
            raise BridgeRefusal("SymPy gave a case distinction (Piecewise)")
        if isinstance(obj, sympy.Heaviside):
            return tuple(obj.args[:1])
        return tuple(obj.args)

    def _read(self, obj: SympyObject, args: list[Expr]) -> Expr:
        sympy = self._sympy
        if obj in self._leaves:
            return self._leaves[obj]
        if obj is sympy.pi or obj is sympy.E:
            return node("pi" if obj is sympy.pi else "e")
        if isinstance(obj, sympy.Rational):
            return _read_number(Fraction(int(obj.p), int(obj.q)))
        if isinstance(obj, sympy.Add):
            return _chain("add", args)
        if isinstance(obj, sympy.Mul):
            return _read_product(args)
        if isinstance(obj, sympy.Pow):
            return _read_power(*args)
        return self._read_function(obj, args)

    def _read_function(self, obj: SympyObject, args: list[Expr]) -> Expr:
        name = type(obj).__name__
        if name in _NOT_REAL:
            raise BridgeRefusal(f"SymPy gave {_NOT_REAL[name]}")
        op = name.removeprefix(_OPAQUE) if name.startswith(_OPAQUE) else _from_sympy_name().get(name, "")
        if op not in ops.OPS:
            raise BridgeRefusal(f"SymPy gave `{name}`, which is not an operator of ours")
        record = ops.OPS[op]
        if len(args) == record.arity:
            return node(op, *args)
        if record.associative and len(args) > record.arity:
            return _chain(op, args)
        raise BridgeRefusal(f"SymPy gave `{name}` with {len(args)} arguments")


def assumptions(role: Role) -> dict[str, bool]:
    """What SymPy may assume of a symbol: only what the role's range says (no unsound finiteness, finding 4)."""
    out = {"real": True}
    if role.range.lo > 0:
        out["positive"] = True
    elif role.range.lo >= 0:
        out["nonnegative"] = True
    if role.integer:
        out["integer"] = True
    return out


def _from_sympy_name() -> dict[str, str]:
    return {r.sympy: r.name for r in ops.OPS.values() if r.sympy and r.arity}


def _chain(op: str, args: list[Expr]) -> Expr:
    """A flat operation as left-nested binary ones, in SymPy's order."""
    out, *rest = args
    for a in rest:
        out = node(op, out, a)
    return out


def _read_number(number: Fraction) -> Expr:
    if not is_writable(number):
        raise BridgeRefusal("SymPy gave a constant with too many digits")
    return const(number)


def _read_power(base: Expr, exponent: Expr) -> Expr:
    if exponent.op != CONST:
        return node("pow", base, exponent)
    number = exponent.number
    if abs(number) > MAX_EXPONENT:
        raise BridgeRefusal(f"SymPy gave an exponent beyond ±{MAX_EXPONENT}")
    if number == HALF.number:
        return node("sqrt", base)
    if number < 0 and number.denominator == 1:
        return node("div", ONE, base if number == -1 else node("pow", base, const(-number)))
    return node("pow", base, exponent)


def _read_product(args: list[Expr]) -> Expr:
    """A product as numerator / denominator, where the denominator collects what `_read_power` wrote as 1/x."""
    above = [a for a in args if not _is_inverse(a)]
    below = [a.args[1] for a in args if _is_inverse(a)]
    sign = len(above) > 1 and above[0] is const(-1)
    if sign:
        above = above[1:]
    top = _chain("mul", above) if above else ONE
    out = node("div", top, _chain("mul", below)) if below else top
    return node("neg", out) if sign else out


def _is_inverse(here: Expr) -> bool:
    return here.op == "div" and here.args[0] is ONE
