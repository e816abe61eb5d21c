"""The time that verdicts may take: every loop of the engines asks, so that none outlives it by much."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from lossc.compiler.interval import INF

_DEADLINE: ContextVar[float] = ContextVar("deadline", default=INF)


class Out(Exception):
    """The time is up."""


@contextmanager
def limited(deadline: float) -> Iterator[None]:
    """Within it, `tick` raises Out after `deadline` (of `time.monotonic`), or after an outer one that is earlier."""
    token = _DEADLINE.set(min(deadline, _DEADLINE.get()))
    try:
        yield
    finally:
        _DEADLINE.reset(token)


def tick() -> None:
    """Raise Out if the time is up."""
    if time.monotonic() > _DEADLINE.get():
        raise Out


def left() -> float:
    """Seconds that are left."""
    return _DEADLINE.get() - time.monotonic()
