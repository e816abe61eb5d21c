"""`lossc plot`: figures are those of the library, written whole and never over another file; complaints have codes."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from lossc.cli.app import command
from lossc.cli.commands.plot import EXAMPLES
from lossc.grammar.library import named
from lossc.runtime.plots import figure, picture
from tests.cli.support import Ran

Run = Callable[..., Ran]
LOSS = ("--what", "loss")
PAGE = Path(__file__).parents[2] / "docs" / "figures.md"


def test_examples_of_the_help_run(lossc: Run, tmp_path: Path) -> None:
    """Each writes its figure, without a complaint."""
    for line in EXAMPLES:
        words = shlex.split(line, comments=True)
        ran = lossc(*words[1:])
        assert (ran.code, ran.out, ran.err) == (0, "", ""), line
        assert (tmp_path / words[words.index("-o") + 1]).stat().st_size > 1000


def test_the_figure_is_the_librarys(lossc: Run, tmp_path: Path) -> None:
    """The bytes of the file are those of `figure`, the data of --json those of `picture`."""
    params = ("--params", "xi=0,0.1", *LOSS)
    record = lossc("plot", "sparse_lsr", *params, "--theme", "dark", "-o", "a.svg", "--json").json["result"]
    how = {"what": ("loss",), "params": {"xi": (0, 0.1)}}
    assert (tmp_path / "a.svg").read_bytes() == figure(named("sparse_lsr"), theme="dark", suffix="svg", **how)
    assert record.pop("output") == "a.svg"
    assert record == picture(named("sparse_lsr"), **how).data()
    assert record["panels"][0]["lines"][1]["label"] == "ξ = 0.1"


def test_the_page_of_figures_shows_commands_that_exist() -> None:
    """Every line of docs/figures.md that calls the command has arguments and options that it takes."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("lossc plot ")]
    assert len(lines) >= 20
    for line in lines:
        command("plot").make_context("plot", shlex.split(line, comments=True)[2:])


def test_names_of_files(lossc: Run, tmp_path: Path) -> None:
    """Without -o a figure is called after its loss; a file that exists stays, until --force."""
    assert lossc("plot", "mse", *LOSS).code == 0
    assert (tmp_path / "mse.png").read_bytes().startswith(b"\x89PNG")
    again = lossc("plot", "mse", *LOSS)
    assert again.code == 2 and "error[L234]" in again.err
    assert lossc("plot", "mse", *LOSS, "--force").code == 0


def test_hyper_parameters_come_from_many_places(lossc: Run) -> None:
    """LOSS:name=value is of one loss, --set of all that have it, --params declares those of a formula."""
    record = lossc(
        "plot", "huber:delta=2", "pseudo_huber", "a*abs(y - f)", "--set", "delta=3", "--params", "a=1,1/2", *LOSS,
        "-o", "a.svg", "--json",
    ).json["result"]  # fmt: skip
    lines = record["panels"][0]["lines"]
    assert [line["label"] for line in lines] == [
        "huber:delta=2", "pseudo_huber", "a*abs(y - f), a = 1", "a*abs(y - f), a = 0.5",
    ]  # fmt: skip
    ends = [line["loss"]["y"][-1] for line in lines]
    assert ends == pytest.approx([2 * (4 - 1), 9 * ((1 + 16 / 9) ** 0.5 - 1), 4, 2], rel=1e-8)


@pytest.mark.parametrize(
    ("args", "code", "exit_code"),
    [
        ([], "L235", 2),
        (["mse", "--thesis", "4.5"], "L235", 2),
        (["mse", "--surface", "--fit"], "L235", 2),
        (["--thesis", "9.9"], "L260", 2),
        (["mse", "-o", "a.jpg"], "L260", 2),
        (["mse", "-o", "-"], "L260", 2),
        (["mse", "-o", "no/a.png"], "L233", 2),
        (["mse", "--theme", "sepia"], "L260", 2),
        (["mse", "--what", "slope"], "L260", 2),
        (["mse", "--what", ","], "L260", 2),
        (["mse", "--range", "3"], "L260", 2),
        (["mse", "--range", "3..1"], "L260", 2),
        (["mse", "--range", "nan..1"], "L260", 2),
        (["mse", "--targets", "1,b"], "L260", 2),
        (["mse", "focal"], "L260", 2),
        (["focal", "--fit"], "L260", 2),
        (["mse", "mse"], "L235", 2),
        (["mse", "--set", "delta=1"], "L201", 2),
        (["huber", "--params", "dleta=1,2"], "L201", 2),
        (["huber", "--params", "delta=1,-2"], "L202", 2),
        (["huber", "--params", "delta=1,x"], "L202", 2),
        (["huber", "--params", "delta"], "L236", 2),
        (["a*(y - f)^2", "--param", "a"], "L208", 2),
        (["phi[0]*(y - f)^2"], "L208", 2),
        (["lgo(y)"], "L301", 1),
        (["trigamma(f)*y"], "L310", 1),
    ],
)
def test_bad_calls(lossc: Run, tmp_path: Path, args: list[str], code: str, exit_code: int) -> None:
    """What is at fault is said with its code, and nothing is written."""
    ran = lossc("plot", *args)
    assert (ran.code, ran.out) == (exit_code, "")
    assert f"error[{code}]" in ran.err
    assert list(tmp_path.iterdir()) == []
