"""The last engine: other forms of an expression by SymPy, for proofs that no form of ours allows.

SymPy proposes and we dispose: a form counts only if it has the same value as the expression, and a value at the same
points, at 220 of the domain, with 60 digits and more (`lossc.compiler.equivalence`). What follows from it says so in
its certificate. SymPy runs in a process that is killed when its time is up (`lossc.compiler.passes.sympy_client`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from lossc.compiler.analysis.verdicts.clock import left
from lossc.compiler.equivalence import OutOfTime, equivalent
from lossc.compiler.errors import LosscError
from lossc.compiler.facts import Facts
from lossc.compiler.ir import ARG, CONST, LEAF_OPS, ZERO, Expr, postorder
from lossc.compiler.loss import Loss
from lossc.compiler.passes.canonicalize import canonical_expr

SECONDS = 4.0
"""What SymPy may take for one expression: a second or more of it to start, if it must."""
QUESTIONS = 12
"""Expressions that it is asked about, for all properties of a loss together."""
LARGEST = 200
"""Nodes of such an expression, counted as a tree."""


@dataclass
class Asked:
    """What SymPy was asked, and answered."""

    answers: dict[tuple[object, ...], tuple[Expr, ...]] = field(default_factory=dict)
    problem: str = ""


_ASKED: ContextVar[Asked | None] = ContextVar("asked", default=None)


@contextmanager
def asking(asked: Asked) -> Iterator[None]:
    """Within it, `proposed` asks SymPy."""
    token = _ASKED.set(asked)
    try:
        yield
    finally:
        _ASKED.reset(token)


def proposed(root: Expr, facts: Facts) -> tuple[Expr, ...]:
    """Forms of SymPy that are equal to an expression in y and f, shortest first; none unless `asking`."""
    asked = _ASKED.get()
    if asked is None or asked.problem or root.op in LEAF_OPS or root.tree_size > LARGEST:
        return ()
    if any(n.op in LEAF_OPS and n.op not in (ARG, CONST) for n in postorder(root)):
        return ()
    key = (root, facts.key)
    if key not in asked.answers:
        if len(asked.answers) >= QUESTIONS or left() < 0.1:
            return ()
        asked.answers[key] = _forms(root, facts, asked)
    return asked.answers[key]


def vanishes(root: Expr, facts: Facts) -> bool:
    """Whether an expression is 0 wherever it has a value: in canonical form, or in one of SymPy's."""
    form = canonical_expr(root, facts)
    return form is ZERO or ZERO in proposed(form, facts)


def _forms(root: Expr, facts: Facts, asked: Asked) -> tuple[Expr, ...]:
    from lossc.compiler.passes.sympy_client import WORKER, WorkerProblem
    from lossc.compiler.passes.sympy_worker import QUICK, THOROUGH

    loss = Loss(root, y=facts.loss.y, f=facts.loss.f)
    out: dict[Expr, None] = {}
    for stage in (QUICK, THOROUGH):
        if ZERO in out:
            break
        try:
            for answer in WORKER.proposals(loss, time.monotonic() + min(SECONDS, left()), stage):
                if answer.expr is not None:
                    out[canonical_expr(answer.expr, facts)] = None
        except WorkerProblem as problem:
            asked.problem = str(problem)
            break
        except LosscError:
            continue
    others = sorted((e for e in out if e is not root), key=lambda e: e.tree_size)
    return tuple(e for e in others if _is_equal(root, e, loss))


def _is_equal(root: Expr, form: Expr, loss: Loss) -> bool:
    try:
        return bool(equivalent(root, form, loss, deadline=time.monotonic() + left()))
    except (LosscError, OutOfTime):
        return False
