"""The losses, families and ranges that the arguments of `lossc plot` mean."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any

from lossc.cli.context import Session
from lossc.cli.experiments import split_settings
from lossc.cli.given import Given, assignments, declared_names
from lossc.cli.inputs import is_formula, read_loss
from lossc.compiler.errors import UsageError
from lossc.compiler.loss import Loss


def losses_to_plot(session: Session, asked: Any, params: dict[str, list[Fraction]]) -> dict[str, Loss]:
    """The losses of the arguments by the names that they go by.

    Raises UsageError (L201, L235), and what `read_loss` raises.
    """
    from lossc.runtime.plots.family import by_name

    shared = assignments(asked.sets or (), "--set")
    out: dict[str, Loss] = {}
    for text in asked.losses:
        bare, own = split_settings(text)
        given = Given(asked.y, asked.f, None, _declared(bare, asked, params), own, asked.dialect.value)
        loss = read_loss(bare, given, session.warnings)
        mine = {p.name for p in loss.params} - set(assignments(own, "--set"))
        loss = loss.with_defaults(**{k: v for k, v in shared.items() if k in mine})
        (name,) = by_name(loss)
        name = f"{name}:{','.join(own)}" if own else name
        if name in out:
            raise UsageError("L235", f"{name} stands twice", hint="each loss once; LOSS:name=value sets one apart")
        out[name] = loss
    for name in shared:
        if not any(name in (p.name for p in loss.params) for loss in out.values()):
            raise UsageError("L201", f"no loss here has a hyper-parameter `{name[:64]}`")
    return out


def _declared(text: str, asked: Any, params: dict[str, list[Fraction]]) -> list[str]:
    """The hyper-parameters of a formula: those of --param, and those of --params that it has."""
    given = list(asked.param or ())
    if not is_formula(text):
        return given
    new = [name for name in params if re.search(rf"\b{re.escape(name)}\b", text) and name not in declared_names(given)]
    return given + [f"{name}={values[0]}" for name, values in params.items() if name in new]


# -- the options ------------------------------------------------------------------------------------------------------


def words(written: str) -> list[str]:
    """The words of `loss,grad`."""
    return [part.strip() for part in written.split(",") if part.strip()]


def families(written: list[str] | tuple[str, ...]) -> dict[str, list[Fraction]]:
    """The values of `xi=0,0.1,0.2`, each once. Raises UsageError (L202, L236)."""
    out: dict[str, list[Fraction]] = {}
    for one in written:
        name, equals, values = one.partition("=")
        name, found = name.strip(), words(values)
        if not (equals and name and found):
            raise UsageError("L236", f"--params {one[:60]!r} cannot be read", expected="NAME=VALUE,VALUE,...",
                             hint="for example: --params delta=0.5,1,2")  # fmt: skip
        out[name] = list(dict.fromkeys(assignments([f"{name}={v}"], "--params")[name] for v in found))
    return out


def spans(written: list[str] | tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """The ranges of `-2..2`, which is of f, or `loss=0..5`. Raises UsageError (L260)."""
    out = {}
    for one in written:
        name, equals, span = one.rpartition("=")
        low, dots, high = span.partition("..")
        try:
            out[name.strip() if equals else "f"] = (float(low), float(high))
        except ValueError:
            dots = ""
        if not dots:
            raise UsageError("L260", f"`{one[:60]}` is no range", expected="LOW..HIGH or NAME=LOW..HIGH, such as -3..3")
    return out


def numbers(written: str | None) -> list[float]:
    """The numbers of `0.5,1,2`. Raises UsageError (L260)."""
    try:
        found = [float(part) for part in words(written or "")]
    except ValueError:
        found = [math.nan]
    if not all(map(math.isfinite, found)):
        raise UsageError("L260", f"--targets {str(written)[:60]!r}: a target is a number", expected="such as 0.5,1,2")
    return found
