"""Spreads over seeds as plain data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lossc.runtime.plain import finite_values
from lossc.runtime.training import Spread


def plain(spread: Spread) -> dict[str, Any]:
    """Mean, standard deviation and number; one that is not finite is None."""
    return finite_values(asdict(spread))
