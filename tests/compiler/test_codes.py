"""Every code that the source uses is explained, and every explained code is used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lossc.compiler.codes import CODES

ROOT = Path(__file__).parents[2]
PARTS = ("compiler", "grammar", "runtime", "cli")
SOURCES = [path for part in PARTS for path in (ROOT / part).rglob("*.py") if path.name != "codes.py"]


def used() -> dict[str, Path]:
    """The codes that stand as text constants in the source, each with one of its files."""
    return {code: path for path in SOURCES for code in re.findall(r"""["'](L\d{3})["']""", path.read_text("utf-8"))}


def test_codes_and_source_agree() -> None:
    """The same set, so that `lossc explain` knows every code and the table holds nothing dead."""
    missing = {code: str(path) for code, path in used().items() if code not in CODES}
    assert not missing
    assert not CODES.keys() - used().keys()


@pytest.mark.parametrize("code", CODES)
def test_explanations_are_useful(code: str) -> None:
    """Two lines or more of at most 120 characters, the first a sentence."""
    lines = CODES[code].split("\n")
    assert len(lines) >= 2
    assert max(map(len, lines)) <= 120
    assert lines[0][0].isupper() and lines[0].endswith(".")
    assert all(lines)


def test_codes_are_in_order() -> None:
    """Sorted, and in the classes that the docstring names."""
    assert list(CODES) == sorted(CODES)
    assert {code[:2] for code in CODES} == {"L0", "L1", "L2", "L3", "L9"}
