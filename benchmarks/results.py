"""`benchmarks/RESULTS.md`, one section a benchmark: each is replaced by its own command and nothing else touches it."""

from __future__ import annotations

import re
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")
HEAD = """# Results

Every table here was written by the command above it, in one run on one machine (two shared, noisy cores, no GPU, unless
a section says otherwise). Numbers that miss their target stand as they were measured, with the cause.
"""


def put_section(key: str, title: str, command: str, text: str) -> None:
    """Write or replace the section `key`, keeping all others."""
    begin, end = f"<!-- begin {key} -->", f"<!-- end {key} -->"
    section = f"{begin}\n## {title}\n\n`{command}`\n\n{text}\n{end}"
    old = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else HEAD
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    new = pattern.sub(lambda _: section, old) if pattern.search(old) else f"{old.rstrip()}\n\n{section}\n"
    RESULTS.write_text(new, encoding="utf-8")
