"""What the tests of the V rules share: points for the wildcards of a rule from five samplers, and four formats.

A rule is tried on expressions over y, f and a hyper-parameter in the place of its wildcards, with the first roles under
which it applies. Values of the operators come from their mpmath meaning, rounded after each operator to the format.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import mpmath
import numpy as np

from lossc.compiler import ops
from lossc.compiler.evaluate import evaluate
from lossc.compiler.facts import Facts
from lossc.compiler.float32 import evaluate_in, rounded
from lossc.compiler.formats import FLOAT64, Format
from lossc.compiler.ir import ARG, CONST, LEAF_OPS, PARAM, Expr, F, Y, param, postorder, substitute
from lossc.compiler.loss import Loss, Parameter
from lossc.compiler.passes.rewrite import A, B, Rule, rewrite
from lossc.compiler.sampling import Points

G = param("g")
LEAVES: tuple[dict[Expr, Expr], ...] = ({A: F, B: Y}, {A: F, B: G})
CLASSES = 3
TRUTH_DIGITS = 400
"""Digits of the reference: enough for 1 - sigmoid(a) where exp(-a) is about 1e-300."""
SAMPLERS = ("float-uniform", "log-uniform", "integer", "boundary", "special")
REACH = 1e30
"""Values beyond this would need thousands of digits in the reference; formats with a smaller range end earlier."""
ROLES = {F: ("real", "positive"), Y: ("real", "count", "positive", "binary", "onehot"), G: ("real", "positive")}


@dataclass(frozen=True)
class Case:
    """A rule over y, f and g: both sides, and the loss whose roles make it apply."""

    rule: Rule
    before: Expr
    after: Expr
    loss: Loss

    @property
    def classwise(self) -> bool:
        return any(n.op not in LEAF_OPS and ops.OPS[n.op].axis for n in postorder(self.before, self.after))

    @property
    def leaves(self) -> list[Expr]:
        return [n for n in postorder(self.before) if n.op in (ARG, PARAM)]


@cache
def case(rule: Rule) -> Case:
    """The rule over y, f and g, with the first roles under which it applies and does what it says."""
    for leaves, f, y, g in itertools.product(LEAVES, ROLES[F], ROLES[Y], ROLES[G]):
        before, after = (substitute(side, leaves) for side in (rule.before, rule.after))
        loss = Loss(before, y=y, f=f, params=(Parameter("g", g),))
        made, applied = rewrite(before, [rule], Facts(loss))
        if applied:
            return Case(rule, before, after if rule.family is None else made, loss)
    raise AssertionError(f"{rule.id} does not apply to its own pattern")


def _raw(sampler: str, rng: random.Random, form: Format) -> float:
    """One number, before it is fitted to a role."""
    top = min(float(form.largest), REACH)
    reach = float(np.log10(top))
    if sampler == "float-uniform":
        return rng.choice((-1.0, 1.0)) * 10 ** rng.uniform(-0.8 * reach, 0.6 * reach)
    if sampler == "log-uniform":
        return rng.choice((-1.0, 1.0)) * 10 ** rng.uniform(-4.0, 2.5)
    if sampler == "integer":
        return float(rng.randint(-9, 9))
    small = 2.0 ** (1 - form.digits)
    if sampler == "boundary":
        edges = (1.0, 0.5, 2.0, 1 + small, 1 - small / 2, small, np.sqrt(top) * 0.99, np.log(2.0), 11.0, 90.0)
        return rng.choice((-1.0, 1.0)) * float(rng.choice(edges))
    tiny = max(2.0**form.least, 1 / REACH)
    return rng.choice((0.0, -0.0, tiny, -tiny, tiny * small, top / 8, -top / 8, top / 64, 1e3))


def _fitted(value: float, role: str, form: Format) -> float:
    size = abs(value)
    if role in ("binary", "onehot"):
        return float(size > 1)
    if role == "count":
        return size
    return max(size, 2.0**form.least, 1 / REACH) if role == "positive" else value


def sampled(one: Case, sampler: str, form: Format, count: int) -> Points:
    """Points of one sampler, all of them numbers of the format and of the roles of the case."""
    rng = random.Random(f"{one.rule.id}/{one.before.digest.hex()}/{sampler}/{form.name}")
    columns: dict[Expr, list[Any]] = {leaf: [] for leaf in one.leaves}
    for i in range(count):
        shift = rng.choice((0.0, 0.0, 2.0 ** -(form.digits // 2), 2.0 ** -(form.digits - 2)))
        last = 0.0
        for leaf in one.leaves:
            width = CLASSES if one.classwise and leaf.op == ARG else 1
            drawn = [_raw(sampler, rng, form) for _ in range(width)]
            if i % 4 == 3 and last:
                drawn[0] = last * (1 + shift)  # close to the leaf before: where differences cancel
            row = [float(rounded(np.float64(_fitted(v, one.loss.role_of(leaf).name, form)), form)) for v in drawn]
            if width > 1 and one.loss.role_of(leaf).name == "onehot":
                hot = rng.randrange(width)
                row = [float(k == hot) for k in range(width)]
            last = row[0]
            columns[leaf].append(tuple(row) if width > 1 else row[0])
    made = {leaf: tuple(values) for leaf, values in columns.items()}
    return Points(made, (sampler,) * count, CLASSES if one.classwise else None)


def truth(root: Expr, batch: Points, digits: int = TRUTH_DIGITS) -> list[list[Any]]:
    """The exact values at every point, one list over the classes each."""
    out = []
    for i in range(len(batch)):
        found = evaluate(root, batch.env(i), num_classes=batch.num_classes, dps=digits)
        out.append(found if isinstance(found, list) else [found] * (batch.num_classes or 1))
    return out


def computed(root: Expr, batch: Points, form: Format) -> np.ndarray[Any, Any]:
    """The values in the format, shape [n, classes]: each operator ideal, and rounded."""
    if form is FLOAT64:
        return np.array(list(_ideal(root, batch)))
    (found,) = evaluate_in(form, [root], batch)
    width = batch.num_classes or 1
    return np.broadcast_to(found.reshape(len(batch), -1), (len(batch), width))


def _ideal(root: Expr, batch: Points) -> Iterator[list[float]]:
    """float64 with ideal operators: the mpmath meaning of each, rounded to 53 bits."""
    for i in range(len(batch)):
        env = batch.env(i)
        values: dict[Expr, Any] = {}
        for here in postorder(root):
            if here.op == CONST:
                values[here] = float(here.number)
            elif here.op in LEAF_OPS:
                values[here] = list(env[here]) if isinstance(env[here], tuple) else env[here]  # type: ignore[arg-type]
            else:
                values[here] = _one(here, [values[a] for a in here.args], batch.num_classes)
        found = values[root]
        yield found if isinstance(found, list) else [found] * (batch.num_classes or 1)


def _one(here: Expr, args: list[Any], num_classes: int | None) -> Any:
    """One operator on floats: IEEE arithmetic has its own rules for infinities, elsewhere the meaning has them."""
    names = [param(f"x{k}") for k in range(len(args))]
    if here.op in _IEEE and not any(isinstance(a, list) for a in args):
        with np.errstate(all="ignore"):
            return float(_IEEE[here.op](*(np.float64(a) for a in args)))
    if here.op in _IEEE:
        rows = [[a[k] if isinstance(a, list) else a for a in args] for k in range(num_classes or 1)]
        return [_one(here, row, None) for row in rows]
    if any(isinstance(a, bool) or (isinstance(a, list) and isinstance(a[0], bool)) for a in args):
        return _chosen(args, num_classes)
    with mpmath.workdps(60):
        env = dict(zip(names, args, strict=True))
        found = evaluate(ops.call(here.op, *names), env, num_classes=num_classes)
        limit = {"log": -np.inf, "log1p": -np.inf, "log_cosoftmax": -np.inf}.get(here.op)
        return _as_floats(found, args[0] if args else None, limit)


def _chosen(args: list[Any], num_classes: int | None) -> Any:
    """`where`, class by class."""
    if not any(isinstance(a, list) for a in args):
        return args[1] if args[0] else args[2]
    rows = [[a[k] if isinstance(a, list) else a for a in args] for k in range(num_classes or 1)]
    return [row[1] if row[0] else row[2] for row in rows]


def _as_floats(found: Any, argument: Any, limit: float | None) -> Any:
    if isinstance(found, list):
        given = argument if isinstance(argument, list) else [argument] * len(found)
        return [_as_floats(v, a, limit) for v, a in zip(found, given, strict=True)]
    if isinstance(found, bool):
        return found
    if mpmath.isnan(found) and limit is not None and argument in (0.0, -1.0):
        return limit  # the pole of a logarithm
    return float(found)


_IEEE = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative, "abs": np.abs,
    "sqrt": np.sqrt, "max": np.maximum, "min": np.minimum, "square": np.square,
}  # fmt: skip
