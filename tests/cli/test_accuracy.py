"""`lossc accuracy`: the report of the library, as text, as data and as a figure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lossc.grammar import parse
from lossc.runtime.accuracy import accuracy
from tests.cli.support import Ran

Run = Callable[..., Ran]
FORMULA = "log(1 + exp(f)) - y*f"
SMALL = ("--dtype", "float32", "--points", "20")


def test_the_report_is_the_librarys(lossc: Run) -> None:
    """--json is `as_json` of the report; the text begins with its verdict and has a row for each measurement."""
    report = accuracy(parse(FORMULA), dtypes=("float32",), points=20)
    assert lossc("accuracy", FORMULA, *SMALL, "--json").json["result"] == report.as_json()
    ran = lossc("accuracy", FORMULA, *SMALL)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(report.verdict())
    assert sum(line.startswith("float32  ") for line in ran.out.splitlines()) >= 4 + 2
    assert "beyond the largest number" in ran.out


def test_options_reach_the_measurement(lossc: Run) -> None:
    """Dtypes, points, seed, roles and hyper-parameters of the options are those of the report."""
    record = lossc(
        "accuracy", "d*abs(y - f)", "--param", "d:positive=3", "--dtype", "float16, bfloat16", "--points", "15",
        "--seed", "7", "--y", "positive", "--name", "mine", "--json",
    ).json["result"]  # fmt: skip
    loss = parse("d*abs(y - f)", y="positive", name="mine", params={"d": 3})
    expected = accuracy(loss, dtypes=("float16", "bfloat16"), points=15, seed=7).as_json()
    assert record == expected


def test_clamps_dead_gradients_and_biases_are_said(lossc: Run) -> None:
    """The text names the part, the operator and the condition."""
    assert "no gradient passes y*f where abs(y*f) < eps (clog)" in lossc("accuracy", "clog(y*f)", *SMALL).out
    out = lossc("accuracy", "abs(log(sqrt(y*f) + eps))", "--y", "onehot", "--f", "prob", *SMALL).out
    assert "bias: eps added to sqrt(y*f)" in out
    assert "the gradient is nan" in out


@pytest.mark.parametrize(
    ("args", "code", "exit_code"),
    [
        (["mse", "--dtype", "float8"], "L235", 2),
        (["mse", "--points", "0"], "L235", 2),
        (["mse", "--points", "1e9"], "L235", 2),
        (["mse", "--plot", "a.jpg"], "L260", 2),
        (["mse", "--plot", "no/a.png"], "L233", 2),
        (["delta*(y - f)^2", "--param", "delta"], "L242", 2),
        (["phi[0]*(y - f)^2"], "L341", 1),
        (["y +"], "L006", 1),
    ],
)
def test_bad_calls(lossc: Run, args: list[str], code: str, exit_code: int) -> None:
    """What is at fault is said with its code before anything is measured; a missing value comes with the option."""
    ran = lossc("accuracy", *args)
    assert (ran.code, ran.out) == (exit_code, "")
    assert f"error[{code}]" in ran.err
    if code == "L242":
        assert "--set delta=1" in ran.err


def test_a_figure_is_written_whole_and_never_over_another(lossc: Run, tmp_path: Path) -> None:
    """--plot writes a figure, -o is the same option; a file that exists stays, until --force."""
    pytest.importorskip("matplotlib")
    assert lossc("accuracy", "mse", *SMALL, "--plot", "a.png").code == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "b.svg").write_text("mine")
    refused = lossc("accuracy", "mse", *SMALL, "-o", "b.svg")
    assert (refused.code, (tmp_path / "b.svg").read_text()) == (2, "mine")
    record = lossc("accuracy", "mse", *SMALL, "-o", "b.svg", "--force", "--json").json["result"]
    assert record["plot"] == "b.svg"
    assert (tmp_path / "b.svg").read_text().lstrip().startswith("<?xml")
