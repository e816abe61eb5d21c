"""`lossc search`: results, files, errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.support import Ran

Run = Callable[..., Ran]
QUICK = ("--population", "4", "--generations", "2", "--fitness-steps", "5", "--meta-steps", "2", "--seed-losses", "mse")


def test_search_finds_and_writes_a_loss(lossc: Run, tmp_path: Path) -> None:
    """The best loss is a definition that compiles and trains; the folder has its tables."""
    best, folder = str(tmp_path / "best.loss"), tmp_path / "r"
    ran = lossc("search", *QUICK, "--run", str(folder), "-o", best)

    assert ran.code == 0, ran.err
    assert "8 losses by evomal" in ran.out and "formula" in ran.out
    assert lossc("compile", best, "-o", str(tmp_path / "best.py")).code == 0
    assert lossc("train", best, "--steps", "2").code == 0
    assert {"front.csv", "hall_of_fame.json", "config.json", "progress.jsonl"} <= {p.name for p in folder.iterdir()}
    again = lossc("search", *QUICK, "--run", str(folder), "--resume", "--json")
    assert json.loads(again.out)["result"]["best"][0]["formula"] in ran.out


def test_search_in_json(lossc: Run) -> None:
    """Counts, settings and the best losses are in the object; classes work with bare formulas."""
    ran = lossc("search", "--task", "digits", *QUICK[:-2], "--seed-losses", "-y*log(f + eps)", "--json")

    result = json.loads(ran.out)["result"]
    assert result["committed"] == 8 and sum(result["counts"].values()) == 8
    assert result["settings"]["seeds"] == ["-y*log(f + eps)"]


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("--ops", "add,lgo"), 2, "L270"),
        (("--ops", "tanh"), 2, "two arguments"),
        (("--method", "magic"), 2, "method"),
        (("--preset", "fast"), 2, "L255"),
        (("--population", "1"), 2, "population"),
        (("--workers", "0"), 2, "--workers"),
        (("--resume",), 2, "--run"),
        (("--seed-losses", "y - g"), 1, "L308"),
        (("--seed-losses", "huber"), 2, "hyper-parameters"),
        (("--task", "nowhere"), 2, "L221"),
    ],
)
def test_errors_help(lossc: Run, args: tuple[str, ...], code: int, says: str) -> None:
    """Wrong calls are said to be, before anything is searched."""
    ran = lossc("search", *args)
    assert ran.code == code and says in ran.err and "Traceback" not in ran.err
