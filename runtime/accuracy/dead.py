"""Where a clamp stops the gradient, and what an added constant does to the value (guard G9 of docs/numerics.md).

Both are read from the formula as it is written and counted at the data-like points, in mpmath: they are properties of
the loss, not of one program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from lossc.compiler.evaluate import evaluate_all
from lossc.compiler.formats import FORMATS
from lossc.compiler.ir import CONST, ZERO, Expr, F, Y, const, postorder, substitute
from lossc.compiler.loss import IDENTITY, Loss
from lossc.compiler.ops import call
from lossc.compiler.printing import to_text
from lossc.runtime.accuracy.points import Batch
from lossc.runtime.accuracy.report import Biased, Clamped
from lossc.runtime.accuracy.truth import Oracle, Truth

DIGITS = 60
MOST_SHOWN, LONGEST = 12, 400
SMALL = const("0.001").number
"""Constants up to this size, added to something, are taken for protections."""

Known: TypeAlias = Sequence[tuple[Batch, list[Truth]]]

_EPS = call("eps")


def _below(x: Expr, bound: Expr) -> Expr:
    return call("lt", x, bound)


_REGIONS: dict[str, Callable[..., tuple[tuple[int, Expr], ...]]] = {
    "clog": lambda x: ((0, _below(call("abs", x), _EPS)),),
    "csqrt": lambda x: ((0, _below(call("abs", x), _EPS)),),
    "relu": lambda x: ((0, _below(x, ZERO)),),
    "max": lambda x, y: ((0, _below(x, y)), (1, _below(y, x))),
    "min": lambda x, y: ((0, call("gt", x, y)), (1, call("gt", y, x))),
    "clamp": lambda x, lo, hi: ((0, _below(x, lo)), (0, call("gt", x, hi))),
}
"""Where an operator passes no gradient on to an argument: its index, and the condition."""


def clamped(loss: Loss, known: Known, oracle: Oracle) -> Iterator[Clamped]:
    """The parts of the formula that depend on f and that a clamp cuts off somewhere, in the order of the formula."""
    found = list(_cuts(loss.body))[:MOST_SHOWN]
    if not found:
        return
    conditions = [condition for *_, condition in found]
    rows = [pair for some in _data(known) for pair in _evaluated(loss, conditions, *some, oracle)]
    for k, (part, operator, condition) in enumerate(found):
        held = [(v is True, s) for row, truth in rows for v, s in zip(row[k], truth.slopes, strict=True)]
        held = [(v, s) for v, s in held if not isinstance(s, str)]
        total = len(held) or 1
        share = sum(v for v, _ in held) / total
        silent = sum(v and s == 0 for v, s in held) / total
        yield Clamped(_text(part), operator, _text(condition), share, silent)


def _cuts(body: Expr) -> Iterator[tuple[Expr, str, Expr]]:
    for here in postorder(body):
        regions = _REGIONS.get(here.op)
        if regions is None:
            continue
        facing = [F in postorder(a) for a in here.args]
        for index, condition in regions(*here.args):
            if facing[index] and not any(facing[:index] + facing[index + 1 :]):
                yield here.args[index], here.op, condition


def biased(loss: Loss, known: Known, oracle: Oracle) -> Iterator[Biased]:
    """The small constants that are added to something with f in it, in the order of the formula."""
    found = list(_added(loss.body))[:MOST_SHOWN]
    if not found:
        return
    bare = [substitute(loss.body, {here: without}) for here, _, _, without in found]
    form, mp = FORMATS["float32"], oracle.mp
    name = "f" if loss.link == IDENTITY else "z"
    for k, (_, part, constant, _) in enumerate(found):
        changed, needed, total, most, at = 0, 0, 0, mp.zero, ""
        for batch, truths in _data(known):
            for i, (row, truth) in enumerate(_evaluated(loss, [loss.body, bare[k]], batch, truths, oracle)):
                if isinstance(truth.value, str) or not mp.isfinite(truth.value):
                    continue
                total += 1
                value, plain = (oracle.value(entries) for entries in row)
                if not mp.isfinite(plain):
                    needed += 1
                    continue
                change = abs(value - plain)
                changed += bool(change > mp.ldexp(1, _ulp_place(value, mp, form.least, form.digits)))
                if change > most:
                    most, at = change, batch.describe(i, name)
        yield Biased(_text(part), constant, changed / (total or 1), float(most), at, needed)


def _ulp_place(value: Any, mp: Any, least: int, precision: int) -> int:
    return (least if value == 0 else max(int(mp.mag(value)) - 1, least)) - precision + 1


def _added(body: Expr) -> Iterator[tuple[Expr, Expr, str, Expr]]:
    """(node, the part that is protected, the constant, the node without it)."""
    for here in postorder(body):
        if here.op in ("plog", "psqrt") and F in postorder(here):
            size = call("abs", here.args[0])
            yield here, here.args[0], "1e-07", call(here.op[1:], size)
        if here.op == "add":
            for part, constant in (here.args, here.args[::-1]):
                if F in postorder(part) and _is_small(constant):
                    yield here, part, _text(constant), part


def _is_small(here: Expr) -> bool:
    return here is _EPS or (here.op == CONST and 0 < here.number <= SMALL)


# -- evaluation at the data-like points -------------------------------------------------------------------------------


def _data(known: Known) -> Known:
    """The data-like batches of float32, or of the first dtype where that is not measured."""
    data = [(b, t) for b, t in known if b.measure == "data-like"]
    chosen = "float32" if any(b.dtype == "float32" for b, _ in data) else data[0][0].dtype
    return [(b, t) for b, t in data if b.dtype == chosen]


def _evaluated(
    loss: Loss, roots: Sequence[Expr], batch: Batch, truths: Sequence[Truth], oracle: Oracle
) -> Iterator[tuple[list[list[Any]], Truth]]:
    """For each point the entries of each root (of the formula as written, in f), and the truth."""
    with oracle.mp.workdps(DIGITS):
        for y, z, truth in zip(batch.targets, batch.inputs, truths, strict=True):
            classes = batch.classes
            f = _linked(loss, z, classes, oracle)
            env = {Y: list(y) if classes else y[0], F: f, **oracle.params}
            found = evaluate_all(roots, env, num_classes=classes, ctx=oracle.wide)
            yield [v if isinstance(v, list) else [v] * len(z) for v in found], truth


def _linked(loss: Loss, z: Sequence[float], classes: int | None, oracle: Oracle) -> Any:
    given: Any = list(z) if classes else z[0]
    if loss.link == IDENTITY:
        return given
    return evaluate_all([call(loss.link, F)], {F: given}, num_classes=classes, ctx=oracle.wide)[0]


def _text(part: Expr) -> str:
    if part.tree_size > LONGEST:
        return f"a part of {part.tree_size} nodes"
    return to_text(part)
