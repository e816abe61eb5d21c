"""`lossc analyze` and `lossc compare`: text, files, JSON, and calls that cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lossc.cli.analysis_options import boxes
from lossc.compiler.analysis.analyze import analyze
from lossc.compiler.analysis.verdicts.judge import judge
from lossc.grammar import parse
from lossc.grammar.library import named
from tests.cli.support import Ran

Run = Callable[..., Ran]
ACE = "abs(log(1.1*f))*y"


def test_the_page_says_what_the_thesis_says_of_ace(lossc: Run) -> None:
    """Equation 4.24: with φ1 > 1 the target is pulled back below 1; 1/φ1 is where; f = 0 breaks the formula."""
    ran = lossc("analyze", ACE, "--y", "onehot", "--f", "prob")
    assert ran.code == 0 and ran.err == ""
    for said in (
        "Known as: ace_phi, phi0 = 1, phi1 = 1.1, exactly.",
        "It needs the prediction of the target class only",
        "It has a kink at f = 10/11",
        "it penalises over-confidence, as label smoothing does",
        "the pull sets in where the target has 0.909091",
        "the value is inf at y = 1, f = 0 (in `log(1.1*f)`). Compile it",
    ):
        assert said in ran.out, said
    assert "\nC1 " in ran.out and "refuted  10/11" in ran.out


def test_data_is_that_of_the_library(lossc: Run, tmp_path: Path) -> None:
    """--json prints, --json FILE writes; --markdown writes; both tell the same verdicts as `judge`."""
    record = lossc("analyze", "cauchy", "--dtype", "float16", "--box", "f=-9..9", "--json").json["result"]
    told = judge(named("cauchy"), dtype="float16", box={"f": (-9.0, 9.0)})
    assert {n: v["status"] for n, v in record["verdicts"]["properties"].items()} == {
        n: v.status for n, v in told.found.items()
    }
    assert record["verdicts"]["box"]["f"] == [-9.0, 9.0] and record["verdicts"]["dtype"] == "float16"
    assert record["identity"]["exact"]["name"] == "cauchy"
    witness = record["verdicts"]["properties"]["convex"]["witness"]
    assert witness["relation"] == "above the chord" and len(witness["points"]) == 3
    ran = lossc("analyze", "cauchy", "--markdown", "a.md", "--json", "a.json")
    assert ran.code == 0 and "redescending" in ran.out
    assert json.loads((tmp_path / "a.json").read_text("utf-8"))["name"] == "cauchy"
    page = (tmp_path / "a.md").read_text("utf-8")
    assert page.startswith("## cauchy\n") and "| convex | no |" in page
    assert lossc("analyze", "cauchy", "--markdown", "a.md").code == 2


def test_sentences_follow_from_verdicts() -> None:
    """Of losses whose properties are in every textbook."""
    words = {name: " ".join(analyze(named(name)).sentences()) for name in ("mse", "mae", "welsch", "poisson", "nll")}
    assert "It is convex in f, strictly, with a modulus of 2." in words["mse"]
    assert "not robust" in words["mse"] and "is the mean" in words["mse"]
    assert "is the median" in words["mae"] and "It is robust: the slope is bounded by 1" in words["mae"]
    assert "redescending" in words["welsch"] and "It is not convex in f. It has one valley" in words["welsch"]
    assert "is the mean of the targets (or a function of it)" in words["poisson"]
    assert "It is not bounded below" in words["nll"]


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ((), "L235"),
        (("mse", "mae"), "L235"),
        (("mse", "--box", "f=2..1"), "L209"),
        (("mse", "--box", "f=1"), "L209"),
        (("mse", "--box", "z=0..1"), "L209"),
        (("bce", "--box", "f=-1..1"), "L209"),
        (("mse", "--box", "f=0..inf"), "L209"),
        (("mse", "--timeout", "0"), "L209"),
        (("ace", "--classes", "1"), "L207"),
        (("y +",), "L006"),
        (("a*(y - f)^2", "--param", "a"), "L208"),
        (("--all",), "L235"),
        (("mse", "--html", "no/where.html"), "L233"),
    ],
)
def test_calls_that_cannot_be(lossc: Run, args: tuple[str, ...], code: str) -> None:
    """Each is refused with its code, and nothing else is printed."""
    ran = lossc("analyze", *args)
    assert ran.code in (1, 2) and ran.out == ""
    assert f"error[{code}]" in ran.err


def test_boxes_are_read() -> None:
    """Ranges of y and f."""
    assert boxes(["f=-2..3", " y = 0 .. 1e2"]) == {"f": (-2.0, 3.0), "y": (0.0, 100.0)}


def test_odd_losses_are_analysed() -> None:
    """Without y, without f, constant, undefined everywhere: a page, and no wrong claim."""
    assert analyze(parse("f^2")).verdicts["convex"].status == "proved"
    assert analyze(parse("y^2")).verdicts["no-dead-zone"].status != "proved"
    assert analyze(parse("0*y + 3")).text()
    nowhere = analyze(parse("log(-(y - f)^2 - 1)"))
    assert nowhere.text() and nowhere.verdicts["finite-value"].status != "proved"


def test_numbers_that_json_has_no_name_for(lossc: Run) -> None:
    """Where the value is inf, the data says "inf"."""
    record = lossc("analyze", "cross_entropy", "--json", "--no-replay").json["result"]
    assert record["verdicts"]["properties"]["finite-value"]["witness"]["values"] == ["inf"]


def test_words_for_jumps_and_constants() -> None:
    """A jump is no kink, the place of a jump no bound of the slope, and of a constant little is said."""
    words = analyze(parse("abs(y - f) + where(abs(y - f) < 1e-9, -1e-9, 0)")).sentences()
    assert any("It is not continuous" in s for s in words) and not any("kink" in s for s in words)
    assert not any("bounded by" in s for s in words)
    assert len(analyze(parse("0*y + 3")).sentences()) == 1


def test_a_docstring_is_text_in_markdown() -> None:
    """No markup, no heading."""
    loss = replace(named("mse"), doc="<script>x</script>\n\n# heading")
    page = analyze(loss).markdown()
    assert "<script>" not in page and "\n# heading" not in page


# -- compare ----------------------------------------------------------------------------------------------------------


def test_losses_side_by_side(lossc: Run, tmp_path: Path) -> None:
    """A column for each loss; multiples are recognised; files are written."""
    ran = lossc("compare", "mse", "l2", "huber", "--set", "delta=2", "--markdown", "t.md", "-o", "t.svg")
    assert ran.code == 0
    lines = {line[:17].strip(): line for line in ran.out.splitlines()}
    assert lines[""].split() == ["mse", "l2", "huber"]
    assert "0.5*L, exactly" in lines["beside the first"] and "delta = 2" in lines["known as"]
    assert lines["strongly-convex"].split()[1:] == ["yes", "(2)", "yes", "(1)", "no"]
    assert (tmp_path / "t.svg").read_bytes().startswith(b"<?xml") and "| convex | yes | yes | yes |" in (
        tmp_path / "t.md"
    ).read_text("utf-8")
    record = lossc("compare", "mse", "mae", "--json").json["result"]
    assert record["labels"] == ["mse", "mae"] and len(record["losses"]) == 2


@pytest.mark.parametrize(
    ("args", "code"),
    [(("mse",), "L235"), (("mse", "mae", "--set", "zeta=1"), "L201"), (("mse", "mae", "-o", "a.txt"), "L260"),
     (("mse", "bce", "-o", "a.png"), "L260")],
)  # fmt: skip
def test_comparisons_that_cannot_be(lossc: Run, args: tuple[str, ...], code: str) -> None:
    """Refused with a code, before and without files."""
    ran = lossc("compare", *args)
    assert ran.code == 2 and f"error[{code}]" in ran.err
