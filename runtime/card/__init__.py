"""The card of a loss: one HTML page that needs nothing else, with all that an analysis found.

>>> from lossc.compiler.analysis.analyze import analyze
>>> page = card(analyze(loss, named_losses().values()))

`facts` are the sections that are read, `measured` those that torch computes, `pictures` those that are looked at.
"""

from __future__ import annotations

from lossc.runtime.card.page import card, index

__all__ = ["card", "index"]
