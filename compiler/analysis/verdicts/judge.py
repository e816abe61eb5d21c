"""All verdicts on a loss.

>>> found = judge(lossc.parse("log(1 + 0.5*(y - f)^2)"))
>>> found["convex"].status, str(found["convex"].witness)
('refuted', ...)
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from lossc.compiler.analysis.verdicts.catalogue import BY_NAME, FLOATS, PROPERTIES, Bench, Property
from lossc.compiler.analysis.verdicts.clock import Out, left, limited, tick
from lossc.compiler.analysis.verdicts.proposals import Asked, asking
from lossc.compiler.analysis.verdicts.roots import Unclear
from lossc.compiler.analysis.verdicts.subject import ROW, Subject
from lossc.compiler.analysis.verdicts.verdict import PROVED, REFUTED, UNKNOWN, Verdict, unknown
from lossc.compiler.analysis.world import Unsolved
from lossc.compiler.errors import LosscError, UsageError
from lossc.compiler.formats import FORMATS
from lossc.compiler.loss import Loss
from lossc.compiler.roles import ROLES
from lossc.compiler.verify import verify

TIMEOUT = 10.0
SHARE = 0.35
"""Of the time that is left, what one property may take."""
BY_SYMPY = "in forms by SymPy, equal at 220 points to 60 digits"


@dataclass(frozen=True)
class Verdicts:
    """What is known of every property that applies to a loss, in the order of `PROPERTIES`.

    kind      "regression", "margin", "label", "classes", "soft" or "row"
    dtype     the dtype in which floating point was judged; `box` where
    classes   the number of classes, for a classification loss
    """

    loss: Loss
    kind: str
    dtype: str
    box: Mapping[str, tuple[float, float]]
    classes: int
    found: Mapping[str, Verdict]
    seconds: float

    def __getitem__(self, name: str) -> Verdict:
        return self.found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.found)

    def of(self, status: str) -> list[str]:
        """The names of the properties with a status."""
        return [name for name, v in self.found.items() if v.status == status]

    def data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "kind": self.kind, "dtype": self.dtype, "box": {k: list(v) for k, v in self.box.items()},
            "classes": self.classes,
            "properties": {n: {"means": BY_NAME[n].means, **v.data()} for n, v in self.found.items()},
        }  # fmt: skip


def judge(
    loss: Loss, *, dtype: str = "float32", box: Mapping[str, tuple[float, float]] | None = None,
    classes: int | None = None, names: Sequence[str] | None = None, timeout: float = TIMEOUT,
    sympy: bool = True,
) -> Verdicts:  # fmt: skip
    """The verdicts on a loss at the values of its hyper-parameters (or only the properties `names`).

    `box` gives ranges of y and f for floating point; `timeout` seconds at most are spent on all, as far as single steps
    allow, and what is left then is unknown. With `sympy`, SymPy is asked for other forms where all else has failed.

    Raises UsageError (L208, L209, L235) for a hyper-parameter without a value, a box or a name that cannot be, a dtype.
    """
    started = time.monotonic()
    if dtype not in FORMATS:
        raise UsageError("L235", f"`{dtype[:40]}` is not a dtype", expected="one of: " + ", ".join(FORMATS))
    _check(loss, box or {}, names)
    if classes is not None and not 2 <= classes <= 10**9:
        raise UsageError("L207", f"a row has 2 or more classes, not {classes}")
    verify(loss)
    make = partial(Subject, loss, box=box, dtype=dtype, classes=classes)
    subject = make()
    asked = [p for p in PROPERTIES if p.applies(subject) and (names is None or p.name in names)]
    found: dict[str, Verdict] = {}
    with limited(started + timeout):
        bench = Bench(subject)
        for p in asked:
            found[p.name] = _decided(p, bench, timeout)
        if sympy:
            _ask_sympy([p for p in asked if p.group != FLOATS and found[p.name].status == UNKNOWN], make, found)
    shown = {leaf.name: (r.lo, r.hi) for leaf, r in subject.box.items()}
    return Verdicts(loss, subject.kind, dtype, shown, subject.classes, found, time.monotonic() - started)


def _ask_sympy(open_ones: Sequence[Property], make: Callable[[], Subject], found: dict[str, Verdict]) -> None:
    """Decide once more what is open, with other forms of what it depends on."""
    with asking(Asked()):
        bench = Bench(make()) if open_ones else None
        if bench is None or bench.subject.kind == ROW:
            return
        for p in open_ones:
            verdict = _decided(p, bench, left())
            if verdict.status == PROVED:
                found[p.name] = replace(verdict, because=f"{verdict.because} ({BY_SYMPY})")
            elif verdict.status == REFUTED:
                found[p.name] = verdict


def _decided(p: Property, bench: Bench, timeout: float) -> Verdict:
    """The verdict on one property, which may take a share of the time that is left."""
    try:
        tick()
        with limited(time.monotonic() + SHARE * left()):
            if p.group != FLOATS and not bench.has_values:
                return unknown("L has no value at any point that was tried")
            return _sound(p.decide(bench))
    except Out:
        return unknown(f"its share of the time of {timeout:g} seconds was up")
    except LosscError as problem:
        return unknown(problem.diagnostic.message)
    except (Unclear, Unsolved) as problem:
        return unknown(str(problem))
    except (ArithmeticError, ValueError, MemoryError) as problem:
        return unknown(f"numbers beyond what can be computed: {str(problem)[:80]}")


def _sound(verdict: Verdict) -> Verdict:
    """Nothing is refuted without a witness whose relation holds."""
    if verdict.status == REFUTED and not (verdict.witness is not None and verdict.witness.is_sound()):
        return unknown(f"{verdict.because}, it seems; but no point was found that shows it")
    return verdict


def _check(loss: Loss, box: Mapping[str, tuple[float, float]], names: Sequence[str] | None) -> None:
    for name, (low, high) in box.items():
        if name not in ("y", "f"):
            raise UsageError("L209", f"a box is one of y and f, not `{name[:40]}`")
        role = ROLES[loss.y if name == "y" else loss.f]
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise UsageError("L209", f"the range {low:g} to {high:g} of {name} is empty or not bounded")
        if low < role.range.lo or high > role.range.hi:
            raise UsageError("L209", f"{name} is {role.doc}: {low:g} to {high:g} is beyond that")
    for name in names or ():
        if name not in BY_NAME:
            raise UsageError("L209", f"there is no property `{name[:40]}`", expected="one of: " + ", ".join(BY_NAME))
