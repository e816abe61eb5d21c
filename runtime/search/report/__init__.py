"""The report of a search: one HTML page that needs nothing else, the same bytes for the same run.

>>> render_report(read_run("runs/a"))

What is in it is counted in `facts`, drawn in `figures` and `curves`, and said in `sections`, `best` and `costs`.
"""

from __future__ import annotations

from lossc.runtime.search.folder import Run
from lossc.runtime.search.report.page import render_report as _render
from lossc.runtime.search.report.verdict import verdict

__all__ = ["render_report", "verdict"]


def render_report(run: Run) -> str:
    """The page, for a run as far as it is."""
    return _render(run)
