"""Numbers as JSON knows them: one that is not finite is None."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def finite(value: float) -> float | None:
    """The number, or None if it is not finite."""
    return value if math.isfinite(value) else None


def finite_values(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with its numbers so; what is no number stays."""
    return {k: finite(v) if isinstance(v, float) else v for k, v in record.items()}
