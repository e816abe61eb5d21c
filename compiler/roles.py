"""The roles that arguments and hyper-parameters can have, and the facts that a role states about a value.

A role is a promise by the caller that passes may use (`f: prob` lies in [0, 1] and, on the class axis, sums to 1), and
the reason why an emitted module offers the call that it does (`y: onehot` takes class indices).
"""

from __future__ import annotations

from dataclasses import dataclass

from lossc.compiler.interval import INF, NONNEGATIVE, POSITIVE, REAL, UNIT, Interval


@dataclass(frozen=True, slots=True)
class Role:
    """`range` holds all values; `values`, if given, are all there are; `typical` is where tests and reports sample."""

    name: str
    range: Interval
    used_by: frozenset[str]
    doc: str
    typical: tuple[float, float]
    values: tuple[float, ...] = ()
    integer: bool = False


_Y, _F, _P = "y", "f", "hyper-parameter"


def _role(
    name: str,
    range_: Interval,
    used_by: tuple[str, ...],
    doc: str,
    typical: tuple[float, float],
    values: tuple[float, ...] = (),
    integer: bool = False,
) -> tuple[str, Role]:
    return name, Role(name, range_, frozenset(used_by), doc, typical, values, integer)


ROLES: dict[str, Role] = dict(
    [
        _role("real", REAL, (_Y, _F, _P), "any real number", (-4.0, 4.0)),
        _role("positive", POSITIVE, (_Y, _F, _P), "greater than 0", (0.05, 5.0)),
        _role("nonnegative", NONNEGATIVE, (_P,), "0 or greater", (0.0, 5.0)),
        _role("unit", UNIT, (_P,), "between 0 and 1", (0.0, 1.0)),
        _role("count", NONNEGATIVE, (_Y,), "a whole number, 0 or greater", (0.0, 9.0), integer=True),
        _role("binary", UNIT, (_Y,), "0 or 1 (or, softly, between)", (0.0, 1.0), (0.0, 1.0)),
        _role("sign", Interval(-1.0, 1.0), (_Y,), "-1 or +1", (-1.0, 1.0), (-1.0, 1.0)),
        _role("onehot", UNIT, (_Y,), "one class of C: 1 at the target, 0 elsewhere", (0.0, 1.0), (0.0, 1.0)),
        _role("prob", UNIT, (_Y, _F), "a probability; over the class axis they sum to 1", (0.01, 0.99)),
        _role("logit", REAL, (_F,), "a score before the softmax or sigmoid", (-6.0, 6.0)),
    ]
)

NUM_CLASSES_RANGE = Interval(1.0, INF)


def roles_for(user: str) -> list[str]:
    """The names of the roles that `y`, `f` or a `hyper-parameter` may have."""
    return [r.name for r in ROLES.values() if user in r.used_by]
