"""The pictures of a card."""

from __future__ import annotations

from lossc.compiler.analysis.analyze import Analysis
from lossc.runtime.page.markup import Markup


def section(found: Analysis) -> Markup | None:
    """Loss, gradient and second derivative over the prediction."""
    return None
