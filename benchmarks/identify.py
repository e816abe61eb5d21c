"""How often `lossc identify` finds a named loss that was rewritten at random, and whether it takes others for one.

    python -m benchmarks.identify                      # 200 rewritten losses and 200 others; prints the tables
    python -m benchmarks.identify --write              # and puts them into benchmarks/RESULTS.md
    python -m benchmarks.identify --seed 3 --count 50  # others; --misses prints what was not found

A rewritten loss is a named one at random hyper-parameters, in which 4 to 8 random places were rewritten such that the
values stay, again until the canonical form does not, times a random positive number plus a random one. Half of those
with hyper-parameters keep them, under other names. Of the others, one half are random losses of a search, and one half
are rewritten losses that were disturbed: by a term, a factor or an exponent of 10^-12 to 0.1.
Every exact match, also one of the others, is looked at again at random inputs, by mpmath alone.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from random import Random
from typing import Any

import mpmath

from benchmarks.results import put_section
from lossc.compiler import ops
from lossc.compiler.analysis.frames import closed
from lossc.compiler.analysis.identify import identify, without_parameters
from lossc.compiler.analysis.identity import Identity, Match
from lossc.compiler.evaluate import evaluate_all
from lossc.compiler.facts import Facts
from lossc.compiler.ir import (
    CONST,
    HALF,
    LEAF_OPS,
    ZERO,
    Expr,
    F,
    Y,
    const,
    fold,
    node,
    param,
    preorder,
    rebuild,
    substitute,
)
from lossc.compiler.loss import CLASSWISE, Loss, Parameter, varies
from lossc.compiler.ops import call
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.grammar.library import named_losses

Rewriting = Callable[[Expr, Random], "Expr | None"]


# -- rewritings: the same value wherever the first form has one ------------------------------------------------------


def _square_expanded(x: Expr, rng: Random) -> Expr | None:
    if x.op != "pow" or x.args[1] is not const(2) or x.args[0].op not in ("sub", "add"):
        return None
    a, b = x.args[0].args
    return a * a - 2 * a * b + b * b if x.args[0].op == "sub" else a * a + 2 * (a * b) + b * b


def _swapped(x: Expr, rng: Random) -> Expr | None:
    if x.op in ("add", "mul"):
        return x.args[1] - (-x.args[0]) if x.op == "add" else -(x.args[1] * -x.args[0])
    return -(x.args[1] - x.args[0]) if x.op == "sub" else None


def _distributed(x: Expr, rng: Random) -> Expr | None:
    """A product or quotient of a sum as a sum."""
    if x.op not in ("mul", "div") or x.args[0].op not in ("add", "sub"):
        return None
    (a, b), c = x.args[0].args, x.args[1]
    first, second = (a * c, b * c) if x.op == "mul" else (a / c, b / c)
    return first + second if x.args[0].op == "add" else first - second


def _scaled_inside(x: Expr, rng: Random) -> Expr | None:
    if x.op not in ("add", "sub"):
        return None
    by = const(Fraction(rng.randint(2, 30), rng.choice([7, 10, 11])))
    a, b = (by * e for e in x.args)
    return (a + b if x.op == "add" else a - b) / by


def _split(x: Expr, rng: Random) -> Expr | None:
    """log(x) as a sum, exp(x) as a product, sqrt(x) as a square, a power by exp and log or as a product."""
    if x.op == "log" and x.args[0].op in ("mul", "div") and rng.random() < 0.5:
        a, b = (call("log", call("sqrt", e * e)) for e in x.args[0].args)
        return a + b if x.args[0].op == "mul" else a - b
    if x.op == "pow" and x.args[1].op == CONST and x.args[1].number > 0:
        even = x.args[1].number == 2
        power = call("exp", x.args[1] * call("log", call("abs", x.args[0])))
        if even:
            return node("where", node("eq", x.args[0], ZERO), ZERO, power)
        return x.args[0] * x.args[0] ** (x.args[1].number - 1) if x.args[1].number > 1 else None
    if x.op == "log":
        return call("log", call("sqrt", x.args[0])) + call("log", x.args[0]) / 2
    if x.op == "exp":
        part = const(Fraction(rng.randint(1, 4), 5)) * x.args[0]
        return call("exp", part) * call("exp", x.args[0] - part)
    return call("sqrt", call("sqrt", x.args[0])) ** 2 if x.op == "sqrt" else None


OPPOSITE = {"lt": "ge", "ge": "lt", "gt": "le", "le": "gt", "eq": "ne", "ne": "eq"}


def _opened(x: Expr, rng: Random) -> Expr | None:
    """A function by its definition, or by another."""
    a, b = (*x.args, ZERO, ZERO)[:2]
    match x.op:
        case "abs":
            return rng.choice([call("sqrt", a * a), call("max", a, -a), call("relu", a) + call("relu", -a)])
        case "relu":
            return rng.choice([call("max", a, ZERO), (a + call("abs", a)) / 2])
        case "softplus":
            return rng.choice([call("log", 1 + call("exp", a)), a + call("softplus", -a)])
        case "sigmoid":
            return rng.choice([1 / (1 + call("exp", -a)), 1 - call("sigmoid", -a), (1 + call("tanh", a / 2)) / 2])
        case "tanh":
            return rng.choice([2 * call("sigmoid", 2 * a) - 1, 1 - 2 / (1 + call("exp", 2 * a))])
        case "logcosh":
            return call("softplus", 2 * a) - a - call("log", const(2))
        case "log1p":
            return call("log", 1 + a)
        case "max":
            return rng.choice([(a + b + call("abs", a - b)) / 2, node("where", node("ge", a, b), a, b)])
        case "min":
            return rng.choice([(a + b - call("abs", a - b)) / 2, -call("max", -a, -b)])
        case "where":
            other = OPPOSITE.get(x.args[0].op)
            return None if other is None else node("where", node(other, *x.args[0].args), x.args[2], x.args[1])
    return None


def _multiplied(x: Expr, rng: Random) -> Expr | None:
    if x.op in LEAF_OPS or rng.random() < 0.6:
        return None
    by = rng.choice([1 + Y * Y, 2 + call("tanh", F), call("exp", Y)])
    return x * by / by if rng.random() < 0.5 else x / (1 + Y * Y) + x * Y * Y / (1 + Y * Y)


def _shifted(x: Expr, rng: Random) -> Expr | None:
    if x.op in LEAF_OPS or rng.random() < 0.6:
        return None
    c = const(Fraction(rng.randint(1, 20), 4))
    return call("abs", c + x * x) - c - x * x + x if rng.random() < 0.5 else -((c - x) - c)


REWRITINGS: tuple[Rewriting, ...] = (
    _square_expanded, _swapped, _distributed, _scaled_inside, _split, _opened, _multiplied, _shifted
)  # fmt: skip


def rewritten(root: Expr, rng: Random, places: int) -> Expr:
    """`root` with so many random places rewritten, one after the other."""
    for _ in range(places):
        options = []
        for here in dict.fromkeys(preorder(root)):
            if here.op not in LEAF_OPS and ops.record(here).gives == ops.REAL_KIND:
                options += [(here, made) for r in REWRITINGS if (made := r(here, rng)) is not None]
        if not options:
            break
        old, new = rng.choice(options)
        root = fold(root, lambda n, args, old=old, new=new: new if n is old else rebuild(n, args))  # type: ignore[misc]
    return root


# -- the losses ------------------------------------------------------------------------------------------------------


TIMEOUT = 60.0
"""Seconds for each loss: more than by default, so that what is found does not depend on what else the machine does."""
TRIES = 20
"""Rewritings of one loss, the first of which that is not undone by the canonical form is taken."""
NAMES = ("a", "b0", "c", "h", "kappa", "lam", "width", "z")


@dataclass(frozen=True)
class Case:
    """A rewritten loss, and what it was made from."""

    loss: Loss
    name: str
    values: dict[str, Fraction]
    scale: Fraction
    offset: Fraction

    def __str__(self) -> str:
        values = "".join(f", {n} = {v}" for n, v in self.values.items())
        return f"{self.scale}*{self.name} + {self.offset}{values}: {self.loss}"


def _drawn(p: Parameter, rng: Random) -> Fraction:
    """A value of a hyper-parameter."""
    if p.role == "positive":
        return Fraction(rng.randint(1, 60), rng.choice([5, 10, 20]))
    if p.role == "unit":
        return Fraction(rng.randint(1, 19), 20)
    if p.role == "nonnegative":
        return Fraction(rng.randint(0, 20), 4)
    return rng.choice([v for v in (Fraction(k, 5) for k in range(-12, 20)) if v not in (0, 1, 2)])


def case(known: Loss, rng: Random) -> Case:
    """A random rewriting of a named loss, scaled and shifted."""
    values = {p.name: _drawn(p, rng) for p in known.params}
    scale = Fraction(rng.randint(1, 40), rng.randint(1, 12))
    offset = Fraction(rng.randint(-30, 30), 6) if rng.random() < 0.7 else Fraction(0)
    start = _renamed(known, values, rng) if rng.random() < 0.5 else closed(known, _constants(values))
    plain = _canonical(_on_line(start, start.body, scale, offset))
    made = start
    for _ in range(TRIES):
        made = _on_line(start, rewritten(start.body, rng, rng.randint(4, 8)), scale, offset)
        if _canonical(made) is not plain:
            break
    return Case(made, known.name, values, scale, offset)


def _constants(values: dict[str, Fraction]) -> dict[Expr, Expr]:
    return {param(n): const(v) for n, v in values.items()}


def _renamed(known: Loss, values: dict[str, Fraction], rng: Random) -> Loss:
    """A named loss with these defaults, its hyper-parameters under other names."""
    names = {p.name: name for p, name in zip(known.params, rng.sample(NAMES, len(known.params)), strict=True)}
    params = tuple(Parameter(names[p.name], p.role, values[p.name]) for p in known.params)
    body = substitute(known.body, {param(old): param(new) for old, new in names.items()})
    return replace(known, body=body, params=params, spans={}, text=None)


def _on_line(start: Loss, body: Expr, scale: Fraction, offset: Fraction) -> Loss:
    """scale*body + offset in place of the body of a loss."""
    if start.layout == CLASSWISE and varies(body):  # a value that was the same at every class still is
        body = call("sum_c" if varies(start.body) else "mean_c", body)
    return replace(start, body=const(scale) * body + const(offset), name="rewritten")


def _canonical(loss: Loss) -> Expr:
    plain = without_parameters(loss)
    return canonical_expr(plain.body, Facts(plain))


def cases(count: int, seed: int) -> Iterator[Case]:
    """Rewritten losses, from all named ones in turn."""
    rng = Random(seed)
    known = list(named_losses().values())
    for k in range(count):
        if k % len(known) == 0:
            rng.shuffle(known)
        yield case(known[k % len(known)], rng)


DISTURBANCES: tuple[Callable[[Expr, Expr], Expr], ...] = (
    lambda x, c: x + c * call("sin", F),
    lambda x, c: x + c * Y * call("tanh", F),
    lambda x, c: x + c * F * F * Y * Y,
    lambda x, c: x * (1 + c * call("tanh", F)),
    lambda x, c: x * (1 + c * call("exp", -F * F)),
    lambda x, c: call("abs", x) ** (1 + c) + x,
    lambda x, c: x + c * call("sqrt", call("abs", x)),
    lambda x, c: x + c * call("relu", F - HALF),
)


def disturbed_losses(count: int, seed: int) -> Iterator[Loss]:
    """Rewritten losses, disturbed a little."""
    rng = Random(seed)
    for one in cases(count, seed):
        by = rng.choice(DISTURBANCES)
        size = const(Fraction(rng.randint(1, 9), 10 ** rng.randint(2, 12)))
        body = by(one.loss.body, size)
        yield replace(one.loss, body=call("sum_c", body) if varies(body) and one.loss.layout == CLASSWISE else body)


def random_losses(count: int, seed: int) -> Iterator[Loss]:
    """Random losses of a search, three of four for regression."""
    from lossc.runtime.search.generate import random_loss

    rng = Random(seed)
    for k in range(count):
        y, f = ("onehot", "prob") if k % 4 == 3 else ("real", "real")
        yield Loss(random_loss(rng, max_nodes=40), "random", y, f)


# -- what is found ---------------------------------------------------------------------------------------------------


def found(identity: Identity, name: str) -> Match | None:
    """The match with this named loss, if it is among those of the identity."""
    matches = [identity.exact, *identity.also] if identity.exact is not None else []
    return next((m for m in matches if m.name == name), None)


def holds(loss: Loss, match: Match, known: Loss, seed: int = 1, count: int = 300) -> bool:
    """Whether a match is true at inputs of its own: random ones of the roles, probabilities inside, four classes."""
    rng = Random(seed)
    values = {param(n): c.exact if c.exact is not None else const(c.value) for n, c in match.params}
    mine, other = without_parameters(loss).body, closed(known, values).body
    classes = 4 if loss.layout == CLASSWISE else None
    if classes:
        mine, other = (call("sum_c", e) if varies(e) else e for e in (mine, other))
    if (loss.f == "prob") != (known.f == "prob") and "logit" in (loss.f, known.f):  # one speaks of the other's scores
        link = {F: call("softmax" if classes else "sigmoid", F)}
        mine, other = (substitute(e, link) if of.f == "prob" else e for e, of in ((mine, loss), (other, known)))
        loss = replace(loss, f="logit")
    a, b = (c.exact if c.exact is not None else const(c.value) for c in (match.scale, match.offset))
    tolerance = 1e-25 if None not in (match.scale.exact, match.offset.exact) else 1e-12
    compared = 0
    for k in range(count):
        env = {Y: _input(loss.y, rng, classes, bool(match.domain)), F: _input(loss.f, rng, classes, near=k % 3 == 0)}
        with mpmath.workdps(50):
            found = evaluate_all((mine, other, a * other + b), env, num_classes=classes)
            left, right, line = (v[0] if isinstance(v, list) else v for v in found)
            if mpmath.isfinite(left) != mpmath.isfinite(right) and match.proof.everywhere:
                return False
            if mpmath.isfinite(left) and mpmath.isfinite(right):
                compared += 1
                if abs(left - line) > tolerance * max(abs(left), abs(line), 1):
                    return False
    return compared > count // 10


def _input(role: str, rng: Random, classes: int | None, hard: bool = False, near: bool = False) -> Any:
    """A random target or prediction of a role, or a row of them; `near` ones are small."""
    if classes and role in ("onehot", "prob"):
        parts = [Fraction(rng.randint(1, 10**9)) ** rng.choice([1, 3]) for _ in range(classes)]
        best = parts.index(max(parts))
        return [float(k == best) if role == "onehot" else p / sum(parts) for k, p in enumerate(parts)]
    if classes:
        return [_input(role, rng, None, hard, near) for _ in range(classes)]
    if role in ("binary", "prob"):
        return float(rng.randrange(2)) if hard else Fraction(rng.randint(1, 10**6), 10**6 + 1)
    if role in ("sign", "count"):
        return rng.choice([-1.0, 1.0]) if role == "sign" else float(rng.randrange(12))
    size = rng.uniform(0, 0.1 if near else 9)
    return size + 1e-9 if role == "positive" else rng.choice([-1, 1]) * size


def rewritten_table(count: int, seed: int, misses: bool) -> list[str]:
    """How many rewritten losses were found, and how long it took."""
    known = list(named_losses().values())
    times, right, inequivalent, wrong, lost = [], 0, 0, 0, []
    for one in cases(count, seed):
        began = time.perf_counter()
        identity = identify(one.loss, known, timeout=TIMEOUT)
        times.append(time.perf_counter() - began)
        match = found(identity, one.name)
        right += match is not None
        wrong += sum(not holds(one.loss, m, named_losses()[m.name]) for m in (identity.exact, *identity.also) if m)
        inequivalent += match is not None and match.proof.how == "points"
        if match is None:
            lost.append(f"{one}\n    {identity.headline()} {identity.notes}")
    if misses:
        print("\n".join(lost))
    return [
        f"| rewritten named losses | {count} |",
        f"| found under their name | {right} ({right / count:.1%}) |",
        f"| of these by points, not by canonical form | {inequivalent} |",
        f"| matches claimed, with twins, that were not confirmed | {wrong} |",
        f"| seconds: median, nine of ten, longest | {spread(times)} |",
    ]


def others_table(name: str, losses: Iterator[Loss], misses: bool) -> list[str]:
    """How many other losses were taken for named ones, and how many of these are."""
    known = named_losses()
    times, claims, wrong = [], 0, 0
    for loss in losses:
        began = time.perf_counter()
        identity = identify(loss, known.values(), timeout=TIMEOUT)
        times.append(time.perf_counter() - began)
        if identity.exact is not None:
            claims += 1
            true = all(holds(loss, m, known[m.name]) for m in (identity.exact, *identity.also))
            wrong += not true
            if misses:
                print(f"{'true' if true else 'WRONG'}: {loss} is {identity.headline()}")
    return [
        f"| {name} | {len(times)} |",
        f"| taken for named ones | {claims} |",
        f"| of these not confirmed | {wrong} |",
        f"| seconds: median, nine of ten, longest | {spread(times)} |",
    ]


def spread(times: Sequence[float]) -> str:
    """The median, the ninth tenth and the greatest."""
    ordered = sorted(times)
    return f"{statistics.median(ordered):.2f}, {ordered[int(0.9 * len(ordered))]:.2f}, {ordered[-1]:.2f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--misses", action="store_true", help="print what was not found, and what was claimed")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    half = args.count // 2
    text = "\n".join(
        [
            "| | |",
            "|---|---|",
            *rewritten_table(args.count, args.seed, args.misses),
            *others_table("random losses", random_losses(half, args.seed + 1), args.misses),
            *others_table("disturbed named losses", disturbed_losses(half, args.seed + 2), args.misses),
        ]
    )
    print(text)
    if args.write:
        put_section("identify", "Known losses, recognised", "python -m benchmarks.identify --write", text)


if __name__ == "__main__":
    main()
