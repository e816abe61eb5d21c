"""Hypothesis strategies for expressions, losses and points: shared by every test that says "for all expressions".

    from tests.strategies import exprs, losses, environments

    @given(exprs())                      # any operator, any shape: for round trips and structure
    @given(exprs(total=True))            # has a finite value at every point: for comparing values
    @given(losses(class_axis=False))     # elementwise losses with roles and hyper-parameters

Everything drawn is well kinded (conditions stand in `where` only) and within the limits of the language: at most 150
nodes, constant exponents up to 64, literals of 40 digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cache

from hypothesis import strategies as st

from lossc.compiler import ops
from lossc.compiler.ir import Expr, arg, coef, const, node, param, substitute
from lossc.compiler.literals import exact_value
from lossc.compiler.loss import Loss, Parameter
from lossc.compiler.roles import ROLES, Role, roles_for

PARAMS = ("alpha", "delta", "gamma")
"""Names of the hyper-parameters in drawn expressions: `parse_expr(text, params=PARAM_DEFAULTS)` declares them."""
PARAM_DEFAULTS: dict[str, Fraction] = {name: Fraction(1) for name in PARAMS}

COMPARISONS = tuple(r.name for r in ops.OPS.values() if r.gives == ops.BOOL_KIND)
CONSTANTS = tuple(r.name for r in ops.OPS.values() if r.arity == 0 and not r.axis)
CLASS_AXIS = tuple(r.name for r in ops.OPS.values() if r.axis)
REAL_OPS = tuple(r.name for r in ops.OPS.values() if r.gives == ops.REAL_KIND and r.arity)
MAX_EXPONENT = 64
MAX_DRAWN = 150
"""Nodes of the largest drawn tree."""


@cache
def numbers(*, exotic: bool = True) -> st.SearchStrategy[Fraction]:
    """Exact constants: small integers, decimals, ratios; with `exotic`, 40 digits and exponents up to 400 as well."""
    common = st.one_of(
        st.integers(-5, 5).map(Fraction),
        st.sampled_from([Fraction(1, 2), Fraction(1, 3), Fraction(-2, 7), Fraction(1, 10**7), Fraction(5, 4)]),
        st.fractions(min_value=-100, max_value=100, max_denominator=1000),
        st.integers(-10_000, 10_000).map(lambda n: Fraction(n, 1000)),
    )
    if not exotic:
        return common
    digits = st.integers(-(10**40) + 1, 10**40 - 1)
    return st.one_of(
        common,
        st.floats(allow_nan=False, allow_infinity=False).map(lambda x: const(x).number),
        st.builds(lambda d, e: const(Fraction(d) * Fraction(10) ** e).number, digits, st.integers(-400, 360)),
        st.builds(lambda a, b: Fraction(a, b), digits, st.integers(1, 10**40 - 1)),
    )


@cache
def leaves(
    *, params: tuple[str, ...] = PARAMS, coefs: bool = False, class_axis: bool = True, exotic: bool = True
) -> st.SearchStrategy[Expr]:
    """Leaves and named constants; y and f most often."""
    nullary = [node(name) for name in CONSTANTS] + ([node("num_classes")] if class_axis else [])
    kinds = [
        st.sampled_from([arg("y"), arg("f")]),
        st.sampled_from([arg("y"), arg("f")]),
        numbers(exotic=exotic).map(const),
        st.sampled_from(nullary),
    ]
    if params:
        kinds.append(st.sampled_from([param(p) for p in params]))
    if coefs:
        kinds.append(st.integers(0, 99).map(coef))
    return st.one_of(kinds)


def exprs(
    *,
    names: Sequence[str] | None = None,
    params: Sequence[str] = PARAMS,
    coefs: bool = False,
    class_axis: bool = True,
    exotic: bool = True,
    total: bool = False,
    max_leaves: int = 10,
) -> st.SearchStrategy[Expr]:
    """Well-kinded expressions (numbers, never conditions) over all operators, or those in `names`.

    params      hyper-parameters that may occur
    coefs       whether coefficients φ_i may occur
    class_axis  whether `sum_c`, `softmax`, `num_classes`, ... may occur
    exotic      whether constants may have 40 digits and huge exponents
    total       wrap the arguments so that the value is a finite real number at every real y, f and parameter, and
                slopes are finite too wherever the record's `sample` avoids the singular points
    max_leaves  how large they get: the number of operations, and (up to 8) of leaves
    """
    chosen = tuple(n for n in (REAL_OPS if names is None else names) if class_axis or n not in CLASS_AXIS)
    return _exprs(chosen, tuple(params), coefs, class_axis, exotic and not total, total, max_leaves)


@cache
def _exprs(
    names: tuple[str, ...],
    params: tuple[str, ...],
    coefs: bool,
    class_axis: bool,
    exotic: bool,
    total: bool,
    max_leaves: int,
) -> st.SearchStrategy[Expr]:
    """`exprs`, made once for the same arguments: making a strategy takes longer than drawing from it."""
    if not names:
        return leaves(params=params, coefs=coefs, class_axis=class_axis, exotic=exotic)
    named = [node(name) for name in CONSTANTS] + [node("num_classes")] * class_axis + [param(p) for p in params]
    start: list[Expr | st.SearchStrategy[Expr]] = [arg("y"), arg("f")] * max(3, len(named) // 2)
    start += [*named, *[numbers(exotic=exotic).map(const)] * 3, *[st.integers(0, 99).map(coef)] * coefs]
    often = names + tuple(name for name in names if ops.OPS[name].arity > 1) * 2
    return _grown(often, tuple(start), total, max_leaves)


@st.composite
def _grown(
    draw: st.DrawFn,
    names: tuple[str, ...],
    start: tuple[Expr | st.SearchStrategy[Expr], ...],
    total: bool,
    max_leaves: int,
) -> Expr:
    """An expression from two strings of bytes, of one choice each: what is chosen by many takes many times as long."""
    some, many = max_leaves // 3, min(8, max_leaves)
    how, count, *codes = draw(_bytes(10))
    steps = how // 4 % 3 if how % 4 == 0 else some + how // 4 % (max_leaves + 1 - some)
    most = 1 + count // 2 % 2 if count % 2 else max(1, min(some, many)) + count // 2 % (many + 1 - min(some, many))
    ready = []
    for code in codes[: min(most, many)]:
        leaf = start[code % len(start)]
        ready.append(leaf if isinstance(leaf, Expr) else draw(leaf))
    program = draw(_bytes(6 * steps))
    return _assemble(names, ready, [int.from_bytes(program[i : i + 6]) for i in range(0, len(program), 6)], total)


@cache
def _bytes(count: int) -> st.SearchStrategy[bytes]:
    """So many bytes, uniform, which large integers are not."""
    return st.binary(min_size=count, max_size=count)


def _assemble(names: tuple[str, ...], ready: list[Expr], program: list[int], total: bool) -> Expr:
    """The expression that a small program builds: each word picks an operator, and operands among what is ready.

    An operand is used up, unless it is the last: so the results are trees, with some shared parts. (`st.recursive`, the
    usual way, draws trees of three nodes.)
    """
    ready = list(ready)

    def take(word: int) -> tuple[Expr, int]:
        word, index = divmod(word, 8)  # mostly what was made last, so that trees grow
        index = min(max(0, index - 4), len(ready) - 1)
        return (ready.pop(-1 - index) if len(ready) > 1 else ready[0]), word

    for word in program:
        rest, which = divmod(word, len(names))
        record = ops.OPS[names[which]]
        args = []
        for i in range(record.arity):
            operand, rest = take(rest)
            if record.kind_of(i) == ops.BOOL_KIND:
                other, rest = take(rest)
                rest, sign = divmod(rest, len(COMPARISONS))
                operand = node(COMPARISONS[sign], operand, other)
            args.append(operand)
        made = _apply(record.name, tuple(args), total)
        ready.append(made if made.tree_size <= MAX_DRAWN else args[-1])
    return ready[-1]


def _apply(name: str, args: tuple[Expr, ...], total: bool) -> Expr:
    if total:
        args = _tamed(name, args)
    if name == "pow":
        args = (args[0], within_limit(args[1]))
    return node(name, *args)


def within_limit(exponent: Expr) -> Expr:
    """The exponent itself, or 2 where it is a constant beyond the limit of the language."""
    value = exact_value(exponent)
    return exponent if value is None or abs(value) <= MAX_EXPONENT else const(2)


_GROWING = ("exp", "expm1", "sinh", "cosh", "tan", "square", "mul")


def _tamed(name: str, args: tuple[Expr, ...]) -> tuple[Expr, ...]:
    """The operands moved into the box where the record says that tests should draw them, if it says so.

    A partial function is defined on that box, and has finite slopes there. A fast-growing one is kept small as well, so
    that towers of them stay finite.
    """
    record = ops.OPS[name]
    if not record.sample and name not in _GROWING:
        return args
    return tuple(_within(x, *record.sample_of(i)) for i, x in enumerate(args))


def _within(x: Expr, low: float, high: float) -> Expr:
    """An expression in x with values strictly between the bounds."""
    a, b = const(low).number, const(high).number
    return const((a + b) / 2) + const((b - a) / 2) * node("tanh", x)


@cache
def values(role: Role) -> tuple[Fraction, ...]:
    """Values that an argument of this role can have, where losses are usually looked at, as exact numbers."""
    if role.values:
        return tuple(Fraction(v) for v in role.values)
    low, high = role.typical
    if role.integer:
        return tuple(Fraction(v) for v in range(int(low), int(high) + 1))
    return tuple(Fraction(low) + Fraction(k, 1000) * (Fraction(high) - Fraction(low)) for k in range(1001))


def _value(role: Role, word: int) -> Fraction:
    """The value that a word of two bytes chooses."""
    return values(role)[word * len(values(role)) >> 16]


def _words(draw: st.DrawFn, count: int) -> list[int]:
    """So many words of two bytes, as one choice."""
    drawn = draw(_bytes(2 * count))
    return [int.from_bytes(drawn[i : i + 2]) for i in range(0, len(drawn), 2)]


_COEFFICIENTS = {coef(i): Fraction(8 + i % 5, 10) for i in range(100)}


@st.composite
def environments(draw: st.DrawFn, loss: Loss | None = None, *, num_classes: int | None = None) -> dict[Expr, object]:
    """A point: exact values for y, f and the parameters (those of `loss`, or `PARAMS`), as `evaluate` takes them.

    With `num_classes`, y and f are lists over the classes; a one-hot y is one-hot, and a `prob` sums to 1.
    """
    params = loss.params if loss else [Parameter(name) for name in PARAMS]
    count = num_classes or 1
    words = _words(draw, 2 * count + len(params))
    out: dict[Expr, object] = dict(_COEFFICIENTS)
    for leaf, name, here in (
        ("y", loss.y if loss else "real", words),
        ("f", loss.f if loss else "real", words[count:]),
    ):
        role = ROLES[name]
        out[arg(leaf)] = _value(role, here[0]) if num_classes is None else _row(role, here[:count])
    out |= {param(p.name): _value(ROLES[p.role], w) for p, w in zip(params, words[2 * count :], strict=True)}
    return out


def _row(role: Role, words: list[int]) -> list[Fraction]:
    if role.name == "onehot":
        return [Fraction(int(i == words[0] * len(words) >> 16)) for i in range(len(words))]
    if role.name == "prob":
        weights = [1 + (100 * w >> 16) for w in words]
        return [Fraction(w, sum(weights)) for w in weights]
    return [_value(role, w) for w in words]


@cache
def identifiers() -> st.SearchStrategy[str]:
    """Names that a loss or a hyper-parameter may have, Python keywords and builtins among them."""
    odd = ["lambda", "class", "def", "print", "import", "None", "loss", "x", "C", "eps", "pi", "e", "log", "max", "_"]
    letters = st.text("abcXYZ_059", max_size=8)
    plain = st.builds(lambda first, rest: first + rest, st.sampled_from("abghkzAZ_"), letters)
    return st.sampled_from(odd) | plain.filter(lambda name: not name.startswith("__"))


@cache
def documentation() -> st.SearchStrategy[str]:
    """Texts that are hard to write as a docstring: quotes, escapes, indentation, control and invisible characters."""
    pieces = ["a", " ", "\n", "    ", '"', '"""', "\\", "\\x{41}", "source: ", "Source:x", "\t", "\r", "\x00", "φ"]
    return st.lists(st.sampled_from(pieces), max_size=8).map("".join) | st.text(max_size=12)


def _chosen(names: Sequence[str], word: int) -> str:
    return names[word * len(names) >> 16]


@st.composite
def losses(
    draw: st.DrawFn,
    *,
    class_axis: bool = True,
    coefs: bool = False,
    total: bool = False,
    exotic: bool = True,
    any_names: bool = False,
    max_leaves: int = 10,
) -> Loss:
    """Valid losses: roles, hyper-parameters with defaults that suit them, documentation.

    `any_names` draws names freely (keywords, names of operators and constants); otherwise they are plain.
    """
    names = draw(st.lists(identifiers(), min_size=3, max_size=3, unique=True)) if any_names else list(PARAMS)
    params = []
    words = iter(_words(draw, 2 * len(names) + 2))
    for name in names:
        role = ROLES[_chosen(roles_for("hyper-parameter"), next(words))]
        which, value = divmod(next(words), 2)
        params.append(Parameter(name, role.name, _value(role, 2 * which) if value else None))
    y = _chosen([r for r in roles_for("y") if class_axis or r not in ("onehot", "prob")], next(words))
    f = _chosen(roles_for("f"), next(words))
    body = draw(exprs(coefs=coefs, class_axis=class_axis, total=total, exotic=exotic, max_leaves=max_leaves))
    body = substitute(body, {param(old): param(new) for old, new in zip(PARAMS, names, strict=True)})
    text = documentation() if any_names else st.just("")
    name = draw(identifiers()) if any_names else "drawn"
    return Loss(body, name, y, f, tuple(params), doc=draw(text), source=draw(text))
