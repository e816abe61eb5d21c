"""The report of a search: one HTML page that needs nothing else, the same bytes for the same run.

>>> render_report(read_run("runs/a"))

What is in it is counted in `facts`, drawn in `figures` and `curves`, and said in `verdict`, `best`, `sections` and
`costs`; `page` puts it together.
"""

from __future__ import annotations

from lossc.runtime.search.report.page import render_report

__all__ = ["render_report"]
