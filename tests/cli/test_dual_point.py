"""`lossc rule`: text, LaTeX, JSON and files; and docs/learning-rule.md, whose examples are what is printed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from lossc.compiler.analysis.dual_point import dual_point
from lossc.grammar.library import named
from tests.cli.support import Ran

Run = Callable[..., Ran]
PAGE = (Path(__file__).parents[2] / "docs" / "learning-rule.md").read_text("utf-8")
SHOWN = re.findall(r"^```console\n\$ lossc (.*)\n((?:.*\n)*?)```$", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("command", "output"), SHOWN, ids=[command for command, _ in SHOWN])
def test_the_page_shows_what_is_printed(lossc: Run, command: str, output: str) -> None:
    """Each example of docs/learning-rule.md, to the byte."""
    assert len(SHOWN) == 3
    assert lossc(*shlex.split(command)) == Ran(0, output, "")


def test_result_is_that_of_the_library(lossc: Run) -> None:
    """Text, LaTeX and JSON are those of `dual_point`, with all options passed on."""
    found = dual_point(named("ace_phi").with_defaults(phi1=Fraction(3, 2)), 4)
    args = ("rule", "ace_phi", "--classes", "4", "--set", "phi1=1.5")
    assert lossc(*args) == Ran(0, found.explain() + "\n", "")
    assert lossc(*args, "--latex") == Ran(0, found.latex() + "\n", "")
    record = lossc(*args, "--json").json["result"]
    assert record["text"] == found.explain() + "\n"
    assert record["numbers_for"] == {"C": 4, "phi0": 1.0, "phi1": 1.5}
    assert record["sentences"] == list(found.sentences)
    end = record["points"]["end"]["delta"]["target"]
    assert [(c["if"], c["value"]) for c in end["cases"]] == [(["phi1 <= 1"], "phi0"), (["phi1 > 1"], "-phi0")]
    assert end["at"] == -1.0 and record["turning"] == pytest.approx(2 / 3)
    smooth = lossc("rule", "label_smoothing", "--json").json["result"]["points"]["end"]["delta"]["other"]
    assert smooth["at"] == "+inf"


def test_a_formula_of_ones_own(lossc: Run, tmp_path: Path) -> None:
    """Roles on the command line, binary labels, and a file."""
    ran = lossc("rule", "-y*log(f)", "--y", "onehot", "--f", "prob")
    assert ran.code == 0 and "it learns exactly like cross-entropy" in ran.out
    ran = lossc("rule", "-(y*log(f) + (1 - y)*log(1 - f))", "--y", "binary", "--f", "prob", "-o", "rule.txt")
    assert ran == Ran(0, "", "")
    assert "through the sigmoid" in (tmp_path / "rule.txt").read_text("utf-8")
    assert lossc("rule", "ace", "-o", "rule.txt").code == 2


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("(y - f)^2",), "L206"),
        (("mse",), "L206"),
        (("ace", "--classes", "1"), "L207"),
        (("bce", "--classes", "3"), "L207"),
        (("ace_phi", "--set", "phi1=-1"), "L202"),
        (("ace", "--classes", "many"), "L235"),
    ],
)
def test_calls_that_cannot_be(lossc: Run, args: tuple[str, ...], code: str) -> None:
    """The call is at fault: exit code 2, a code that `lossc explain` knows, no traceback."""
    ran = lossc("rule", *args)
    assert ran.code == 2 and f"error[{code}]" in ran.err and ran.out == ""
    assert lossc("rule", *args, "--json").json["error"]["code"] == code
    assert lossc("explain", code).code == 0
